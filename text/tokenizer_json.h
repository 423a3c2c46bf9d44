// The readers of tokenizer files. Compile side only: the run time reads tables.
// Tested by tests/text_json_test.cc and tests/text_zoo_test.cc.
#ifndef NINFER_TEXT_TOKENIZER_JSON_H_
#define NINFER_TEXT_TOKENIZER_JSON_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "text/json_fields.h"
#include "text/spec_builder.h"

namespace ninfer {

// tokenizer.json of Hugging Face tokenizers. A component that is not supported is refused by its
// name.
absl::Status ReadTokenizerJson(absl::string_view text, absl::string_view name,
                               SpecBuilder* builder);

// The parts of it. In text/tokenizer_components.cc. `where` names the place in messages.
absl::Status ReadNormalizer(const Json& json, const std::string& where, std::vector<Step>* steps);
absl::Status ReadPreTokenizer(const Json& json, const std::string& where, std::vector<Step>* steps);
absl::Status ReadDecoder(const Json& json, const std::string& where, std::vector<Step>* steps);

// In text/tokenizer_post.cc.
absl::Status ReadPostProcessor(const Json& json, const std::string& where, TokenizerSpec* spec);

// One entry of added_tokens or added_tokens_decoder. `special` is the default of that flag.
absl::StatusOr<AddedToken> ReadAddedToken(const Json& json, absl::string_view where, bool special);

// vocab.txt, a piece a line, as BertTokenizer uses it; `config` is tokenizer_config.json, named
// `where` in messages. In text/vocab_merges.cc.
absl::Status ReadBertVocabulary(absl::string_view text, absl::string_view name, const Json& config,
                                const std::string& where, SpecBuilder* builder);

// An object of pieces and ids, and a merge written as two pieces and a blank ("#version..." is
// none), as tokenizer.json and the files below have them. In text/vocab_merges.cc.
absl::Status AddPieces(const Json& vocabulary, absl::string_view where, SpecBuilder* builder);
absl::Status AddMergeLine(absl::string_view line, absl::string_view where, SpecBuilder* builder);

// vocab.json (or encoder.json) and merges.txt (or vocab.bpe). In text/vocab_merges.cc.
absl::Status ReadVocabulary(absl::string_view text, absl::string_view name, SpecBuilder* builder);
absl::Status ReadMerges(absl::string_view text, absl::string_view name, SpecBuilder* builder);

}  // namespace ninfer

#endif  // NINFER_TEXT_TOKENIZER_JSON_H_
