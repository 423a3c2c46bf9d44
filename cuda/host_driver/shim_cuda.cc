// The part of NVIDIA's driver that cuda/driver calls, over the host: a card's memory is the host's,
// a module is a shared library of shim_nvrtc.cc's, a launch runs there and then. Memory is filled
// with NaN when it is handed out. The card has the compute capability NINFER_SHIM_CAPABILITY (90)
// and NINFER_SHIM_MEMORY bytes (4 GiB). Tested by tests/cuda_run_test.py.
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"

namespace {

constexpr int kOk = 0, kInvalid = 1, kOutOfMemory = 2, kNoDevice = 101, kInvalidImage = 200,
              kNotFound = 500;

uint64_t Setting(const char* name, uint64_t fallback) {
  const std::string text = ninfer::GetEnv(name);
  return text.empty() ? fallback : strtoull(text.c_str(), nullptr, 10);
}

struct Function {
  void (*entry)(void* const* arguments, const int64_t* grid, int64_t threads);
  int arguments;
};

// A launch with its arguments' values, which are all of 8 bytes.
struct Launch {
  const Function* function;
  std::vector<uint64_t> values;
  int64_t grid[2], threads;
  void Run() {
    std::vector<void*> arguments;
    for (uint64_t& value : values) arguments.push_back(&value);
    function->entry(arguments.data(), grid, threads);
  }
};

struct Graph {
  std::vector<Launch> launches;
};
struct Stream {
  bool records = false;
  Graph recorded;
};
struct Module {
  void* library;
  std::map<std::string, Function> functions;
};

std::map<uint64_t, size_t>& Allocated() {
  static auto* sizes = new std::map<uint64_t, size_t>;
  return *sizes;
}

void Poison(void* address, size_t bytes) {
  const uint16_t nan = 0x7fde;
  for (size_t i = 0; i + 2 <= bytes; i += 2) {
    std::memcpy(static_cast<char*>(address) + i, &nan, 2);
  }
}

}  // namespace

extern "C" {

int cuInit(unsigned) { return kOk; }
int cuGetErrorName(int error, const char** name) {
  *name = error == kOutOfMemory ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR";
  return kOk;
}
int cuGetErrorString(int error, const char** text) {
  *text = error == kOutOfMemory ? "out of memory" : "of the shim";
  return kOk;
}
int cuDeviceGetCount(int* count) {
  *count = static_cast<int>(Setting("NINFER_SHIM_CARDS", 1));
  return kOk;
}
int cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return ordinal < static_cast<int>(Setting("NINFER_SHIM_CARDS", 1)) ? kOk : kNoDevice;
}
int cuDeviceGetName(char* name, int length, int) {
  snprintf(name, length, "host shim");
  return kOk;
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
  const int capability = static_cast<int>(Setting("NINFER_SHIM_CAPABILITY", 90));
  if (attribute != 75 && attribute != 76) return kInvalid;
  *value = attribute == 75 ? capability / 10 : capability % 10;
  return kOk;
}
int cuDevicePrimaryCtxRetain(void** context, int) {
  *context = &Allocated();
  return kOk;
}
int cuDevicePrimaryCtxRelease_v2(int) { return kOk; }
int cuCtxSetCurrent(void*) { return kOk; }

int cuMemGetInfo_v2(size_t* free_bytes, size_t* total_bytes) {
  *total_bytes = Setting("NINFER_SHIM_MEMORY", uint64_t{4} << 30);
  *free_bytes = *total_bytes;
  for (const auto& [address, size] : Allocated()) *free_bytes -= size;
  return kOk;
}
int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  size_t free_bytes = 0, total = 0;
  cuMemGetInfo_v2(&free_bytes, &total);
  void* memory = bytes > free_bytes ? nullptr : aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (memory == nullptr) return kOutOfMemory;
  Poison(memory, bytes);
  *address = reinterpret_cast<uint64_t>(memory);
  Allocated()[*address] = bytes;
  return kOk;
}
int cuMemFree_v2(uint64_t address) {
  if (Allocated().erase(address) == 0) return kInvalid;
  free(reinterpret_cast<void*>(address));
  return kOk;
}
int cuMemAllocHost_v2(void** address, size_t bytes) {
  *address = aligned_alloc(64, (bytes + 63) / 64 * 64);
  return *address == nullptr ? kOutOfMemory : kOk;
}
int cuMemFreeHost(void* address) {
  free(address);
  return kOk;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void*) {
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return kOk;
}
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void*) {
  std::memcpy(to, reinterpret_cast<void*>(from), bytes);
  return kOk;
}

