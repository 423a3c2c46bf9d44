// Writing the tables. Only the compile side needs this file.
// Tested by tests/text_tables_test.cc.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "absl/container/flat_hash_set.h"
#include "base/status.h"
#include "text/tables.h"
#include "text/tables_format.h"
#include "text/unicode.h"

namespace ninfer {
namespace {

class Writer {
 public:
  void Number(uint32_t value) { bytes_.append(reinterpret_cast<const char*>(&value), 4); }
  void String(absl::string_view text) {
    Number(static_cast<uint32_t>(text.size()));
    bytes_.append(text.data(), text.size());
  }
  void Steps(const std::vector<Step>& steps) {
    Number(static_cast<uint32_t>(steps.size()));
    for (const Step& step : steps) {
      Number(step.kind | static_cast<uint32_t>(step.pattern) << 8);
      Number(step.number);
      Number(step.number2);
      String(step.text);
      String(step.content);
      String(step.blob);
    }
  }
  void Ids(const std::vector<int32_t>& ids) {
    Number(static_cast<uint32_t>(ids.size()));
    for (const int32_t id : ids) Number(static_cast<uint32_t>(id));
  }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

std::string WriteProgram(const TokenizerSpec& spec) {
  Writer writer;
  writer.Steps(spec.normalizers);
  writer.Steps(spec.pre_tokenizers);
  writer.Steps(spec.decoders);
  writer.Ids(spec.prefix_ids);
  writer.Ids(spec.suffix_ids);
  writer.Number(static_cast<uint32_t>(spec.pair.size()));
  for (const TemplatePart& part : spec.pair) {
    writer.Number(part.kind);
    writer.Number(static_cast<uint32_t>(part.id));
    writer.Number(part.type_id);
  }
  writer.Number(static_cast<uint32_t>(spec.unk_id));
  const auto unk_score = std::bit_cast<uint64_t>(spec.unk_score);
  writer.Number(static_cast<uint32_t>(unk_score));
  writer.Number(static_cast<uint32_t>(unk_score >> 32));
  writer.Number(spec.max_word);
  writer.String(spec.continuing_subword_prefix);
  writer.String(spec.end_of_word_suffix);
  writer.Number(static_cast<uint32_t>(spec.added.size()));
  for (const AddedToken& token : spec.added) {
    writer.Number(static_cast<uint32_t>(token.id));
    writer.Number((token.single_word ? 1 : 0) | (token.lstrip ? 2 : 0) | (token.rstrip ? 4 : 0) |
                  (token.normalized ? 8 : 0) | (token.special ? 16 : 0));
    writer.String(token.content);
    writer.String(token.normal_form);
  }
  return writer.Take();
}

// Whether U+2581 stands behind another character in `piece`.
bool CrossesIntoBlank(absl::string_view piece) {
  for (size_t at = piece.find(kBlank); at != absl::string_view::npos; at = piece.find(kBlank, at)) {
    if (at > 0 && (at < 3 || piece.substr(at - 3, 3) != kBlank)) return true;
    at += kBlank.size();
  }
  return false;
}

// Words may be cut before U+2581 where no merge reaches across, and where that character is a piece
// of its own (it then also ends a run of unknown characters).
bool MaySplitBlanks(const TokenizerSpec& spec) {
  if (spec.kind != ModelKind::kBpe || spec.ignore_merges ||
      !spec.continuing_subword_prefix.empty() || !spec.end_of_word_suffix.empty()) {
    return false;
  }
  bool has_blank = false;
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    if (!spec.present[id]) continue;
    has_blank = has_blank || spec.pieces[id] == kBlank;
    const bool can_result = spec.piece_ranks.empty() || spec.piece_ranks[id] != kNoRank;
    if (can_result && CrossesIntoBlank(spec.pieces[id])) return false;
  }
  return has_blank;
}

constexpr uint64_t kMostUnused = 1 << 16;  // ids that a vocabulary may leave out in any case

// At most three quarters full.
size_t SlotCount(size_t entries) { return std::bit_ceil(std::max<size_t>(entries * 4 / 3 + 1, 2)); }

struct Pieces {
  std::vector<uint32_t> offsets;
  std::string pool;
  std::vector<uint8_t> flags;
  std::vector<uint32_t> slots;
};

Pieces LayOutPieces(const TokenizerSpec& spec) {
  size_t n = spec.pieces.size();
  for (const AddedToken& token : spec.added) n = std::max<size_t>(n, token.id + 1);
  std::vector<absl::string_view> text(n);
  Pieces pieces;
  pieces.flags.resize(n);
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    if (!spec.present[id]) continue;
    text[id] = spec.pieces[id];
    pieces.flags[id] = kInModel | kPresent;
  }
  absl::flat_hash_set<absl::string_view> special;
  for (const AddedToken& token : spec.added) {
    if (token.special) special.insert(token.content);
  }
  for (const AddedToken& token : spec.added) {
    text[token.id] = token.content;
    // Decoding shows the normal form of a normalized token, and skips by what it shows.
    const std::string& shown = token.normalized ? token.normal_form : token.content;
    const bool skipped = token.skipped || special.contains(shown);
    pieces.flags[token.id] |= kPresent | (token.special ? kSpecial : 0) | (skipped ? kSkipped : 0);
  }
  pieces.slots.assign(SlotCount(n), kNoRank);
  for (size_t id = 0; id < n; ++id) {
    pieces.offsets.push_back(static_cast<uint32_t>(pieces.pool.size()));
    absl::StrAppend(&pieces.pool, text[id]);
    if ((pieces.flags[id] & kPresent) == 0) continue;
    const size_t mask = pieces.slots.size() - 1;
    size_t slot = PieceHash(text[id]) & mask;
    while (pieces.slots[slot] != kNoRank) slot = (slot + 1) & mask;
    pieces.slots[slot] = static_cast<uint32_t>(id);
  }
  pieces.offsets.push_back(static_cast<uint32_t>(pieces.pool.size()));
  return pieces;
}

std::vector<MergeSlot> LayOutMerges(const std::vector<Merge>& merges) {
  std::vector<MergeSlot> slots(SlotCount(merges.size()), MergeSlot{kNoRank, 0, 0, 0});
  const size_t mask = slots.size() - 1;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    size_t slot = MergeHash(merge.left, merge.right) & mask;
    while (slots[slot].left != kNoRank &&
           (slots[slot].left != merge.left || slots[slot].right != merge.right)) {
      slot = (slot + 1) & mask;
    }
    // A pair that comes twice keeps its later rank, as in the reference implementation.
    slots[slot] = {merge.left, merge.right, static_cast<uint32_t>(rank), merge.result};
  }
  return slots;
}

