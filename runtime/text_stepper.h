// One text on an executor: appends tokens and gives the logits of the last, or the id of the
// largest of them. Hides whether there is a cache. Used by the session. Tested by
// tests/runtime_session_test.cc.
#ifndef NINFER_RUNTIME_TEXT_STEPPER_H_
#define NINFER_RUNTIME_TEXT_STEPPER_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/executor.h"
#include "runtime/kv_pages.h"

namespace ninfer::runtime {

class TextStepper {
 public:
  // With `all_logits` the logits of every position are appended to it. Both must outlive the
  // stepper.
  TextStepper(Executor* executor, KvPages* pages, std::vector<float>* all_logits);

  ~TextStepper();
  TextStepper(const TextStepper&) = delete;
  TextStepper& operator=(const TextStepper&) = delete;

  // From now on steps give the id of the last token's largest logit, and no logits. Not with
  // `all_logits`.
  void WantLargestAlone(bool wanted) { largest_alone_ = wanted && all_logits_ == nullptr; }
  bool largest_alone() const { return largest_alone_; }

  // Appends the tokens in steps of `chunk` at most (0: as many as a step takes). Stops between
  // steps once `cancelled` says so. Frequencies that depend on a text's length see `length`, or
  // each position's own where it is 0; where they change for the whole text (Metadata's
  // rope_crossing), the text so far is computed again.
  absl::Status Append(absl::Span<const int32_t> tokens, int64_t chunk, int64_t length,
                      const std::function<bool()>& cancelled);

  // Rows [n, columns] that take the place of the embeddings of id `token`, in the order of the
  // text; ids that come when all have been taken keep theirs. Those of the text so far stay.
  void SetPictures(int32_t token, absl::Span<const float> rows);
  // The row that stands at a position of the text; empty where its id's own embedding does.
  absl::Span<const float> PictureAt(int64_t position) const;

  // Goes back to the first `length` tokens, as if no more had been appended, or to none at all when
  // what lies before a window of theirs is no longer held: see length(). There are no last logits
  // until the next Append.
  void Truncate(int64_t length);
  const std::vector<int32_t>& text() const { return text_; }

  absl::Span<const float> last_logits() const { return last_; }
  // Of the last token; -1: no logit was above -inf.
  int32_t last_largest() const { return last_largest_; }
  int64_t length() const { return static_cast<int64_t>(text_.size()); }

 private:
  // Computes the text so far again, with the frequencies of a text of this length.
  absl::Status ComputeAgain(int64_t chunk, int64_t length, const std::function<bool()>& cancelled);
  absl::Status AppendChunk(absl::Span<const int32_t> tokens, int64_t length);
  // Computes rows [first, first + count) of the step's tokens, which begin at position `begin`.
  absl::Status Run(int64_t begin, int64_t first, int64_t count);
  void Keep(int64_t rows);
  void TakeRow(int32_t token);

  Executor* executor_;
  KvPages* pages_;
  std::vector<float>* all_logits_;
  int64_t vocab_;
  std::vector<int32_t> text_, rope_len_;
  int64_t picture_columns_;
  int32_t picture_token_ = -1;
  std::vector<float> picture_rows_;
  std::vector<int32_t> row_of_;  // [text], -1: none
  int64_t rows_taken_ = 0;
  HeldPages held_pages_;
  std::vector<float> logits_;  // of the rows of one step
  absl::Span<const float> last_;
  bool largest_alone_ = false;
  int32_t last_largest_ = -1;
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_TEXT_STEPPER_H_
