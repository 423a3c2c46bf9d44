// A tokenizer as one flat block of bytes, made at compile time and used in place.
//
//   header    magic, version, flags, the vocabulary's size, the kind of model, offset and count of
//             each section
//   offsets   u32[vocabulary + 1] into the pool
//   pool      the text of the pieces, by id
//   flags     u8[vocabulary], PieceFlag bits
//   slots     u32, hash table of ids by text
//   merges    MergeSlot, hash table by pair
//   ranks     u32[vocabulary] (SentencePiece's BPE)
//   scores    f64[vocabulary] (Unigram)
//   trie      u32[nodes + 1], u8[nodes], u32[nodes] (Unigram; text/trie.h)
//   program   steps, added tokens, post-processor: length-prefixed, read into a Program
//
// Both hash tables are open-addressed with linear probing, a power of two in size and at most three
// quarters full. Numbers are little-endian; sections start at multiples of 8. Nothing is allocated
// for a single piece, so that 150,000 pieces load in a few milliseconds. Everything is checked when
// the block is parsed.
//
// Tested by tests/text_tables_test.cc.
#ifndef NINFER_TEXT_TABLES_H_
#define NINFER_TEXT_TABLES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "text/spec.h"
#include "text/trie.h"

namespace ninfer {

enum PieceFlag : uint8_t {
  kInModel = 1,  // the model may produce it
  kPresent = 2,  // the id has a piece
  kSpecial = 4,  // a special token
  kSkipped = 8,  // left out when special tokens are skipped
  kWhole = 16,   // the model makes this very piece of its text
};

enum ModelFlag : uint32_t {
  kByteFallbackFlag = 1,
  kFuseUnkFlag = 2,
  kIgnoreMergesFlag = 4,
  kByPieceFlag = 8,  // SentencePiece: a pair merges where its joined text is a piece
  kSplitBlanksFlag =
      16,  // no merge crosses from another character to U+2581: words may be cut there
  kHasDecoderFlag = 32,
  kFloatScoresFlag = 64,
  kAllModelFlags = 127,
};

struct MergeSlot {
  uint32_t left;  // kNoRank: empty
  uint32_t right;
  uint32_t rank;
  uint32_t result;
};

struct Program {
  std::vector<AddedToken> added;
  std::vector<Step> normalizers;
  std::vector<Step> pre_tokenizers;
  std::vector<Step> decoders;
  std::vector<int32_t> prefix_ids;
  std::vector<int32_t> suffix_ids;
  std::vector<TemplatePart> pair;
  int32_t unk_id = -1;
  double unk_score = 0;
  uint32_t max_word = 0;
  std::string continuing_subword_prefix;
  std::string end_of_word_suffix;
};

// Views into a block of tables.
struct Tables {
  ModelKind kind = ModelKind::kBpe;
  uint32_t model_flags = 0;
  uint32_t vocab_size = 0;
  absl::Span<const uint32_t> offsets;
  absl::string_view pool;
  absl::Span<const uint8_t> flags;
  absl::Span<const uint32_t> slots;
  absl::Span<const MergeSlot> merges;
  absl::Span<const uint32_t> ranks;
  absl::Span<const double> scores;
  Trie trie;
  Program program;

  absl::string_view piece(uint32_t id) const {
    return pool.substr(offsets[id], offsets[id + 1] - offsets[id]);
  }
  // The id of the piece with this text and at least these PieceFlags, or -1.
  int32_t FindPiece(absl::string_view text, uint64_t hash, uint8_t flags_wanted = 0) const;
  const MergeSlot* FindMerge(uint32_t left, uint32_t right) const;
};

uint64_t PieceHash(absl::string_view text);

// `spec` must have been checked by CheckSpec.
std::string BuildTables(const TokenizerSpec& spec);
absl::Status CheckSpec(const TokenizerSpec& spec);

// Offset of the flags section, which the builder completes (kWhole) once the tables work.
uint64_t FlagsOffset(absl::string_view block);

// `block` must be aligned to 8 bytes and outlive `tables`.
absl::Status ParseTables(absl::string_view block, Tables* tables);

}  // namespace ninfer

#endif  // NINFER_TEXT_TABLES_H_
