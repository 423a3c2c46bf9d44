#include "tools/common/run_flags.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "runtime/pictures.h"
#include "text/unicode.h"
#include "tools/common/arguments.h"
#include "tools/common/chat_flags.h"
#include "tools/common/devices.h"
#include "tools/common/picture_flags.h"
#include "tools/common/terminal.h"

namespace ninfer::tools {
namespace {

constexpr uint64_t kPromptLimit = uint64_t{64} << 20;

void AddOutputFlags(CLI::App* app, RunFlags* flags) {
  app->add_flag("--stats", flags->stats, "print load, speed and bandwidth at the end");
  app->add_flag("--json", flags->json, "print one JSON object instead of the text");
  app->add_flag("--no-echo", flags->no_echo, "print what is generated, without the prompt");
  app->add_option("--logits", flags->logits,
                  "write the logits of every position to this .npy file");
  app->add_option("--dump-tensors", flags->dump_tensors,
                  "keep the tensors whose names match this regular expression");
  app->add_option("--dump-to", flags->dump_to, "write them to this safetensors file");
  app->add_flag("-v,--verbose", flags->verbose, "say what is being done");
}

void AddCompilerFlags(CLI::App* app, RunFlags* flags) {
  const char* group = "For model folders";
  app->add_option("--target", flags->target, "what to make code for, separated by commas (native)")
      ->group(group);
  app->add_option("--weights", flags->weights,
                  "storage: auto (default), f32, bf16, f16, int8, int4 or another of "
                  "ninfer-compile's")
      ->group(group);
  app->add_option("--activations", flags->activations,
                  "arithmetic: auto (default), f32, bf16, int8 or int8:row")
      ->group(group);
  app->add_option("--kv-cache", flags->kv_cache, "auto (default), f32, bf16 or int8")->group(group);
  app->add_option("--attention", flags->attention, "flash (default), efficient or naive")
      ->group(group);
  app->add_option("--context", flags->context, "longest text (the model's own)")
      ->group(group)
      ->check(Between(1, INT32_MAX));
  app->add_option("--disable-pass", flags->disable_pass, "an optional pass to leave out")
      ->group(group)
      ->delimiter(',')
      ->allow_extra_args(false);
  app->add_flag("--no-cache", flags->no_cache, "neither use nor keep a compiled plan")
      ->group(group);
}

template <typename T>
void AddSampler(CLI::App* app, const std::string& field, std::optional<T>* value,
                const std::string& help) {
  app->add_option("--" + absl::StrReplaceAll(field, {{"_", "-"}}), *value, help);
}

// CLI11 would take -1 for 2^64 - 1, and what is larger for that too.
void AddSeed(CLI::App* app, RunFlags* flags) {
  const auto set = [flags](const std::string& text) {
    uint64_t seed = 0;
    if (!absl::SimpleAtoi(text, &seed)) {
      throw CLI::ValidationError(
          "--seed", absl::StrCat("expected 0 to ", UINT64_MAX, ", found \"", text, "\""));
    }
    flags->seed = seed;
  };
  app->add_option_function<std::string>("--seed", set,
                                        "makes sampling repeatable (a new one each time)");
}

absl::StatusOr<std::vector<int32_t>> ParseIds(const std::string& text) {
  std::vector<int32_t> ids;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    int32_t id = 0;
    if (!absl::SimpleAtoi(part, &id)) {  // which allows blanks around it
      return InvalidArgument("--prompt-ids: expected numbers separated by commas, found \"", part,
                             "\"");
    }
    ids.push_back(id);
  }
  return ids;
}

// A pipe that says nothing for a while may be one that nobody meant to use.
absl::Status WaitForPrompt() {
  pollfd input = {STDIN_FILENO, POLLIN, 0};
  const int ready = Interrupted() ? -1 : poll(&input, 1, 2000);
  if (Interrupted()) return absl::CancelledError("interrupted");
  if (ready == 0) {
    std::fprintf(stderr,
                 "ninfer-run: reading the prompt from standard input; --prompt gives one\n");
  }
  return absl::OkStatus();
}

// What is piped in, without its last newline; empty when standard input is a terminal, closed or
// empty.
absl::StatusOr<std::string> PipedInput() {
  struct stat info;
  if (fstat(STDIN_FILENO, &info) != 0 || isatty(STDIN_FILENO) || S_ISDIR(info.st_mode)) return "";
  NINFER_RETURN_IF_ERROR(WaitForPrompt());
  std::string text;
  char chunk[65536];
  while (true) {
    const ssize_t count = read(STDIN_FILENO, chunk, sizeof(chunk));
    if (count < 0 && errno == EINTR && Interrupted()) return absl::CancelledError("interrupted");
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return InvalidArgument("standard input: cannot read: ", strerror(errno));
    if (count == 0) break;
    text.append(chunk, static_cast<size_t>(count));
    if (text.size() > kPromptLimit) {
      return InvalidArgument("standard input: expected at most ", kPromptLimit,
                             " bytes, found more");
    }
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// `source` is empty for pictures without a text.
absl::StatusOr<std::vector<int32_t>> EncodePrompt(const runtime::Model& model,
                                                  const std::vector<image::Frames>& pictures,
                                                  const std::string& source, std::string text) {
  if (text.empty() && !source.empty()) {
    return InvalidArgument(source, ": expected some text, found none");
  }
  if (model.tokenizer() == nullptr) {
    return InvalidArgument(source.empty() ? "--image" : source,
                           ": the model has no tokenizer: expected --prompt-ids, found text");
  }
  if (const plan::Vision* vision = model.executor()->vision(); vision != nullptr) {
    text = runtime::WithMarks(text, static_cast<int64_t>(pictures.size()), *vision);
    NINFER_RETURN_IF_ERROR(PutPictures(pictures, *vision, &text));
  }
  return model.tokenizer()->Encode(text, /*add_special_tokens=*/true);
}

}  // namespace

void AddRunFlags(CLI::App* app, RunFlags* flags) {
  app->add_option("model", flags->model,
                  "a plan, a model folder or hf:org/name[@revision]; the bundled model when absent")
      ->check([](const std::string& path) -> std::string {
        return path.empty() ? "expected a plan or a model folder, found ''" : "";
      });
  app->add_option("--prompt", flags->prompt,
                  "the text to continue (else what is piped in, else the model's default)");
  app->add_option("--prompt-file", flags->prompt_file,
                  "a file with the text to continue, as it stands (of piped text the last line "
                  "break is left out); an empty one, as none at all");
  app->add_option("--prompt-ids", flags->prompt_ids, "token ids to continue, as 1,2,3");
  app->add_option("--image", flags->images,
                  "a PNG or JPEG file, for the next <image> of the text, or before a text without "
                  "any; may be given several times")
      ->allow_extra_args(false);
  app->add_option(
         "--max-tokens", flags->max_tokens,
         "most new tokens (as the model asks for, else until the text or the context ends)")
      ->check(Between(0, INT32_MAX));
#define SAMPLER(function, field, type, neutral, least, most, when, help) \
  AddSampler(app, #field, &flags->field, help);
#include "runtime/sampling/samplers.def"
  AddSeed(app, flags);
  app->add_option("--stop", flags->stop, "end before this text; may be given several times")
      ->allow_extra_args(false);
  app->add_flag("--ignore-eos", flags->ignore_eos, "go on past the end of a text");
  app->add_option("--chunk", flags->chunk,
                  "tokens of the prompt in one step (as many as the plan takes)")
      ->check(Between(1, INT32_MAX));
  app->add_option("--engine", flags->engine, "compiled (default), or eager for a model folder")
      ->check(OneOf({"compiled", "eager"}));
  app->add_option(
      "--device", flags->device,
      "auto (default: a CUDA card where the plan has code for it), cpu, cuda or cuda:N");
  app->add_flag("--list-devices", flags->list_devices, "print what --device may name, and end");
  app->add_option("--threads", flags->threads, "threads (as many as there are CPUs)")
      ->check(Between(1, 1024));
  app->add_option("--weights-memory", flags->weights_memory, "auto (default), map or copy");
  app->add_flag("--no-verify", flags->no_verify, "do not verify the weights' checksums");
  app->add_flag("--perf-map", flags->perf_map,
                "tell perf the names of kernels; gdb has them anyway");
  AddChatFlags(app, flags);
  AddOutputFlags(app, flags);
  AddCompilerFlags(app, flags);
}

std::vector<NamedPath> InputsOf(const RunFlags& flags) {
  std::vector<NamedPath> inputs = {
      {"the model", flags.model.empty() ? runtime::DefaultPlanPath() : flags.model},
      {"--prompt-file", flags.prompt_file.value_or("")},
      {"--messages", flags.messages},
      {"--tools", flags.tools},
      {"--documents", flags.documents},
      {"--chat-template", flags.chat_template}};
  for (const std::string& path : flags.images) inputs.push_back({"--image", path});
  return inputs;
}

absl::StatusOr<runtime::ModelOptions> ModelOptionsOf(const RunFlags& flags) {
  const int prompts =
      flags.prompt.has_value() + flags.prompt_file.has_value() + flags.prompt_ids.has_value();
  if (prompts > 1) {
    return InvalidArgument("expected one of --prompt, --prompt-file and --prompt-ids, found ",
                           prompts);
  }
  NINFER_RETURN_IF_ERROR(CheckChatFlags(flags));
  if (!flags.images.empty() && (flags.chat || flags.prompt_ids.has_value())) {
    return InvalidArgument("--image: expected a text or --messages, found ",
                           flags.chat ? "--chat" : "--prompt-ids");
  }
  if (flags.dump_tensors.empty() != flags.dump_to.empty()) {
    return InvalidArgument("expected --dump-tensors and --dump-to together, found one");
  }
  if (!IsValidUtf8(flags.model)) {
    return InvalidArgument("model: expected UTF-8, found \"", absl::CHexEscape(flags.model), "\"");
  }
  nlohmann::ordered_json compiler = nlohmann::ordered_json::object();
  const auto add = [&compiler](const char* key, const std::string& value) {
    if (!value.empty()) compiler[key] = value;
  };
  if (!flags.target.empty()) {
    compiler["targets"] = std::vector<std::string>(absl::StrSplit(flags.target, ','));
  }
  add("weights", flags.weights);
  add("activations", flags.activations);
  add("kv_cache", flags.kv_cache);
  add("attention", flags.attention);
  if (flags.context > 0) compiler["context"] = flags.context;
  if (!flags.disable_pass.empty()) compiler["disable_passes"] = flags.disable_pass;
  if (!compiler.empty() && !IsDirectory(flags.model)) {
    // Keys are named as their flags are, but for two that hold a list.
    const std::string flag = absl::StrReplaceAll(
        compiler.begin().key(), {{"targets", "target"}, {"passes", "pass"}, {"_", "-"}});
    return InvalidArgument("--", flag, ": expected a model folder, found ",
                           flags.model.empty() ? "the bundled plan" : flags.model);
  }
  runtime::ModelOptions options;
  options.path = flags.model;
  options.eager = flags.engine == "eager";
  options.threads = flags.threads;
  options.perf_map = flags.perf_map;
  options.cache = !flags.no_cache;
  options.verbose = flags.verbose;
  options.read.verify = !flags.no_verify;
  NINFER_ASSIGN_OR_RETURN(options.read.weights_memory,
                          plan::WeightsMemoryFromName(flags.weights_memory));
  if (!compiler.empty()) {
    options.compiler_options =
        compiler.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  }
  options.dump_tensors = flags.dump_tensors;
  NINFER_RETURN_IF_ERROR(ChooseDevice(flags.device, &options));
  return options;
}

runtime::SamplingOptions SamplingOf(const RunFlags& flags, const plan::Metadata& metadata) {
  runtime::SamplingOptions options = runtime::DefaultSampling(metadata);
  using runtime::kAlways, runtime::kSampled;
#define SAMPLER(function, field, type, neutral, least, most, when, ...) \
  if (flags.field.has_value()) {                                        \
    options.field = *flags.field;                                       \
    options.sample = options.sample || !(when);                         \
  }
#include "runtime/sampling/samplers.def"
  if (options.temperature == 0) options.sample = false;
  if (flags.seed.has_value()) {
    options.seed = *flags.seed;
  } else {
    uint32_t random = 0;  // short enough to be typed again
    if (getrandom(&random, sizeof(random), 0) != sizeof(random)) random = 1;
    options.seed = random;
  }
  return options;
}

absl::StatusOr<std::vector<int32_t>> PromptOf(const RunFlags& flags, const runtime::Model& model,
                                              const std::vector<image::Frames>& pictures) {
  if (flags.prompt_ids.has_value()) return ParseIds(*flags.prompt_ids);
  if (flags.prompt.has_value()) return EncodePrompt(model, pictures, "--prompt", *flags.prompt);
  const std::string source = flags.prompt_file.value_or("standard input");
  NINFER_ASSIGN_OR_RETURN(const std::string text, flags.prompt_file.has_value()
                                                      ? ReadFile(source, kPromptLimit)
                                                      : PipedInput());
  if (!text.empty()) return EncodePrompt(model, pictures, source, text);
  const plan::Metadata& metadata = model.executor()->metadata();
  if (!metadata.default_prompt.empty() && model.tokenizer() != nullptr) {
    return EncodePrompt(model, pictures, "default prompt", metadata.default_prompt);
  }
  if (!pictures.empty()) return EncodePrompt(model, pictures, "", "");
  return std::vector<int32_t>{metadata.bos_id.value_or(0)};
}

}  // namespace ninfer::tools