// The pieces that a Unigram model uses.
TrieArrays LayOutTrie(const TokenizerSpec& spec) {
  std::vector<std::pair<absl::string_view, uint32_t>> keys;
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    if (!spec.present[id] || spec.pieces[id].empty() || std::isnan(spec.scores[id])) continue;
    keys.emplace_back(spec.pieces[id], static_cast<uint32_t>(id));
  }
  return BuildTrie(std::move(keys));
}

template <typename T>
void AppendSection(TablesSection index, const T& values, TablesHeader* header, std::string* block) {
  block->resize((block->size() + 7) / 8 * 8);
  header->sections[index] = {block->size(), values.size()};
  block->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0]));
}

}  // namespace

absl::Status CheckSpec(const TokenizerSpec& spec) {
  if (spec.pieces.empty()) return InvalidArgument("the vocabulary is empty");
  uint64_t pool = 0;
  // Tables have a row for each id: a file of a line must not ask for millions.
  uint64_t ids = spec.pieces.size();
  uint64_t named = std::count(spec.present.begin(), spec.present.end(), true);
  for (const AddedToken& token : spec.added) {
    ids = std::max<uint64_t>(ids, int64_t{token.id} + 1);
    ++named;
  }
  const uint64_t most = kMostUnused + 8 * named;
  if (ids > most) {
    return InvalidArgument("the vocabulary: expected ids below ", most, " for ", named,
                           " tokens, found ", ids - 1);
  }
  for (const std::string& piece : spec.pieces) {
    pool += piece.size();
    if (!IsValidUtf8(piece)) return InvalidArgument("a piece of the vocabulary is not UTF-8");
  }
  for (const AddedToken& token : spec.added) {
    pool += token.content.size();
    const auto id = static_cast<size_t>(token.id);
    if (token.id < 0 || id >= kMaxVocabulary ||
        (id < spec.pieces.size() && spec.present[id] && spec.pieces[id] != token.content)) {
      return InvalidArgument("added token '", token.content, "': id ", token.id,
                             " belongs to another piece");
    }
  }
  if (pool > 0x7FFFFFFF) return InvalidArgument("the vocabulary's text is over 2 GiB");
  return absl::OkStatus();
}

std::string BuildTables(const TokenizerSpec& spec) {
  const Pieces pieces = LayOutPieces(spec);
  TablesHeader header = {};
  header.magic = kTablesMagic;
  header.version = kTablesVersion;
  header.vocab_size = static_cast<uint32_t>(pieces.flags.size());
  header.kind = static_cast<uint32_t>(spec.kind);
  const bool by_piece = !spec.piece_ranks.empty();
  const auto flag = [](bool set, ModelFlag bit) { return set ? uint32_t{bit} : 0u; };
  header.model_flags =
      flag(spec.byte_fallback, kByteFallbackFlag) | flag(spec.fuse_unk, kFuseUnkFlag) |
      flag(spec.ignore_merges, kIgnoreMergesFlag) | flag(by_piece, kByPieceFlag) |
      flag(MaySplitBlanks(spec), kSplitBlanksFlag) | flag(spec.has_decoder, kHasDecoderFlag) |
      flag(spec.float_scores, kFloatScoresFlag);
  std::vector<uint32_t> ranks = spec.piece_ranks;
  if (by_piece) ranks.resize(pieces.flags.size(), kNoRank);
  std::vector<double> scores;
  TrieArrays trie;
  if (spec.kind == ModelKind::kUnigram) {
    scores = spec.scores;
    scores.resize(pieces.flags.size(), std::nan(""));
    trie = LayOutTrie(spec);
  }
  std::string block(sizeof(header), '\0');
  AppendSection(kOffsetsSection, pieces.offsets, &header, &block);
  AppendSection(kPoolSection, pieces.pool, &header, &block);
  AppendSection(kFlagsSection, pieces.flags, &header, &block);
  AppendSection(kSlotsSection, pieces.slots, &header, &block);
  AppendSection(kMergesSection, LayOutMerges(spec.merges), &header, &block);
  AppendSection(kRanksSection, ranks, &header, &block);
  AppendSection(kScoresSection, scores, &header, &block);
  AppendSection(kTrieFirstSection, trie.first, &header, &block);
  AppendSection(kTrieLabelsSection, trie.labels, &header, &block);
  AppendSection(kTrieValuesSection, trie.values, &header, &block);
  AppendSection(kProgramSection, WriteProgram(spec), &header, &block);
  header.size = block.size();
  std::memcpy(block.data(), &header, sizeof(header));
  return block;
}

}  // namespace ninfer
