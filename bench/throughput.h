// Prefill of N tokens and decoding of N tokens behind D cached positions, with mean and deviation,
// as llama-bench gives them, and beside each the share of what the machine could do at most,
// measured in the same run:
// - decoding cannot be faster than reading the step's bytes (the plan's weights and the cache)
// once;
// - prefill cannot be faster than its products' operations at the vector units' peak.
// Choosing the token is no part of either. Tested by tests/bench_test.py.
#ifndef NINFER_BENCH_THROUGHPUT_H_
#define NINFER_BENCH_THROUGHPUT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/engine.h"
#include "bench/machine.h"
#include "bench/peer_set.h"
#include "bench/progress.h"
#include "bench/report.h"

namespace ninfer::bench {

struct ThroughputOptions {
  std::vector<int64_t> prefill, decode, depths = {0};
  int repetitions = 5;
  PeerSet* peers = nullptr;      // with the same shape loaded, or null
  Progress* progress = nullptr;  // never null; told of RowsOfThroughput rows
};

// What the progress is told of: each test of each round.
int RowsOfThroughput(const ThroughputOptions& options);

// `label` names the model in the title.
absl::StatusOr<Table> MeasureThroughput(Engine* engine, const std::string& label,
                                        const ThroughputOptions& options, StateProbe* state);

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_THROUGHPUT_H_
