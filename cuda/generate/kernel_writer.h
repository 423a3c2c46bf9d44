// What the writers of all families build on: the function under construction, the names of its
// operands and of the body's values, its grid.
// Tested by tests/cuda_shim_test.cc.
#ifndef NINFER_CUDA_GENERATE_KERNEL_WRITER_H_
#define NINFER_CUDA_GENERATE_KERNEL_WRITER_H_

#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "cuda/generate/generate.h"
#include "cuda/generate/text.h"
#include "program/program.h"

namespace ninfer::cuda {

inline constexpr int kWarpLanes = 32;

class KernelWriter {
 public:
  KernelWriter(const program::Program& program, int kernel, Source* source);

  const program::Program& program() const { return program_; }
  const program::Kernel& kernel() const { return program_.kernels[index_]; }
  const ir::Function& body() const { return *kernel().body; }
  Text& text() { return text_; }

  // A comment: the kernel's name and its body as the program's text has it. Once, before the
  // variants.
  void Head();
  // Begins a function, `variant` behind the kernel's name, of blocks of `threads`, `blocks` of
  // which a multiprocessor shall hold.
  DeviceKernel& Begin(const std::string& variant, int threads, int blocks);
  void End();  // and hands its text to the source

  const program::KernelParam& ParameterInfo(const ir::Value* parameter) const;
  // The operand's name.
  std::string Name(const ir::Value* parameter) const;
  std::string OutputName(int result) const;
  // "v3" for %3, "v_scores" for %scores: then "v3_1" and so on, since a value may be computed at
  // several places.
  std::string NewName(const ir::Value* value);
  std::string NewName(const std::string& base);
  // "dims[0]", "(dims[1] + 1)" or a number.
  std::string DimText(const ir::Dim& dim) const;
  std::string SymbolText(absl::string_view symbol) const;  // "dims[1]"
  // Elements from one row of the parameter to the next.
  std::string RowStride(const ir::Value* parameter) const;

 private:
  std::string Signature(const DeviceKernel& device) const;

  const program::Program& program_;
  const int index_;
  Source* source_;
  Text text_;
  absl::flat_hash_map<const ir::Value*, std::string> names_;
  absl::flat_hash_map<std::string, int> uses_;
};

// Writers, one a family.
absl::Status WriteRowwise(KernelWriter& w);
absl::Status WriteKvAppend(KernelWriter& w);
absl::Status WritePages(KernelWriter& w);
absl::Status WriteRouting(KernelWriter& w);
absl::Status WriteArgmax(KernelWriter& w);
absl::Status WriteLinear(KernelWriter& w);
absl::Status WriteAttention(KernelWriter& w);

}  // namespace ninfer::cuda

#endif  // NINFER_CUDA_GENERATE_KERNEL_WRITER_H_
