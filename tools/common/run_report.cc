#include "tools/common/run_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/hash.h"
#include "plan/writer.h"
#include "runtime/bandwidth.h"

namespace ninfer::tools {
namespace {

constexpr double kProbeSeconds = 0.2;
constexpr double kMega = 1e6, kGiga = 1e9;

std::string Digest(const runtime::Generation& generation) {
  return absl::StrFormat(
      "%016x", Hash64(generation.ids.data(), generation.ids.size() * sizeof(generation.ids[0])));
}

bool OnCard(const runtime::Model& model) {
  return model.plan() != nullptr && model.pool() == nullptr;
}

uint64_t WeightBytes(const runtime::Model& model) {
  const plan::Plan& plan = model.plan()->plan;
  return OnCard(model) ? plan.cards->weight_bytes : plan::CpuWeightBytes(plan);
}

}  // namespace

double MeasuredBandwidth(const runtime::Model& model, const runtime::Generation& generation,
                         int threads) {
  if (generation.stats.decode_steps == 0) return 0;
  if (OnCard(model)) return model.executor()->MeasureBandwidth(kProbeSeconds);
  if (model.plan() != nullptr) {
    return runtime::MeasureReadBandwidth(model.pool(), model.plan()->weights, WeightBytes(model),
                                         kProbeSeconds);
  }
  const auto bytes = static_cast<uint64_t>(generation.stats.bytes_per_token());
  absl::StatusOr<std::unique_ptr<plan::Memory>> memory = plan::Memory::Allocate(bytes, "probe");
  if (!memory.ok()) return 0;
  runtime::ThreadPool pool(threads);
  std::fill_n((*memory)->data(), bytes, uint8_t{1});
  return runtime::MeasureReadBandwidth(&pool, (*memory)->data(), bytes, kProbeSeconds);
}

std::string Tokens(int64_t count) { return absl::StrCat(count, count == 1 ? " token" : " tokens"); }

std::string FormatStats(const runtime::Model& model, const runtime::Generation& generation,
                        double bandwidth) {
  const runtime::GenerationStats& stats = generation.stats;
  std::string text = absl::StrFormat("engine    %s\n", model.executor()->description());
  absl::StrAppendFormat(&text, "load      %.1f ms\n", model.load_seconds() * 1e3);
  if (OnCard(model)) {
    absl::StrAppendFormat(&text, "weights   %.1f MB on the card\n", WeightBytes(model) / kMega);
  } else if (const plan::LoadedPlan* plan = model.plan(); plan != nullptr) {
    absl::StrAppendFormat(&text, "weights   %.1f MB %s, %.1f MB of them in huge pages\n",
                          WeightBytes(model) / kMega, plan->weights_memory,
                          plan->huge_page_bytes / kMega);
  }
  absl::StrAppendFormat(&text, "scratch   %.1f MB\n", model.executor()->scratch_bytes() / kMega);
  const runtime::Executor& executor = *model.executor();
  if (executor.limits().has_kv_cache) {
    absl::StrAppendFormat(&text,
                          "kv cache  %.1f MB, %.1f MB when the text is as long as the context\n",
                          executor.CacheBytes(stats.prompt_tokens + stats.generated_tokens) / kMega,
                          executor.CacheBytes(executor.limits().context_length) / kMega);
  }
  absl::StrAppendFormat(&text, "prompt    %s", Tokens(stats.prompt_tokens));
  if (stats.reused_tokens + stats.prefilled_tokens < stats.prompt_tokens) {
    absl::StrAppendFormat(&text, ", %d of them computed", stats.prefilled_tokens);
  }
  absl::StrAppendFormat(&text, ", %.1f tokens/s", stats.prefill_rate());
  if (stats.generated_tokens > 0) {
    absl::StrAppendFormat(&text, ", first token after %.1f ms", stats.first_token_seconds * 1e3);
  }
  absl::StrAppend(&text, "\n");
  absl::StrAppendFormat(&text, "generated %s, %.1f tokens/s, ended by: %s, digest %s\n",
                        Tokens(stats.generated_tokens), stats.decode_rate(),
                        runtime::FinishReasonName(generation.finish), Digest(generation));
  if (stats.decode_steps > 0) {
    absl::StrAppendFormat(&text, "decode    %.2f MB a token, %.2f GB/s",
                          stats.bytes_per_token() / kMega, stats.bandwidth() / kGiga);
    if (bandwidth > 0) {
      absl::StrAppendFormat(&text, ", %.0f%% of %.2f GB/s measured",
                            100 * stats.bandwidth() / bandwidth, bandwidth / kGiga);
    }
    text += '\n';
  }
  return text;
}

std::string FormatJson(const runtime::Model& model, const runtime::Generation& generation,
                       const runtime::SamplingOptions& sampling, double bandwidth) {
  const runtime::GenerationStats& stats = generation.stats;
  const plan::Metadata& metadata = model.executor()->metadata();
  nlohmann::ordered_json json;
  json["model"] = metadata.model_name;
  json["engine"] = model.executor()->description();
  if (model.plan() != nullptr) {
    const plan::LoadedPlan& loaded = *model.plan();
    json["content_digest"] = loaded.in_memory ? plan::ContentDigestOf(loaded.plan, loaded.weights)
                                              : loaded.plan.content_digest;
  }
  json["text"] = generation.text;
  json["prompt_ids"] = generation.prompt_ids;
  json["ids"] = generation.ids;
  json["digest"] = Digest(generation);
  json["finish"] = std::string(runtime::FinishReasonName(generation.finish));
  json["sampling"]["sample"] = sampling.sample;
  json["sampling"]["seed"] = sampling.seed;
#define SAMPLER(function, field, ...) json["sampling"][#field] = sampling.field;
#include "runtime/sampling/samplers.def"
  nlohmann::ordered_json& numbers = json["stats"];
  numbers["load_seconds"] = model.load_seconds();
  numbers["prompt_tokens"] = stats.prompt_tokens;
  numbers["reused_tokens"] = stats.reused_tokens;
  numbers["generated_tokens"] = stats.generated_tokens;
  numbers["prefilled_tokens"] = stats.prefilled_tokens;
  numbers["first_token_seconds"] = nullptr;
  if (stats.generated_tokens > 0) numbers["first_token_seconds"] = stats.first_token_seconds;
  numbers["prefill_seconds"] = stats.prefill_seconds;
  numbers["prefill_tokens_per_second"] = stats.prefill_rate();
  numbers["decode_seconds"] = stats.decode_seconds;
  numbers["decode_tokens_per_second"] = stats.decode_rate();
  numbers["bytes_per_token"] = stats.bytes_per_token();
  numbers["bytes_per_second"] = stats.bandwidth();
  numbers["scratch_bytes"] = model.executor()->scratch_bytes();
  numbers["cache_bytes"] =
      model.executor()->CacheBytes(stats.prompt_tokens + stats.generated_tokens);
  numbers["context_cache_bytes"] =
      model.executor()->CacheBytes(model.executor()->limits().context_length);
  if (bandwidth > 0) {
    numbers["measured_bytes_per_second"] = bandwidth;
    numbers["share_of_bandwidth"] = stats.bandwidth() / bandwidth;
  }
  if (const plan::LoadedPlan* plan = model.plan(); plan != nullptr) {
    numbers["weight_bytes"] = WeightBytes(model);
    numbers["weights_memory"] = OnCard(model) ? "on the card" : plan->weights_memory;
    numbers["huge_page_bytes"] = plan->huge_page_bytes;
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace ninfer::tools
