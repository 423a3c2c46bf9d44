// Which of a repository's files a model needs. Tested by tests/hub_choose_test.cc.
#ifndef NINFER_HUB_CHOOSE_H_
#define NINFER_HUB_CHOOSE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ninfer::hub {

// What a repository has, as far as the one who is asked knows.
class Names {
 public:
  virtual ~Names() = default;
  virtual bool Has(const std::string& name) = 0;
  // In order, the names in `folder`, itself ("" is the repository's), that end in `suffix`.
  virtual std::vector<std::string> Like(const std::string& folder, const std::string& suffix) = 0;
};

struct Choice {
  std::vector<std::string> files;  // configuration and tokenizer first, then weights
  std::string index;               // of sharded weights, one of `files`: its shards are needed too
};

// The error says what is missing ("expected ..., found none") without naming the repository.
absl::StatusOr<Choice> ChooseFiles(Names& names);

// Of these names, those that Names::Like asks for.
std::vector<std::string> NamesLike(const std::vector<std::string>& names, absl::string_view folder,
                                   absl::string_view suffix);

// The shards that an index names, each once. `file` names the index in errors.
absl::StatusOr<std::vector<std::string>> ShardsOf(absl::string_view file, absl::string_view text);

}  // namespace ninfer::hub

#endif  // NINFER_HUB_CHOOSE_H_
