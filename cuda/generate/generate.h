// program -> CUDA C++. Each kernel of the program becomes one function or a few, its variants for
// steps of few and of many rows, in one source that NVRTC compiles and that a host compiler
// compiles too, against cuda/host_shim. The text is a function of the program alone. Tested by
// tests/cuda_shim_test.cc.
#ifndef NINFER_CUDA_GENERATE_GENERATE_H_
#define NINFER_CUDA_GENERATE_GENERATE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "program/program.h"

namespace ninfer::cuda {

// A function of the source:
//   extern "C" __global__ void name(operand 0, ..., operand n - 1, const int* dims)
// The operands are addresses in device memory, as program.h says of a kernel's; weights lie as
// weights.h packs them and KV pools as kv_layout.h says. dims[i] is the value of symbol i, in
// device memory too, so that a recorded launch serves every step that fits its grid: blocks beyond
// the step's rows do nothing.
struct DeviceKernel {
  std::string name;
  int kernel = 0;  // of Program::kernels
  // A launch of the kernel is this function where dims[rows_symbol] is at most `most_rows`, and no
  // function of the same kernel before it took it.
  int rows_symbol = -1;
  int64_t most_rows = INT64_MAX;
  program::Units grid[2];  // blocks along x and y
  int threads = 0;         // of a block, along x
  int blocks = 1;          // that a multiprocessor holds at a time, at least
  bool Takes(const int32_t* dims) const {
    return rows_symbol < 0 || dims[rows_symbol] <= most_rows;
  }
};

struct Source {
  std::string text;                   // without the intrinsics
  std::vector<DeviceKernel> kernels;  // by program kernel, then by most_rows
};

// The head of every source for a card: types, conversions and instructions in PTX. The host shim
// has the same names.
const char* Intrinsics();

// Refuses, by kernel and node, what no function computes yet.
absl::StatusOr<Source> Generate(const program::Program& program);

}  // namespace ninfer::cuda

#endif  // NINFER_CUDA_GENERATE_GENERATE_H_
