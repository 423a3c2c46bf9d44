// Words of the program's text that printer and parser share.
#ifndef NINFER_PROGRAM_TEXT_WORDS_H_
#define NINFER_PROGRAM_TEXT_WORDS_H_

#include "absl/strings/string_view.h"
#include "program/program.h"

namespace ninfer::program {

// The weight expressions stand between these lines as a module of level 1.
inline constexpr absl::string_view kBeginExpressions = "begin expressions";
inline constexpr absl::string_view kEndExpressions = "end expressions";

absl::string_view OperandKindName(OperandKind kind);  // "buffer"
absl::string_view BarrierName(Barrier barrier);       // "always"

}  // namespace ninfer::program

#endif  // NINFER_PROGRAM_TEXT_WORDS_H_
