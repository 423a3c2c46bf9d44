// Names of models on the hub: "hf:org/name" or "hf:org/name@revision", a revision being a branch, a
// tag or a commit. Tested by tests/hub_name_test.cc.
#ifndef NINFER_HUB_NAME_H_
#define NINFER_HUB_NAME_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ninfer::hub {

struct ModelName {
  std::string text;  // as it was given, for messages
  std::string repository;
  std::string revision = "main";
};

// Whether this names a model on the hub, well or badly, and not a path.
bool IsModelName(absl::string_view text);

absl::StatusOr<ModelName> ParseModelName(absl::string_view text);

// 40 hexadecimal digits in lower case.
bool IsCommit(absl::string_view text);

}  // namespace ninfer::hub

#endif  // NINFER_HUB_NAME_H_
