// Fills a TokenizerSpec: pieces, merges and added tokens, with the rules for their ids.
#ifndef NINFER_TEXT_SPEC_BUILDER_H_
#define NINFER_TEXT_SPEC_BUILDER_H_

#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "text/spec.h"

namespace ninfer {

class SpecBuilder {
 public:
  TokenizerSpec spec;

  absl::Status AddPiece(absl::string_view piece, int64_t id);
  // The merge of the pieces named, of which `right` loses the continuing prefix when they join. All
  // three must be in the vocabulary.
  absl::Status AddMerge(absl::string_view left, absl::string_view right);
  int32_t FindPiece(absl::string_view piece) const;  // -1 where there is none

  // Adds a token, or changes one that is there. Its id is that of the piece with its content; a new
  // token gets the next free id, as in Hugging Face tokenizers, whatever id the file names.
  void AddToken(AddedToken token);
  // The same for a new token of which the file alone decides the id, also where a piece of the
  // model has the same text.
  absl::Status AddTokenAt(AddedToken token, int64_t id);
  bool HasToken(absl::string_view content) const { return added_.contains(content); }
  int32_t AddedTokenToId(absl::string_view content) const;  // -1 where there is none
  // The id of an added token or piece, or -1.
  int32_t TokenToId(absl::string_view content) const;

 private:
  absl::flat_hash_map<std::string, int32_t> pieces_;
  absl::flat_hash_map<std::string, size_t> added_;  // index in spec.added
  absl::flat_hash_set<std::string> special_;
  absl::flat_hash_set<int32_t> added_ids_;  // of AddTokenAt
  int32_t next_added_ = 0;                  // above the ids of all added tokens
};

}  // namespace ninfer

#endif  // NINFER_TEXT_SPEC_BUILDER_H_
