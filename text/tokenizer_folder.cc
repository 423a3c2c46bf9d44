// A model folder's tokenizer: which files there are, and what tokenizer_config.json,
// special_tokens_map.json and added_tokens.json add to them, as transformers reads them.
//
// With a tokenizer.json, add_bos_token and add_eos_token of the config are not read: the
// post-processor says it. Without one, the class named in tokenizer_config.json (or the model type
// in config.json) decides how vocab.json and merges.txt, or vocab.txt, are used.
// Tested by tests/text_models_test.cc and tests/text_json_test.cc.
#include <filesystem>
#include <map>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/has_file.h"
#include "base/status.h"
#include "text/pattern.h"
#include "text/sentencepiece_model.h"
#include "text/tiktoken.h"
#include "text/tokenizer.h"
#include "text/tokenizer_class.h"
#include "text/tokenizer_json.h"

namespace ninfer {
namespace {

constexpr uint64_t kFileLimit = uint64_t{1} << 28;

constexpr char kTokenizerConfig[] = "tokenizer_config.json";
constexpr char kSpecialTokensMap[] = "special_tokens_map.json";
constexpr char kAddedTokens[] = "added_tokens.json";

absl::StatusOr<bool> Has(const std::string& folder, const char* file) {
  return HasFile(JoinPath(folder, file));
}

// The file as an object; empty where there is none.
absl::StatusOr<Json> ReadOptional(const std::string& folder, const char* file) {
  NINFER_ASSIGN_OR_RETURN(const bool there, Has(folder, file));
  if (!there) return Json::object();
  const std::string path = JoinPath(folder, file);
  NINFER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kFileLimit));
  return ParseJsonObject(text, path);
}

// A token given by its text or as an object with flags.
absl::StatusOr<AddedToken> ReadNamedToken(const Json& json, absl::string_view where) {
  if (!json.is_string()) return ReadAddedToken(json, where, /*special=*/true);
  AddedToken token;
  token.content = json.get<std::string>();
  token.special = true;
  token.normalized = false;
  return token;
}

// The tokens that a config names: bos_token and its like, and the lists of further special tokens.
absl::Status CollectNamed(const Json& config, const std::string& where,
                          std::vector<AddedToken>* tokens) {
  const auto add = [&](const Json& json, const std::string& key) -> absl::Status {
    NINFER_ASSIGN_OR_RETURN(AddedToken token, ReadNamedToken(json, absl::StrCat(where, ": ", key)));
    token.special = true;
    tokens->push_back(std::move(token));
    return absl::OkStatus();
  };
  for (const auto& [key, value] : config.items()) {
    const bool list = key == "additional_special_tokens" || key == "extra_special_tokens";
    if (list && value.is_structured()) {
      for (const Json& entry : value) NINFER_RETURN_IF_ERROR(add(entry, key));
    } else if (absl::EndsWith(key, "_token") && (value.is_string() || value.is_object())) {
      NINFER_RETURN_IF_ERROR(add(value, key));
    }
  }
  return absl::OkStatus();
}

// added_tokens_decoder of tokenizer_config.json, in order of ids. `keep_ids`: new tokens get the
// ids that are named, and not the next free ones.
absl::Status AddDecoderTokens(const Json& entries, const std::string& where, bool keep_ids,
                              SpecBuilder* builder) {
  if (!entries.is_object()) return WrongType(where, "an object", &entries);
  std::map<int64_t, const Json*> by_id;
  for (const auto& [key, value] : entries.items()) {
    int64_t id = 0;
    if (!absl::SimpleAtoi(key, &id)) {
      return InvalidArgument(where, ": expected an id, found '", key, "'");
    }
    by_id[id] = &value;
  }
  for (const auto& [id, value] : by_id) {
    NINFER_ASSIGN_OR_RETURN(AddedToken token,
                            ReadAddedToken(*value, absl::StrCat(where, ": ", id), false));
    if (keep_ids && builder->TokenToId(token.content) < 0) {
      NINFER_RETURN_IF_ERROR(Annotate(builder->AddTokenAt(std::move(token), id), where));
    } else {
      builder->AddToken(std::move(token));
    }
  }
  return absl::OkStatus();
}

// added_tokens.json: text to id. Tokens that are named elsewhere are special.
absl::Status AddListedTokens(const Json& entries, const std::string& where,
                             const std::vector<AddedToken>& named, SpecBuilder* builder) {
  std::map<int64_t, std::string> by_id;
  for (const auto& [content, id] : entries.items()) {
    if (!id.is_number_integer()) return WrongType(where, "ids", &id);
    by_id[id.get<int64_t>()] = content;
  }
  for (const auto& [id, content] : by_id) {
    AddedToken token;
    token.content = content;
    for (const AddedToken& other : named) token.special |= other.content == content;
    token.normalized = !token.special;
    builder->AddToken(std::move(token));
  }
  return absl::OkStatus();
}

