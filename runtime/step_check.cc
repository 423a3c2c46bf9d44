// Tested by tests/runtime_step_check_test.cc.
#include "runtime/step_check.h"

#include "base/status.h"

namespace ninfer::runtime {
namespace {

absl::Status Expect(absl::string_view what, int64_t found, int64_t min, int64_t max) {
  if (found >= min && found <= max) return absl::OkStatus();
  return InvalidArgument("step: ", what, ": expected ", min, " to ", max, ", found ", found);
}

absl::Status ExpectSize(absl::string_view what, size_t found, int64_t expected) {
  if (static_cast<int64_t>(found) == expected) return absl::OkStatus();
  return InvalidArgument("step: ", what, ": expected ", expected, " values, found ", found);
}

}  // namespace

StepChecker::StepChecker(const ExecutorLimits& limits, int64_t vocab_size)
    : limits_(limits), vocab_size_(vocab_size) {
  for (const KvGroupLimits& group : limits.kv_groups) holders_.emplace_back(group.total_pages);
}

absl::Status StepChecker::Check(const StepInput& input) {
  NINFER_RETURN_IF_ERROR(CheckShapes(input));
  NINFER_RETURN_IF_ERROR(CheckSequences(input));
  ++step_;
  for (size_t group = 0; limits_.has_kv_cache && group < holders_.size(); ++group) {
    NINFER_RETURN_IF_ERROR(CheckPages(input, group));
  }
  return absl::OkStatus();
}

absl::Status StepChecker::CheckShapes(const StepInput& input) const {
  const int64_t tokens = static_cast<int64_t>(input.tokens.size());
  const int64_t sequences = static_cast<int64_t>(input.seq_bounds.size()) - 1;
  NINFER_RETURN_IF_ERROR(Expect("tokens", tokens, 1, limits_.max_tokens));
  NINFER_RETURN_IF_ERROR(Expect("sequences", sequences, 1, limits_.max_sequences));
  NINFER_RETURN_IF_ERROR(
      Expect("rows wanted", static_cast<int64_t>(input.rows.size()), 1, limits_.max_rows));
  NINFER_RETURN_IF_ERROR(ExpectSize("positions", input.positions.size(), tokens));
  NINFER_RETURN_IF_ERROR(ExpectSize("rope_len", input.rope_len.size(), tokens));
  NINFER_RETURN_IF_ERROR(ExpectSize("cached_lens", input.cached_lens.size(), sequences));
  if (limits_.has_kv_cache) {
    const int64_t tables = static_cast<int64_t>(limits_.kv_groups.size()) * sequences;
    NINFER_RETURN_IF_ERROR(
        ExpectSize("page_table", input.page_table.size(), tables * limits_.pages_per_sequence));
  }
  NINFER_RETURN_IF_ERROR(CheckPictures(input));
  for (int32_t token : input.tokens) {
    NINFER_RETURN_IF_ERROR(Expect("token", token, 0, vocab_size_ - 1));
  }
  for (int32_t length : input.rope_len) {
    NINFER_RETURN_IF_ERROR(Expect("rope_len", length, 1, limits_.context_length));
  }
  int32_t previous = -1;
  for (int32_t row : input.rows) {
    NINFER_RETURN_IF_ERROR(Expect("row wanted", row, previous + 1, tokens - 1));
    previous = row;
  }
  return absl::OkStatus();
}

absl::Status StepChecker::CheckPictures(const StepInput& input) const {
  if (input.pictures.empty() && input.is_picture.empty()) return absl::OkStatus();
  if (limits_.picture_columns == 0) {
    return InvalidArgument("step: pictures: expected none for a model that does not see, found ",
                           input.is_picture.size(), " rows");
  }
  const int64_t tokens = static_cast<int64_t>(input.tokens.size());
  NINFER_RETURN_IF_ERROR(ExpectSize("is_picture", input.is_picture.size(), tokens));
  NINFER_RETURN_IF_ERROR(
      ExpectSize("pictures", input.pictures.size(), tokens * limits_.picture_columns));
  for (int32_t is : input.is_picture) NINFER_RETURN_IF_ERROR(Expect("is_picture", is, 0, 1));
  return absl::OkStatus();
}

absl::Status StepChecker::CheckSequences(const StepInput& input) const {
  const int64_t sequences = static_cast<int64_t>(input.cached_lens.size());
  const int64_t tokens = static_cast<int64_t>(input.tokens.size());
  NINFER_RETURN_IF_ERROR(Expect("first sequence bound", input.seq_bounds[0], 0, 0));
  NINFER_RETURN_IF_ERROR(
      Expect("last sequence bound", input.seq_bounds[sequences], tokens, tokens));
  const int64_t most_cached = limits_.has_kv_cache ? limits_.context_length : 0;
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t begin = input.seq_bounds[s], cached = input.cached_lens[s];
    NINFER_RETURN_IF_ERROR(Expect("sequence bound", input.seq_bounds[s + 1], begin + 1, tokens));
    NINFER_RETURN_IF_ERROR(Expect("cached length", cached, 0, most_cached));
    const int64_t end = cached + input.seq_bounds[s + 1] - begin;
    NINFER_RETURN_IF_ERROR(Expect("length of a sequence", end, 1, limits_.context_length));
    for (int64_t t = begin; t < input.seq_bounds[s + 1]; ++t) {
      const int64_t position = cached + t - begin;
      NINFER_RETURN_IF_ERROR(Expect("position", input.positions[t], position, position));
    }
  }
  return absl::OkStatus();
}

absl::Status StepChecker::CheckPages(const StepInput& input, size_t group) {
  const KvGroupLimits& group_limits = limits_.kv_groups[group];
  const size_t sequences = input.cached_lens.size();
  for (size_t s = 0; s < sequences; ++s) {
    const int64_t cached = input.cached_lens[s];
    const int64_t end = cached + input.seq_bounds[s + 1] - input.seq_bounds[s];
    const int64_t first_read = group_limits.FirstSeen(cached) / limits_.page_positions;
    const int64_t first_written = cached / limits_.page_positions;
    const int64_t pages = PagesFor(end, limits_.page_positions);
    NINFER_RETURN_IF_ERROR(Expect("pages of a sequence", pages, 1, limits_.pages_per_sequence));
    const int32_t* table =
        input.page_table.data() + (group * sequences + s) * limits_.pages_per_sequence;
    for (int64_t i = first_read; i < pages; ++i) {
      NINFER_RETURN_IF_ERROR(Expect("page", table[i], 0, group_limits.total_pages - 1));
      Holder& holder = holders_[group][table[i]];
      const bool written = i >= first_written;
      if (holder.step == step_ && (written || holder.written)) {
        return InvalidArgument("step: page ", table[i],
                               ": expected one place for a page that is written, found two");
      }
      holder = {step_, written};
    }
  }
  return absl::OkStatus();
}

}  // namespace ninfer::runtime
