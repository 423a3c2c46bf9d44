// Reading the tables: bounds and consistency are checked here once, so that nothing later needs to.
// Tested by tests/text_tables_test.cc.
#include "text/tables.h"

#include <bit>
#include <cstring>

#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "text/tables_format.h"
#include "text/unicode.h"

namespace ninfer {
namespace {

absl::Status Damaged(absl::string_view what) {
  return InvalidArgument("tokenizer tables: damaged: ", what);
}

class Reader {
 public:
  explicit Reader(absl::string_view bytes) : bytes_(bytes) {}

  uint32_t Number() {
    uint32_t value = 0;
    if (!InBounds(pos_, sizeof(value), bytes_.size())) {
      ok_ = false;
      return 0;
    }
    std::memcpy(&value, bytes_.data() + pos_, sizeof(value));
    pos_ += sizeof(value);
    return value;
  }

  std::string Bytes() {
    const uint32_t size = Number();
    if (!InBounds(pos_, size, bytes_.size())) {
      ok_ = false;
      return "";
    }
    std::string text(bytes_.substr(pos_, size));
    pos_ += size;
    return text;
  }

  std::string String() {
    std::string text = Bytes();
    ok_ = ok_ && IsValidUtf8(text);
    return text;
  }

  // A count of things that take at least `least` bytes each.
  uint32_t Count(uint32_t least) {
    const uint32_t count = Number();
    if (count > (bytes_.size() - pos_) / least) ok_ = false;
    return ok_ ? count : 0;
  }

  bool ok() const { return ok_; }
  bool at_end() const { return pos_ == bytes_.size(); }

