// ninfer-opt graph.ir: reads the text of a graph or program, runs named passes, prints or executes
// it. Tested by tests/opt_test.cc.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "absl/algorithm/container.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "ir/ops_markdown.h"
#include "passes/runner.h"
#include "passes/weight_types.h"
#include "tools/common/arguments.h"
#include "tools/common/outputs.h"
#include "tools/common/program.h"
#include "tools/common/terminal.h"
#include "tools/opt_graph.h"

namespace ninfer::tools {
namespace {

struct Flags {
  std::string input, output, docs, print_changed, weights = "f32", activations = "f32",
                                                  kv_cache = "f32";
  std::vector<std::string> passes;
  passes::PassOptions options;
  OptRun run;
  bool verify = true, execute = false, verbose = false, list_ops = false, list_passes = false;
};

void AddFlags(CLI::App& app, Flags& flags) {
  app.add_option("input", flags.input,
                 "Text of a graph or of a kernel program; - reads standard input");
  app.add_option("-o,--output", flags.output, "Where the result goes (default: stdout)");
  app.add_option("--passes", flags.passes, "Passes to run, in this order, with commas")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_flag("--verify,!--no-verify", flags.verify, "Checks the text before and after (default)");
  app.add_flag("--run", flags.execute,
               "Executes the result: a graph by eager, a program by its interpreter");
  app.add_option("--weights", flags.run.weights, "Model folder that holds the text's weights");
  app.add_option("--prompt-ids", flags.run.ids,
                 "Tokens to run, with commas (default: 8 ids spread over the vocabulary)")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--logits", flags.run.logits, "Writes their logits to this .npy file");
  app.add_option("--threads", flags.run.threads, "Threads (default: one for each CPU)")
      ->check(Between(0, 4096));
  app.add_option("--weight-type", flags.weights,
                 "precision: storage of linear weights (default: f32)")
      ->check([](const std::string& name) {
        return std::string(passes::ParseWeightType(name).status().message());
      });
  app.add_option("--activations", flags.activations, "precision: arithmetic (default: f32)")
      ->check(OneOf({"f32", "bf16"}));
  app.add_option("--kv-cache", flags.kv_cache, "precision: the cache (default: f32)")
      ->check(OneOf({"f32", "bf16", "int8"}));
  app.add_option("--attention", flags.options.attention, "attention: naive, efficient or flash")
      ->check(OneOf({"naive", "efficient", "flash"}));
  const auto positive = Between(1, INT32_MAX);
  app.add_option("--context", flags.options.context_length, "kv-cache: positions of a sequence")
      ->check(positive);
  app.add_option("--max-tokens", flags.options.max_tokens, "kv-cache: tokens of a step")
      ->check(positive);
  app.add_option("--max-sequences", flags.options.max_sequences, "kv-cache: sequences of a step")
      ->check(positive);
  app.add_option("--max-rows", flags.options.max_rows, "last-rows: rows of a step")
      ->check(positive);
  app.add_option("--stop-after", flags.options.stop_after,
                 "PASS or PASS.n: after its n-th rewrite");
  app.add_option("--dump-ir", flags.options.dump_dir, "Folder for the text around every pass");
  app.add_option("--print-changed", flags.print_changed, "diff: what each pass changes")
      ->check(OneOf({"diff"}));
  app.add_flag("--list-ops", flags.list_ops, "The ops of graphs, and ends");
  app.add_flag("--list-passes", flags.list_passes, "The passes in their order, and ends");
  app.add_option("--docs", flags.docs,
                 "ops or passes: the page of docs/ that is made from the table")
      ->check(OneOf({"ops", "passes"}));
  app.add_flag("-v,--verbose", flags.verbose, "Ends in a table of the passes");
}

bool PrintTables(const Flags& flags) {
  if (flags.list_ops) {
    for (const ir::OpInfo& info : ir::AllOps()) {
      std::puts(absl::StrFormat("%-16s %s", info.name, info.mathematics).c_str());
    }
  }
  if (flags.list_passes) {
    for (const passes::PassInfo& pass : passes::ListPasses()) std::puts(pass.name.c_str());
  }
  if (flags.docs == "ops") std::fputs(ir::OpsMarkdown().c_str(), stdout);
  if (flags.docs == "passes") std::fputs(passes::PassesMarkdown().c_str(), stdout);
  return flags.list_ops || flags.list_passes || !flags.docs.empty();
}

// A pass that is none at all is the runner's to refuse.
absl::Status CheckStop(const Flags& flags) {
  const std::string& text = flags.options.stop_after;
  const std::string pass = text.substr(0, text.rfind('.'));
  if (passes::FindPass(pass) == nullptr || absl::c_linear_search(flags.passes, pass)) {
    return absl::OkStatus();
  }
  return InvalidArgument("--stop-after: expected one of --passes, ",
                         absl::StrJoin(flags.passes, ", "), ", found ", pass);
}

absl::Status Run(Flags& flags) {
  if (flags.input.empty()) return InvalidArgument("expected the path of a text, found none");
  NINFER_RETURN_IF_ERROR(
      CheckOutputs({{"-o", flags.output}, {"--logits", flags.run.logits}},
                   {{"the text", flags.input}, {"--weights", flags.run.weights}}));
  if (!flags.execute && !flags.run.logits.empty()) {
    return InvalidArgument("--logits: expected --run, which makes them, found none");
  }
  if (flags.passes.empty() &&
      !(flags.options.stop_after.empty() && flags.options.dump_dir.empty())) {
    return InvalidArgument(flags.options.dump_dir.empty() ? "--stop-after" : "--dump-ir",
                           ": expected --passes, found none");
  }
  NINFER_RETURN_IF_ERROR(CheckStop(flags));
  NINFER_RETURN_IF_ERROR(CheckDumpFolder(flags.options.dump_dir, {"the text", flags.input}));
  NINFER_ASSIGN_OR_RETURN(OptGraph graph, ReadOptGraph(flags.input));
  if (flags.verify) NINFER_RETURN_IF_ERROR(Annotate(graph.Verify(), flags.input));
  passes::PassOptions& options = flags.options;
  options.SetWeights(flags.weights);
  options.activations = *DTypeFromName(flags.activations);
  options.kv_cache = flags.kv_cache == "int8" ? DType::kI8 : *DTypeFromName(flags.kv_cache);
  options.print_changed_diff = !flags.print_changed.empty();
  if (options.context_length == 0) options.context_length = ContextOf(graph);
  options.print = [](const std::string& text) { std::fputs(text.c_str(), stderr); };
  std::string table;
  if (!flags.passes.empty()) {
    NINFER_ASSIGN_OR_RETURN(table, RunOptPasses(flags.passes, options, graph));
    if (flags.verify && options.stop_after.empty()) NINFER_RETURN_IF_ERROR(graph.Verify());
  }
  std::string shown;
  if (flags.execute) {
    NINFER_ASSIGN_OR_RETURN(shown, RunOptGraph(graph, flags.run));
  }
  if (!flags.output.empty()) {
    NINFER_RETURN_IF_ERROR(WriteFile(flags.output, graph.Text()));
  } else if (!flags.execute) {
    shown = graph.Text();
  }
  std::fputs(shown.c_str(), stdout);
  NINFER_RETURN_IF_ERROR(FlushOutput());
  if (flags.verbose) std::fputs(table.c_str(), stderr);
  return absl::OkStatus();
}

}  // namespace
}  // namespace ninfer::tools

int main(int argc, char** argv) {
  CLI::App app("Runs passes on the text of a graph or kernel program.", "ninfer-opt");
  ninfer::tools::Flags flags;
  ninfer::tools::AddFlags(app, flags);
  return ninfer::tools::RunProgram(app, argc, argv, [&] {
    return ninfer::tools::PrintTables(flags) ? absl::OkStatus() : ninfer::tools::Run(flags);
  });
}
