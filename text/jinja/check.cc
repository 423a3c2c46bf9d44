// Tested by tests/text_chat_template_test.cc.
#include "text/jinja/builtins.h"
#include "text/jinja/parser.h"
#include "text/jinja/python_text.h"

namespace ninfer {
namespace jinja {
namespace {

constexpr int kTreeDepth = 600;  // below the evaluator's

struct Place {
  bool soft = false;     // within an `if`: an unknown filter is an error when it is reached
  bool in_loop = false;  // `break` is allowed
};

class Checker {
 public:
  explicit Checker(Error* error) : error_(error) {}

  void Visit(const Node* node, Place place) {
    if (node == nullptr || !error_->type.empty()) return;
    if (++depth_ > kTreeDepth) {
      Fail(kSyntaxError, node, absl::StrCat("nested deeper than ", kTreeDepth, " levels"));
    } else {
      VisitKind(node, place);
    }
    --depth_;
  }

 private:
  void Fail(const char* type, const Node* node, const std::string& message) {
    if (error_->type.empty()) *error_ = {type, message, node->line};
  }

  void VisitKind(const Node* node, Place place) {
    switch (node->kind) {
      case NodeKind::kFilter:
        if (!place.soft && FindFilter(node->text) == nullptr) {
          Fail(kAssertionError, node,
               absl::StrCat("No filter named ", ReprString(node->text), "."));
        }
        break;
      case NodeKind::kTest:
        if (!place.soft && FindTest(node->text) == nullptr) {
          Fail(kAssertionError, node, absl::StrCat("No test named ", ReprString(node->text), "."));
        }
        break;
      case NodeKind::kBreak:
      case NodeKind::kContinue:
        if (!place.in_loop) {
          Fail("SyntaxError", node,
               absl::StrCat("'", node->kind == NodeKind::kBreak ? "break" : "continue",
                            "' outside loop"));
        }
        break;
      case NodeKind::kFor:
        return VisitFor(node, place);
      case NodeKind::kIf:
      case NodeKind::kChoice:
        place.soft = true;
        break;
      case NodeKind::kMacro:
        return VisitMacro(node);
      case NodeKind::kSetBlock:
      case NodeKind::kWith:
      case NodeKind::kFilterBlock:
        place.soft = false;  // a frame of its own, though a loop around it can be left from it
        break;
      case NodeKind::kScope:
      case NodeKind::kGeneration:
        place = Place();  // a function of its own
        break;
      case NodeKind::kName:
        for (auto* used : uses_) {
          used->uses_caller |= node->text == "caller";
          used->uses_kwargs |= node->text == "kwargs";
          used->uses_varargs |= node->text == "varargs";
        }
        break;
      default:
        break;
    }
    VisitKids(node, place);
  }

  void VisitKids(const Node* node, Place place) {
    for (const Node* kid : node->kids) Visit(kid, place);
    for (const auto& [name, kid] : node->named) Visit(kid, place);
    Visit(node->more, place);
    Visit(node->more_named, place);
  }

  void VisitFor(const Node* node, Place place) {
    Visit(node->kids[0], place);
    Visit(node->kids[1], place);
    Place inside;
    inside.in_loop = true;
    Visit(node->kids[2], Place());
    Visit(node->kids[3], inside);
    place.soft = false;
    Visit(node->kids[4], place);
  }

  void VisitMacro(const Node* node) {
    uses_.push_back(const_cast<Node*>(node));  // the tree is still ours to write
    VisitKids(node, Place());
    uses_.pop_back();
  }

  Error* error_;
  int depth_ = 0;
  std::vector<Node*> uses_;  // the macros around
};

}  // namespace

void CheckTree(Tree* tree, Error* error) { Checker(error).Visit(tree->root, Place()); }

}  // namespace jinja
}  // namespace ninfer
