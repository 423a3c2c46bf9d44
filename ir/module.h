// Level 1, the tensor graph. A module is a few named functions that share weights. SSA, static
// rank, symbolic dimensions with bounds, a dtype on every value and the checkpoint's tensor name on
// every weight. One node type with a tag, no class per op: what an op is stands in ops.def.
//
// State is a value: `%kv1 = kv_append %kv0, ...` uses %kv0 for the last time. Weights are values
// too: an expression over weights alone (concat, transpose, cast, slice) is a constant, evaluated
// when the plan's weights are packed.
//
// Tested by tests/ir_module_test.cc.
#ifndef NINFER_IR_MODULE_H_
#define NINFER_IR_MODULE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "base/dtype.h"

namespace ninfer::ir {

enum class Op : uint8_t {
#define OP(enumerator, ...) k##enumerator,
#include "ir/ops.def"
};

enum class OpClass : uint8_t {
  kElementwise,
  kCast,
  kQuantise,
  kReduce,
  kMatmul,
  kGroupedMatmul,
  kTopK,
  kGather,
  kView,
  kAttention,
  kState,
  kRegion,
};

enum class AttrKind : uint8_t { kInt, kFloat, kString, kInts, kBool };

struct AttrSpec {
  std::string name;
  AttrKind kind;
  bool optional;
};

// One row of ops.def.
struct OpInfo {
  Op op;
  absl::string_view name;
  int min_operands;
  int max_operands;
  OpClass op_class;
  absl::string_view stages;
  std::vector<AttrSpec> attributes;
  absl::string_view mathematics;
};
const OpInfo& InfoOf(Op op);
absl::optional<Op> OpFromName(absl::string_view name);
absl::Span<const OpInfo> AllOps();
absl::string_view OpClassName(OpClass op_class);  // "elementwise"
absl::string_view AttrKindName(AttrKind kind);    // as in ops.def: "int", "ints"

// The letter of a stage stands in ops.def's stage column and, by name, in the text ("stage
// imported").
enum class Stage : uint8_t { kImported, kOptimised, kAttention, kFused };
char StageLetter(Stage stage);
absl::string_view StageName(Stage stage);
absl::optional<Stage> StageFromName(absl::string_view name);

// A named dimension such as T (tokens in this step) with inclusive bounds.
struct Symbol {
  std::string name;
  int64_t min = 1;
  int64_t max = 1;
};

// `offset` when symbol < 0, else the symbol's value plus offset. Text: 576, T, S+1.
struct Dim {
  int32_t symbol = -1;
  int64_t offset = 0;

  static Dim Static(int64_t size) { return Dim{-1, size}; }
  static Dim Symbolic(int symbol, int64_t offset = 0) { return Dim{symbol, offset}; }
  bool is_static() const { return symbol < 0; }
  friend bool operator==(const Dim& a, const Dim& b) {
    return a.symbol == b.symbol && a.offset == b.offset;
  }
  friend bool operator!=(const Dim& a, const Dim& b) { return !(a == b); }
};

// A tensor's type, `bf16[T,576]`, or a KV cache's, `kv<bf16>[3,64]`: KV heads and head dimension.
struct Type {
  DType dtype = DType::kF32;
  absl::InlinedVector<Dim, 4> shape;
  bool is_kv = false;

  int rank() const { return static_cast<int>(shape.size()); }
  friend bool operator==(const Type& a, const Type& b) {
    return a.dtype == b.dtype && a.is_kv == b.is_kv && a.shape == b.shape;
  }
  friend bool operator!=(const Type& a, const Type& b) { return !(a == b); }
};

using AttrValue = std::variant<int64_t, double, std::string, std::vector<int64_t>, bool>;
struct Attr {
  std::string name;
  AttrValue value;
};

class Node;
class Function;
class Module;

enum class ValueKind : uint8_t { kParameter, kWeight, kResult };

// A value: a function's parameter, a weight of the module, or a node's result.
class Value {
 public:
  ValueKind kind() const { return kind_; }
  // Without sigil. Parameters and weights are named by the program; results may be unnamed, and are
  // then numbered by the printer.
  const std::string& name() const { return name_; }
  void set_name(std::string name) { name_ = std::move(name); }
  const Type& type() const { return type_; }
  void set_type(Type type) { type_ = std::move(type); }
  Node* producer() const { return producer_; }  // null unless kind is kResult
  // The checkpoint's tensor, or layer, that the value comes from; printed as a comment.
  const std::string& provenance() const { return provenance_; }
  void set_provenance(std::string text) { provenance_ = std::move(text); }
  bool is_weight() const { return kind_ == ValueKind::kWeight; }
  bool is_parameter() const { return kind_ == ValueKind::kParameter; }

 private:
  friend class Node;
  friend class Function;
  friend class Module;
  ValueKind kind_ = ValueKind::kResult;
  std::string name_;
  Type type_;
  Node* producer_ = nullptr;
  std::string provenance_;
};

// An op applied to operands. Owned by its function.
class Node {
 public:
  Op op() const { return op_; }
  const OpInfo& info() const { return InfoOf(op_); }
  absl::Span<Value* const> operands() const { return operands_; }
  Value* operand(int i) const { return operands_[i]; }
  void set_operand(int i, Value* value) { operands_[i] = value; }
  int num_results() const { return static_cast<int>(results_.size()); }
  Value* result(int i = 0) const { return results_[i].get(); }
  const std::vector<Attr>& attrs() const { return attrs_; }
  void set_attr(absl::string_view name, AttrValue value);
  // Typed access; the attribute must be there (the verifier and builder see to it) unless a
  // fallback is given.
  int64_t attr_int(absl::string_view name) const;
  double attr_float(absl::string_view name) const;
  const std::string& attr_string(absl::string_view name) const;
  const std::vector<int64_t>& attr_ints(absl::string_view name) const;
  bool attr_bool(absl::string_view name, bool fallback) const;
  int64_t attr_int_or(absl::string_view name, int64_t fallback) const;
  double attr_float_or(absl::string_view name, double fallback) const;
  const AttrValue* find_attr(absl::string_view name) const;
  Function* body() const { return body_.get(); }  // of a fused op, else null
  void set_body(std::unique_ptr<Function> body) { body_ = std::move(body); }
  int line() const { return line_; }  // in the text it was parsed from, or 0
  void set_line(int line) { line_ = line; }

