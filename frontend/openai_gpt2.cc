// See the header. The names are those of openai/gpt-2's src/model.py; what they become is what
// transformers' load_tf_weights_in_gpt2 makes of them. Tested by tests/tf_checkpoint_test.cc.
#include "frontend/openai_gpt2.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"
#include "frontend/config.h"
#include "frontend/json.h"

namespace ninfer::frontend {
namespace {

constexpr uint64_t kMaxCheckpointBytes = 1 << 20;

bool IsLayer(absl::string_view part) {
  if (part.size() < 2 || part[0] != 'h') return false;
  for (char c : part.substr(1)) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<std::string> OpenAiGpt2Index(const std::string& folder) {
  const std::string path = JoinPath(folder, "checkpoint");
  std::string name = "model.ckpt";
  if (FileExists(path)) {
    // A text protocol buffer: model_checkpoint_path: "model.ckpt", and a history of others.
    NINFER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxCheckpointBytes));
    for (absl::string_view line : absl::StrSplit(text, '\n')) {
      line = absl::StripAsciiWhitespace(line);
      if (!absl::ConsumePrefix(&line, "model_checkpoint_path: \"")) continue;
      name = std::string(absl::StripSuffix(line, "\""));
      break;
    }
    if (name.empty() || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos) {
      return InvalidArgument(
          path, ": model_checkpoint_path: expected a name in this folder, found ", Quoted(name));
    }
  }
  return JoinPath(folder, name + ".index");
}

void RenameOpenAiGpt2(StoredTensor& tensor) {
  absl::string_view name = tensor.name;
  if (!absl::ConsumePrefix(&name, "model/")) return;
  std::vector<std::string> parts = absl::StrSplit(name, '/');
  for (std::string& part : parts) {
    if (IsLayer(part)) part = absl::StrCat("h.", part.substr(1));
  }
  if (parts.back() == "b") {
    parts.back() = "bias";
  } else if (parts.back() == "w" || parts.back() == "g") {
    parts.back() = "weight";
  } else {
    parts.push_back("weight");  // of wte and wpe
  }
  // A convolution of width one.
  if (tensor.shape.size() == 3 && tensor.shape[0] == 1) tensor.shape.erase(tensor.shape.begin());
  tensor.name = absl::StrCat("transformer.", absl::StrJoin(parts, "."));
}

absl::StatusOr<std::string> ConfigOfHparams(const std::string& file, absl::string_view text) {
  constexpr const char* kKeys[][2] = {{"n_vocab", "vocab_size"},
                                      {"n_ctx", "n_positions"},
                                      {"n_embd", "n_embd"},
                                      {"n_head", "n_head"},
                                      {"n_layer", "n_layer"}};
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<ConfigReader> hparams,
                          ConfigReader::Parse(file, text));
  nlohmann::json config = {{"model_type", "gpt2"}, {"architectures", {"GPT2LMHeadModel"}}};
  for (const auto& key : kKeys) config[key[1]] = hparams->Int(key[0], 1, INT32_MAX);
  NINFER_RETURN_IF_ERROR(hparams->status());
  return config.dump();
}

}  // namespace ninfer::frontend
