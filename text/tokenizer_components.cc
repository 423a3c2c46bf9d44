// The normalizers, pre-tokenizers and decoders of tokenizer.json, read into steps. A Sequence is
// flattened. What is not here is refused by its name.
// Tested by tests/text_components_test.cc and tests/text_json_test.cc.
#include "absl/strings/escaping.h"
#include "base/status.h"
#include "text/charsmap.h"
#include "text/pattern.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace ninfer {
namespace {

constexpr int kMaxDepth = 16;

using ReadPart = absl::Status (*)(const Json& json, const std::string& type,
                                  const std::string& where, Step* step);

// Reads a component, or each of a Sequence's `list_key`.
absl::Status ReadComponent(const Json& json, const std::string& where, const char* list_key,
                           ReadPart read, int depth, std::vector<Step>* steps) {
  if (!json.is_object()) return WrongType(where, "an object", &json);
  NINFER_ASSIGN_OR_RETURN(const std::string type, StringField(json, "type", where));
  if (type != "Sequence") {
    Step step;
    const std::string place = absl::StrCat(where, ": ", type);
    NINFER_RETURN_IF_ERROR(read(json, type, place, &step));
    if (step.pattern == PatternKind::kRegex) {
      NINFER_RETURN_IF_ERROR(Annotate(Pattern::Regex(step.text).status(), place));
    }
    steps->push_back(std::move(step));
    return absl::OkStatus();
  }
  const Json* list = Field(json, list_key);
  if (list == nullptr || !list->is_array()) {
    return WrongType(absl::StrCat(where, ".", list_key), "a list", list);
  }
  if (depth >= kMaxDepth) return InvalidArgument(where, ": sequences nested too deeply");
  for (const Json& part : *list) {
    NINFER_RETURN_IF_ERROR(ReadComponent(part, where, list_key, read, depth + 1, steps));
  }
  return absl::OkStatus();
}

absl::Status Unsupported(const std::string& where) {
  return InvalidArgument(where, " is not supported");
}

// {"String": text} or {"Regex": expression}.
absl::Status ReadPattern(const Json& json, const std::string& where, Step* step) {
  const Json* pattern = Field(json, "pattern");
  if (pattern == nullptr || !pattern->is_object()) {
    return WrongType(where + ".pattern", "an object", pattern);
  }
  const bool regex = Field(*pattern, "Regex") != nullptr;
  NINFER_ASSIGN_OR_RETURN(step->text,
                          StringField(*pattern, regex ? "Regex" : "String", where + ".pattern"));
  step->pattern = regex ? PatternKind::kRegex : PatternKind::kLiteral;
  return absl::OkStatus();
}

// A field that is one character.
absl::StatusOr<std::string> CharacterField(const Json& json, const char* key,
                                           const std::string& where) {
  NINFER_ASSIGN_OR_RETURN(const std::string text, StringField(json, key, where));
  if (text.empty() || text.size() != static_cast<size_t>(Utf8Length(text[0]))) {
    return InvalidArgument(where, ": ", key, ": expected one character, found '", text, "'");
  }
  return text;
}

absl::StatusOr<uint32_t> CountField(const Json& json, const char* key, const std::string& where) {
  NINFER_ASSIGN_OR_RETURN(const int64_t count, IntField(json, key, where));
  if (count < 0 || count > 1'000'000) {
    return InvalidArgument(where, ": ", key, ": expected 0 to 1000000, found ", count);
  }
  return static_cast<uint32_t>(count);
}

absl::StatusOr<uint32_t> BehaviourField(const Json& json, const std::string& where,
                                        absl::string_view fallback) {
  NINFER_ASSIGN_OR_RETURN(const std::string name, StringField(json, "behavior", where, fallback));
  if (name == "Removed") return kRemoved;
  if (name == "Isolated") return kIsolated;
  if (name == "MergedWithPrevious") return kMergedWithPrevious;
  if (name == "MergedWithNext") return kMergedWithNext;
  if (name == "Contiguous") return kContiguous;
  return InvalidArgument(where, ": behavior: '", name, "' is not known");
}

// The replacement and scheme of Metaspace, in its present and its older form.
absl::Status ReadMetaspace(const Json& json, const std::string& where, Step* step) {
  NINFER_ASSIGN_OR_RETURN(step->text, CharacterField(json, "replacement", where));
  NINFER_ASSIGN_OR_RETURN(const std::string scheme,
                          StringField(json, "prepend_scheme", where, "always"));
  NINFER_ASSIGN_OR_RETURN(const bool prefix, BoolField(json, "add_prefix_space", where, true));
  NINFER_ASSIGN_OR_RETURN(const bool split, BoolField(json, "split", where, true));
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    return InvalidArgument(where, ": prepend_scheme: '", scheme, "' is not known");
  }
  if (!prefix && scheme != "never" && Field(json, "prepend_scheme") != nullptr) {
    return InvalidArgument(where, ": add_prefix_space contradicts prepend_scheme '", scheme, "'");
  }
  step->number = !prefix || scheme == "never" ? kNever : scheme == "first" ? kFirst : kAlways;
  if (split) step->number |= kSplitWords;
  return absl::OkStatus();
}

