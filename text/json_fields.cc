// Tested by tests/text_json_test.cc.
#include "text/json_fields.h"

#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace ninfer {

absl::StatusOr<Json> ParseJsonObject(absl::string_view text, absl::string_view name) {
  // Of a key that comes twice the parser would keep the last value, and so lose a piece.
  std::vector<absl::flat_hash_set<std::string>> open_objects;
  std::string twice;
  const auto watch = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == Json::parse_event_t::object_end) open_objects.pop_back();
    if (event == Json::parse_event_t::key && twice.empty()) {
      const auto& key = value.get_ref<const std::string&>();
      if (!open_objects.back().insert(key).second) twice = absl::StrCat("'", key, "'");
    }
    return true;
  };
  Json json = Json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidArgument(name, ": not valid JSON");
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
