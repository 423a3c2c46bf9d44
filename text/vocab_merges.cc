// The older files: of byte-level BPE a JSON object of pieces and ids, and a list of merges, one a
// line; of BERT a list of pieces, one a line.
// Tested by tests/text_json_test.cc.
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "text/tokenizer_json.h"

namespace ninfer {
namespace {

// A token that a config names, by its text or as an object.
absl::StatusOr<std::string> TokenOf(const Json& config, const char* key, const char* fallback,
                                    const std::string& where) {
  const Json* token = Field(config, key);
  if (token == nullptr) return std::string(fallback);
  if (token->is_object()) return StringField(*token, "content", absl::StrCat(where, ": ", key));
  return StringField(config, key, where);
}

}  // namespace

absl::Status AddPieces(const Json& vocabulary, absl::string_view where, SpecBuilder* builder) {
  for (const auto& [piece, id] : vocabulary.items()) {
    if (!id.is_number_integer() || (id.is_number_unsigned() && id.get<uint64_t>() > INT64_MAX)) {
      return WrongType(absl::StrCat(where, ": '", piece, "'"), "a whole number", &id);
    }
    NINFER_RETURN_IF_ERROR(Annotate(builder->AddPiece(piece, id.get<int64_t>()), where));
  }
  return absl::OkStatus();
}

absl::Status AddMergeLine(absl::string_view line, absl::string_view where, SpecBuilder* builder) {
  if (absl::StartsWith(line, "#version")) return absl::OkStatus();
  const size_t blank = line.find(' ');
  if (blank == absl::string_view::npos || line.find(' ', blank + 1) != absl::string_view::npos) {
    return InvalidArgument(where, ": expected two pieces and a blank, found '", line, "'");
  }
  return Annotate(builder->AddMerge(line.substr(0, blank), line.substr(blank + 1)), where);
}

absl::Status ReadVocabulary(absl::string_view text, absl::string_view name, SpecBuilder* builder) {
  NINFER_ASSIGN_OR_RETURN(const Json json, ParseJsonObject(text, name));
  return AddPieces(json, name, builder);
}

absl::Status ReadMerges(absl::string_view text, absl::string_view name, SpecBuilder* builder) {
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    NINFER_RETURN_IF_ERROR(AddMergeLine(line, absl::StrCat(name, ": line ", number), builder));
  }
  return absl::OkStatus();
}

absl::Status ReadBertVocabulary(absl::string_view text, absl::string_view name, const Json& config,
                                const std::string& where, SpecBuilder* builder) {
  TokenizerSpec& spec = builder->spec;
  spec.kind = ModelKind::kWordPiece;
  spec.continuing_subword_prefix = "##";
  spec.max_word = 100;
  int64_t id = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripTrailingAsciiWhitespace(line);
    if (!line.empty()) NINFER_RETURN_IF_ERROR(Annotate(builder->AddPiece(line, id), name));
    ++id;
  }
  NINFER_ASSIGN_OR_RETURN(const bool lower, BoolField(config, "do_lower_case", where, true));
  NINFER_ASSIGN_OR_RETURN(const bool chinese,
                          BoolField(config, "tokenize_chinese_chars", where, true));
  NINFER_ASSIGN_OR_RETURN(const bool strip, BoolField(config, "strip_accents", where, lower));
  NINFER_ASSIGN_OR_RETURN(const std::string unk, TokenOf(config, "unk_token", "[UNK]", where));
  NINFER_ASSIGN_OR_RETURN(const std::string cls, TokenOf(config, "cls_token", "[CLS]", where));
  NINFER_ASSIGN_OR_RETURN(const std::string sep, TokenOf(config, "sep_token", "[SEP]", where));
  const std::string* named[] = {&unk, &cls, &sep};
  int32_t ids[3];
  for (int i = 0; i < 3; ++i) {
    ids[i] = builder->FindPiece(*named[i]);
    if (ids[i] < 0) {
      return InvalidArgument(name, ": expected the piece '", *named[i], "', found none");
    }
    AddedToken token;
    token.content = *named[i];
    token.special = true;
    token.normalized = false;
    builder->AddToken(std::move(token));
  }
  spec.unk_id = ids[0];
  spec.prefix_ids = {ids[1]};
  spec.suffix_ids = {ids[2]};
  spec.pair = {{TemplatePart::kToken, ids[1], 0},
               {TemplatePart::kTextA, 0, 0},
               {TemplatePart::kToken, ids[2], 0},
               {TemplatePart::kTextB, 0, 1},
               {TemplatePart::kToken, ids[2], 1}};
  Step step;
  step.kind = static_cast<uint8_t>(NormalizerKind::kBert);
  step.number = kBertClean | (chinese ? kBertChinese : 0) | (strip ? kBertStripAccents : 0) |
                (lower ? kBertLowercase : 0);
  spec.normalizers.push_back(step);
  step.kind = static_cast<uint8_t>(PreTokenizerKind::kBert);
  step.number = 0;
  spec.pre_tokenizers.push_back(step);
  step.kind = static_cast<uint8_t>(DecoderKind::kWordPiece);
  step.number = 1;
  step.text = "##";
  spec.decoders.push_back(step);
  spec.has_decoder = true;
  return absl::OkStatus();
}

}  // namespace ninfer
