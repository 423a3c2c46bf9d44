// See the header.
#include "text/tokenizer_class.h"

#include "absl/strings/strip.h"

namespace ninfer {

std::string TokenizerClass(const Json& config) {
  const Json* name = Field(config, "tokenizer_class");
  if (name == nullptr || !name->is_string()) return "";
  return std::string(absl::StripSuffix(name->get_ref<const std::string&>(), "Fast"));
}

std::vector<std::pair<std::string, std::string>> DefaultTokens(const Json& config) {
  static constexpr struct {
    absl::string_view tokenizer_class;
    const char *key, *text;
  } kDefaults[] = {
      {"LlamaTokenizer", "bos_token", "<s>"},
      {"LlamaTokenizer", "eos_token", "</s>"},
      {"LlamaTokenizer", "unk_token", "<unk>"},
      {"GPT2Tokenizer", "bos_token", "<|endoftext|>"},
      {"GPT2Tokenizer", "eos_token", "<|endoftext|>"},
      {"GPT2Tokenizer", "unk_token", "<|endoftext|>"},
      {"CodeGenTokenizer", "bos_token", "<|endoftext|>"},
      {"CodeGenTokenizer", "eos_token", "<|endoftext|>"},
      {"CodeGenTokenizer", "unk_token", "<|endoftext|>"},
      {"GPTNeoXTokenizer", "bos_token", "<|endoftext|>"},
      {"GPTNeoXTokenizer", "eos_token", "<|endoftext|>"},
      {"GPTNeoXTokenizer", "unk_token", "<|endoftext|>"},
      {"GPTNeoXTokenizer", "pad_token", "<|padding|>"},
      {"Qwen2Tokenizer", "eos_token", "<|endoftext|>"},
      {"Qwen2Tokenizer", "unk_token", "<|endoftext|>"},
      {"Qwen2Tokenizer", "pad_token", "<|endoftext|>"},
      {"GemmaTokenizer", "bos_token", "<bos>"},
      {"GemmaTokenizer", "eos_token", "<eos>"},
      {"GemmaTokenizer", "unk_token", "<unk>"},
      {"GemmaTokenizer", "pad_token", "<pad>"},
      {"CohereTokenizer", "bos_token", "<BOS_TOKEN>"},
      {"CohereTokenizer", "eos_token", "<|END_OF_TURN_TOKEN|>"},
      {"CohereTokenizer", "unk_token", "<UNK>"},
      {"CohereTokenizer", "pad_token", "<PAD>"},
  };
  std::vector<std::pair<std::string, std::string>> tokens;
  const std::string wanted = TokenizerClass(config);
  for (const auto& row : kDefaults) {
    if (row.tokenizer_class == wanted && !config.contains(row.key)) {
      tokens.emplace_back(row.key, row.text);
    }
  }
  return tokens;
}

}  // namespace ninfer