absl::Status ReadBertNormalizer(const Json& json, const std::string& where, Step* step) {
  NINFER_ASSIGN_OR_RETURN(const bool clean, BoolField(json, "clean_text", where, true));
  NINFER_ASSIGN_OR_RETURN(const bool chinese, BoolField(json, "handle_chinese_chars", where, true));
  NINFER_ASSIGN_OR_RETURN(const bool lower, BoolField(json, "lowercase", where, true));
  NINFER_ASSIGN_OR_RETURN(const bool strip, BoolField(json, "strip_accents", where, lower));
  step->number = (clean ? kBertClean : 0) | (chinese ? kBertChinese : 0) |
                 (strip ? kBertStripAccents : 0) | (lower ? kBertLowercase : 0);
  return absl::OkStatus();
}

absl::Status ReadOneNormalizer(const Json& json, const std::string& type, const std::string& where,
                               Step* step) {
  const auto set = [step](NormalizerKind kind) { step->kind = static_cast<uint8_t>(kind); };
  if (type == "NFC") return set(NormalizerKind::kNfc), absl::OkStatus();
  if (type == "NFD") return set(NormalizerKind::kNfd), absl::OkStatus();
  if (type == "NFKC") return set(NormalizerKind::kNfkc), absl::OkStatus();
  if (type == "NFKD") return set(NormalizerKind::kNfkd), absl::OkStatus();
  if (type == "Lowercase") return set(NormalizerKind::kLowercase), absl::OkStatus();
  if (type == "StripAccents") return set(NormalizerKind::kStripAccents), absl::OkStatus();
  if (type == "Nmt") return set(NormalizerKind::kNmt), absl::OkStatus();
  if (type == "ByteLevel") return set(NormalizerKind::kByteLevel), absl::OkStatus();
  if (type == "BertNormalizer") {
    set(NormalizerKind::kBert);
    return ReadBertNormalizer(json, where, step);
  }
  if (type == "Precompiled") {
    set(NormalizerKind::kPrecompiled);
    NINFER_ASSIGN_OR_RETURN(const std::string map,
                            StringField(json, "precompiled_charsmap", where));
    if (!absl::Base64Unescape(map, &step->blob)) {
      return InvalidArgument(where, ": precompiled_charsmap: expected base64");
    }
    return Annotate(CharsMap::Parse(step->blob).status(), where);
  }
  if (type == "Strip") {
    set(NormalizerKind::kStrip);
    NINFER_ASSIGN_OR_RETURN(const bool left, BoolField(json, "strip_left", where, true));
    NINFER_ASSIGN_OR_RETURN(const bool right, BoolField(json, "strip_right", where, true));
    step->number = (left ? kStripLeft : 0) | (right ? kStripRight : 0);
    return absl::OkStatus();
  }
  if (type == "Prepend") {
    set(NormalizerKind::kPrepend);
    NINFER_ASSIGN_OR_RETURN(step->text, StringField(json, "prepend", where));
    return absl::OkStatus();
  }
  if (type == "Replace") {
    set(NormalizerKind::kReplace);
    NINFER_ASSIGN_OR_RETURN(step->content, StringField(json, "content", where));
    return ReadPattern(json, where, step);
  }
  return Unsupported(where);
}

absl::Status ReadByteLevelSplit(const Json& json, const std::string& where, Step* step) {
  NINFER_ASSIGN_OR_RETURN(const bool prefix, BoolField(json, "add_prefix_space", where, true));
  NINFER_ASSIGN_OR_RETURN(const bool use_regex, BoolField(json, "use_regex", where, true));
  step->number = prefix ? kPrefixBlank : 0;
  if (use_regex) {
    step->pattern = PatternKind::kRegex;
    step->text = kGpt2Split;
  }
  return absl::OkStatus();
}

