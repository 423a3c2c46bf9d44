// The step that gives the ids of the largest logits, all the way: the pass, lowering, the plan, its
// code on the CPU, and the comparison that catches wrong ids.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/builder.h"
#include "passes/rewrite.h"
#include "runtime/sampling/sampling.h"
#include "tests/compiler_testing.h"
#include "tests/planted_testing.h"

namespace ninfer::compiler {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Argmax : public ::testing::Test {
 protected:
  void SetUp() override { testing::WriteModel(folder_.path(), testing::TinyLlama({})); }
  Json Options() const { return ExactOptions(folder_.path()); }

  testing::TemporaryFolder folder_;
};

// A step of two texts, of `count` tokens each, all of whose rows are wanted.
void ExpectIdsOfTheLogits(runtime::Executor& executor, int count) {
  const int64_t vocab = executor.metadata().vocab_size;
  const int64_t width = executor.limits().pages_per_sequence;
  std::vector<int32_t> tokens, positions, rows, table;
  for (int text = 0; text < 2; ++text) {
    for (int i = 0; i < count; ++i) {
      tokens.push_back(static_cast<int32_t>((i * 7 + text * 31) % vocab));
      positions.push_back(i);
      rows.push_back(text * count + i);
    }
    for (int64_t p = 0; p < width; ++p) table.push_back(static_cast<int32_t>(text * width + p));
  }
  for (int32_t page = 0; page < 2 * width; ++page) executor.ClearPage(0, page);
  const int32_t bounds[] = {0, count, 2 * count}, cached[] = {0, 0};
  const std::vector<int32_t> lengths(tokens.size(), count);
  const runtime::StepInput input{tokens, positions, bounds, cached, table, rows, lengths};
  std::vector<float> logits(rows.size() * vocab);
  std::vector<int32_t> ids(rows.size());
  ASSERT_EQ(executor.Step(input, logits.data()), absl::OkStatus());
  ASSERT_EQ(executor.StepGreedy(input, ids.data()), absl::OkStatus());
  for (size_t row = 0; row < rows.size(); ++row) {
    const auto own = absl::MakeConstSpan(logits).subspan(row * vocab, vocab);
    EXPECT_EQ(ids[row], runtime::FirstLargest(own)) << "row " << row;
  }
}

TEST_F(Argmax, AStepGivesTheIdsOfItsLogits) {
  for (const char* weights : {"f32", "int4"}) {
    Json options = Options();
    options["weights"] = weights;
    const auto plan = CompileInPlace(options);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_GE((*plan)->plan.entries[0].argmax, 0);
    for (const int threads : {1, 2}) {
      const auto executor = Execute(*plan, threads, 8);
      ASSERT_TRUE(executor.ok()) << executor.status();
      for (const int count : {1, 3, 20}) ExpectIdsOfTheLogits(**executor, count);
    }
  }
}

TEST_F(Argmax, WithoutThePassTheIdsAreFoundInTheLogits) {
  Json options = Options();
  options["disable_passes"] = {"argmax"};
  const auto plan = CompileInPlace(options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ((*plan)->plan.entries[0].argmax, -1);
  EXPECT_THAT((*plan)->plan.program_text, Not(HasSubstr("argmax")));
  const auto executor = Execute(*plan, 2, 8);
  ASSERT_TRUE(executor.ok()) << executor.status();
  ExpectIdsOfTheLogits(**executor, 3);
}

TEST_F(Argmax, TheHeadsKernelFindsTheLargestOfEachPanel) {
  const auto plan = CompileInPlace(Options());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT((*plan)->plan.program_text, HasSubstr("= argmax_parts "));
  EXPECT_THAT((*plan)->plan.program_text, HasSubstr("= argmax_of "));
}

// Without fuse the soft cap of the logits is a kernel behind the head's: rows are gone through
// whole.
TEST_F(Argmax, OfLogitsThatNoLinearMakes) {
  constexpr char kGemma2[] = R"({
    "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "vocab_size": 71,
    "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
    "final_logit_softcapping": 8.0, "query_pre_attn_scalar": 8
  })";
  const std::string path = folder_.File("shape.json");
  ASSERT_TRUE(WriteFile(path, kGemma2).ok());
  Json options = ExactOptions("");
  options.erase("model");
  options["random_weights"] = path;
  options["disable_passes"] = {"fuse"};
  const auto plan = CompileInPlace(options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT((*plan)->plan.program_text, HasSubstr("= argmax "));
  EXPECT_THAT((*plan)->plan.program_text, Not(HasSubstr("argmax_parts")));
  const auto executor = Execute(*plan, 2, 8);
  ASSERT_TRUE(executor.ok()) << executor.status();
  for (const int count : {1, 20}) ExpectIdsOfTheLogits(**executor, count);
}

TEST(ArgmaxPlanted, IdsOfOtherNumbersAreCaughtByName) {
  const auto negate = [](ir::Module& module,
                         const passes::PassOptions& options) -> absl::StatusOr<int> {
    passes::Rewrites rewrites(options);
    ir::Function& step = *module.FindFunction("step");
    for (const auto& node : step.nodes()) {
      if (node->op() != ir::Op::kArgmax) continue;
      if (!rewrites.Next()) return 0;
      ir::Builder builder(&module, &step, node.get());
      node->set_operand(0, builder.Unary(ir::Op::kNeg, node->operand(0)));
      return 1;
    }
    return 0;
  };
  const std::string message =
      passes::MessageWith(passes::Llama(), {"argmax", "smallest-for-largest", negate});
  EXPECT_THAT(message, HasSubstr("smallest-for-largest: rewrite 1: argmax of row 0: expected "));
}

}  // namespace
}  // namespace ninfer::compiler
