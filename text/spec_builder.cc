// Tested by tests/text_json_test.cc.
#include "text/spec_builder.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ninfer {

absl::Status SpecBuilder::AddPiece(absl::string_view piece, int64_t id) {
  if (id < 0 || id >= kMaxVocabulary) {
    return InvalidArgument("piece '", piece, "': expected an id from 0 to ", kMaxVocabulary - 1,
                           ", found ", id);
  }
  const auto index = static_cast<size_t>(id);
  if (index >= spec.pieces.size()) {
    spec.pieces.resize(index + 1);
    spec.present.resize(index + 1);
  }
  if (spec.present[index]) {
    return InvalidArgument("pieces '", spec.pieces[index], "' and '", piece, "' have the same id ",
                           id);
  }
  if (!pieces_.emplace(piece, static_cast<int32_t>(id)).second) {
    return InvalidArgument("piece '", piece, "' comes twice");
  }
  spec.pieces[index] = std::string(piece);
  spec.present[index] = true;
  return absl::OkStatus();
}

absl::Status SpecBuilder::AddMerge(absl::string_view left, absl::string_view right) {
  const size_t prefix = spec.continuing_subword_prefix.size();
  if (right.size() < prefix) {
    return InvalidArgument("merge '", left, " ", right, "': shorter than the continuing prefix");
  }
  const std::string joined = absl::StrCat(left, right.substr(prefix));
  const int32_t ids[3] = {FindPiece(left), FindPiece(right), FindPiece(joined)};
  const absl::string_view names[3] = {left, right, joined};
  for (int i = 0; i < 3; ++i) {
    if (ids[i] < 0) {
      return InvalidArgument("merge '", left, " ", right, "': '", names[i],
                             "' is not in the vocabulary");
    }
  }
  spec.merges.push_back({static_cast<uint32_t>(ids[0]), static_cast<uint32_t>(ids[1]),
                         static_cast<uint32_t>(ids[2])});
  return absl::OkStatus();
}

int32_t SpecBuilder::FindPiece(absl::string_view piece) const {
  const auto it = pieces_.find(piece);
  return it == pieces_.end() ? -1 : it->second;
}

int32_t SpecBuilder::AddedTokenToId(absl::string_view content) const {
  const auto it = added_.find(content);
  return it == added_.end() ? -1 : spec.added[it->second].id;
}

int32_t SpecBuilder::TokenToId(absl::string_view content) const {
  const int32_t id = AddedTokenToId(content);
  return id < 0 ? FindPiece(content) : id;
}

absl::Status SpecBuilder::AddTokenAt(AddedToken token, int64_t id) {
  if (token.content.empty() || id < 0 || id >= kMaxVocabulary) {
    return InvalidArgument("added token '", token.content,
                           "': expected a text and an id from 0 to ", kMaxVocabulary - 1,
                           ", found ", id);
  }
  const auto index = static_cast<size_t>(id);
  if (index < spec.pieces.size() && spec.present[index] && spec.pieces[index] != token.content) {
    return InvalidArgument("added token '", token.content, "': id ", id,
                           " belongs to another piece");
  }
  if (!added_ids_.insert(static_cast<int32_t>(id)).second) {
    return InvalidArgument("added token '", token.content, "': id ", id,
                           " belongs to another token");
  }
  if (!added_.emplace(token.content, spec.added.size()).second) {
    return InvalidArgument("added token '", token.content, "' comes twice");
  }
  token.id = static_cast<int32_t>(id);
  next_added_ = std::max(next_added_, token.id + 1);
  if (token.special) special_.insert(token.content);
  spec.added.push_back(std::move(token));
  return absl::OkStatus();
}

void SpecBuilder::AddToken(AddedToken token) {
  if (token.content.empty()) return;
  if (token.special) special_.insert(token.content);
  token.special = special_.contains(token.content);
  token.id = TokenToId(token.content);
  if (token.id < 0) {
    token.id = std::max(static_cast<int32_t>(pieces_.size()), next_added_);
  }
  next_added_ = std::max(next_added_, token.id + 1);
  const auto [it, added] = added_.emplace(token.content, spec.added.size());
  if (added) {
    spec.added.push_back(std::move(token));
  } else {
    spec.added[it->second] = std::move(token);
  }
}

}  // namespace ninfer
