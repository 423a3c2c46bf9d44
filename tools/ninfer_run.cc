// ninfer-run: continues a text or a conversation with a plan, a model folder, or the bundled model.
// The text goes to standard output, everything else to standard error. Tested by tests/run_test.py,
// tests/chat_test.py and tests/vision_run_test.py.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>

#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "runtime/model.h"
#include "runtime/pictures.h"
#include "runtime/session.h"
#include "tools/common/chat_flags.h"
#include "tools/common/chat_loop.h"
#include "tools/common/devices.h"
#include "tools/common/npy.h"
#include "tools/common/outputs.h"
#include "tools/common/picture_flags.h"
#include "tools/common/program.h"
#include "tools/common/run_flags.h"
#include "tools/common/run_report.h"
#include "tools/common/terminal.h"

namespace ninfer::tools {
namespace {

void Print(absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// `talking` tells that an interrupt ends an answer, and not what is still to be done for the plan.
absl::StatusOr<std::unique_ptr<runtime::Model>> Open(const RunFlags& flags, Notices* notices,
                                                     const std::atomic<bool>* talking) {
  NINFER_ASSIGN_OR_RETURN(runtime::ModelOptions options, ModelOptionsOf(flags));
  ProgressBar bar;
  options.callbacks.log = [notices](absl::string_view line) { notices->Line(line); };
  options.callbacks.progress = [&bar](absl::string_view phase, double done) {
    bar.Show(phase, done);
  };
  options.callbacks.cancelled = [talking] { return !*talking && Interrupted(); };
  return runtime::OpenModel(options);
}

runtime::GenerateOptions GenerateOptionsOf(const RunFlags& flags, const runtime::Model& model,
                                           Notices* notices) {
  runtime::GenerateOptions options;
  options.max_tokens = flags.max_tokens >= 0
                           ? flags.max_tokens
                           : model.executor()->metadata().max_new_tokens.value_or(-1);
  options.prefill_chunk = flags.chunk;
  options.sampling = SamplingOf(flags, model.executor()->metadata());
  options.stop = flags.stop;
  options.ignore_eos = flags.ignore_eos;
  options.all_logits = !flags.logits.empty();
  options.cancelled = [] { return Interrupted(); };
  if (flags.json) return options;
  const auto print = [notices](absl::string_view text) {
    notices->Release();
    Print(text);
  };
  if (model.tokenizer() != nullptr) {
    if (!flags.no_echo) options.on_prompt_text = print;
    options.on_text = print;
  } else {
    options.on_id = [print](int32_t id) { print(absl::StrCat(id, " ")); };
  }
  return options;
}

absl::Status WriteFiles(const RunFlags& flags, runtime::Model* model,
                        const runtime::Generation& generation) {
  if (!flags.logits.empty()) {
    const int64_t vocab = model->executor()->metadata().vocab_size;
    const int64_t rows = static_cast<int64_t>(generation.logits.size()) / vocab;
    NINFER_RETURN_IF_ERROR(WriteNpy(flags.logits, rows, vocab, generation.logits));
  }
  return flags.dump_to.empty() ? absl::OkStatus() : model->WriteDump(flags.dump_to);
}

// That the files may be written and can be made, before anything is computed. What this leaves is
// gone at once.
absl::Status CheckFiles(const RunFlags& flags) {
  NINFER_RETURN_IF_ERROR(
      CheckOutputs({{"--logits", flags.logits}, {"--dump-to", flags.dump_to}}, InputsOf(flags)));
  for (const std::string* path : {&flags.logits, &flags.dump_to}) {
    if (!path->empty()) NINFER_RETURN_IF_ERROR(AtomicFile::Create(*path).status());
  }
  return absl::OkStatus();
}

// The prompt of a conversation, and the pictures that it has.
absl::StatusOr<runtime::ChatPrompt> ChatPromptOf(const RunFlags& flags, const runtime::Model& model,
                                                 std::vector<image::Frames>* pictures) {
  NINFER_ASSIGN_OR_RETURN(const ChatRequest request, ChatRequestOf(flags));
  NINFER_ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                          PicturesIn(request.messages, flags.images));
  NINFER_ASSIGN_OR_RETURN(*pictures, ReadPictures(paths, *model.executor()));
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<runtime::Chat> chat, ChatOf(flags, model, request));
  NINFER_ASSIGN_OR_RETURN(runtime::ChatPrompt prompt, chat->Prompt(request));
  const plan::Vision* vision = model.executor()->vision();
  if (vision == nullptr) return prompt;
  NINFER_RETURN_IF_ERROR(PutPictures(*pictures, *vision, &prompt.text));
  prompt.ids = chat->Encode(prompt.text, /*begins=*/true);
  return prompt;
}

absl::Status Run(const RunFlags& flags) {
  if (flags.list_devices) {
    Print(ListDevices());
    return FlushOutput();
  }
  NINFER_RETURN_IF_ERROR(CheckFiles(flags));
  Notices notices;  // outlives the model, whose thread may still have something to say
  if (flags.verbose) notices.Release();
  std::atomic<bool> talking{false};
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<runtime::Model> model,
                          Open(flags, &notices, &talking));
  if (flags.chat) {
    const runtime::GenerateOptions options = GenerateOptionsOf(flags, *model, &notices);
    notices.Release();
    talking = true;
    const absl::Status ended = ChatLoop(flags, *model, options);
    talking = false;
    NINFER_RETURN_IF_ERROR(ended);
    return model->Finish();
  }
  std::vector<int32_t> prompt;
  std::vector<image::Frames> pictures;
  runtime::GenerateOptions options = GenerateOptionsOf(flags, *model, &notices);
  if (IsChat(flags)) {
    NINFER_ASSIGN_OR_RETURN(runtime::ChatPrompt chat, ChatPromptOf(flags, *model, &pictures));
    if (flags.show_prompt) {
      Print(chat.text);
      return absl::OkStatus();
    }
    prompt = std::move(chat.ids);
    options.on_prompt_text = nullptr;
  } else {
    NINFER_ASSIGN_OR_RETURN(pictures, ReadPictures(flags.images, *model->executor()));
    NINFER_ASSIGN_OR_RETURN(prompt, PromptOf(flags, *model, pictures));
  }
  NINFER_RETURN_IF_ERROR(SeePictures(pictures, prompt, model.get(), &options));
  runtime::Session session(model->executor(), model->tokenizer());
  NINFER_ASSIGN_OR_RETURN(const runtime::Generation generation, session.Generate(prompt, options));
  notices.Release();
  if (!flags.json) Print("\n");
  NINFER_RETURN_IF_ERROR(model->Finish());
  const bool stats = flags.stats || generation.finish == runtime::FinishReason::kCancelled;
  const double bandwidth = flags.stats ? MeasuredBandwidth(*model, generation, flags.threads) : 0;
  if (flags.json) Print(FormatJson(*model, generation, options.sampling, bandwidth) + "\n");
  NINFER_RETURN_IF_ERROR(WriteFiles(flags, model.get(), generation));
  NINFER_RETURN_IF_ERROR(FlushOutput());
  if (stats) std::fputs(FormatStats(*model, generation, bandwidth).c_str(), stderr);
  return absl::OkStatus();
}

}  // namespace
}  // namespace ninfer::tools

int main(int argc, char** argv) {
  CLI::App app(
      "Continues a text with a compiled language model. Piped standard input is the prompt; "
      "sampling is as the model asks for where no flag says otherwise.",
      "ninfer-run");
  ninfer::tools::RunFlags flags;
  ninfer::tools::AddRunFlags(&app, &flags);
  const auto run = [&flags] {
    ninfer::tools::CatchInterrupt();
    return ninfer::tools::Run(flags);
  };
  return ninfer::tools::RunProgram(app, argc, argv, run, {"--system"});
}
