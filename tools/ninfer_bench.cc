// ninfer-bench: what compiling and caching are worth on a model (the 2x2), and how near prefill and
// decoding come to the machine's limits. Results go to standard output, all else to standard error.
// Tested by tests/bench_test.py.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "bench/peer_programs.h"
#include "bench/run.h"
#include "runtime/cpu_limits.h"
#include "tools/common/program.h"
#include "tools/common/terminal.h"

namespace ninfer::tools {
namespace {

void AddPeerFlags(CLI::App* app, bench::RunOptions* o) {
  const auto split = [o](const std::string& list) { o->peers = absl::StrSplit(list, ','); };
  app->add_option_function<std::string>(
         "--peers", split,
         "other engines measured in the same run: " + absl::StrJoin(bench::PeerNames(), ", ") +
             "; without a list all. What is not installed is, from "
             "PyPI. The 2x2 takes torch or transformers")
      ->expected(0, 1)
      ->default_str("all");
  app->add_option("--peer-source", o->peer_sources,
                  "ik=FOLDER, llama.cpp=FOLDER: an engine built from its source")
      ->expected(1);
  app->add_option("--peers-folder", o->peers_folder,
                  "where engines are installed and keep their files (default: peers/ beside bin/)");
}

void AddFlags(CLI::App* app, bench::RunOptions* o) {
  app->add_option("model", o->model.path, "a model folder; or, with -p or -n, a plan");
  app->add_option("--random-weights", o->model.random_weights,
                  "a shape without weights: smollm2-135m, gpt2-124m, qwen2.5-0.5b, tinyllama-1.1b, "
                  "or the path of a config.json");
  app->add_option("--type", o->types,
                  "weights and activations: f32, bf16, or both; with -p or -n also int8 and int4 "
                  "(default: both, "
                  "one after the other; with -p or -n as the model is stored)")
      ->delimiter(',')
      ->allow_extra_args(false);
  app->add_option("-p,--prefill", o->throughput.prefill, "prompts of so many tokens")
      ->delimiter(',')
      ->allow_extra_args(false);
  app->add_option("-n,--decode", o->throughput.decode, "so many tokens one by one")
      ->delimiter(',')
      ->allow_extra_args(false);
  app->add_option("-d,--depth", o->throughput.depths, "behind so many cached positions")
      ->delimiter(',')
      ->allow_extra_args(false);
  app->add_option("-r,--repetitions", o->repetitions, "of each measurement (3; with -p or -n: 5)");
  app->add_option("-t,--threads", o->threads, "0: what this process may use");
  app->add_option("-o,--output", o->output, "md, csv or json");
  app->add_option("--new-tokens", o->new_tokens, "of the two prompts of the 2x2 (50,100)")
      ->delimiter(',')
      ->allow_extra_args(false);
  app->add_option("--attention", o->attention_lengths,
                  "positions at which the forms of attention are compared (64 to 2048; 0: none)")
      ->delimiter(',')
      ->allow_extra_args(false);
  AddPeerFlags(app, o);
}

// Threads beyond the CPUs wait for each other, which is allowed and worth a word.
void WarnOfThreads(int threads) {
  const int cpus = runtime::DefaultThreads(runtime::ReadCpuLimits());
  if (threads <= cpus) return;
  std::fprintf(stderr, "ninfer-bench: -t %d: this process may use %d CPUs: threads will wait\n",
               threads, cpus);
}

absl::Status Run(bench::RunOptions options) {
  ProgressBar bar;
  runtime::CompilerCallbacks callbacks;
  callbacks.progress = [&](absl::string_view phase, double done) { bar.Show(phase, done); };
  callbacks.cancelled = [] { return Interrupted(); };
  if (!bar.terminal()) {
    options.on_row = [](absl::string_view line) {
      std::fprintf(stderr, "ninfer-bench: %s\n", Printable(line).c_str());
    };
  }
  const absl::StatusOr<std::string> text = bench::Run(options, callbacks);
  bar.Clear();
  // Whatever failed when Ctrl-C came, as a peer's end, failed for that.
  if (!text.ok() && Interrupted()) return absl::CancelledError("interrupted");
  NINFER_RETURN_IF_ERROR(text.status());
  WarnOfThreads(options.threads);
  std::fputs(text->c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace
}  // namespace ninfer::tools

int main(int argc, char** argv) {
  CLI::App app("Measures a language model, eager and compiled.", "ninfer-bench");
  ninfer::bench::RunOptions options;
  ninfer::tools::AddFlags(&app, &options);
  return ninfer::tools::RunProgram(app, argc, argv, [&] {
    ninfer::tools::CatchInterrupt();
    return ninfer::tools::Run(options);
  });
}
