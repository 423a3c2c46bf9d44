// Tested by tests/text_json_test.cc.
#include "text/json_fields.h"

#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace ninfer {

namespace {

// Finds a key that comes twice in one object. (The document parser's callback could, but with one
// it takes time quadratic in a list of objects.)
class KeyWatcher : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool start_object(std::size_t) override {
    keys_.emplace_back();
    return true;
  }
  bool end_object() override {
    keys_.pop_back();
    return true;
  }
  bool key(string_t& name) override {
    if (twice_.empty() && !keys_.back().insert(name).second) twice_ = absl::StrCat("'", name, "'");
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

  const std::string& twice() const { return twice_; }

 private:
  std::vector<absl::flat_hash_set<std::string>> keys_;  // of each open object
  std::string twice_;
};

class DepthWatcher : public KeyWatcher {
 public:
  explicit DepthWatcher(int most) : most_(most) {}
  bool key(string_t&) override { return true; }
  bool start_array(std::size_t) override { return Enter(); }
  bool start_object(std::size_t) override { return Enter(); }
  bool end_array() override { return Leave(); }
  bool end_object() override { return Leave(); }
  bool too_deep() const { return depth_ > most_; }

 private:
  bool Enter() { return ++depth_ <= most_; }
  bool Leave() {
    --depth_;
    return true;
  }
  int most_;
  int depth_ = 0;
};

}  // namespace

absl::Status CheckJsonDepth(absl::string_view text, absl::string_view name, int most) {
  DepthWatcher watcher(most);
  Json::sax_parse(text.begin(), text.end(), &watcher);
  if (!watcher.too_deep()) return absl::OkStatus();
  return InvalidArgument(name, ": expected at most ", most,
                         " arrays and objects inside one another, found more");
}

absl::StatusOr<Json> ParseJsonObject(absl::string_view text, absl::string_view name) {
  // Of a key that comes twice the parser would keep the last value, and so lose a piece.
  KeyWatcher watcher;
  const bool valid = Json::sax_parse(text.begin(), text.end(), &watcher);
  Json json;
  if (valid) json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!valid || json.is_discarded()) return InvalidArgument(name, ": not valid JSON");
  const std::string& twice = watcher.twice();
  if (!twice.empty()) return InvalidArgument(name, ": ", twice, " comes twice in one object");
  if (!json.is_object()) return WrongType(name, "an object", &json);
  return json;
}

const Json* Field(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

absl::Status WrongType(absl::string_view where, absl::string_view expected, const Json* found) {
  return InvalidArgument(where, ": expected ", expected, ", found ",
                         found == nullptr ? "nothing" : found->type_name());
}

absl::StatusOr<std::string> StringField(const Json& object, const char* key,
                                        absl::string_view where) {
  const Json* field = Field(object, key);
  if (field == nullptr || !field->is_string()) {
    return WrongType(absl::StrCat(where, ": ", key), "a string", field);
  }
  return field->get<std::string>();
}

absl::StatusOr<std::string> StringField(const Json& object, const char* key,
                                        absl::string_view where, absl::string_view fallback) {
  if (Field(object, key) == nullptr) return std::string(fallback);
  return StringField(object, key, where);
}

absl::StatusOr<bool> BoolField(const Json& object, const char* key, absl::string_view where,
                               bool fallback) {
  const Json* field = Field(object, key);
  if (field == nullptr) return fallback;
  if (!field->is_boolean())
    return WrongType(absl::StrCat(where, ": ", key), "true or false", field);
  return field->get<bool>();
}

absl::StatusOr<int64_t> IntField(const Json& object, const char* key, absl::string_view where) {
  const Json* field = Field(object, key);
  const bool fits = field != nullptr && field->is_number_integer() &&
                    (!field->is_number_unsigned() || field->get<uint64_t>() <= INT64_MAX);
  if (!fits) return WrongType(absl::StrCat(where, ": ", key), "a whole number", field);
  return field->get<int64_t>();
}

}  // namespace ninfer
