// SentencePiece's precompiled_charsmap: which strings are replaced by which, before a text is cut.
//
// A little-endian u32, the size in bytes of a double array (Darts-clone's units); the double array,
// whose values are places in the text behind it, each up to the next zero byte.
// Source: SentencePiece's normalizer.cc, and the spm_precompiled crate.
// Tested by tests/text_components_test.cc and tests/text_sentencepiece_test.cc.
#ifndef NINFER_TEXT_CHARSMAP_H_
#define NINFER_TEXT_CHARSMAP_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "text/added_tokens.h"

namespace ninfer {

class CharsMap {
 public:
  static absl::StatusOr<std::unique_ptr<CharsMap>> Parse(absl::string_view blob);

  struct Match {
    size_t length = 0;  // of the key, in bytes; 0: none
    absl::string_view replacement;
  };
  // The shortest, or the longest, key that begins `text`.
  Match Shortest(absl::string_view text) const { return Find(text, false); }
  Match Longest(absl::string_view text) const { return Find(text, true); }

  // Whether a key may begin with this byte.
  bool MayStart(char byte) const { return starts_[static_cast<uint8_t>(byte)]; }

 private:
  CharsMap() = default;
  Match Find(absl::string_view text, bool longest) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
  bool starts_[256] = {};
};

// The Precompiled normalizer of Hugging Face tokenizers: a grapheme cluster under 6 bytes that some
// key begins becomes that key's replacement; otherwise each character does on its own. A text that
// would grow beyond `limit` bytes stays as it is.
void ApplyPrecompiled(const CharsMap& map, size_t limit, std::string* text);

// SentencePiece's normalizer. `flags`: kSp... bits; `map` may be null. What `kept` finds (may be
// null too) is not replaced. `at_start`: the text begins where the whole text begins. `limit` as
// above.
void ApplySentencePiece(const CharsMap* map, const AddedTokenMatcher* kept, uint32_t flags,
                        bool at_start, size_t limit, std::string* text);

}  // namespace ninfer

#endif  // NINFER_TEXT_CHARSMAP_H_
