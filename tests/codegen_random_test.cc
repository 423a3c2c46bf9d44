// Seeded random regions: the kernels of lowered random graphs, with one precision or another and
// now and then a pass left out, on random operands through every engine. How far an engine may be
// from the oracle is measured: by how much the oracle's results move when its inputs move in the
// last places.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "ir/text.h"
#include "passes/pass.h"
#include "program/body.h"
#include "tests/support/kernel_harness.h"
#include "tests/support/random_graph.h"
#include "tests/tier.h"

namespace ninfer {
namespace {

using eager::Tensor;
using ir::Op;

passes::PassOptions RandomOptions(Random& random) {
  constexpr DType kWeights[] = {DType::kF32, DType::kBF16, DType::kF16};
  passes::PassOptions options;
  options.weights = random.Pick<DType>(kWeights);
  if (options.weights == DType::kBF16 && random.OneIn(2)) {
    options.activations = options.kv_cache = DType::kBF16;
  }
  if (random.OneIn(4)) options.kv_cache = DType::kI8;
  options.context_length = 128;
  options.max_tokens = 64;
  options.max_rows = 16;
  options.max_sequences = 4;
  options.disabled.insert("argmax");  // logits that are nearly equal fall either way
  std::vector<std::string> optional;
  for (const passes::PassInfo& pass : passes::ListPasses()) {
    if (pass.optional) optional.push_back(pass.name);
  }
  if (random.OneIn(3)) options.disabled.insert(random.Pick<std::string>(optional));
  return options;
}

// Exclusive upper bound of an i32 input's values: the rows of the table that it indexes.
int64_t Below(const ir::Function& body, const ir::Value* input, const Operands& operands) {
  for (const auto& node : body.nodes()) {
    if (node->info().op_class != ir::OpClass::kGather ||
        node->operand(1 - (node->op() == Op::kEmbedding)) != input) {
      continue;
    }
    const ir::Dim& rows = node->operand(node->op() == Op::kEmbedding ? 1 : 0)->type().shape[0];
    return rows.is_static() ? rows.offset : operands.dims.at("T");
  }
  return 128;  // positions
}

Operands RandomOperands(const KernelHarness& harness, int index, uint64_t seed) {
  Random random(seed);
  const program::Kernel& kernel = harness.kernel(index);
  Operands operands;
  for (const ir::Symbol& symbol : harness.program().symbols) {
    operands.dims[symbol.name] = random.Between(1, std::min<int64_t>(symbol.max, 20));
  }
  const auto parameters = kernel.body->parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    const ir::Type& type = parameters[i]->type();
    if (type.dtype != DType::kI32 || type.rank() != 1 || kernel.params[i].written) continue;
    const ir::Dim& rows = type.shape[0];
    const int64_t count =
        rows.offset + operands.dims.at(harness.program().symbols[rows.symbol].name);
    const int64_t below = Below(*kernel.body, parameters[i].get(), operands);
    std::vector<int32_t> values;
    for (int64_t j = 0; j < count; ++j) values.push_back(static_cast<int32_t>(random.Below(below)));
    operands.tensors[parameters[i]->name()] = Tensor::Ints({count}, values);
  }
  harness.FillRandom(index, seed, &operands);
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (kernel.params[i].kind != program::OperandKind::kWeight) continue;
    Tensor& weight = operands.tensors.at(parameters[i]->name());
    for (float& value : *weight.floats) value *= 0.15f;
    weight = Rounded(weight, weight.dtype);
  }
  return operands;
}

