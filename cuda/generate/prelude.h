// Inside cuda/generate: the C++ that all kernels share.
#ifndef NINFER_CUDA_GENERATE_PRELUDE_H_
#define NINFER_CUDA_GENERATE_PRELUDE_H_

namespace ninfer::cuda {

const char* Prelude();

}  // namespace ninfer::cuda

#endif  // NINFER_CUDA_GENERATE_PRELUDE_H_
