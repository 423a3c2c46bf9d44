// EliminateCommonSubexpressions: of nodes that apply the same op to the same operands with the same
// attributes, the first stays and the others' uses go to it. Every op of the graph is a function of
// its operands (state is a value too), so that no other condition is needed; kv_append is left
// alone all the same, because a state has one use.
//
// Proves: equal under eager, bit by bit.
// Order: after canonicalise and fold, which make equal things look equal; before the passes that
// count uses (merge-linears, fuse), which otherwise take two equal values for two.
//
// Tested by tests/passes_golden_test.cc (tests/passes/cse.ir), tests/passes_fuzz_test.cc.
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ninfer::passes {
namespace {

using ir::Node;
using ir::Value;

std::string KeyOf(const ir::Attr& attr) {
  const auto text = [](const auto& value) -> std::string {
    using T = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<T, double>) {
      return absl::StrFormat("%a", value);
    } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
      std::string list = "[";
      for (int64_t item : value) absl::StrAppend(&list, item, ",");
      return absl::StrCat(list, "]");
    } else if constexpr (std::is_same_v<T, std::string>) {
      return value;
    } else {
      return absl::StrCat(value);
    }
  };
  return absl::StrCat(attr.name, "=", std::visit(text, attr.value), ";");
}

std::string KeyOf(const Node& node, absl::Span<const ir::Symbol> symbols) {
  std::string key = absl::StrCat(node.info().name, "(");
  for (const Value* operand : node.operands()) {
    absl::StrAppend(&key, absl::Hex(reinterpret_cast<uintptr_t>(operand)), ",");
  }
  absl::StrAppend(&key, ")");
  for (const ir::Attr& attr : node.attrs()) absl::StrAppend(&key, KeyOf(attr));
  for (int i = 0; i < node.num_results(); ++i) {
    absl::StrAppend(&key, ir::TypeToString(node.result(i)->type(), symbols));
  }
  return key;
}

}  // namespace

absl::StatusOr<int> EliminateCommonSubexpressions(ir::Module& module, const PassOptions& options) {
  Rewrites rewrites(options);
  for (const auto& function : module.functions()) {
    absl::flat_hash_map<std::string, Node*> first;
    for (size_t i = 0; i < function->nodes().size();) {
      Node& node = *function->nodes()[i];
      ++i;
      if (node.body() != nullptr || node.op() == ir::Op::kKvAppend) continue;
      const auto [it, added] = first.emplace(KeyOf(node, module.symbols()), &node);
      if (added) continue;
      if (!rewrites.Next()) return rewrites.made();
      for (int r = 0; r < node.num_results(); ++r) {
        function->ReplaceAllUses(node.result(r), it->second->result(r));
      }
      function->Erase(&node);
      --i;
    }
  }
  return rewrites.made();
}

}  // namespace ninfer::passes
