// The texts that quality is measured on, and that weights are calibrated on.
// Tested by tests/compiler_quality_test.cc.
#include <algorithm>

#include "absl/algorithm/container.h"
#include "base/file.h"
#include "base/page_table.h"
#include "base/status.h"
#include "compiler/eager_executor.h"
#include "compiler/quality.h"
#include "runtime/kv_pages.h"
#include "runtime/sampling/sampling.h"
#include "text/tokenizer.h"

namespace ninfer::compiler {
namespace {

constexpr int64_t kMostTokens = 256;  // of one text: so many logits are held twice

constexpr char kBundled[] =
    "The harbour town had two clocks, and they never agreed. The one on the church was slow, "
    "because the man who wound it was old and climbed the stairs only on Sundays. The one on the "
    "custom house was fast, because the captains liked to believe that the tide was later than it "
    "was. Between the two lay eleven minutes in which nothing in the town was quite settled.\n\n"
    "A girl called Mira knew this better than anyone. She carried letters from one end of the "
    "quay to the other, and she had found that if she started when the church struck nine, she "
    "arrived before the custom house did. \"You are early,\" said the clerk, who was fond of her. "
    "\"No,\" said Mira, \"it is the hour that is late.\" He laughed and gave her an apple, and "
    "she went back along the water to tell her brother, who wanted to know how it worked.\n\n"
    "\"Water boils at one hundred degrees,\" he said, \"and a day has twenty-four hours. Those are "
    "facts. How can there be a time that belongs to nobody?\" She thought about it. In the "
    "evening they took a pencil and some paper and wrote down what they knew: that light travels "
    "faster than sound, that the moon pulls the sea, that a pendulum as long as a tall man swings "
    "once in a second or so. Then they wrote down what they did not know, and that list was much "
    "longer. It began with the two clocks and ended with the stars. Their mother read it, smiled, "
    "and added one more line at the bottom before she put out the lamp.\n";

// Cuts ids into texts, each of which begins as the first does if that is the model's first id.
Texts Cut(const std::vector<int32_t>& ids, absl::optional<int32_t> bos, int64_t length) {
  Texts texts;
  const bool led = bos.has_value() && !ids.empty() && ids[0] == *bos && length > 1;
  for (auto next = ids.begin() + (led ? 1 : 0); next != ids.end();) {
    std::vector<int32_t> text;
    if (led) text.push_back(*bos);
    const int64_t room = length - static_cast<int64_t>(text.size());
    const auto end = next + std::min<int64_t>(room, ids.end() - next);
    text.insert(text.end(), next, end);
    texts.push_back(std::move(text));
    next = end;
  }
  return texts;
}

// Texts that grow together, one token of each at a step.
class TextSampler {
 public:
  TextSampler(runtime::Executor& executor, int32_t first, int64_t length)
      : executor_(executor), first_(first), length_(length), pages_(&executor) {}

