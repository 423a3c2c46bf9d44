// tokenizer.model is a protocol buffer (sentencepiece_model.proto); the few fields that are needed
// are read here from the wire format. BPE and Unigram models.
//
// Control pieces become special tokens, user-defined pieces become added tokens that are looked for
// in normalized text; merges of BPE go by the pieces' scores, equal scores by place.
// Tested by tests/text_sentencepiece_test.cc.
#include "text/sentencepiece_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "text/charsmap.h"
#include "text/unicode.h"

namespace ninfer {
namespace {

constexpr uint64_t kUnigramType = 1;
constexpr uint64_t kBpeType = 2;
constexpr float kUnknownPenalty = 10;  // below the least score

struct WireField {
  uint32_t number = 0;
  uint32_t type = 0;
  uint64_t value = 0;       // types 0, 1 and 5
  absl::string_view bytes;  // type 2
};

// Reads fields one by one. Next gives false at the end and where the bytes are not a message.
class WireReader {
 public:
  explicit WireReader(absl::string_view bytes) : bytes_(bytes) {}

  bool Next(WireField* field) {
    uint64_t tag = 0;
    if (bytes_.empty() || !Varint(&tag)) return false;
    field->number = static_cast<uint32_t>(tag >> 3);
    field->type = static_cast<uint32_t>(tag & 7);
    switch (field->type) {
      case 0:
        return Varint(&field->value);
      case 1:
        return Fixed(8, field);
      case 5:
        return Fixed(4, field);
      case 2: {
        uint64_t size = 0;
        if (!Varint(&size) || size > bytes_.size()) return Fail();
        field->bytes = bytes_.substr(0, size);
        bytes_.remove_prefix(size);
        return true;
      }
      default:
        return Fail();
    }
  }
  bool ok() const { return ok_; }

 private:
  bool Fail() {
    ok_ = false;
    return false;
  }
  bool Varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (bytes_.empty()) return Fail();
      const auto byte = static_cast<uint8_t>(bytes_[0]);
      bytes_.remove_prefix(1);
      *value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return true;
    }
    return Fail();
  }
  bool Fixed(size_t size, WireField* field) {
    if (bytes_.size() < size) return Fail();
    field->value = 0;
    std::memcpy(&field->value, bytes_.data(), size);
    bytes_.remove_prefix(size);
    return true;
  }
  absl::string_view bytes_;
  bool ok_ = true;
};

