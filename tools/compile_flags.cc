// See compile_flags.h.
// Tested by tests/compile_errors_test.cc, tests/compile_flags_test.cc.
#include "tools/compile_flags.h"

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "frontend/presets.h"
#include "text/unicode.h"
#include "tools/common/arguments.h"

namespace ninfer::tools {
namespace {

// Options travel as JSON, which has no bytes but those of UTF-8.
void AddText(CLI::App& app, CompileFlags& flags, const char* name, const char* key,
             const std::string& help) {
  app.add_option_function<std::string>(
      name,
      [&flags, name, key](const std::string& value) {
        if (!IsValidUtf8(value)) {
          throw CLI::ValidationError(name,
                                     "expected UTF-8, found \"" + absl::CHexEscape(value) + "\"");
        }
        flags.options[key] = value;
      },
      help);
}

// A number too large for the flag's type is refused here: CLI11 would take the nearest.
void AddNumber(CLI::App& app, CompileFlags& flags, const char* name, const char* key,
               const std::string& help) {
  app.add_option_function<std::string>(
         name,
         [&flags, name, key](const std::string& text) {
           int64_t value = 0;
           if (!absl::SimpleAtoi(text, &value)) {
             throw CLI::ValidationError(name, "expected a whole number, found '" + text + "'");
           }
           flags.options[key] = value;
         },
         help)
      ->type_name("INT");
}

// A bound, of which 0 would say nothing.
void AddBound(CLI::App& app, CompileFlags& flags, const char* name, const char* key,
              const std::string& help) {
  AddNumber(app, flags, name, key, help);
  app.get_option(name)->check(Between(1, INT32_MAX));
}

void AddNames(CLI::App& app, CompileFlags& flags, const char* name, const char* key,
              const std::string& help) {
  app.add_option_function<std::vector<std::string>>(
         name, [&flags, key](const std::vector<std::string>& value) { flags.options[key] = value; },
         help)
      ->delimiter(',')
      ->allow_extra_args(false);
}

// One each time, commas and all.
void AddRules(CLI::App& app, CompileFlags& flags, const char* name, const char* key,
              const std::string& help) {
  app.add_option_function<std::vector<std::string>>(
         name, [&flags, key](const std::vector<std::string>& value) { flags.options[key] = value; },
         help)
      ->allow_extra_args(false);
}

void AddSwitch(CLI::App& app, CompileFlags& flags, const char* name, const char* key,
               const std::string& help) {
  app.add_flag_callback(
      name, [&flags, key] { flags.options[key] = true; }, help);
}

std::string PresetNames() {
  return absl::StrJoin(
      frontend::Presets(), ", ",
      [](std::string* out, const frontend::Preset& preset) { absl::StrAppend(out, preset.name); });
}

// A flag whose value is one of the compiler's options.
struct CompilerFlag {
  void (*add)(CLI::App&, CompileFlags&, const char* name, const char* key, const std::string& help);
  const char* name;
  const char* key;
  std::string help;
};

const std::vector<CompilerFlag>& CompilerFlags() {
  static const auto* flags = new std::vector<CompilerFlag>{
      {AddText, "--weights", "weights",
       "Storage of linear weights: auto (as the model stores them), f32, bf16, f16, int8 (groups "
       "of "
       "32), int8:channel, int4 (32), int4:128, int4a and int4a:128 (zero anywhere), nu4 (32, "
       "sixteen uneven steps)"},
      {AddRules, "--weights-for", "weights_for",
       "PATTERN=TYPE: another type for the weights whose tensors' names match (* and ? stand for "
       "any characters; \".weight\" may be left out), or a JSON file of such pairs; repeatable, "
       "the last that matches holds"},
      {AddText, "--activations", "activations",
       "Arithmetic: auto (bf16 for weights in bf16, else f32; int8 into linears whose weights are "
       "integers), f32, bf16, int8 (a scale for each 32 values), int8:row (one for each row)"},
      {AddText, "--error-budget", "error_budget",
       "A share, as 0.5%, that the perplexity of the model's own texts may grow by: chooses "
       "weights' types one by one (nu4, int8, as stored), the smallest plan within it"},
      {AddText, "--error-budget-for", "error_budget_for",
       "What is to be the least: size (default), or speed: the bytes that a token reads"},
      {AddText, "--kv-cache", "kv_cache", "The cache: auto (as --activations), f32, bf16, int8"},
      {AddText, "--attention", "attention",
       "flash (default; stores no scores), efficient (a block of them), naive (all)"},
      {AddText, "--default-prompt", "default_prompt",
       "Text that ninfer-run begins with when it is given none (default: the folder's)"},
      {AddBound, "--context", "context",
       "Positions a sequence may have: bounds the page table (default: the model's own)"},
      {AddBound, "--max-tokens", "max_tokens",
       "Tokens of one step, over all sequences: bounds the prefill chunk and the arena (512)"},
      {AddBound, "--max-sequences", "max_sequences", "Sequences of one step (16)"},
      {AddBound, "--max-rows", "max_rows",
       "Rows of one step whose logits can be asked for: bounds the logits' buffer (64)"},
      {AddNames, "--target", "targets",
       "what to generate code for, with commas: native (default), cuda, or of --list-targets"},
      {AddNames, "--disable-pass", "disable_passes", "Leaves an optional pass out; repeatable"},
      {AddText, "--stop-after", "stop_after",
       "PASS or PASS.n: stops after the pass, or its n-th rewrite (0: before the first), and gives "
       "the text, no plan"},
      {AddText, "--dump-ir", "dump_ir", "Folder for the text before and after every pass"},
      {AddNames, "--print-before", "print_before", "PASS or all: the text on stdout"},
      {AddNames, "--print-after", "print_after", "PASS or all: the text on stdout"},
      {AddText, "--print-changed", "print_changed", "diff: what each pass changes"},
      {AddSwitch, "--verify-each", "verify_each",
       "Compares with the imported graph after every pass, stops at a wrong one"},
      {AddText, "--dump-llvm", "dump_llvm", "Folder for each kernel's LLVM IR"},
      {AddText, "--dump-asm", "dump_asm", "Folder for each kernel's assembly"},
      {AddText, "--dump-cuda", "dump_cuda", "Folder for the kernels as CUDA C++, kernels.cu"},
      {AddText, "--dump-ptx", "dump_ptx", "Folder for their PTX, made by NVRTC where it is found"},
      {AddText, "--from-ir", "from_ir",
       "Compiles this text, a graph as imported, in place of a model's own graph"},
      {AddText, "--weights-from", "weights_from",
       "With --from-ir: the folder of its weights and tokenizer"},
      {AddText, "--random-weights", "random_weights",
       "Seeded random weights of a published shape (" + PresetNames() + ") or of a config.json"},
      {AddText, "--random-dtype", "random_dtype", "What they are stored in (bf16)"},
      {AddNumber, "--random-seed", "random_seed", "Their seed (0)"},
      {AddNumber, "--threads", "threads", "Threads (default: one for each CPU)"},
  };
  return *flags;
}

}  // namespace

void AddCompileFlags(CLI::App& app, CompileFlags& flags) {
  AddText(app, flags, "model", "model",
          "Folder of a model (config.json and weights), or hf:org/name[@revision]");
  app.add_option("-o,--output", flags.output,
                 "The plan to write (after --stop-after: the text, else on stdout)");
  for (const CompilerFlag& flag : CompilerFlags()) {
    flag.add(app, flags, flag.name, flag.key, flag.help);
  }
  app.add_flag("--quality", flags.quality,
               "Measures KL divergence, argmax flips and perplexity against f32, and the error of "
               "every linear: --quality (bundled text), --quality=sampled (texts that the model "
               "draws), --quality=FILE");
  app.add_flag("--calibrate", flags.calibrate,
               "Rounds weights of nu4 with each linear's inputs in view, on texts as of --quality; "
               "sampled ones are others than those");
  app.add_flag("--list-architectures", flags.architectures, "The model families, and ends");
  app.add_flag("--list-passes", flags.passes, "The passes in their order, and ends");
  app.add_flag("--list-targets", flags.targets, "The CPUs that code can be made for, and ends");
  app.add_flag("-v,--verbose", flags.verbose, "Ends in a table of the passes");
  app.add_flag("-q,--quiet", flags.quiet, "Says nothing but errors");
}

}  // namespace ninfer::tools
