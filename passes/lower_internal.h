// Inside lower: a region on its way to becoming a kernel and a launch.
#ifndef NINFER_PASSES_LOWER_INTERNAL_H_
#define NINFER_PASSES_LOWER_INTERNAL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "ir/module.h"
#include "passes/pass.h"
#include "program/program.h"

namespace ninfer::passes::lowering {

// What one parameter of a body stands for: a value of @step, or a buffer that lowering itself makes
// (a scratch KV pool, a page table of its own).
struct Source {
  const ir::Value* value = nullptr;
  int buffer = -1;
};

struct Region {
  program::Family family = program::Family::kRowwise;
  std::unique_ptr<ir::Function> body;     // a copy that lowering may change
  std::vector<Source> sources;            // of the body's parameters, all inputs
  std::vector<const ir::Value*> results;  // values of @step, one for each result; null: no one's
  std::vector<int> own_buffers;           // receive those that are no one's, in order
  std::string name;                       // of the node, for messages
  std::string provenance;
};

// --- lower_region.cc -----------------------------------------------------------------------------

// The function that is lowered, for messages.
struct Step {
  const ir::Function& function;
  absl::Span<const ir::Symbol> symbols;
};

// The region of one node of @step: a fused op's body, or a body made around the op alone.
absl::StatusOr<Region> MakeRegion(const ir::Node& node, const Step& step);

// Replaces parameters that stand for views and for scalar constants of @step by copies of the nodes
// that make them, and drops parameters that nothing uses and parameters that stand for one value
// twice. Transposes there and back go; one that is left is refused.
absl::Status PullIn(Region& region, const Step& step);

// --- lower_attention.cc --------------------------------------------------------------------------

// A region with an `attention` op: the text's keys and values go into a scratch KV pool of the
// step, and a paged attention reads them from there. Buffers of the program that the two share.
struct ScratchKv {
  int page_table = -1;
  int pool = -1;
};
bool HoldsAttention(const Region& region);
// The KV pool's type for this region: dtype, heads and head dimension of its keys.
absl::StatusOr<ir::Type> ScratchKvType(const Region& region);
// Fills the page table: scratch_pages(seq_bounds).
Region MakePages(const ir::Value* seq_bounds, const ir::Type& page_table, int buffer);
const ir::Value* SeqBoundsOf(const Region& region);
// Splits the region into kv_append into the pool and attention over it.
std::vector<Region> SplitAttention(Region region, const ScratchKv& scratch,
                                   const ir::Type& page_table, const ir::Type& kv);

// --- lower_argmax.cc -----------------------------------------------------------------------------

// The largest column of each panel of a linear's result, and which it is.
struct ArgmaxParts {
  ir::Type values, ids;
  int values_buffer = -1, ids_buffer = -1;
};
// Lets the linear's region find them, as two results more, where `value` is its result; their
// buffers are the caller's to make. None for any other region.
absl::optional<ArgmaxParts> PartsOf(Region& head, const ir::Value* value);
// The region of an argmax reads them in place of the value.
void TakeParts(const ArgmaxParts& parts, Region& region);

// --- lower_weights.cc ----------------------------------------------------------------------------

// Collects the weight expressions of a program: equal ones are stored once for a layout.
class WeightTable {
 public:
  WeightTable(const ir::Module& module, const ir::Function& step);

  bool IsConstant(const ir::Value* value) const { return Number(value) >= 0; }
  // Announces that a linear reads `value` as one segment, so that embeddings read the same panels.
  void NotePanel(const ir::Value* value);
  // Index of the packed weight, which is made when it is new.
  absl::StatusOr<int> Panel(const ir::Value* value, int64_t segments);
  // An embedding's: panels where a linear has some.
  absl::StatusOr<int> Table(const ir::Value* value);
  absl::StatusOr<int> Plain(const ir::Value* value);

  const program::PackedWeight& at(int index) const { return weights_[index]; }
  // Moves everything into the program: weights, and the module that holds their expressions.
  void Finish(program::Program& program);

 private:
  // A class of equal constant expressions, by its first value.
  struct Expression {
    const ir::Value* value = nullptr;
    std::vector<int> operands;
  };
  int Number(const ir::Value* value) const;
  int Intern(std::string key, const ir::Value* value, std::vector<int> operands);
  absl::StatusOr<int> Add(const ir::Value* value, bool panel, int64_t segments);
  absl::Status CheckExpression(int number) const;
  // The expression and all it is made of, by number: operands have lower numbers than users.
  std::vector<int> Reachable(const std::vector<int>& numbers) const;
  std::string NameFor(int number);

  const ir::Module& module_;
  absl::flat_hash_map<std::string, int> by_key_;
  absl::flat_hash_map<const ir::Value*, int> numbers_;
  std::vector<Expression> expressions_;
  absl::flat_hash_set<int> panels_;  // announced
  absl::flat_hash_map<std::string, int> index_;
  absl::flat_hash_set<std::string> names_;
  std::vector<program::PackedWeight> weights_;
  std::vector<int> sources_;  // expression of each weight
};

// --- lower_kernel.cc -----------------------------------------------------------------------------

// Segments in which a linear of this body reads its weight: 2 when the result is used only through
// its two halves, else 1.
int64_t SegmentsOf(const ir::Function& body, const ir::Node& linear);

// Canonical names, no provenance, output parameters, units, KV layout; the params of inputs are
// given.
program::Kernel MakeKernel(program::Family family, std::unique_ptr<ir::Function> body,
                           std::vector<program::KernelParam> inputs);

// Keeps kernels; an equal one is found again. Gives each a name from its family, types and sizes.
class KernelTable {
 public:
  explicit KernelTable(absl::Span<const ir::Symbol> symbols) : symbols_(symbols) {}
  int Add(program::Kernel kernel);
  std::vector<program::Kernel> Finish() { return std::move(kernels_); }

 private:
  absl::Span<const ir::Symbol> symbols_;
  absl::flat_hash_map<std::string, int> index_;
  absl::flat_hash_map<std::string, int> names_;
  std::vector<program::Kernel> kernels_;
};

}  // namespace ninfer::passes::lowering

#endif  // NINFER_PASSES_LOWER_INTERNAL_H_
