// Pre-tokenizers: a text is cut into the words that the model then splits further.
// Tested by tests/text_components_test.cc.
#ifndef NINFER_TEXT_PRETOKENIZE_H_
#define NINFER_TEXT_PRETOKENIZE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "text/normalize.h"

namespace ninfer {

// Words as ranges of one buffer, in order.
struct WordList {
  struct Word {
    size_t begin;
    size_t end;
  };
  std::string buffer;
  std::vector<Word> words;
  bool first_at_start = false;  // the first word begins where the whole text begins

  absl::string_view text(const Word& word) const {
    return absl::string_view(buffer).substr(word.begin, word.end - word.begin);
  }
};

// Bytes from which on no step is applied to a text of `size` bytes: see NormalizedLimit.
inline size_t PreTokenizedLimit(size_t size) { return 1024 + 16 * size; }

// Cuts `text` (valid UTF-8) by the steps in order.
void PreTokenize(absl::Span<const CompiledStep> steps, absl::string_view text, bool at_start,
                 WordList* list);

}  // namespace ninfer

#endif  // NINFER_TEXT_PRETOKENIZE_H_
