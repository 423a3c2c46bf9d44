// The text form: printing and parsing. Parse(Print(m)) prints as Print(m), byte for byte.
//
//   module "llama" stage imported
//   dim T in [1, 512]
//   weight @model.embed_tokens.weight : bf16[49152,576]
//   weight @rope.inv_freq : f32[2] = [1, 0.01]
//
//   func @step(%tokens: i32[T], %positions: i32[T]) {
//     %0 = embedding %tokens, @model.embed_tokens.weight : bf16[T,576]
//     %x = rms_norm %0, @w {eps = 1e-05} : f32[T,576]  // model.layers.0.input_layernorm
//     %2 = fused(%a = %x, %w = @v) {family = "linear"} {
//       %0 = linear %a, %w : f32[T,960]
//       return %0
//     } : f32[T,960]
//     return %2
//   }
//
// Tested by tests/ir_text_test.cc.
#ifndef NINFER_IR_TEXT_H_
#define NINFER_IR_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ir/module.h"

namespace ninfer::ir {

std::string Print(const Module& module);

// The numbers that Print gives to results without a name, for a text that is compared with it: in
// Print(module, numbering) a value that `numbering` knows keeps its number, and others in a
// function that has such values take numbers from `next` on. So what a change left alone reads the
// same. (A new value may come to lie where one that is gone lay, and then inherits its number;
// no two of a function have the same.)
struct Numbering {
  absl::flat_hash_map<const Value*, int> numbers;
  int next = 0;  // above all of them
};
Numbering NumberingOf(const Module& module);
std::string Print(const Module& module, const Numbering& numbering);

std::string PrintFunction(const Function& function, absl::Span<const Symbol> symbols,
                          int indent = 0);
// One node on one line (the body of a fused op is elided), for messages. Results without a name
// have their numbers only where the function is given.
std::string PrintNode(const Node& node, absl::Span<const Symbol> symbols);
std::string PrintNode(const Function& function, const Node& node, absl::Span<const Symbol> symbols);

// `file` names the text in errors: "edited.ir:12: ...".
absl::StatusOr<Module> Parse(absl::string_view text, absl::string_view file);

// Parses one function (a kernel's body in a program's text) against given symbols. `text` begins at
// "func"; on success `consumed` is the number of bytes read.
absl::StatusOr<std::unique_ptr<Function>> ParseFunction(absl::string_view text,
                                                        absl::string_view file, int first_line,
                                                        absl::Span<const Symbol> symbols,
                                                        size_t* consumed);

}  // namespace ninfer::ir

#endif  // NINFER_IR_TEXT_H_
