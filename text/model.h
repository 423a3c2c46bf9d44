// The model of a tokenizer over its tables: one word in, ids out. What the kinds share is here:
// whole words that are looked up, and the words seen before. Tested by tests/text_zoo_test.cc and
// tests/text_robustness_test.cc.
#ifndef NINFER_TEXT_MODEL_H_
#define NINFER_TEXT_MODEL_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "text/tables.h"

namespace ninfer {

// Ids of words that were seen before in the same text.
class WordCache {
 public:
  struct Entry {
    uint64_t hash = 0;
    uint32_t text = 0;
    uint32_t text_size = 0;
    uint32_t ids = 0;
    uint32_t ids_size = 0;  // 0: empty
  };
  const Entry* Find(uint64_t hash, absl::string_view text) const;
  void Insert(uint64_t hash, absl::string_view text, const int32_t* ids, size_t count);
  const int32_t* ids(const Entry& entry) const { return ids_.data() + entry.ids; }

 private:
  std::vector<Entry> entries_;
  size_t used_ = 0;
  std::string text_;
  std::vector<int32_t> ids_;
};

// What one Encode call keeps between words.
struct ModelScratch {
  struct Symbol {
    int32_t id;  // -1: no piece has this text (BPE by pieces only)
    uint32_t begin;
    uint32_t end;
    uint32_t rank;    // of the merge with the next symbol, or kNoRank
    uint32_t result;  // what that merge gives
  };
  struct Node {  // the best way to the end of a character
    double score;
    uint32_t from;
    int32_t id;
  };
  std::vector<Symbol> symbols;     // BPE
  std::vector<uint32_t> previous;  // BPE
  std::vector<uint32_t> next;      // BPE
  std::vector<Node> nodes;         // Unigram
  WordCache cache;
};

class WordModel {
 public:
  // `tables` must outlive the model.
  static std::unique_ptr<WordModel> Create(const Tables* tables);
  virtual ~WordModel() = default;

  // Appends the ids of `word` (valid UTF-8, under 2 GiB).
  void Encode(absl::string_view word, ModelScratch* scratch, std::vector<int32_t>* ids) const;

  // The same without cache or short cuts. `word` is not empty.
  virtual void EncodeWord(absl::string_view word, ModelScratch* scratch,
                          std::vector<int32_t>* ids) const = 0;

 protected:
  explicit WordModel(const Tables* tables);
  bool Has(ModelFlag flag) const { return (tables_->model_flags & flag) != 0; }
  int32_t FindInModel(absl::string_view text) const;
  // Appends the byte pieces of `text`; false, and nothing, where the model lacks one.
  bool AppendBytes(absl::string_view text, std::vector<int32_t>* ids) const;
  bool HasBytes(absl::string_view text) const;

  const Tables* tables_;
  std::array<int32_t, 256> byte_ids_;  // <0x00> to <0xFF>, or -1
  bool has_all_bytes_;

 private:
  void EncodeOneWord(absl::string_view word, ModelScratch* scratch,
                     std::vector<int32_t>* ids) const;
};

}  // namespace ninfer

#endif  // NINFER_TEXT_MODEL_H_
