// Tested by tests/bench_test.py.
#include "bench/texts.h"

#include <algorithm>

#include "base/status.h"

namespace ninfer::bench {

Texts::Texts(Engine* engine, int64_t texts)
    : engine_(engine),
      executor_(engine->executor()),
      pages_(executor_),
      texts_(texts),
      ids_(texts) {
  for (const runtime::KvGroupLimits& group : executor_->limits().kv_groups) {
    windows_ |= group.window > 0;
  }
}

absl::Status Texts::Prepare(int64_t texts, int64_t begin, int64_t end) {
  for (int64_t i = 0; i < texts; ++i) {
    Text& text = texts_[i];
    if (windows_) {
      text.length = std::min(text.length, begin);
      if (!pages_.Holds(text.length, text.pages)) text.length = 0;
      pages_.Truncate(text.length, &text.pages);
      NINFER_RETURN_IF_ERROR(Compute(i, text.length, begin));
    } else if (text.length < end) {
      NINFER_RETURN_IF_ERROR(Compute(i, text.length, end));
    }
  }
  return absl::OkStatus();
}

absl::Status Texts::Compute(int64_t text, int64_t begin, int64_t end) {
  const int64_t most = executor_->limits().max_tokens;
  for (; begin < end; begin = std::min(end, begin + most)) {
    NINFER_RETURN_IF_ERROR(Step(text, text + 1, begin, std::min(end, begin + most)));
  }
  return absl::OkStatus();
}

absl::Status Texts::Step(int64_t first, int64_t last, int64_t begin, int64_t end) {
  NINFER_RETURN_IF_ERROR(engine_->CheckCancelled());
  const int64_t vocab = executor_->metadata().vocab_size;
  tokens_.clear();
  positions_.clear();
  rows_.clear();
  bounds_.assign(1, 0);
  std::vector<const runtime::HeldPages*> held;
  for (int64_t i = first; i < last; ++i) {
    Text& text = texts_[i];
    NINFER_RETURN_IF_ERROR(pages_.Reserve(begin, end, &text.pages));
    text.length = windows_ ? end : std::max(text.length, end);
    held.push_back(&text.pages);
    for (int64_t position = begin; position < end; ++position) {
      tokens_.push_back(static_cast<int32_t>((position * 7919 + i * 611953 + 104729) % vocab));
      positions_.push_back(static_cast<int32_t>(position));
    }
    bounds_.push_back(static_cast<int32_t>(tokens_.size()));
    rows_.push_back(bounds_.back() - 1);
  }
  cached_.assign(last - first, static_cast<int32_t>(begin));
  lengths_.assign(tokens_.size(), static_cast<int32_t>(end));
  const std::vector<int32_t> table = runtime::PageTable(executor_->limits(), held);
  runtime::StepInput input;
  input.tokens = tokens_;
  input.positions = positions_;
  input.seq_bounds = bounds_;
  input.cached_lens = cached_;
  input.page_table = table;
  input.rows = rows_;
  input.rope_len = lengths_;
  return executor_->StepGreedy(input, ids_.data());
}

}  // namespace ninfer::bench
