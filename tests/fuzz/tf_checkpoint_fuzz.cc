// Any bytes as the index of a TensorFlow checkpoint and as a block of one: refused or read, and
// every element of what was read lies inside the shard.
#include <cstdint>
#include <cstring>
#include <string>

#include "frontend/openai_gpt2.h"
#include "frontend/tf_checkpoint.h"

namespace {

uint64_t Read(absl::string_view bytes) {
  uint64_t sum = 0;
  const auto index = ninfer::frontend::ParseTfIndex("fuzz", bytes);
  if (!index.ok()) return sum;
  for (const auto& entry : index->entries) {
    auto tensor = ninfer::frontend::TfTensor(entry, "shard", bytes);
    if (!tensor.ok()) continue;
    ninfer::frontend::RenameOpenAiGpt2(*tensor);
    for (uint64_t i = 0; i < tensor->bytes; ++i) sum += tensor->data[i];
    sum += Verify("fuzz", tensor->checksum).ok() + tensor->name.size();
  }
  return sum;
}

// The block, then "not compressed" and the checksum that the reader will find.
std::string WithTrailer(std::string block) {
  block.push_back('\0');
  ninfer::frontend::Checksum checksum{ninfer::frontend::Checksum::Kind::kMaskedCrc32c, 0,
                                      reinterpret_cast<const uint8_t*>(block.data()), block.size()};
  const std::string message(Verify("", checksum).message());
  const uint32_t found =
      message.empty()
          ? 0
          : static_cast<uint32_t>(std::stoul(message.substr(message.size() - 8), nullptr, 16));
  block.append(reinterpret_cast<const char*>(&found), sizeof(found));
  return block;
}

std::string Varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  uint64_t sum = Read(bytes);
  // As the entries of a table's only block.
  const std::string restarts("\0\0\0\0\1\0\0\0", 8);
  const std::string block = bytes + restarts;
  const std::string handle = Varint(0) + Varint(block.size());
  std::string index_block =
      std::string("\0\1", 2) + Varint(handle.size()) + "\xff" + handle + restarts;
  std::string table = WithTrailer(block);
  std::string footer = Varint(0) + Varint(0) + Varint(table.size()) + Varint(index_block.size());
  table += WithTrailer(index_block);
  footer.resize(40);
  const uint64_t magic = 0xdb4775248b80fb57u;
  footer.append(reinterpret_cast<const char*>(&magic), sizeof(magic));
  sum += Read(table + footer);
  return static_cast<int>(sum & 0);
}
