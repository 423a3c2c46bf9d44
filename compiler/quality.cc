// See quality.h.
// Tested by tests/compiler_quality_test.cc.
#include "compiler/quality.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "compiler/divergence.h"
#include "compiler/run_plan.h"

namespace ninfer::compiler {
namespace {

constexpr int64_t kTexts = 32, kTokens = 120;
constexpr uint64_t kSeed = 1;

// "model.layers.*.mlp.down_proj.weight": numbers that stand alone between dots.
std::string KindOf(absl::string_view name) {
  std::string kind;
  for (size_t i = 0; i < name.size();) {
    size_t end = i;
    while (end < name.size() && absl::ascii_isdigit(name[end])) ++end;
    const bool starts = i == 0 || name[i - 1] == '.';
    const bool ends = end == name.size() || name[end] == '.';
    if (end > i && starts && ends) {
      kind += '*';
      i = end;
    } else {
      kind += name[i++];
    }
  }
  return kind;
}

struct Kind {
  std::string name;
  int64_t count = 0;
  double sum = 0;
  const plan::LinearError* worst = nullptr;
};

std::vector<Kind> KindsOf(const std::vector<plan::LinearError>& linears) {
  std::vector<Kind> kinds;
  for (const plan::LinearError& linear : linears) {
    const std::string name =
        absl::StrCat(KindOf(linear.name), " ", linear.weight, " x ", linear.input);
    auto it = std::find_if(kinds.begin(), kinds.end(),
                           [&](const Kind& kind) { return kind.name == name; });
    if (it == kinds.end()) it = kinds.insert(kinds.end(), {name});
    ++it->count;
    it->sum += linear.error;
    if (it->worst == nullptr || linear.error > it->worst->error) it->worst = &linear;
  }
  return kinds;
}

}  // namespace

std::vector<std::string> QualityLines(const plan::Quality& quality) {
  std::vector<std::string> lines = {absl::StrFormat(
      "quality: %d tokens, %s: KL %.3g a token, argmax differs at %.2f%%, perplexity %.5g (f32 "
      "%.5g)",
      quality.tokens, quality.origin, quality.kl_divergence,
      quality.tokens > 0 ? 100.0 * static_cast<double>(quality.argmax_flips) / quality.tokens : 0,
      quality.perplexity, quality.reference_perplexity)};
  for (const Kind& kind : KindsOf(quality.linears)) {
    lines.push_back(absl::StrFormat("  error of output, mean %.4f, most %.4f  %s",
                                    kind.sum / static_cast<double>(kind.count), kind.worst->error,
                                    kind.name));
  }
  return lines;
}

absl::Status MeasureQuality(const Options& options, const Source& source,
                            const passes::PassOptions& pass_options, const Callbacks& callbacks,
                            Compiled* compiled) {
  const auto start = std::chrono::steady_clock::now();
  const Runner runner = FindRunner(compiled->plan);
  if (!runner.none.empty()) {
    callbacks.Log(absl::StrCat("quality: none, ", runner.none));
    return absl::OkStatus();
  }
  const int threads = ThreadsOrDefault(options.threads);
  NINFER_ASSIGN_OR_RETURN(const QualityTexts texts,
                          ReadTexts({"--quality", options.quality, kTexts, kTokens, kSeed}, options,
                                    source, compiled->plan.tokenizer, callbacks));
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<runtime::Executor> executor,
                          ExecutorOf(*compiled, runner, threads));
  Divergence sum;
  double done = 0;
  for (const std::vector<int32_t>& text : texts.texts) {
    callbacks.Progress("quality", done++ / static_cast<double>(texts.texts.size()));
    NINFER_RETURN_IF_ERROR(callbacks.CheckCancelled());
    NINFER_ASSIGN_OR_RETURN(const TextLogits reference,
                            RunGraph(source.model.module, source.model.weights, text, 0, threads));
    NINFER_ASSIGN_OR_RETURN(const std::vector<float> found, RunPlan(*executor, text));
    sum.Add(reference.values.data(), found.data(), static_cast<int64_t>(text.size()),
            reference.vocab, absl::MakeConstSpan(text).subspan(1));
  }
  plan::Quality quality;
  quality.origin = texts.origin;
  quality.tokens = sum.rows;
  quality.kl_divergence = sum.mean_kl();
  quality.argmax_flips = sum.flips;
  quality.reference_perplexity = sum.reference_perplexity();
  quality.perplexity = sum.perplexity();
  NINFER_ASSIGN_OR_RETURN(quality.linears,
                          MeasureLinears(source, pass_options, texts.texts, threads));
  for (const std::string& line : QualityLines(quality)) callbacks.Log(line);
  compiled->plan.evidence.quality = std::move(quality);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  callbacks.Log(absl::StrFormat("quality: measured in %.2f s", seconds.count()));
  return absl::OkStatus();
}

}  // namespace ninfer::compiler
