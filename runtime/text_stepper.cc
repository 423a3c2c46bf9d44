// Tested by tests/runtime_session_test.cc.
#include "runtime/text_stepper.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/status.h"

namespace ninfer::runtime {

TextStepper::TextStepper(Executor* executor, KvPages* pages, std::vector<float>* all_logits)
    : executor_(executor),
      pages_(pages),
      all_logits_(all_logits),
      vocab_(executor->metadata().vocab_size),
      picture_columns_(executor->limits().picture_columns) {}

TextStepper::~TextStepper() { pages_->Release(&held_pages_); }

absl::Status TextStepper::Append(absl::Span<const int32_t> tokens, int64_t chunk, int64_t length,
                                 const std::function<bool()>& cancelled) {
  const ExecutorLimits& limits = executor_->limits();
  int64_t most = chunk > 0 ? std::min(chunk, limits.max_tokens) : limits.max_tokens;
  if (!limits.has_kv_cache) most = static_cast<int64_t>(tokens.size());  // always the whole text
  if (all_logits_ != nullptr && limits.has_kv_cache) most = std::min(most, limits.max_rows);
  const int64_t crossing = executor_->metadata().rope_crossing;
  const int64_t after = std::max<int64_t>(length, this->length() + tokens.size());
  if (crossing > 0 && !text_.empty() && rope_len_.back() <= crossing && after > crossing) {
    NINFER_RETURN_IF_ERROR(ComputeAgain(chunk, after, cancelled));
  }
  while (!tokens.empty()) {
    if (cancelled && cancelled()) return absl::CancelledError("interrupted");
    const int64_t count = std::min<int64_t>(most, static_cast<int64_t>(tokens.size()));
    NINFER_RETURN_IF_ERROR(AppendChunk(tokens.first(count), length));
    tokens.remove_prefix(count);
  }
  return absl::OkStatus();
}

absl::Status TextStepper::ComputeAgain(int64_t chunk, int64_t length,
                                       const std::function<bool()>& cancelled) {
  if (!executor_->limits().has_kv_cache) {  // the next step does it
    std::fill(rope_len_.begin(), rope_len_.end(), static_cast<int32_t>(length));
    return absl::OkStatus();
  }
  const std::vector<int32_t> text = std::exchange(text_, {});
  rope_len_.clear();
  row_of_.clear();
  rows_taken_ = 0;
  pages_->Release(&held_pages_);
  // The logits of these tokens were given when they came.
  std::vector<float>* const all_logits = std::exchange(all_logits_, nullptr);
  const absl::Status status = Append(text, chunk, length, cancelled);
  all_logits_ = all_logits;
  return status;
}

void TextStepper::SetPictures(int32_t token, absl::Span<const float> rows) {
  picture_token_ = token;
  picture_rows_.assign(rows.begin(), rows.end());
}

absl::Span<const float> TextStepper::PictureAt(int64_t position) const {
  const int32_t row = row_of_[position];
  if (row < 0) return {};
  return absl::MakeConstSpan(picture_rows_).subspan(row * picture_columns_, picture_columns_);
}

void TextStepper::TakeRow(int32_t token) {
  const int64_t rows =
      picture_columns_ == 0 ? 0 : static_cast<int64_t>(picture_rows_.size()) / picture_columns_;
  const bool takes = token == picture_token_ && rows_taken_ < rows;
  row_of_.push_back(takes ? static_cast<int32_t>(rows_taken_++) : -1);
}

void TextStepper::Truncate(int64_t length) {
  length = std::min(length, this->length());
  if (!pages_->Holds(length, held_pages_)) length = 0;
  // The last page may keep more: later tokens overwrite it, and no row sees it before that.
  pages_->Truncate(length, &held_pages_);
  text_.resize(static_cast<size_t>(length));
  rope_len_.resize(text_.size());
  row_of_.resize(text_.size());
  rows_taken_ = std::count_if(row_of_.begin(), row_of_.end(), [](int32_t row) { return row >= 0; });
  last_ = {};
  last_largest_ = -1;
}

absl::Status TextStepper::AppendChunk(absl::Span<const int32_t> tokens, int64_t length) {
  const int64_t old_length = this->length();
  const int64_t count = static_cast<int64_t>(tokens.size());
  for (int64_t i = 0; i < count; ++i) {
    text_.push_back(tokens[i]);
    TakeRow(tokens[i]);
    rope_len_.push_back(static_cast<int32_t>(std::max(length, old_length + i + 1)));
  }
  const ExecutorLimits& limits = executor_->limits();
  const int64_t begin = limits.has_kv_cache ? old_length : 0;
  if (limits.has_kv_cache) {
    NINFER_RETURN_IF_ERROR(pages_->Reserve(begin, this->length(), &held_pages_));
  }
  // Without a cache all rows may be more than one step gives: the text is computed again for the
  // others.
  int64_t first = all_logits_ != nullptr ? old_length - begin : this->length() - begin - 1;
  while (first < this->length() - begin) {
    const int64_t rows = std::min(limits.max_rows, this->length() - begin - first);
    NINFER_RETURN_IF_ERROR(Run(begin, first, rows));
    first += rows;
  }
  return absl::OkStatus();
}

absl::Status TextStepper::Run(int64_t begin, int64_t first, int64_t count) {
  const ExecutorLimits& limits = executor_->limits();
  const int64_t tokens = length() - begin;
  std::vector<int32_t> positions(tokens), rows(count);
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(begin));
  std::iota(rows.begin(), rows.end(), static_cast<int32_t>(first));
  const int32_t bounds[2] = {0, static_cast<int32_t>(tokens)};
  const int32_t cached[1] = {static_cast<int32_t>(begin)};
  std::vector<int32_t> page_table;
  if (limits.has_kv_cache) page_table = PageTable(limits, {&held_pages_});

  StepInput input;
  input.tokens = absl::MakeConstSpan(text_).subspan(begin);
  input.positions = positions;
  input.seq_bounds = bounds;
  input.cached_lens = cached;
  input.page_table = page_table;
  input.rows = rows;
  input.rope_len = absl::MakeConstSpan(rope_len_).subspan(begin);
  std::vector<float> pictures;
  std::vector<int32_t> is_picture;
  if (rows_taken_ > 0) {
    pictures.resize(tokens * picture_columns_);
    for (int64_t i = 0; i < tokens; ++i) {
      const absl::Span<const float> row = PictureAt(begin + i);
      is_picture.push_back(row.empty() ? 0 : 1);
      std::copy(row.begin(), row.end(), pictures.begin() + i * picture_columns_);
    }
    input.pictures = pictures;
    input.is_picture = is_picture;
  }
  if (largest_alone_) {  // of one row: the text's last
    last_ = {};
    return executor_->StepGreedy(input, &last_largest_);
  }
  logits_.resize(std::max<size_t>(logits_.size(), count * vocab_));
  NINFER_RETURN_IF_ERROR(executor_->Step(input, logits_.data()));
  Keep(count);
  return absl::OkStatus();
}

void TextStepper::Keep(int64_t rows) {
  last_ = absl::MakeConstSpan(logits_).subspan((rows - 1) * vocab_, vocab_);
  if (all_logits_ == nullptr) return;
  all_logits_->insert(all_logits_->end(), logits_.begin(), logits_.begin() + rows * vocab_);
}

}  // namespace ninfer::runtime
