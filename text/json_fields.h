// Reading fields of tokenizer files with nlohmann/json: every type is checked, every message names
// the place. For the files that read tokenizer.json and its companions only.
#ifndef NINFER_TEXT_JSON_FIELDS_H_
#define NINFER_TEXT_JSON_FIELDS_H_

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/status.h"

namespace ninfer {

using Json = nlohmann::json;

// An object or a one-line error. `name` is the file's.
absl::StatusOr<Json> ParseJsonObject(absl::string_view text, absl::string_view name);

// An error where arrays and objects lie inside one another more than `most` deep. To be asked
// before an ordered document is built: its objects copy their members as they grow, each by
// recursion.
absl::Status CheckJsonDepth(absl::string_view text, absl::string_view name, int most);

// The member, or null where it is absent or null.
const Json* Field(const Json& object, const char* key);

absl::Status WrongType(absl::string_view where, absl::string_view expected, const Json* found);

// Required fields, and fields with a fallback for absent or null.
absl::StatusOr<std::string> StringField(const Json& object, const char* key,
                                        absl::string_view where);
absl::StatusOr<std::string> StringField(const Json& object, const char* key,
                                        absl::string_view where, absl::string_view fallback);
absl::StatusOr<bool> BoolField(const Json& object, const char* key, absl::string_view where,
                               bool fallback);
absl::StatusOr<int64_t> IntField(const Json& object, const char* key, absl::string_view where);

}  // namespace ninfer

#endif  // NINFER_TEXT_JSON_FIELDS_H_
