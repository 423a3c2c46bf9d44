// tokenizer.json: the model, the added tokens and the post-processor. Fields, defaults and older
// forms follow the `tokenizers` library.
// Tested by tests/text_json_test.cc and tests/text_zoo_test.cc.
#include "text/tokenizer_json.h"

#include <vector>

#include "base/status.h"

namespace ninfer {
namespace {

constexpr int kMaxDepth = 16;

absl::Status ReadVocab(const Json& model, const std::string& where, SpecBuilder* builder) {
  const Json* vocab = Field(model, "vocab");
  if (vocab == nullptr || !vocab->is_object()) {
    return WrongType(absl::StrCat(where, ".vocab"), "an object", vocab);
  }
  for (const auto& [piece, id] : vocab->items()) {
    if (!id.is_number_integer() || (id.is_number_unsigned() && id.get<uint64_t>() > INT64_MAX)) {
      return WrongType(absl::StrCat(where, ".vocab: '", piece, "'"), "a whole number", &id);
    }
    NINFER_RETURN_IF_ERROR(
        Annotate(builder->AddPiece(piece, id.get<int64_t>()), absl::StrCat(where, ".vocab")));
  }
  return absl::OkStatus();
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
      const auto& text = merge.get_ref<const std::string&>();
      const size_t blank = text.find(' ');
      if (text.compare(0, 8, "#version") == 0) continue;
      if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos) {
        return InvalidArgument(place, ": expected two pieces and a blank, found '", text, "'");
      }
      const absl::string_view view = text;
      NINFER_RETURN_IF_ERROR(
          Annotate(builder->AddMerge(view.substr(0, blank), view.substr(blank + 1)), place));
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

absl::Status ReadModel(const Json& model, const std::string& where, SpecBuilder* builder) {
  TokenizerSpec& spec = builder->spec;
  // Files of older versions leave the type out; only BPE has merges.
  NINFER_ASSIGN_OR_RETURN(
      const std::string type,
      StringField(model, "type", where, Field(model, "merges") != nullptr ? "BPE" : ""));
  if (type != "BPE") {
    return InvalidArgument(where, ": ", type.empty() ? "a model without type" : type,
                           " is not supported (BPE is)");
  }
  const Json* dropout = Field(model, "dropout");
  if (dropout != nullptr && (!dropout->is_number() || dropout->get<double>() != 0)) {
    return InvalidArgument(where, ".dropout: expected null or 0, found ", dropout->dump());
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
  NINFER_ASSIGN_OR_RETURN(const std::string unk, StringField(model, "unk_token", where, ""));
  if (Field(model, "unk_token") != nullptr) {
    spec.unk_id = builder->FindPiece(unk);
    if (spec.unk_id < 0) {
      return InvalidArgument(where, ".unk_token: '", unk, "' is not in the vocabulary");
    }
  }
  return absl::OkStatus();
}

// The ids of a special token of a TemplateProcessing.
absl::Status AppendTemplateIds(const Json& processor, const std::string& token,
                               const std::string& where, std::vector<int32_t>* ids) {
  const Json* tokens = Field(processor, "special_tokens");
  const Json* entry =
      tokens != nullptr && tokens->is_object() ? Field(*tokens, token.c_str()) : nullptr;
  const Json* list = entry != nullptr && entry->is_object() ? Field(*entry, "ids") : nullptr;
  if (list == nullptr || !list->is_array()) {
    return WrongType(absl::StrCat(where, ".special_tokens: '", token, "': ids"), "a list", list);
  }
  for (const Json& id : *list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= kMaxVocabulary) {
      return WrongType(absl::StrCat(where, ".special_tokens: '", token, "': ids"), "token ids",
                       &id);
    }
    ids->push_back(id.get<int32_t>());
  }
  return absl::OkStatus();
}

absl::Status ReadTemplate(const Json& processor, const std::string& where, TokenizerSpec* spec) {
  const Json* single = Field(processor, "single");
  if (single == nullptr || !single->is_array()) {
    return WrongType(absl::StrCat(where, ".single"), "a list", single);
  }
  std::vector<int32_t> around[2];
  int texts = 0;
  for (const Json& part : *single) {
    const Json* sequence = part.is_object() ? Field(part, "Sequence") : nullptr;
    const Json* special = part.is_object() ? Field(part, "SpecialToken") : nullptr;
    const Json* named = sequence != nullptr ? sequence : special;
    if (named == nullptr || !named->is_object()) {
      return WrongType(absl::StrCat(where, ".single"), "Sequence or SpecialToken", &part);
    }
    NINFER_ASSIGN_OR_RETURN(const std::string id, StringField(*named, "id", where + ".single"));
    if (sequence == nullptr) {
      NINFER_RETURN_IF_ERROR(AppendTemplateIds(processor, id, where, &around[texts > 0]));
    } else if (++texts > 1 || id != "A") {
      break;
    }
  }
  if (texts != 1) return InvalidArgument(where, ".single: expected the sequence A once");
  spec->prefix_ids.insert(spec->prefix_ids.begin(), around[0].begin(), around[0].end());
  spec->suffix_ids.insert(spec->suffix_ids.end(), around[1].begin(), around[1].end());
  return absl::OkStatus();
}

// The id of a ["token", id] pair of BertProcessing and RobertaProcessing.
absl::StatusOr<int32_t> PairId(const Json& processor, const char* key, const std::string& where) {
  const Json* pair = Field(processor, key);
  if (pair == nullptr || !pair->is_array() || pair->size() != 2 ||
      !(*pair)[1].is_number_unsigned() || (*pair)[1].get<uint64_t>() >= kMaxVocabulary) {
    return WrongType(absl::StrCat(where, ".", key), "a token and its id", pair);
  }
  return (*pair)[1].get<int32_t>();
}

absl::Status ReadPostProcessor(const Json& json, const std::string& where, int depth,
                               TokenizerSpec* spec) {
  if (!json.is_object()) return WrongType(where, "an object", &json);
  NINFER_ASSIGN_OR_RETURN(const std::string type, StringField(json, "type", where));
  if (type == "ByteLevel") return absl::OkStatus();  // changes offsets only
  if (type == "TemplateProcessing") return ReadTemplate(json, where, spec);
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    NINFER_ASSIGN_OR_RETURN(const int32_t cls, PairId(json, "cls", where));
    NINFER_ASSIGN_OR_RETURN(const int32_t sep, PairId(json, "sep", where));
    spec->prefix_ids.insert(spec->prefix_ids.begin(), cls);
    spec->suffix_ids.push_back(sep);
    return absl::OkStatus();
  }
  if (type != "Sequence") return InvalidArgument(where, ": ", type, " is not supported");
  const Json* processors = Field(json, "processors");
  if (processors == nullptr || !processors->is_array()) {
    return WrongType(where + ".processors", "a list", processors);
  }
  if (depth >= kMaxDepth) return InvalidArgument(where, ": sequences nested too deeply");
  for (const Json& processor : *processors) {
    NINFER_RETURN_IF_ERROR(ReadPostProcessor(processor, where, depth + 1, spec));
  }
  return absl::OkStatus();
}

absl::Status CheckPostProcessorIds(const std::string& where, const TokenizerSpec& spec) {
  int32_t limit = static_cast<int32_t>(spec.pieces.size());
  for (const AddedToken& token : spec.added) limit = std::max(limit, token.id + 1);
  for (const std::vector<int32_t>* ids : {&spec.prefix_ids, &spec.suffix_ids}) {
    for (const int32_t id : *ids) {
      if (id >= limit) {
        return InvalidArgument(where, ": expected ids below ", limit, ", found ", id);
      }
    }
  }
  return absl::OkStatus();
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
  if (const Json* added = Field(json, "added_tokens")) {
    if (!added->is_array()) return WrongType(prefix + "added_tokens", "a list", added);
    for (const Json& entry : *added) {
      NINFER_ASSIGN_OR_RETURN(AddedToken token,
                              ReadAddedToken(entry, prefix + "added_tokens", false));
      builder->AddToken(std::move(token));
    }
  }
  const std::string where = prefix + "post_processor";
  if (const Json* part = Field(json, "post_processor")) {
    NINFER_RETURN_IF_ERROR(ReadPostProcessor(*part, where, 0, &spec));
  }
  return CheckPostProcessorIds(where, spec);
}

}  // namespace ninfer
