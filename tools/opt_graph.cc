// See opt_graph.h.
// Tested by tests/opt_test.cc.
#include "tools/opt_graph.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "compiler/compile.h"
#include "compiler/run_text.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "passes/runner.h"
#include "program/text.h"
#include "program/verifier.h"
#include "tools/common/npy.h"

namespace ninfer::tools {
namespace {

constexpr int64_t kDefaultIds = 8;
constexpr int kTopIds = 5;

// The weights of a text without a folder.
class NoWeights : public ir::WeightSource {
 public:
  absl::StatusOr<ir::WeightView> Find(absl::string_view name) const override {
    return InvalidArgument("weight @", name,
                           ": expected --weights=FOLDER that holds it, found none");
  }
};

absl::StatusOr<std::shared_ptr<const ir::WeightSource>> OpenWeights(const std::string& folder) {
  if (folder.empty()) return std::make_shared<NoWeights>();
  NINFER_ASSIGN_OR_RETURN(frontend::ImportedModel model, frontend::ImportModel(folder, {}));
  return model.weights;
}

// Rows of the smallest table, which no id may reach: ids below it are valid for any of them.
int64_t SmallestVocabulary(const OptGraph& graph) {
  int64_t rows = INT32_MAX;
  const auto scan = [&](const ir::Function& function, const auto& self) -> void {
    for (const auto& node : function.nodes()) {
      if (node->body() != nullptr) self(*node->body(), self);
      if (node->op() != ir::Op::kEmbedding) continue;
      rows = std::min(rows, node->operand(1)->type().shape[0].offset);
    }
  };
  for (const auto& function : graph.module.functions()) scan(*function, scan);
  if (graph.program) {
    for (const program::Kernel& kernel : graph.program->kernels) scan(*kernel.body, scan);
  }
  return rows;
}

std::string TopIds(const compiler::TextLogits& logits, int64_t row) {
  const float* values = logits.values.data() + row * logits.vocab;
  std::vector<int64_t> order(logits.vocab);
  std::iota(order.begin(), order.end(), 0);
  const auto count = std::min<int64_t>(kTopIds, logits.vocab);
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](int64_t a, int64_t b) {
    return values[a] != values[b] ? values[a] > values[b] : a < b;
  });
  std::string text = absl::StrFormat("row %d:", row);
  for (int64_t i = 0; i < count; ++i) {
    absl::StrAppendFormat(&text, "%s %d (%.4f)", i == 0 ? "" : ",", order[i], values[order[i]]);
  }
  return text + "\n";
}

}  // namespace

std::string OptGraph::Text() const {
  return program ? program::Print(*program) : ir::Print(module);
}

absl::Status OptGraph::Verify() const {
  if (!program) return ir::Verify(module);
  NINFER_RETURN_IF_ERROR(program::Verify(*program));
  if (program->arena_bytes == 0) return absl::OkStatus();  // not scheduled and planned yet
  NINFER_RETURN_IF_ERROR(program::CheckOrder(*program));
  return program::CheckBuffers(*program);
}

absl::StatusOr<OptGraph> ReadOptGraph(const std::string& path) {
  NINFER_ASSIGN_OR_RETURN(const std::string text,
                          ReadFile(path == "-" ? "/dev/stdin" : path, 1 << 28));
  bool is_program = false;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripLeadingAsciiWhitespace(line);
    if (line.empty() || absl::StartsWith(line, "//")) continue;
    is_program = absl::StartsWith(line, "program");
    break;
  }
  OptGraph graph;
  if (is_program) {
    NINFER_ASSIGN_OR_RETURN(graph.program, program::Parse(text, path));
  } else {
    NINFER_ASSIGN_OR_RETURN(graph.module, ir::Parse(text, path));
  }
  return graph;
}

absl::StatusOr<std::string> RunOptPasses(const std::vector<std::string>& names,
                                         const passes::PassOptions& options, OptGraph& graph) {
  bool lowered = graph.program.has_value();
  for (const std::string& name : names) {
    const passes::PassEntry* entry = passes::FindPass(name);
    if (entry == nullptr) {
      return InvalidArgument("--passes: unknown pass \"", name, "\"; --list-passes lists them");
    }
    const bool of_programs = entry->level == passes::PassLevel::kProgram;
    if (of_programs != lowered) {
      return InvalidArgument("--passes: ", name, ": expected a ", of_programs ? "program" : "graph",
                             ", found a ", lowered ? "program" : "graph");
    }
    lowered = lowered || entry->level == passes::PassLevel::kLower;
  }
  passes::Runner runner(&graph.module, &graph.program, options);
  runner.Begin();
  for (const std::string& name : names) runner.Run(*passes::FindPass(name));
  NINFER_RETURN_IF_ERROR(runner.status());
  return passes::PassTable(runner.TakeRecords());
}

int64_t ContextOf(const OptGraph& graph) {
  int64_t tokens = 0, pages = 0;
  for (const ir::Symbol& symbol : graph.program ? graph.program->symbols : graph.module.symbols()) {
    if (symbol.name == "T") tokens = symbol.max;
    if (symbol.name == "G") pages = symbol.max;
  }
  return std::max(tokens, pages * program::KvLayout::kPagePositions);
}

absl::StatusOr<std::string> RunOptGraph(const OptGraph& graph, const OptRun& run) {
  NINFER_ASSIGN_OR_RETURN(const std::shared_ptr<const ir::WeightSource> weights,
                          OpenWeights(run.weights));
  std::vector<int32_t> ids = run.ids;
  const int64_t vocab = SmallestVocabulary(graph);
  if (ids.empty()) {
    ids = compiler::CalibrationIds("", vocab, std::min(kDefaultIds, ContextOf(graph)));
  }
  for (const int32_t id : ids) {
    if (id >= 0 && id < vocab) continue;
    return InvalidArgument("--prompt-ids: expected ids from 0 to ", vocab - 1, ", found ", id);
  }
  if (static_cast<int64_t>(ids.size()) > ContextOf(graph)) {
    return InvalidArgument("--prompt-ids: expected at most ", ContextOf(graph), " ids, found ",
                           ids.size());
  }
  const int threads = compiler::ThreadsOrDefault(run.threads);
  NINFER_ASSIGN_OR_RETURN(const compiler::TextLogits logits,
                          graph.program
                              ? compiler::RunProgram(*graph.program, *weights, ids, 0, threads)
                              : compiler::RunGraph(graph.module, weights, ids, 0, threads));
  const int64_t rows = static_cast<int64_t>(logits.values.size()) / logits.vocab;
  if (!run.logits.empty()) {
    NINFER_RETURN_IF_ERROR(WriteNpy(run.logits, rows, logits.vocab, logits.values));
  }
  std::string text =
      absl::StrFormat("logits f32[%d,%d] digest %016x\n", rows, logits.vocab,
                      Hash64(logits.values.data(), logits.values.size() * sizeof(float)));
  for (int64_t row = 0; row < rows; ++row) text += TopIds(logits, row);
  return text;
}

}  // namespace ninfer::tools
