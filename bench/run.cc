// Tested by tests/bench_test.py.
#include "bench/run.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <tuple>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/quantise.h"
#include "base/status.h"
#include "bench/attention_forms.h"
#include "bench/peer_programs.h"
#include "bench/peer_set.h"
#include "bench/plot.h"
#include "bench/roofline.h"
#include "bench/story.h"
#include "bench/throughput.h"
#include "frontend/presets.h"
#include "text/unicode.h"

namespace ninfer::bench {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 24;
constexpr int64_t kMostAttention = int64_t{1} << 16;
constexpr int kMostRepetitions = 10000;
constexpr int kMostThreads = 1024;
constexpr int64_t kMostTexts = 512;
constexpr int64_t kDecodeTokens = 64;  // where -n does not say
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
  return options.prefill.empty() && options.decode.empty() && options.depths.empty() &&
         options.batches.empty() && !options.roofline;
}

WorkLists WorksOf(const RunOptions& options) {
  WorkLists works;
  works.prefill = options.prefill;
  works.decode = options.decode;
  if (works.decode.empty() && (works.prefill.empty() || !options.batches.empty())) {
    works.decode = {kDecodeTokens};
  }
  if (!options.depths.empty()) works.depths = options.depths;
  if (!options.batches.empty()) works.batches = options.batches;
  return works;
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
                           ": expected a model folder for the 2x2, found a file (with -p, -n or "
                           "--roofline a plan will do)");
  }
  return absl::OkStatus();
}

