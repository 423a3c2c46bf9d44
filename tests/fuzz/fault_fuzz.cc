// A parser with planted faults, one for each way to fail, so that the driver itself can be tested.
// Tested by tests/fuzz_driver_test.py.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

// Kept from the optimiser, which would make a loop of it.
__attribute__((noinline)) int Recurse(int depth) {
  volatile char frame[4096];
  if (depth < 0) return 0;
  frame[0] = static_cast<char>(depth);
  return Recurse(depth + 1) + frame[0];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (text == "abort") std::abort();
  if (text == "recurse") return Recurse(0);
  if (text == "nullptr") *static_cast<volatile int*>(nullptr) = 0;
  if (text == "hang") {
    for (volatile int i = 0; i == 0;) {
    }
  }
  if (text == "allocate") {
    std::vector<char> huge(uint64_t{1} << 36);
    return huge[size] & 1;
  }
  if (text == "mutate!") return 0;
  if (text.starts_with("mutate") && text.size() > 12) std::abort();  // only a mutation is so long
  if (text == std::string("\0\n\\~", 4)) std::abort();
  return 0;
}