// Results of the oracle, and for each element a bound from how far it moves.
void Measure(const KernelHarness& harness, int index, const Operands& operands,
             std::vector<Tensor>* expected, std::vector<std::vector<double>>* bounds) {
  const auto run = harness.Run("oracle", index, operands);
  ASSERT_TRUE(run.ok()) << run.status();
  *expected = run->results;
  bool rounds = false;
  for (const auto& node : harness.kernel(index).body->nodes()) {
    rounds |= node->op() == Op::kCast && node->result()->type().dtype != DType::kF32;
  }
  std::vector<std::vector<double>> moved;
  for (const Tensor& tensor : *expected) moved.emplace_back(tensor.elements(), 0.0);
  Random random(index);
  for (int i = 0; i < 3; ++i) {
    Operands near = operands;
    for (auto& [name, tensor] : near.tensors) {
      if (tensor.floats == nullptr) continue;
      const DType dtype = tensor.dtype;
      tensor = Tensor::Floats(tensor.shape, *tensor.floats);
      tensor.dtype = dtype;
      for (float& value : *tensor.floats) value *= 1 + 1e-6f * (2 * random.Uniform() - 1);
    }
    const auto other = harness.Run("oracle", index, near);
    ASSERT_TRUE(other.ok()) << other.status();
    for (size_t r = 0; r < expected->size(); ++r) {
      if ((*expected)[r].floats == nullptr) continue;
      for (size_t j = 0; j < moved[r].size(); ++j) {
        const double difference = std::abs(double{(*other).results[r].floats->at(j)} -
                                           double{(*expected)[r].floats->at(j)});
        if (difference > moved[r][j]) moved[r][j] = difference;
      }
    }
  }
  for (size_t r = 0; r < expected->size(); ++r) {
    bounds->emplace_back(moved[r].size());
    const int64_t columns = (*expected)[r].elements() / (*expected)[r].shape[0];
    for (size_t begin = 0; begin < moved[r].size(); begin += columns) {
      double most = 0, largest = 1;
      for (size_t j = begin; j < begin + columns && (*expected)[r].floats != nullptr; ++j) {
        most = std::max(most, moved[r][j]);
        if (const double y = std::abs((*expected)[r].floats->at(j)); std::isfinite(y)) {
          largest = std::max(largest, y);
        }
      }
      const double bound = 16 * most + largest * (rounds ? 1.0 / 64 : 1e-5);
      std::fill_n(bounds->back().begin() + begin, columns, bound);
    }
  }
}

TEST(CodegenRandom, RegionsEqualTheOracle) {
  int regions = 0;
  std::set<std::string> ops;
  const int wanted = FullTier() ? 1000 : 200;
  for (uint64_t seed = 1; regions < wanted; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Random random(seed);
    const RandomGraph graph = MakeRandomGraph(seed, {.steps = 14, .moves = false});
    auto result = passes::RunPipeline(graph.module.Clone(), RandomOptions(random));
    ASSERT_TRUE(result.ok()) << result.status();
    const program::Program& program = result->program;
    // One narrow target and one wide one: linears of many shapes take their time to compile.
    const char* wide[] = {"zen4", "sapphirerapids", "x86-64-v4"};
    KernelHarness harness({"x86-64-v3", wide[seed % 3]});
    for (size_t i = 0; i < program.kernels.size(); ++i) {
      const program::Family family = program.kernels[i].family;
      if (family != program::Family::kLinear && family != program::Family::kRowwise) continue;
      harness.Add(program, static_cast<int>(i));
      for (const auto& node : program.kernels[i].body->nodes()) {
        ops.insert(std::string(node->info().name));
      }
    }
    ASSERT_NO_FATAL_FAILURE(harness.Compile());
    const int count = static_cast<int>(harness.program().kernels.size());
    for (int kernel = 0; kernel < count; ++kernel) {
      const Operands operands = RandomOperands(harness, kernel, 1000 * seed + kernel);
      std::vector<Tensor> expected;
      std::vector<std::vector<double>> bounds;
      ASSERT_NO_FATAL_FAILURE(Measure(harness, kernel, operands, &expected, &bounds));
      harness.ExpectWithin(kernel, operands, expected, bounds);
      harness.ExpectUnitsIndependent(kernel, operands, seed);
      if (testing::Test::HasFailure()) {
        FAIL() << ir::PrintFunction(*harness.kernel(kernel).body, harness.program().symbols);
      }
    }
    regions += count;
  }
  EXPECT_GE(ops.size(), 20u) << "the generator has grown narrow";
}

}  // namespace
}  // namespace ninfer
