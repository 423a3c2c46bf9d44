// The page docs/ops.md, made from the op table. Tested by tests/ir_module_test.cc.
#ifndef NINFER_IR_OPS_MARKDOWN_H_
#define NINFER_IR_OPS_MARKDOWN_H_

#include <string>

namespace ninfer::ir {

std::string OpsMarkdown();

}  // namespace ninfer::ir

#endif  // NINFER_IR_OPS_MARKDOWN_H_
