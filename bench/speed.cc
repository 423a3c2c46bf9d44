// Tested by tests/bench_work_test.cc.
#include "bench/speed.h"

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace ninfer::bench {
namespace {

constexpr double kPeakSeconds = 0.05;

}  // namespace

void MachineSpeed::TakeBest(const MachineSpeed& other) {
  bytes_per_second = std::max(bytes_per_second, other.bytes_per_second);
  if (other.operations_per_second <= operations_per_second) return;
  operations_per_second = other.operations_per_second;
  peak = other.peak;
  peaks = other.peaks;
}

std::string MachineSpeed::reads() const {
  return absl::StrFormat("read %.1f GB/s", bytes_per_second / 1e9);
}

Limit LimitOf(double bytes, double operations, const MachineSpeed& speed) {
  const double reading = bytes / speed.bytes_per_second;
  const double multiplying = operations / speed.operations_per_second;
  return {std::max(reading, multiplying), reading >= multiplying};
}

absl::StatusOr<SpeedProbe> SpeedProbe::Create(Engine* engine, double most_bytes) {
  const std::string& activations = engine->executor()->metadata().activations_dtype;
  ProductTypes types;
  types.bf16 = absl::EndsWith(activations, "bf16");
  types.int8 = absl::StartsWith(activations, "int8");
  const int64_t bytes = std::max<int64_t>(static_cast<int64_t>(most_bytes), 64);
  NINFER_ASSIGN_OR_RETURN(ReadProbe reads, ReadProbe::Create(engine->pool(), bytes));
  return SpeedProbe(engine, types, std::move(reads));
}

MachineSpeed SpeedProbe::Measure(double bytes) {
  MachineSpeed speed;
  speed.bytes_per_second = bytes * reads_.PassesPerSecond(static_cast<int64_t>(bytes));
  for (const MatrixPeak& tried : MeasureMatrixPeaks(engine_->pool(), types_, kPeakSeconds)) {
    const std::string text =
        absl::StrFormat("%s %.0f GFLOP/s", tried.name, tried.operations_per_second / 1e9);
    absl::StrAppend(&speed.peaks, speed.peaks.empty() ? "" : ", ", text);
    if (tried.operations_per_second <= speed.operations_per_second) continue;
    speed.operations_per_second = tried.operations_per_second;
    speed.peak = text;
  }
  return speed;
}

}  // namespace ninfer::bench
