// See host_module.h.
// Tested by tests/cuda_shim_test.cc.
#include "cuda/host_shim/host_module.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"

namespace ninfer::cuda {
namespace {

// A failure is told by its first error; all that the compiler says goes to `log`.
absl::Status RunCompiler(const std::vector<std::string>& command, const std::string& log) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 2, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  std::string path = absl::StrCat("PATH=", GetEnv("PATH", "/usr/bin:/bin"));
  char* environment[] = {path.data(), nullptr};
  pid_t child = 0;
  const int error =
      posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environment);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return InvalidArgument(command[0], ": expected a C++ compiler, found none");
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  const auto said = ReadFile(log);
  absl::string_view first;
  if (said.ok()) {
    for (absl::string_view line : absl::StrSplit(*said, '\n')) {
      if (first.empty() && absl::StrContains(line, "error: ")) first = line;
    }
  }
  return InvalidArgument(
      command[0], ": the generated source does not compile: ", std::string(first), " (", log, ")");
}

}  // namespace

absl::StatusOr<std::string> CompileForHost(const std::string& source,
                                           absl::Span<const std::string> functions,
                                           const std::string& compiler,
                                           const std::string& include_dir,
                                           const std::string& folder, const std::string& name) {
  std::string text = "#include \"cuda/host_shim/shim.h\"\n" + source + "\n";
  for (const std::string& function : functions) {
    absl::StrAppend(&text, "NINFER_SHIM_ENTRY(", function, ")\n");
  }
  const std::string path = JoinPath(folder, name);
  NINFER_RETURN_IF_ERROR(WriteFile(path + ".cc", text));
  NINFER_RETURN_IF_ERROR(RunCompiler({compiler,
                                      "-std=c++17",
                                      "-O1",
                                      "-ffp-contract=off",
                                      "-mfma",
                                      "-mf16c",
                                      "-fno-exceptions",
                                      "-Wall",
                                      "-Werror",
                                      "-Wno-unknown-pragmas",
                                      "-Wno-unused-function",
                                      "-Wno-unused-variable",
                                      "-Wno-unused-but-set-variable",
                                      "-shared",
                                      "-fPIC",
                                      "-I",
                                      include_dir,
                                      path + ".cc",
                                      "-o",
                                      path + ".so"},
                                     path + ".log"));
  return path + ".so";
}

absl::StatusOr<std::unique_ptr<HostModule>> HostModule::Compile(Source source,
                                                                const std::string& compiler,
                                                                const std::string& include_dir,
                                                                const std::string& folder,
                                                                const std::string& name) {
  std::vector<std::string> functions;
  for (const DeviceKernel& kernel : source.kernels) functions.push_back(kernel.name);
  NINFER_ASSIGN_OR_RETURN(const std::string path, CompileForHost(source.text, functions, compiler,
                                                                 include_dir, folder, name));
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return absl::InternalError(dlerror());
  auto module = std::unique_ptr<HostModule>(new HostModule(std::move(source), library));
  for (const DeviceKernel& kernel : module->source_.kernels) {
    void* symbol = dlsym(library, ("shim_" + kernel.name).c_str());
    if (symbol == nullptr) return absl::InternalError(absl::StrCat("no function ", kernel.name));
    module->functions_.push_back(reinterpret_cast<Function>(symbol));
  }
  return module;
}

HostModule::~HostModule() { dlclose(library_); }

void HostModule::Launch(int kernel, absl::Span<void* const> operands,
                        absl::Span<const int32_t> dims) const {
  std::vector<void*> values(operands.begin(), operands.end());
  values.push_back(const_cast<int32_t*>(dims.data()));
  std::vector<void*> arguments;
  for (void*& value : values) arguments.push_back(&value);
  for (size_t i = 0; i < source_.kernels.size(); ++i) {
    const DeviceKernel& device = source_.kernels[i];
    if (device.kernel != kernel || !device.Takes(dims.data())) continue;
    const int64_t grid[2] = {device.grid[0].Count(dims.data()), device.grid[1].Count(dims.data())};
    functions_[i](arguments.data(), grid, device.threads);
    return;
  }
  NINFER_CHECK(false) << "no function for kernel " << kernel;
}

}  // namespace ninfer::cuda
