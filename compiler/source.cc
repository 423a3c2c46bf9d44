// The model that the options name: a folder, a model of the hub, an edited graph, random weights.
// Tested by tests/compiler_test.cc.
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "compiler/options.h"
#include "frontend/presets.h"
#include "hub/fetch.h"
#include "ir/text.h"
#include "ir/verifier.h"

namespace ninfer::compiler {
namespace {

absl::StatusOr<frontend::ImportedModel> RandomModel(const Options& options,
                                                    frontend::ImportOptions import) {
  std::string config;
  if (const frontend::Preset* preset = frontend::FindPreset(options.random_weights)) {
    config = std::string(preset->config_json);
  } else if (FileExists(options.random_weights)) {
    NINFER_ASSIGN_OR_RETURN(config, ReadFile(options.random_weights, 1 << 24));
    import.config_file = options.random_weights;
  } else {
    std::vector<std::string> names;
    for (const frontend::Preset& known : frontend::Presets()) names.emplace_back(known.name);
    return InvalidArgument("--random-weights: expected ", absl::StrJoin(names, ", "),
                           " or the path of a config.json, found '", options.random_weights, "'");
  }
  return frontend::ImportRandomModel(options.random_weights, config,
                                     *DTypeFromName(options.random_dtype),
                                     static_cast<uint64_t>(options.random_seed), import);
}

// An edited graph must have the entry that the folder's own has, and name weights as they are
// stored.
absl::Status CheckEditedGraph(const std::string& path, const ir::Module& edited,
                              const Source& source) {
  if (edited.stage() != ir::Stage::kImported) {
    return InvalidArgument(path, ": expected a graph of stage imported, found stage ",
                           ir::StageName(edited.stage()));
  }
  const ir::Function* step = edited.FindFunction("step");
  if (step == nullptr) return InvalidArgument(path, ": expected a function @step, found none");
  std::vector<std::string> expected, found;
  const ir::Module& own = source.model.module;
  for (const auto& parameter : own.FindFunction("step")->parameters()) {
    expected.push_back(parameter->name());
  }
  for (const auto& parameter : step->parameters()) found.push_back(parameter->name());
  if (expected != found) {
    return InvalidArgument(path, ": @step: expected the parameters ", absl::StrJoin(expected, ", "),
                           ", found ", absl::StrJoin(found, ", "));
  }
  const std::string logits = absl::StrCat("f32[T,", source.model.info.vocab_size, "]");
  const std::string result = step->results().empty()
                                 ? "none"
                                 : ir::TypeToString(step->results()[0]->type(), edited.symbols());
  if (step->results().size() != 1 || result != logits) {
    return InvalidArgument(path, ": @step: expected one result ", logits, ", found ",
                           step->results().size(), ", the first of them ", result);
  }
  for (const ir::Weight& weight : edited.weights()) {
    if (!weight.literal.empty()) continue;
    NINFER_ASSIGN_OR_RETURN(const ir::WeightView view,
                            source.model.weights->Find(weight.value->name()));
    const std::string stored =
        absl::StrCat(DTypeName(view.dtype), "[", absl::StrJoin(view.shape, ","), "]");
    const std::string type = ir::TypeToString(weight.value->type(), edited.symbols());
    if (stored == type) continue;
    return InvalidArgument(path, ": weight @", weight.value->name(), ": expected ", stored,
                           " as in ", source.folder, ", found ", type);
  }
  return absl::OkStatus();
}

// Puts the graph of options.from_ir in place of the folder's own.
absl::Status TakeEditedGraph(const Options& options, Source* source) {
  const std::string& path = options.from_ir;
  NINFER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 1 << 28));
  NINFER_ASSIGN_OR_RETURN(ir::Module edited, ir::Parse(text, path));
  NINFER_RETURN_IF_ERROR(Annotate(ir::Verify(edited), path));
  NINFER_RETURN_IF_ERROR(CheckEditedGraph(path, edited, *source));
  const int tokens = edited.FindSymbol("T");
  int64_t& context = source->model.info.context_length;
  if (tokens < 0) return InvalidArgument(path, ": expected a dimension T, found none");
  ir::Symbol& bound = edited.symbols()[tokens];
  const bool asked = options.context > 0;
  if (bound.max > context && !asked) {
    return InvalidArgument(path, ": dim T: expected at most the model's context of ", context,
                           ", found ", bound.max);
  }
  if (asked && bound.max < options.context) {
    return InvalidArgument(path, ": dim T: expected at least the context asked for, ",
                           options.context, ", found ", bound.max);
  }
  if (asked) bound.max = options.context;
  context = bound.max;
  source->model.module = std::move(edited);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ResolveModel(const std::string& model, const Callbacks& callbacks) {
  if (!hub::IsModelName(model)) return model;
  NINFER_ASSIGN_OR_RETURN(const hub::Settings settings, hub::ReadSettings());
  hub::Callbacks progress;
  progress.log = callbacks.log;
  progress.cancelled = callbacks.cancelled;
  progress.progress = [&callbacks](const std::string& phase, double done) {
    callbacks.Progress(phase.c_str(), done);
  };
  return hub::FetchModel(model, settings, progress);
}

absl::StatusOr<Source> OpenSource(const Options& options, const Callbacks& callbacks) {
  frontend::ImportOptions import;
  import.context_length = options.context;
  Source source{frontend::ImportedModel{ir::Module(""), {}, nullptr}, "", false};
  if (!options.random_weights.empty()) {
    NINFER_ASSIGN_OR_RETURN(source.model, RandomModel(options, import));
    source.random = true;
    return source;
  }
  NINFER_ASSIGN_OR_RETURN(
      source.folder,
      ResolveModel(options.from_ir.empty() ? options.model : options.weights_from, callbacks));
  NINFER_ASSIGN_OR_RETURN(source.model, frontend::ImportModel(source.folder, import));
  if (!options.from_ir.empty()) NINFER_RETURN_IF_ERROR(TakeEditedGraph(options, &source));
  const frontend::ModelInfo& info = source.model.info;
  if (info.context_length > info.trained_context) {
    callbacks.Log(absl::StrCat("--context: ", info.context_length, " positions, where ", info.name,
                               " was trained on ", info.trained_context,
                               ": longer text may go wrong"));
  }
  if (info.pictures_left_out) {
    callbacks.Log(absl::StrCat(JoinPath(source.folder, "config.json"),
                               ": vision_config: not done here: pictures are not seen"));
  }
  return source;
}

}  // namespace ninfer::compiler
