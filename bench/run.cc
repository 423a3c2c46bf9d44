// Tested by tests/bench_test.py.
#include "bench/run.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/quantise.h"
#include "base/status.h"
#include "bench/attention_forms.h"
#include "bench/story.h"
#include "frontend/presets.h"
#include "text/unicode.h"

namespace ninfer::bench {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 24;
constexpr int64_t kMostAttention = int64_t{1} << 16;
constexpr int kMostRepetitions = 10000;
constexpr int kMostThreads = 1024;
constexpr int kStoryRepetitions = 3, kThroughputRepetitions = 5;
constexpr const char* kPrompts[] = {"Deep learning is", "What does hello mean"};

absl::Status CheckRange(absl::string_view flag, const std::vector<int64_t>& values, int64_t least,
                        int64_t most) {
  for (int64_t value : values) {
    if (value < least || value > most) {
      return InvalidArgument(flag, ": expected ", least, " to ", most, ", found ", value);
    }
  }
  return absl::OkStatus();
}

bool IsStory(const RunOptions& options) {
  return options.throughput.prefill.empty() && options.throughput.decode.empty();
}

absl::Status CheckModel(const RunOptions& options) {
  const ModelChoice& model = options.model;
  if (model.path.empty() == model.random_weights.empty()) {
    return InvalidArgument("expected a model folder or --random-weights, found ",
                           model.path.empty() ? "neither" : "both");
  }
  if (model.path.empty()) return absl::OkStatus();
  if (!IsValidUtf8(model.path)) {
    return InvalidArgument("model: expected UTF-8, found \"", absl::CHexEscape(model.path), "\"");
  }
  if (!FileExists(model.path) && !IsDirectory(model.path)) {
    return InvalidArgument(model.path, ": expected a model folder or a plan, found nothing");
  }
  if (!IsDirectory(model.path) && IsStory(options)) {
    return InvalidArgument(model.path,
                           ": expected a model folder for the 2x2, found a file (with -p or -n a "
                           "plan will do)");
  }
  if (!IsDirectory(model.path) && !options.types.empty()) {
    return InvalidArgument(
        "--type: expected a model folder, whose types can be chosen; found a "
        "plan");
  }
  return absl::OkStatus();
}

absl::Status Check(const RunOptions& options) {
  NINFER_RETURN_IF_ERROR(CheckModel(options));
  for (const std::string& type : options.types) {
    const bool integers = FindWeightScheme(type) != nullptr;
    const bool known = integers || type == "f32" || type == "bf16";
    if (!known) {
      return InvalidArgument("--type: expected f32, bf16, ",
                             absl::StrJoin(ListWeightSchemes(), ", "), ", found '", type, "'");
    }
    if (integers && (IsStory(options) || !options.peer.empty())) {
      return InvalidArgument("--type: expected f32 or bf16 for the 2x2 and beside a peer, found '",
                             type, "'");
    }
  }
  if (!options.peer.empty() && options.peer != "torch" && options.peer != "transformers") {
    return InvalidArgument("--peer: expected torch or transformers, found '", options.peer, "'");
  }
  NINFER_RETURN_IF_ERROR(CheckRange("-p", options.throughput.prefill, 1, kMostTokens));
  NINFER_RETURN_IF_ERROR(CheckRange("-n", options.throughput.decode, 1, kMostTokens));
  NINFER_RETURN_IF_ERROR(CheckRange("-d", options.throughput.depths, 0, kMostTokens));
  NINFER_RETURN_IF_ERROR(CheckRange("-r", {options.repetitions}, 0, kMostRepetitions));
  NINFER_RETURN_IF_ERROR(CheckRange("-t", {options.threads}, 0, kMostThreads));
  NINFER_RETURN_IF_ERROR(CheckRange("--new-tokens", options.new_tokens, 1, kMostTokens));
  NINFER_RETURN_IF_ERROR(CheckRange("--attention", options.attention_lengths, 0, kMostAttention));
  if (options.new_tokens.size() != std::size(kPrompts)) {
    return InvalidArgument("--new-tokens: expected ", std::size(kPrompts), " numbers, found ",
                           options.new_tokens.size());
  }
  return absl::OkStatus();
}

// What the tables call the model.
std::string LabelOf(const ModelChoice& model) {
  if (frontend::FindPreset(model.random_weights) != nullptr) return model.random_weights;
  std::error_code error;
  std::filesystem::path path =
      std::filesystem::canonical(model.path.empty() ? model.random_weights : model.path, error);
  if (path.filename() == "config.json") path = path.parent_path();
  return error ? model.path : path.filename().string();
}

absl::StatusOr<std::string> ConfigurationOf(const ModelChoice& model) {
  if (const frontend::Preset* preset = frontend::FindPreset(model.random_weights)) {
    return std::string(preset->config_json);
  }
  if (!model.random_weights.empty()) return ReadFile(model.random_weights, 1 << 24);
  if (!IsDirectory(model.path)) {
    return InvalidArgument("--peer: expected a model folder or --random-weights, found a plan");
  }
  return ReadFile(JoinPath(model.path, "config.json"), 1 << 24);
}

struct OpenPeer {
  std::unique_ptr<Peer> peer;  // null when none was asked for
  std::string config;
};

absl::StatusOr<OpenPeer> StartPeer(const RunOptions& options) {
  OpenPeer out;
  if (options.peer.empty()) return out;
  NINFER_ASSIGN_OR_RETURN(out.config, ConfigurationOf(options.model));
  const std::filesystem::path bin = runtime::ProgramFolder();
  NINFER_ASSIGN_OR_RETURN(out.peer,
                          Peer::StartTorch((bin.parent_path() / "peers").string(), options.peer));
  return out;
}

std::vector<int64_t> AttentionLengths(const RunOptions& options) {
  std::vector<int64_t> lengths;
  for (int64_t length : options.attention_lengths) {
    if (length > 0) lengths.push_back(length);
  }
  return lengths;
}

absl::Status AddAttention(const RunOptions& options, const std::string& type,
                          const std::string& label, const runtime::CompilerCallbacks& callbacks,
                          Progress* progress, std::vector<Table>* tables) {
  AttentionOptions attention;
  attention.lengths = AttentionLengths(options);
  attention.progress = progress;
  if (attention.lengths.empty()) return absl::OkStatus();
  EngineChoice choice;
  choice.model = options.model;
  choice.type = type;
  choice.threads = options.threads;
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Open(choice, callbacks));
  NINFER_ASSIGN_OR_RETURN(const StepCost cost, CountStep(engine->plan()->plan.imported_graph_text));
  if (!cost.attention.has_value()) {
    progress->Skip(static_cast<int>(attention.lengths.size()));
    return absl::OkStatus();
  }
  attention.shape = *cost.attention;
  attention.type = type;
  attention.threads = options.threads;
  NINFER_ASSIGN_OR_RETURN(Table table, CompareAttentionForms(attention, label, callbacks));
  tables->push_back(std::move(table));
  return absl::OkStatus();
}