  absl::Status Sample(int64_t count, uint64_t seed, Texts* out) {
    std::vector<runtime::Sampler> samplers;
    held_.resize(count);
    for (int64_t s = 0; s < count; ++s) {
      runtime::SamplingOptions sampling;
      sampling.sample = true;
      sampling.seed = seed + static_cast<uint64_t>(s);
      samplers.emplace_back(sampling);
      texts_.push_back({first_});
    }
    std::vector<float> logits(count * executor_.metadata().vocab_size);
    for (int64_t position = 0; position + 1 < length_; ++position) {
      NINFER_RETURN_IF_ERROR(Step(position, logits));
      for (int64_t s = 0; s < count; ++s) {
        const int64_t vocab = executor_.metadata().vocab_size;
        NINFER_ASSIGN_OR_RETURN(
            const int32_t id,
            samplers[s].Choose(absl::MakeConstSpan(logits).subspan(s * vocab, vocab), texts_[s]));
        texts_[s].push_back(id);
      }
    }
    for (std::vector<int32_t>& text : texts_) {
      const auto end = std::find_if(text.begin() + 1, text.end(), [this](int32_t id) {
        return absl::c_linear_search(executor_.metadata().eos_ids, id);
      });
      text.erase(end, text.end());
      out->push_back(std::move(text));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Step(int64_t position, std::vector<float>& logits) {
    const auto count = static_cast<int32_t>(texts_.size());
    std::vector<int32_t> tokens, bounds = {0}, rows;
    std::vector<const runtime::HeldPages*> held;
    for (int32_t s = 0; s < count; ++s) {
      NINFER_RETURN_IF_ERROR(pages_.Reserve(position, position + 1, &held_[s]));
      held.push_back(&held_[s]);
      tokens.push_back(texts_[s].back());
      bounds.push_back(s + 1);
      rows.push_back(s);
    }
    const std::vector<int32_t> positions(count, static_cast<int32_t>(position));
    const std::vector<int32_t> lengths(count, static_cast<int32_t>(length_));
    const std::vector<int32_t> table = runtime::PageTable(executor_.limits(), held);
    return executor_.Step({tokens, positions, bounds, positions, table, rows, lengths},
                          logits.data());
  }

  runtime::Executor& executor_;
  const int32_t first_;
  const int64_t length_;
  runtime::KvPages pages_;
  std::vector<runtime::HeldPages> held_;  // by text
  Texts texts_;
};

}  // namespace

absl::StatusOr<Texts> SampleTexts(const Options& options, int64_t count, int64_t length,
                                  uint64_t seed, const Callbacks& callbacks) {
  Options exact;
  exact.model = options.model;
  exact.from_ir = options.from_ir;
  exact.weights_from = options.weights_from;
  exact.random_weights = options.random_weights;
  exact.random_dtype = options.random_dtype;
  exact.random_seed = options.random_seed;
  exact.context = options.context;
  exact.threads = options.threads;
  exact.kv_pages = count * PagesFor(length, program::KvLayout::kPagePositions);
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<EagerExecutor> executor,
                          EagerExecutor::Create(exact, {}));
  const plan::Plan& plan = executor->plan();
  const int32_t first =
      plan.metadata.bos_id.value_or(CalibrationIds(plan.tokenizer, plan.metadata.vocab_size, 1)[0]);
  const int64_t most = std::min(length, plan.metadata.context_length);
  Texts texts;
  while (static_cast<int64_t>(texts.size()) < count) {
    const auto done = static_cast<int64_t>(texts.size());
    callbacks.Progress("sample texts", static_cast<double>(done) / static_cast<double>(count));
    NINFER_RETURN_IF_ERROR(callbacks.CheckCancelled());
    const int64_t together = std::min(count - done, executor->limits().max_sequences);
    NINFER_RETURN_IF_ERROR(
        TextSampler(*executor, first, most).Sample(together, seed + done, &texts));
  }
  return texts;
}

absl::StatusOr<QualityTexts> ReadTexts(const TextRequest& request, const Options& options,
                                       const Source& source,
                                       const std::string& serialized_tokenizer,
                                       const Callbacks& callbacks) {
  QualityTexts out;
  if (request.what == "sampled") {
    out.origin = "sampled from the model";
    NINFER_ASSIGN_OR_RETURN(
        out.texts, SampleTexts(options, request.count, request.length, request.seed, callbacks));
    return out;
  }
  if (serialized_tokenizer.empty()) {
    return InvalidArgument(request.flag,
                           ": expected 'sampled' for a model without a tokenizer, found '",
                           request.what, "'");
  }
  std::string text = kBundled;
  out.origin = "bundled text";
  if (request.what != "bundled") {
    NINFER_ASSIGN_OR_RETURN(text, ReadFile(request.what));
    out.origin = request.what;
  }
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                          Tokenizer::Deserialize(serialized_tokenizer));
  out.texts = Cut(tokenizer->Encode(text, true), source.model.info.bos_id,
                  std::min(kMostTokens, source.model.info.context_length));
  if (out.texts.empty()) {
    return InvalidArgument(request.flag, ": ", out.origin, ": expected some text, found none");
  }
  return out;
}

}  // namespace ninfer::compiler
