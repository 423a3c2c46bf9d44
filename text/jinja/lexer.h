// A template's text in tokens, as Jinja cuts it with trim_blocks and lstrip_blocks.
// Tested by tests/text_chat_template_test.cc.
#ifndef NINFER_TEXT_JINJA_LEXER_H_
#define NINFER_TEXT_JINJA_LEXER_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "text/jinja/run.h"

namespace ninfer {
namespace jinja {

enum class TokenKind : uint8_t {
  kData,           // text outside of tags
  kVariableBegin,  // {{
  kVariableEnd,
  kBlockBegin,  // {%
  kBlockEnd,
  kName,
  kString,  // `text` with its escapes decoded
  kInteger,
  kFloat,
  kOperator,
  kEnd  // of the template
};

struct Token {
  TokenKind kind;
  std::string text;
  int line;
};

// Reads line ends of every kind as LF and drops one at the end. `error` tells what is wrong; the
// tokens always end with kEnd.
std::vector<Token> Tokenize(absl::string_view source, Error* error);

// As messages name a token.
std::string Describe(const Token& token);

}  // namespace jinja
}  // namespace ninfer

#endif  // NINFER_TEXT_JINJA_LEXER_H_
