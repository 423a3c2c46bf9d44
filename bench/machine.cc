// Barrier and read probes, and the rule that a figure belongs to one state. The matrix peaks stand
// in matrix_peak.cc. Tested by tests/bench_machine_test.cc.
#include "bench/machine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <limits>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "runtime/bandwidth.h"

namespace ninfer::bench {
namespace {

constexpr int kBarrierBatches = 20;
constexpr double kMostBarrierSeconds = 0.1;  // where others take the CPUs, batches are few
constexpr uint32_t kBarriersInABatch = 2000;
// Geometric means of the typical 50 and 250 ns with what lies around them.
constexpr double kMostOfC = 100, kLeastOfS = 150, kMostOfS = 450;
// On an idle machine a thread waits for some microseconds after it was woken; on a busy one for as
// long as it computes, and longer. Less than so much in all may be chance.
constexpr double kMostWait = 0.1;  // of the CPU time
constexpr double kMostWaitByChance = 2e-3;
constexpr double kReadBatchSeconds = 0.06;
constexpr int kLeastPasses = 4;

struct Flag {
  alignas(64) std::atomic<uint32_t> round{0};
};

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double BarrierNanoseconds(runtime::ThreadPool* pool) {
  NINFER_CHECK(pool->size() >= 2);
  Flag flags[2];
  double best = std::numeric_limits<double>::infinity();
  const double end = Seconds() + kMostBarrierSeconds;
  std::atomic<bool> ended{false};  // set before a barrier, read by both behind it
  pool->Run([&](int thread) {
    if (thread > 1) return;
    uint32_t round = 0;
    for (int batch = 0; batch < kBarrierBatches && !ended.load(std::memory_order_relaxed);
         ++batch) {
      const double start = Seconds();
      for (uint32_t i = 0; i < kBarriersInABatch; ++i) {
        if (thread == 0 && i + 1 == kBarriersInABatch && Seconds() > end) {
          ended.store(true, std::memory_order_relaxed);
        }
        flags[thread].round.store(++round, std::memory_order_release);
        while (flags[1 - thread].round.load(std::memory_order_acquire) < round) Pause();
      }
      if (thread == 0) best = std::min(best, (Seconds() - start) / kBarriersInABatch);
    }
  });
  return best * 1e9;
}

std::string StateLabel(double barrier_nanoseconds) {
  if (barrier_nanoseconds <= 0) return "-";
  if (barrier_nanoseconds <= kMostOfC) return "C";
  return barrier_nanoseconds >= kLeastOfS && barrier_nanoseconds <= kMostOfS ? "S" : "other";
}

StateProbe::StateProbe() {
  host_.Run([this] {
    if (runtime::DefaultThreads(runtime::ReadCpuLimits()) >= 2) {
      pool_ = std::make_unique<runtime::ThreadPool>(2);
    }
  });
}

StateProbe::~StateProbe() {
  host_.Run([this] { pool_.reset(); });
}

double StateProbe::Nanoseconds() {
  double nanoseconds = 0;
  host_.Run([&] {
    if (pool_ != nullptr) nanoseconds = BarrierNanoseconds(pool_.get());
  });
  return nanoseconds;
}

CpuWait& CpuWait::operator+=(const CpuWait& other) {
  waited_seconds += other.waited_seconds;
  cpu_seconds += other.cpu_seconds;
  return *this;
}

bool CpuWait::disturbed() const {
  return waited_seconds > kMostWaitByChance && waited_seconds > kMostWait * cpu_seconds;
}

// Linux's Documentation/scheduler/sched-stats.rst: nanoseconds on a CPU, nanoseconds of waiting for
// one, slices. Of the threads that live; nothing where the system keeps no such figures.
CpuWait CpuWaitSoFar() {
  CpuWait sum;
  std::error_code error;
  for (std::filesystem::directory_iterator thread("/proc/self/task", error), end;
       !error && thread != end; thread.increment(error)) {
    const absl::StatusOr<std::string> text =
        ReadFile((thread->path() / "schedstat").string(), 1 << 12);
    if (!text.ok()) continue;  // it has ended
    const std::vector<absl::string_view> figures = absl::StrSplit(*text, ' ');
    int64_t ran = 0, waited = 0;
    if (figures.size() < 2 || !absl::SimpleAtoi(figures[0], &ran) ||
        !absl::SimpleAtoi(figures[1], &waited)) {
      continue;
    }
    sum += {1e-9 * static_cast<double>(waited), 1e-9 * static_cast<double>(ran)};
  }
  return sum;
}

CpuWait CpuWaitSince(const CpuWait& begin) {
  const CpuWait now = CpuWaitSoFar();
  return {now.waited_seconds - begin.waited_seconds, now.cpu_seconds - begin.cpu_seconds};
}

void StateReport::Add(const StateReport& other) {
  label = label.empty() || label == other.label ? other.label : "mixed";
  barrier_nanoseconds = other.barrier_nanoseconds;
  repeats += other.repeats;
  cpu_wait += other.cpu_wait;
}

std::string StateReport::Shown(double share) const {
  return cpu_wait.disturbed() || share > kMostShare ? kDisturbed : label;
}

absl::StatusOr<StateReport> MeasureInOneState(int repetitions,
                                              absl::FunctionRef<double()> barrier_nanoseconds,
                                              absl::FunctionRef<absl::Status()> measure,
                                              absl::FunctionRef<void()> keep) {
  StateReport report;
  const int most_repeats = std::max(3, repetitions);
  for (int kept = 0; kept < repetitions;) {
    const double before = barrier_nanoseconds();
    const CpuWait begin = CpuWaitSoFar();
    NINFER_RETURN_IF_ERROR(measure());
    const CpuWait found = CpuWaitSince(begin);
    const double after = barrier_nanoseconds();
    const std::string label = StateLabel(before);
    const bool one_state =
        label == StateLabel(after) && (report.label.empty() || label == report.label);
    if (!one_state && report.repeats < most_repeats) {
      ++report.repeats;
      continue;
    }
    report.label = one_state ? label : "mixed";
    report.barrier_nanoseconds = before;
    report.cpu_wait += found;
    keep();
    ++kept;
  }
  return report;
}

absl::StatusOr<ReadProbe> ReadProbe::Create(runtime::ThreadPool* pool, int64_t most_bytes) {
  NINFER_ASSIGN_OR_RETURN(
      std::unique_ptr<plan::Memory> memory,
      plan::Memory::Allocate(static_cast<uint64_t>(most_bytes) + 64, "read probe"));
  // Touched, so that there are pages behind it; and not all alike, so that none are merged.
  for (uint64_t i = 0; i + 8 <= memory->bytes(); i += 4096) {
    std::memcpy(memory->data() + i, &i, 8);
  }
  return ReadProbe(pool, std::move(memory));
}

double ReadProbe::PassesPerSecond(int64_t bytes) {
  const uint64_t lines = (static_cast<uint64_t>(bytes) + 63) / 64;
  const double first = runtime::ReadOnce(pool_, memory_->data(), lines * 64);
  const int passes =
      std::max(kLeastPasses, static_cast<int>(kReadBatchSeconds / std::max(first, 1e-6)));
  double total = 0;
  for (int i = 0; i < passes; ++i) total += runtime::ReadOnce(pool_, memory_->data(), lines * 64);
  return passes / total;
}

}  // namespace ninfer::bench
