// Any bytes as tokenizer.json: refused, or a tokenizer that encodes, decodes and survives its
// tables.
#include <cstdint>
#include <cstdlib>

#include "text/detokenizer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  ninfer::SpecBuilder builder;
  if (!ninfer::ReadTokenizerJson(bytes, "fuzz", &builder).ok()) return 0;
  const auto tokenizer = ninfer::Tokenizer::FromSpec(std::move(builder.spec));
  if (!tokenizer.ok()) return 0;
  const auto copy = ninfer::Tokenizer::Deserialize((*tokenizer)->Serialize());
  if (!copy.ok()) std::abort();
  for (const absl::string_view text :
       {absl::string_view("Hello, <s>w\xC3\xB6rld  12's\n"), bytes.substr(0, 200)}) {
    const std::vector<int32_t> ids = (*tokenizer)->Encode(text, true);
    if (ids != (*copy)->Encode(text, true)) std::abort();
    ninfer::IncrementalDetokenizer detokenizer(copy->get(), true);
    std::string streamed;
    for (const int32_t id : ids) streamed += detokenizer.Append(id);
    streamed += detokenizer.Finish();
    if (streamed != (*tokenizer)->Decode(ids, true)) std::abort();
  }
  return 0;
}
