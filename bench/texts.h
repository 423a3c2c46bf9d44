// Texts on an engine's executor of which any part is computed again and again. The token at a
// position of a text is always the same, so that every test writes the same keys and values: a
// cache is filled once, and tests run in any order, interleaved with probes; only what lay before a
// window is computed again. Lives on the engine's thread. Tested by tests/bench_test.py.
#ifndef NINFER_BENCH_TEXTS_H_
#define NINFER_BENCH_TEXTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "bench/engine.h"
#include "runtime/kv_pages.h"

namespace ninfer::bench {

class Texts {
 public:
  // The executor must have pages for them all. A step's ids are kept by no one.
  Texts(Engine* engine, int64_t texts);

  // Makes ready to compute positions [begin, end) of the first `texts` texts, in memory that was
  // touched before.
  absl::Status Prepare(int64_t texts, int64_t begin, int64_t end);
  // Computes positions [begin, end) of the first `texts` texts in one step, and the id of the
  // largest logit of each one's last row, as greedy decoding does.
  absl::Status Step(int64_t texts, int64_t begin, int64_t end) {
    return Step(0, texts, begin, end);
  }
  int64_t max_tokens() const { return executor_->limits().max_tokens; }  // of one step

 private:
  struct Text {
    runtime::HeldPages pages;
    int64_t length = 0;  // that was computed: at one time; with windows, last
  };
  absl::Status Compute(int64_t text, int64_t begin, int64_t end);
  absl::Status Step(int64_t first, int64_t last, int64_t begin, int64_t end);

  Engine* engine_;
  runtime::Executor* executor_;
  runtime::KvPages pages_;
  std::vector<Text> texts_;
  bool windows_ = false;
  std::vector<int32_t> tokens_, positions_, bounds_, cached_, rows_, lengths_;  // of a step
  std::vector<int32_t> ids_;  // of the largest logits
};

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_TEXTS_H_
