// Any text as a config.json: refused, or imported as a graph that the verifier accepts.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "frontend/frontend.h"
#include "ir/verifier.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto model = ninfer::frontend::ImportRandomModel("fuzz", text, ninfer::DType::kBF16, 1, {});
  if (!model.ok()) return 0;
  const absl::Status status = ninfer::ir::Verify(model->module);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  std::abort();
}
