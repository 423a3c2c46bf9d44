// A generated source, compiled by a host compiler against shim.h and opened: the engine with which
// CUDA kernels are tested on machines without a GPU. Slow, and the arithmetic of the card but for
// the last bits of expf and the like.
// Tested by tests/cuda_shim_test.cc.
#ifndef NINFER_CUDA_HOST_SHIM_HOST_MODULE_H_
#define NINFER_CUDA_HOST_SHIM_HOST_MODULE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cuda/generate/generate.h"

namespace ninfer::cuda {

// Compiles a source for the host into a shared library, and gives its path: folder/name.so, with
// the text beside it. It has for each of `functions` an entry shim_NAME (see shim.h) and the number
// of its arguments, shim_arguments_NAME. `compiler` and `include_dir` as below.
absl::StatusOr<std::string> CompileForHost(const std::string& source,
                                           absl::Span<const std::string> functions,
                                           const std::string& compiler,
                                           const std::string& include_dir,
                                           const std::string& folder, const std::string& name);

class HostModule {
 public:
  // `compiler` is a C++ compiler that knows GCC's flags, `include_dir` the root of the source tree;
  // NAME.cc and NAME.so are left in `folder`. An error holds the first line that the compiler says.
  static absl::StatusOr<std::unique_ptr<HostModule>> Compile(Source source,
                                                             const std::string& compiler,
                                                             const std::string& include_dir,
                                                             const std::string& folder,
                                                             const std::string& name);
  ~HostModule();
  HostModule(const HostModule&) = delete;
  HostModule& operator=(const HostModule&) = delete;

  const Source& source() const { return source_; }

  // Runs the launch of a program's kernel in a step of these dimensions: operands in order, and
  // nothing behind them.
  void Launch(int kernel, absl::Span<void* const> operands, absl::Span<const int32_t> dims) const;

 private:
  using Function = void (*)(void* const* arguments, const int64_t* grid, int64_t threads);
  HostModule(Source source, void* library) : source_(std::move(source)), library_(library) {}

  Source source_;
  void* library_;
  std::vector<Function> functions_;  // as source_.kernels
};

}  // namespace ninfer::cuda

#endif  // NINFER_CUDA_HOST_SHIM_HOST_MODULE_H_
