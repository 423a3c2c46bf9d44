// See the header.
// Tested by tests/frontend_config_test.cc, fuzzed by tests/fuzz/config_fuzz.cc.
#include "frontend/config.h"

#include <utility>

#include "base/status.h"
#include "frontend/json.h"

namespace ninfer::frontend {

using nlohmann::json;

absl::StatusOr<std::unique_ptr<ConfigReader>> ConfigReader::Parse(std::string file,
                                                                  absl::string_view text) {
  std::unique_ptr<ConfigReader> reader(new ConfigReader());
  NINFER_ASSIGN_OR_RETURN(reader->owned_, ParseJsonObject(file, text, DuplicateKeys::kLastWins));
  reader->object_ = &reader->owned_;
  reader->file_ = std::move(file);
  return reader;
}

void ConfigReader::SetError(absl::Status status) {
  if (root_->status_.ok()) root_->status_ = std::move(status);
}

void ConfigReader::WrongType(absl::string_view key, absl::string_view expected, const json* found) {
  SetError(InvalidArgument(file_, ": ", path_, key, ": expected ", expected, ", found ",
                           DescribeType(found)));
}

void ConfigReader::Refuse(absl::string_view key, absl::string_view expected) {
  const json* value = Read(key);
  SetError(InvalidArgument(file_, ": ", path_, key, ": expected ", expected, ", found ",
                           value == nullptr ? "nothing" : DescribeValue(*value)));
}

const json* ConfigReader::Peek(absl::string_view key) const {
  const auto it = object_->find(std::string(key));
  return it == object_->end() ? nullptr : &*it;
}

const json* ConfigReader::Read(absl::string_view key) {
  read_.emplace(key);
  return Peek(key);
}

bool ConfigReader::Has(absl::string_view key) const {
  const json* value = Peek(key);
  return value != nullptr && !value->is_null();
}

int64_t ConfigReader::CheckedInt(absl::string_view key, const json* value, int64_t min,
                                 int64_t max) {
  if (value == nullptr || !value->is_number()) {
    WrongType(key, "an integer", value);
    return min;
  }
  const bool fits = value->is_number_unsigned() ? value->get<uint64_t>() <= INT64_MAX
                                                : value->is_number_integer();
  const int64_t number = fits ? value->get<int64_t>() : min;
  if (!fits || number < min || number > max) {
    Refuse(key, absl::StrCat("an integer in [", min, ", ", max, "]"));
    return min;
  }
  return number;
}

double ConfigReader::CheckedNumber(absl::string_view key, const json* value) {
  if (value == nullptr || !value->is_number()) {
    WrongType(key, "a number", value);
    return 1.0;
  }
  return value->get<double>();
}

int64_t ConfigReader::Int(absl::string_view key, int64_t min, int64_t max) {
  return CheckedInt(key, Read(key), min, max);
}

int64_t ConfigReader::IntOr(absl::string_view key, int64_t fallback, int64_t min, int64_t max) {
  const json* value = Read(key);
  return value == nullptr ? fallback : CheckedInt(key, value, min, max);
}

absl::optional<int64_t> ConfigReader::OptionalInt(absl::string_view key, int64_t min, int64_t max) {
  const json* value = Read(key);
  if (value == nullptr || value->is_null()) return absl::nullopt;
  return CheckedInt(key, value, min, max);
}

double ConfigReader::Number(absl::string_view key) { return CheckedNumber(key, Read(key)); }

double ConfigReader::NumberOr(absl::string_view key, double fallback) {
  const json* value = Read(key);
  return value == nullptr ? fallback : CheckedNumber(key, value);
}

absl::optional<double> ConfigReader::OptionalNumber(absl::string_view key) {
  const json* value = Read(key);
  if (value == nullptr || value->is_null()) return absl::nullopt;
  return CheckedNumber(key, value);
}

bool ConfigReader::BoolOr(absl::string_view key, bool fallback) {
  const json* value = Read(key);
  if (value == nullptr) return fallback;
  if (value->is_null()) return false;
  if (!value->is_boolean()) {
    WrongType(key, "true or false", value);
    return fallback;
  }
  return value->get<bool>();
}

absl::optional<bool> ConfigReader::OptionalBool(absl::string_view key) {
  const json* value = Read(key);
  if (value == nullptr || value->is_null()) return absl::nullopt;
  return BoolOr(key, false);
}

std::string ConfigReader::StringOr(absl::string_view key, absl::string_view fallback) {
  const json* value = Read(key);
  if (value == nullptr) return std::string(fallback);
  if (!value->is_string()) {
    WrongType(key, "a string", value);
    return std::string(fallback);
  }
  return value->get<std::string>();
}

std::vector<std::string> ConfigReader::Strings(absl::string_view key) {
  const json* value = Read(key);
  std::vector<std::string> strings;
  if (value == nullptr || value->is_null()) return strings;
  if (!value->is_array()) {
    WrongType(key, "a list of strings", value);
    return strings;
  }
  for (const json& item : *value) {
    if (!item.is_string()) {
      WrongType(key, "a list of strings", &item);
      return {};
    }
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

std::vector<double> ConfigReader::Numbers(absl::string_view key) {
  const json* value = Read(key);
  std::vector<double> numbers;
  if (value == nullptr || value->is_null()) return numbers;
  if (!value->is_array()) WrongType(key, "a list of numbers", value);
  for (size_t i = 0; value->is_array() && i < value->size(); ++i) {
    numbers.push_back(CheckedNumber(key, &(*value)[i]));
  }
  return numbers;
}

std::vector<int64_t> ConfigReader::Ints(absl::string_view key, int64_t min, int64_t max) {
  const json* value = Read(key);
  std::vector<int64_t> numbers;
  if (value == nullptr || value->is_null()) return numbers;
  if (!value->is_array()) WrongType(key, "a list of integers", value);
  for (size_t i = 0; value->is_array() && i < value->size(); ++i) {
    numbers.push_back(CheckedInt(key, &(*value)[i], min, max));
  }
  return numbers;
}

absl::optional<std::vector<int64_t>> ConfigReader::Ids(absl::string_view key) {
  const json* value = Read(key);
  if (value == nullptr) return absl::nullopt;
  std::vector<int64_t> ids;
  if (value->is_null()) return ids;
  const auto add = [&](const json& item) {
    if (!item.is_number_integer()) {
      WrongType(key, "a token id or a list of them", &item);
    } else {
      ids.push_back(CheckedInt(key, &item, INT32_MIN, INT32_MAX));
    }
  };
  if (value->is_array()) {
    for (const json& item : *value) add(item);
  } else {
    add(*value);
  }
  return ids;
}

ConfigReader* ConfigReader::Object(absl::string_view key) {
  const json* value = Read(key);
  if (value == nullptr || value->is_null()) return nullptr;
  if (!value->is_object()) {
    WrongType(key, "an object", value);
    return nullptr;
  }
  const std::string path = absl::StrCat(path_, key, ".");
  for (const auto& known : nested_) {
    if (known->path_ == path) return known.get();  // which remembers what was read
  }
  ConfigReader* reader = AddNested(path);
  reader->object_ = value;
  return reader;
}

ConfigReader* ConfigReader::ObjectOr(absl::string_view key, absl::string_view fallback) {
  const json* value = Read(key);
  if (value != nullptr && !value->is_null()) return Object(key);
  ConfigReader* reader = AddNested(absl::StrCat(path_, key, "."));
  reader->owned_ = json::parse(fallback);
  reader->object_ = &reader->owned_;
  return reader;
}

ConfigReader* ConfigReader::AddNested(std::string path) {
  std::unique_ptr<ConfigReader> reader(new ConfigReader());
  reader->root_ = root_;
  reader->file_ = file_;
  reader->path_ = std::move(path);
  nested_.push_back(std::move(reader));
  return nested_.back().get();
}

}  // namespace ninfer::frontend
