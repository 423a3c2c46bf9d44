// The two limits of a step, measured with the threads that compute it: how fast they read, and how
// fast they multiply. Tested by tests/bench_work_test.cc.
#ifndef NINFER_BENCH_SPEED_H_
#define NINFER_BENCH_SPEED_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "bench/engine.h"
#include "bench/machine.h"

namespace ninfer::bench {

struct MachineSpeed {
  double bytes_per_second = 0, operations_per_second = 0;
  std::string peak;   // "fma-f32-512 432 GFLOP/s"
  std::string peaks;  // the same of all instructions that were tried, with commas

  void TakeBest(const MachineSpeed& other);
  std::string reads() const;  // "read 45.1 GB/s"
};

// The least time of so many bytes read once and so many operations, and which of the two takes it.
struct Limit {
  double seconds = 0;
  bool reads = true;
};
Limit LimitOf(double bytes, double operations, const MachineSpeed& speed);

// Asks the machine. Lives on the engine's thread.
class SpeedProbe {
 public:
  // For steps of the engine's plan that read `most_bytes` at most.
  static absl::StatusOr<SpeedProbe> Create(Engine* engine, double most_bytes);
  // Now: bytes as steps of so many bytes read them; products of the types that the plan has, of
  // whichever instruction is fastest.
  MachineSpeed Measure(double bytes);

 private:
  SpeedProbe(Engine* engine, ProductTypes types, ReadProbe reads)
      : engine_(engine), types_(types), reads_(std::move(reads)) {}
  Engine* engine_;
  ProductTypes types_;
  ReadProbe reads_;
};

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_SPEED_H_