 private:
  absl::string_view bytes_;
  size_t pos_ = 0;
  bool ok_ = true;
};

enum class Slot { kNormalizer, kPreTokenizer, kDecoder };

// Whether a step's fields are such as the readers of tokenizer files write.
bool IsSane(Slot slot, const Step& step) {
  const bool has_pattern = step.pattern != PatternKind::kNone;
  bool needs_pattern = false;
  bool needs_character = false;
  switch (slot) {
    case Slot::kNormalizer:
      if (step.kind >= static_cast<uint8_t>(NormalizerKind::kCount)) return false;
      needs_pattern = step.kind == static_cast<uint8_t>(NormalizerKind::kReplace);
      if (step.kind == static_cast<uint8_t>(NormalizerKind::kPrecompiled) && step.blob.empty()) {
        return false;
      }
      break;
    case Slot::kPreTokenizer: {
      if (step.kind >= static_cast<uint8_t>(PreTokenizerKind::kCount)) return false;
      const auto kind = static_cast<PreTokenizerKind>(step.kind);
      if (kind == PreTokenizerKind::kByteLevel) needs_pattern = has_pattern;
      if (kind == PreTokenizerKind::kSplit) needs_pattern = true;
      needs_character = kind == PreTokenizerKind::kMetaspace;
      if (kind == PreTokenizerKind::kFixedLength && step.number == 0) return false;
      break;
    }
    case Slot::kDecoder: {
      if (step.kind >= static_cast<uint8_t>(DecoderKind::kCount)) return false;
      const auto kind = static_cast<DecoderKind>(step.kind);
      needs_pattern = kind == DecoderKind::kReplace;
      needs_character = kind == DecoderKind::kMetaspace || kind == DecoderKind::kStrip;
      break;
    }
  }
  if (needs_pattern != has_pattern) return false;
  return !needs_character ||
         (!step.text.empty() && step.text.size() == static_cast<size_t>(Utf8Length(step.text[0])));
}

absl::Status ReadSteps(Slot slot, Reader* reader, std::vector<Step>* steps) {
  const uint32_t count = reader->Count(kStepBytes);
  for (uint32_t i = 0; i < count && reader->ok(); ++i) {
    Step step;
    const uint32_t kinds = reader->Number();
    step.kind = static_cast<uint8_t>(kinds & 0xFF);
    step.pattern = static_cast<PatternKind>(kinds >> 8 & 3);
    step.number = reader->Number();
    step.number2 = reader->Number();
    step.text = reader->String();
    step.content = reader->String();
    step.blob = reader->Bytes();
    if (!reader->ok() || kinds >> 10 != 0 || step.pattern > PatternKind::kRegex ||
        !IsSane(slot, step)) {
      return Damaged("a step");
    }
    steps->push_back(std::move(step));
  }
  return absl::OkStatus();
}

absl::Status ReadIds(uint32_t vocab_size, Reader* reader, std::vector<int32_t>* ids) {
  const uint32_t count = reader->Count(4);
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t id = reader->Number();
    if (id >= vocab_size) return Damaged("an id beyond the vocabulary");
    ids->push_back(static_cast<int32_t>(id));
  }
  return absl::OkStatus();
}

absl::Status ReadPair(uint32_t vocab_size, Reader* reader, std::vector<TemplatePart>* pair) {
  const uint32_t count = reader->Count(kTemplateBytes);
  for (uint32_t i = 0; i < count; ++i) {
    TemplatePart part;
    part.kind = static_cast<TemplatePart::Kind>(reader->Number());
    const uint32_t id = reader->Number();
    part.id = static_cast<int32_t>(id);
    part.type_id = reader->Number();
    if (part.kind >= TemplatePart::kKinds || id >= vocab_size || part.type_id > kMaxTypeId) {
      return Damaged("what is put around two texts");
    }
    pair->push_back(part);
  }
  return absl::OkStatus();
}

absl::Status ReadProgram(absl::string_view bytes, uint32_t vocab_size, Program* program) {
  Reader reader(bytes);
  NINFER_RETURN_IF_ERROR(ReadSteps(Slot::kNormalizer, &reader, &program->normalizers));
  NINFER_RETURN_IF_ERROR(ReadSteps(Slot::kPreTokenizer, &reader, &program->pre_tokenizers));
  NINFER_RETURN_IF_ERROR(ReadSteps(Slot::kDecoder, &reader, &program->decoders));
  NINFER_RETURN_IF_ERROR(ReadIds(vocab_size, &reader, &program->prefix_ids));
  NINFER_RETURN_IF_ERROR(ReadIds(vocab_size, &reader, &program->suffix_ids));
  NINFER_RETURN_IF_ERROR(ReadPair(vocab_size, &reader, &program->pair));
  program->unk_id = static_cast<int32_t>(reader.Number());
  if (program->unk_id < -1 || program->unk_id >= static_cast<int64_t>(vocab_size)) {
    return Damaged("the unknown token");
  }
  const uint64_t low = reader.Number();
  program->unk_score = std::bit_cast<double>(low | uint64_t{reader.Number()} << 32);
  program->max_word = reader.Number();
  program->continuing_subword_prefix = reader.String();
  program->end_of_word_suffix = reader.String();
  const uint32_t added = reader.Count(kAddedBytes);
  for (uint32_t i = 0; i < added && reader.ok(); ++i) {
    AddedToken token;
    const uint32_t id = reader.Number();
    const uint32_t bits = reader.Number();
    token.single_word = (bits & 1) != 0;
    token.lstrip = (bits & 2) != 0;
    token.rstrip = (bits & 4) != 0;
    token.normalized = (bits & 8) != 0;
    token.special = (bits & 16) != 0;
    token.content = reader.String();
    token.normal_form = reader.String();
    if (!reader.ok() || id >= vocab_size || bits >= 32) return Damaged("an added token");
    token.id = static_cast<int32_t>(id);
    program->added.push_back(std::move(token));
  }
  if (!reader.ok() || !reader.at_end()) return Damaged("the list of steps and added tokens");
  return absl::OkStatus();
}

// The section as an array of T, or a status.
template <typename T>
absl::Status Section(absl::string_view block, const TablesHeader& header, int index,
                     absl::Span<const T>* out) {
  const TablesHeader::Section& section = header.sections[index];
  if (section.offset % 8 != 0 || section.count > block.size() / sizeof(T) ||
      !InBounds(section.offset, section.count * sizeof(T), block.size())) {
    return Damaged(absl::StrCat("section ", index, " lies outside the block"));
  }
  *out =
      absl::MakeConstSpan(reinterpret_cast<const T*>(block.data() + section.offset), section.count);
  return absl::OkStatus();
}

bool IsPowerOfTwo(size_t n) { return n != 0 && (n & (n - 1)) == 0; }

absl::Status CheckPieces(const Tables& tables) {
  const uint32_t n = tables.vocab_size;
  if (tables.offsets.size() != size_t{n} + 1 || tables.flags.size() != n) {
    return Damaged("sections do not fit the vocabulary's size");
  }
  if (tables.offsets[0] != 0 || tables.offsets[n] != tables.pool.size()) {
    return Damaged("the pool of pieces");
  }
  for (uint32_t i = 0; i < n; ++i) {
    if (tables.offsets[i] > tables.offsets[i + 1]) return Damaged("the pool of pieces");
    // A piece that starts inside a character would make text that is not UTF-8.
    if (tables.offsets[i] < tables.pool.size() &&
        (static_cast<uint8_t>(tables.pool[tables.offsets[i]]) & 0xC0) == 0x80) {
      return Damaged("a piece starts inside a character");
    }
  }
  return IsValidUtf8(tables.pool) ? absl::OkStatus() : Damaged("pieces are not UTF-8");
}

absl::Status CheckHashes(const Tables& tables) {
  const uint32_t n = tables.vocab_size;
  size_t used = 0;
  if (!IsPowerOfTwo(tables.slots.size())) return Damaged("the table of pieces");
  for (const uint32_t id : tables.slots) {
    if (id == kNoRank) continue;
    if (id >= n) return Damaged("an id beyond the vocabulary");
    ++used;
  }
  if (used * 4 > tables.slots.size() * 3) return Damaged("the table of pieces is too full");
  used = 0;
  if (!IsPowerOfTwo(tables.merges.size())) return Damaged("the table of merges");
  for (const MergeSlot& slot : tables.merges) {
    if (slot.left == kNoRank) continue;
    if (slot.result >= n) return Damaged("a merge gives an id beyond the vocabulary");
    ++used;
  }
  if (used * 4 > tables.merges.size() * 3) return Damaged("the table of merges is too full");
  const bool by_piece = (tables.model_flags & kByPieceFlag) != 0;
  if (tables.ranks.size() != (by_piece ? n : 0)) return Damaged("the ranks of pieces");
  return absl::OkStatus();
}

absl::Status CheckModel(const Tables& tables) {
  if (tables.kind != ModelKind::kBpe && tables.program.unk_id < 0) {
    return Damaged("no unknown token");
  }
  if (tables.kind != ModelKind::kUnigram) return absl::OkStatus();
  if (tables.scores.size() != tables.vocab_size) return Damaged("the scores of pieces");
  return tables.trie.IsSound(tables.vocab_size) ? absl::OkStatus() : Damaged("the tree of pieces");
}

}  // namespace

