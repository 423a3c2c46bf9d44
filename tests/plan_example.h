// A tiny plan that uses every section and every kind of field, for the tests of plan/ and runtime/.
#ifndef NINFER_TESTS_PLAN_EXAMPLE_H_
#define NINFER_TESTS_PLAN_EXAMPLE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace ninfer::plan {

inline Launch ExampleLaunch(uint32_t kernel, Barrier barrier, std::vector<Operand> operands) {
  Launch launch;
  launch.kernel = kernel;
  launch.barrier = barrier;
  launch.operands = std::move(operands);
  return launch;
}

inline void AddExampleEntry(Plan* plan) {
  plan->buffers = {{"hidden", "f32[T,4]", 32, true, 0, 256, 0, 1},
                   {"logits", "f32[R,4]", 32, false, 0, 256, 1, 1}};
  Entry entry;
  entry.name = "step";
  entry.arguments = {"tokens", "rows", "page_table.48"};
  entry.output = 1;
  entry.few_rows = 1;
  entry.arena_bytes = 256;
  entry.replica_bytes = 256;
  entry.arena_lower_bound = 512;
  entry.launches.push_back(ExampleLaunch(0, Barrier::kNone,
                                         {{OperandKind::kArgument, 0},
                                          {OperandKind::kWeight, 0},
                                          {OperandKind::kKv, 0},
                                          {OperandKind::kBuffer, 0},
                                          {OperandKind::kArgument, 2}}));
  entry.launches[0].replicated = true;
  entry.launches[0].symbol = 0;
  entry.launches[0].provenance = "layer 0";
  entry.launches.push_back(ExampleLaunch(
      1, Barrier::kMany,
      {{OperandKind::kBuffer, 0}, {OperandKind::kWeight, 1}, {OperandKind::kBuffer, 1}}));
  plan->entries = {entry};
}

inline Plan ExamplePlan() {
  Plan plan;
  Metadata& metadata = plan.metadata;
  metadata.model_name = "tiny";
  metadata.architecture = "llama";
  metadata.vocab_size = 4;
  metadata.context_length = 64;
  metadata.parameters = 32;
  metadata.bos_id = 0;
  metadata.eos_ids = {2, 3};
  metadata.do_sample = true;
  metadata.temperature = 0.5;
  metadata.default_prompt = "a";
  metadata.rope_by_length = true;
  metadata.rope_crossing = 48;
  metadata.weights_dtype = metadata.activations_dtype = metadata.kv_dtype = "f32";
  plan.symbols = {{"T", 1, 2}, {"R", 1, 2}};
  plan.kv_layers = {{DType::kBF16, 1, 2, 64, 256, 48}};
  plan.weights = {{"embed", "plain_f32", 4, 4, 1, 0, 64}, {"head", "panel_f32", 4, 4, 1, 64, 64}};
  plan.weight_bytes = 128;
  plan.kernels = {{"embedding", "rowwise", 0}, {"head", "linear", 64}};
  AddExampleEntry(&plan);
  CodeImage image;
  image.target = "zen4";
  image.cpu = "znver4";
  image.required_features = {"avx2"};
  image.bytes = std::string(4096, '\xc3');  // ret
  image.executable_bytes = 4096;
  image.kernels = {{"embedding__zen4", 0, 1, 0, {}}, {"head__zen4", 64, 9, 8, {{0, 3}, {4, 5}}}};
  plan.images = {image};
  plan.tokenizer = "tables";
  plan.program_text = "program";
  plan.imported_graph_text = "graph";
  plan.final_graph_text = "fused";
  plan.evidence = {{1, 2}, 1e-6, 1e-9, 0, 1e-7, 1e-4, "imported graph in f32", 42, absl::nullopt};
  plan.evidence.quality = Quality{"bundled text", 9, 1, 0.25, 8, 9.5, {{"head", "f32", "f32", 0}}};
  plan.provenance = {"0.1.0", "{}", "tiny", {{"fuse", 0.25, 1, 3, 2, 64, 32, false}}};
  return plan;
}

// The example as the plan of a model that sees, whose @vision is the example's step under its name.
inline Plan ExamplePlanThatSees() {
  Plan plan = ExamplePlan();
  Plan function = ExamplePlan();
  function.entries[0].name = "vision";
  Vision vision;
  vision.patch_size = 2;
  vision.grid = 4;
  vision.scale_factor = 2;
  vision.columns = 4;
  vision.image_token_id = 3;
  vision.has_processor = true;
  vision.longest_edge = 16;
  vision.max_image_size = 8;
  vision.rescale_factor = 1.0 / 255;
  vision.image_mean = vision.image_std = {0.5, 0.5, 0.5};
  vision.image_token = "<image>";
  vision.fake_image_token = "<fake>";
  vision.global_image_token = "<global>";
  vision.function = std::make_shared<const Plan>(std::move(function));
  plan.vision = std::move(vision);
  return plan;
}

// The example compiled for CUDA cards alone.
inline Plan ExamplePlanForCards() {
  Plan plan = ExamplePlan();
  plan.images.clear();
  for (Weight& weight : plan.weights) weight.offset = weight.bytes = 0;
  Cards cards;
  cards.weight_bytes = plan.weight_bytes;
  cards.weights = {{0, 64}, {64, 64}};
  cards.page_bytes = {512};
  const CardFunction::Grid rows{1, 0, 1}, one{};
  cards.functions = {{"embedding_rows", 0, 0, INT64_MAX, {rows, one}, 128},
                     {"head_row", 1, 1, 1, {one, one}, 256},
                     {"head_rows8", 1, 1, INT64_MAX, {one, rows}, 256}};
  cards.images = {{"sm_90", 90, false, "cubin"}, {"sm_90", 90, true, "ptx"}};
  cards.source = "void head_row() {}";
  plan.cards = std::move(cards);
  return plan;
}

// plan.weight_bytes bytes, aligned, none of them alike.
inline const uint8_t* ExampleWeights() {
  alignas(64) static uint8_t weights[128];
  for (int i = 0; i < 128; ++i) weights[i] = static_cast<uint8_t>(i + 1);
  return weights;
}

}  // namespace ninfer::plan

#endif  // NINFER_TESTS_PLAN_EXAMPLE_H_
