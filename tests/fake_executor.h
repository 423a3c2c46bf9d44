// An executor whose logits are a hash of the text so far, read back from the pages it was told to
// keep them in: a session that loses, repeats or misplaces a token gives other ids.
#ifndef NINFER_TESTS_FAKE_EXECUTOR_H_
#define NINFER_TESTS_FAKE_EXECUTOR_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/hash.h"
#include "runtime/executor.h"
#include "runtime/step_check.h"

namespace ninfer::runtime {

class FakeExecutor : public Executor {
 public:
  explicit FakeExecutor(bool has_kv_cache = true, int64_t vocab = 50) {
    metadata_.vocab_size = vocab;
    metadata_.context_length = 200;
    metadata_.has_kv_cache = has_kv_cache;
    limits_.max_tokens = has_kv_cache ? 16 : 200;
    limits_.max_sequences = 2;
    limits_.max_rows = 4;
    limits_.pages_per_sequence = 4;
    if (has_kv_cache) limits_.kv_groups = {{0, 8, 4}};
    limits_.context_length = 200;
    limits_.has_kv_cache = has_kv_cache;
  }

  const plan::Metadata& metadata() const override { return metadata_; }
  const ExecutorLimits& limits() const override { return limits_; }
  plan::Metadata* mutable_metadata() { return &metadata_; }
  ExecutorLimits* mutable_limits() { return &limits_; }
  // A second group of layers that see `window` positions.
  void AddWindow(int64_t window, int64_t total_pages, int64_t pages_held) {
    limits_.kv_groups.push_back({window, total_pages, pages_held});
  }
  void ClearPage(int group, int32_t page) override {
    if (group == 0) cleared_.push_back(page);
    pages_[{group, page}].assign(64, -1);
  }

  absl::Status Step(const StepInput& input, float* logits) override {
    StepChecker checker(limits_, metadata_.vocab_size);
    absl::Status status = checker.Check(input);
    if (!status.ok()) return status;
    step_sizes_.push_back(static_cast<int>(input.tokens.size()));
    rope_lens_.insert(rope_lens_.end(), input.rope_len.begin(), input.rope_len.end());
    std::vector<int32_t> text;  // of one sequence
    const int groups = static_cast<int>(limits_.kv_groups.size());
    for (int32_t p = 0; groups > 0 && p < input.cached_lens[0]; ++p) {
      text.push_back(At(input, 0, p));
    }
    size_t row = 0;
    for (size_t t = 0; t < input.tokens.size(); ++t) {
      const int32_t position = input.positions[t];
      for (int group = 0; group < groups; ++group) {
        At(input, group, position) = input.tokens[t];
        // What a window's layers see must be the text, too.
        const int64_t first = limits_.kv_groups[group].FirstSeen(position);
        for (int64_t p = first; group > 0 && p <= position; ++p) {
          const int32_t expected =
              p < static_cast<int64_t>(text.size()) ? text[p] : input.tokens[t];
          if (At(input, group, p) == expected) continue;
          return absl::InternalError(absl::StrCat("group ", group, " lost position ", p));
        }
      }
      text.push_back(input.tokens[t]);
      if (row < input.rows.size() && input.rows[row] == static_cast<int32_t>(t)) {
        Logits(text, logits + row * metadata_.vocab_size);
        ++row;
      }
    }
    return absl::OkStatus();
  }

  void Logits(const std::vector<int32_t>& text, float* logits) const {
    const uint64_t hash = Hash64(text.data(), text.size() * sizeof(text[0]));
    for (int64_t v = 0; v < metadata_.vocab_size; ++v) {
      const uint64_t mixed[2] = {hash, static_cast<uint64_t>(v)};
      logits[v] = static_cast<float>(Hash64(mixed, sizeof(mixed)) % 10007) / 1000.0f;
    }
    auto forced = forced_.find(static_cast<int64_t>(text.size()));
    if (forced != forced_.end()) logits[forced->second] = 100;
  }
  // After `length` tokens the most likely one is `id`.
  void Force(int64_t length, int32_t id) { forced_[length] = id; }

  int64_t BytesPerToken(int64_t cached) const override { return 1000 + cached; }
  int64_t CacheBytes(int64_t positions) const override { return 2 * positions; }
  int64_t scratch_bytes() const override { return 0; }
  std::string description() const override { return "fake"; }

  const std::vector<int32_t>& cleared() const { return cleared_; }
  const std::vector<int>& step_sizes() const { return step_sizes_; }
  const std::vector<int32_t>& rope_lens() const { return rope_lens_; }

 private:
  plan::Metadata metadata_;
  ExecutorLimits limits_;
  int32_t& At(const StepInput& input, int group, int64_t position) {
    const size_t place = group * limits_.pages_per_sequence + position / 64;
    return pages_[{group, input.page_table[place]}][position % 64];
  }

  std::map<std::pair<int, int32_t>, std::vector<int32_t>> pages_;
  std::map<int64_t, int32_t> forced_;
  std::vector<int32_t> cleared_, rope_lens_;
  std::vector<int> step_sizes_;
};

}  // namespace ninfer::runtime

#endif  // NINFER_TESTS_FAKE_EXECUTOR_H_
