// What can be done with values, by Python's rules. What Python raises is the run's error.
// Tested by tests/text_chat_template_test.cc.
#ifndef NINFER_TEXT_JINJA_OPS_H_
#define NINFER_TEXT_JINJA_OPS_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/run.h"
#include "text/jinja/value.h"

namespace ninfer {
namespace jinja {

// Arithmetic and comparison (operators.cc).
Value Arithmetic(Run& run, BinaryOp op, const Value& a, const Value& b);
Value Negate(Run& run, const Value& value);
bool Equal(Run& run, const Value& a, const Value& b);
bool Less(Run& run, const Value& a, const Value& b, absl::string_view op = "<");
bool Contains(Run& run, const Value& container, const Value& item);
bool Compare(Run& run, absl::string_view op, const Value& a, const Value& b);

// Attributes, items and slices (attributes.cc).
Value GetAttr(Run& run, const Value& object, absl::string_view name);
// Without the items of a dict, which GetAttr also looks among.
Value GetAttributeOnly(Run& run, const Value& object, absl::string_view name);
Value GetItem(Run& run, const Value& object, const Value& index);
// Absent parts are None.
Value GetSlice(Run& run, const Value& object, const Value& start, const Value& stop,
               const Value& step);
// An attribute that a path names: "a.b.0".
Value GetPath(Run& run, Value object, const Value& path);

// What a `for` visits. A generator is empty afterwards. False after an error.
bool Iterate(Run& run, const Value& value, std::vector<Value>* items);
// Python's len(), or an error.
Int Length(Run& run, const Value& value);

// Python's str() and repr() (print.cc).
std::string ToText(Run& run, const Value& value);
std::string Repr(Run& run, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool indented = false;
  std::string indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
std::string ToJson(Run& run, const Value& value, const JsonStyle& style);
Value FromJson(Run& run, const nlohmann::ordered_json& json);

// Stores in a namespace; an error where the name begins with an underscore.
void SetAttribute(Run& run, Namespace* ns, const Value& name, const Value& value);

Value Call(Run& run, const Value& callee, Args& args);
// The next item of a loop that has a filter is known only when it is asked for.
bool LoopHasNext(Run& run, Loop* loop);
size_t LoopLength(Run& run, Loop* loop);

}  // namespace jinja
}  // namespace ninfer

#endif  // NINFER_TEXT_JINJA_OPS_H_
