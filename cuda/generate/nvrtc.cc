// See nvrtc.h. Multiplications and additions are fused where the source says so alone.
// Tested by tests/cuda_nvrtc_test.cc.
#include "cuda/generate/nvrtc.h"

#include <dlfcn.h>
#include <glob.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"

namespace ninfer::cuda {
namespace {

constexpr Architecture kArchitectures[] = {
#define ARCHITECTURE(name, capability, shared_kib, threads, cards) \
  {name, capability, int64_t{shared_kib} << 10, threads, cards},
#include "cuda/generate/architectures.def"
};

// What the loader looks for by itself, and then the files that the folders hold, the newest first.
std::vector<std::string> Candidates() {
  const std::string named = GetEnv("NINFER_NVRTC");
  if (!named.empty()) return {named};
  std::vector<std::string> found = {"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"};
  std::vector<std::string> patterns;
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    const std::string root = GetEnv(variable);
    if (!root.empty()) patterns.push_back(root + "/lib64/libnvrtc.so*");
  }
  patterns.push_back("/usr/local/cuda*/lib64/libnvrtc.so*");
  const std::string home = GetEnv("HOME"), environment = GetEnv("VIRTUAL_ENV");
  std::vector<std::string> packages;
  if (!environment.empty()) packages.push_back(environment + "/lib/python3*/site-packages");
  if (!home.empty()) packages.push_back(home + "/.local/lib/python3*/site-packages");
  packages.push_back("/usr/local/lib/python3*/dist-packages");
  packages.push_back("/usr/local/lib/python3*/site-packages");
  for (const std::string& folder : packages) {
    patterns.push_back(folder + "/nvidia/cu1*/lib/libnvrtc.so*");
    patterns.push_back(folder + "/nvidia/cuda_nvrtc/lib/libnvrtc.so*");
  }
  for (const std::string& pattern : patterns) {
    glob_t matches;
    if (glob(pattern.c_str(), 0, nullptr, &matches) == 0) {
      found.insert(found.end(), matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
      std::reverse(found.end() - static_cast<int64_t>(matches.gl_pathc), found.end());
    }
    globfree(&matches);
  }
  return found;
}

// The number before `unit` in a line of the compiler's report; 0 when there is none.
int64_t NumberBefore(absl::string_view line, absl::string_view unit) {
  const size_t end = line.find(unit);
  if (end == absl::string_view::npos) return 0;
  size_t begin = end;
  while (begin > 0 && absl::ascii_isdigit(line[begin - 1])) --begin;
  int64_t number = 0;
  return absl::SimpleAtoi(line.substr(begin, end - begin), &number) ? number : 0;
}

// "ptxas info : Compiling entry function 'name' for 'sm_90'", then lines about it.
std::vector<Resources> ReadReport(absl::string_view log) {
  std::vector<Resources> all;
  for (absl::string_view line : absl::StrSplit(log, '\n')) {
    if (absl::StrContains(line, "Compiling entry function")) {
      const std::vector<absl::string_view> pieces = absl::StrSplit(line, '\'');
      all.emplace_back();
      if (pieces.size() > 1) all.back().function = std::string(pieces[1]);
    }
    if (all.empty()) continue;
    Resources& now = all.back();
    if (absl::StrContains(line, " bytes stack frame")) {
      now.local_bytes = NumberBefore(line, " bytes stack frame");
      now.spilled_bytes =
          NumberBefore(line, " bytes spill stores") + NumberBefore(line, " bytes spill loads");
    }
    if (absl::StrContains(line, "Used ")) {
      now.registers = static_cast<int>(NumberBefore(line, " registers"));
      now.shared_bytes = NumberBefore(line, " bytes smem");
    }
  }
  return all;
}

}  // namespace

using Handle = void*;  // nvrtcProgram; results are 0 where all went well

struct Nvrtc::Functions {
  int (*version)(int* major, int* minor);
  const char* (*error_text)(int result);
  int (*create)(Handle*, const char* source, const char* name, int, const char* const*,
                const char* const*);
  int (*destroy)(Handle*);
  int (*compile)(Handle, int count, const char* const* options);
  int (*log_size)(Handle, size_t*);
  int (*log)(Handle, char*);
  int (*cubin_size)(Handle, size_t*);
  int (*cubin)(Handle, char*);
  int (*ptx_size)(Handle, size_t*);
  int (*ptx)(Handle, char*);
};

absl::Span<const Architecture> ListArchitectures() { return kArchitectures; }

absl::StatusOr<Architecture> FindArchitecture(absl::string_view name) {
  std::vector<absl::string_view> names;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == name) return architecture;
    names.push_back(architecture.name);
  }
  return InvalidArgument("cuda: expected ", absl::StrJoin(names, ", "), ", found ",
                         std::string(name));
}

