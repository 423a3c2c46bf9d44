// A typed reader over config.json and its relatives. Reads chain without a status each: the first
// error is kept and reported once, by status(); after it, reads return their fallback or lower
// bound.
//
// An absent key and an explicit null are told apart as Python code does that reads a configuration
// class: a flag that is null is false; a size or number that is null is an error unless the class
// takes None, which is what the Optional reads are for. Keys that were read are remembered, so that
// an option which a family did not read, and which asks for something, can be refused by name.
// Tested by tests/frontend_config_test.cc, fuzzed by tests/fuzz/config_fuzz.cc.
#ifndef NINFER_FRONTEND_CONFIG_H_
#define NINFER_FRONTEND_CONFIG_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "nlohmann/json.hpp"

namespace ninfer::frontend {

class ConfigReader {
 public:
  // `file` names the text in errors.
  static absl::StatusOr<std::unique_ptr<ConfigReader>> Parse(std::string file,
                                                             absl::string_view text);

  ConfigReader(const ConfigReader&) = delete;
  ConfigReader& operator=(const ConfigReader&) = delete;

  bool Has(absl::string_view key) const;  // there, and not null
  // Integers in [min, max]. The first is required.
  int64_t Int(absl::string_view key, int64_t min, int64_t max);
  int64_t IntOr(absl::string_view key, int64_t fallback, int64_t min, int64_t max);
  absl::optional<int64_t> OptionalInt(absl::string_view key, int64_t min, int64_t max);
  double Number(absl::string_view key);
  double NumberOr(absl::string_view key, double fallback);
  absl::optional<double> OptionalNumber(absl::string_view key);
  bool BoolOr(absl::string_view key, bool fallback);
  absl::optional<bool> OptionalBool(absl::string_view key);
  std::string StringOr(absl::string_view key, absl::string_view fallback);
  std::vector<std::string> Strings(absl::string_view key);  // a list, or empty when absent or null
  // Lists; empty when absent or null.
  std::vector<double> Numbers(absl::string_view key);
  std::vector<int64_t> Ints(absl::string_view key, int64_t min, int64_t max);
  // One id or a list of ids; unset when absent, empty when null.
  absl::optional<std::vector<int64_t>> Ids(absl::string_view key);
  // A nested object, whose errors name "key.inner" and stand in this reader's status; null when
  // absent or null. Owned by this reader.
  ConfigReader* Object(absl::string_view key);
  // The same, or, when absent or null, of `fallback`, the text of an object.
  ConfigReader* ObjectOr(absl::string_view key, absl::string_view fallback);

  // Records that `key` was expected otherwise: "FILE: key: expected WHAT, found VALUE".
  void Refuse(absl::string_view key, absl::string_view expected);
  bool WasRead(absl::string_view key) const { return read_.contains(key); }

  const nlohmann::json* Peek(absl::string_view key) const;  // without marking it as read
  const std::string& file() const { return file_; }
  const absl::Status& status() const { return root_->status_; }
  bool ok() const { return status().ok(); }

 private:
  ConfigReader() = default;
  const nlohmann::json* Read(absl::string_view key);
  ConfigReader* AddNested(std::string path);
  void WrongType(absl::string_view key, absl::string_view expected, const nlohmann::json* found);
  int64_t CheckedInt(absl::string_view key, const nlohmann::json* value, int64_t min, int64_t max);
  double CheckedNumber(absl::string_view key, const nlohmann::json* value);
  void SetError(absl::Status status);

  ConfigReader* root_ = this;
  std::string file_;
  std::string path_;  // "rope_parameters." in a nested reader
  nlohmann::json owned_;
  const nlohmann::json* object_ = nullptr;
  absl::flat_hash_set<std::string> read_;
  std::vector<std::unique_ptr<ConfigReader>> nested_;
  absl::Status status_;
};

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_CONFIG_H_
