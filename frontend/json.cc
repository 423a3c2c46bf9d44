// A first sweep by SAX events checks what the document parser would not: depth, duplicate keys and
// the place of an error. The document is built only from text that passed it. Tested by
// tests/frontend_config_test.cc and tests/safetensors_test.cc.
#include "frontend/json.h"

#include <algorithm>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "base/status.h"

namespace ninfer::frontend {
namespace {

using nlohmann::json;

class CheckingSax : public nlohmann::json_sax<json> {
 public:
  CheckingSax(absl::string_view text, DuplicateKeys duplicates)
      : text_(text), duplicates_(duplicates) {}

  bool null() override { return Value(); }
  bool boolean(bool) override { return Value(); }
  bool number_integer(number_integer_t) override { return Value(); }
  bool number_unsigned(number_unsigned_t) override { return Value(); }
  bool number_float(number_float_t, const string_t&) override { return Value(); }
  bool string(string_t&) override { return Value(); }
  bool binary(binary_t&) override { return Value(); }

  bool start_object(std::size_t) override { return Enter(true); }
  bool end_object() override { return Leave(); }
  bool start_array(std::size_t) override { return Enter(false); }
  bool end_array() override { return Leave(); }

  bool key(string_t& name) override {
    if (duplicates_ == DuplicateKeys::kRefused && !keys_.back().insert(name).second) {
      error_ = absl::StrCat("expected each key once, found ", Quoted(name), " twice");
      return false;
    }
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    const size_t end = std::min<size_t>(position, text_.size());
    const auto line = 1 + std::count(text_.begin(), text_.begin() + end, '\n');
    error_ = absl::StrCat("expected JSON, found a syntax error in line ", line);
    return false;
  }

  const std::string& error() const { return error_; }

 private:
  bool Value() {
    if (!keys_.empty()) return true;
    error_ = "expected a JSON object, found another value";
    return false;
  }
  bool Enter(bool object) {
    if (keys_.empty() && !object) return Value();
    if (static_cast<int>(keys_.size()) == kMaxJsonDepth) {
      error_ = absl::StrCat("expected JSON at most ", kMaxJsonDepth, " levels deep, found more");
      return false;
    }
    keys_.emplace_back();
    return true;
  }
  bool Leave() {
    keys_.pop_back();
    return true;
  }

  absl::string_view text_;
  DuplicateKeys duplicates_;
  std::vector<absl::flat_hash_set<std::string>> keys_;  // of each open object; empty for a list
  std::string error_;
};

}  // namespace

absl::StatusOr<json> ParseJsonObject(absl::string_view file, absl::string_view text,
                                     DuplicateKeys duplicates) {
  CheckingSax sax(text, duplicates);
  if (!json::sax_parse(text.begin(), text.end(), &sax)) {
    return InvalidArgument(file, ": ", sax.error());
  }
  json document = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return InvalidArgument(file, ": expected a JSON object");
  return document;
}

std::string DescribeType(const json* value) {
  if (value == nullptr) return "nothing";
  switch (value->type()) {
    case json::value_t::null:
      return "null";
    case json::value_t::object:
      return "an object";
    case json::value_t::array:
      return "a list";
    case json::value_t::string:
      return "a string";
    case json::value_t::boolean:
      return value->get<bool>() ? "true" : "false";
    case json::value_t::number_integer:
    case json::value_t::number_unsigned:
    case json::value_t::number_float:
      return "a number";
    default:
      return "another value";
  }
}

std::string DescribeValue(const json& value) {
  constexpr size_t kLongest = 80;
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  if (text.size() > kLongest) text = absl::StrCat(text.substr(0, kLongest), "...");
  return text;
}

std::string Quoted(absl::string_view text) {
  constexpr size_t kLongest = 160;
  const bool cut = text.size() > kLongest;
  return absl::StrCat("\"", absl::CHexEscape(text.substr(0, kLongest)), cut ? "...\"" : "\"");
}

}  // namespace ninfer::frontend
