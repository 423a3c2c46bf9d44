// Tested by tests/text_tiktoken_test.cc.
#include "text/tiktoken.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "text/json_fields.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace ninfer {
namespace {

struct NamedToken {
  const char* content;
  int32_t id;
};

struct Encoding {
  const char* name;
  const char* pattern;
  std::array<NamedToken, 6> tokens;
};

// Before the tokens of o200k_harmony that are not listed here stand <|reserved_ID|>.
constexpr int32_t kHarmonyBegin = 199998;
constexpr int32_t kHarmonyEnd = 201088;

constexpr char kEndOfText[] = "<|endoftext|>";

const Encoding kEncodings[] = {
    {"cl100k_base",
     kLlama3Split,
     {{{kEndOfText, 100257},
       {"<|fim_prefix|>", 100258},
       {"<|fim_middle|>", 100259},
       {"<|fim_suffix|>", 100260},
       {"<|endofprompt|>", 100276}}}},
    {"o200k_base", kO200kSplit, {{{kEndOfText, 199999}, {"<|endofprompt|>", 200018}}}},
    {"o200k_harmony", kO200kSplit, {}},
    {"p50k_base", kGpt2Split, {{{kEndOfText, 50256}}}},
    {"p50k_edit",
     kGpt2Split,
     {{{kEndOfText, 50256},
       {"<|fim_prefix|>", 50281},
       {"<|fim_middle|>", 50282},
       {"<|fim_suffix|>", 50283}}}},
    {"r50k_base", kGpt2Split, {{{kEndOfText, 50256}}}},
    {"gpt2", kGpt2Split, {{{kEndOfText, 50256}}}},
    {"qwen", kQwen2Split, {}},
};

constexpr NamedToken kHarmonyTokens[] = {
    {"<|startoftext|>", 199998}, {kEndOfText, 199999},    {"<|return|>", 200002},
    {"<|constrain|>", 200003},   {"<|channel|>", 200005}, {"<|start|>", 200006},
    {"<|end|>", 200007},         {"<|message|>", 200008}, {"<|call|>", 200012},
    {"<|endofprompt|>", 200018},
};

constexpr int32_t kQwenExtras = 205;
constexpr int64_t kMaxSpecialTokens = 1 << 16;  // of a tekken.json

// The special tokens of a tekken.json that lists none.
constexpr const char* kTekkenTokens[] = {
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
};

absl::Status AddSpecial(absl::string_view content, int64_t id, SpecBuilder* builder) {
  AddedToken token;
  token.content = std::string(content);
  token.special = true;
  token.normalized = false;
  return builder->AddTokenAt(std::move(token), id);
}

// The piece of these bytes, at `id`, with this rank.
absl::Status AddBytes(absl::string_view base64, int64_t rank, int64_t id, SpecBuilder* builder) {
  std::string bytes;
  if (!absl::Base64Unescape(base64, &bytes) || bytes.empty()) {
    return InvalidArgument("expected base64, found '", base64, "'");
  }
  std::string letters;
  AppendByteLetters(bytes, &letters);
  NINFER_RETURN_IF_ERROR(builder->AddPiece(letters, id));
  std::vector<uint32_t>& ranks = builder->spec.piece_ranks;
  if (ranks.size() <= static_cast<size_t>(id)) ranks.resize(id + 1, kNoRank);
  ranks[id] = static_cast<uint32_t>(rank);
  return absl::OkStatus();
}

// A word is cut into its bytes first, so each needs a piece.
absl::Status CheckBytes(absl::string_view name, const SpecBuilder& builder) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    std::string letter;
    AppendByteLetters(absl::string_view(&c, 1), &letter);
    if (builder.FindPiece(letter) < 0) {
      return InvalidArgument(name, ": expected every single byte, found none for ", byte);
    }
  }
  return absl::OkStatus();
}

