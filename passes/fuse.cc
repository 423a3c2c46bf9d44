// Fuse: prologues and epilogues join their anchor in one region, a `fused` op with a body, which
// becomes one kernel. By family:
//   linear     one linear with bias, activation, gate * up of its two halves, residual, cast;
//   kv_append  rope and cast of k and v, then the append;
//   attention  attention, then the reshape and cast of its result; without a cache, rope and cast
//              of k and v before it;
//   rowwise    chains of norms, casts, rope, gathers and elementwise ops on the same rows.
// Reshapes and slices are free and stand in every body that looks through them. Weights and step
// arguments become parameters; scalar constants stand in the body. Equal regions of different
// layers get equal bodies.
//
// Proves: no value is computed twice; equal under eager, bit by bit.
// Order: last on the graph, when types and ops are settled. A region is not opened again by any
// pass. Without it every node becomes a kernel by itself.
//
// Tested by tests/passes_golden_test.cc (tests/passes/fuse.ir), tests/passes_model_test.cc.
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "passes/fuse_groups.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ninfer::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

// Builds one region's body beside the list of the region's operands.
class BodyBuilder {
 public:
  explicit BodyBuilder(const FusionGroup& group)
      : group_(group), body_(std::make_unique<ir::Function>("body")) {}

  void Build();
  std::unique_ptr<ir::Function> TakeBody() { return std::move(body_); }
  const std::vector<Value*>& operands() const { return operands_; }

 private:
  Value* Inside(Value* value);
  Value* Copy(const Node& node);
  std::string ParameterName(const Value* value);

  const FusionGroup& group_;
  std::unique_ptr<ir::Function> body_;
  std::vector<Value*> operands_;
  absl::flat_hash_map<const Value*, Value*> inside_;
  int weights_ = 0, inputs_ = 0;
};

// Names say the role, not the layer, so that the bodies of equal regions are equal.
std::string BodyBuilder::ParameterName(const Value* value) {
  std::string name;
  if (value->type().is_kv) {
    name = "kv";
  } else if (ir::IsConstant(value)) {
    name = absl::StrCat("w", weights_++);
  } else {
    name = value->is_parameter() ? value->name() : absl::StrCat("x", inputs_++);
  }
  while (body_->FindParameter(name) != nullptr) absl::StrAppend(&name, "_");
  return name;
}

Value* BodyBuilder::Copy(const Node& node) {
  std::vector<Value*> operands;
  for (Value* operand : node.operands()) operands.push_back(Inside(operand));
  const ir::Type types[] = {node.result()->type()};
  Value* copy = body_->Insert(node.op(), operands, types, node.attrs())->result();
  inside_[node.result()] = copy;
  return copy;
}

Value* BodyBuilder::Inside(Value* value) {
  const auto it = inside_.find(value);
  if (it != inside_.end()) return it->second;
  const Node* producer = value->producer();
  if (IsFreeView(producer) && !ir::IsConstant(value)) return Copy(*producer);
  if (const absl::optional<float> scalar = EvaluateScalar(value)) {
    const ir::Type types[] = {value->type()};
    const ir::AttrValue attr =
        producer->op() == Op::kConstant ? *producer->find_attr("value") : ir::AttrValue(*scalar);
    Node* constant = body_->Insert(Op::kConstant, {}, types, {{"value", attr}});
    return inside_[value] = constant->result();
  }
  Value* parameter = body_->AddParameter(ParameterName(value), value->type());
  operands_.push_back(value);
  inside_[value] = parameter;
  return parameter;
}

void BodyBuilder::Build() {
  for (const Node* node : group_.nodes) Copy(*node);
  for (const Value* output : group_.outputs) body_->results().push_back(inside_.at(output));
}

// What a person called the region's output: its own name, or attention's where the output is its
// result reshaped or cast. The name moves, so that no two values have it.
std::string TakeName(Value* output) {
  Value* value = output;
  while (value->name().empty()) {
    const Node* node = value->producer();
    if (node->op() != Op::kReshape && node->op() != Op::kCast) break;
    value = node->operand(0);
    if (value->producer() == nullptr) return "";
  }
  const Op op = value->producer()->op();
  if (value != output && op != Op::kAttention && op != Op::kPagedAttention) return "";
  std::string name = value->name();
  value->set_name("");
  return name;
}

}  // namespace

absl::StatusOr<int> Fuse(ir::Module& module, const PassOptions& options) {
  Rewrites rewrites(options);
  if (module.stage() < ir::Stage::kFused) {  // a rewrite too: the text says the stage
    if (!rewrites.Next()) return rewrites.made();
    module.set_stage(ir::Stage::kFused);
  }
  for (const auto& function : module.functions()) {
    for (const FusionGroup& group : GroupFinder(*function).Find()) {
      if (group.outputs.empty()) continue;
      if (!rewrites.Next()) return rewrites.made();
      BodyBuilder builder(group);
      builder.Build();
      // A node that joined the group from below may name a constant from there.
      for (Value* operand : builder.operands()) {
        if (ir::IsConstant(operand)) HoistConstant(*function, operand, group.place);
      }
      Node* fused = function->InsertFused(program::FamilyName(group.family), builder.operands(),
                                          builder.TakeBody(), group.place);
      for (size_t i = 0; i < group.outputs.size(); ++i) {
        fused->result(i)->set_provenance(group.outputs[i]->provenance());
        fused->result(i)->set_name(TakeName(group.outputs[i]));
        function->ReplaceAllUses(group.outputs[i], fused->result(i));
      }
    }
  }
  return rewrites.made();
}

}  // namespace ninfer::passes
