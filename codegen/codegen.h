// program -> LLVM IR -> object code -> image. One function for each distinct kernel; linked by
// JITLink into one position-independent image: a segment to execute, a read-only one, no
// relocations, no external symbols.
// Tested by tests/codegen_test.cc.
#ifndef NINFER_CODEGEN_CODEGEN_H_
#define NINFER_CODEGEN_CODEGEN_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "program/program.h"

namespace ninfer::codegen {

enum class Architecture : uint8_t { kX86, kAArch64 };

// How sums of products of integers are made.
enum class IntegerDot : uint8_t {
  kPairs,             // two neighbours of 16 bits, as PMADDWD
  kUnsignedBySigned,  // four neighbours of 8 bits, weights without a sign: VPDPBUSD
  kSignedBySigned,    // the same, both with a sign: SDOT
};

// A row of targets.def, or what --target=native found.
struct Target {
  std::string name;  // a name of the row: "zen4"
  Architecture architecture = Architecture::kX86;
  std::string triple;
  std::string cpu;       // LLVM's name of one that has no more than `features`
  std::string tune;      // of the one that instructions are chosen and ordered for
  std::string features;  // LLVM's feature string, "+avx2,+fma,..."
  int vector_bits = 256;
  int vector_registers = 16;
  bool fma = true;           // multiplies and adds with one rounding
  bool f16 = true;           // has instructions that convert f16
  bool rounds = true;        // has instructions that round to whole numbers
  bool avx512_bf16 = false;  // VCVTNEPS2BF16
  bool bf16_dot = false;     // VDPBF16PS, where it is the faster way
  IntegerDot integer_dot = IntegerDot::kPairs;
  // CPU flags, as /proc/cpuinfo spells them, that code for this target needs.
  std::vector<std::string> required_features;
};

// "native" resolves to the host's best row. Unknown names are refused with the list of known ones.
absl::StatusOr<Target> FindTarget(absl::string_view name);
std::vector<std::string> ListTargets();

// From `offset` on (of a kernel's first instruction), code that is there for `line` of the
// program's text.
struct CodeLine {
  uint32_t offset = 0, line = 0;
};

struct KernelCode {
  std::string name;     // kernel name with the target's suffix, as perf and gdb show it
  uint64_t offset = 0;  // of its first instruction in the image
  uint64_t size = 0;
  int64_t stack_bytes = 0;  // of its frame beyond saved registers: 0 unless it spilled
  int64_t llvm_instructions = 0;
  std::vector<CodeLine> lines;  // by offset
};

struct CodeImage {
  Target target;
  // [executable segment, padded to 4096][read-only segment, padded]: mapped as they are, anywhere.
  std::string bytes;
  uint64_t executable_bytes = 0;    // the read-only segment starts here
  std::vector<KernelCode> kernels;  // in the order of program.kernels
};

struct CodegenOptions {
  std::string dump_llvm_dir;  // NAME.ll for each kernel when set
  std::string dump_asm_dir;   // NAME.s for each kernel when set
  int threads = 1;
  bool lines = true;  // KernelCode::lines; the code itself is the same without
  // Told the share that is done after every kernel of the calling thread; false stops, and the
  // result is a cancelled status.
  std::function<bool(double done)> progress = nullptr;
};

// An error in a build that has no LLVM.
absl::Status CheckGenerator();

// Fails, naming the kernel, when code would call out of the object or needs an absolute relocation.
absl::StatusOr<CodeImage> GenerateCode(const program::Program& program, const Target& target,
                                       const CodegenOptions& options);

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_CODEGEN_H_
