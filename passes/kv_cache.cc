// KvCache: attention over the whole text becomes kv_append and attention over the cache.
//
//   keys, values [T, G, d]  ->  kv_append to the layer's state, then kv_keys, kv_values [C, G, d]
//
// The step then takes only the tokens that are not cached yet: cached_lens, page tables and one
// state `kv.N` a layer become parameters, the new states results. Capacity is fixed (pages), length
// is the symbol C: no plan is made anew as a text grows. With a cache, T is bounded by the prefill
// chunk instead of by the context.
//
// Layers whose masks have a window shorter than the context read through a page table of their own,
// `page_table.4096`, so that they need not hold the pages that lie before it.
//
// It happens for all layers or for none, as one rewrite: every attention must match, and every
// other node must be row by row in T, for otherwise a text cut into chunks would give something
// else.
//
// Proves: step by step equals whole sequence, for any cut into steps.
// Order: after canonicalise and fold, which leave one spelling of attention; before last-rows,
// which counts on nothing behind attention reading other rows, and before the attention pass, which
// takes kv_keys and kv_values into paged_attention.
//
// Tested by tests/passes_golden_test.cc (tests/passes/kv_cache.ir), tests/passes_model_test.cc.
#include <algorithm>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/strings/str_cat.h"
#include "base/page_table.h"
#include "base/status.h"
#include "ir/builder.h"
#include "passes/attention_match.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ninfer::passes {
namespace {

using ir::Dim;
using ir::Node;
using ir::Op;
using ir::Type;
using ir::Value;

constexpr int64_t kPage = program::KvLayout::kPagePositions;

// The step's parameters and symbols that the rewrite refers to.
struct Step {
  ir::Function* function = nullptr;
  Value* positions = nullptr;   // i32[T]
  Value* seq_bounds = nullptr;  // i32[S+1]
  int tokens = -1;              // symbols
  int sequences = -1;
  std::vector<SpelledAttention> layers;
};

bool FindStep(const ir::Module& module, Step& step) {
  step.function = module.FindFunction("step");
  if (step.function == nullptr) return false;
  step.positions = step.function->FindParameter("positions");
  step.seq_bounds = step.function->FindParameter("seq_bounds");
  if (step.positions == nullptr || step.seq_bounds == nullptr) return false;
  if (step.positions->type().rank() != 1 || step.seq_bounds->type().rank() != 1) return false;
  step.tokens = step.positions->type().shape[0].symbol;
  step.sequences = step.seq_bounds->type().shape[0].symbol;
  return step.tokens >= 0 && step.sequences >= 0 && step.tokens != step.sequences;
}

bool OverWholeText(const SpelledAttention& attention, const Step& step) {
  const Node& mask = *attention.mask;
  const Dim rows = Dim::Symbolic(step.tokens);
  return mask.operand(1) == step.positions && mask.operand(2) == step.seq_bounds &&
         mask.operand(3) == step.seq_bounds && attention.k->type().shape[0] == rows &&
         attention.k->type().dtype == DType::kF32 && attention.v->type().dtype == DType::kF32;
}

// Collects the layers; false when some node lets rows meet that the cache would tear apart.
bool MatchLayers(Step& step) {
  const Uses uses(*step.function);
  absl::flat_hash_set<const Node*> inside;
  for (const auto& node : step.function->nodes()) {
    if (node->op() != Op::kCausalMask) continue;
    const absl::optional<SpelledAttention> match = MatchAttention(node.get(), uses);
    if (!match || !OverWholeText(*match, step)) return false;
    inside.insert({match->scores, match->mask, match->softmax, match->output});
    inside.insert(match->between.begin(), match->between.end());
    step.layers.push_back(*match);
  }
  return !step.layers.empty() && std::all_of(step.function->nodes().begin(),
                                             step.function->nodes().end(), [&](const auto& node) {
                                               return inside.contains(node.get()) ||
                                                      IsRowByRow(*node, step.tokens);
                                             });
}

// What is added once for all layers.
struct Cache {
  absl::btree_map<int64_t, Value*> page_tables;  // by window
  int64_t context = 0;                           // positions that a text may have
  Value* key_bounds = nullptr;                   // i32[S+1]
  int keys = -1;                                 // the symbol C
};

// How far back the layer's rows see; 0: to the text's start.
int64_t WindowOf(const SpelledAttention& layer, int64_t context) {
  const int64_t window = layer.mask->attr_int_or("window", 0);
  return window < context ? window : 0;
}

absl::StatusOr<Cache> AddCache(ir::Module& module, Step& step, const PassOptions& options) {
  ir::Function& function = *step.function;
  const int64_t imported = module.symbols()[step.tokens].max;
  const int64_t context =
      options.context_length > 0 ? std::min(options.context_length, imported) : imported;
  ir::Symbol& sequences = module.symbols()[step.sequences];
  sequences.max = std::max(sequences.min, options.max_sequences);
  const int64_t max_sequences = sequences.max;
  module.symbols()[step.tokens].max =
      std::max(module.symbols()[step.tokens].min, std::min(context, options.max_tokens));
  Cache cache;
  cache.context = context;
  if (module.FindSymbol("C") >= 0 || module.FindSymbol("G") >= 0) {
    return InvalidArgument("dimensions C and G are kept for the cache, found one in the graph");
  }
  int64_t most_keys = 0;
  if (__builtin_mul_overflow(max_sequences, context, &most_keys)) {
    return InvalidArgument("expected less than 2^63 cached positions, found ", max_sequences,
                           " sequences of ", context);
  }
  cache.keys = module.AddSymbol("C", 1, most_keys);
  const int pages = module.AddSymbol("G", 1, (context + kPage - 1) / kPage);
  const Dim s = Dim::Symbolic(step.sequences);
  Value* cached_lens = function.AddParameter("cached_lens", Type{DType::kI32, {s}});
  for (const SpelledAttention& layer : step.layers) cache.page_tables[WindowOf(layer, context)];
  for (auto& [window, table] : cache.page_tables) {
    table =
        function.AddParameter(PageTableName(window), Type{DType::kI32, {s, Dim::Symbolic(pages)}});
  }
  const Node* first = function.nodes().empty() ? nullptr : function.nodes()[0].get();
  ir::Builder builder(&module, &function, first);
  cache.key_bounds = builder.Make(Op::kKvBounds, {cached_lens, step.seq_bounds});
  NINFER_RETURN_IF_ERROR(builder.status());
  module.set_stage(std::max(module.stage(), ir::Stage::kOptimised));
  return cache;
}

void SetLastDim(Node* node, Dim dim) {
  Type type = node->result()->type();
  type.shape.back() = dim;
  node->result()->set_type(type);
}

// [C, G, d] -> [H, C, d], as the importer does it for [T, G, d].
Value* ByQueryHead(ir::Builder& builder, Value* x, int64_t times) {
  Value* heads = builder.Transpose(x, {1, 0, 2});  // [G, C, d]
  return times == 1 ? heads : builder.Repeat(heads, 0, times);
}

absl::Status CacheLayer(ir::Module& module, Step& step, const Cache& cache,
                        const SpelledAttention& layer, int number) {
  ir::Function& function = *step.function;
  GatherBeforeOutput(function, layer);
  const Type state_type{DType::kF32, {layer.k->type().shape[1], layer.k->type().shape[2]}, true};
  Value* state = function.AddParameter(absl::StrCat("kv.", number), state_type);
  state->set_provenance(layer.k->provenance());
  ir::Builder builder(&module, &function, layer.scores);
  builder.set_provenance(layer.scores->result()->provenance());
  Value* page_table = cache.page_tables.at(WindowOf(layer, cache.context));
  Value* appended = builder.Make(
      Op::kKvAppend, {state, layer.k, layer.v, step.positions, step.seq_bounds, page_table});
  const Dim keys = Dim::Symbolic(cache.keys);
  Type type = layer.k->type();
  type.shape[0] = keys;
  Value* k = builder.Make(Op::kKvKeys, {appended, cache.key_bounds, page_table}, {}, &type);
  Value* v = builder.Make(Op::kKvValues, {appended, cache.key_bounds, page_table}, {}, &type);
  const int64_t times = layer.query_heads() / layer.kv_heads();
  k = ByQueryHead(builder, k, times);  // [H, C, d]
  v = ByQueryHead(builder, v, times);  // [H, C, d]
  NINFER_RETURN_IF_ERROR(builder.status());
  layer.scores->set_operand(1, k);
  layer.scores->set_attr("transpose_b", true);
  SetLastDim(layer.scores, keys);
  for (Node* node : layer.between) SetLastDim(node, keys);
  if (layer.alibi != nullptr) layer.alibi->set_operand(2, cache.key_bounds);
  SetLastDim(layer.mask, keys);
  layer.mask->set_operand(3, cache.key_bounds);
  SetLastDim(layer.softmax, keys);
  if (layer.output->attr_bool("transpose_b", false)) layer.output->set_attr("transpose_b", false);
  layer.output->set_operand(1, v);
  function.results().push_back(appended);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int> KvCache(ir::Module& module, const PassOptions& options) {
  Rewrites rewrites(options);
  Step step;
  if (!FindStep(module, step) || !MatchLayers(step)) return 0;
  if (!rewrites.Next()) return 0;
  NINFER_ASSIGN_OR_RETURN(const Cache cache, AddCache(module, step, options));
  for (size_t i = 0; i < step.layers.size(); ++i) {
    NINFER_RETURN_IF_ERROR(CacheLayer(module, step, cache, step.layers[i], static_cast<int>(i)));
  }
  return rewrites.made();
}

}  // namespace ninfer::passes
