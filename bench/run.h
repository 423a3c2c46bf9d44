// What ninfer-bench does with its flags: the story of a model, its throughput, or what its kernels
// take. Tested by tests/bench_test.py.
#ifndef NINFER_BENCH_RUN_H_
#define NINFER_BENCH_RUN_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "bench/engine.h"

namespace ninfer::bench {

struct RunOptions {
  ModelChoice model;
  std::vector<std::string> formats;   // empty: the default of what is measured
  std::string activations, kv_cache;  // empty: what the format says; for works alone
  // Any of these given, or `roofline`: throughput; none: the story.
  std::vector<int64_t> prefill, decode, depths, batches;
  bool roofline = false;  // the kernels of the same works
  std::vector<int64_t> new_tokens = {50, 100};
  std::vector<int64_t> attention_lengths = {64, 128, 256, 512, 1024, 2048};
  int repetitions = 0;  // 0: the default of what is measured
  int threads = 0;
  std::string output = "md";
  std::vector<std::string> peers;         // PeerNames(), or "all"; for the story one of PyTorch's
  std::vector<std::string> peer_sources;  // "ik=FOLDER"
  std::string peers_folder;               // where they are installed; empty: beside bin/
  std::string plot;                       // a file for the picture of the throughput; or empty
  std::function<void(absl::string_view line)> on_row;  // each row as it is measured; or empty
};

// The tables as text. Refuses values that mean nothing, naming the flag.
absl::StatusOr<std::string> Run(const RunOptions& options,
                                const runtime::CompilerCallbacks& callbacks);

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_RUN_H_
