// The folder in which OpenAI published GPT-2: a TensorFlow checkpoint with names of its own,
// hparams.json for a configuration, encoder.json and vocab.bpe for a tokenizer.
// Tested by tests/tf_checkpoint_test.cc.
#ifndef NINFER_FRONTEND_OPENAI_GPT2_H_
#define NINFER_FRONTEND_OPENAI_GPT2_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "frontend/stored_tensor.h"

namespace ninfer::frontend {

// The index of the checkpoint that the folder's file `checkpoint` names, else "model.ckpt.index".
// The file may be absent.
absl::StatusOr<std::string> OpenAiGpt2Index(const std::string& folder);

// Gives a tensor the name and shape that Hugging Face's GPT-2 has for it: "model/h0/attn/c_attn/w"
// [1,n,3n] becomes "transformer.h.0.attn.c_attn.weight" [n,3n]. Other names stay as they are.
void RenameOpenAiGpt2(StoredTensor& tensor);

// The text of a config.json that says what hparams.json does. `file` names it in errors.
absl::StatusOr<std::string> ConfigOfHparams(const std::string& file, absl::string_view text);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_OPENAI_GPT2_H_
