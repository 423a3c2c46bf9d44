// The flags of ninfer-run, and what they make: options of the model, of the generation, and the
// prompt. Tested by tests/run_test.py.
#ifndef NINFER_TOOLS_COMMON_RUN_FLAGS_H_
#define NINFER_TOOLS_COMMON_RUN_FLAGS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "image/processor.h"
#include "runtime/model.h"
#include "runtime/session.h"
#include "tools/common/outputs.h"

namespace CLI {
class App;
}

namespace ninfer::tools {

struct RunFlags {
  std::string model, engine = "compiled", weights_memory = "auto", device = "auto";
  std::optional<std::string> prompt, prompt_file, prompt_ids;
  std::vector<std::string> images;
  int64_t max_tokens = -1, chunk = 0;
#define SAMPLER(function, field, type, ...) std::optional<type> field;
#include "runtime/sampling/samplers.def"
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  bool ignore_eos = false, stats = false, json = false, verbose = false, no_verify = false;
  bool no_echo = false, no_cache = false, perf_map = false, list_devices = false;
  int threads = 0;
  std::string logits, dump_tensors, dump_to;
  // For conversations (tools/common/chat_flags.h).
  bool chat = false, show_prompt = false;
  std::optional<std::string> system;
  std::string messages, tools, documents, chat_template, template_kwargs;
  // For model folders: handed to the compiler.
  std::string target, weights, activations, kv_cache, attention;
  int64_t context = 0;
  std::vector<std::string> disable_pass;
};

void AddRunFlags(CLI::App* app, RunFlags* flags);

// The files that the flags name as inputs, for CheckOutputs.
std::vector<NamedPath> InputsOf(const RunFlags& flags);

// Everything but the callbacks. Refuses flags that contradict each other, naming them.
absl::StatusOr<runtime::ModelOptions> ModelOptionsOf(const RunFlags& flags);

// Sampling: the flags, else what the model asks for. Without --seed the seed is a new one each
// time.
runtime::SamplingOptions SamplingOf(const RunFlags& flags, const plan::Metadata& metadata);

// The prompt's ids: of the flags, else of a piped standard input, else of the plan's default
// prompt, else the model's first id. Pictures take the places of the text's marks, or come first
// where it has none.
absl::StatusOr<std::vector<int32_t>> PromptOf(const RunFlags& flags, const runtime::Model& model,
                                              const std::vector<image::Frames>& pictures);

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_COMMON_RUN_FLAGS_H_
