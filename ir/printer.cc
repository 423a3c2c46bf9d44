// The text form, printed by format: results, name, operands, attributes, body, types, provenance.
// The text is a function of the graph alone (results are numbered in order, attributes stand in
// their row's order, numbers are the shortest that read back), so that its hash tells graphs apart.
//
// A module that breaks the verifier's rules prints too, for messages; only what verifies reads
// back.
//
// Tested by tests/ir_text_test.cc.
#include <algorithm>
#include <charconv>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "ir/lexer.h"
#include "ir/text.h"

namespace ninfer::ir {
namespace {

template <typename Float>
std::string NumberText(Float value) {
  char buffer[40];
  const std::to_chars_result result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, result.ptr);
}

struct AttrText {
  std::string operator()(int64_t value) const { return absl::StrCat(value); }
  std::string operator()(double value) const { return NumberText(value); }
  std::string operator()(const std::string& value) const { return Quote(value); }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(const std::vector<int64_t>& values) const {
    std::string text = "[";
    for (const int64_t value : values) {
      absl::StrAppend(&text, text.size() == 1 ? "" : ", ", value);
    }
    return absl::StrCat(text, "]");
  }
};

class FunctionPrinter {
 public:
  FunctionPrinter(const Function* function, absl::Span<const Symbol> symbols,
                  const Numbering* numbering = nullptr)
      : symbols_(symbols), numbering_(numbering) {
    if (function == nullptr) return;
    int next = FirstNumber(*function);
    absl::flat_hash_set<int> taken;  // of the numbers that are kept
    for (const auto& parameter : function->parameters()) {
      names_[parameter.get()] = NameText('%', parameter->name());
    }
    for (const auto& node : function->nodes()) {
      for (int i = 0; i < node->num_results(); ++i) {
        const Value* value = node->result(i);
        if (!IsNumberName(value->name())) {
          names_[value] = NameText('%', value->name());
          continue;
        }
        const int* kept = KeptNumber(value);
        const bool keeps = kept != nullptr && taken.insert(*kept).second;
        names_[value] = absl::StrCat("%", keeps ? *kept : next++);
      }
    }
  }

  std::string Name(const Value* value) const {
    if (value == nullptr) return "%_";
    if (value->is_weight()) return NameText('@', value->name());
    const auto it = names_.find(value);
    if (it != names_.end()) return it->second;
    return value->name().empty() ? "%_" : NameText('%', value->name());
  }

  // A node's line, or lines. `body` says whether a region's body is printed or elided.
  std::string NodeText(const Node& node, bool body, int indent) const {
    std::string text;
    for (int i = 0; i < node.num_results(); ++i) {
      absl::StrAppend(&text, i == 0 ? "" : ", ", Name(node.result(i)));
    }
    absl::StrAppend(&text, " = ", node.info().name);
    AppendOperands(node, &text);
    for (size_t i = 0; i < node.attrs().size(); ++i) {
      const Attr& attr = node.attrs()[i];
      absl::StrAppend(&text, i == 0 ? " {" : ", ", attr.name, " = ",
                      std::visit(AttrText{}, attr.value));
    }
    if (!node.attrs().empty()) text.push_back('}');
    if (node.body() != nullptr) {
      const std::string inner =
          body ? FunctionPrinter(node.body(), symbols_, numbering_).BodyText(*node.body(), indent)
               : "{...}";
      absl::StrAppend(&text, node.attrs().empty() ? " {} " : " ", inner);
    }
    absl::StrAppend(&text, " :");
    for (int i = 0; i < node.num_results(); ++i) {
      absl::StrAppend(&text, i == 0 ? " " : ", ", TypeToString(node.result(i)->type(), symbols_));
    }
    return text;
  }

  // From "{" to "}", the latter at `indent`.
  std::string BodyText(const Function& function, int indent) const {
    const std::string margin(indent + 2, ' ');
    std::string text = "{\n";
    for (const auto& node : function.nodes()) {
      const std::string provenance =
          node->num_results() == 0 ? "" : CommentText(node->result(0)->provenance());
      absl::StrAppend(&text, margin, NodeText(*node, true, indent + 2), provenance, "\n");
    }
    absl::StrAppend(&text, margin, "return");
    for (size_t i = 0; i < function.results().size(); ++i) {
      absl::StrAppend(&text, i == 0 ? " " : ", ", Name(function.results()[i]));
    }
    return absl::StrCat(text, "\n", std::string(indent, ' '), "}");
  }