absl::Status CheckFormats(const RunOptions& options) {
  for (const std::string& format : options.formats) {
    const bool both = format == "f32" || format == "bf16";  // weights and arithmetic
    if (!both && format != "f16" && FindWeightScheme(format) == nullptr) {
      return InvalidArgument("--formats: expected f32, bf16, f16, ",
                             absl::StrJoin(ListWeightSchemes(), ", "), ", found '", format, "'");
    }
    if (!both && IsStory(options)) {
      return InvalidArgument("--formats: expected f32 or bf16 for the 2x2, found '", format, "'");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckTypes(const RunOptions& options) {
  const bool is_plan = !options.model.path.empty() && !IsDirectory(options.model.path);
  for (const auto& [flag, given, of_story] :
       {std::tuple("--formats", !options.formats.empty(), true),
        std::tuple("--activations", !options.activations.empty(), false),
        std::tuple("--kv-cache", !options.kv_cache.empty(), false)}) {
    if (!given) continue;
    if (IsStory(options) && !of_story) {
      return InvalidArgument(flag, ": expected -p, -n, --depth, --batch or --roofline, found none");
    }
    if (is_plan) {
      return InvalidArgument(flag,
                             ": expected a model folder, whose types can be chosen; found a plan");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPlot(const RunOptions& options) {
  if (options.plot.empty()) return absl::OkStatus();
  if (IsStory(options) || options.roofline) {
    return InvalidArgument("--plot: expected -p, -n, --depth or --batch, found ",
                           options.roofline ? "--roofline" : "none");
  }
  const std::string folder = std::filesystem::path(options.plot).parent_path().string();
  if (!folder.empty() && !IsDirectory(folder)) {
    return InvalidArgument("--plot: expected a folder ", folder, ", found none");
  }
  return absl::OkStatus();
}

// The 2x2 has one peer, which can generate without a cache.
bool IsForStory(const std::vector<PeerChoice>& peers) {
  return peers.size() == 1 && (peers[0].name == "torch" || peers[0].name == "transformers");
}

absl::Status Check(const RunOptions& options) {
  NINFER_RETURN_IF_ERROR(CheckModel(options));
  NINFER_RETURN_IF_ERROR(CheckFormats(options));
  NINFER_RETURN_IF_ERROR(CheckTypes(options));
  NINFER_RETURN_IF_ERROR(CheckPlot(options));
  NINFER_ASSIGN_OR_RETURN(const std::vector<PeerChoice> peers,
                          ChoosePeers(options.peers, options.peer_sources));
  if (IsStory(options) && !peers.empty() && !IsForStory(peers)) {
    return InvalidArgument(
        "--peers: expected torch or transformers for the 2x2 (with -p or -n any), found ",
        absl::StrJoin(options.peers, ","), absl::StrJoin(options.peer_sources, ","));
  }
  if (!peers.empty() && options.roofline) {
    return InvalidArgument(
        "--peers: expected no --roofline, whose kernels are ours alone, found it");
  }
  NINFER_RETURN_IF_ERROR(CheckRange("-p", options.prefill, 1, kMostTokens));
  NINFER_RETURN_IF_ERROR(CheckRange("-n", options.decode, 1, kMostTokens));
  NINFER_RETURN_IF_ERROR(CheckRange("--depth", options.depths, 0, kMostTokens));
  NINFER_RETURN_IF_ERROR(CheckRange("--batch", options.batches, 1, kMostTexts));
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
  const std::string& given = model.path.empty() ? model.random_weights : model.path;
  std::error_code error;
  std::filesystem::path path = std::filesystem::canonical(given, error);
  if (path.filename() == "config.json") path = path.parent_path();
  return error ? given : path.filename().string();
}

absl::StatusOr<std::string> ConfigurationOf(const ModelChoice& model) {
  if (const frontend::Preset* preset = frontend::FindPreset(model.random_weights)) {
    return std::string(preset->config_json);
  }
  if (!model.random_weights.empty()) return ReadFile(model.random_weights, 1 << 24);
  if (!IsDirectory(model.path)) {
    return InvalidArgument("--peers: expected a model folder or --random-weights, found a plan");
  }
  return ReadFile(JoinPath(model.path, "config.json"), 1 << 24);
}

PeerFolders FoldersOf(const RunOptions& options) {
  const std::filesystem::path bin = runtime::ProgramFolder();
  const std::string beside = (bin.parent_path() / "peers").string();
  return {beside, options.peers_folder.empty() ? beside : options.peers_folder};
}

// Installs it where it is not.
absl::StatusOr<std::unique_ptr<Peer>> OpenPeer(const PeerChoice& choice, const PeerFolders& folders,
                                               Progress* progress) {
  if (!IsInstalled(choice, folders)) {
    progress->Tell(absl::StrCat(choice.name, ": installing it in ", folders.installed));
    NINFER_RETURN_IF_ERROR(Install(choice, folders));
  }
  return StartPeer(choice, folders);
}

// All that are asked for and can be had; a line of each other one. Null where none is asked for.
absl::StatusOr<std::unique_ptr<PeerSet>> OpenPeers(const RunOptions& options,
                                                   const runtime::CompilerCallbacks& callbacks,
                                                   Progress* progress) {
  NINFER_ASSIGN_OR_RETURN(const std::vector<PeerChoice> choices,
                          ChoosePeers(options.peers, options.peer_sources));
  if (choices.empty()) return nullptr;
  auto peers = std::make_unique<PeerSet>(callbacks.cancelled);
  for (const PeerChoice& choice : choices) {
    absl::StatusOr<std::unique_ptr<Peer>> peer = OpenPeer(choice, FoldersOf(options), progress);
    if (callbacks.cancelled && callbacks.cancelled()) return absl::CancelledError("interrupted");
    if (peer.ok()) {
      peers->Add(*std::move(peer));
    } else {
      progress->Tell(peer.status().message());
      peers->AddNote(std::string(peer.status().message()));
    }
  }
  return peers;
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
  StateProbe state;
  const std::vector<std::string> both = {"f32", "bf16"};
  const std::vector<std::string>& types = options.formats.empty() ? both : options.formats;
  const std::string label = LabelOf(options.model);
  StoryOptions story;
  story.model = options.model;
  story.threads = options.threads;
  story.repetitions = options.repetitions > 0 ? options.repetitions : kStoryRepetitions;
  for (size_t i = 0; i < std::size(kPrompts); ++i) {
    story.prompts.push_back({kPrompts[i], options.new_tokens[i]});
  }
  const int rows_of_type =
      RowsOfStory(story.prompts) + static_cast<int>(AttentionLengths(options).size());
  Progress progress(static_cast<int>(types.size()) * rows_of_type, callbacks.progress,
                    options.on_row);
  story.progress = &progress;
  std::unique_ptr<Peer> peer;
  NINFER_ASSIGN_OR_RETURN(const std::vector<PeerChoice> choices,
                          ChoosePeers(options.peers, options.peer_sources));
  if (!choices.empty()) {
    NINFER_ASSIGN_OR_RETURN(story.peer_config, ConfigurationOf(options.model));
    NINFER_ASSIGN_OR_RETURN(peer, OpenPeer(choices[0], FoldersOf(options), &progress));
    story.peer = peer.get();
  }
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

// Opened for these works, and with room for them. Random weights say nothing, so that their context
// may grow as the works need it.
absl::StatusOr<std::unique_ptr<Engine>> OpenFor(const WorkLists& works, const RunOptions& options,
                                                const std::string& format,
                                                const runtime::CompilerCallbacks& callbacks) {
  const std::vector<int64_t> lengths = works.TextLengths();
  EngineChoice choice;
  choice.model = options.model;
  choice.type = format;
  choice.activations = options.activations;
  choice.kv_cache_type = options.kv_cache;
  choice.threads = options.threads;
  if (lengths.size() > 1) {
    choice.texts = lengths;
    choice.max_sequences = choice.max_rows = static_cast<int64_t>(lengths.size());
  }
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Open(choice, callbacks));
  const absl::Status room = CheckRoom(*engine->executor(), works);
  if (room.ok()) return engine;
  if (options.model.random_weights.empty() ||
      lengths[0] <= engine->executor()->limits().context_length) {
    return room;
  }
  choice.context = lengths[0];
  engine.reset();
  absl::StatusOr<std::unique_ptr<Engine>> longer = Engine::Open(choice, callbacks);
  if (!longer.ok()) return absl::IsCancelled(longer.status()) ? longer.status() : room;
  NINFER_RETURN_IF_ERROR(CheckRoom(*(*longer)->executor(), works));
  return longer;
}

absl::Status LoadPeers(const RunOptions& options, const std::string& format, const Engine& engine,
                       const WorkLists& works, Progress* progress, PeerSet* peers) {
  if (peers == nullptr) return absl::OkStatus();
  progress->Tell(absl::StrCat("the peers load ", format.empty() ? "the model" : format));
  PeerShape shape;
  NINFER_ASSIGN_OR_RETURN(shape.config_json, ConfigurationOf(options.model));
  shape.weights = format.empty() ? engine.executor()->metadata().weights_dtype : format;
  // Of 8 bits every peer has a form of its own, whichever ours is.
  const QuantiseScheme* scheme = FindWeightScheme(format);
  if (scheme != nullptr && scheme->bits == 8) shape.weights = "int8";
  shape.threads = engine.pool()->size();
  shape.context = works.TextLengths()[0] + 1;
  shape.cache_folder = JoinPath(FoldersOf(options).installed, "cache");
  return peers->Load(shape);
}

absl::Status RunThroughput(const RunOptions& options, const runtime::CompilerCallbacks& callbacks,
                           std::vector<Table>* tables) {
  StateProbe state;
  const std::vector<std::string> stored = {""};
  ThroughputOptions throughput;
  throughput.works = WorksOf(options);
  throughput.repetitions = options.repetitions > 0 ? options.repetitions : kThroughputRepetitions;
  const std::vector<std::string>& formats = options.formats.empty() ? stored : options.formats;
  Progress progress(static_cast<int>(formats.size()) * RowsOfThroughput(throughput),
                    callbacks.progress, options.on_row);
  throughput.progress = &progress;
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<PeerSet> peers,
                          OpenPeers(options, callbacks, &progress));
  throughput.peers = peers.get();
  for (const std::string& format : formats) {
    NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                            OpenFor(throughput.works, options, format, callbacks));
    NINFER_RETURN_IF_ERROR(
        LoadPeers(options, format, *engine, throughput.works, &progress, peers.get()));
    if (tables->empty()) tables->push_back(ThroughputTable(LabelOf(options.model), *engine));
    NINFER_RETURN_IF_ERROR(MeasureThroughput(engine.get(), throughput, &state, &tables->front()));
  }
  return options.plot.empty() ? absl::OkStatus()
                              : WriteFile(options.plot, PlotSvg(tables->front()));
}

absl::Status RunRoofline(const RunOptions& options, const runtime::CompilerCallbacks& callbacks,
                         std::vector<Table>* tables) {
  StateProbe state;
  const std::vector<std::string> stored = {""};
  const std::vector<std::string>& formats = options.formats.empty() ? stored : options.formats;
  RooflineOptions roofline;
  roofline.works = WorksOf(options);
  roofline.repetitions = options.repetitions > 0 ? options.repetitions : kThroughputRepetitions;
  Progress progress(static_cast<int>(formats.size()) * RowsOfRoofline(roofline), callbacks.progress,
                    options.on_row);
  roofline.progress = &progress;
  for (const std::string& format : formats) {
    NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                            OpenFor(roofline.works, options, format, callbacks));
    NINFER_ASSIGN_OR_RETURN(
        std::vector<Table> found,
        MeasureRoofline(engine.get(), LabelOf(options.model), roofline, &state));
    for (Table& table : found) tables->push_back(std::move(table));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> Run(const RunOptions& options,
                                const runtime::CompilerCallbacks& callbacks) {
  NINFER_ASSIGN_OR_RETURN(const Format format, FormatFromName(options.output));
  NINFER_RETURN_IF_ERROR(Check(options));
  std::vector<Table> tables;
  NINFER_RETURN_IF_ERROR(IsStory(options)   ? RunStory(options, callbacks, &tables)
                         : options.roofline ? RunRoofline(options, callbacks, &tables)
                                            : RunThroughput(options, callbacks, &tables));
  return Write(tables, format);
}

}  // namespace ninfer::bench
