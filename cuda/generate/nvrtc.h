// CUDA C++ -> code for a card, by NVRTC, NVIDIA's compiler in a library. It is opened when it is
// asked for: from the file that NINFER_NVRTC names, from where the linker looks, from a CUDA
// toolkit (CUDA_HOME, CUDA_PATH, /usr/local/cuda), or from PyPI's nvidia-cuda-nvrtc in VIRTUAL_ENV
// or where Python keeps packages of the user and of the machine. Tested by
// tests/cuda_nvrtc_test.cc.
#ifndef NINFER_CUDA_GENERATE_NVRTC_H_
#define NINFER_CUDA_GENERATE_NVRTC_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cuda/generate/generate.h"

namespace ninfer::cuda {

// A row of architectures.def.
struct Architecture {
  absl::string_view name;  // "sm_90"
  int capability;          // 90
  int64_t shared_bytes;    // of a multiprocessor
  int threads;             // that a multiprocessor holds
  absl::string_view cards;
};
// Unknown names are refused with the list of known ones.
absl::StatusOr<Architecture> FindArchitecture(absl::string_view name);
absl::Span<const Architecture> ListArchitectures();

// What a function takes of a multiprocessor, as the compiler reports it.
struct Resources {
  std::string function;
  int registers = 0;          // of a thread
  int64_t shared_bytes = 0;   // of a block
  int64_t local_bytes = 0;    // of a thread, in memory that is its own
  int64_t spilled_bytes = 0;  // stores and loads
};

struct CardCode {
  std::string cubin;
  std::string ptx;
  std::vector<Resources> resources;  // in no order
};

class Nvrtc {
 public:
  // Once for the process. Where there is none, the error says in one line how to get it.
  static absl::StatusOr<const Nvrtc*> Open();
  // The first of these files that is one.
  static absl::StatusOr<std::unique_ptr<const Nvrtc>> OpenFrom(absl::Span<const std::string> paths);
  ~Nvrtc();

  const std::string& path() const { return path_; }
  std::string version() const { return version_; }  // "12.8"

  // An error holds what the compiler says first.
  absl::StatusOr<CardCode> Compile(const Source& source, const Architecture& architecture) const;

 private:
  struct Functions;
  Nvrtc();

  std::string path_, version_;
  std::unique_ptr<Functions> call_;
};

// Blocks of a function that a multiprocessor holds at a time.
int BlocksAtOnce(const Resources& resources, int threads, const Architecture& architecture);

}  // namespace ninfer::cuda

#endif  // NINFER_CUDA_GENERATE_NVRTC_H_