enum PieceType {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

struct Model {
  struct Piece {
    std::string text;
    float score = 0;
    uint64_t type = kNormal;
  };
  std::vector<Piece> pieces;
  uint64_t model_type = kUnigramType;
  int32_t unk_id = 0;
  int32_t bos_id = 1;
  int32_t eos_id = 2;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  std::string charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

bool ReadPiece(absl::string_view bytes, Model* model) {
  Model::Piece piece;
  WireReader reader(bytes);
  WireField field;
  while (reader.Next(&field)) {
    if (field.number == 1) piece.text = std::string(field.bytes);
    if (field.number == 2 && field.type == 5) {
      const auto bits = static_cast<uint32_t>(field.value);
      std::memcpy(&piece.score, &bits, sizeof(bits));
    }
    if (field.number == 3) piece.type = field.value;
  }
  model->pieces.push_back(std::move(piece));
  return reader.ok();
}

bool ReadTrainerSpec(absl::string_view bytes, Model* model) {
  WireReader reader(bytes);
  WireField field;
  while (reader.Next(&field)) {
    const auto id = static_cast<int32_t>(field.value);
    if (field.number == 3) model->model_type = field.value;
    if (field.number == 24) model->whitespace_as_suffix = field.value != 0;
    if (field.number == 35) model->byte_fallback = field.value != 0;
    if (field.number == 40) model->unk_id = id;
    if (field.number == 41) model->bos_id = id;
    if (field.number == 42) model->eos_id = id;
  }
  return reader.ok();
}

bool ReadNormalizerSpec(absl::string_view bytes, Model* model) {
  WireReader reader(bytes);
  WireField field;
  while (reader.Next(&field)) {
    if (field.number == 2) model->charsmap = std::string(field.bytes);
    if (field.number == 3) model->add_dummy_prefix = field.value != 0;
    if (field.number == 4) model->remove_extra_whitespaces = field.value != 0;
    if (field.number == 5) model->escape_whitespaces = field.value != 0;
  }
  return reader.ok();
}

bool ReadModel(absl::string_view bytes, Model* model) {
  WireReader reader(bytes);
  WireField field;
  while (reader.Next(&field)) {
    if (field.type != 2) continue;
    if (field.number == 1 && !ReadPiece(field.bytes, model)) return false;
    if (field.number == 2 && !ReadTrainerSpec(field.bytes, model)) return false;
    if (field.number == 3 && !ReadNormalizerSpec(field.bytes, model)) return false;
  }
  return reader.ok() && !model->pieces.empty();
}

absl::Status CheckSupported(const Model& model, absl::string_view name) {
  constexpr const char* kTypes[] = {"", "Unigram", "BPE", "Word", "Char"};
  if (model.model_type != kUnigramType && model.model_type != kBpeType) {
    return InvalidArgument(name, ": ",
                           model.model_type < 5 ? kTypes[model.model_type] : "model type",
                           " is not supported (BPE and Unigram are)");
  }
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Model::Piece& piece = model.pieces[id];
    if ((piece.type == kUnused && model.model_type == kBpeType) || piece.type < kNormal ||
        piece.type > kByte) {
      return InvalidArgument(name, ": piece ", id, ": type ", piece.type, " is not supported");
    }
    if (!IsValidUtf8(piece.text)) return InvalidArgument(name, ": piece ", id, ": not UTF-8");
    if (!(piece.score == piece.score)) {
      return InvalidArgument(name, ": piece ", id, ": its score is not a number");
    }
  }
  if (!model.charsmap.empty()) {
    NINFER_RETURN_IF_ERROR(Annotate(CharsMap::Parse(model.charsmap).status(), name));
  }
  if (model.unk_id < 0 || static_cast<size_t>(model.unk_id) >= model.pieces.size()) {
    return InvalidArgument(name, ": unk_id: expected 0 to ", model.pieces.size() - 1, ", found ",
                           model.unk_id);
  }
  return absl::OkStatus();
}

Step ReplaceStep(uint8_t kind, PatternKind pattern, std::string text, std::string content) {
  Step step;
  step.kind = kind;
  step.pattern = pattern;
  step.text = std::move(text);
  step.content = std::move(content);
  return step;
}

void AddNormalizer(const Model& model, bool prefix_everywhere, TokenizerSpec* spec) {
  Step step;
  step.kind = static_cast<uint8_t>(NormalizerKind::kSentencePiece);
  step.number =
      (model.add_dummy_prefix ? kSpDummyPrefix : 0) | (prefix_everywhere ? kSpEverywhere : 0) |
      (model.remove_extra_whitespaces ? kSpSqueeze : 0) |
      (model.escape_whitespaces ? kSpEscape : 0) | (model.whitespace_as_suffix ? kSpSuffix : 0);
  step.blob = model.charsmap;
  spec->normalizers.push_back(std::move(step));
}

// transformers' decoder: blanks, bytes, and one blank less at the start where one was put there.
void AddDecoders(const Model& model, TokenizerSpec* spec) {
  const auto step = [](DecoderKind kind) {
    Step made;
    made.kind = static_cast<uint8_t>(kind);
    return made;
  };
  spec->has_decoder = true;
  spec->decoders.push_back(ReplaceStep(static_cast<uint8_t>(DecoderKind::kReplace),
                                       PatternKind::kLiteral, std::string(kBlank), " "));
  spec->decoders.push_back(step(DecoderKind::kByteFallback));
  spec->decoders.push_back(step(DecoderKind::kFuse));
  if (model.whitespace_as_suffix || !(model.add_dummy_prefix || model.remove_extra_whitespaces)) {
    return;
  }
  Step strip = step(DecoderKind::kStrip);
  strip.text = " ";
  strip.number = 1;
  spec->decoders.push_back(strip);
}

// Pieces by falling score; equal scores share a rank, so that the leftmost pair merges first.
std::vector<uint32_t> RankPieces(const Model& model) {
  std::vector<uint32_t> order;
  for (uint32_t id = 0; id < model.pieces.size(); ++id) {
    const uint64_t type = model.pieces[id].type;
    if (type == kNormal || type == kUserDefined) order.push_back(id);
  }
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return model.pieces[a].score > model.pieces[b].score;
  });
  std::vector<uint32_t> ranks(model.pieces.size(), kNoRank);
  uint32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && model.pieces[order[i]].score != model.pieces[order[i - 1]].score) ++rank;
    ranks[order[i]] = rank;
  }
  return ranks;
}

