// The post-processors of tokenizer.json: what stands around one text and around two.
// Tested by tests/text_json_test.cc and tests/text_zoo_test.cc.
#include <vector>

#include "base/status.h"
#include "text/tokenizer_json.h"

namespace ninfer {
namespace {

constexpr int kMaxDepth = 16;
constexpr size_t kMaxParts = 1 << 16;  // of a template, which may name a list of ids often

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

// A list of Sequence and SpecialToken.
absl::StatusOr<std::vector<TemplatePart>> ReadTemplateParts(const Json& processor, const char* key,
                                                            const std::string& where) {
  const Json* list = Field(processor, key);
  const std::string place = absl::StrCat(where, ".", key);
  if (list == nullptr || !list->is_array()) return WrongType(place, "a list", list);
  std::vector<TemplatePart> parts;
  for (const Json& entry : *list) {
    const Json* sequence = entry.is_object() ? Field(entry, "Sequence") : nullptr;
    const Json* special = entry.is_object() ? Field(entry, "SpecialToken") : nullptr;
    const Json* named = sequence != nullptr ? sequence : special;
    if (named == nullptr || !named->is_object()) {
      return WrongType(place, "Sequence or SpecialToken", &entry);
    }
    NINFER_ASSIGN_OR_RETURN(const std::string id, StringField(*named, "id", place));
    TemplatePart part;
    if (Field(*named, "type_id") != nullptr) {
      NINFER_ASSIGN_OR_RETURN(const int64_t type_id, IntField(*named, "type_id", place));
      if (type_id < 0 || type_id > kMaxTypeId) {
        return InvalidArgument(place, ": type_id: expected 0 to ", kMaxTypeId, ", found ", type_id);
      }
      part.type_id = static_cast<uint32_t>(type_id);
    }
    if (sequence != nullptr) {
      if (id != "A" && id != "B") {
        return InvalidArgument(place, ": expected the sequence A or B, found '", id, "'");
      }
      part.kind = id == "A" ? TemplatePart::kTextA : TemplatePart::kTextB;
      parts.push_back(part);
      continue;
    }
    std::vector<int32_t> ids;
    NINFER_RETURN_IF_ERROR(AppendTemplateIds(processor, id, where, &ids));
    for (const int32_t token : ids) {
      part.id = token;
      parts.push_back(part);
    }
    if (parts.size() > kMaxParts) {
      return InvalidArgument(place, ": expected at most ", kMaxParts, " tokens, found more");
    }
  }
  return parts;
}

absl::Status ReadTemplate(const Json& processor, const std::string& where, TokenizerSpec* spec) {
  NINFER_ASSIGN_OR_RETURN(const std::vector<TemplatePart> single,
                          ReadTemplateParts(processor, "single", where));
  spec->prefix_ids.clear();
  spec->suffix_ids.clear();
  int texts = 0;
  for (const TemplatePart& part : single) {
    if (part.kind == TemplatePart::kToken) {
      (texts > 0 ? spec->suffix_ids : spec->prefix_ids).push_back(part.id);
    } else {
      texts += part.kind == TemplatePart::kTextA ? 1 : 2;
    }
  }
  if (texts != 1) return InvalidArgument(where, ".single: expected the sequence A once");
  spec->pair.clear();
  if (Field(processor, "pair") != nullptr) {
    NINFER_ASSIGN_OR_RETURN(spec->pair, ReadTemplateParts(processor, "pair", where));
  }
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

// [CLS] A [SEP] B [SEP], or <s> A </s> </s> B </s>, whose ids are all of type 0.
absl::Status ReadNamedPair(const Json& json, bool roberta, const std::string& where,
                           TokenizerSpec* spec) {
  NINFER_ASSIGN_OR_RETURN(const int32_t cls, PairId(json, "cls", where));
  NINFER_ASSIGN_OR_RETURN(const int32_t sep, PairId(json, "sep", where));
  spec->prefix_ids = {cls};
  spec->suffix_ids = {sep};
  const uint32_t second = roberta ? 0 : 1;
  const auto token = TemplatePart::kToken;
  spec->pair = {{token, cls, 0}, {TemplatePart::kTextA, 0, 0}, {token, sep, 0}};
  if (roberta) spec->pair.push_back({token, sep, 0});
  spec->pair.push_back({TemplatePart::kTextB, 0, second});
  spec->pair.push_back({token, sep, second});
  return absl::OkStatus();
}

absl::Status ReadOne(const Json& json, const std::string& where, int depth, TokenizerSpec* spec) {
  if (!json.is_object()) return WrongType(where, "an object", &json);
  NINFER_ASSIGN_OR_RETURN(const std::string type, StringField(json, "type", where));
  if (type == "ByteLevel") return absl::OkStatus();  // changes offsets only
  if (type == "TemplateProcessing") return ReadTemplate(json, where, spec);
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    return ReadNamedPair(json, type == "RobertaProcessing", where, spec);
  }
  if (type != "Sequence") return InvalidArgument(where, ": ", type, " is not supported");
  const Json* processors = Field(json, "processors");
  if (processors == nullptr || !processors->is_array()) {
    return WrongType(where + ".processors", "a list", processors);
  }
  if (depth >= kMaxDepth) return InvalidArgument(where, ": sequences nested too deeply");
  for (const Json& processor : *processors) {
    NINFER_RETURN_IF_ERROR(ReadOne(processor, where, depth + 1, spec));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadPostProcessor(const Json& json, const std::string& where, TokenizerSpec* spec) {
  return ReadOne(json, where, 0, spec);
}

}  // namespace ninfer
