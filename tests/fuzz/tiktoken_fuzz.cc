// Any bytes as a tiktoken file, and as tekken.json: refused, or a tokenizer that encodes, decodes
// and survives its tables. The single bytes are put before the input, so that mutations get past
// them.
#include <cstdint>
#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "text/tiktoken.h"
#include "text/tokenizer.h"

namespace {

void Use(ninfer::SpecBuilder builder, absl::string_view bytes) {
  const auto tokenizer = ninfer::Tokenizer::FromSpec(std::move(builder.spec));
  if (!tokenizer.ok()) return;
  const auto copy = ninfer::Tokenizer::Deserialize((*tokenizer)->Serialize());
  if (!copy.ok()) std::abort();
  for (const absl::string_view text :
       {absl::string_view("Hello <s> w\xC3\xB6rld  12's\n"), bytes.substr(0, 200)}) {
    const auto ids = (*tokenizer)->Encode(text, true);
    if (ids != (*copy)->Encode(text, true)) std::abort();
    (*tokenizer)->Decode(ids, false);
  }
}

std::string SingleBytes() {
  std::string lines;
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    absl::StrAppend(&lines, absl::Base64Escape(absl::string_view(&c, 1)), " ", byte, "\n");
  }
  return lines;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string* const kSingleBytes = new std::string(SingleBytes());
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  constexpr const char* kEncodings[] = {"cl100k_base", "gpt2", "qwen", "other"};
  ninfer::LooksLikeTiktoken(bytes);
  for (const bool padded : {false, true}) {
    ninfer::SpecBuilder builder;
    const std::string text = padded ? absl::StrCat(*kSingleBytes, bytes) : std::string(bytes);
    if (ninfer::ReadTiktoken(text, "fuzz", kEncodings[size % 4], &builder).ok()) {
      Use(std::move(builder), bytes);
    }
  }
  ninfer::SpecBuilder builder;
  if (ninfer::ReadTekken(bytes, "fuzz", true, &builder).ok()) Use(std::move(builder), bytes);
  return 0;
}
