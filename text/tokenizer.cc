// The pipeline: added tokens are cut out, the rest is normalized, cut into words and encoded. The
// order is that of Hugging Face tokenizers: tokens that are not `normalized` are found in the text
// as it is, the others in normalized text, and every piece between them is normalized on its own.
// Tested by tests/text_zoo_test.cc, tests/text_models_test.cc and tests/text_robustness_test.cc.
#include "text/tokenizer.h"

#include <cstring>

#include "absl/container/flat_hash_map.h"
#include "base/status.h"
#include "text/added_tokens.h"
#include "text/decode.h"
#include "text/model.h"
#include "text/normalize.h"
#include "text/pretokenize.h"
#include "text/tables.h"
#include "text/unicode.h"

namespace ninfer {

namespace {

// Bytes of pieces that are looked up whole. A model may take time quadratic in a piece to say
// whether it can be, and words are not longer.
constexpr size_t kMaxWhole = 256;

}  // namespace

struct Tokenizer::Impl {
  std::unique_ptr<uint64_t[]> storage;  // aligned
  size_t size = 0;
  Tables tables;
  std::vector<CompiledStep> normalizers;
  std::vector<CompiledStep> pre_tokenizers;
  std::vector<CompiledStep> decoders;
  AddedTokenMatcher raw_matcher;
  AddedTokenMatcher normalized_matcher;
  absl::flat_hash_map<int32_t, std::string> decoded_as;  // where that is not the piece
  std::unique_ptr<WordModel> model;

  absl::string_view block() const {
    return absl::string_view(reinterpret_cast<const char*>(storage.get()), size);
  }
  absl::Status Init(absl::string_view bytes);
  void EncodeNormalized(absl::string_view text, bool at_start, WordList* words,
                        ModelScratch* scratch, std::vector<int32_t>* ids) const;
};

absl::Status Tokenizer::Impl::Init(absl::string_view bytes) {
  size = bytes.size();
  storage.reset(new uint64_t[size / 8 + 1]);
  std::memcpy(storage.get(), bytes.data(), size);
  NINFER_RETURN_IF_ERROR(ParseTables(block(), &tables));
  Program& program = tables.program;
  NINFER_RETURN_IF_ERROR(CompileSteps(std::move(program.normalizers), &normalizers));
  NINFER_RETURN_IF_ERROR(CompileSteps(std::move(program.pre_tokenizers), &pre_tokenizers));
  NINFER_RETURN_IF_ERROR(CompileSteps(std::move(program.decoders), &decoders));
  for (const AddedToken& token : program.added) {
    if (token.normalized && token.normal_form != token.content) {
      decoded_as[token.id] = token.normal_form;
    }
  }
  raw_matcher = AddedTokenMatcher(program.added, /*normalized=*/false);
  normalized_matcher = AddedTokenMatcher(program.added, /*normalized=*/true);
  for (CompiledStep& step : normalizers) step.kept = &normalized_matcher;
  model = WordModel::Create(&tables);
  return absl::OkStatus();
}

void Tokenizer::Impl::EncodeNormalized(absl::string_view text, bool at_start, WordList* words,
                                       ModelScratch* scratch, std::vector<int32_t>* ids) const {
  if (text.empty()) return;
  if (pre_tokenizers.empty()) {
    model->Encode(text, scratch, ids);
    return;
  }
  PreTokenize(pre_tokenizers, text, at_start, words);
  for (const WordList::Word& word : words->words) model->Encode(words->text(word), scratch, ids);
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Deserialize(absl::string_view bytes) {
  auto impl = std::make_unique<Impl>();
  NINFER_RETURN_IF_ERROR(impl->Init(bytes));
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromSpec(TokenizerSpec spec) {
  NINFER_RETURN_IF_ERROR(CheckSpec(spec));
  std::vector<CompiledStep> normalizers;
  NINFER_RETURN_IF_ERROR(CompileSteps(spec.normalizers, &normalizers));
  for (AddedToken& token : spec.added) {
    if (!token.normalized || !token.normal_form.empty()) continue;
    token.normal_form = token.content;
    bool at_start = true;
    Normalize(normalizers, &token.normal_form, &at_start);
  }
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, Deserialize(BuildTables(spec)));
  // The pieces that the model makes of their own text can be looked up whole.
  const Tables& tables = tokenizer->impl_->tables;
  auto* flags = reinterpret_cast<uint8_t*>(tokenizer->impl_->storage.get()) +
                FlagsOffset(tokenizer->impl_->block());
  ModelScratch scratch;
  std::vector<int32_t> ids;
  for (uint32_t id = 0; id < tables.vocab_size; ++id) {
    const size_t piece_size = tables.piece(id).size();
    if ((tables.flags[id] & kInModel) == 0 || piece_size == 0 || piece_size > kMaxWhole) continue;
    ids.clear();
    tokenizer->impl_->model->EncodeWord(tables.piece(id), &scratch, &ids);
    if (ids.size() == 1 && ids[0] == static_cast<int32_t>(id)) flags[id] |= kWhole;
  }
  return tokenizer;
}

std::string Tokenizer::Serialize() const { return std::string(impl_->block()); }

std::vector<int32_t> Tokenizer::Encode(absl::string_view text, bool add_special_tokens,
                                       bool special_in_text) const {
  std::string repaired;
  if (!IsValidUtf8(text)) {
    repaired = RepairUtf8(text);
    text = repaired;
  }
  const Program& program = impl_->tables.program;
  std::vector<int32_t> ids;
  if (add_special_tokens) ids = program.prefix_ids;
  ModelScratch scratch;
  WordList words;
  std::string normalized;
  std::vector<AddedTokenMatcher::Span> spans;
  std::vector<AddedTokenMatcher::Span> inner;
  impl_->raw_matcher.Split(text, special_in_text, &spans);
  for (const AddedTokenMatcher::Span& span : spans) {
    if (span.id >= 0) {
      ids.push_back(span.id);
      continue;
    }
    absl::string_view segment = text.substr(span.begin, span.end - span.begin);
    bool at_start = span.begin == 0;
    if (!impl_->normalizers.empty()) {
      normalized.assign(segment.data(), segment.size());
      Normalize(impl_->normalizers, &normalized, &at_start);
      segment = normalized;
    }
    impl_->normalized_matcher.Split(segment, special_in_text, &inner);
    for (const AddedTokenMatcher::Span& part : inner) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        impl_->EncodeNormalized(segment.substr(part.begin, part.end - part.begin),
                                at_start && part.begin == 0, &words, &scratch, &ids);
      }
    }
  }
  if (add_special_tokens) {
    ids.insert(ids.end(), program.suffix_ids.begin(), program.suffix_ids.end());
  }
  return ids;
}

