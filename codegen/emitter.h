// What every family's emitter builds on: a kernel's function under construction, loops, loads and
// stores with conversion, and the arithmetic of one vector. bf16 travels as 16-bit integers; bfloat
// appears only at the intrinsics.
// Tested by tests/codegen_test.cc.
#ifndef NINFER_CODEGEN_EMITTER_H_
#define NINFER_CODEGEN_EMITTER_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "codegen/codegen.h"
#include "codegen/lines.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"
#include "program/program.h"

namespace ninfer::codegen {

using LV = llvm::Value*;

class Emitter {
 public:
  // Begins the function `symbol` for `kernel` in `module` and loads the operands' addresses.
  // `first_line` is that of the kernel in the program's text, 0 for code without lines.
  Emitter(const program::Program& program, const program::Kernel& kernel, const Target& target,
          int first_line, llvm::Module* module, const std::string& symbol);

  const program::Program& program() const { return program_; }
  const program::Kernel& kernel() const { return kernel_; }
  const ir::Function& body() const { return *kernel_.body; }
  const Target& target() const { return target_; }
  int lanes() const { return target_.vector_bits / 32; }

  LV begin() const { return begin_; }
  LV end() const { return end_; }
  LV scratch() const { return scratch_; }
  // As loaded by the innermost AddressScope, else at the function's entry.
  LV ParameterAddress(const ir::Value* parameter) const;
  const program::KernelParam& ParameterInfo(const ir::Value* parameter) const;
  // The address of the output parameter that receives the body's i-th result.
  LV OutputAddress(int result) const;

  // A dimension's value as i64, zero-extended.
  LV DimValue(const ir::Dim& dim);

  llvm::IRBuilder<>& b() { return builder_; }
  LV I64(int64_t value) { return builder_.getInt64(value); }
  llvm::Type* FloatType(int lanes);
  LV Splat(double value, int lanes);
  LV SplatValue(LV scalar, int lanes);

  // address + bytes.
  LV Offset(LV address, LV bytes);
  LV Offset(LV address, int64_t bytes) { return Offset(address, I64(bytes)); }
  LV AddMul(LV base, LV index, int64_t factor);  // base + index * factor, i64

  // for (i = lo; i < hi; i += step) body(i)
  void For(LV lo, LV hi, int64_t step, const std::function<void(LV)>& body);
  // The same with values carried from one turn to the next; returns them after the last.
  std::vector<LV> ForCarry(LV lo, LV hi, int64_t step, std::vector<LV> carried,
                           const std::function<std::vector<LV>(LV, const std::vector<LV>&)>& body);
  // if (condition) then() else otherwise()
  void If(LV condition, const std::function<void()>& then,
          const std::function<void()>& otherwise = nullptr);
  // Calls a function of the kernel's own, emitted by `body` at the first call with this name: what
  // is hoisted out of its loops then takes no registers from the caller's. The body sees the
  // operands, dims and scratch as before, and `arguments` as its parameters; it must use no other
  // value.
  void Call(const std::string& name, const std::vector<LV>& arguments,
            const std::function<void(const std::vector<LV>&)>& body);
  // Runs body over [0, columns): whole vectors in a loop, then single elements.
  void ForColumns(int64_t columns, int lanes,
                  const std::function<void(LV column, int lanes)>& body);

  // `lanes` elements of a float dtype as f32; lanes == 1 gives a scalar.
  LV LoadFloat(LV address, DType dtype, int lanes);
  LV LoadI32(LV address);
  void StoreFloat(LV value, LV address, DType dtype, int lanes);
  void Prefetch(LV address);  // its cache line, into all levels
  // The same number, or vector of x86, which LLVM takes for another: what is loaded there again is
  // loaded again, and needs no register in between; what the vector is made of is done before.
  // `held`, of the same kind, keeps its register until then.
  LV Disguised(LV value, LV held = nullptr);
  // f32 to bf16 bits, as i16 or a vector of it.
  LV ToBf16(LV value, int lanes);
  // Bits of f16, as i16 or a vector of it, and f32.
  LV FromF16(LV bits, int lanes);
  LV ToF16(LV value, int lanes);
  // Rounds to `dtype` and widens again: what `cast` means while values stay in registers.
  LV RoundTo(LV value, DType dtype, int lanes);

  LV Fma(LV a, LV b, LV c);  // a * b + c, rounded once where the target can, else twice
  LV Floor(LV x);
  LV RoundEven(LV x);     // of |x| < 2^22
  LV RoundToWhole(LV x);  // the same as i32
  LV Max(LV a, LV b);
  LV Smaller(LV a, LV b);  // of integers with signs
  LV Larger(LV a, LV b);
  LV ReduceAdd(LV vector, int lanes);  // a fixed tree
  LV ReduceMax(LV vector, int lanes);

  void Finish();  // returns from the function and completes its lines

 private:
  friend class AddressScope;
  friend class LineScope;
  // What is emitted from now on is there for this node.
  void Mark(const ir::Node* node);
  std::vector<LV> LoadAddresses();
  llvm::Function* NewFunction(llvm::ArrayRef<llvm::Type*> parameters, const std::string& name,
                              llvm::GlobalValue::LinkageTypes linkage);

