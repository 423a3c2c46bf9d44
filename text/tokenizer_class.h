// What transformers' tokenizer classes have where a folder's files do not say.
// Tested by tests/text_chat_template_test.cc and tests/text_models_test.cc.
#ifndef NINFER_TEXT_TOKENIZER_CLASS_H_
#define NINFER_TEXT_TOKENIZER_CLASS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "text/json_fields.h"

namespace ninfer {

// tokenizer_class of `config`, a tokenizer_config.json, without "Fast"; empty where it names none.
std::string TokenizerClass(const Json& config);

// bos_token, eos_token, unk_token and pad_token with their texts, of that class, as the classes'
// __init__ have them in transformers 5.23; none of other classes. A key of `config`, null included,
// takes the default's place.
std::vector<std::pair<std::string, std::string>> DefaultTokens(const Json& config);

}  // namespace ninfer

#endif  // NINFER_TEXT_TOKENIZER_CLASS_H_