int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void*) {
  std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
  return kOk;
}

int cuStreamCreate(void** stream, unsigned) {
  *stream = new Stream;
  return kOk;
}
int cuStreamDestroy_v2(void* stream) {
  delete static_cast<Stream*>(stream);
  return kOk;
}
int cuStreamSynchronize(void*) { return kOk; }
int cuStreamBeginCapture_v2(void* stream, int) {
  static_cast<Stream*>(stream)->records = true;
  return kOk;
}
int cuStreamEndCapture(void* handle, void** graph) {
  auto* stream = static_cast<Stream*>(handle);
  stream->records = false;
  *graph = new Graph(std::move(stream->recorded));
  stream->recorded = Graph();
  return kOk;
}
int cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
  *executable = new Graph(*static_cast<Graph*>(graph));
  return kOk;
}
int cuGraphLaunch(void* executable, void*) {
  for (Launch& launch : static_cast<Graph*>(executable)->launches) launch.Run();
  return kOk;
}
int cuGraphExecDestroy(void* executable) {
  delete static_cast<Graph*>(executable);
  return kOk;
}
int cuGraphDestroy(void* graph) {
  delete static_cast<Graph*>(graph);
  return kOk;
}

// How long the library is stands in its ELF header: behind the table of sections.
int cuModuleLoadData(void** module, const void* image) {
  const auto* bytes = static_cast<const unsigned char*>(image);
  if (std::memcmp(bytes,
                  "\x7f"
                  "ELF",
                  4) != 0)
    return kInvalidImage;
  uint64_t sections = 0;
  uint16_t size = 0, count = 0;
  std::memcpy(&sections, bytes + 40, 8);
  std::memcpy(&size, bytes + 58, 2);
  std::memcpy(&count, bytes + 60, 2);
  const size_t length = sections + uint64_t{size} * count;
  const int file = memfd_create("ninfer-shim", MFD_CLOEXEC);
  if (file < 0 || write(file, image, length) != static_cast<ssize_t>(length)) return kInvalidImage;
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  // The file stays open: the loader knows libraries by their path, which must not come again.
  if (library == nullptr) return kInvalidImage;
  *module = new Module{library, {}};
  return kOk;
}
int cuModuleUnload(void* handle) {
  auto* module = static_cast<Module*>(handle);
  dlclose(module->library);
  delete module;
  return kOk;
}
int cuModuleGetFunction(void** function, void* handle, const char* name) {
  auto* module = static_cast<Module*>(handle);
  const std::string text = name;
  void* entry = dlsym(module->library, ("shim_" + text).c_str());
  void* arguments = dlsym(module->library, ("shim_arguments_" + text).c_str());
  if (entry == nullptr || arguments == nullptr) return kNotFound;
  Function& found = module->functions[text];
  found.entry = reinterpret_cast<decltype(found.entry)>(entry);
  found.arguments = *static_cast<const int*>(arguments);
  *function = &found;
  return kOk;
}
int cuLaunchKernel(void* handle, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                   void* stream, void** arguments, void** extra) {
  if (grid_x == 0 || grid_y == 0 || grid_z != 1 || block_x == 0 || block_y != 1 || block_z != 1 ||
      shared_bytes != 0 || extra != nullptr) {
    return kInvalid;
  }
  const auto* function = static_cast<const Function*>(handle);
  Launch launch{function, {}, {grid_x, grid_y}, block_x};
  for (int i = 0; i < function->arguments; ++i) {
    launch.values.push_back(*static_cast<const uint64_t*>(arguments[i]));
  }
  auto* record = static_cast<Stream*>(stream);
  if (record->records) {
    record->recorded.launches.push_back(std::move(launch));
  } else {
    launch.Run();
  }
  return kOk;
}

}  // extern "C"
