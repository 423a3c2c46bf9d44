// tokenizer.json: the model and the added tokens. Fields, defaults and older forms follow the
// `tokenizers` library.
// Tested by tests/text_json_test.cc and tests/text_zoo_test.cc.
#include "text/tokenizer_json.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "base/status.h"

namespace ninfer {
namespace {

constexpr double kUnknownPenalty = 10;  // below the least score

absl::Status ReadVocab(const Json& model, const std::string& where, SpecBuilder* builder) {
  const Json* vocab = Field(model, "vocab");
  if (vocab == nullptr || !vocab->is_object()) {
    return WrongType(absl::StrCat(where, ".vocab"), "an object", vocab);
  }
  return AddPieces(*vocab, absl::StrCat(where, ".vocab"), builder);
}

absl::Status ReadMergeList(const Json& model, const std::string& where, SpecBuilder* builder) {
  const Json* merges = Field(model, "merges");
  if (merges == nullptr || !merges->is_array()) {
    return WrongType(absl::StrCat(where, ".merges"), "a list", merges);
  }
  for (size_t i = 0; i < merges->size(); ++i) {
    const Json& merge = (*merges)[i];
    const std::string place = absl::StrCat(where, ".merges[", i, "]");
    if (merge.is_string()) {
      NINFER_RETURN_IF_ERROR(AddMergeLine(merge.get_ref<const std::string&>(), place, builder));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      NINFER_RETURN_IF_ERROR(Annotate(builder->AddMerge(merge[0].get_ref<const std::string&>(),
                                                        merge[1].get_ref<const std::string&>()),
                                      place));
    } else {
      return WrongType(place, "a string or two strings", &merge);
    }
  }
  return absl::OkStatus();
}

// Many a BPE names an unknown token that was never trained, and never meets a character that needs
// it; where it does, the reference implementation fails, and here the character is left out as by a
// model that names none.
absl::Status ReadUnknown(const Json& model, const std::string& where, bool required,
                         SpecBuilder* builder) {
  NINFER_ASSIGN_OR_RETURN(const std::string unk, StringField(model, "unk_token", where, ""));
  if (!required && Field(model, "unk_token") == nullptr) return absl::OkStatus();
  builder->spec.unk_id = builder->FindPiece(unk);
  if (required && builder->spec.unk_id < 0) {
    return InvalidArgument(where, ".unk_token: '", unk, "' is not in the vocabulary");
  }
  return absl::OkStatus();
}

absl::Status ReadBpe(const Json& model, const std::string& where, SpecBuilder* builder) {
  TokenizerSpec& spec = builder->spec;
  const Json* dropout = Field(model, "dropout");
  if (dropout != nullptr && (!dropout->is_number() || dropout->get<double>() != 0)) {
    return InvalidArgument(where, ".dropout: expected null or 0, found ",
                           dropout->is_number() ? dropout->dump() : dropout->type_name());
  }
  NINFER_ASSIGN_OR_RETURN(spec.byte_fallback, BoolField(model, "byte_fallback", where, false));
  NINFER_ASSIGN_OR_RETURN(spec.fuse_unk, BoolField(model, "fuse_unk", where, false));
  NINFER_ASSIGN_OR_RETURN(spec.ignore_merges, BoolField(model, "ignore_merges", where, false));
  NINFER_ASSIGN_OR_RETURN(spec.continuing_subword_prefix,
                          StringField(model, "continuing_subword_prefix", where, ""));
  NINFER_ASSIGN_OR_RETURN(spec.end_of_word_suffix,
                          StringField(model, "end_of_word_suffix", where, ""));
  NINFER_RETURN_IF_ERROR(ReadVocab(model, where, builder));
  NINFER_RETURN_IF_ERROR(ReadMergeList(model, where, builder));
  return ReadUnknown(model, where, /*required=*/false, builder);
}

absl::Status ReadWordPiece(const Json& model, const std::string& where, SpecBuilder* builder) {
  TokenizerSpec& spec = builder->spec;
  spec.kind = ModelKind::kWordPiece;
  NINFER_ASSIGN_OR_RETURN(spec.continuing_subword_prefix,
                          StringField(model, "continuing_subword_prefix", where, "##"));
  int64_t longest = 100;
  if (Field(model, "max_input_chars_per_word") != nullptr) {
    NINFER_ASSIGN_OR_RETURN(longest, IntField(model, "max_input_chars_per_word", where));
  }
  if (longest < 0) {
    return InvalidArgument(where, ".max_input_chars_per_word: expected 0 or more, found ", longest);
  }
  spec.max_word = static_cast<uint32_t>(std::min<int64_t>(longest, UINT32_MAX));
  NINFER_RETURN_IF_ERROR(ReadVocab(model, where, builder));
  return ReadUnknown(model, where, /*required=*/true, builder);
}

absl::Status ReadWordLevel(const Json& model, const std::string& where, SpecBuilder* builder) {
  builder->spec.kind = ModelKind::kWordLevel;
  NINFER_RETURN_IF_ERROR(ReadVocab(model, where, builder));
  return ReadUnknown(model, where, /*required=*/true, builder);
}

absl::Status ReadUnigram(const Json& model, const std::string& where, SpecBuilder* builder) {
  TokenizerSpec& spec = builder->spec;
  spec.kind = ModelKind::kUnigram;
  spec.fuse_unk = true;
  NINFER_ASSIGN_OR_RETURN(spec.byte_fallback, BoolField(model, "byte_fallback", where, false));
  const Json* vocab = Field(model, "vocab");
  if (vocab == nullptr || !vocab->is_array()) {
    return WrongType(absl::StrCat(where, ".vocab"), "a list", vocab);
  }
  double least = std::numeric_limits<double>::infinity();
  for (size_t id = 0; id < vocab->size(); ++id) {
    const Json& entry = (*vocab)[id];
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      return WrongType(absl::StrCat(where, ".vocab[", id, "]"), "a piece and its score", &entry);
    }
    NINFER_RETURN_IF_ERROR(Annotate(
        builder->AddPiece(entry[0].get_ref<const std::string&>(), static_cast<int64_t>(id)),
        absl::StrCat(where, ".vocab")));
    spec.scores.push_back(entry[1].get<double>());
    least = std::min(least, spec.scores.back());
  }
  spec.unk_score = least - kUnknownPenalty;
  NINFER_ASSIGN_OR_RETURN(const int64_t unk_id, IntField(model, "unk_id", where));
  if (unk_id < 0 || static_cast<size_t>(unk_id) >= vocab->size()) {
    return InvalidArgument(where, ".unk_id: expected an id below ", vocab->size(), ", found ",
                           unk_id);
  }
  spec.unk_id = static_cast<int32_t>(unk_id);
  return absl::OkStatus();
}

// Files of older versions leave the type out.
std::string GuessType(const Json& model) {
  if (Field(model, "merges") != nullptr) return "BPE";
  if (Field(model, "max_input_chars_per_word") != nullptr) return "WordPiece";
  const Json* vocab = Field(model, "vocab");
  if (vocab != nullptr && vocab->is_array()) return "Unigram";
  return Field(model, "unk_token") != nullptr ? "WordLevel" : "";
}

absl::Status ReadModel(const Json& model, const std::string& where, SpecBuilder* builder) {
  NINFER_ASSIGN_OR_RETURN(const std::string type,
                          StringField(model, "type", where, GuessType(model)));
  if (type == "BPE") return ReadBpe(model, where, builder);
  if (type == "WordPiece") return ReadWordPiece(model, where, builder);
  if (type == "WordLevel") return ReadWordLevel(model, where, builder);
  if (type == "Unigram") return ReadUnigram(model, where, builder);
  return InvalidArgument(where, ": expected BPE, Unigram, WordPiece or WordLevel, found ",
                         type.empty() ? "no type" : type);
}

absl::Status CheckPostProcessorIds(const std::string& where, const TokenizerSpec& spec) {
  int32_t limit = static_cast<int32_t>(spec.pieces.size());
  for (const AddedToken& token : spec.added) limit = std::max(limit, token.id + 1);
  std::vector<int32_t> ids = spec.prefix_ids;
  ids.insert(ids.end(), spec.suffix_ids.begin(), spec.suffix_ids.end());
  for (const TemplatePart& part : spec.pair) ids.push_back(part.id);
  for (const int32_t id : ids) {
    if (id >= limit) {
      return InvalidArgument(where, ": expected ids below ", limit, ", found ", id);
    }
  }
  return absl::OkStatus();
}

// The id itself follows from the vocabulary and the tokens before, as in the library.
absl::Status CheckTokenId(const Json& token, absl::string_view where) {
  if (!token.is_object()) return WrongType(where, "an object", &token);
  NINFER_ASSIGN_OR_RETURN(const int64_t id, IntField(token, "id", where));
  if (id >= 0) return absl::OkStatus();
  return InvalidArgument(where, ": id: expected a number from 0 on, found ", id);
}

}  // namespace

