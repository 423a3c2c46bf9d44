// Any bytes as tekken.json where they begin as JSON does, else as a tiktoken file: refused, or a
// tokenizer that encodes, decodes and survives its tables. The single bytes are put before the
// lines, and in place of "BYTES", so that mutations get past them and seeds are small.
#include <cstdint>
#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
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

std::string Base64(int byte) {
  const char c = static_cast<char>(byte);
  return absl::Base64Escape(absl::string_view(&c, 1));
}

std::string Lines() {
  std::string lines;
  for (int byte = 0; byte < 256; ++byte) absl::StrAppend(&lines, Base64(byte), " ", byte, "\n");
  return lines;
}

std::string Entries() {
  std::string list;
  for (int byte = 0; byte < 256; ++byte) {
    absl::StrAppend(&list, byte == 0 ? "" : ",", R"({"rank":)", byte, R"(,"token_bytes":")",
                    Base64(byte), R"("})");
  }
  return list;
}

void RunTekken(absl::string_view bytes) {
  static const std::string* const kEntries = new std::string(Entries());
  const std::string text = absl::StrReplaceAll(bytes, {{"\"BYTES\"", *kEntries}});
  if (text.size() > bytes.size() + kEntries->size()) return;
  ninfer::SpecBuilder builder;
  if (ninfer::ReadTekken(text, "fuzz", true, &builder).ok()) Use(std::move(builder), bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string* const kLines = new std::string(Lines());
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (!bytes.empty() && bytes[0] == '{') {
    RunTekken(bytes);
    return 0;
  }
  constexpr const char* kEncodings[] = {"cl100k_base", "gpt2", "qwen", "other"};
  ninfer::LooksLikeTiktoken(bytes);
  for (const bool padded : {false, true}) {
    ninfer::SpecBuilder builder;
    const std::string text = padded ? absl::StrCat(*kLines, bytes) : std::string(bytes);
    if (ninfer::ReadTiktoken(text, "fuzz", kEncodings[size % 4], &builder).ok()) {
      Use(std::move(builder), bytes);
    }
  }
  return 0;
}
