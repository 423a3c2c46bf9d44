// Any bytes as a file of torch.save and as the pickle of one: refused or read, and every element of
// what was read lies inside the input.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "frontend/torch_file.h"

namespace {

uint64_t Read(absl::string_view bytes) {
  uint64_t sum = 0;
  const auto tensors = ninfer::frontend::ParseTorchFile("fuzz", bytes);
  if (!tensors.ok()) return sum;
  for (const auto& tensor : *tensors) {
    std::vector<uint8_t> elements(tensor.bytes);
    ninfer::frontend::CopyElements(tensor, elements.data());
    for (uint8_t element : elements) sum += element;
    sum += Verify("fuzz", tensor.checksum).ok();
  }
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  uint64_t sum = Read(bytes);
  // As the dictionary of an older file, which has no checksum, with one storage "0" of 64 elements
  // of any size up to eight bytes.
  const absl::string_view head(
      "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.", 21);
  const std::string file =
      absl::StrCat(head, "\x80\x02}U\x0dlittle_endian\x88s.", bytes, "\x80\x02]U\x01", "0a.",
                   std::string(1, 64), std::string(7, '\0'), std::string(512, 'x'));
  sum += Read(file);
  return static_cast<int>(sum & 0);
}