 private:
  const int* KeptNumber(const Value* value) const {
    if (numbering_ == nullptr) return nullptr;
    const auto found = numbering_->numbers.find(value);
    return found == numbering_->numbers.end() ? nullptr : &found->second;
  }

  // Of the function's results that keep none.
  int FirstNumber(const Function& function) const {
    for (const auto& node : function.nodes()) {
      for (int i = 0; i < node->num_results(); ++i) {
        if (KeptNumber(node->result(i)) != nullptr) return numbering_->next;
      }
    }
    return 0;
  }

  void AppendOperands(const Node& node, std::string* text) const {
    if (node.body() == nullptr) {
      for (size_t i = 0; i < node.operands().size(); ++i) {
        absl::StrAppend(text, i == 0 ? " " : ", ", Name(node.operand(static_cast<int>(i))));
      }
      return;
    }
    const auto parameters = node.body()->parameters();
    text->push_back('(');
    for (size_t i = 0; i < node.operands().size(); ++i) {
      const std::string parameter =
          i < parameters.size() ? NameText('%', parameters[i]->name()) : "%_";
      absl::StrAppend(text, i == 0 ? "" : ", ", parameter, " = ",
                      Name(node.operand(static_cast<int>(i))));
    }
    text->push_back(')');
  }

  absl::Span<const Symbol> symbols_;
  const Numbering* numbering_;  // or null
  absl::flat_hash_map<const Value*, std::string> names_;
};

std::string FunctionText(const Function& function, absl::Span<const Symbol> symbols, int indent,
                         const Numbering* numbering) {
  std::string text =
      absl::StrCat(std::string(indent, ' '), "func ", NameText('@', function.name()), "(");
  for (size_t i = 0; i < function.parameters().size(); ++i) {
    const Value& parameter = *function.parameters()[i];
    absl::StrAppend(&text, i == 0 ? "" : ", ", NameText('%', parameter.name()), ": ",
                    TypeToString(parameter.type(), symbols));
  }
  const FunctionPrinter printer(&function, symbols, numbering);
  return absl::StrCat(text, ") ", printer.BodyText(function, indent));
}

// As FunctionPrinter counts: from 0 in each function.
void AddNumbers(const Function& function, Numbering* numbering) {
  int next = 0;
  for (const auto& node : function.nodes()) {
    for (int i = 0; i < node->num_results(); ++i) {
      if (IsNumberName(node->result(i)->name())) numbering->numbers[node->result(i)] = next++;
    }
    if (node->body() != nullptr) AddNumbers(*node->body(), numbering);
  }
  numbering->next = std::max(numbering->next, next);
}

std::string ModuleText(const Module& module, const Numbering* numbering) {
  std::string text =
      absl::StrCat("module ", Quote(module.name()), " stage ", StageName(module.stage()), "\n");
  for (const Symbol& symbol : module.symbols()) {
    absl::StrAppend(&text, "dim ", symbol.name, " in [", symbol.min, ", ", symbol.max, "]\n");
  }
  for (const Weight& weight : module.weights()) {
    absl::StrAppend(&text, "weight ", NameText('@', weight.value->name()), " : ",
                    TypeToString(weight.value->type(), module.symbols()));
    for (size_t i = 0; i < weight.literal.size(); ++i) {
      absl::StrAppend(&text, i == 0 ? " = [" : ", ", NumberText(weight.literal[i]));
    }
    absl::StrAppend(&text, weight.literal.empty() ? "" : "]",
                    CommentText(weight.value->provenance()), "\n");
  }
  for (const auto& function : module.functions()) {
    absl::StrAppend(&text, "\n", FunctionText(*function, module.symbols(), 0, numbering), "\n");
  }
  return text;
}

}  // namespace

std::string Print(const Module& module) { return ModuleText(module, nullptr); }

std::string Print(const Module& module, const Numbering& numbering) {
  return ModuleText(module, &numbering);
}

Numbering NumberingOf(const Module& module) {
  Numbering numbering;
  for (const auto& function : module.functions()) AddNumbers(*function, &numbering);
  return numbering;
}

std::string PrintFunction(const Function& function, absl::Span<const Symbol> symbols, int indent) {
  return FunctionText(function, symbols, indent, nullptr);
}

std::string PrintNode(const Node& node, absl::Span<const Symbol> symbols) {
  return FunctionPrinter(nullptr, symbols).NodeText(node, /*body=*/false, 0);
}

std::string PrintNode(const Function& function, const Node& node,
                      absl::Span<const Symbol> symbols) {
  return FunctionPrinter(&function, symbols).NodeText(node, /*body=*/false, 0);
}

}  // namespace ninfer::ir
