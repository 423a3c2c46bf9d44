// Finding added tokens in a text: the leftmost match, of those at one place the longest.
// Tested by tests/text_zoo_test.cc.
#ifndef NINFER_TEXT_ADDED_TOKENS_H_
#define NINFER_TEXT_ADDED_TOKENS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "text/spec.h"

namespace ninfer {

class AddedTokenMatcher {
 public:
  struct Span {
    size_t begin;
    size_t end;
    int32_t id;  // -1: text between tokens
  };

  AddedTokenMatcher() = default;
  // Of `tokens`, those that are looked for in normalized text, or those that are not.
  AddedTokenMatcher(const std::vector<AddedToken>& tokens, bool normalized);

  // Cuts `text` into tokens and what lies between. Blanks that a token's lstrip or rstrip takes
  // belong to the token. Without `special`, special tokens are text.
  void Split(absl::string_view text, bool special, std::vector<Span>* spans) const;

  // The length of the longest token that starts at `pos`, whatever its flags; 0 for none.
  size_t LongestLength(absl::string_view text, size_t pos) const;

 private:
  struct Entry {
    std::string text;
    int32_t id;
    bool single_word;
    bool lstrip;
    bool rstrip;
    bool special;
  };
  const Entry* LongestAt(absl::string_view text, size_t pos) const;

  std::vector<Entry> entries_;  // sorted by text
  bool starts_[256] = {};       // the first bytes of entries
};

}  // namespace ninfer

#endif  // NINFER_TEXT_ADDED_TOKENS_H_
