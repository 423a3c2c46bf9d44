// From a folder, or from a configuration and a seed, to a module: the family is chosen, its file
// writes the graph, every tensor must have been claimed. Tested by tests/frontend_test.cc and
// tests/frontend_random_test.cc.
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "base/file.h"
#include "base/has_file.h"
#include "base/status.h"
#include "frontend/arch/common.h"
#include "frontend/arch/registry.h"
#include "frontend/checkpoint.h"
#include "frontend/config.h"
#include "frontend/frontend.h"
#include "frontend/generation.h"
#include "frontend/openai_gpt2.h"
#include "frontend/picture_processor.h"
#include "frontend/tensors.h"

namespace ninfer::frontend {
namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 24;

// The folder's last component, also of "models/x/" and ".".
std::string FolderName(const std::string& folder) {
  std::error_code error;
  std::filesystem::path path = std::filesystem::canonical(folder, error);
  if (error) path = folder;
  if (!path.has_filename()) path = path.parent_path();
  // A snapshot in the hub's cache: models--ORG--NAME/snapshots/COMMIT.
  const std::string repository = path.parent_path().parent_path().filename().string();
  if (path.parent_path().filename() == "snapshots" && absl::StartsWith(repository, "models--")) {
    return repository.substr(repository.rfind("--") + 2);
  }
  return path.filename().string();
}

// By elements; the first in the order of DType where two are equal.
DType MostFrequentDType(const ir::Module& module) {
  std::map<DType, int64_t> elements;
  for (const ir::Weight& weight : module.weights()) {
    if (!weight.literal.empty()) continue;
    int64_t count = 1;
    for (const ir::Dim& dim : weight.value->type().shape) count *= dim.offset;
    int64_t& sum = elements[weight.value->type().dtype];
    if (__builtin_add_overflow(sum, count, &sum)) sum = INT64_MAX;
  }
  DType best = DType::kF32;
  int64_t most = 0;
  for (const auto& [dtype, count] : elements) {
    if (count > most) best = dtype;
    most = std::max(most, count);
  }
  return best;
}

absl::StatusOr<ImportedModel> Build(const ArchRow& row, ConfigReader& config,
                                    std::shared_ptr<TensorSource> tensors, const std::string& name,
                                    const ImportOptions& options) {
  ModelInfo info;
  info.name = name;
  info.architecture = std::string(row.model_type);
  ir::Module module{std::string(row.model_type)};
  ModelBuilder builder(&config, tensors.get(), options.context_length, &module, &info);
  const absl::Status built = row.build(builder);
  // An option that is not done explains a tensor that is not as expected: it is named first.
  if (config.ok()) RefuseUnreadOptions(row, config);
  // Of a model that is text and more, the text's own.
  ConfigReader* text =
      config.ok() && config.WasRead("text_config") ? config.Object("text_config") : nullptr;
  if (text != nullptr) {
    RefuseUnreadOptions(row, *text);
    ReadConfigIds(*text, info);
  }
  ReadConfigIds(config, info);
  NINFER_RETURN_IF_ERROR(config.status());
  NINFER_RETURN_IF_ERROR(built);
  NINFER_RETURN_IF_ERROR(tensors->CheckAllClaimed(row.architecture, row.ignorable));
  info.stored_dtype = MostFrequentDType(module);
  return ImportedModel{std::move(module), std::move(info), std::move(tensors),
                       builder.TakeVision()};
}

absl::Status CheckContext(const ImportOptions& options) {
  if (options.context_length >= 0 && options.context_length <= kMaxContext) {
    return absl::OkStatus();
  }
  return InvalidArgument("context length: expected 1 to ", kMaxContext, ", found ",
                         options.context_length);
}

// config.json, else what OpenAI's hparams.json says.
absl::StatusOr<std::unique_ptr<ConfigReader>> ReadConfig(const std::string& folder) {
  const std::string path = JoinPath(folder, "config.json");
  const std::string hparams = JoinPath(folder, "hparams.json");
  NINFER_ASSIGN_OR_RETURN(const bool has_config, HasFile(path));
  NINFER_ASSIGN_OR_RETURN(const bool has_hparams, HasFile(hparams));
  if (!has_config && !has_hparams) {
    return InvalidArgument(folder, ": expected a model folder, found no config.json in it");
  }
  if (has_config) {
    NINFER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxConfigBytes));
    return ConfigReader::Parse(path, text);
  }
  NINFER_ASSIGN_OR_RETURN(const std::string text, ReadFile(hparams, kMaxConfigBytes));
  NINFER_ASSIGN_OR_RETURN(const std::string config, ConfigOfHparams(hparams, text));
  return ConfigReader::Parse(hparams, config);
}

}  // namespace

absl::StatusOr<ImportedModel> ImportModel(const std::string& folder, const ImportOptions& options) {
  NINFER_RETURN_IF_ERROR(CheckContext(options));
  if (!IsDirectory(folder)) {
    return InvalidArgument(folder, ": expected a model folder, found ",
                           FileExists(folder) ? "a file" : "nothing");
  }
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<ConfigReader> config, ReadConfig(folder));
  const ArchRow* row = ChooseArch(*config);
  if (row == nullptr) return config->status();
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<Checkpoint> checkpoint, Checkpoint::OpenFolder(folder));
  NINFER_ASSIGN_OR_RETURN(ImportedModel model,
                          Build(*row, *config, MakeCheckpointTensors(std::move(checkpoint)),
                                FolderName(folder), options));
  NINFER_RETURN_IF_ERROR(ReadGenerationConfig(folder, model.info));
  if (model.vision.has_value()) {
    NINFER_RETURN_IF_ERROR(ReadPictureProcessor(folder, model.info.vision));
  }
  return model;
}

absl::StatusOr<ImportedModel> ImportRandomModel(const std::string& name,
                                                absl::string_view config_json, DType dtype,
                                                uint64_t seed, const ImportOptions& options) {
  NINFER_RETURN_IF_ERROR(CheckContext(options));
  if (dtype != DType::kF32 && dtype != DType::kF16 && dtype != DType::kBF16) {
    return InvalidArgument("random weights: expected dtype f32, f16 or bf16, found ",
                           DTypeName(dtype));
  }
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<ConfigReader> config,
                          ConfigReader::Parse(options.config_file, config_json));
  const ArchRow* row = ChooseArch(*config);
  if (row == nullptr) return config->status();
  return Build(*row, *config, MakeRandomTensors(dtype, seed), name, options);
}

std::vector<std::string> ListArchitectures() {
  std::vector<std::string> names;
  for (const ArchRow& row : ArchRows()) names.emplace_back(row.architecture);
  return names;
}

}  // namespace ninfer::frontend