Tokenizer::Pair Tokenizer::EncodePair(absl::string_view first, absl::string_view second) const {
  const Program& program = impl_->tables.program;
  std::vector<TemplatePart> parts = program.pair;
  if (parts.empty()) {
    for (uint32_t i = 0; i < 2; ++i) {
      for (const int32_t id : program.prefix_ids) parts.push_back({TemplatePart::kToken, id, i});
      parts.push_back({i == 0 ? TemplatePart::kTextA : TemplatePart::kTextB, 0, i});
      for (const int32_t id : program.suffix_ids) parts.push_back({TemplatePart::kToken, id, i});
    }
  }
  Pair pair;
  for (const TemplatePart& part : parts) {
    if (part.kind == TemplatePart::kToken) {
      pair.ids.push_back(part.id);
    } else {
      const auto ids = Encode(part.kind == TemplatePart::kTextA ? first : second, false);
      pair.ids.insert(pair.ids.end(), ids.begin(), ids.end());
    }
    pair.type_ids.resize(pair.ids.size(), part.type_id);
  }
  return pair;
}

std::string Tokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special_tokens) const {
  const std::unique_ptr<DecodeChain> chain = NewDecodeChain();
  for (const int32_t id : ids) PushPiece(id, skip_special_tokens, chain.get());
  chain->Finish();
  return chain->Take();
}

std::unique_ptr<DecodeChain> Tokenizer::NewDecodeChain() const {
  return std::make_unique<DecodeChain>(impl_->decoders,
                                       (impl_->tables.model_flags & kHasDecoderFlag) != 0);
}

void Tokenizer::PushPiece(int32_t id, bool skip_special_tokens, DecodeChain* chain) const {
  if (id < 0 || id >= vocab_size()) return;
  const uint8_t flags = impl_->tables.flags[id];
  if ((flags & kPresent) == 0 || (skip_special_tokens && (flags & kSkipped) != 0)) return;
  const auto it = impl_->decoded_as.find(id);
  chain->Push(it != impl_->decoded_as.end() ? it->second : impl_->tables.piece(id));
}

std::string Tokenizer::IdToPiece(int32_t id) const {
  if (id < 0 || id >= vocab_size()) return "";
  return std::string(impl_->tables.piece(id));
}

absl::optional<int32_t> Tokenizer::PieceToId(absl::string_view piece) const {
  const int32_t id = impl_->tables.FindPiece(piece, PieceHash(piece));
  if (id < 0) return absl::nullopt;
  return id;
}

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(impl_->tables.vocab_size); }

bool Tokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && id < vocab_size() && (impl_->tables.flags[id] & kSpecial) != 0;
}

absl::Span<const int32_t> Tokenizer::prefix_ids() const { return impl_->tables.program.prefix_ids; }

absl::Span<const int32_t> Tokenizer::suffix_ids() const { return impl_->tables.program.suffix_ids; }

}  // namespace ninfer