  const program::Program& program_;
  const program::Kernel& kernel_;
  const Target& target_;
  llvm::Module* module_;
  llvm::IRBuilder<> builder_;
  llvm::Function* function_;
  LV operands_, dims_, begin_, end_, scratch_;
  std::vector<LV> addresses_;
  LineMarker lines_;
  const ir::Node* marked_ = nullptr;
};

// Loads the operands' addresses again, for the code emitted while it lives: a load costs less than
// a register held, or spilled, over a tile's loops.
class AddressScope {
 public:
  explicit AddressScope(Emitter& e) : e_(e), saved_(e.addresses_) {
    e.addresses_ = e.LoadAddresses();
  }
  ~AddressScope() { e_.addresses_ = std::move(saved_); }
  AddressScope(const AddressScope&) = delete;
  AddressScope& operator=(const AddressScope&) = delete;

 private:
  Emitter& e_;
  std::vector<LV> saved_;
};

// The code emitted while it lives is there for `node`, on whose line debuggers then show it. The
// code around is there for the kernel's anchor, or for the kernel.
class LineScope {
 public:
  LineScope(Emitter& e, const ir::Node& node) : e_(e), saved_(e.marked_) { e.Mark(&node); }
  ~LineScope() { e_.Mark(saved_); }
  LineScope(const LineScope&) = delete;
  LineScope& operator=(const LineScope&) = delete;

 private:
  Emitter& e_;
  const ir::Node* saved_;
};

// A weight dtype's way through a dot product: how many k one step takes and how it multiplies.
enum class DotMode : uint8_t {
  kF32,        // f32 weights, [K][columns]
  kF16,        // f16 weights, [K][columns], widened
  kBf16Pairs,  // bf16 weights, [K/2][columns][2], widened to f32
  kBf16Dot,    // the same with VDPBF16PS; bf16 activations
  kInt8,       // bytes, 128 more than their integers, [K/4][columns][4]; rows as EmitFactorRow
               // rounds them; sums in i32
};

// Of weights in panels of floats, and rows of `a_dtype`.
DotMode DotModeOf(const Target& target, formats::Format format, DType a_dtype);

// Of several tiles over the same weights the first few ask for a part each of those that come next,
// so that these are read from memory while the processor multiplies.
inline constexpr int64_t kAskingTiles = 4;
inline bool AsksForNextWeights(const Target& target) { return target.vector_bits == 512; }
struct NextWeights {
  std::vector<LV> parts;  // addresses, of each panel; none: nothing is asked for
  LV step = nullptr;      // bytes of a part for each step of the tile
  void Prefetch(Emitter& e, LV at) const;
};
// What tile `index` of `tiles` asks for, of the panels that lie `distance` behind those of `slots`
// and take `steps` of `bytes`.
NextWeights PartsOfNext(Emitter& e, const std::vector<LV>& slots, LV distance, LV index, LV tiles,
                        int64_t steps, int64_t bytes);

// One register tile: acc[row][slot] = sums[row][slot] + sum over k of a[row][k] * b[k][slot],
// summed in the order of k.
struct DotTile {
  DotMode mode = DotMode::kF32;
  DType a_dtype = DType::kF32;
  std::vector<LV> a_rows;    // address of each row's first element
  std::vector<LV> a_starts;  // of kInt8: address of what each row's sums begin with
  std::vector<LV> b_slots;   // address of each slot's first vector at k = 0
  int64_t b_stride = 0;      // bytes from one k step to the next
  int64_t k = 0;             // elements summed; of kInt8 a multiple of 4
  int64_t prefetch = 0;      // bytes ahead in b that are asked for; 0: none
  NextWeights next;          // or these
  std::vector<LV> sums;      // of the k before, row by row; empty: 0, or a_starts
  // Of the tile that comes next, asked for a little with every step: how far its rows of a lie
  // behind these (0: none), where its sums lie (null: none), and how much of them a step asks for.
  int64_t next_rows = 0;
  LV next_sums = nullptr;
  int64_t next_sums_step = 0;
};
std::vector<LV> EmitDotTile(Emitter& e, const DotTile& tile);

// One vector of a slot of weights in f32 for each k of a step.
std::vector<LV> EmitWeights(Emitter& e, DotMode mode, LV address);

// The largest tile that the target's registers hold without spilling, and the widest for a number
// of rows: accumulators, a vector of b for each slot (two for widened pairs) and one of a.
struct TileShape {
  int rows;
  int slots;
};
TileShape LargestTile(const Target& target, DotMode mode);
TileShape TileFor(const Target& target, DotMode mode, int rows);
// Up to so many rows are to be one tile, however narrow: of two the second multiplies while nothing
// is read from memory.
int RowsOfOneTile(const Target& target, DotMode mode);

// Elements of k that one step takes.
inline int64_t DotStep(DotMode mode) {
  if (mode == DotMode::kInt8) return 4;
  return mode == DotMode::kBf16Pairs || mode == DotMode::kBf16Dot ? 2 : 1;
}

// Emitters, one a family.
void EmitLinear(Emitter& e);
void EmitRouting(Emitter& e);
void EmitArgmax(Emitter& e);
void EmitRowwise(Emitter& e);
void EmitKvAppend(Emitter& e);
void EmitAttention(Emitter& e);
void EmitPages(Emitter& e);

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_EMITTER_H_
