// What a user may choose, as the C interface's JSON names it (compiler/ninfer_compiler.h lists the
// keys). Tested by tests/compiler_options_test.cc.
#ifndef NINFER_COMPILER_OPTIONS_H_
#define NINFER_COMPILER_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "frontend/frontend.h"
#include "passes/pass.h"

namespace ninfer::compiler {

struct Options {
  std::string model;         // a folder, or hf:org/name[@revision]
  std::string from_ir;       // path of IR text, in place of the imported graph
  std::string weights_from;  // the folder whose weights and tokenizer go with from_ir
  std::string random_weights, random_dtype = "bf16";
  int64_t random_seed = 0;
  std::vector<std::string> targets = {"native"};
  std::string weights = "auto", activations = "auto", kv_cache = "auto", attention = "flash";
  int64_t context = 0, max_tokens = 0, max_sequences = 0, max_rows = 0, kv_pages = 0;
  std::vector<std::string> weights_for;  // "PATTERN=TYPE", or paths of JSON files of such pairs
  std::vector<std::string> disable_passes, print_before, print_after;
  std::string default_prompt;  // empty: the folder's
  std::string quality;         // empty: not measured; "bundled", "sampled" or the path of a text
  std::string calibrate;       // the same of texts that weights with a table are rounded on
  std::string error_budget;    // empty: none; "0.5%"
  std::string error_budget_for = "size";  // or "speed": what is to be the least
  std::string stop_after, print_changed, dump_ir, dump_llvm, dump_asm, dump_tensors;
  std::string dump_cuda, dump_ptx;
  bool verify_each = false, verbose = false;
  int threads = 0;

  // As it was given, for the plan's provenance.
  std::string text;
};

// `caller` is the set of keys that a function of the interface knows. Unknown keys, wrong types and
// impossible values are refused by name.
enum class Caller { kCompile, kEager, kGenerateCode };
absl::StatusOr<Options> ParseOptions(absl::string_view json, Caller caller);

struct Compiled;

// Where lines and progress go; each may be empty.
struct Callbacks {
  std::function<void(const std::string&)> log, print;
  std::function<void(const char* phase, double done)> progress;
  std::function<bool()> cancelled;
  // The code can run: all of the plan but its evidence is there, and stays where it is.
  std::function<void(const Compiled&)> linked;

  void Log(const std::string& line) const {
    if (log) log(line);
  }
  void Progress(const char* phase, double done) const {
    if (progress) progress(phase, done);
  }
  absl::Status CheckCancelled() const {
    return cancelled && cancelled() ? absl::CancelledError("cancelled") : absl::OkStatus();
  }
};

// A model as the options name it: a folder (or a model of the hub), a graph with a folder's
// weights, or random weights.
struct Source {
  frontend::ImportedModel model;
  std::string folder;  // with the tokenizer; empty for random weights
  bool random = false;
};
// Imports it (compiler/source.cc).
absl::StatusOr<Source> OpenSource(const Options& options, const Callbacks& callbacks = {});

// A folder as it is; "hf:org/name[@revision]" fetched from the hub, as the folder of its snapshot
// (compiler/source.cc).
absl::StatusOr<std::string> ResolveModel(const std::string& model, const Callbacks& callbacks);

// The passes' options for a source: `auto` resolved, bounds set. The choice of types is a line for
// the user in `explanation`.
absl::StatusOr<passes::PassOptions> PassOptionsFor(const Options& options, const Source& source,
                                                   std::string* explanation);

// `threads`, or where it is 0 as many as can run at once on the CPUs that this process may use.
int ThreadsOrDefault(int threads);

}  // namespace ninfer::compiler

#endif  // NINFER_COMPILER_OPTIONS_H_
