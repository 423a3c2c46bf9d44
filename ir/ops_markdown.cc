// Tested by tests/ir_module_test.cc.
#include "ir/ops_markdown.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "ir/module.h"

namespace ninfer::ir {
namespace {

std::string OperandsText(const OpInfo& info) {
  if (info.min_operands == info.max_operands) return absl::StrCat(info.min_operands);
  return absl::StrCat(info.min_operands, " or more");
}

std::string AttributesText(const OpInfo& info) {
  std::string text;
  for (const AttrSpec& spec : info.attributes) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", "`", spec.name, "` ", AttrKindName(spec.kind),
                    spec.optional ? " (optional)" : "");
  }
  return text;
}

}  // namespace

std::string OpsMarkdown() {
  std::string text =
      "# The ops of the tensor graph\n"
      "\n"
      "Made from `ir/ops.def` by `ir/ops_markdown.cc`: change the table, then run\n"
      "`NINFER_BLESS=1` with the test `ir_module_test`.\n"
      "\n"
      "Stages at which an op is legal: I as imported, G optimised, A after the attention pass, F "
      "fused.\n"
      "An op that is legal may still be one that no kernel takes: lowering then refuses it.\n";
  const OpInfo* previous = nullptr;
  // A class may come back further down: its ops stand where the table has them.
  for (const OpInfo& info : AllOps()) {
    if (previous == nullptr || previous->op_class != info.op_class) {
      absl::StrAppend(&text, "\n## ", OpClassName(info.op_class),
                      "\n\n| op | operands | attributes | stages | mathematics |\n"
                      "|---|---|---|---|---|\n");
    }
    previous = &info;
    absl::StrAppend(&text, "| `", info.name, "` | ", OperandsText(info), " | ",
                    AttributesText(info), " | ", info.stages, " | ",
                    absl::StrReplaceAll(info.mathematics, {{"|", "\\|"}, {"*", "\\*"}}), " |\n");
  }
  return text;
}

}  // namespace ninfer::ir
