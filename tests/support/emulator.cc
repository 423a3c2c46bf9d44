#include "tests/support/emulator.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "tests/support/emulator_protocol.h"

namespace ninfer {
namespace {

// The oldest CPU that has what the target needs.
constexpr char kQemu[] = "qemu-aarch64";
constexpr char kCpu[] = "cortex-a76";
constexpr char kRunner[] = NINFER_BINARY_DIR "/tests/emulated_runner_aarch64";

std::string FindProgram(const std::string& name) {
  for (absl::string_view folder : absl::StrSplit(GetEnv("PATH"), ':')) {
    const std::string path = JoinPath(std::string(folder), name);
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return "";
}

}  // namespace

bool Emulator::IsFor(const codegen::Target& target) {
  return target.architecture == codegen::Architecture::kAArch64;
}

std::string Emulator::WhyNot() {
  if (FindProgram(kQemu).empty()) {
    return absl::StrCat(kQemu, " is not installed (Debian's qemu-user)");
  }
  if (access(kRunner, X_OK) != 0) {
    return "the build found no aarch64-linux-gnu-g++ (Debian's g++-aarch64-linux-gnu)";
  }
  return "";
}

Emulator::Emulator(const codegen::CodeImage& image) {
  const std::string qemu = FindProgram(kQemu);
  int to[2], from[2];
  NINFER_CHECK(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
  signal(SIGPIPE, SIG_IGN);
  child_ = fork();
  NINFER_CHECK(child_ >= 0);
  if (child_ == 0) {
    dup2(to[0], STDIN_FILENO);
    dup2(from[1], STDOUT_FILENO);
    execl(qemu.c_str(), kQemu, "-cpu", kCpu, kRunner, static_cast<char*>(nullptr));
    _exit(127);
  }
  close(to[0]);
  close(from[1]);
  to_ = fdopen(to[1], "w");
  from_ = fdopen(from[0], "r");
  const CodeHeader header = {image.bytes.size(), image.executable_bytes};
  fwrite(&header, sizeof(header), 1, to_);
  fwrite(image.bytes.data(), 1, image.bytes.size(), to_);
}

Emulator::~Emulator() {
  fclose(to_);  // at its input's end it ends
  fclose(from_);
  waitpid(child_, nullptr, 0);
}

RunOutcome Emulator::Run(uint64_t offset, const std::vector<std::unique_ptr<GuardedMemory>>& memory,
                         const std::vector<int32_t>& dims, const std::vector<int64_t>& bounds,
                         uint16_t fill) {
  const size_t operands = memory.size() - 1;
  const RunHeader header = {offset,   dims.size(),           bounds.size(),
                            operands, memory.back()->size(), fill};
  fwrite(&header, sizeof(header), 1, to_);
  fwrite(dims.data(), sizeof(int32_t), dims.size(), to_);
  fwrite(bounds.data(), sizeof(int64_t), bounds.size(), to_);
  for (size_t i = 0; i < operands; ++i) {
    const uint64_t bytes = memory[i]->size();
    fwrite(&bytes, sizeof(bytes), 1, to_);
    fwrite(memory[i]->data(), 1, bytes, to_);
  }
  NINFER_CHECK(fflush(to_) == 0) << "the emulator has ended";
  RunOutcome outcome;
  NINFER_CHECK(fread(&outcome, sizeof(outcome), 1, from_) == 1) << "the emulator has ended";
  for (size_t i = 0; i < operands; ++i) {
    const size_t bytes = memory[i]->size();
    NINFER_CHECK(fread(memory[i]->data(), 1, bytes, from_) == bytes) << "the emulator has ended";
  }
  return outcome;
}

}  // namespace ninfer
