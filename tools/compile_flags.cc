// See compile_flags.h.
// Tested by tests/compile_errors_test.cc, tests/compile_flags_test.cc.
#include "tools/compile_flags.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "compiler/version.h"
#include "frontend/presets.h"

namespace ninfer::tools {
namespace {

void AddText(CLI::App& app, CompileFlags& flags, const char* names, const char* key,
             const char* help) {
  app.add_option_function<std::string>(
      names, [&flags, key](const std::string& value) { flags.options[key] = value; }, help);
}

// A number too large for the flag's type is refused here: CLI11 would take the nearest.
void AddNumber(CLI::App& app, CompileFlags& flags, const char* name, const char* key,
               const char* help) {
  app.add_option_function<std::string>(
      name,
      [&flags, name, key](const std::string& text) {
        int64_t value = 0;
        if (!absl::SimpleAtoi(text, &value)) {
          throw CLI::ValidationError(name, "expected a whole number, found " + text);
        }
        flags.options[key] = value;
      },
      help);
}

void AddNames(CLI::App& app, CompileFlags& flags, const char* name, const char* key,
              const char* help) {
  app.add_option_function<std::vector<std::string>>(
         name, [&flags, key](const std::vector<std::string>& value) { flags.options[key] = value; },
         help)
      ->delimiter(',')
      ->allow_extra_args(false);
}

}  // namespace

void AddCompileFlags(CLI::App& app, CompileFlags& flags) {
  AddText(app, flags, "model", "model", "Folder of a model: config.json and *.safetensors");
  app.add_option("-o,--output", flags.output,
                 "The plan to write (after --stop-after: the text, else on stdout)");
  AddText(app, flags, "--weights", "weights",
          "Storage of linear weights: auto (as the model stores them), f32, bf16, f16");
  AddText(app, flags, "--activations", "activations",
          "Arithmetic: auto (bf16 for weights in bf16, else f32), f32, bf16");
  AddText(app, flags, "--kv-cache", "kv_cache", "The cache: auto (as --activations), f32, bf16");
  AddText(app, flags, "--attention", "attention",
          "flash (default; stores no scores), efficient (a block of them), naive (all)");
  AddText(app, flags, "--default-prompt", "default_prompt",
          "Text that ninfer-run begins with when it is given none (default: the folder's)");
  AddNumber(app, flags, "--context", "context",
            "Positions a sequence may have: bounds the page table (default: the model's own)");
  AddNumber(app, flags, "--max-tokens", "max_tokens",
            "Tokens of one step, over all sequences: bounds the prefill chunk and the arena (512)");
  AddNumber(app, flags, "--max-sequences", "max_sequences", "Sequences of one step (16)");
  AddNumber(app, flags, "--max-rows", "max_rows",
            "Rows of one step whose logits can be asked for: bounds the logits' buffer (64)");
  AddNames(app, flags, "--target", "targets",
           "CPUs to generate code for, with commas: native (default) or of --list-targets");
  AddNames(app, flags, "--disable-pass", "disable_passes",
           "Leaves an optional pass out; repeatable");
  AddText(app, flags, "--stop-after", "stop_after",
          "PASS or PASS.n: stops after the pass, or its n-th rewrite, and gives the text, no plan");
  AddText(app, flags, "--dump-ir", "dump_ir", "Folder for the text before and after every pass");
  AddNames(app, flags, "--print-before", "print_before", "PASS or all: the text on stdout");
  AddNames(app, flags, "--print-after", "print_after", "PASS or all: the text on stdout");
  AddText(app, flags, "--print-changed", "print_changed", "diff: what each pass changes");
  app.add_flag_callback(
      "--verify-each", [&flags] { flags.options["verify_each"] = true; },
      "Compares with the imported graph after every pass, stops at a wrong one");
  AddText(app, flags, "--dump-llvm", "dump_llvm", "Folder for each kernel's LLVM IR");
  AddText(app, flags, "--dump-asm", "dump_asm", "Folder for each kernel's assembly");
  AddText(app, flags, "--from-ir", "from_ir",
          "Compiles this text, a graph as imported, in place of a model's own graph");
  AddText(app, flags, "--weights-from", "weights_from",
          "With --from-ir: the folder of its weights and tokenizer");
  AddText(app, flags, "--random-weights", "random_weights",
          ("Seeded random weights of a published shape (" +
           absl::StrJoin(frontend::Presets(), ", ",
                         [](std::string* out, const frontend::Preset& preset) {
                           absl::StrAppend(out, preset.name);
                         }) +
           ") or of a config.json")
              .c_str());
  AddText(app, flags, "--random-dtype", "random_dtype", "What they are stored in (bf16)");
  AddNumber(app, flags, "--random-seed", "random_seed", "Their seed (0)");
  AddNumber(app, flags, "--threads", "threads", "Threads (default: one for each CPU)");
  app.add_flag("--list-architectures", flags.architectures, "The model families, and ends");
  app.add_flag("--list-passes", flags.passes, "The passes in their order, and ends");
  app.add_flag("--list-targets", flags.targets, "The CPUs that code can be made for, and ends");
  app.add_flag("-v,--verbose", flags.verbose, "Ends in a table of the passes");
  app.add_flag("-q,--quiet", flags.quiet, "Says nothing but errors");
  app.set_version_flag("--version", compiler::kVersion);
}

}  // namespace ninfer::tools
