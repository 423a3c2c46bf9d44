// Prefill of N tokens and decoding of N tokens, of one text or of several at a time, behind D
// cached positions, with mean and deviation, as llama-bench gives them, and beside each the share
// of what the machine could do at most, measured in the same run:
// - no step is faster than reading its bytes (the plan's weights and the caches) once;
// - nor than its products' operations at the vector units' peak.
// Choosing the token is no part of either. Tested by tests/bench_test.py.
#ifndef NINFER_BENCH_THROUGHPUT_H_
#define NINFER_BENCH_THROUGHPUT_H_

#include <string>

#include "absl/status/status.h"
#include "bench/engine.h"
#include "bench/machine.h"
#include "bench/peer_set.h"
#include "bench/progress.h"
#include "bench/report.h"
#include "bench/work.h"

namespace ninfer::bench {

struct ThroughputOptions {
  WorkLists works;
  int repetitions = 5;
  PeerSet* peers = nullptr;      // with the same shape loaded, or null
  Progress* progress = nullptr;  // never null; told of RowsOfThroughput rows
};

// What the progress is told of: each test of each round.
int RowsOfThroughput(const ThroughputOptions& options);

// Without rows. `label` names the model in the title, `engine` the machine.
Table ThroughputTable(const std::string& label, const Engine& engine);

// Adds the rows of one engine, opened for these works.
absl::Status MeasureThroughput(Engine* engine, const ThroughputOptions& options, StateProbe* state,
                               Table* table);

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_THROUGHPUT_H_
