// A parsed template: nodes that point to nodes, owned by the template.
// Tested by tests/text_chat_template_test.cc.
#ifndef NINFER_TEXT_JINJA_AST_H_
#define NINFER_TEXT_JINJA_AST_H_

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace ninfer {
namespace jinja {

enum class NodeKind : uint8_t {
  // Expressions. `kids` in brackets; null where one may be absent.
  kConst,    // value
  kName,     // text
  kTuple,    // [item...]
  kList,     // [item...]
  kDict,     // [key, value, key, value...]
  kChoice,   // [condition, then, else or null]
  kAnd,      // [left, right]
  kOr,       // [left, right]
  kNot,      // [operand]
  kNegate,   // [operand]
  kPlus,     // [operand]
  kBinary,   // [left, right], op
  kConcat,   // [piece...]: `~`
  kCompare,  // [first, then...], names: the operators
  kGetAttr,  // [object], text
  kGetItem,  // [object, index]
  kSlice,    // [start, stop, step], each may be null
  kCall,     // [callee, argument...]
  kFilter,   // [input, argument...], text: its name; input is null within a filter block
  kTest,     // [input, argument...], text: its name
  // Statements.
  kData,         // text
  kPrint,        // [expression...]
  kBody,         // [statement...]
  kFor,          // [target, items, filter or null, body, else or null]; flag: recursive
  kIf,           // [condition, body, else or null]
  kSet,          // [target, value]
  kSetBlock,     // [target, filter or null, body]
  kWith,         // [body, target, value, target, value...]
  kMacro,        // [body, default...]: defaults of the last of `names`; text: its name
  kCallBlock,    // [call, macro]
  kFilterBlock,  // [filter, body]
  kScope,        // [body]: of {% block %}
  kGeneration,   // [body]
  kBreak,
  kContinue,
  kLoader,       // a tag that loads another template, which there is none of
  kNamespaceRef  // a target: text is the namespace, names[0] the attribute
};

enum class BinaryOp : uint8_t { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow };

struct Node {
  NodeKind kind = NodeKind::kConst;
  BinaryOp op = BinaryOp::kAdd;
  bool flag = false;
  bool uses_caller = false;  // of a macro: which special names its body reads
  bool uses_kwargs = false;
  bool uses_varargs = false;
  int line = 0;
  std::string text;
  Value value;
  std::vector<const Node*> kids;
  std::vector<std::string> names;
  std::vector<std::pair<std::string, const Node*>> named;  // keyword arguments
  const Node* more = nullptr;                              // *arguments
  const Node* more_named = nullptr;                        // **arguments
};

// The nodes of one template and the strings of its constants.
struct Tree {
  std::deque<Node> nodes;
  std::deque<Str> strings;
  const Node* root = nullptr;

  Node* Add(NodeKind kind, int line) {
    nodes.emplace_back();
    nodes.back().kind = kind;
    nodes.back().line = line;
    return &nodes.back();
  }
};

}  // namespace jinja
}  // namespace ninfer

#endif  // NINFER_TEXT_JINJA_AST_H_
