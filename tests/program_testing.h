// Programs for tests: small ones from random graphs through the whole pipeline, and running one
// step of a program, or of the graph it came from, on seeded texts.
#ifndef NINFER_TESTS_PROGRAM_TESTING_H_
#define NINFER_TESTS_PROGRAM_TESTING_H_

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "eager/eager.h"
#include "eager/program_interpreter.h"
#include "passes/passes.h"
#include "program/program.h"
#include "tests/support/memory_weights.h"
#include "tests/support/random_graph.h"

namespace ninfer::testing {

// Options that differ from seed to seed: precision, form of attention, optional passes left out.
inline passes::PassOptions RandomPassOptions(uint64_t seed) {
  passes::PassOptions options;
  options.context_length = 64;
  options.max_tokens = 64;
  options.max_sequences = 4;
  options.max_rows = 8;
  if (seed % 2 == 1) options.weights = options.activations = options.kv_cache = DType::kBF16;
  if (seed % 5 == 2) options.kv_cache = DType::kI8;
  const char* forms[] = {"flash", "naive", "efficient"};
  options.attention = forms[seed % 3];
  const char* optional[] = {"cse", "kv-cache", "merge-linears", "fuse"};
  for (int i = 0; i < 4; ++i) {
    if ((seed * 2654435761u >> (9 + i)) % 4 == 0) options.disabled.insert(optional[i]);
  }
  return options;
}

// A random graph that lowers; null when this seed's holds an op that no kernel takes.
struct RandomProgram {
  std::shared_ptr<MemoryWeights> weights;
  passes::PipelineResult result;
  int64_t vocab = 0;
};
inline std::unique_ptr<RandomProgram> MakeRandomProgram(uint64_t seed) {
  RandomGraph graph = MakeRandomGraph(seed);
  auto result = passes::RunPipeline(std::move(graph.module), RandomPassOptions(seed));
  if (!result.ok()) return nullptr;
  return std::make_unique<RandomProgram>(
      RandomProgram{graph.weights, std::move(*result), graph.vocab});
}

// Whole texts of these lengths in one step.
inline eager::StepArguments WholeTexts(const std::vector<int>& lengths, int64_t vocab) {
  eager::StepArguments arguments;
  arguments.seq_bounds = {0};
  int most_pages = 1;
  for (const int length : lengths) {
    for (int i = 0; i < length; ++i) {
      arguments.tokens.push_back(static_cast<int32_t>((i * 7 + length) % vocab));
      arguments.positions.push_back(i);
      arguments.rope_len.push_back(length);
    }
    arguments.seq_bounds.push_back(static_cast<int32_t>(arguments.tokens.size()));
    arguments.cached_lens.push_back(0);
    most_pages = std::max(most_pages, (length + 63) / 64);
  }
  arguments.rows = {0, static_cast<int32_t>(arguments.tokens.size()) - 1};
  for (int i = most_pages * static_cast<int>(lengths.size()); i > 0; --i) {
    arguments.page_table.push_back(i - 1);
  }
  return arguments;
}

inline absl::StatusOr<std::vector<float>> RunGraph(const ir::Module& module,
                                                   const std::shared_ptr<MemoryWeights>& weights,
                                                   const eager::StepArguments& arguments) {
  NINFER_ASSIGN_OR_RETURN(auto interpreter, eager::Interpreter::Create(&module, weights, 1));
  std::vector<eager::KvPool> pools;
  for (const auto& parameter : module.FindFunction("step")->parameters()) {
    const ir::Type& type = parameter->type();
    if (!type.is_kv) continue;
    const int64_t pages = static_cast<int64_t>(arguments.page_table.size());
    pools.push_back({type.dtype, type.shape[0].offset, type.shape[1].offset, pages, {}});
    pools.back().data.resize(pages * 2 * type.shape[0].offset * 64 * type.shape[1].offset);
  }
  NINFER_ASSIGN_OR_RETURN(const std::vector<eager::Tensor> results,
                          interpreter->Run(arguments, &pools));
  return *results[0].floats;
}

// Lays the weights out first when they are not.
inline absl::StatusOr<std::vector<float>> RunProgram(const program::Program& source,
                                                     const MemoryWeights& weights, int threads,
                                                     const eager::StepArguments& arguments) {
  program::Program program = program::Clone(source);
  NINFER_RETURN_IF_ERROR(passes::LayOutWeights(program, {}).status());
  std::vector<uint8_t> packed(program.weight_bytes + 64);
  NINFER_RETURN_IF_ERROR(eager::PackWeights(
      program, weights, 1, [](int64_t) {}, packed.data()));
  const int64_t pages = static_cast<int64_t>(arguments.page_table.size());
  NINFER_ASSIGN_OR_RETURN(
      auto interpreter, eager::ProgramInterpreter::Create(&program, packed.data(), threads, pages));
  NINFER_ASSIGN_OR_RETURN(const eager::Tensor logits, interpreter->Run(arguments));
  return *logits.floats;
}

// Largest difference over the largest value; infinite when sizes differ or a value is not finite.
inline double Difference(const std::vector<float>& expected, const std::vector<float>& found) {
  if (expected.size() != found.size()) return INFINITY;
  double largest = 1e-30, worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!std::isfinite(found[i])) return INFINITY;
    largest = std::max<double>(largest, std::abs(expected[i]));
    worst = std::max<double>(worst, std::abs(expected[i] - found[i]));
  }
  return worst / largest;
}

}  // namespace ninfer::testing

#endif  // NINFER_TESTS_PROGRAM_TESTING_H_