absl::Status RunStory(const RunOptions& options, const runtime::CompilerCallbacks& callbacks,
                      std::vector<Table>* tables) {
  NINFER_ASSIGN_OR_RETURN(const OpenPeer peer, StartPeer(options));
  StateProbe state;
  const std::vector<std::string> both = {"f32", "bf16"};
  const std::vector<std::string>& types = options.types.empty() ? both : options.types;
  const std::string label = LabelOf(options.model);
  StoryOptions story;
  story.model = options.model;
  story.threads = options.threads;
  story.repetitions = options.repetitions > 0 ? options.repetitions : kStoryRepetitions;
  story.peer = peer.peer.get();
  story.peer_config = peer.config;
  for (size_t i = 0; i < std::size(kPrompts); ++i) {
    story.prompts.push_back({kPrompts[i], options.new_tokens[i]});
  }
  const int rows_of_type =
      RowsOfStory(story.prompts) + static_cast<int>(AttentionLengths(options).size());
  Progress progress(static_cast<int>(types.size()) * rows_of_type, callbacks.progress,
                    options.on_row);
  story.progress = &progress;
  for (const std::string& type : types) {
    story.type = type;
    NINFER_ASSIGN_OR_RETURN(std::vector<Table> told, TellStory(story, label, callbacks, &state));
    for (Table& table : told) tables->push_back(std::move(table));
  }
  for (const std::string& type : types) {
    NINFER_RETURN_IF_ERROR(AddAttention(options, type, label, callbacks, &progress, tables));
  }
  return absl::OkStatus();
}

absl::Status RunThroughput(const RunOptions& options, const runtime::CompilerCallbacks& callbacks,
                           std::vector<Table>* tables) {
  NINFER_ASSIGN_OR_RETURN(const OpenPeer peer, StartPeer(options));
  StateProbe state;
  const std::vector<std::string> stored = {""};
  int64_t longest = 0;
  for (const auto* counts : {&options.throughput.prefill, &options.throughput.decode}) {
    for (int64_t count : *counts) longest = std::max(longest, count);
  }
  ThroughputOptions throughput = options.throughput;
  throughput.repetitions = options.repetitions > 0 ? options.repetitions : kThroughputRepetitions;
  throughput.peer = peer.peer.get();
  const std::vector<std::string>& types = options.types.empty() ? stored : options.types;
  Progress progress(static_cast<int>(types.size()) * RowsOfThroughput(throughput),
                    callbacks.progress, options.on_row);
  throughput.progress = &progress;
  for (const std::string& type : types) {
    EngineChoice choice;
    choice.model = options.model;
    choice.type = type;
    choice.threads = options.threads;
    NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Open(choice, callbacks));
    if (throughput.peer != nullptr) {
      const int64_t deepest = *std::max_element(throughput.depths.begin(), throughput.depths.end());
      NINFER_RETURN_IF_ERROR(throughput.peer
                                 ->Ask({{"op", "load"},
                                        {"config", Json::parse(peer.config, nullptr, false)},
                                        {"dtype", engine->executor()->metadata().weights_dtype},
                                        {"threads", engine->pool()->size()},
                                        {"context", longest + deepest}})
                                 .status());
    }
    NINFER_ASSIGN_OR_RETURN(
        Table table, MeasureThroughput(engine.get(), LabelOf(options.model), throughput, &state));
    tables->push_back(std::move(table));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> Run(const RunOptions& options,
                                const runtime::CompilerCallbacks& callbacks) {
  NINFER_ASSIGN_OR_RETURN(const Format format, FormatFromName(options.output));
  NINFER_RETURN_IF_ERROR(Check(options));
  std::vector<Table> tables;
  NINFER_RETURN_IF_ERROR(IsStory(options) ? RunStory(options, callbacks, &tables)
                                          : RunThroughput(options, callbacks, &tables));
  return Write(tables, format);
}

}  // namespace ninfer::bench
