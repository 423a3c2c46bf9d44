// The page docs/passes.md, made from the table of passes. Tested by tests/opt_test.cc.
#ifndef NINFER_PASSES_PASSES_MARKDOWN_H_
#define NINFER_PASSES_PASSES_MARKDOWN_H_

#include <string>

namespace ninfer::passes {

std::string PassesMarkdown();

}  // namespace ninfer::passes

#endif  // NINFER_PASSES_PASSES_MARKDOWN_H_
