// Runs kernels on an emulated CPU: built for that CPU with nothing but the C++ library, and started
// by tests/support/emulator.cc, which speaks to it by its standard input and output.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "tests/support/emulator_protocol.h"
#include "tests/support/guarded_memory.h"

namespace ninfer {
namespace {

void ReadBytes(void* target, size_t bytes) {
  if (fread(target, 1, bytes, stdin) != bytes) exit(0);  // the tests have ended
}
void WriteBytes(const void* source, size_t bytes) {
  if (fwrite(source, 1, bytes, stdout) != bytes) exit(1);
}
template <typename T>
T Read() {
  T value;
  ReadBytes(&value, sizeof(value));
  return value;
}
template <typename T>
std::vector<T> ReadVector(size_t count) {
  std::vector<T> values(count);
  ReadBytes(values.data(), count * sizeof(T));
  return values;
}

uint8_t* MapCode() {
  const auto header = Read<CodeHeader>();
  void* mapped =
      mmap(nullptr, header.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) exit(1);
  ReadBytes(mapped, header.bytes);
  auto* begin = static_cast<char*>(mapped);
  __builtin___clear_cache(begin, begin + header.bytes);
  if (mprotect(mapped, header.bytes, PROT_READ) != 0 ||
      mprotect(mapped, header.executable_bytes, PROT_READ | PROT_EXEC) != 0) {
    exit(1);
  }
  return static_cast<uint8_t*>(mapped);
}

void Run(uint8_t* code) {
  const auto header = Read<RunHeader>();
  const auto dims = ReadVector<int32_t>(header.dims);
  const auto bounds = ReadVector<int64_t>(header.bounds);
  std::vector<std::unique_ptr<GuardedMemory>> memory;
  for (uint64_t i = 0; i < header.operands; ++i) {
    const auto bytes = Read<uint64_t>();
    memory.push_back(std::make_unique<GuardedMemory>("", bytes, 0));
    ReadBytes(memory.back()->data(), bytes);
  }
  memory.push_back(std::make_unique<GuardedMemory>("scratch", header.scratch_bytes, header.fill));
  const auto function = reinterpret_cast<KernelFunction>(code + header.offset);
  const RunOutcome outcome = RunWatched(function, memory, dims, bounds);
  WriteBytes(&outcome, sizeof(outcome));
  memory.pop_back();
  for (const auto& block : memory) WriteBytes(block->data(), block->size());
  fflush(stdout);
}

}  // namespace
}  // namespace ninfer

int main() {
  uint8_t* code = ninfer::MapCode();
  while (true) ninfer::Run(code);
}
