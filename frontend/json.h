// JSON from outside: bounded depth, errors with the line, and one-line descriptions of values for
// messages. Nothing here throws or recurses deeper than kMaxJsonDepth.
// Tested by tests/frontend_config_test.cc and tests/safetensors_test.cc.
#ifndef NINFER_FRONTEND_JSON_H_
#define NINFER_FRONTEND_JSON_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace ninfer::frontend {

inline constexpr int kMaxJsonDepth = 64;

// A key that stands twice in one object: Python's reader takes the last, a file format may refuse
// it.
enum class DuplicateKeys { kLastWins, kRefused };

// `file` names the text in errors. The top level must be an object.
absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view file, absl::string_view text,
                                               DuplicateKeys duplicates);

// "a number", "a string", "null", "nothing" for a null pointer.
std::string DescribeType(const nlohmann::json* value);
// The value itself as compact JSON, cut to a line's length.
std::string DescribeValue(const nlohmann::json& value);

// `text` in double quotes with control characters escaped and a bounded length: for names in
// messages.
std::string Quoted(absl::string_view text);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_JSON_H_
