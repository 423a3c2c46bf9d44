// Passes: free functions that rewrite a module or a program and return how many rewrites they made.
// One runner serves both levels; passes/pipeline.cc is the order.
// Tested by tests/passes_runner_test.cc.
#ifndef NINFER_PASSES_PASS_H_
#define NINFER_PASSES_PASS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/dtype.h"
#include "base/quantise.h"
#include "ir/module.h"
#include "program/program.h"

namespace ninfer::passes {

// What a comparison with eager gave.
struct Comparison {
  double max_error = 0;  // largest |difference| over the largest |reference|
  double bound = 0;      // what is allowed at this place
  std::string where;     // the worst logit
};

// Where a stage stands to precision, which alone may round.
enum class Rounding { kNone, kSettling, kSettled };

// Weights one of whose tensors matches a pattern are stored so: in a scheme of base/quantise.def,
// or where it is empty as floats.
struct WeightRule {
  std::string pattern, scheme;
  DType dtype = DType::kF32;
};

// Choices of the user that passes read. Fixed before the first pass; no pass changes them.
struct PassOptions {
  // Precision: storage of linear weights, and arithmetic. With a scheme of base/quantise.def,
  // linears' weights are rounded to it; `weights` is then the type of what is not quantised, as
  // tables that no linear shares.
  std::string weight_scheme;
  std::vector<WeightRule> weight_rules;  // the last that matches a weight holds for it
  DType weights = DType::kF32;           // f32, bf16, f16
  DType activations = DType::kF32;       // f32, bf16
  // Where a weight is of integers, round its linear's input so: int8_g32_f32 or int8_row_f32.
  // Empty: it is of type `activations` as any other.
  std::string input_scheme = "int8_g32_f32";
  DType kv_cache = DType::kF32;  // f32, bf16, i8
  // In place of the n-th weight that precision quantises: an f32 weight of this name, of values
  // that the scheme holds, from the same source as the others.
  std::map<int, std::string> calibrated;
  // The flag's name of a scheme, or of a float type; false when the name is neither.
  bool SetWeights(absl::string_view name) {
    const QuantiseScheme* scheme = FindWeightScheme(name);
    weight_scheme = scheme != nullptr ? std::string(scheme->name) : "";
    if (scheme != nullptr) return true;
    const std::optional<DType> dtype = DTypeFromName(name);
    if (!dtype || !IsFloat(*dtype)) return false;
    weights = *dtype;
    return true;
  }
  // "int4_g32; lm_head=int8_g32"; of many rules "bf16; by name int8_g32 (20), nu4_g32 (31)"
  std::string weights_name() const;
  // "bf16", or "int8 into linears, else bf16"
  std::string activations_name() const;
  std::string kv_cache_name() const;  // as --kv-cache calls it
  // The scheme of the fewest bits that a weight may be rounded to; null: none.
  const QuantiseScheme* CoarsestScheme() const;
  bool HasTable() const;            // whether some weight may be stored with one
  std::string attention = "flash";  // naive, efficient, flash
  int64_t context_length = 0;       // positions a sequence may have
  int64_t max_tokens = 512;         // bound of T with a cache (the prefill chunk)
  int64_t max_sequences = 16;       // bound of S
  int64_t max_rows = 64;            // bound of R

  absl::flat_hash_set<std::string> disabled;  // --disable-pass; only optional passes may stand here
  std::string stop_after;                     // --stop-after=P or P.n: after pass P's n-th rewrite

  // Text dumps. print_before and print_after hold pass names or "all".
  std::string dump_dir;
  absl::flat_hash_set<std::string> print_before, print_after;
  bool print_changed_diff = false;
  std::function<void(const std::string&)> print;  // where printed text goes

  // --verify-each: evaluate after every pass. Passes may not include eager/, so the compiler lends
  // these.
  std::function<absl::StatusOr<Comparison>(const ir::Module&, Rounding)> compare_module;
  std::function<absl::StatusOr<Comparison>(const program::Program&)> compare_program;

  // Counts rewrites across the run; a pass asks before each rewrite and stops when told no.
  // Set by the runner.
  std::function<bool()> may_rewrite;
};

struct PassInfo {
  std::string name;     // "kv-cache"
  std::string summary;  // one line: what it changes
  std::string proves;   // what holds afterwards
  bool optional = false;
};

using ModulePass = absl::StatusOr<int> (*)(ir::Module&, const PassOptions&);
using ProgramPass = absl::StatusOr<int> (*)(program::Program&, const PassOptions&);
using LoweringPass = absl::StatusOr<program::Program> (*)(const ir::Module&, const PassOptions&);

// One line of the log, and of the table that -v prints.
struct PassRecord {
  std::string name;
  int number = 0;
  double seconds = 0;
  int rewrites = 0;
  bool skipped = false;
  int64_t ops_before = 0, ops_after = 0;      // nodes, or launches at program level
  int64_t bytes_before = 0, bytes_after = 0;  // of intermediates at the symbols' upper bounds
  absl::optional<Comparison> comparison;
};

struct PipelineResult {
  std::vector<PassRecord> records;
  ir::Module module;         // after the last graph pass
  program::Program program;  // when the pipeline reached program level
  bool lowered = false;
};

// Runs the whole pipeline on an imported module.
absl::StatusOr<PipelineResult> RunPipeline(ir::Module module, const PassOptions& options);

// Runs named graph passes in the given order (ninfer-opt, golden tests).
absl::StatusOr<std::vector<PassRecord>> RunPasses(ir::Module& module,
                                                  const std::vector<std::string>& names,
                                                  const PassOptions& options);

// The rows of passes.def in pipeline order.
std::vector<PassInfo> ListPasses();

std::string PassTable(const std::vector<PassRecord>& records);  // what -v prints
// "buffers: peak 1.2 MiB, lower bound 1.2 MiB" of a planned program: the arena with the replicas of
// one thread, and what no placement can do without.
std::string BuffersLine(const program::Program& program);

}  // namespace ninfer::passes

#endif  // NINFER_PASSES_PASS_H_
