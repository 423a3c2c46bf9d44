// Generations on one executor: a prompt goes in by chunks, tokens come out one by one, until
// something says stop. Works on any executor; without a cache the whole text is computed at every
// step. Not for several texts at a time. Tested by tests/runtime_session_test.cc.
#ifndef NINFER_RUNTIME_SESSION_H_
#define NINFER_RUNTIME_SESSION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/executor.h"
#include "runtime/kv_pages.h"
#include "runtime/sampling/sampling.h"
#include "runtime/text_stepper.h"
#include "text/tokenizer.h"

namespace ninfer::runtime {

struct GenerateOptions {
  int64_t max_tokens = -1;    // new tokens; -1: as many as the context holds
  int64_t prefill_chunk = 0;  // tokens of the prompt in one step; 0: as many as a step takes
  SamplingOptions sampling;
  std::vector<std::string> stop;
  bool ignore_eos = false;
  bool all_logits = false;  // keep the logits of every position, the last token's too
  // Keep this text's cache, and begin with what the prompt shares with the text kept before: only
  // the rest is computed. Not with `all_logits`.
  bool keep_cache = false;
  // [n, picture_columns]: take the place of the embeddings of the prompt's n image tokens, in
  // order.
  std::vector<float> pictures;
  // Called with what there is to show, as soon as no later token can change it. The prompt's text
  // comes first, by itself.
  std::function<void(absl::string_view text)> on_prompt_text, on_text;
  std::function<void(int32_t id)> on_id;  // every generated id
  std::function<bool()> cancelled;
};

enum class FinishReason { kEndId, kStopString, kMaxTokens, kContext, kCancelled };
absl::string_view FinishReasonName(FinishReason reason);  // "end id", "stop string", ...

struct GenerationStats {
  int64_t prompt_tokens = 0, generated_tokens = 0;
  int64_t reused_tokens = 0;       // of the prompt, found in the cache
  int64_t prefilled_tokens = 0;    // computed: the others, unless that was cancelled
  double prefill_seconds = 0;      // of the prompt's steps
  double first_token_seconds = 0;  // none when none was generated
  double decode_seconds = 0;       // from the first generated token to the last
  double decode_bytes = 0;         // read by the steps between them
  int64_t decode_steps = 0;

  double prefill_rate() const;     // prefilled tokens a second
  double decode_rate() const;      // tokens a second; 0 when fewer than two were generated
  double bytes_per_token() const;  // read in one decode step
  double bandwidth() const;        // bytes a second while decoding
};

struct Generation {
  std::vector<int32_t> prompt_ids, ids;
  std::string text;  // of `ids`; empty without a tokenizer
  FinishReason finish = FinishReason::kMaxTokens;
  GenerationStats stats;
  std::vector<float> logits;  // [prompt + generated, vocabulary], when asked for
};

class Session {
 public:
  // `tokenizer` may be null: then no text comes out, and stop strings are refused. Both must
  // outlive the session.
  Session(Executor* executor, const Tokenizer* tokenizer);

  // Refuses an empty prompt, ids outside the vocabulary, and a prompt longer than the context.
  absl::StatusOr<Generation> Generate(const std::vector<int32_t>& prompt,
                                      const GenerateOptions& options);

 private:
  Executor* executor_;
  const Tokenizer* tokenizer_;
  KvPages pages_;
  std::unique_ptr<TextStepper> kept_;  // the text whose cache is kept
};

// The longest text that a session on this executor can hold.
int64_t LongestText(const ExecutorLimits& limits);

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_SESSION_H_