absl::Status AddConfigTokens(const std::string& folder, const Json& config, bool keep_ids,
                             SpecBuilder* builder) {
  const std::string where = JoinPath(folder, kTokenizerConfig);
  std::vector<AddedToken> named;
  NINFER_RETURN_IF_ERROR(CollectNamed(config, where, &named));
  if (const Json* decoder = Field(config, "added_tokens_decoder")) {
    NINFER_RETURN_IF_ERROR(AddDecoderTokens(*decoder, absl::StrCat(where, ": added_tokens_decoder"),
                                            keep_ids, builder));
  } else {
    NINFER_ASSIGN_OR_RETURN(const Json map, ReadOptional(folder, kSpecialTokensMap));
    NINFER_RETURN_IF_ERROR(CollectNamed(map, JoinPath(folder, kSpecialTokensMap), &named));
    NINFER_ASSIGN_OR_RETURN(const Json listed, ReadOptional(folder, kAddedTokens));
    NINFER_RETURN_IF_ERROR(AddListedTokens(listed, JoinPath(folder, kAddedTokens), named, builder));
  }
  for (AddedToken& token : named) {
    if (!builder->HasToken(token.content)) builder->AddToken(std::move(token));
  }
  return absl::OkStatus();
}

// Where there is no tokenizer.json: what the config puts around a text.
absl::Status AddConfigAround(const std::string& folder, const Json& config, const char* flag,
                             const char* key, const SpecBuilder& builder,
                             std::vector<int32_t>* ids) {
  const std::string where = JoinPath(folder, kTokenizerConfig);
  NINFER_ASSIGN_OR_RETURN(const bool wanted, BoolField(config, flag, where, false));
  if (!wanted) return absl::OkStatus();
  AddedToken token;
  if (const Json* named = Field(config, key)) {
    NINFER_ASSIGN_OR_RETURN(token, ReadNamedToken(*named, absl::StrCat(where, ": ", key)));
  } else {
    for (const auto& [name, text] : DefaultTokens(config)) {
      if (name == key && builder.TokenToId(text) >= 0) token.content = text;
    }
    if (token.content.empty()) return absl::OkStatus();
  }
  const int32_t id = builder.TokenToId(token.content);
  if (id < 0) {
    return InvalidArgument(where, ": ", key, ": '", token.content, "' is not in the vocabulary");
  }
  ids->push_back(id);
  return absl::OkStatus();
}

Step MakeStep(uint8_t kind) {
  Step step;
  step.kind = kind;
  return step;
}

// How a folder without tokenizer.json uses its vocabulary: the class that tokenizer_config.json
// names, else what the model type in config.json says.
absl::StatusOr<std::string> ClassOf(const std::string& folder, const Json& config) {
  NINFER_ASSIGN_OR_RETURN(std::string name, StringField(config, "tokenizer_class",
                                                        JoinPath(folder, kTokenizerConfig), ""));
  name = std::string(absl::StripSuffix(name, "Fast"));
  if (!name.empty() && name != "PreTrainedTokenizer" && name != "TokenizersBackend") return name;
  NINFER_ASSIGN_OR_RETURN(const Json model, ReadOptional(folder, "config.json"));
  NINFER_ASSIGN_OR_RETURN(const std::string type,
                          StringField(model, "model_type", JoinPath(folder, "config.json"), ""));
  if (absl::StartsWith(type, "qwen2") || absl::StartsWith(type, "qwen3")) return "Qwen2Tokenizer";
  return "";
}

absl::Status UnsupportedClass(const std::string& folder, const std::string& name) {
  return InvalidArgument(JoinPath(folder, kTokenizerConfig), ": tokenizer_class: ", name,
                         " is not supported without a tokenizer.json");
}

// Byte-level BPE as GPT-2 does it, or as Qwen 2 does.
void AddByteLevelSteps(bool qwen2, bool prefix_blank, TokenizerSpec* spec) {
  Step byte_level = MakeStep(static_cast<uint8_t>(PreTokenizerKind::kByteLevel));
  byte_level.number = prefix_blank ? kPrefixBlank : 0;
  if (qwen2) {
    spec->normalizers.push_back(MakeStep(static_cast<uint8_t>(NormalizerKind::kNfc)));
    Step split = MakeStep(static_cast<uint8_t>(PreTokenizerKind::kSplit));
    split.pattern = PatternKind::kRegex;
    split.text = kQwen2Split;
    split.number = kIsolated;
    spec->pre_tokenizers.push_back(split);
  } else {
    byte_level.pattern = PatternKind::kRegex;
    byte_level.text = kGpt2Split;
  }
  spec->pre_tokenizers.push_back(byte_level);
  spec->decoders.push_back(MakeStep(static_cast<uint8_t>(DecoderKind::kByteLevel)));
  spec->has_decoder = true;
}

