// What a tokenizer is, before it becomes tables: the readers of tokenizer.json, tokenizer.model and
// vocabulary files fill a TokenizerSpec, and text/tables.h turns it into bytes.
//
// Normalizers, pre-tokenizers and decoders are lists of steps in order (a Sequence is flattened). A
// step has the same fields whatever its kind, so that one piece of code stores and checks them all.
#ifndef NINFER_TEXT_SPEC_H_
#define NINFER_TEXT_SPEC_H_

#include <cstdint>
#include <string>
#include <vector>

namespace ninfer {

enum class ModelKind : uint8_t { kBpe, kUnigram, kWordPiece, kWordLevel, kCount };

enum class NormalizerKind : uint8_t {
  kNfc,
  kNfd,
  kNfkc,
  kNfkd,
  kLowercase,
  kStripAccents,
  kNmt,
  kBert,           // number: kBert... bits
  kByteLevel,      // bytes to letters
  kStrip,          // number: kStripLeft | kStripRight
  kPrepend,        // text; number 1: only at the start of the whole text
  kReplace,        // pattern, content
  kPrecompiled,    // blob: SentencePiece's table of character replacements
  kSentencePiece,  // SentencePiece's whole normalizer. blob: its table, or none; number: kSp...
                   // bits
  kCount,
};

enum class PreTokenizerKind : uint8_t {
  kByteLevel,    // number: kPrefixBlank; pattern of the split, or none
  kSplit,        // pattern; number: SplitBehaviour | kInvert
  kDigits,       // number 1: each digit alone
  kPunctuation,  // number: SplitBehaviour
  kMetaspace,    // text: the replacement; number: PrependScheme | kSplitWords
  kWhitespace,
  kWhitespaceSplit,
  kBert,
  kFixedLength,  // number: characters in a piece
  kCount,
};

enum class DecoderKind : uint8_t {
  kByteLevel,
  kMetaspace,  // text: the replacement; number: PrependScheme
  kByteFallback,
  kFuse,
  kStrip,      // text: the character; number: at the start, number2: at the end
  kReplace,    // pattern, content
  kBpe,        // text: the suffix
  kWordPiece,  // text: the prefix; number 1: clean up blanks
  kCtc,        // text: the padding; content: the word delimiter; number 1: clean up blanks
  kCount,
};

enum SplitBehaviour : uint32_t {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};
constexpr uint32_t kInvert = 8;

enum PrependScheme : uint32_t { kAlways, kFirst, kNever };
constexpr uint32_t kSplitWords = 4;

constexpr uint32_t kPrefixBlank = 1;
constexpr uint32_t kStripLeft = 1;
constexpr uint32_t kStripRight = 2;
constexpr uint32_t kBertClean = 1;
constexpr uint32_t kBertChinese = 2;
constexpr uint32_t kBertStripAccents = 4;
constexpr uint32_t kBertLowercase = 8;

constexpr uint32_t kSpDummyPrefix = 1;  // a blank is put before the text
constexpr uint32_t kSpEverywhere = 2;   // and before each piece of text between special tokens
constexpr uint32_t kSpSqueeze = 4;      // blanks at the ends go, runs of them become one
constexpr uint32_t kSpEscape = 8;       // blanks become U+2581
constexpr uint32_t kSpSuffix = 16;      // the blank is put behind the text instead

enum class PatternKind : uint8_t { kNone, kLiteral, kRegex };

struct Step {
  uint8_t kind = 0;
  PatternKind pattern = PatternKind::kNone;
  uint32_t number = 0;
  uint32_t number2 = 0;
  std::string text;     // the pattern, where there is one
  std::string content;  // what replaces it
  std::string blob;     // bytes that are not text
};

// A part of what the post-processor makes of two texts.
struct TemplatePart {
  enum Kind : uint32_t { kTextA, kTextB, kToken, kKinds };
  Kind kind = kToken;
  int32_t id = 0;  // of a token
  uint32_t type_id = 0;
};

struct AddedToken {
  std::string content;
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
  bool normalized = true;
  bool special = false;
  bool skipped = false;  // with special tokens, even where normalization changes it
  int32_t id = -1;
  std::string normal_form;  // of a normalized token: what is searched for in normalized text
};

struct Merge {
  uint32_t left;
  uint32_t right;
  uint32_t result;
};

constexpr uint32_t kNoRank = 0xFFFFFFFF;
constexpr uint32_t kMaxVocabulary = 1 << 22;  // a table by id holds as many
constexpr size_t kMaxSteps = 128;             // of a kind; files of models have ten
constexpr uint32_t kMaxTypeId = 1 << 16;

struct TokenizerSpec {
  ModelKind kind = ModelKind::kBpe;
  // The model. `pieces` goes by id; an id that no piece has is empty and not `present`.
  std::vector<std::string> pieces;
  std::vector<bool> present;
  std::vector<Merge> merges;          // in order of rank
  std::vector<uint32_t> piece_ranks;  // SentencePiece: rank of each piece as a merge, or kNoRank
  std::vector<double> scores;  // Unigram: of each piece; not a number: the model does not use it
  double unk_score = 0;        // Unigram: of a character that no piece has
  bool float_scores = false;   // Unigram: sums are rounded to float, as SentencePiece does
  uint32_t max_word = 0;       // WordPiece: characters; a longer word is unknown
  bool byte_fallback = false;
  bool fuse_unk = false;
  bool ignore_merges = false;
  int32_t unk_id = -1;
  std::string continuing_subword_prefix;
  std::string end_of_word_suffix;

  std::vector<AddedToken> added;
  std::vector<Step> normalizers;
  std::vector<Step> pre_tokenizers;
  std::vector<Step> decoders;
  bool has_decoder = false;  // without one, pieces are joined with blanks

  std::vector<int32_t> prefix_ids;  // what the post-processor puts around a text
  std::vector<int32_t> suffix_ids;
  std::vector<TemplatePart> pair;  // empty: each of two texts as if it were alone
};

}  // namespace ninfer

#endif  // NINFER_TEXT_SPEC_H_
