#include "tests/support/guarded_memory.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/status.h"

namespace ninfer {
namespace {

constexpr size_t kPage = 4096;
constexpr uint8_t kCanary = 0xa5;

size_t RoundUp(size_t value, size_t to) { return (value + to - 1) / to * to; }

thread_local sigjmp_buf* stray_jump = nullptr;
thread_local Stray stray;

void OnSignal(int signal, siginfo_t* info, void*) {
  if (stray_jump == nullptr) {
    ::signal(signal, SIG_DFL);
    return;  // the instruction runs again and ends the process
  }
  stray = {signal, info->si_addr};
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

}  // namespace

GuardedMemory::GuardedMemory(std::string name, size_t bytes, uint16_t fill)
    : name_(std::move(name)), bytes_(bytes), fill_(fill) {
  inside_ = RoundUp(std::max<size_t>(bytes, 1), kPage);
  mapping_ = static_cast<uint8_t*>(mmap(nullptr, inside_ + 2 * kPage, PROT_NONE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  NINFER_CHECK(mapping_ != MAP_FAILED);
  NINFER_CHECK(mprotect(mapping_ + kPage, inside_, PROT_READ | PROT_WRITE) == 0);
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

Stray CallWatched(absl::FunctionRef<void()> code) {
  InstallHandlers();
  sigjmp_buf jump;
  stray = Stray();
  stray_jump = &jump;
  if (sigsetjmp(jump, 1) == 0) code();
  stray_jump = nullptr;
  return stray;
}

}  // namespace ninfer
