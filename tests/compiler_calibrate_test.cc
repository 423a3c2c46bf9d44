// Rounding with a linear's inputs in view: the factor by its definition, rows against plain
// rounding on inputs that depend on each other, and plans whose linears come nearer to f32's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "compiler/calibrate.h"
#include "compiler/error_compensation.h"
#include "compiler/quality.h"
#include "tests/compiler_testing.h"
#include "tests/support/model_folder.h"

namespace ninfer::compiler {
namespace {

using ::testing::HasSubstr;

constexpr char kDemo[] = NINFER_SOURCE_DIR "/models/demo";
constexpr int64_t kK = 96, kRows = 40, kInputs = 500;

std::vector<float> Random(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Columns that go together in fours.
std::vector<float> DependentInputs() {
  std::vector<float> x = Random(kInputs * kK, 3);
  for (int64_t r = 0; r < kInputs; ++r) {
    for (int64_t c = 0; c < kK; ++c) x[r * kK + c] += 2 * x[r * kK + c / 4 * 4];
  }
  return x;
}

std::vector<float> GramOf(const std::vector<float>& x) {
  std::vector<float> gram(kK * kK);
  for (int64_t r = 0; r < kInputs; ++r) {
    for (int64_t i = 0; i < kK; ++i) {
      for (int64_t j = 0; j < kK; ++j) gram[i * kK + j] += x[r * kK + i] * x[r * kK + j];
    }
  }
  return gram;
}

TEST(ErrorCompensation, TheFactorIsThatOfTheInverse) {
  std::vector<float> gram = GramOf(DependentInputs());
  const float before = gram[0];
  eager::ThreadPool pool(2);
  const std::vector<float> u = FactorInverse(kK, &gram, &pool);
  EXPECT_GT(gram[0], before);
  // U^T (U gram) is the identity.
  std::vector<double> right(kK * kK), product(kK * kK);
  for (int64_t i = 0; i < kK; ++i) {
    for (int64_t j = 0; j < kK; ++j) {
      for (int64_t m = i; m < kK; ++m) {
        right[i * kK + j] += double{u[i * kK + m]} * gram[m * kK + j];
      }
    }
  }
  for (int64_t i = 0; i < kK; ++i) {
    for (int64_t j = 0; j < kK; ++j) {
      double sum = 0;
      for (int64_t m = 0; m <= i; ++m) sum += u[m * kK + i] * right[m * kK + j];
      ASSERT_NEAR(sum, i == j ? 1 : 0, 1e-3) << i << ", " << j;
    }
  }
}

double OutputError(const std::vector<float>& x, const std::vector<float>& w,
                   const std::vector<float>& rounded) {
  double error = 0;
  for (int64_t r = 0; r < kInputs; ++r) {
    for (int64_t n = 0; n < kRows; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < kK; ++k) {
        sum += x[r * kK + k] * double{rounded[n * kK + k] - w[n * kK + k]};
      }
      error += sum * sum;
    }
  }
  return error;
}

TEST(ErrorCompensation, RowsCostLessAndAreOfTheScheme) {
  const QuantiseScheme& scheme = *FindQuantiseScheme("nu4_g32");
  const std::vector<float> x = DependentInputs(), w = Random(kRows * kK, 5);
  std::vector<float> gram = GramOf(x), plain = w, calibrated = w;
  eager::ThreadPool pool(2);
  const std::vector<float> factor = FactorInverse(kK, &gram, &pool);
  RoundRows(scheme, gram, factor, kK, kRows, calibrated.data());
  for (int64_t n = 0; n < kRows; ++n) {
    QuantiseRow(scheme, &plain[n * kK], kK, &plain[n * kK]);
    std::vector<float> again(kK);
    QuantiseRow(scheme, &calibrated[n * kK], kK, again.data());
    ASSERT_EQ(again, std::vector<float>(&calibrated[n * kK], &calibrated[n * kK] + kK)) << n;
  }
  EXPECT_LT(OutputError(x, w, calibrated), 0.6 * OutputError(x, w, plain));
}

plan::Quality QualityOf(Json json) {
  json["quality"] = "sampled";
  const auto compiled = CompileWith(json);
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  return compiled.ok() ? compiled->plan.evidence.quality.value_or(plan::Quality())
                       : plan::Quality();
}

// On texts that the model draws, others than those it was calibrated on.
TEST(Calibrate, OutputsOfLinearsComeNearerToThoseInF32) {
  const auto mean_error = [](const plan::Quality& quality) {
    double sum = 0;
    for (const plan::LinearError& linear : quality.linears) sum += linear.error;
    EXPECT_EQ(quality.linears.size(), 6u * 4 + 1);
    return sum / static_cast<double>(quality.linears.size());
  };
  Json json = {{"model", kDemo}, {"weights", "int4"}, {"threads", 2}};
  const double even = mean_error(QualityOf(json));
  json["weights"] = "nu4";
  const double table = mean_error(QualityOf(json));
  json["calibrate"] = "sampled";
  EXPECT_LT(table, 0.95 * even);
  EXPECT_LT(mean_error(QualityOf(json)), 0.85 * table);
}

// Every stage from precision on computes with the calibrated weights: --verify-each compares them.
TEST(Calibrate, TheGraphNamesWhatWasCalibratedAndEveryStageComputesWithIt) {
  testing::TemporaryFolder folder;
  testing::WriteModel(folder.path(), testing::TinyGpt2({.hidden = 64}));
  Json json = ExactOptions(folder.path());
  json.update({{"weights", "nu4"},
               {"activations", "auto"},
               {"calibrate", "sampled"},
               {"verify_each", true}});
  std::vector<std::string> lines;
  Callbacks callbacks;
  callbacks.log = [&](const std::string& line) { lines.push_back(line); };
  const auto compiled = CompileWith(json, callbacks);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  EXPECT_THAT(compiled->plan.final_graph_text, HasSubstr(".calibrated : f32["));
  EXPECT_THAT(lines, ::testing::Contains(HasSubstr("calibrated ")));
}

// Unmerged, attention and MLP of a parallel block read the same rows, another linear between them.
TEST(Calibrate, LinearsOfOneInputNeedNotStandTogether) {
  testing::TemporaryFolder folder;
  const std::string config = folder.File("config.json");
  testing::WriteText(config,
                     R"({"model_type": "gptj", "architectures": ["GPTJForCausalLM"],
                         "vocab_size": 64, "n_positions": 64, "n_embd": 64, "n_layer": 1,
                         "n_head": 2, "rotary_dim": 16, "n_inner": 96,
                         "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
                         "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2})");
  const auto compiled = CompileWith({{"random_weights", config},
                                     {"weights", "nu4"},
                                     {"calibrate", "sampled"},
                                     {"disable_passes", {"merge-linears"}},
                                     {"threads", 2}});
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  for (const char* name : {"attn.v_proj", "attn.out_proj", "mlp.fc_in", "mlp.fc_out"}) {
    EXPECT_THAT(compiled->plan.final_graph_text,
                HasSubstr(absl::StrCat(name, ".weight.calibrated")));
  }
}

TEST(Calibrate, WeightsWithoutATableAreRefused) {
  const auto compiled = CompileWith(
      {{"model", kDemo}, {"weights", "int4"}, {"calibrate", "bundled"}, {"threads", 2}});
  EXPECT_EQ(compiled.status().message(), "--calibrate: expected weights of nu4, found int4_g32");
}

}  // namespace
}  // namespace ninfer::compiler
