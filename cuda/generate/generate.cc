// See generate.h.
// Tested by tests/cuda_shim_test.cc.
#include "cuda/generate/generate.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cuda/generate/kernel_writer.h"
#include "cuda/generate/prelude.h"

namespace ninfer::cuda {
namespace {

absl::Status Write(KernelWriter& w) {
  switch (w.kernel().family) {
    case program::Family::kLinear:
    case program::Family::kGroupedLinear:
      return WriteLinear(w);
    case program::Family::kRouting:
      return WriteRouting(w);
    case program::Family::kArgmax:
      return WriteArgmax(w);
    case program::Family::kRowwise:
      return WriteRowwise(w);
    case program::Family::kKvAppend:
      return WriteKvAppend(w);
    case program::Family::kAttention:
      return WriteAttention(w);
    case program::Family::kPages:
      return WritePages(w);
  }
  return absl::InternalError("unknown family");
}

bool HasIntegers(const program::Program& program) {
  for (const program::Kernel& kernel : program.kernels) {
    for (const program::KernelParam& param : kernel.params) {
      const bool weight = param.kind == program::OperandKind::kWeight;
      if (weight && formats::InfoOf(param.format).scheme != nullptr) return true;
    }
  }
  return false;
}

}  // namespace

absl::StatusOr<Source> Generate(const program::Program& program) {
  Source source;
  source.text = Prelude();
  if (HasIntegers(program)) source.text += IntegerPrelude();
  for (size_t i = 0; i < program.kernels.size(); ++i) {
    KernelWriter writer(program, static_cast<int>(i), &source);
    NINFER_RETURN_IF_ERROR(Write(writer));
  }
  return source;
}

}  // namespace ninfer::cuda
