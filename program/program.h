// Level 2, the kernel program: packed weights, kernels (regions of one family with their arithmetic
// as a graph body), buffers in one planned arena, and an ordered list of launches.
//
// A kernel's body is an ir::Function whose parameters are the launch's operands in order. Views
// (slice, reshape) stand inside bodies; buffers are rows of `ld` elements. Equal bodies share one
// kernel. No dimension, model name or preset stands in this room: everything is a field.
//
// The function that target code exports for a kernel:
//   void kernel(void* const* operands, const int32_t* dims, int64_t begin, int64_t end,
//               void* scratch)
// operands[i] is the address of the i-th parameter: a buffer's or step argument's first byte, a
// packed weight's first byte, or a KV pool's first byte (of that layer). dims[i] is the value of
// symbol i. [begin, end) are work units. scratch is the calling thread's, Kernel::scratch_bytes
// large.
//
// Tested by tests/program_test.cc.
#ifndef NINFER_PROGRAM_PROGRAM_H_
#define NINFER_PROGRAM_PROGRAM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "base/dtype.h"
#include "formats/formats.h"
#include "ir/module.h"

namespace ninfer::program {

enum class Family : uint8_t {
#define FAMILY(enumerator, ...) k##enumerator,
#include "program/families.def"
};
absl::string_view FamilyName(Family family);
absl::optional<Family> FamilyFromName(absl::string_view name);

// Layout of the KV cache of one layer: pages of `kPagePositions` positions, each page of all KV
// heads. Inside a page, head g lies at g * head_bytes():
//   K: [k_groups][64 positions][step], columns of the head dimension in groups of `step` (1 for
//      f32, 2 for bf16, 4 for i8), zero padded: the panel layout with positions for columns;
//   V: [64 / step][padded head_dim][step], positions in groups of `step`, columns padded to 32;
//   of i8, f32 [2][64 positions]: the scales of the keys' rows, then of the values' (kCacheScheme).
//      An integer is stored as a byte without a sign, 128 more.
// Only attention and kv_append know this. Pages of a cache are zeroed when they are handed out, so
// that what lies behind a text's last position is finite. A scratch pool (Buffer::kv) takes its
// bytes over from other values, and nobody zeroes it: there the kv_append of a text's last row also
// zeroes V of the positions behind it in its page, of i8 their scales.
struct KvLayout {
  DType dtype = DType::kF32;
  int64_t heads = 0;
  int64_t head_dim = 0;

  static constexpr int64_t kPagePositions = 64;
  bool integers() const { return dtype == DType::kI8; }
  int64_t step() const { return integers() ? 4 : dtype == DType::kF32 ? 1 : 2; }
  int64_t k_groups() const { return (head_dim + step() - 1) / step(); }
  int64_t v_columns() const { return (head_dim + 31) / 32 * 32; }
  int64_t k_bytes() const { return k_groups() * kPagePositions * step() * DTypeSize(dtype); }
  int64_t v_bytes() const { return kPagePositions * v_columns() * DTypeSize(dtype); }
  int64_t scale_bytes() const { return integers() ? kPagePositions * int64_t{sizeof(float)} : 0; }
  int64_t head_bytes() const { return k_bytes() + v_bytes() + 2 * scale_bytes(); }
  int64_t page_bytes() const { return heads * head_bytes(); }
  // Byte offsets from the start of the page.
  int64_t KOffset(int64_t head, int64_t position, int64_t column) const {
    return head * head_bytes() +
           ((column / step() * kPagePositions + position) * step() + column % step()) *
               DTypeSize(dtype);
  }
  int64_t VOffset(int64_t head, int64_t position, int64_t column) const {
    return head * head_bytes() + k_bytes() +
           ((position / step() * v_columns() + column) * step() + position % step()) *
               DTypeSize(dtype);
  }
  int64_t KScaleOffset(int64_t head, int64_t position) const {
    return head * head_bytes() + k_bytes() + v_bytes() + position * int64_t{sizeof(float)};
  }
  int64_t VScaleOffset(int64_t head, int64_t position) const {
    return KScaleOffset(head, position) + scale_bytes();
  }
  friend bool operator==(const KvLayout& a, const KvLayout& b) {
    return a.dtype == b.dtype && a.heads == b.heads && a.head_dim == b.head_dim;
  }
};

// A weight as the plan stores it. `source` names a result of the program's weight function: an
// expression (concat, transpose, cast, slice) over checkpoint tensors of logical type [n *
// segments, k], or a plain tensor of rank 1 ([k], n = 1) or 2.
struct PackedWeight {
  std::string name;
  formats::Format format = formats::Format::kPlainF32;
  formats::PackedShape shape;
  const ir::Value* source = nullptr;
  int64_t offset = -1;  // in the weights section; assigned by the layout pass, 64-byte aligned
  int64_t bytes = 0;
};

enum class OperandKind : uint8_t {
  kBuffer,    // arena
  kWeight,    // packed weight
  kArgument,  // step argument: tokens, positions, seq_bounds, cached_lens, page tables, rows,
              // rope_len, ...; rows of f32 have the leading dimension of a buffer's
  kKv,        // the KV pool of a layer
};

// What a kernel expects of one parameter, beside the body's type.
struct KernelParam {
  OperandKind kind = OperandKind::kBuffer;
  formats::Format format = formats::Format::kPlainF32;  // of a weight
  int64_t segments = 1;                                 // of a weight
  bool written = false;  // an output (or a KV pool that is appended to)
};

// Work units of a launch: factor * ceil(dims[symbol] / block), or factor alone when symbol < 0.
// No sum crosses a unit.
struct Units {
  int64_t factor = 1;
  int32_t symbol = -1;
  int64_t block = 1;

