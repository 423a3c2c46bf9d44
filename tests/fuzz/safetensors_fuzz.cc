// Any bytes as a safetensors file and as a shard index: refused or read, and every byte of what was
// read lies inside the input.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "frontend/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  uint64_t sum = 0;
  const auto read =
      [&](const absl::StatusOr<std::vector<ninfer::frontend::StoredTensor>>& tensors) {
        if (!tensors.ok()) return;
        for (const auto& tensor : *tensors) {
          for (uint64_t i = 0; i < tensor.bytes; ++i) sum += tensor.data[i];
        }
      };
  read(ninfer::frontend::ParseSafetensors("fuzz", bytes));
  // The same text as the header of a well-formed file, so that mutations of it reach the checks.
  std::string file(8, '\0');
  const uint64_t length = size;
  std::memcpy(file.data(), &length, sizeof(length));
  file.append(bytes.data(), bytes.size());
  file.append(64, 'x');
  read(ninfer::frontend::ParseSafetensors("fuzz", file));
  const auto shards = ninfer::frontend::ParseShardIndex("fuzz", bytes);
  if (shards.ok()) {
    for (const auto& [tensor, shard] : *shards) {
      if (shard.find('/') != std::string::npos) std::abort();
    }
  }
  return static_cast<int>(sum & 0);
}