absl::Status SetUp(absl::string_view pattern, absl::string_view name, TokenizerSpec* spec) {
  spec->ignore_merges = true;
  Step split;
  split.kind = static_cast<uint8_t>(PreTokenizerKind::kSplit);
  split.pattern = PatternKind::kRegex;
  split.text = std::string(pattern);
  split.number = kIsolated;
  NINFER_RETURN_IF_ERROR(Annotate(Pattern::Regex(pattern).status(), name));
  spec->pre_tokenizers.push_back(std::move(split));
  Step bytes;
  bytes.kind = static_cast<uint8_t>(PreTokenizerKind::kByteLevel);
  spec->pre_tokenizers.push_back(bytes);
  bytes.kind = static_cast<uint8_t>(DecoderKind::kByteLevel);
  spec->decoders.push_back(bytes);
  spec->has_decoder = true;
  return absl::OkStatus();
}

absl::Status AddEncodingTokens(const Encoding& encoding, SpecBuilder* builder) {
  for (const NamedToken& token : encoding.tokens) {
    if (token.content != nullptr) {
      NINFER_RETURN_IF_ERROR(AddSpecial(token.content, token.id, builder));
    }
  }
  const absl::string_view name = encoding.name;
  if (name == "o200k_harmony") {
    for (const NamedToken& token : kHarmonyTokens) {
      NINFER_RETURN_IF_ERROR(AddSpecial(token.content, token.id, builder));
    }
    for (int32_t id = kHarmonyBegin; id < kHarmonyEnd; ++id) {
      bool named = false;
      for (const NamedToken& token : kHarmonyTokens) named = named || token.id == id;
      if (named) continue;
      NINFER_RETURN_IF_ERROR(AddSpecial(absl::StrCat("<|reserved_", id, "|>"), id, builder));
    }
  }
  if (name == "qwen") {
    auto id = static_cast<int64_t>(builder->spec.pieces.size());
    for (const char* content : {kEndOfText, "<|im_start|>", "<|im_end|>"}) {
      NINFER_RETURN_IF_ERROR(AddSpecial(content, id++, builder));
    }
    for (int32_t i = 0; i < kQwenExtras; ++i) {
      NINFER_RETURN_IF_ERROR(AddSpecial(absl::StrCat("<|extra_", i, "|>"), id++, builder));
    }
  }
  return absl::OkStatus();
}

absl::Status AddTekkenTokens(const Json& json, absl::string_view name, int64_t count,
                             SpecBuilder* builder) {
  std::vector<std::string> contents(count);
  const Json* list = Field(json, "special_tokens");
  if (list == nullptr) {
    for (size_t i = 0; i < contents.size() && i < std::size(kTekkenTokens); ++i) {
      contents[i] = kTekkenTokens[i];
    }
  } else if (!list->is_array()) {
    return WrongType(absl::StrCat(name, ": special_tokens"), "a list", list);
  } else {
    for (const Json& entry : *list) {
      const std::string where = absl::StrCat(name, ": special_tokens");
      if (!entry.is_object()) return WrongType(where, "an object", &entry);
      NINFER_ASSIGN_OR_RETURN(const int64_t rank, IntField(entry, "rank", where));
      NINFER_ASSIGN_OR_RETURN(std::string content, StringField(entry, "token_str", where));
      if (rank < 0 || rank >= count) {
        return InvalidArgument(where, ": rank: expected 0 to ", count - 1, ", found ", rank);
      }
      contents[rank] = std::move(content);
    }
  }
  for (int64_t id = 0; id < count; ++id) {
    if (contents[id].empty()) contents[id] = absl::StrCat("<SPECIAL_", id, ">");
    NINFER_RETURN_IF_ERROR(Annotate(AddSpecial(contents[id], id, builder), name));
  }
  return absl::OkStatus();
}

}  // namespace