Nvrtc::Nvrtc() : call_(std::make_unique<Functions>()) {}
Nvrtc::~Nvrtc() = default;

absl::StatusOr<const Nvrtc*> Nvrtc::Open() {
  // Never closed: its threads and tables live as long as the process.
  static const auto* opened =
      new absl::StatusOr<std::unique_ptr<const Nvrtc>>(OpenFrom(Candidates()));
  if (!opened->ok()) return opened->status();
  return opened->value().get();
}

absl::StatusOr<std::unique_ptr<const Nvrtc>> Nvrtc::OpenFrom(absl::Span<const std::string> paths) {
  for (const std::string& path : paths) {
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) continue;
    auto nvrtc = std::unique_ptr<Nvrtc>(new Nvrtc);
    Functions& call = *nvrtc->call_;
    bool whole = true;
    const auto find = [&](const char* name, auto& function) {
      void* symbol = dlsym(library, name);
      whole &= symbol != nullptr;
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
    };
    find("nvrtcVersion", call.version);
    find("nvrtcGetErrorString", call.error_text);
    find("nvrtcCreateProgram", call.create);
    find("nvrtcDestroyProgram", call.destroy);
    find("nvrtcCompileProgram", call.compile);
    find("nvrtcGetProgramLogSize", call.log_size);
    find("nvrtcGetProgramLog", call.log);
    find("nvrtcGetCUBINSize", call.cubin_size);
    find("nvrtcGetCUBIN", call.cubin);
    find("nvrtcGetPTXSize", call.ptx_size);
    find("nvrtcGetPTX", call.ptx);
    int major = 0, minor = 0;
    if (whole && call.version(&major, &minor) == 0) {
      nvrtc->path_ = path;
      nvrtc->version_ = absl::StrCat(major, ".", minor);
      return nvrtc;
    }
    dlclose(library);
  }
  return InvalidArgument(
      "NVRTC: expected a CUDA toolkit, PyPI's nvidia-cuda-nvrtc (pip install nvidia-cuda-nvrtc) or "
      "the library's path in NINFER_NVRTC, found none");
}

absl::StatusOr<CardCode> Nvrtc::Compile(const Source& source,
                                        const Architecture& architecture) const {
  const std::string text = absl::StrCat(Intrinsics(), source.text);
  Handle program = nullptr;
  int result = call_->create(&program, text.c_str(), "kernels.cu", 0, nullptr, nullptr);
  if (result != 0) return absl::InternalError(call_->error_text(result));
  const std::string target = absl::StrCat("--gpu-architecture=", std::string(architecture.name));
  const char* options[] = {target.c_str(), "--std=c++17", "--fmad=false", "--ptxas-options=-v"};
  result = call_->compile(program, static_cast<int>(std::size(options)), options);
  const auto read = [&](auto size_of, auto get) {
    size_t size = 0;
    std::string bytes;
    if (size_of(program, &size) != 0) return bytes;
    bytes.resize(size);
    if (get(program, bytes.data()) != 0) bytes.clear();
    return bytes;
  };
  const std::string log = read(call_->log_size, call_->log);
  CardCode code;
  if (result == 0) {
    code.cubin = read(call_->cubin_size, call_->cubin);
    code.ptx = read(call_->ptx_size, call_->ptx);
    code.resources = ReadReport(log);
  }
  call_->destroy(&program);
  if (result != 0) {
    return InvalidArgument("NVRTC ", version_, " for ", std::string(architecture.name), ": ",
                           call_->error_text(result), ": ", log.substr(0, log.find('\n')));
  }
  if (code.cubin.empty()) return absl::InternalError("NVRTC gave no code");
  // PTX ends in a zero byte.
  while (!code.ptx.empty() && code.ptx.back() == '\0') code.ptx.pop_back();
  return code;
}

int BlocksAtOnce(const Resources& resources, int threads, const Architecture& architecture) {
  constexpr int kRegisters = 65536, kMostBlocks = 16;  // the least of all cards
  // Registers go to warps by 256, shared memory to blocks by 128 bytes and 1 KiB for the system.
  const int of_warp = (std::max(resources.registers, 1) * 32 + 255) / 256 * 256;
  const int64_t shared = (resources.shared_bytes + 127) / 128 * 128 + 1024;
  return static_cast<int>(std::min<int64_t>({kMostBlocks, architecture.threads / threads,
                                             kRegisters / of_warp / ((threads + 31) / 32),
                                             architecture.shared_bytes / shared}));
}

}  // namespace ninfer::cuda
