// What the machine can do, measured beside what a plan does on it, and the state that it was in.
//
// The host of a virtual machine moves its cores about; whether two of them share a cache complex
// changes bandwidth by half. The time of a barrier of two threads tells: label S (two complexes,
// about 250 ns) or C (one, about 50 ns). A figure of two threads without it means little. Tested by
// tests/bench_machine_test.cc.
#ifndef NINFER_BENCH_MACHINE_H_
#define NINFER_BENCH_MACHINE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "bench/host.h"
#include "plan/memory.h"
#include "runtime/thread_pool.h"

namespace ninfer::bench {

double Seconds();  // of a clock that only goes forwards

// Nanoseconds of a barrier of two flags, each on a cache line of its own: the best of some batches.
// The pool must have two threads at least.
double BarrierNanoseconds(runtime::ThreadPool* pool);

// "S", "C", or "other" for a time that is typical of neither; "-" where fewer than two CPUs are
// left to this process (0 ns).
std::string StateLabel(double barrier_nanoseconds);

// Tells the state again and again, with threads of its own.
class StateProbe {
 public:
  StateProbe();
  ~StateProbe();
  double Nanoseconds();  // 0 where there is one CPU

 private:
  Host host_;
  std::unique_ptr<runtime::ThreadPool> pool_;
};

// How long threads of this process waited for a CPU although they had use for it, and how long they
// had one.
struct CpuWait {
  double waited_seconds = 0, cpu_seconds = 0;
  CpuWait& operator+=(const CpuWait& other);
  // Whether it was more than what the system itself causes now and then.
  bool disturbed() const;
};
CpuWait CpuWaitSoFar();
CpuWait CpuWaitSince(const CpuWait& begin);

// A share of a limit above this says that the limit was not measured in the machine's best moment.
inline constexpr double kMostShare = 1.05;

// The state in which a figure was measured.
struct StateReport {
  std::string label;  // "S", or "mixed"
  double barrier_nanoseconds = 0;
  int repeats = 0;
  CpuWait cpu_wait;  // of what was kept

  // Takes in what another measurement of the same row found.
  void Add(const StateReport& other);
  // The label; kDisturbed where threads waited for CPUs or `share` of the limit (0: none) is
  // impossible.
  std::string Shown(double share) const;
};
inline constexpr char kDisturbed[] = "disturbed";
// What it means, for the foot of a table.
inline constexpr char kDisturbedNote[] =
    "disturbed: threads waited for a CPU while the row was measured, as where other programs want "
    "it, or the row is faster than its limit was found to be; its figures tell of the machine "
    "then, not of the code.";
// Runs `measure` so many times, each with the same label before and behind, as far as a few
// repeats allow: what was measured while the label changed is dropped. `keep` is called behind each
// measurement that stays.
absl::StatusOr<StateReport> MeasureInOneState(int repetitions,
                                              absl::FunctionRef<double()> barrier_nanoseconds,
                                              absl::FunctionRef<absl::Status()> measure,
                                              absl::FunctionRef<void()> keep);

// Reads exactly so many bytes with a pool's threads, each its own part every time, as decoding
// reads weights: the most steps a second that the memory allows. In huge pages, whatever the plan
// got.
class ReadProbe {
 public:
  static absl::StatusOr<ReadProbe> Create(runtime::ThreadPool* pool, int64_t most_bytes);
  // Passes a second over the first `bytes`: the mean of a batch of passes.
  double PassesPerSecond(int64_t bytes);
  uint64_t huge_page_bytes() const { return memory_->huge_bytes(); }

 private:
  ReadProbe(runtime::ThreadPool* pool, std::unique_ptr<plan::Memory> memory)
      : pool_(pool), memory_(std::move(memory)) {}
  runtime::ThreadPool* pool_;
  std::unique_ptr<plan::Memory> memory_;
};

// A loop of multiply-adds on registers alone.
struct MatrixPeak {
  std::string name;                  // "fma-f32-512", "vdpbf16ps", "vpdpbusd"
  double operations_per_second = 0;  // of all threads together
};
// What products are made of, beside f32.
struct ProductTypes {
  bool bf16 = false, int8 = false;
};
// What this CPU has: f32 always; VDPBF16PS and VPDPBUSD where the types and the CPU have them. Each
// takes `seconds`.
std::vector<MatrixPeak> MeasureMatrixPeaks(runtime::ThreadPool* pool, ProductTypes types,
                                           double seconds);

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_MACHINE_H_
