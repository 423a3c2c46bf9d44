// Tested by tests/runtime_session_test.cc.
#include "runtime/session.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/match.h"
#include "base/status.h"
#include "runtime/stop_strings.h"
#include "text/detokenizer.h"

namespace ninfer::runtime {
namespace {

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

absl::Status CheckPrompt(const std::vector<int32_t>& prompt, int64_t vocab, int64_t longest) {
  if (prompt.empty()) return InvalidArgument("prompt: expected one token at least, found none");
  for (size_t i = 0; i < prompt.size(); ++i) {
    if (prompt[i] < 0 || prompt[i] >= vocab) {
      return InvalidArgument("prompt: token ", i, ": expected an id from 0 to ", vocab - 1,
                             ", found ", prompt[i]);
    }
  }
  if (static_cast<int64_t>(prompt.size()) > longest) {
    return InvalidArgument("prompt: expected at most ", longest,
                           " tokens, the context's length, found ", prompt.size());
  }
  return absl::OkStatus();
}

// As many rows as the prompt has places for them.
absl::Status CheckPictures(const std::vector<int32_t>& prompt, const std::vector<float>& pictures,
                           const Executor& executor) {
  if (pictures.empty()) return absl::OkStatus();
  if (executor.vision() == nullptr) {
    return InvalidArgument("pictures: expected a model that sees, found one that does not");
  }
  const int64_t places =
      std::count(prompt.begin(), prompt.end(), executor.vision()->image_token_id);
  const int64_t columns = executor.limits().picture_columns;
  if (static_cast<int64_t>(pictures.size()) == places * columns) return absl::OkStatus();
  return InvalidArgument("prompt: expected an image token for each of the pictures' ",
                         static_cast<int64_t>(pictures.size()) / std::max<int64_t>(columns, 1),
                         " rows, found ", places);
}

// Turns ids into shown text: detokenizer, then stop strings. Without a tokenizer nothing is shown.
class Shower {
 public:
  Shower(const Tokenizer* tokenizer, const GenerateOptions& options, std::string* text)
      : tokenizer_(tokenizer), options_(options), stop_(options.stop), text_(text) {
    if (tokenizer != nullptr) detokenizer_.emplace(tokenizer, /*skip_special_tokens=*/true);
  }

  void ShowPrompt(const std::vector<int32_t>& ids) {
    if (!detokenizer_.has_value()) return;
    std::string text;
    for (int32_t id : ids) text += detokenizer_->Append(id);
    held_ = HeldBack(ids, text);
    if (options_.on_prompt_text) options_.on_prompt_text(text + held_);
  }
  void Show(int32_t id) {
    if (detokenizer_.has_value()) Emit(stop_.Append(WithoutHeld(detokenizer_->Append(id))));
  }
  void Finish() {
    if (!detokenizer_.has_value()) return;
    Emit(stop_.Append(WithoutHeld(detokenizer_->Finish())));
    Emit(stop_.Finish());
  }
  bool stopped() const { return stop_.stopped(); }

 private:
  // The whole characters that come behind `text` if nothing follows the prompt. They are its own,
  // although the detokenizer keeps them (a run of byte tokens) until it sees what follows.
  std::string HeldBack(const std::vector<int32_t>& ids, const std::string& text) const {
    const std::string held =
        tokenizer_->Decode(ids, /*skip_special_tokens=*/true).substr(text.size());
    return absl::StrContains(held, "\uFFFD") ? "" : held;
  }

  std::string WithoutHeld(std::string text) {
    if (text.empty() || held_.empty()) return text;
    const auto end = std::mismatch(text.begin(), text.end(), held_.begin(), held_.end()).first;
    text.erase(text.begin(), end);
    held_.clear();
    return text;
  }

  void Emit(const std::string& text) {
    if (text.empty()) return;
    *text_ += text;
    if (options_.on_text) options_.on_text(text);
  }