absl::Status ReadOnePreTokenizer(const Json& json, const std::string& type,
                                 const std::string& where, Step* step) {
  const auto set = [step](PreTokenizerKind kind) { step->kind = static_cast<uint8_t>(kind); };
  if (type == "Whitespace") return set(PreTokenizerKind::kWhitespace), absl::OkStatus();
  if (type == "WhitespaceSplit") return set(PreTokenizerKind::kWhitespaceSplit), absl::OkStatus();
  if (type == "BertPreTokenizer") return set(PreTokenizerKind::kBert), absl::OkStatus();
  if (type == "UnicodeScripts") {
    set(PreTokenizerKind::kSplit);
    step->number = kRemoved | kInvert;
    step->pattern = PatternKind::kRegex;
    step->text = UnicodeScriptsPattern();
    return absl::OkStatus();
  }
  if (type == "ByteLevel") {
    set(PreTokenizerKind::kByteLevel);
    return ReadByteLevelSplit(json, where, step);
  }
  if (type == "Metaspace") {
    set(PreTokenizerKind::kMetaspace);
    return ReadMetaspace(json, where, step);
  }
  if (type == "Split") {
    set(PreTokenizerKind::kSplit);
    NINFER_ASSIGN_OR_RETURN(step->number, BehaviourField(json, where, ""));
    NINFER_ASSIGN_OR_RETURN(const bool invert, BoolField(json, "invert", where, false));
    if (invert) step->number |= kInvert;
    return ReadPattern(json, where, step);
  }
  if (type == "CharDelimiterSplit") {
    set(PreTokenizerKind::kSplit);
    step->number = kRemoved;
    step->pattern = PatternKind::kLiteral;
    NINFER_ASSIGN_OR_RETURN(step->text, CharacterField(json, "delimiter", where));
    return absl::OkStatus();
  }
  if (type == "Digits") {
    set(PreTokenizerKind::kDigits);
    NINFER_ASSIGN_OR_RETURN(const bool alone, BoolField(json, "individual_digits", where, false));
    step->number = alone ? 1 : 0;
    return absl::OkStatus();
  }
  if (type == "Punctuation") {
    set(PreTokenizerKind::kPunctuation);
    NINFER_ASSIGN_OR_RETURN(step->number, BehaviourField(json, where, "Isolated"));
    return absl::OkStatus();
  }
  if (type == "FixedLength") {
    set(PreTokenizerKind::kFixedLength);
    NINFER_ASSIGN_OR_RETURN(step->number, CountField(json, "length", where));
    if (step->number == 0) return InvalidArgument(where, ": length: expected more than 0");
    return absl::OkStatus();
  }
  return Unsupported(where);
}

absl::Status ReadOneDecoder(const Json& json, const std::string& type, const std::string& where,
                            Step* step) {
  const auto set = [step](DecoderKind kind) { step->kind = static_cast<uint8_t>(kind); };
  if (type == "ByteLevel") return set(DecoderKind::kByteLevel), absl::OkStatus();
  if (type == "ByteFallback") return set(DecoderKind::kByteFallback), absl::OkStatus();
  if (type == "Fuse") return set(DecoderKind::kFuse), absl::OkStatus();
  if (type == "Metaspace") {
    set(DecoderKind::kMetaspace);
    return ReadMetaspace(json, where, step);
  }
  if (type == "Strip") {
    set(DecoderKind::kStrip);
    NINFER_ASSIGN_OR_RETURN(step->text, CharacterField(json, "content", where));
    NINFER_ASSIGN_OR_RETURN(step->number, CountField(json, "start", where));
    NINFER_ASSIGN_OR_RETURN(step->number2, CountField(json, "stop", where));
    return absl::OkStatus();
  }
  if (type == "Replace") {
    set(DecoderKind::kReplace);
    NINFER_ASSIGN_OR_RETURN(step->content, StringField(json, "content", where));
    return ReadPattern(json, where, step);
  }
  if (type == "WordPiece") {
    set(DecoderKind::kWordPiece);
    NINFER_ASSIGN_OR_RETURN(step->text, StringField(json, "prefix", where, "##"));
    NINFER_ASSIGN_OR_RETURN(const bool cleanup, BoolField(json, "cleanup", where, true));
    step->number = cleanup ? 1 : 0;
    return absl::OkStatus();
  }
  if (type == "CTC") {
    set(DecoderKind::kCtc);
    NINFER_ASSIGN_OR_RETURN(step->text, StringField(json, "pad_token", where, "<pad>"));
    NINFER_ASSIGN_OR_RETURN(step->content, StringField(json, "word_delimiter_token", where, "|"));
    NINFER_ASSIGN_OR_RETURN(const bool cleanup, BoolField(json, "cleanup", where, true));
    step->number = cleanup ? 1 : 0;
    return absl::OkStatus();
  }
  if (type == "BPEDecoder") {
    set(DecoderKind::kBpe);
    NINFER_ASSIGN_OR_RETURN(step->text, StringField(json, "suffix", where, "</w>"));
    return absl::OkStatus();
  }
  return Unsupported(where);
}

}  // namespace

absl::Status ReadNormalizer(const Json& json, const std::string& where, std::vector<Step>* steps) {
  return ReadComponent(json, where, "normalizers", ReadOneNormalizer, 0, steps);
}

absl::Status ReadPreTokenizer(const Json& json, const std::string& where,
                              std::vector<Step>* steps) {
  return ReadComponent(json, where, "pretokenizers", ReadOnePreTokenizer, 0, steps);
}

absl::Status ReadDecoder(const Json& json, const std::string& where, std::vector<Step>* steps) {
  return ReadComponent(json, where, "decoders", ReadOneDecoder, 0, steps);
}

}  // namespace ninfer
