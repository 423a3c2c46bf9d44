// Which of a repository's files a model needs. Tested by tests/hub_choose_test.cc.
#ifndef NINFER_HUB_CHOOSE_H_
#define NINFER_HUB_CHOOSE_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ninfer::hub {

// Whether the repository has a file of this name.
using HasFile = std::function<bool(const std::string& name)>;

struct Choice {
  std::vector<std::string> files;  // configuration and tokenizer first, then weights
  std::string index;               // of sharded weights, one of `files`: its shards are needed too
};

// The error says what is missing ("expected ..., found none") without naming the repository.
absl::StatusOr<Choice> ChooseFiles(const HasFile& has);

// The shards that an index names, each once. `file` names the index in errors.
absl::StatusOr<std::vector<std::string>> ShardsOf(absl::string_view file, absl::string_view text);

}  // namespace ninfer::hub

#endif  // NINFER_HUB_CHOOSE_H_
