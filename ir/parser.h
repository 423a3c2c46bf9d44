// The graph parser's inside: see text.h for its use and parser.cc for its idea.
// Tested by tests/ir_text_test.cc.
#ifndef NINFER_IR_PARSER_H_
#define NINFER_IR_PARSER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/module.h"
#include "ir/term_parser.h"

namespace ninfer::ir {

// The values that statements may use: one scope a function, and one a body.
struct Scope {
  Function* function;
  absl::flat_hash_map<std::string, Value*> values;
  int depth = 0;
};

class Parser : private TermParser {
 public:
  // `module` is null when one function is parsed by itself: then no weights are known.
  Parser(absl::string_view text, absl::string_view file, int first_line, Module* module,
         absl::Span<const Symbol> symbols)
      : TermParser(text, file, first_line), module_(module) {
    set_symbols(symbols);
  }

  absl::Status ParseHeader(std::string* name, Stage* stage);
  absl::Status ParseItems();
  // From "func" to "}".
  absl::StatusOr<std::unique_ptr<Function>> ParseFunction();
  using TermParser::consumed;

 private:
  // The comment that ends the statement just read.
  std::string Provenance() const { return std::string(comment()); }

  absl::Status ParseDimension();
  absl::Status ParseWeight();
  absl::StatusOr<std::vector<float>> ParseLiteral();
  template <typename Float>
  absl::StatusOr<Float> ParseFloat();
  absl::Status ParseParameters(Scope& scope);
  absl::Status ParseBody(Scope& scope);
  absl::Status ParseNode(Scope& scope);
  absl::Status ParseReturn(Scope& scope);
  absl::Status Define(Scope& scope, const Token& token, Value* value);
  absl::StatusOr<Value*> ParseUse(const Scope& scope);
  absl::Status ParseOperands(const Scope& scope, std::vector<Value*>& operands);
  absl::Status ParseRegionOperands(const Scope& scope, std::vector<Value*>& operands, Scope& body);
  absl::Status ParseAttrs(const OpInfo& info, std::vector<Attr>& attrs);
  absl::StatusOr<AttrValue> ParseAttrValue(bool as_float);

  Module* module_;
};

}  // namespace ninfer::ir

#endif  // NINFER_IR_PARSER_H_
