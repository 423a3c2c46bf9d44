// The graph's text form: whatever parses prints, reads back and prints the same; the verifier takes
// whatever parses without failing.
#include <cstdint>

#include "base/status.h"
#include "ir/text.h"
#include "ir/verifier.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using ninfer::ir::Module;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<Module> module = ninfer::ir::Parse(text, "fuzz.ir");
  if (!module.ok()) {
    NINFER_CHECK(module.status().message().find('\n') == absl::string_view::npos)
        << "an error of several lines: " << module.status().ToString();
    return 0;
  }
  const std::string printed = ninfer::ir::Print(*module);
  const absl::StatusOr<Module> again = ninfer::ir::Parse(printed, "printed.ir");
  NINFER_CHECK(again.ok()) << again.status().ToString() << "\n" << printed;
  NINFER_CHECK(ninfer::ir::Print(*again) == printed) << printed;
  NINFER_CHECK(ninfer::ir::Print(module->Clone()) == printed) << printed;
  ninfer::ir::Verify(*module).IgnoreError();
  return 0;
}
