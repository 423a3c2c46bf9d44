// ninfer-bench: what compiling and caching are worth on a model (the 2x2), how near prefill and
// decoding come to the machine's limits, and which kernels take the time. Results go to standard
// output, all else to standard error. Tested by tests/bench_test.py.
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
         "--peers,--peer", split,
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
  app->add_option("model", o->model.path,
                  "a model folder; or, with -p, -n, --depth, --batch or --roofline, a plan");
  app->add_option("--random-weights", o->model.random_weights,
                  "a shape without weights: smollm2-135m, gpt2-124m, qwen2.5-0.5b, tinyllama-1.1b, "
                  "llama-3.2-1b, llama-3-8b, or the path of a config.json");
  const auto list = [app](const char* names, auto* values, const char* what) {
    app->add_option(names, *values, what)->delimiter(',')->allow_extra_args(false);
  };
  list("--formats", &o->formats,
       "what weights are stored in: f32, bf16 (and computed with); but for the 2x2 also f16, int8, "
       "int4 and others of ninfer-compile's --weights (default: as the model is stored; of the 2x2 "
       "f32,bf16)");
  app->add_option("--activations", o->activations,
                  "arithmetic: f32, bf16, int8 or int8:row (default: as the format says)");
  app->add_option("--kv-cache", o->kv_cache,
                  "the cache: f32, bf16 or int8 (default: as the activations)");
  list("-p,--prefill", &o->prefill, "prompts of so many tokens");
  list("-n,--decode", &o->decode,
       "so many tokens one by one (64 with --batch, and with --depth or --roofline without -p)");
  list("-d,--depth", &o->depths, "behind so many cached positions, such as 0,512,2048,8192 (0)");
  list(
      "--batch", &o->batches,
      "decoding: so many texts at a time, each with a cache of its own, such as 1,2,4,8,16,32 (1)");
  app->add_flag("--roofline", o->roofline,
                "the kernels of the same steps: bytes, operations, predicted and measured time");
  app->add_option("--plot", o->plot, "a file for the throughput as a picture (SVG)");
  app->add_option("-r,--repetitions", o->repetitions, "of each measurement (of the 2x2 3, else 5)");
  app->add_option("-t,--threads", o->threads, "0: what this process may use");
  app->add_option("-o,--output", o->output, "md, csv or json");
  list("--new-tokens", &o->new_tokens, "of the two prompts of the 2x2 (50,100)");
  list("--attention", &o->attention_lengths,
       "positions at which the forms of attention are compared (64 to 2048; 0: none)");
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
