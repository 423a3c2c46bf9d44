// What ninfer-opt works on: a graph, or the kernel program that one became.
// Tested by tests/opt_test.cc.
#ifndef NINFER_TOOLS_OPT_GRAPH_H_
#define NINFER_TOOLS_OPT_GRAPH_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "ir/module.h"
#include "passes/pass.h"
#include "program/program.h"

namespace ninfer::tools {

struct OptGraph {
  ir::Module module{""};
  absl::optional<program::Program> program;  // once it is lowered, or when the text was a program's

  std::string Text() const;
  absl::Status Verify() const;
};

// Text of either level, told apart by its first word.
absl::StatusOr<OptGraph> ReadOptGraph(const std::string& path);

// Named passes in the given order, across the levels. Returns the table of what they did.
absl::StatusOr<std::string> RunOptPasses(const std::vector<std::string>& names,
                                         const passes::PassOptions& options, OptGraph& graph);

// Largest number of positions that the text's bounds allow.
int64_t ContextOf(const OptGraph& graph);

struct OptRun {
  std::string weights;       // a model folder; empty for a text with literals alone
  std::vector<int32_t> ids;  // empty: some that the vocabulary has
  std::string logits;        // .npy to write, or empty
  int threads = 0;
};
// Executes a graph by eager, a program by its interpreter. Returns what there is to print.
absl::StatusOr<std::string> RunOptGraph(const OptGraph& graph, const OptRun& run);

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_OPT_GRAPH_H_
