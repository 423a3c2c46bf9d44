// The list of phases: model folder -> graph -> program -> code and packed weights -> plan.
// Tested by tests/compiler_test.cc.
#ifndef NINFER_COMPILER_COMPILE_H_
#define NINFER_COMPILER_COMPILE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "codegen/codegen.h"
#include "compiler/options.h"
#include "compiler/run_text.h"
#include "plan/memory.h"
#include "plan/plan.h"
#include "plan/writer.h"
#include "program/program.h"

namespace ninfer::compiler {

// A finished plan and its packed weights. After Options::stop_after, texts alone.
struct Compiled {
  plan::Plan plan;
  std::shared_ptr<plan::Memory> weights;  // also of whoever runs what was linked
  std::string pass_table;                 // what -v and --verify-each end in
};

// Code for each of the options' targets, once, behind what `images` has; `progress` as
// CodegenOptions have it, for all of them.
absl::Status GenerateForTargets(const program::Program& program, const Options& options,
                                const std::function<bool(double done)>& progress,
                                std::vector<plan::CodeImage>* images);
// The program's CUDA C++, and its PTX for the oldest card, into the options' folders where these
// are given (compiler/cuda.cc).
absl::Status DumpCuda(const program::Program& program, const Options& options);
// What each pass did and took, into the plan's provenance, its name behind a prefix. A plan of
// @vision has no provenance of its own: what was timed would stand under the digest.
void LogPasses(absl::Span<const passes::PassRecord> records, absl::string_view prefix,
               plan::Plan* plan);

// The weights are packed into the memory of `file` when there is one, which the caller writes.
absl::StatusOr<Compiled> Compile(const Options& options, const Callbacks& callbacks,
                                 plan::PlanFile* file = nullptr);

// Code for other targets from a plan's kernel program, in place of its own images.
absl::Status GenerateImages(const Options& options, const Callbacks& callbacks, plan::Plan* plan);

// The folder's chat templates and the special tokens that they see (compiler/chat.cc); a line to
// the log for a template that does not parse.
absl::Status ReadChat(const Source& source, const Callbacks& callbacks, plan::Plan* plan);
// What the folder's files say about text: the tokenizer, which must fit the vocabulary, the chat
// templates, and what a run begins with when nobody gives a prompt. A line to the log for each
// thing that is missing or not done.
absl::Status ReadTextFiles(const Options& options, const Source& source, const Callbacks& callbacks,
                           plan::Plan* plan);
// The model's own figures, and the types that were chosen.
void FillMetadata(const Source& source, const passes::PassOptions& options, plan::Plan* plan);

// program -> the plan's tables, with an entry of this name (compiler/plan_tables.cc).
void FillTables(const program::Program& program, absl::string_view name, plan::Plan* plan);
plan::CodeImage ImageOf(const codegen::CodeImage& image);

// Errors of logits, over the largest |reference|. Where rows choose their experts, rounding may
// change a choice, and with it the whole row: there `worst` says little, and `typical` is what is
// held.
struct LogitsError {
  double worst = 0;    // of any logit; infinite where one is not finite
  double typical = 0;  // the median over positions of each one's worst logit
  size_t at = 0;       // where the worst is
  bool Within(const LogitsError& bound) const;
};
// Rows of `vocab` logits each, as many in both.
LogitsError ErrorOf(const float* found, const float* reference, int64_t rows, int64_t vocab);

// Refuses, before the imported graph is run on so many tokens, what no eager run can hold; and
// after it logits that are not finite, naming the first tensor that is not (compiler/evidence.cc).
absl::Status CheckReferenceFits(const Source& source, int64_t tokens);
absl::Status CheckReference(const TextLogits& reference, const Source& source);

// Compares the plan's own code on `ids` with eager, and writes the result into the plan
// (compiler/evidence.cc): with `imported`, the imported graph's logits, which tells what the types
// that were chosen lose; and with `settled`, those of the graph that passes left, with the same
// casts, where more than `bound` is an error. Where nothing is rounded both are the same.
absl::Status GatherEvidence(const TextLogits& imported, const TextLogits& settled,
                            const std::vector<int32_t>& ids, const LogitsError& bound, int threads,
                            Compiled* compiled);
std::string EvidenceLine(const plan::Evidence& evidence);

// The text, as ids, on which plans are compared: at most `count` of them.
std::vector<int32_t> CalibrationIds(const std::string& serialized_tokenizer, int64_t vocab_size,
                                    int64_t count);

// The source's graph as it is handed to precision, with logits for all rows of a step
// (compiler/graph_before_precision.cc).
absl::StatusOr<ir::Module> GraphBeforePrecision(const Source& source,
                                                const passes::PassOptions& options);

// What --verify-each compares after every pass (compiler/verify.cc): several texts of unequal
// lengths, one of them longer than a page where the context is.
Texts VerifyTexts(const std::string& serialized_tokenizer, int64_t vocab_size,
                  int64_t context_length);
// What a function computes at each stage, to be compared: rows of `columns` numbers.
struct ComparedRows {
  std::function<absl::StatusOr<std::vector<float>>(const ir::Module&)> of_graph;
  std::function<absl::StatusOr<std::vector<float>>(const program::Program&)> of_program;
  std::function<std::string(int64_t row, int64_t column)> place;  // its name in messages
  std::string plural;                                             // "positions"
  int64_t columns = 1;
};
// Compares with the imported graph's rows, and behind precision with what precision left.
void LendComparisons(const ir::Module& imported, std::vector<float> imported_rows,
                     ComparedRows rows, passes::PassOptions* options);
// For the step. Runs the source's graph on each text alone, which is the reference.
absl::Status LendComparisons(const Source& source, const Texts& texts, int threads,
                             passes::PassOptions* options);

// Whether the types that were chosen hold less than what is stored: activations or the cache in
// half precision, a matrix in a type that rounds it.
bool ChoiceRounds(const ir::Module& imported, const passes::PassOptions& choice);
// What may show: 1e-4 where nothing is rounded, more where the imported graph rounds by itself or,
// once precision has settled the types (`settled`), the choice of types does.
LogitsError ErrorBound(const ir::Module& imported, const passes::PassOptions& choice, bool settled);
// What code may differ by from eager of the graph that it was made from, which is `rounding` from
// the imported one: 1e-4 where nothing is rounded.
LogitsError CodeBound(const ir::Module& imported, const passes::PassOptions& choice,
                      const LogitsError& rounding);

}  // namespace ninfer::compiler

#endif  // NINFER_COMPILER_COMPILE_H_