// What the config's add_bos_token and add_eos_token put around a text.
absl::Status AddConfigEnds(const std::string& folder, Json config, SpecBuilder* builder) {
  NINFER_ASSIGN_OR_RETURN(const Json map, ReadOptional(folder, kSpecialTokensMap));
  for (const char* key : {"bos_token", "eos_token"}) {
    if (!config.contains(key) && map.contains(key)) config[key] = map[key];
  }
  NINFER_RETURN_IF_ERROR(AddConfigAround(folder, config, "add_bos_token", "bos_token", *builder,
                                         &builder->spec.prefix_ids));
  return AddConfigAround(folder, config, "add_eos_token", "eos_token", *builder,
                         &builder->spec.suffix_ids);
}

absl::Status ReadVocabularyAndMerges(const std::string& folder, const char* vocabulary,
                                     const char* merges, const Json& config, SpecBuilder* builder) {
  const std::string vocabulary_path = JoinPath(folder, vocabulary);
  const std::string merges_path = JoinPath(folder, merges);
  NINFER_ASSIGN_OR_RETURN(const std::string vocabulary_text, ReadFile(vocabulary_path, kFileLimit));
  NINFER_RETURN_IF_ERROR(ReadVocabulary(vocabulary_text, vocabulary_path, builder));
  NINFER_ASSIGN_OR_RETURN(const std::string merges_text, ReadFile(merges_path, kFileLimit));
  NINFER_RETURN_IF_ERROR(ReadMerges(merges_text, merges_path, builder));
  NINFER_ASSIGN_OR_RETURN(const std::string name, ClassOf(folder, config));
  if (!name.empty() && name != "Qwen2Tokenizer" && name != "GPT2Tokenizer" &&
      name != "CodeGenTokenizer") {
    return UnsupportedClass(folder, name);
  }
  NINFER_ASSIGN_OR_RETURN(
      const bool prefix_blank,
      BoolField(config, "add_prefix_space", JoinPath(folder, kTokenizerConfig), false));
  AddByteLevelSteps(name == "Qwen2Tokenizer", prefix_blank, &builder->spec);
  NINFER_RETURN_IF_ERROR(AddConfigTokens(folder, config, /*keep_ids=*/false, builder));
  if (builder->FindPiece("<|endoftext|>") >= 0 && !builder->HasToken("<|endoftext|>")) {
    NINFER_ASSIGN_OR_RETURN(AddedToken token, ReadNamedToken(Json("<|endoftext|>"), ""));
    builder->AddToken(std::move(token));
  }
  return AddConfigEnds(folder, config, builder);
}

absl::Status ReadSentencePiece(const std::string& path, const std::string& bytes,
                               const std::string& folder, const Json& config,
                               SpecBuilder* builder) {
  const std::string where = JoinPath(folder, kTokenizerConfig);
  SentencePieceOptions options;
  NINFER_ASSIGN_OR_RETURN(options.add_bos, BoolField(config, "add_bos_token", where, true));
  NINFER_ASSIGN_OR_RETURN(options.add_eos, BoolField(config, "add_eos_token", where, false));
  NINFER_ASSIGN_OR_RETURN(options.prefix_everywhere, BoolField(config, "legacy", where, false));
  NINFER_RETURN_IF_ERROR(ReadSentencePieceModel(bytes, path, options, builder));
  return AddConfigTokens(folder, config, /*keep_ids=*/false, builder);
}

absl::Status ReadTiktokenFile(const std::string& path, const std::string& bytes,
                              const std::string& folder, const Json& config, SpecBuilder* builder) {
  const size_t slash = path.rfind('/');
  const std::string file = slash == std::string::npos ? path : path.substr(slash + 1);
  NINFER_RETURN_IF_ERROR(ReadTiktoken(bytes, path, file.substr(0, file.rfind('.')), builder));
  NINFER_RETURN_IF_ERROR(AddConfigTokens(folder, config, /*keep_ids=*/true, builder));
  return AddConfigEnds(folder, config, builder);
}

// tokenizer.model is SentencePiece's, or, in Llama 3's folders, tiktoken's.
absl::Status ReadTokenizerModel(const std::string& path, const std::string& folder,
                                const Json& config, SpecBuilder* builder) {
  NINFER_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kFileLimit));
  if (LooksLikeTiktoken(bytes)) return ReadTiktokenFile(path, bytes, folder, config, builder);
  return ReadSentencePiece(path, bytes, folder, config, builder);
}