// Only normal and user-defined pieces take part in Unigram's choice.
void AddScores(const Model& model, TokenizerSpec* spec) {
  float least = std::numeric_limits<float>::max();
  for (const Model::Piece& piece : model.pieces) {
    const bool used = piece.type == kNormal || piece.type == kUserDefined;
    spec->scores.push_back(used ? piece.score : std::nan(""));
    if (piece.type == kNormal) least = std::min(least, piece.score);
  }
  spec->unk_score = least - kUnknownPenalty;
  spec->float_scores = true;
}

absl::Status AddAround(const Model& model, int32_t id, absl::string_view which,
                       absl::string_view name, std::vector<int32_t>* ids) {
  if (id < 0) return absl::OkStatus();  // the model has none
  if (static_cast<size_t>(id) >= model.pieces.size()) {
    return InvalidArgument(name, ": ", which, ": expected an id below ", model.pieces.size(),
                           ", found ", id);
  }
  ids->push_back(id);
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadSentencePieceModel(absl::string_view bytes, absl::string_view name,
                                    const SentencePieceOptions& options, SpecBuilder* builder) {
  Model model;
  if (!ReadModel(bytes, &model)) {
    return InvalidArgument(name, ": expected a SentencePiece model, found other or damaged bytes");
  }
  NINFER_RETURN_IF_ERROR(CheckSupported(model, name));
  TokenizerSpec& spec = builder->spec;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    NINFER_RETURN_IF_ERROR(
        Annotate(builder->AddPiece(model.pieces[id].text, static_cast<int64_t>(id)), name));
  }
  if (model.model_type == kBpeType) {
    spec.piece_ranks = RankPieces(model);
  } else {
    spec.kind = ModelKind::kUnigram;
    AddScores(model, &spec);
  }
  spec.byte_fallback = model.byte_fallback;
  spec.fuse_unk = true;
  spec.unk_id = model.unk_id;
  for (const Model::Piece& piece : model.pieces) {
    if (piece.type != kControl && piece.type != kUnknown && piece.type != kUserDefined) continue;
    AddedToken token;
    token.content = piece.text;
    token.special = piece.type != kUserDefined;
    token.normalized = piece.type == kUserDefined;
    if (token.normalized) token.normal_form = piece.text;
    builder->AddToken(std::move(token));
  }
  AddNormalizer(model, options.prefix_everywhere, &spec);
  AddDecoders(model, &spec);
  if (options.add_bos) {
    NINFER_RETURN_IF_ERROR(AddAround(model, model.bos_id, "bos_id", name, &spec.prefix_ids));
  }
  if (options.add_eos) {
    NINFER_RETURN_IF_ERROR(AddAround(model, model.eos_id, "eos_id", name, &spec.suffix_ids));
  }
  return absl::OkStatus();
}

}  // namespace ninfer
