// The one interface between the generation loop and whatever computes a step: the CPU image, the
// eager interpreter, later a GPU.
#ifndef NINFER_RUNTIME_EXECUTOR_H_
#define NINFER_RUNTIME_EXECUTOR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "plan/plan.h"

namespace ninfer::runtime {

// One step over S sequences whose new tokens lie one after the other. Sequence s owns rows
// seq_bounds[s] .. seq_bounds[s+1) of tokens and positions; cached_lens[s] positions are already in
// its pages; page_table[(g * S + s) * pages_per_sequence + i] is the page of positions 64 i .. 64 i
// + 63 in the pools of layer group g. A group with a window needs no page of which no row of the
// step sees a position.
// `rows` are the rows whose logits are wanted, ascending. rope_len[t] is the length of text by
// which frequencies that depend on it are chosen.
struct StepInput {
  absl::Span<const int32_t> tokens, positions;  // [T]
  absl::Span<const int32_t> seq_bounds;         // [S+1]
  absl::Span<const int32_t> cached_lens;        // [S]
  absl::Span<const int32_t> page_table;         // [kv_groups, S, pages_per_sequence]
  absl::Span<const int32_t> rows;               // [R]
  absl::Span<const int32_t> rope_len;           // [T]
  // Of a model that sees: where is_picture is 1, the row of `pictures` takes the place of the
  // token's embedding. Both may be empty.
  absl::Span<const float> pictures;      // [T, picture_columns]
  absl::Span<const int32_t> is_picture;  // [T]
};

// A frame of a picture as image/patches.h cuts it: T patches that become R rows.
struct VisionInput {
  absl::Span<const float> pixels;                // [T, channels * patch * patch]
  absl::Span<const int32_t> patch_ids, visible;  // [T]
  absl::Span<const int32_t> shuffle;             // [R, scale * scale], R scale^2 = T
};

// Layers whose caches hold the same positions, for they look back equally far.
struct KvGroupLimits {
  int64_t window = 0;  // positions that a row sees, its own among them; 0: all before it
  int64_t total_pages = 0;
  int64_t pages_held = 0;  // most that one sequence needs at once

  // The first position that a row at `position` sees.
  int64_t FirstSeen(int64_t position) const {
    return window == 0 || position < window ? 0 : position - window + 1;
  }
};

struct ExecutorLimits {
  int64_t max_tokens = 0;          // T of one step
  int64_t max_sequences = 0;       // S
  int64_t max_rows = 0;            // R
  int64_t pages_per_sequence = 0;  // G
  int64_t page_positions = 64;
  std::vector<KvGroupLimits> kv_groups;  // by window, the layers without one first
  int64_t context_length = 0;
  bool has_kv_cache = true;     // false: every step takes whole texts and cached_lens are 0
  int64_t picture_columns = 0;  // of the rows of pictures; 0: the model does not see
};

class Executor {
 public:
  virtual ~Executor() = default;
  virtual const plan::Metadata& metadata() const = 0;
  virtual const ExecutorLimits& limits() const = 0;
  // Makes a page ready for new positions: zeroes it in every layer of the group.
  virtual void ClearPage(int group, int32_t page) = 0;
  // `logits` receives [R, vocab_size] f32. Arguments outside the limits are refused, never run.
  virtual absl::Status Step(const StepInput& input, float* logits) = 0;
  // `ids` receives of each row the id of the largest logit, [R]: of equals the lowest, and -1 where
  // none is above -inf. Sooner than Step where the plan's own code finds them.
  virtual absl::Status StepGreedy(const StepInput& input, int32_t* ids);
  // How the model sees; null when it does not.
  virtual const plan::Vision* vision() const { return nullptr; }
  // `rows` receives [R, picture_columns]. Arguments out of place are refused, never run.
  virtual absl::Status See(const VisionInput& input, float* rows);
  // Bytes that one decode step with `cached` positions reads: weights, and the cache.
  virtual int64_t BytesPerToken(int64_t cached) const = 0;
  // Bytes of the cache that a text of so many positions holds.
  virtual int64_t CacheBytes(int64_t positions) const = 0;
  virtual int64_t scratch_bytes() const = 0;    // arena, replicas and thread scratch
  virtual std::string description() const = 0;  // "compiled zen4, 2 threads"
  // Bytes a second that the memory under the weights moves, measured now in about as many seconds;
  // 0 where only its caller can tell.
  virtual double MeasureBandwidth(double seconds) { return 0; }

 private:
  std::vector<float> logits_;  // of a step whose ids alone are wanted
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_EXECUTOR_H_