  int64_t Count(const int32_t* dims) const {
    return symbol < 0 ? factor : factor * ((dims[symbol] + block - 1) / block);
  }
  friend bool operator==(const Units& a, const Units& b) {
    return a.factor == b.factor && a.symbol == b.symbol && a.block == b.block;
  }
};

// The body's parameters are the inputs in order, then one parameter for each result (the outputs).
// An output parameter has the type of the result it receives and no use in the body.
struct Kernel {
  std::string name;  // family_weights_activations__shape; the target's suffix is added by codegen
  Family family = Family::kRowwise;
  std::unique_ptr<ir::Function> body;
  std::vector<KernelParam> params;
  KvLayout kv;                // for attention and kv_append
  Units units;                // how the launch's work divides
  int64_t scratch_bytes = 0;  // per thread, assigned by schedule from the family's rule
};

// A value that lives in the arena: rows (the first dimension) of `ld` elements. The elements after
// the logical columns are padding: kernels may write them and never depend on them. Rank 0 and 1:
// rows of one element, ld = 1, except f32[n] constants. Trailing dimensions are flattened into
// columns.
struct Buffer {
  std::string name;
  ir::Type type;
  int64_t ld = 0;               // elements from one row to the next
  bool replicated = false;      // each thread has its own copy (see Launch::replicated)
  bool is_output = false;       // logits or ids: read by the caller after the last launch
  absl::optional<KvLayout> kv;  // a scratch KV pool in the arena (plans without a cache)
  int64_t first_launch = -1, last_launch = -1;  // lifetime, inclusive
  int64_t offset = -1;                          // in the arena, 64-byte aligned
  int64_t bytes = 0;                            // at the symbols' upper bounds, of one copy
};

struct Operand {
  OperandKind kind = OperandKind::kBuffer;
  int index = 0;  // of the buffer, weight, argument or KV layer
  friend bool operator==(const Operand& a, const Operand& b) {
    return a.kind == b.kind && a.index == b.index;
  }
};

// A barrier before a launch: threads meet because some launch since the last meeting conflicts with
// this one. kMany: only in a step of many rows (see Program::few_rows). kPrefill: only in a step in
// which a sequence has several rows (T > S). kManyOrPrefill: in both.
enum class Barrier : uint8_t { kNone, kMany, kPrefill, kManyOrPrefill, kAlways };

// The kinds of steps that barriers tell apart.
struct StepKind {
  bool few = false;      // rows, at most Program::few_rows
  bool prefill = false;  // a sequence has several rows
};
inline constexpr StepKind kStepKinds[] = {
    {true, false}, {true, true}, {false, false}, {false, true}};
bool Stands(Barrier barrier, StepKind step);

struct Launch {
  int kernel = 0;
  std::vector<Operand> operands;
  Barrier barrier = Barrier::kAlways;
  // In a step of few rows every thread runs all units and writes its own replica of the outputs, so
  // that consumers need no barrier; in a step of many rows units are dealt and replica 0 is shared.
  bool replicated = false;
  std::string provenance;  // the layer, for dumps and traces
};

struct Argument {
  std::string name;
  ir::Type type;
};

struct KvState {
  std::string name;  // "kv.0"
  KvLayout layout;
  // How far back rows see, their own position among them; 0: to the text's start. States of one
  // window are read and written through the argument PageTableName(window), whose entries before
  // the window may name no page.
  int64_t window = 0;
};

struct Program {
  std::string name;
  std::vector<ir::Symbol> symbols;
  std::vector<Argument> arguments;  // in the order of the graph's parameters
  std::vector<KvState> kv;          // one for each layer with a cache
  // Holds the weight expressions: @weights, its nodes and the literals. PackedWeight::source points
  // into it.
  std::unique_ptr<ir::Module> weights_module;
  std::vector<PackedWeight> weights;
  int64_t weight_bytes = 0;  // size of the weights section
  std::vector<Kernel> kernels;
  std::vector<Buffer> buffers;
  std::vector<Launch> launches;
  int output = -1;  // buffer index of the logits
  int argmax = -1;  // of the ids of each row's largest logit, i32[R]; -1: nobody finds them
  // A step has few rows when T is at most this, else many.
  int64_t few_rows = 8;
  // The arena: shared part, then one block of replicas for each thread.
  int64_t arena_bytes = 0;
  int64_t replica_bytes = 0;
  int64_t arena_lower_bound = 0;  // most bytes alive at once

  Program() = default;
  Program(Program&&) = default;
  Program& operator=(Program&&) = default;
};

// Leading dimension of a buffer with this many columns: a multiple of 32 elements (1 for one
// column).
inline int64_t LeadingDimension(int64_t columns) {
  return columns == 1 ? 1 : (columns + 31) / 32 * 32;
}
// Product of the dimensions after the first, which must be static.
int64_t Columns(const ir::Type& type);

Program Clone(const Program& program);

}  // namespace ninfer::program

#endif  // NINFER_PROGRAM_PROGRAM_H_