  const Tokenizer* tokenizer_;
  const GenerateOptions& options_;
  std::string held_;  // shown with the prompt, still to come from the detokenizer
  absl::optional<IncrementalDetokenizer> detokenizer_;
  StopStrings stop_;
  std::string* text_;
};

// Why no token may follow the last one; nothing when one may.
absl::optional<FinishReason> Finished(const Generation& result, const GenerateOptions& options,
                                      const plan::Metadata& metadata, bool stopped,
                                      int64_t longest) {
  const std::vector<int32_t>& ends = metadata.eos_ids;
  if (!result.ids.empty() && !options.ignore_eos &&
      std::find(ends.begin(), ends.end(), result.ids.back()) != ends.end()) {
    return FinishReason::kEndId;
  }
  if (stopped) return FinishReason::kStopString;
  const int64_t generated = static_cast<int64_t>(result.ids.size());
  if (options.max_tokens >= 0 && generated >= options.max_tokens) return FinishReason::kMaxTokens;
  if (static_cast<int64_t>(result.prompt_ids.size()) + generated >= longest) {
    return FinishReason::kContext;
  }
  if (options.cancelled && options.cancelled()) return FinishReason::kCancelled;
  return absl::nullopt;
}

// How many of the prompt's tokens need no step: those that the kept text begins with, but for the
// last token, whose logits are wanted. None without a cache, and none where the cache's keys were
// turned as the length of their own text asked for.
int64_t SharedTokens(const TextStepper& stepper, const std::vector<int32_t>& prompt,
                     const std::vector<float>& pictures, const Executor& executor) {
  if (!executor.limits().has_kv_cache || executor.metadata().rope_by_length) return 0;
  const std::vector<int32_t>& kept = stepper.text();
  const size_t most = std::min(kept.size(), prompt.size() - 1);
  const int64_t columns = executor.limits().picture_columns;
  const int32_t token = executor.vision() != nullptr ? executor.vision()->image_token_id : -1;
  auto next = pictures.begin();
  size_t shared = 0;
  for (; shared < most && kept[shared] == prompt[shared]; ++shared) {
    if (prompt[shared] != token) continue;
    // The same picture stands there, or none in both.
    const absl::Span<const float> row = stepper.PictureAt(static_cast<int64_t>(shared));
    const int64_t width = next == pictures.end() ? 0 : columns;
    if (!std::equal(row.begin(), row.end(), next, next + width)) break;
    next += width;
  }
  return static_cast<int64_t>(shared);
}

// The prompt's steps. True when they were cancelled.
absl::StatusOr<bool> Prefill(const GenerateOptions& options, TextStepper* stepper,
                             Generation* result) {
  const double start = Seconds();
  const int64_t reused = stepper->length();
  const absl::Status status = stepper->Append(
      absl::MakeConstSpan(result->prompt_ids).subspan(stepper->length()), options.prefill_chunk,
      static_cast<int64_t>(result->prompt_ids.size()), options.cancelled);
  result->stats.prefill_seconds = Seconds() - start;
  result->stats.prefilled_tokens = stepper->length() - reused;
  if (absl::IsCancelled(status)) return true;
  NINFER_RETURN_IF_ERROR(status);
  return false;
}

// Chooses tokens and computes what their successors are chosen by until something says stop.
absl::Status Decode(Executor* executor, const GenerateOptions& options, double start,
                    int64_t longest, TextStepper* stepper, Shower* shower, Generation* result) {
  GenerationStats& stats = result->stats;
  Sampler sampler(options.sampling);
  double first = 0;
  while (true) {
    const absl::optional<FinishReason> finish =
        Finished(*result, options, executor->metadata(), shower->stopped(), longest);
    if (finish.has_value()) {
      result->finish = *finish;
      return absl::OkStatus();
    }
    if (!result->ids.empty()) {
      stats.decode_bytes += static_cast<double>(executor->BytesPerToken(stepper->length()));
      ++stats.decode_steps;
      NINFER_RETURN_IF_ERROR(
          stepper->Append(absl::MakeConstSpan(result->ids).last(1), 0, 0, nullptr));
    }
    NINFER_ASSIGN_OR_RETURN(const int32_t id,
                            stepper->largest_alone()
                                ? CheckChosen(stepper->last_largest())
                                : sampler.Choose(stepper->last_logits(), stepper->text()));
    result->ids.push_back(id);
    const double now = Seconds();
    if (result->ids.size() == 1) {
      first = now;
      stats.first_token_seconds = now - start;
    }
    stats.decode_seconds = now - first;
    if (options.on_id) options.on_id(id);
    shower->Show(id);
  }
}

}  // namespace

absl::string_view FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndId:
      return "end id";
    case FinishReason::kStopString:
      return "stop string";
    case FinishReason::kMaxTokens:
      return "max tokens";
    case FinishReason::kContext:
      return "context";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "";
}

