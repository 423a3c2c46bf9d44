// Any bytes as SentencePiece's tokenizer.model: refused, or a tokenizer that encodes and decodes.
#include <cstdint>

#include "text/sentencepiece_model.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  ninfer::SpecBuilder builder;
  const auto status = ninfer::ReadSentencePieceModel(bytes, "fuzz", {}, &builder);
  if (!status.ok()) return 0;
  const auto tokenizer = ninfer::Tokenizer::FromSpec(std::move(builder.spec));
  if (!tokenizer.ok()) return 0;
  (*tokenizer)->Decode((*tokenizer)->Encode("Hello <s> w\xC3\xB6rld  12", true), false);
  (*tokenizer)->Encode(bytes.substr(0, 200), true);
  return 0;
}