bool LooksLikeTiktoken(absl::string_view bytes) {
  const absl::string_view line = bytes.substr(0, bytes.find('\n'));
  const size_t blank = line.find(' ');
  if (blank == absl::string_view::npos) return false;
  int64_t rank = 0;
  std::string piece;
  return absl::Base64Unescape(line.substr(0, blank), &piece) &&
         absl::SimpleAtoi(line.substr(blank + 1), &rank);
}

absl::Status ReadTiktoken(absl::string_view text, absl::string_view name,
                          absl::string_view encoding, SpecBuilder* builder) {
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty()) continue;
    const std::string place = absl::StrCat(name, ": line ", number);
    const size_t blank = line.find(' ');
    int64_t rank = 0;
    if (blank == absl::string_view::npos || !absl::SimpleAtoi(line.substr(blank + 1), &rank)) {
      return InvalidArgument(place, ": expected base64 and a rank, found '",
                             absl::CHexEscape(line.substr(0, 40)), "'");
    }
    NINFER_RETURN_IF_ERROR(Annotate(AddBytes(line.substr(0, blank), rank, rank, builder), place));
  }
  NINFER_RETURN_IF_ERROR(CheckBytes(name, *builder));
  const Encoding* known = nullptr;
  for (const Encoding& each : kEncodings) {
    if (encoding == each.name) known = &each;
  }
  if (known != nullptr) {
    NINFER_RETURN_IF_ERROR(Annotate(AddEncodingTokens(*known, builder), name));
  }
  return SetUp(known != nullptr ? known->pattern : kLlama3Split, name, &builder->spec);
}

absl::Status ReadTekken(absl::string_view text, absl::string_view name, bool add_bos,
                        SpecBuilder* builder) {
  NINFER_ASSIGN_OR_RETURN(const Json json, ParseJsonObject(text, name));
  const Json* config = Field(json, "config");
  const std::string where = absl::StrCat(name, ": config");
  if (config == nullptr || !config->is_object()) return WrongType(where, "an object", config);
  NINFER_ASSIGN_OR_RETURN(const std::string pattern, StringField(*config, "pattern", where));
  NINFER_ASSIGN_OR_RETURN(const int64_t size, IntField(*config, "default_vocab_size", where));
  NINFER_ASSIGN_OR_RETURN(const int64_t special,
                          IntField(*config, "default_num_special_tokens", where));
  if (size <= 0 || size > kMaxVocabulary || special < 0 ||
      special > std::min<int64_t>(size, kMaxSpecialTokens)) {
    return InvalidArgument(where, ": expected at most ", kMaxVocabulary, " tokens, at most ",
                           kMaxSpecialTokens, " special ones among them, found ", size, " and ",
                           special);
  }
  const Json* vocab = Field(json, "vocab");
  if (vocab == nullptr || !vocab->is_array()) {
    return WrongType(absl::StrCat(name, ": vocab"), "a list", vocab);
  }
  for (size_t i = 0; i < vocab->size(); ++i) {
    const Json& entry = (*vocab)[i];
    const std::string place = absl::StrCat(name, ": vocab[", i, "]");
    if (!entry.is_object()) return WrongType(place, "an object", &entry);
    NINFER_ASSIGN_OR_RETURN(const int64_t rank, IntField(entry, "rank", place));
    NINFER_ASSIGN_OR_RETURN(const std::string base64, StringField(entry, "token_bytes", place));
    if (rank < 0) return InvalidArgument(place, ": rank: expected 0 or more, found ", rank);
    if (rank >= size - special) continue;  // the list is longer than what the model uses
    NINFER_RETURN_IF_ERROR(Annotate(AddBytes(base64, rank, rank + special, builder), place));
  }
  NINFER_RETURN_IF_ERROR(CheckBytes(name, *builder));
  NINFER_RETURN_IF_ERROR(AddTekkenTokens(json, name, special, builder));
  if (add_bos) {
    const int32_t bos = builder->AddedTokenToId("<s>");
    if (bos >= 0) builder->spec.prefix_ids = {bos};
  }
  return SetUp(pattern, name, &builder->spec);
}

}  // namespace ninfer
