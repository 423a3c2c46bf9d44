// What a plan says of itself: the imported graph, run by eager in f32 on a short text, against the
// plan's own code on this CPU, or on a card. A plan whose code nothing here runs carries no
// evidence, and says so. Tested by tests/compiler_test.cc.
#include <algorithm>
#include <cmath>
#include <memory>

#include "absl/strings/str_format.h"
#include "base/hash.h"
#include "base/machine.h"
#include "base/status.h"
#include "compiler/compile.h"
#include "compiler/divergence.h"
#include "compiler/run_plan.h"
#include "compiler/run_text.h"
#include "text/tokenizer.h"

namespace ninfer::compiler {
namespace {

constexpr char kCalibrationText[] =
    "The old lighthouse keeper counted seven ships before the fog came in, and then he wrote in "
    "the book that the evening was calm.";

std::string NameOf(const Source& source) {
  return source.folder.empty() ? "random weights" : source.folder;
}

// "tensor "x" holds nan at element 7", or empty where all are finite.
absl::StatusOr<std::string> FirstNonFinite(const Source& source) {
  constexpr int64_t kChunk = 4096;
  float values[kChunk];
  for (const ir::Weight& weight : source.model.module.weights()) {
    if (!weight.literal.empty()) continue;
    const std::string& name = weight.value->name();
    NINFER_ASSIGN_OR_RETURN(const ir::WeightView view, source.model.weights->Find(name));
    int64_t count = 1;
    for (int64_t size : view.shape) count *= size;
    const char* data = static_cast<const char*>(view.data);
    for (int64_t begin = 0; begin < count; begin += kChunk) {
      const int64_t chunk = std::min(kChunk, count - begin);
      ConvertToFloat(view.dtype, data + begin * DTypeSize(view.dtype), values, chunk);
      for (int64_t i = 0; i < chunk; ++i) {
        if (std::isfinite(values[i])) continue;
        return absl::StrCat("tensor \"", name, "\" holds ", values[i], " at element ", begin + i);
      }
    }
  }
  return "";
}

}  // namespace

absl::Status CheckReferenceFits(const Source& source, int64_t tokens) {
  const ir::Module& module = source.model.module;
  uint64_t largest = 0;
  for (const ir::Weight& weight : module.weights()) {
    const ir::Type& type = weight.value->type();
    const uint64_t elements = ir::MaxBytes(type, module.symbols()) / DTypeSize(type.dtype);
    largest = std::max<uint64_t>(largest, elements * sizeof(float));
  }
  const uint64_t logits = tokens * source.model.info.vocab_size * sizeof(float);
  return CheckFitsMemory(absl::StrCat(NameOf(source), ": logits and the largest weight"),
                         logits + largest);
}

absl::Status CheckReference(const TextLogits& reference, const Source& source) {
  const auto finite = [](float value) { return std::isfinite(value); };
  const auto found = std::find_if_not(reference.values.begin(), reference.values.end(), finite);
  if (found == reference.values.end()) return absl::OkStatus();
  NINFER_ASSIGN_OR_RETURN(const std::string tensor, FirstNonFinite(source));
  const int64_t at = found - reference.values.begin();
  return InvalidArgument(
      NameOf(source), ": the model's own logits: expected finite numbers, found ", *found,
      " at position ", at / reference.vocab, ", logit ", at % reference.vocab, "; ",
      tensor.empty() ? "all tensors of the checkpoint are finite" : tensor);
}

std::vector<int32_t> CalibrationIds(const std::string& serialized_tokenizer, int64_t vocab_size,
                                    int64_t count) {
  std::vector<int32_t> ids;
  if (!serialized_tokenizer.empty()) {
    auto tokenizer = Tokenizer::Deserialize(serialized_tokenizer);
    if (tokenizer.ok()) ids = (*tokenizer)->Encode(kCalibrationText, true);
  }
  // Without a tokenizer, or with a text of few tokens: ids spread over the vocabulary.
  for (uint64_t i = 0; static_cast<int64_t>(ids.size()) < count; ++i) {
    ids.push_back(static_cast<int32_t>(Hash64(&i, sizeof(i)) % static_cast<uint64_t>(vocab_size)));
  }
  ids.resize(count);
  return ids;
}

std::string EvidenceLine(const plan::Evidence& evidence) {
  if (evidence.logits_digest == 0) return absl::StrCat("evidence: ", evidence.compared);
  const bool rounded = evidence.code_error != evidence.max_error;
  return absl::StrFormat(
      "evidence: max error %.1e of the largest logit%s (bound %.0e), KL %.1e, argmax differs at %d "
      "of %d positions: %s",
      evidence.max_error,
      rounded ? absl::StrFormat(", %.1e against eager with the same types", evidence.code_error)
              : "",
      evidence.bound, evidence.kl_divergence, evidence.argmax_flips,
      evidence.calibration_ids.size(), evidence.compared);
}

absl::Status GatherEvidence(const TextLogits& imported, const TextLogits& settled,
                            const std::vector<int32_t>& ids, const LogitsError& bound, int threads,
                            Compiled* compiled) {
  plan::Evidence& evidence = compiled->plan.evidence;
  evidence.calibration_ids = ids;
  evidence.bound = bound.worst;
  const Runner runner = FindRunner(compiled->plan);
  if (!runner.none.empty()) {
    evidence.compared = absl::StrCat("none, ", runner.none);
    return absl::OkStatus();
  }
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<runtime::Executor> executor,
                          ExecutorOf(*compiled, runner, threads));
  // The first half of the text in one step, then token by token.
  const auto count = static_cast<int64_t>(ids.size());
  NINFER_ASSIGN_OR_RETURN(const std::vector<float> found,
                          RunPlan(*executor, ids, std::max<int64_t>(count / 2, 1)));
  const auto error_of = [&](const TextLogits& reference) {
    return ErrorOf(found.data(), reference.values.data(), count, reference.vocab);
  };
  evidence.max_error = error_of(imported).worst;
  const LogitsError error = error_of(settled);
  evidence.code_error = error.worst;
  Divergence divergence;
  divergence.Add(imported.values.data(), found.data(), count, imported.vocab, {});
  evidence.kl_divergence = divergence.mean_kl();
  evidence.argmax_flips = divergence.flips;
  evidence.compared =
      absl::StrCat("imported graph, eager in f32, against the code for ", runner.name());
  evidence.logits_digest = Hash64(found.data(), found.size() * sizeof(float));
  if (error.Within(bound)) return absl::OkStatus();
  const bool worst = !(error.worst <= bound.worst);
  return absl::InternalError(
      absl::StrCat("the plan does not agree with its graph: expected an error of at most ",
                   worst ? bound.worst : bound.typical, " of the largest logit",
                   worst ? "" : " in half of the positions", ", found ",
                   worst ? error.worst : error.typical, "; --verify-each names the pass"));
}

}  // namespace ninfer::compiler
