// Tested by tests/text_zoo_test.cc and tests/text_robustness_test.cc.
#include "text/model.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "text/bpe.h"
#include "text/unicode.h"
#include "text/unigram.h"
#include "text/word_models.h"

namespace ninfer {
namespace {

constexpr size_t kCachedWord = 256;  // bytes
constexpr size_t kCacheEntries = 1 << 17;

}  // namespace

const WordCache::Entry* WordCache::Find(uint64_t hash, absl::string_view text) const {
  if (entries_.empty()) return nullptr;
  const size_t mask = entries_.size() - 1;
  for (size_t i = hash & mask; entries_[i].ids_size != 0; i = (i + 1) & mask) {
    const Entry& entry = entries_[i];
    if (entry.hash == hash &&
        absl::string_view(text_).substr(entry.text, entry.text_size) == text) {
      return &entry;
    }
  }
  return nullptr;
}

void WordCache::Insert(uint64_t hash, absl::string_view text, const int32_t* ids, size_t count) {
  if (count == 0 || used_ >= kCacheEntries) return;
  if (2 * (used_ + 1) > entries_.size()) {
    std::vector<Entry> old = std::move(entries_);
    entries_.assign(std::max<size_t>(64, old.size() * 4), Entry());
    for (const Entry& entry : old) {
      if (entry.ids_size == 0) continue;
      size_t i = entry.hash & (entries_.size() - 1);
      while (entries_[i].ids_size != 0) i = (i + 1) & (entries_.size() - 1);
      entries_[i] = entry;
    }
  }
  size_t i = hash & (entries_.size() - 1);
  while (entries_[i].ids_size != 0) i = (i + 1) & (entries_.size() - 1);
  entries_[i] = {hash, static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(text.size()),
                 static_cast<uint32_t>(ids_.size()), static_cast<uint32_t>(count)};
  text_.append(text.data(), text.size());
  ids_.insert(ids_.end(), ids, ids + count);
  ++used_;
}

std::unique_ptr<WordModel> WordModel::Create(const Tables* tables) {
  switch (tables->kind) {
    case ModelKind::kUnigram:
      return std::make_unique<Unigram>(tables);
    case ModelKind::kWordPiece:
      return std::make_unique<WordPiece>(tables);
    case ModelKind::kWordLevel:
      return std::make_unique<WordLevel>(tables);
    case ModelKind::kBpe:
    case ModelKind::kCount:
      break;
  }
  return std::make_unique<Bpe>(tables);
}

WordModel::WordModel(const Tables* tables) : tables_(tables) {
  has_all_bytes_ = true;
  for (int byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = FindInModel(absl::StrFormat("<0x%02X>", byte));
    has_all_bytes_ = has_all_bytes_ && byte_ids_[byte] >= 0;
  }
}

int32_t WordModel::FindInModel(absl::string_view text) const {
  return tables_->FindPiece(text, PieceHash(text), kInModel);
}

bool WordModel::HasBytes(absl::string_view text) const {
  return has_all_bytes_ || std::all_of(text.begin(), text.end(), [this](char c) {
           return byte_ids_[static_cast<uint8_t>(c)] >= 0;
         });
}

bool WordModel::AppendBytes(absl::string_view text, std::vector<int32_t>* ids) const {
  if (!HasBytes(text)) return false;
  for (const char c : text) ids->push_back(byte_ids_[static_cast<uint8_t>(c)]);
  return true;
}

void WordModel::Encode(absl::string_view word, ModelScratch* scratch,
                       std::vector<int32_t>* ids) const {
  if (!Has(kSplitBlanksFlag)) {
    EncodeOneWord(word, scratch, ids);
    return;
  }
  size_t begin = 0;
  for (size_t at = word.find(kBlank, 1); at != absl::string_view::npos;
       at = word.find(kBlank, at + 1)) {
    if (at >= 3 && word.substr(at - 3, 3) == kBlank) continue;
    EncodeOneWord(word.substr(begin, at - begin), scratch, ids);
    begin = at;
  }
  EncodeOneWord(word.substr(begin), scratch, ids);
}

void WordModel::EncodeOneWord(absl::string_view word, ModelScratch* scratch,
                              std::vector<int32_t>* ids) const {
  if (word.empty()) return;
  const uint64_t hash = PieceHash(word);
  const int32_t whole = tables_->FindPiece(word, hash, kInModel);
  if (whole >= 0 && ((tables_->flags[whole] & kWhole) != 0 || Has(kIgnoreMergesFlag))) {
    ids->push_back(whole);
    return;
  }
  if (word.size() > kCachedWord) {
    EncodeWord(word, scratch, ids);
    return;
  }
  if (const WordCache::Entry* entry = scratch->cache.Find(hash, word)) {
    const int32_t* cached = scratch->cache.ids(*entry);
    ids->insert(ids->end(), cached, cached + entry->ids_size);
    return;
  }
  const size_t before = ids->size();
  EncodeWord(word, scratch, ids);
  scratch->cache.Insert(hash, word, ids->data() + before, ids->size() - before);
}

}  // namespace ninfer