uint64_t PieceHash(absl::string_view text) { return Hash64(text); }

int32_t Tables::FindPiece(absl::string_view text, uint64_t hash, uint8_t flags_wanted) const {
  const size_t mask = slots.size() - 1;
  for (size_t i = hash & mask;; i = (i + 1) & mask) {
    if (slots[i] == kNoRank) return -1;
    if (piece(slots[i]) == text && (flags[slots[i]] & flags_wanted) == flags_wanted) {
      return static_cast<int32_t>(slots[i]);
    }
  }
}

const MergeSlot* Tables::FindMerge(uint32_t left, uint32_t right) const {
  const size_t mask = merges.size() - 1;
  for (size_t i = MergeHash(left, right) & mask;; i = (i + 1) & mask) {
    const MergeSlot& slot = merges[i];
    if (slot.left == kNoRank) return nullptr;
    if (slot.left == left && slot.right == right) return &slot;
  }
}

uint64_t FlagsOffset(absl::string_view block) {
  TablesHeader header;
  std::memcpy(&header, block.data(), sizeof(header));
  return header.sections[kFlagsSection].offset;
}

absl::Status ParseTables(absl::string_view block, Tables* tables) {
  TablesHeader header;
  if (block.size() < sizeof(header)) return Damaged("shorter than its header");
  std::memcpy(&header, block.data(), sizeof(header));
  if (header.magic != kTablesMagic) return Damaged("no magic number");
  if (header.version != kTablesVersion) {
    return InvalidArgument("tokenizer tables: expected version ", kTablesVersion, ", found ",
                           header.version);
  }
  if (header.size != block.size()) {
    return InvalidArgument("tokenizer tables: expected ", header.size, " bytes, found ",
                           block.size());
  }
  if ((header.model_flags & ~kAllModelFlags) != 0) return Damaged("unknown flags");
  if (header.vocab_size > kMaxVocabulary) return Damaged("the vocabulary's size");
  if (header.kind >= static_cast<uint32_t>(ModelKind::kCount)) return Damaged("the kind of model");
  tables->kind = static_cast<ModelKind>(header.kind);
  tables->model_flags = header.model_flags;
  tables->vocab_size = header.vocab_size;
  absl::Span<const char> pool;
  absl::Span<const char> program;
  NINFER_RETURN_IF_ERROR(Section(block, header, kOffsetsSection, &tables->offsets));
  NINFER_RETURN_IF_ERROR(Section(block, header, kPoolSection, &pool));
  NINFER_RETURN_IF_ERROR(Section(block, header, kFlagsSection, &tables->flags));
  NINFER_RETURN_IF_ERROR(Section(block, header, kSlotsSection, &tables->slots));
  NINFER_RETURN_IF_ERROR(Section(block, header, kMergesSection, &tables->merges));
  NINFER_RETURN_IF_ERROR(Section(block, header, kRanksSection, &tables->ranks));
  NINFER_RETURN_IF_ERROR(Section(block, header, kScoresSection, &tables->scores));
  NINFER_RETURN_IF_ERROR(Section(block, header, kTrieFirstSection, &tables->trie.first));
  NINFER_RETURN_IF_ERROR(Section(block, header, kTrieLabelsSection, &tables->trie.labels));
  NINFER_RETURN_IF_ERROR(Section(block, header, kTrieValuesSection, &tables->trie.values));
  NINFER_RETURN_IF_ERROR(Section(block, header, kProgramSection, &program));
  tables->pool = absl::string_view(pool.data(), pool.size());
  NINFER_RETURN_IF_ERROR(CheckPieces(*tables));
  NINFER_RETURN_IF_ERROR(CheckHashes(*tables));
  NINFER_RETURN_IF_ERROR(ReadProgram(absl::string_view(program.data(), program.size()),
                                     tables->vocab_size, &tables->program));
  return CheckModel(*tables);
}

}  // namespace ninfer
