// Tested by tests/text_zoo_test.cc.
#include "text/word_models.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "text/unicode.h"

namespace ninfer {

WordPiece::WordPiece(const Tables* tables) : WordModel(tables) {
  for (uint32_t id = 0; id < tables->vocab_size; ++id) {
    if ((tables->flags[id] & kInModel) != 0)
      longest_ = std::max(longest_, tables->piece(id).size());
  }
}

void WordPiece::EncodeWord(absl::string_view word, ModelScratch*, std::vector<int32_t>* ids) const {
  const Program& program = tables_->program;
  const size_t before = ids->size();
  size_t characters = 0;
  for (const char c : word) characters += (c & 0xC0) != 0x80;
  bool known = characters <= program.max_word;
  std::string spelled;
  for (size_t start = 0; known && start < word.size();) {
    absl::string_view prefix;
    if (start > 0) prefix = program.continuing_subword_prefix;
    size_t end = std::min(word.size(), start + longest_);
    while (end < word.size() && (word[end] & 0xC0) == 0x80) --end;
    int32_t id = -1;
    for (; end > start; end -= DecodeBefore(word, end).length) {
      spelled.assign(prefix.data(), prefix.size());
      absl::StrAppend(&spelled, word.substr(start, end - start));
      id = FindInModel(spelled);
      if (id >= 0) break;
    }
    known = id >= 0;
    if (known) ids->push_back(id);
    start = end;
  }
  if (known) return;
  ids->resize(before);
  ids->push_back(program.unk_id);
}

void WordLevel::EncodeWord(absl::string_view word, ModelScratch*, std::vector<int32_t>* ids) const {
  const int32_t id = FindInModel(word);
  ids->push_back(id >= 0 ? id : tables_->program.unk_id);
}

}  // namespace ninfer
