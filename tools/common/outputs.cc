#include "tools/common/outputs.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "base/file.h"
#include "base/status.h"
#include "plan/container.h"

namespace ninfer::tools {
namespace {

namespace fs = std::filesystem;

// What a model folder's files are called; others (a README, what a run wrote there) may go.
constexpr const char* kSuffixes[] = {".json", ".safetensors", ".bin",   ".model",   ".bpe",
                                     ".txt",  ".jinja",       ".index", ".tiktoken"};
// Shards of TensorFlow's checkpoints, whose names end in numbers.
constexpr const char* kShard = ".data-";

bool IsModelFile(const std::string& name) {
  bool decides = absl::StrContains(name, kShard) || name == "checkpoint";
  for (const char* suffix : kSuffixes) decides = decides || absl::EndsWith(name, suffix);
  return decides;
}

bool SameFile(const std::string& a, const std::string& b) {
  std::error_code error;
  if (fs::equivalent(a, b, error)) return true;
  const fs::path whole_a = fs::weakly_canonical(a, error);
  if (error) return false;
  const fs::path whole_b = fs::weakly_canonical(b, error);
  return !error && whole_a == whole_b;
}

bool IsPlan(const std::string& path) {
  char magic[sizeof(plan::kMagic) - 1] = {};
  std::ifstream file(path, std::ios::binary);
  file.read(magic, sizeof(magic));
  return file && std::equal(std::begin(magic), std::end(magic), plan::kMagic);
}

// Whether `path` is a file in `folder` that the compiler may read.
bool IsFileOfModel(const std::string& path, const std::string& folder) {
  if (!FileExists(path) || IsPlan(path)) return false;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    if (IsModelFile(entry->path().filename().string()) && SameFile(path, entry->path().string())) {
      return true;
    }
  }
  return false;
}

}  // namespace

absl::Status CheckOutputs(const std::vector<NamedPath>& outputs,
                          const std::vector<NamedPath>& inputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const NamedPath& output = outputs[i];
    if (output.path.empty()) continue;
    for (const NamedPath& input : inputs) {
      if (input.path.empty()) continue;
      if (IsDirectory(input.path) ? IsFileOfModel(output.path, input.path)
                                  : SameFile(output.path, input.path)) {
        return InvalidArgument(output.name, ": expected another file than ", input.name,
                               IsDirectory(input.path) ? " has" : "", ", found ", output.path);
      }
    }
    for (size_t j = 0; j < i; ++j) {
      if (!outputs[j].path.empty() && SameFile(output.path, outputs[j].path)) {
        return InvalidArgument(output.name, ": expected another file than ", outputs[j].name,
                               ", found ", output.path);
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckDumpFolder(const std::string& folder, const NamedPath& input) {
  if (folder.empty() || input.path.empty()) return absl::OkStatus();
  const fs::path parent = fs::path(input.path).parent_path();
  if (!SameFile(folder, parent.empty() ? "." : parent.string())) return absl::OkStatus();
  return InvalidArgument("--dump-ir: expected another folder than the one of ", input.name,
                         ", found ", folder);
}

}  // namespace ninfer::tools
