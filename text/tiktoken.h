// The readers of tiktoken files and of Mistral's tekken.json. Compile side only.
//
// Both list byte strings by rank: of all neighbours whose joined bytes are listed, those with the
// lowest rank merge first, and a word that is listed as a whole is one token. Pieces are stored in
// byte letters.
// Source: tiktoken's lib.rs and openai_public.py, mistral_common's tekken.py.
// Tested by tests/text_tiktoken_test.cc.
#ifndef NINFER_TEXT_TIKTOKEN_H_
#define NINFER_TEXT_TIKTOKEN_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "text/spec_builder.h"

namespace ninfer {

// Whether a file's bytes begin as a tiktoken file does.
bool LooksLikeTiktoken(absl::string_view bytes);

// Lines of base64 and a rank. `encoding`, the file's name without its ending, selects the
// expression that cuts words and the special tokens (cl100k_base, o200k_base, o200k_harmony,
// p50k_base, p50k_edit, r50k_base, gpt2, qwen); any other name has those of cl100k_base and no
// special tokens.
absl::Status ReadTiktoken(absl::string_view text, absl::string_view name,
                          absl::string_view encoding, SpecBuilder* builder);

// tekken.json. Special tokens have the first ids. `add_bos`: <s> stands before a text.
absl::Status ReadTekken(absl::string_view text, absl::string_view name, bool add_bos,
                        SpecBuilder* builder);

}  // namespace ninfer

#endif  // NINFER_TEXT_TIKTOKEN_H_
