// Inside cuda/generate: the C++ that all kernels share.
#ifndef NINFER_CUDA_GENERATE_PRELUDE_H_
#define NINFER_CUDA_GENERATE_PRELUDE_H_

#include <string>

namespace ninfer::cuda {

const char* Prelude();
// And by those that read weights of integers.
std::string IntegerPrelude();

}  // namespace ninfer::cuda

#endif  // NINFER_CUDA_GENERATE_PRELUDE_H_
