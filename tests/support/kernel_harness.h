// One kernel, many engines: the same body text and operands through the oracle (eager's evaluator,
// over the KV layout of kernels) and through the code of every CPU target that the host can run. An
// engine ran, was skipped (with the reason) or failed; a case that ran on no engine but the oracle
// fails.
//
// Operands lie in memory of their own between two pages that may not be touched, and what belongs
// to no operand's value (padding of rows, scratch, outputs before the run) is NaN: a kernel that
// depends on any of it gives NaN, one that reads or writes outside its operands is stopped and
// named.
#ifndef NINFER_TESTS_SUPPORT_KERNEL_HARNESS_H_
#define NINFER_TESTS_SUPPORT_KERNEL_HARNESS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "codegen/codegen.h"
#include "eager/eager.h"
#include "program/program.h"
#include "tests/support/guarded_memory.h"
#include "tests/support/kernel_operands.h"
#include "tests/support/mapped_code.h"
#include "tests/support/random.h"

namespace ninfer {

// A kernel as a test writes it. The body's function has inputs alone; outputs, units, KV layout and
// scratch are filled in as lowering fills them in.
struct KernelSource {
  std::string name;
  program::Family family = program::Family::kRowwise;
  std::string body;  // "(%x: f32[T,3]) {\n  %0 = neg %x : f32[T,3]\n  return %0\n}"
  // Parameters that are weights, by name. The others are step arguments where they are i32 (of
  // argmax buffers too), KV pools where their type is one, and else buffers.
  std::map<std::string, formats::Format> weights;
  int64_t segments = 1;       // of a linear's weight
  bool scratch_pool = false;  // the KV pool is a buffer of the arena, which nobody zeroes
};

// Values of a kernel's inputs by parameter name; KV pools as bytes of program::KvLayout's pages.
struct Operands {
  std::map<std::string, eager::Tensor> tensors;
  std::vector<uint8_t> pool;
  std::map<std::string, int64_t> dims;  // symbols that no operand's shape implies
};

struct KernelRun {
  std::vector<eager::Tensor> results;
  std::vector<uint8_t> pool;  // after the run
};

struct Engine {
  std::string name;     // "oracle" or a target's
  std::string skipped;  // why the host cannot run it; empty when it can
  bool is_oracle() const { return name == "oracle"; }
};

// |found - expected| <= absolute + relative * |expected|.
struct Bound {
  double absolute = 0;
  double relative = 0;
};

// Targets to hold to the conformance suite: all of them in the full tier; in the quick one those of
// each width of vectors (128 bits with and without a product in one rounding, 256, and of 512 the
// most that this machine runs).
std::vector<std::string> TestedTargets();

class KernelHarness {
 public:
  // For these targets: TestedTargets() when none is named. Symbols: T to 2048, S to 64, R to 512,
  // C, and G to `pages`.
  explicit KernelHarness(std::vector<std::string> targets = {}, int64_t pages = 8);
  ~KernelHarness();

  // Returns the kernel's index. A body that the program's verifier would refuse is a test failure.
  int Add(const KernelSource& source);
  // A kernel of another program, whose symbols take the place of the harness's own.
  int Add(const program::Program& program, int kernel);

  // Generates and maps the code of every target that can run. Call once, after the last Add.
  void Compile(const codegen::CodegenOptions& options = {"", "", 2});

  const program::Program& program() const { return program_; }
  const program::Kernel& kernel(int index) const { return program_.kernels[index]; }
  const std::vector<Engine>& engines() const { return engines_; }
  const codegen::CodeImage* image(const std::string& engine) const;  // null for the oracle
  // From now on, as if the host could not run this engine.
  void Skip(const std::string& engine, const std::string& why);

  // Units [0, n) in the pieces that `cuts` makes of them, each on scratch of its own.
  absl::StatusOr<KernelRun> Run(const std::string& engine, int kernel, const Operands& operands,
                                const std::vector<int64_t>& cuts = {}) const;
  // Units from the first bound to the last in the pieces between them, on a target: what the others
  // would write is poison, or as it was.
  absl::StatusOr<KernelRun> RunUnits(const std::string& engine, int kernel,
                                     const Operands& operands,
                                     const std::vector<int64_t>& bounds) const;
  int64_t Units(int kernel, const Operands& operands) const;
  // Seeded normal numbers for every input that is no KV pool and that `operands` does not have yet,
  // rounded to its dtype, or as its format stores it. Its symbols must be in `operands.dims`.
  void FillRandom(int kernel, uint64_t seed, Operands* operands) const;

  // Every engine's results against `reference`; null means the oracle's.
  void ExpectAgree(int kernel, const Operands& operands, Bound bound,
                   const std::vector<eager::Tensor>* reference = nullptr) const;
  // The same with a bound for each element, result by result.
  void ExpectWithin(int kernel, const Operands& operands,
                    const std::vector<eager::Tensor>& reference,
                    const std::vector<std::vector<double>>& bounds) const;
  // Any cut of the units gives the same bits.
  void ExpectUnitsIndependent(int kernel, const Operands& operands, uint64_t seed) const;
  // Rows [first, last) of `symbol` alone give the bits that they have among all.
  void ExpectRowsIndependent(int kernel, const Operands& operands, const std::string& symbol,
                             int64_t first, int64_t last) const;

 private:
  struct Code;
  int Finish(program::Kernel kernel, std::unique_ptr<ir::Function> inputs_only);
  absl::StatusOr<std::vector<int64_t>> DimsOf(int kernel, const Operands& operands) const;
  absl::StatusOr<KernelRun> RunOracle(int kernel, const Operands& operands) const;
  absl::StatusOr<KernelRun> RunCode(const Code& code, int kernel, const Operands& operands,
                                    const std::vector<int64_t>& bounds) const;
  std::vector<std::unique_ptr<GuardedMemory>> Place(int kernel, const Operands& operands,
                                                    absl::Span<const int64_t> dims) const;
  KernelRun ReadBack(int kernel, absl::Span<const int64_t> dims,
                     const std::vector<std::unique_ptr<GuardedMemory>>& memory) const;
  void ForEachEngine(int kernel, const std::function<void(const std::string& engine)>& check) const;

  int64_t pages_;
  program::Program program_;
  std::vector<std::unique_ptr<ir::Function>> oracle_bodies_;  // without outputs
  std::vector<Engine> engines_;
  std::map<std::string, std::unique_ptr<Code>> code_;
};

}  // namespace ninfer

#endif  // NINFER_TESTS_SUPPORT_KERNEL_HARNESS_H_
