// Attention without a cache is attention over a cache that lives for one step: pages are dealt to
// the texts, keys and values are appended to a scratch pool in the arena, and the same kernels as
// with a cache read it. So there is one attention kernel, and a plan without a cache differs in its
// launches alone.
// Tested by tests/program_passes_test.cc (tests/program/passes/lower.kp),
// tests/program_planner_test.cc.
#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_set.h"
#include "base/status.h"
#include "passes/lower_internal.h"
#include "program/body.h"

namespace ninfer::passes::lowering {
namespace {

using ir::Op;
using program::Family;

ir::Value* FromBack(const Region& region, size_t place) {
  const auto parameters = region.body->parameters();
  return parameters[parameters.size() - place].get();
}

// Drops parameters that nothing uses any more.
void DropUnused(Region& region) {
  for (size_t i = region.sources.size(); i-- > 0;) {
    ir::Value* parameter = region.body->parameters()[i].get();
    if (region.body->CountUses(parameter) > 0) continue;
    region.body->RemoveParameter(parameter);
    region.sources.erase(region.sources.begin() + i);
  }
}

// A copy of the region whose body ends in two more parameters: the page table and the pool.
Region CopyOf(const Region& region, const ScratchKv& scratch, const ir::Type& page_table,
              const ir::Type& kv, absl::flat_hash_map<const ir::Value*, ir::Value*>& values) {
  Region copy;
  copy.body = ir::CloneFunction(*region.body, "body", values);
  copy.sources = region.sources;
  copy.name = region.name;
  copy.provenance = region.provenance;
  copy.body->AddParameter("page_table", page_table);
  copy.sources.push_back({nullptr, scratch.page_table});
  copy.body->AddParameter("kv", kv);
  copy.sources.push_back({nullptr, scratch.pool});
  return copy;
}

}  // namespace

bool HoldsAttention(const Region& region) {
  return program::FindNode(*region.body, Op::kAttention) != nullptr;
}

absl::StatusOr<ir::Type> ScratchKvType(const Region& region) {
  const ir::Node& attention = *program::FindNode(*region.body, Op::kAttention);
  const ir::Type& keys = attention.operand(1)->type();  // [T, heads, head_dim]
  if (keys.shape[0] != attention.operand(0)->type().shape[0]) {
    return InvalidArgument(
        "lower: ", region.name,
        ": expected the keys of this step's tokens, found another number of them");
  }
  if (attention.operand(4) != attention.operand(5)) {
    return InvalidArgument("lower: ", region.name,
                           ": expected seq_bounds as key_bounds, found another value");
  }
  if (program::ParameterIndex(*region.body, attention.operand(4)) < 0) {
    return InvalidArgument("lower: ", region.name,
                           ": expected seq_bounds as an operand, found a value of the body");
  }
  if (keys.dtype != DType::kF32 && keys.dtype != DType::kBF16) {
    return InvalidArgument("lower: ", region.name, ": expected keys of f32 or bf16, found ",
                           DTypeName(keys.dtype));
  }
  ir::Type kv{keys.dtype, {keys.shape[1], keys.shape[2]}};
  kv.is_kv = true;
  return kv;
}

const ir::Value* SeqBoundsOf(const Region& region) {
  const ir::Node& attention = *program::FindNode(*region.body, Op::kAttention);
  return region.sources[program::ParameterIndex(*region.body, attention.operand(4))].value;
}

Region MakePages(const ir::Value* seq_bounds, const ir::Type& page_table, int buffer) {
  Region region;
  region.family = Family::kPages;
  region.body = std::make_unique<ir::Function>("body");
  region.sources.push_back({seq_bounds, -1});
  ir::Value* bounds = region.body->AddParameter("seq_bounds", seq_bounds->type());
  const ir::Type types[] = {page_table};
  ir::Node* pages = region.body->Insert(Op::kScratchPages, {bounds}, types, {});
  region.body->results().push_back(pages->result());
  region.results.push_back(nullptr);
  region.own_buffers = {buffer};
  region.name = "scratch_pages";
  region.provenance = "scratch KV pool";
  return region;
}

std::vector<Region> SplitAttention(Region region, const ScratchKv& scratch,
                                   const ir::Type& page_table, const ir::Type& kv) {
  const ir::Node& attention = *program::FindNode(*region.body, Op::kAttention);
  std::vector<Region> parts;

  absl::flat_hash_map<const ir::Value*, ir::Value*> values;
  Region append = CopyOf(region, scratch, page_table, kv, values);
  append.family = Family::kKvAppend;
  const auto of = [&](int i) { return values.at(attention.operand(i)); };
  const ir::Type kv_types[] = {kv};
  ir::Node* state = append.body->Insert(
      Op::kKvAppend, {FromBack(append, 1), of(1), of(2), of(3), of(4), FromBack(append, 2)},
      kv_types, {{"from_start", true}});
  append.body->results().assign({state->result()});
  append.body->RemoveDeadNodes();
  append.results.push_back(nullptr);
  DropUnused(append);
  parts.push_back(std::move(append));

  values.clear();
  Region reader = CopyOf(region, scratch, page_table, kv, values);
  reader.family = Family::kAttention;
  reader.results = region.results;
  ir::Node* old = values.at(attention.result())->producer();
  const ir::Type types[] = {attention.result()->type()};
  std::vector<ir::Value*> operands = {of(0), FromBack(reader, 1), of(3), of(4),
                                      FromBack(reader, 2)};
  if (attention.operands().size() > 6) operands.push_back(of(6));  // slopes
  ir::Node* paged = reader.body->Insert(Op::kPagedAttention, operands, types, old->attrs(), old);
  reader.body->ReplaceAllUses(old->result(), paged->result());
  reader.body->RemoveDeadNodes();
  DropUnused(reader);
  parts.push_back(std::move(reader));
  return parts;
}

}  // namespace ninfer::passes::lowering
