// NVRTC's functions over the host's compiler: what it gives for a cubin is a shared library that
// shim_cuda.cc opens. NINFER_NVRTC names this library, and NINFER_CUDA_DRIVER the other one, to
// make and run plans for cards on the host. Tested by tests/cuda_run_test.py.
#include <stdlib.h>
#include <unistd.h>

#include <cstring>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/strip.h"
#include "base/file.h"
#include "cuda/generate/generate.h"
#include "cuda/host_shim/host_module.h"

namespace {

constexpr int kOk = 0, kCompilation = 6;

struct Program {
  std::string text, library, log;
};

absl::StatusOr<std::string> CompileText(const std::string& source) {
  // What the prelude has in PTX the shim has in C++.
  const std::string text(absl::StripPrefix(source, ninfer::cuda::Intrinsics()));
  static const auto* function =
      new std::regex(R"(__global__ void (?:__launch_bounds__\(\d+, \d+\)\s+)?(\w+)\()");
  std::vector<std::string> names;
  for (std::sregex_iterator at(text.begin(), text.end(), *function), end; at != end; ++at) {
    names.push_back((*at)[1]);
  }
  std::string folder = ninfer::JoinPath(ninfer::GetEnv("TMPDIR", "/tmp"), "ninfer-shim-XXXXXX");
  if (mkdtemp(folder.data()) == nullptr) return absl::InternalError(folder + ": cannot be made");
  const absl::StatusOr<std::string> path = ninfer::cuda::CompileForHost(
      text, names, NINFER_CXX_COMPILER, NINFER_SOURCE_DIR, folder, "kernels");
  absl::StatusOr<std::string> library = path.ok() ? ninfer::ReadFile(*path) : path;
  for (const char* suffix : {".cc", ".so", ".log"}) {
    unlink(ninfer::JoinPath(folder, std::string("kernels") + suffix).c_str());
  }
  rmdir(folder.c_str());
  return library;
}

}  // namespace

extern "C" {

int nvrtcVersion(int* major, int* minor) {
  *major = *minor = 0;
  return kOk;
}
const char* nvrtcGetErrorString(int result) { return result == kOk ? "ok" : "compilation"; }
int nvrtcCreateProgram(void** program, const char* source, const char*, int, const char* const*,
                       const char* const*) {
  *program = new Program{source, "", ""};
  return kOk;
}
int nvrtcDestroyProgram(void** program) {
  delete static_cast<Program*>(*program);
  return kOk;
}
int nvrtcCompileProgram(void* handle, int, const char* const*) {
  auto* program = static_cast<Program*>(handle);
  absl::StatusOr<std::string> library = CompileText(program->text);
  if (library.ok()) program->library = *std::move(library);
  if (!library.ok()) program->log = std::string(library.status().message());
  return library.ok() ? kOk : kCompilation;
}
int nvrtcGetProgramLogSize(void* program, size_t* size) {
  *size = static_cast<Program*>(program)->log.size();
  return kOk;
}
int nvrtcGetProgramLog(void* handle, char* log) {
  const auto* program = static_cast<Program*>(handle);
  std::memcpy(log, program->log.data(), program->log.size());
  return kOk;
}
int nvrtcGetCUBINSize(void* program, size_t* size) {
  *size = static_cast<Program*>(program)->library.size();
  return kOk;
}
int nvrtcGetCUBIN(void* handle, char* bytes) {
  const auto* program = static_cast<Program*>(handle);
  std::memcpy(bytes, program->library.data(), program->library.size());
  return kOk;
}
// There is none: a plan then has code alone.
int nvrtcGetPTXSize(void*, size_t* size) {
  *size = 0;
  return kOk;
}
int nvrtcGetPTX(void*, char*) { return kOk; }

}  // extern "C"
