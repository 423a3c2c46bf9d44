// FormAttention: spelled-out attention becomes one op, `attention` over keys and values at hand or
// `paged_attention` over a cache, with the scale as an attribute and the form the user chose:
//   naive      all scores stored, as the graph was written;
//   efficient  scores of a block of queries at a time (Rabe and Staats, 2021);
//   flash      no scores stored: running maximum and sum (Dao et al., 2022).
// Neither transposes nor repeated heads are left: q is [T, H, d], and query head h reads KV head
// h / (H/G). What does not match stays as it is; causal_mask is not legal behind this pass, so that
// the verifier then names the mask that was left over.
//
// Proves: within the stated bound of naive (f32 sums in another order, the scale in another place).
// Order: after kv-cache, whose kv_keys and kv_values are taken in; before precision, which casts q,
// k and v, and fuse, which anchors a region at the op.
//
// Tested by tests/passes_golden_test.cc (tests/passes/attention.ir), tests/passes_model_test.cc.
#include <algorithm>
#include <vector>

#include "base/status.h"
#include "ir/builder.h"
#include "passes/attention_match.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ninfer::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

constexpr absl::string_view kForms[] = {"naive", "efficient", "flash"};

// The cache that keys and values are read from, when both are, just as the mask sees it.
struct CacheUse {
  Value* kv = nullptr;
  Value* page_table = nullptr;
};

absl::optional<CacheUse> MatchCache(const SpelledAttention& match) {
  const Node* keys = ProducerIf(match.k, Op::kKvKeys);
  const Node* values = ProducerIf(match.v, Op::kKvValues);
  if (keys == nullptr || values == nullptr) return absl::nullopt;
  for (int i = 0; i < 3; ++i) {
    if (keys->operand(i) != values->operand(i)) return absl::nullopt;
  }
  Value* kv = keys->operand(0);
  Value* page_table = keys->operand(2);
  const Node* append = ProducerIf(kv, Op::kKvAppend);
  const Node* bounds = ProducerIf(match.mask->operand(3), Op::kKvBounds);
  if (append == nullptr || bounds == nullptr) return absl::nullopt;
  if (keys->operand(1) != bounds->result() || bounds->operand(1) != match.mask->operand(2) ||
      append->operand(3) != match.mask->operand(1) ||
      append->operand(4) != match.mask->operand(2) || append->operand(5) != page_table) {
    return absl::nullopt;
  }
  return CacheUse{kv, page_table};
}

bool ReadsCache(const SpelledAttention& match) {
  return ProducerIf(match.k, Op::kKvKeys) != nullptr ||
         ProducerIf(match.v, Op::kKvValues) != nullptr;
}

// Puts `attention` [T, H, d] in place of the output [H, T, d]: of its transposes directly, of other
// users through one.
void ReplaceOutput(ir::Function& function, const SpelledAttention& match, ir::Builder& builder,
                   Value* attention) {
  const Value* output = match.output->result();
  const Uses uses(function);
  for (Node* user : uses.of(output)) {
    if (user->op() != Op::kTranspose || user->attr_ints("perm") != std::vector<int64_t>{1, 0, 2}) {
      continue;
    }
    function.ReplaceAllUses(user->result(), attention);
    function.Erase(user);
  }
  if (function.CountUses(output) > 0) {
    function.ReplaceAllUses(output, builder.Transpose(attention, {1, 0, 2}));
  }
}

absl::Status Form(ir::Module& module, ir::Function& function, const SpelledAttention& match,
                  const absl::optional<CacheUse>& cache, const std::string& form) {
  ir::Builder builder(&module, &function, match.output);
  builder.set_provenance(match.output->result()->provenance());
  std::vector<ir::Attr> attrs = {{"scale", match.scale}, {"form", form}};
  std::vector<Value*> slopes;
  if (match.softcap > 0) attrs.push_back({"softcap", match.softcap});
  if (const ir::AttrValue* window = match.mask->find_attr("window")) {
    attrs.push_back({"window", *window});
  }
  if (match.alibi != nullptr) {
    slopes.push_back(match.alibi->operand(1));
    attrs.push_back({"alibi_scale", match.alibi->attr_float("scale")});
    if (const ir::AttrValue* rounding = match.alibi->find_attr("rounding")) {
      attrs.push_back({"alibi_rounding", *rounding});
    }
  }
  Value* positions = match.mask->operand(1);
  Value* seq_bounds = match.mask->operand(2);
  std::vector<Value*> operands =
      cache ? std::vector<Value*>{match.q, cache->kv, positions, seq_bounds, cache->page_table}
            : std::vector<Value*>{match.q,   match.k,    match.v,
                                  positions, seq_bounds, match.mask->operand(3)};
  operands.insert(operands.end(), slopes.begin(), slopes.end());
  Value* attention =
      builder.Make(cache ? Op::kPagedAttention : Op::kAttention, operands, std::move(attrs));
  NINFER_RETURN_IF_ERROR(builder.status());
  const std::string& probabilities = match.softmax->result()->name();
  if (!probabilities.empty()) attention->set_name(absl::StrCat(probabilities, kMixedSuffix));
  ReplaceOutput(function, match, builder, attention);
  NINFER_RETURN_IF_ERROR(builder.status());
  function.Erase(match.output);
  function.Erase(match.softmax);
  function.Erase(match.mask);
  for (size_t i = match.between.size(); i-- > 0;) function.Erase(match.between[i]);
  function.Erase(match.scores);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int> FormAttention(ir::Module& module, const PassOptions& options) {
  if (std::find(std::begin(kForms), std::end(kForms), options.attention) == std::end(kForms)) {
    return InvalidArgument("attention: expected naive, efficient or flash, found \"",
                           options.attention, "\"");
  }
  Rewrites rewrites(options);
  if (module.stage() < ir::Stage::kAttention) {  // a rewrite too: the text says the stage
    if (!rewrites.Next()) return rewrites.made();
    module.set_stage(ir::Stage::kAttention);
  }
  for (const auto& function : module.functions()) {
    std::vector<Node*> masks;
    for (const auto& node : function->nodes()) {
      if (node->op() == Op::kCausalMask) masks.push_back(node.get());
    }
    for (Node* mask : masks) {
      const absl::optional<SpelledAttention> match = MatchAttention(mask, Uses(*function));
      if (!match) continue;
      const absl::optional<CacheUse> cache = MatchCache(*match);
      if (!cache && ReadsCache(*match)) continue;
      if (!rewrites.Next()) return rewrites.made();
      NINFER_RETURN_IF_ERROR(Form(module, *function, *match, cache, options.attention));
    }
  }
  return rewrites.made();
}

}  // namespace ninfer::passes
