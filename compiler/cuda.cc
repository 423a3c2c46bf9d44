// The program as CUDA, for readers: no plan holds it.
// Tested by tests/compile_flags_test.cc.
#include "base/file.h"
#include "base/status.h"
#include "compiler/compile.h"
#include "cuda/generate/generate.h"
#include "cuda/generate/nvrtc.h"

namespace ninfer::compiler {

absl::Status DumpCuda(const program::Program& program, const Options& options) {
  if (options.dump_cuda.empty() && options.dump_ptx.empty()) return absl::OkStatus();
  NINFER_ASSIGN_OR_RETURN(const cuda::Source source, cuda::Generate(program));
  if (!options.dump_cuda.empty()) {
    NINFER_RETURN_IF_ERROR(WriteFile(JoinPath(options.dump_cuda, "kernels.cu"),
                                     absl::StrCat(cuda::Intrinsics(), source.text)));
  }
  if (options.dump_ptx.empty()) return absl::OkStatus();
  NINFER_ASSIGN_OR_RETURN(const cuda::Nvrtc* nvrtc, cuda::Nvrtc::Open());
  const cuda::Architecture& oldest = cuda::ListArchitectures().front();
  NINFER_ASSIGN_OR_RETURN(const cuda::CardCode code, nvrtc->Compile(source, oldest));
  const std::string name = absl::StrCat("kernels.", oldest.name, ".ptx");
  return WriteFile(JoinPath(options.dump_ptx, name), code.ptx);
}

}  // namespace ninfer::compiler
