// ninfer-compile MODEL -o plan.bin: flags, and one call of the compiler. Texts that were asked for
// go to stdout, all else to stderr. The plan appears whole, under its name, or not at all. Tested
// by tests/compile_errors_test.cc, tests/compile_flags_test.cc.
#include <chrono>
#include <cstdio>
#include <mutex>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "codegen/codegen.h"
#include "compiler/compile.h"
#include "cuda/generate/nvrtc.h"
#include "plan/writer.h"
#include "tools/common/outputs.h"
#include "tools/common/program.h"
#include "tools/common/terminal.h"
#include "tools/compile_flags.h"

namespace ninfer::tools {
namespace {

bool PrintLists(const CompileFlags& flags) {
  if (flags.architectures) {
    for (const std::string& name : frontend::ListArchitectures()) std::puts(name.c_str());
  }
  if (flags.targets) {
    for (const std::string& name : codegen::ListTargets()) std::puts(name.c_str());
    std::puts("cuda");
    for (const cuda::Architecture& row : cuda::ListArchitectures()) {
      std::puts(absl::StrCat("cuda:", row.name).c_str());
    }
    std::puts("cuda:native");
  }
  if (flags.passes) {
    for (const passes::PassInfo& pass : passes::ListPasses()) {
      std::fputs(absl::StrFormat("%-14s %-9s %s\n", pass.name,
                                 pass.optional ? "optional" : "required", pass.summary)
                     .c_str(),
                 stdout);
    }
  }
  return flags.architectures || flags.targets || flags.passes;
}

// What the compiler says: lines that stand above the bar, texts on stdout. The lines wait for the
// end unless they are asked for (-v).
class Console {
 public:
  Console(bool quiet, bool verbose) : quiet_(quiet) {
    if (verbose) notices_.Release();
  }

  void Line(const std::string& text) {
    if (!quiet_) notices_.Line(text);
  }
  void Release() {
    std::lock_guard<std::mutex> lock(mutex_);
    bar_.Clear();
    notices_.Release();
  }
  void Text(const std::string& text) {
    std::lock_guard<std::mutex> lock(mutex_);
    bar_.Clear();
    std::fputs(text.c_str(), stdout);
  }
  void Progress(const char* phase, double done) {
    if (quiet_) return;
    std::lock_guard<std::mutex> lock(mutex_);
    bar_.Show(phase, done);
  }

 private:
  bool quiet_;
  std::mutex mutex_;
  ProgressBar bar_;
  Notices notices_;
};

absl::Status WriteText(const plan::Plan& plan, const std::string& path, Console& console) {
  const std::string& text = plan.program_text.empty() ? plan.final_graph_text : plan.program_text;
  if (!path.empty()) return WriteFile(path, text);
  console.Text(text);
  return absl::OkStatus();
}

absl::Status Run(const CompileFlags& flags) {
  const auto start = std::chrono::steady_clock::now();
  NINFER_ASSIGN_OR_RETURN(const compiler::Options options,
                          compiler::ParseOptions(flags.OptionsText(), compiler::Caller::kCompile));
  NINFER_RETURN_IF_ERROR(
      CheckOutputs({{"-o", flags.output}}, {{"the model", options.model},
                                            {"--from-ir", options.from_ir},
                                            {"--weights-from", options.weights_from},
                                            {"--random-weights", options.random_weights},
                                            {"--quality", options.quality}}));
  NINFER_RETURN_IF_ERROR(CheckDumpFolder(options.dump_ir, {"--from-ir", options.from_ir}));
  const bool text_only = !options.stop_after.empty();
  std::unique_ptr<plan::PlanFile> file;
  if (!flags.output.empty()) {
    // Before the work: that the file can be made.
    NINFER_ASSIGN_OR_RETURN(file, plan::PlanFile::Create(flags.output));
  } else if (!text_only) {
    return InvalidArgument("-o: expected a file for the plan, found none");
  }
  Console console(flags.quiet, flags.verbose);
  compiler::Callbacks callbacks;
  callbacks.log = [&](const std::string& line) { console.Line(line); };
  callbacks.print = [&](const std::string& text) { console.Text(text); };
  callbacks.progress = [&](const char* phase, double done) { console.Progress(phase, done); };
  NINFER_ASSIGN_OR_RETURN(const compiler::Compiled compiled,
                          compiler::Compile(options, callbacks, file.get()));
  const plan::Plan& plan = compiled.plan;
  if (text_only) {
    NINFER_RETURN_IF_ERROR(WriteText(plan, flags.output, console));
  } else {
    // Until now Ctrl-C ends the program at once, with nothing on the disk; from here on the plan is
    // written to its end.
    CatchInterrupt();
    console.Progress("write", 0);
    NINFER_RETURN_IF_ERROR(FlushOutput());
    NINFER_RETURN_IF_ERROR(
        file->Write(plan, compiled.weights->data(), compiler::ThreadsOrDefault(options.threads)));
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    console.Line(absl::StrFormat("wrote %s: %.1f MB of weights, %d kernels, in %.2f s",
                                 flags.output, plan.weight_bytes / 1e6, plan.kernels.size(),
                                 seconds.count()));
  }
  if (flags.verbose || options.verify_each) console.Line(compiled.pass_table);
  NINFER_RETURN_IF_ERROR(FlushOutput());
  console.Release();
  return absl::OkStatus();
}

}  // namespace
}  // namespace ninfer::tools

int main(int argc, char** argv) {
  CLI::App app("Compiles a language model into a plan.", "ninfer-compile");
  ninfer::tools::CompileFlags flags;
  ninfer::tools::AddCompileFlags(app, flags);
  return ninfer::tools::RunProgram(app, argc, argv, [&] {
    return ninfer::tools::PrintLists(flags) ? absl::OkStatus() : ninfer::tools::Run(flags);
  });
}
