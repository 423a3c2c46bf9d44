// Any bytes as a chat template: refused, or rendered to a text or an error, within small limits.
#include <cstdint>
#include <cstdlib>

#include "text/jinja/template.h"
#include "text/unicode.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* variables = new nlohmann::ordered_json(nlohmann::ordered_json::parse(R"({
      "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Gr\u00fc\u00dfe"},
                   {"role": "assistant", "content": [{"type": "text", "text": "x"}], "n": 1.5}],
      "tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": [1, null, true]}}}],
      "documents": null, "add_generation_prompt": true, "bos_token": "<s>"})"));
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  ninfer::jinja::Error error;
  const auto parsed = ninfer::jinja::Template::Parse(text, &error);
  if (parsed == nullptr) {
    if (error.message.empty() || error.line < 1) std::abort();
    return 0;
  }
  ninfer::jinja::Limits limits;
  limits.steps = 20000;
  limits.memory = int64_t{1} << 22;
  limits.output = int64_t{1} << 20;
  const ninfer::jinja::Rendered rendered = parsed->Render(*variables, std::tm(), limits);
  if (rendered.error.type.empty() && !ninfer::IsValidUtf8(rendered.text)) std::abort();
  return 0;
}
