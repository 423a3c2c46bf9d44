#include "tests/support/guarded_memory.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

namespace ninfer {
namespace {

constexpr size_t kPage = 4096;
constexpr uint8_t kCanary = 0xa5;

size_t RoundUp(size_t value, size_t to) { return (value + to - 1) / to * to; }

thread_local sigjmp_buf* stray_jump = nullptr;
thread_local siginfo_t stray;

void OnSignal(int signal, siginfo_t* info, void*) {
  if (stray_jump == nullptr) {
    ::signal(signal, SIG_DFL);
    return;  // the instruction runs again and ends the process
  }
  stray = *info;
  siglongjmp(*stray_jump, 1);
}

void InstallHandlers() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = OnSignal;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) sigaction(signal, &action, nullptr);
  });
}

void Require(bool mapped) {
  if (mapped) return;
  perror("guarded memory");
  abort();
}

}  // namespace

GuardedMemory::GuardedMemory(std::string name, size_t bytes, uint16_t fill)
    : name_(std::move(name)), bytes_(bytes), fill_(fill) {
  inside_ = RoundUp(std::max<size_t>(bytes, 1), kPage);
  mapping_ = static_cast<uint8_t*>(mmap(nullptr, inside_ + 2 * kPage, PROT_NONE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  Require(mapping_ != MAP_FAILED);
  Require(mprotect(mapping_ + kPage, inside_, PROT_READ | PROT_WRITE) == 0);
  std::memset(mapping_ + kPage, kCanary, inside_);
  data_ = mapping_ + kPage + inside_ - RoundUp(bytes, 64);
  Fill();
}

GuardedMemory::~GuardedMemory() { munmap(mapping_, inside_ + 2 * kPage); }

void GuardedMemory::Fill() {
  for (size_t i = 0; i + 2 <= bytes_; i += 2) std::memcpy(data_ + i, &fill_, 2);
}

bool GuardedMemory::Intact() const {
  const uint8_t* begin = mapping_ + kPage;
  const uint8_t* data = data_;
  const auto is_canary = [](uint8_t byte) { return byte == kCanary; };
  return std::all_of(begin, data, is_canary) &&
         std::all_of(data + bytes_, begin + inside_, is_canary);
}

bool GuardedMemory::Near(const void* address) const {
  return address >= mapping_ && address < mapping_ + inside_ + 2 * kPage;
}

RunOutcome RunWatched(KernelFunction function,
                      const std::vector<std::unique_ptr<GuardedMemory>>& memory,
                      const std::vector<int32_t>& dims, const std::vector<int64_t>& bounds) {
  InstallHandlers();
  std::vector<void*> operands;
  for (const auto& block : memory) operands.push_back(block->data());
  RunOutcome outcome;
  for (size_t i = 0; i + 1 < bounds.size(); ++i) {
    memory.back()->Fill();
    sigjmp_buf jump;
    stray = siginfo_t();
    stray_jump = &jump;
    if (sigsetjmp(jump, 1) == 0) {
      function(operands.data(), dims.data(), bounds[i], bounds[i + 1], operands.back());
    }
    stray_jump = nullptr;
    if (stray.si_signo == 0) continue;
    outcome.signal = stray.si_signo;
    for (size_t m = 0; m < memory.size() && outcome.memory < 0; ++m) {
      if (!memory[m]->Near(stray.si_addr)) continue;
      outcome.memory = static_cast<int64_t>(m);
      outcome.at = memory[m]->OffsetOf(stray.si_addr);
    }
    return outcome;
  }
  for (size_t m = 0; m < memory.size() && outcome.written_beside < 0; ++m) {
    if (!memory[m]->Intact()) outcome.written_beside = static_cast<int64_t>(m);
  }
  return outcome;
}

}  // namespace ninfer