absl::Status ReadTekkenFile(const std::string& path, const std::string& folder, const Json& config,
                            SpecBuilder* builder) {
  NINFER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kFileLimit));
  NINFER_ASSIGN_OR_RETURN(const bool add_bos, BoolField(config, "add_bos_token",
                                                        JoinPath(folder, kTokenizerConfig), true));
  return ReadTekken(text, path, add_bos, builder);
}

// The file in the folder whose name ends in .tiktoken, of several the first by name; empty where
// there is none.
std::string FindTiktoken(const std::string& folder) {
  std::string found;
  std::error_code error;
  std::filesystem::directory_iterator entry(folder, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (absl::EndsWith(name, ".tiktoken") && (found.empty() || name < found)) found = name;
  }
  return found;
}

// Files that make a tokenizer together.
constexpr struct {
  const char *vocabulary, *merges;
} kPairs[] = {{"vocab.json", "merges.txt"}, {"encoder.json", "vocab.bpe"}};

// The file that holds the vocabulary, of several the one that transformers would read; empty where
// there is none.
absl::StatusOr<std::string> FindMain(const std::string& folder) {
  const struct {
    std::string file, needs;
  } kinds[] = {{"tokenizer.json", ""},
               {"tokenizer.model", ""},
               {kPairs[0].vocabulary, kPairs[0].merges},
               {kPairs[1].vocabulary, kPairs[1].merges},
               {"tekken.json", ""},
               {FindTiktoken(folder), ""},
               {"vocab.txt", ""}};
  for (const auto& [file, needs] : kinds) {
    if (file.empty()) continue;
    NINFER_ASSIGN_OR_RETURN(bool there, HasFile(JoinPath(folder, file)));
    if (there && !needs.empty()) {
      NINFER_ASSIGN_OR_RETURN(there, HasFile(JoinPath(folder, needs)));
    }
    if (there) return file;
  }
  return "";
}

absl::Status ReadFiles(const std::string& folder, std::string* path, SpecBuilder* builder) {
  NINFER_ASSIGN_OR_RETURN(const Json config, ReadOptional(folder, kTokenizerConfig));
  NINFER_ASSIGN_OR_RETURN(const std::string main, FindMain(folder));
  if (main.empty()) return absl::OkStatus();
  *path = JoinPath(folder, main);
  if (main == "tokenizer.json") {
    NINFER_ASSIGN_OR_RETURN(const std::string text, ReadFile(*path, kFileLimit));
    NINFER_RETURN_IF_ERROR(ReadTokenizerJson(text, *path, builder));
    NINFER_RETURN_IF_ERROR(AddConfigTokens(folder, config, /*keep_ids=*/false, builder));
    if (TokenizerClass(config) != "LlamaTokenizer") return absl::OkStatus();
    // Its normalization is not the file's, and changes no token.
    for (AddedToken& token : builder->spec.added) token.skipped = token.special;
    return absl::OkStatus();
  }
  if (main == "tokenizer.model") return ReadTokenizerModel(*path, folder, config, builder);
  for (const auto& [vocabulary, merges] : kPairs) {
    if (main == vocabulary) {
      return ReadVocabularyAndMerges(folder, vocabulary, merges, config, builder);
    }
  }
  if (main == "tekken.json") return ReadTekkenFile(*path, folder, config, builder);
  if (main != "vocab.txt") {
    NINFER_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(*path, kFileLimit));
    return ReadTiktokenFile(*path, bytes, folder, config, builder);
  }
  NINFER_ASSIGN_OR_RETURN(const std::string name, ClassOf(folder, config));
  if (!name.empty() && name != "BertTokenizer") return UnsupportedClass(folder, name);
  NINFER_ASSIGN_OR_RETURN(const std::string text, ReadFile(*path, kFileLimit));
  NINFER_RETURN_IF_ERROR(
      ReadBertVocabulary(text, *path, config, JoinPath(folder, kTokenizerConfig), builder));
  return AddConfigTokens(folder, config, /*keep_ids=*/false, builder);
}

}  // namespace

absl::StatusOr<std::string> IncompleteTokenizer(const std::string& folder) {
  for (const auto& [vocabulary, merges] : kPairs) {
    NINFER_ASSIGN_OR_RETURN(const bool has_vocabulary, Has(folder, vocabulary));
    NINFER_ASSIGN_OR_RETURN(const bool has_merges, Has(folder, merges));
    if (has_vocabulary == has_merges) continue;
    return absl::StrCat(" (", has_vocabulary ? vocabulary : merges, " is there, ",
                        has_vocabulary ? merges : vocabulary, " is not)");
  }
  return "";
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromFolder(const std::string& folder) {
  SpecBuilder builder;
  std::string path;
  NINFER_RETURN_IF_ERROR(ReadFiles(folder, &path, &builder));
  if (path.empty()) return std::unique_ptr<Tokenizer>();
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = FromSpec(std::move(builder.spec));
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), path);
  return tokenizer;
}

}  // namespace ninfer