double GenerationStats::prefill_rate() const {
  return prefill_seconds > 0 ? static_cast<double>(prefilled_tokens) / prefill_seconds : 0;
}
double GenerationStats::decode_rate() const {
  return decode_seconds > 0 ? static_cast<double>(decode_steps) / decode_seconds : 0;
}
double GenerationStats::bytes_per_token() const {
  return decode_steps > 0 ? decode_bytes / static_cast<double>(decode_steps) : 0;
}
double GenerationStats::bandwidth() const {
  return decode_seconds > 0 ? decode_bytes / decode_seconds : 0;
}

int64_t LongestText(const ExecutorLimits& limits) {
  int64_t longest =
      std::min(limits.context_length, limits.pages_per_sequence * limits.page_positions);
  if (!limits.has_kv_cache) return std::min(limits.context_length, limits.max_tokens);
  for (const KvGroupLimits& group : limits.kv_groups) {
    if (group.total_pages >= group.pages_held) continue;  // pages enough, however long the text
    longest = std::min(longest, group.total_pages * limits.page_positions);
  }
  return longest;
}

Session::Session(Executor* executor, const Tokenizer* tokenizer)
    : executor_(executor), tokenizer_(tokenizer), pages_(executor) {}

absl::StatusOr<Generation> Session::Generate(const std::vector<int32_t>& prompt,
                                             const GenerateOptions& options) {
  const int64_t longest = LongestText(executor_->limits());
  NINFER_RETURN_IF_ERROR(CheckPrompt(prompt, executor_->metadata().vocab_size, longest));
  NINFER_RETURN_IF_ERROR(CheckPictures(prompt, options.pictures, *executor_));
  NINFER_RETURN_IF_ERROR(CheckSampling(options.sampling));
  if (tokenizer_ == nullptr && !options.stop.empty()) {
    return InvalidArgument("--stop: expected a model with a tokenizer, found one without");
  }
  Generation result;
  result.prompt_ids = prompt;
  result.stats.prompt_tokens = static_cast<int64_t>(prompt.size());
  Shower shower(tokenizer_, options, &result.text);
  shower.ShowPrompt(prompt);
  std::unique_ptr<TextStepper> stepper =
      options.keep_cache ? std::exchange(kept_, nullptr) : nullptr;
  kept_.reset();  // its pages are needed
  if (stepper == nullptr) {
    stepper = std::make_unique<TextStepper>(executor_, &pages_,
                                            options.all_logits ? &result.logits : nullptr);
  }
  stepper->Truncate(SharedTokens(*stepper, prompt, options.pictures, *executor_));
  if (executor_->vision() != nullptr) {
    stepper->SetPictures(executor_->vision()->image_token_id, options.pictures);
  }
  stepper->WantLargestAlone(Sampler(options.sampling).TakesLargest());
  result.stats.reused_tokens = stepper->length();
  const double start = Seconds();
  NINFER_ASSIGN_OR_RETURN(const bool cancelled, Prefill(options, stepper.get(), &result));
  if (cancelled) {
    result.finish = FinishReason::kCancelled;
  } else {
    NINFER_RETURN_IF_ERROR(
        Decode(executor_, options, start, longest, stepper.get(), &shower, &result));
  }
  shower.Finish();
  result.stats.generated_tokens = static_cast<int64_t>(result.ids.size());
  // The last token's own logits are of use only to those who asked for all.
  if (options.all_logits && !result.ids.empty()) {
    NINFER_RETURN_IF_ERROR(stepper->Append(absl::MakeConstSpan(result.ids).last(1), 0, 0, nullptr));
  }
  if (options.keep_cache) kept_ = std::move(stepper);
  return result;
}

}  // namespace ninfer::runtime