absl::StatusOr<AddedToken> ReadAddedToken(const Json& json, absl::string_view where, bool special) {
  if (!json.is_object()) return WrongType(where, "an object", &json);
  AddedToken token;
  NINFER_ASSIGN_OR_RETURN(token.content, StringField(json, "content", where));
  NINFER_ASSIGN_OR_RETURN(token.single_word, BoolField(json, "single_word", where, false));
  NINFER_ASSIGN_OR_RETURN(token.lstrip, BoolField(json, "lstrip", where, false));
  NINFER_ASSIGN_OR_RETURN(token.rstrip, BoolField(json, "rstrip", where, false));
  NINFER_ASSIGN_OR_RETURN(token.special, BoolField(json, "special", where, special));
  NINFER_ASSIGN_OR_RETURN(token.normalized, BoolField(json, "normalized", where, !token.special));
  return token;
}

absl::Status ReadTokenizerJson(absl::string_view text, absl::string_view name,
                               SpecBuilder* builder) {
  NINFER_ASSIGN_OR_RETURN(const Json json, ParseJsonObject(text, name));
  const std::string prefix = absl::StrCat(name, ": ");
  NINFER_ASSIGN_OR_RETURN(const std::string version, StringField(json, "version", name, "1.0"));
  if (version != "1.0") return InvalidArgument(name, ": expected version 1.0, found ", version);
  const Json* model = Field(json, "model");
  if (model == nullptr || !model->is_object()) {
    return WrongType(prefix + "model", "an object", model);
  }
  TokenizerSpec& spec = builder->spec;
  NINFER_RETURN_IF_ERROR(ReadModel(*model, prefix + "model", builder));
  if (const Json* part = Field(json, "normalizer")) {
    NINFER_RETURN_IF_ERROR(ReadNormalizer(*part, prefix + "normalizer", &spec.normalizers));
  }
  if (const Json* part = Field(json, "pre_tokenizer")) {
    NINFER_RETURN_IF_ERROR(ReadPreTokenizer(*part, prefix + "pre_tokenizer", &spec.pre_tokenizers));
  }
  if (const Json* part = Field(json, "decoder")) {
    NINFER_RETURN_IF_ERROR(ReadDecoder(*part, prefix + "decoder", &spec.decoders));
    spec.has_decoder = true;
  }
  if (const Json* added = json.contains("added_tokens") ? &json["added_tokens"] : nullptr) {
    if (!added->is_array()) return WrongType(prefix + "added_tokens", "a list", added);
    for (const Json& entry : *added) {
      NINFER_RETURN_IF_ERROR(CheckTokenId(entry, prefix + "added_tokens"));
      NINFER_ASSIGN_OR_RETURN(AddedToken token,
                              ReadAddedToken(entry, prefix + "added_tokens", false));
      builder->AddToken(std::move(token));
    }
  }
  const std::string where = prefix + "post_processor";
  if (const Json* part = Field(json, "post_processor")) {
    NINFER_RETURN_IF_ERROR(ReadPostProcessor(*part, where, &spec));
  }
  return CheckPostProcessorIds(where, spec);
}

}  // namespace ninfer
