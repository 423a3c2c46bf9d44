// Any bytes as a tokenizer's tables: refused, or a tokenizer whose every use stays inside them. An
// input that reads as tokenizer.json becomes tables first, so that mutations start from real ones;
// its last bytes then say which bytes of the tables to change.
#include <cstdint>
#include <cstring>

#include "text/detokenizer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

namespace {

void Use(absl::string_view tables) {
  const auto tokenizer = ninfer::Tokenizer::Deserialize(tables);
  if (!tokenizer.ok()) return;
  const auto ids = (*tokenizer)->Encode("Hello <s>w\xC3\xB6rld\xF0\x9F\xA6\x8A  12's", true);
  (*tokenizer)->Decode(ids, true);
  ninfer::IncrementalDetokenizer detokenizer(tokenizer->get(), false);
  for (int32_t id = -1; id < 64; ++id) {
    detokenizer.Append(id);
    (*tokenizer)->IdToPiece(id);
    (*tokenizer)->IsSpecial(id);
  }
  detokenizer.Finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  Use(bytes);
  const size_t end = bytes.rfind('}');
  if (end == absl::string_view::npos) return 0;
  ninfer::SpecBuilder builder;
  if (!ninfer::ReadTokenizerJson(bytes.substr(0, end + 1), "fuzz", &builder).ok()) return 0;
  const auto tokenizer = ninfer::Tokenizer::FromSpec(std::move(builder.spec));
  if (!tokenizer.ok()) return 0;
  const std::string tables = (*tokenizer)->Serialize();
  // Also without a tail, so that every mutation of the text tries some damage of its own.
  uint32_t state = static_cast<uint32_t>(size);
  for (const char c : bytes.substr(end)) state = state * 31 + static_cast<uint8_t>(c);
  for (int round = 0; round < 8; ++round) {
    std::string damaged = tables;
    for (int i = 0; i < 1 + round / 2; ++i) {
      state = state * 1664525 + 1013904223;
      damaged[(state >> 8) % damaged.size()] ^= static_cast<char>(1 << (state >> 4 & 7));
    }
    Use(damaged);
  }
  return 0;
}
