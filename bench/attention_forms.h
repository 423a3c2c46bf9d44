// Attention's three forms side by side at several lengths: naive (all scores stored), efficient
// (those of a chunk of rows) and flash (none). A model's own heads in one layer that is otherwise
// as small as can be, so that attention is what takes time and memory. Tested by
// tests/bench_test.py.
#ifndef NINFER_BENCH_ATTENTION_FORMS_H_
#define NINFER_BENCH_ATTENTION_FORMS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/count.h"
#include "bench/engine.h"
#include "bench/progress.h"
#include "bench/report.h"

namespace ninfer::bench {

struct AttentionOptions {
  AttentionShape shape;
  std::string type;  // "f32" or "bf16"
  std::vector<int64_t> lengths;
  int threads = 0;
  int repetitions = 5;
  Progress* progress = nullptr;  // never null; told of each length
};

absl::StatusOr<Table> CompareAttentionForms(const AttentionOptions& options,
                                            const std::string& label,
                                            const runtime::CompilerCallbacks& callbacks);

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_ATTENTION_FORMS_H_