 private:
  friend class Function;
  Op op_;
  std::vector<Value*> operands_;
  std::vector<std::unique_ptr<Value>> results_;
  std::vector<Attr> attrs_;
  std::unique_ptr<Function> body_;
  int line_ = 0;
};

// A list of nodes in execution order, parameters and results. Also the body of a fused op, whose
// operands stand for its parameters in order (weights are passed as operands: a body names none).
class Function {
 public:
  explicit Function(std::string name) : name_(std::move(name)) {}

  const std::string& name() const { return name_; }
  Value* AddParameter(std::string name, Type type);
  absl::Span<const std::unique_ptr<Value>> parameters() const { return parameters_; }
  Value* FindParameter(absl::string_view name) const;  // null when there is none
  void RemoveParameter(const Value* value);            // which must have no uses
  absl::Span<const std::unique_ptr<Node>> nodes() const { return nodes_; }
  std::vector<Value*>& results() { return results_; }
  const std::vector<Value*>& results() const { return results_; }

  // Creates a node with results of the given types and inserts it before `before` (at the end when
  // null). No shape inference: see builder.h for that.
  Node* Insert(Op op, absl::Span<Value* const> operands, absl::Span<const Type> result_types,
               std::vector<Attr> attrs, const Node* before = nullptr);
  Node* InsertFused(absl::string_view family, absl::Span<Value* const> operands,
                    std::unique_ptr<Function> body, const Node* before = nullptr);
  // Replaces every use of `from`, function results included.
  int ReplaceAllUses(const Value* from, Value* to);
  void Erase(const Node* node);  // whose results must have no uses
  // Moves `node` before `before`, as it stands in the list.
  void MoveBefore(const Node* node, const Node* before);
  // Removes nodes none of whose results are used. Returns their number.
  int RemoveDeadNodes();
  int CountUses(const Value* value) const;
  // Every use counted in one sweep.
  absl::flat_hash_map<const Value*, int> UseCounts() const;

 private:
  std::string name_;
  std::vector<std::unique_ptr<Value>> parameters_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Value*> results_;
};

// A named tensor of the checkpoint, or a small literal that the importer computed.
struct Weight {
  std::unique_ptr<Value> value;  // its name is the checkpoint's full tensor name
  std::vector<float> literal;    // its elements when the data is in the text, else empty
};

class Module {
 public:
  explicit Module(std::string name) : name_(std::move(name)) {}
  Module(Module&&) = default;
  Module& operator=(Module&&) = default;

  const std::string& name() const { return name_; }
  void set_name(std::string name) { name_ = std::move(name); }
  Stage stage() const { return stage_; }
  void set_stage(Stage stage) { stage_ = stage; }

  int AddSymbol(std::string name, int64_t min, int64_t max);  // returns its index
  int FindSymbol(absl::string_view name) const;               // -1 when there is none
  std::vector<Symbol>& symbols() { return symbols_; }
  const std::vector<Symbol>& symbols() const { return symbols_; }

  Value* AddWeight(std::string name, Type type);
  Value* AddLiteral(std::string name, std::vector<float> elements);  // f32[n]
  Value* FindWeight(absl::string_view name) const;
  const Weight& WeightOf(const Value* value) const;
  absl::Span<const Weight> weights() const { return weights_; }
  int RemoveUnusedWeights();

  Function* AddFunction(std::string name);
  Function* AddFunction(std::unique_ptr<Function> function);
  Function* FindFunction(absl::string_view name) const;
  // What a plan runs: @step, or in a module without one its only function. Null when there is none.
  Function* entry() const;
  absl::Span<const std::unique_ptr<Function>> functions() const { return functions_; }

  Module Clone() const;

 private:
  std::string name_;
  Stage stage_ = Stage::kImported;
  std::vector<Symbol> symbols_;
  std::vector<Weight> weights_;
  absl::flat_hash_map<std::string, int> weight_index_;
  std::vector<std::unique_ptr<Function>> functions_;
};

// True when the value depends on weights and constants alone.
bool IsConstant(const Value* value);

// A copy of a function; `values` receives the old-to-new mapping of parameters and results. Values
// that are defined outside (weights) map to themselves unless `values` already has them.
std::unique_ptr<Function> CloneFunction(const Function& function, std::string name,
                                        absl::flat_hash_map<const Value*, Value*>& values);

// A dimension's bounds; INT64_MAX and INT64_MIN stand for an overflow.
int64_t MaxOf(const Dim& dim, absl::Span<const Symbol> symbols);
int64_t MinOf(const Dim& dim, absl::Span<const Symbol> symbols);

// The most bytes a value of this type can take, at the upper bounds of its symbols.
int64_t MaxBytes(const Type& type, absl::Span<const Symbol> symbols);

// "S+1", and "bf16[T,576]".
std::string DimToString(const Dim& dim, absl::Span<const Symbol> symbols);
std::string TypeToString(const Type& type, absl::Span<const Symbol> symbols);

}  // namespace ninfer::ir

#endif  // NINFER_IR_MODULE_H_
