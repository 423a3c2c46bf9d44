// Sampling against Hugging Face transformers (the stages, value by value), against known answers of
// the generator, and against the distribution it should draw from.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "runtime/sampling/philox.h"
#include "runtime/sampling/sampling.h"
#include "tests/test_data.h"

namespace ninfer::runtime {
namespace {

TEST(Philox, KnownAnswersOfRandom123) {
  using Counter = std::array<uint32_t, 4>;
  EXPECT_EQ(Philox({0, 0, 0, 0}, {0, 0}),
            (Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, UniformValuesLieInTheUnitIntervalAndSpreadOverIt) {
  double sum = 0;
  std::vector<int> tenths(10);
  for (uint64_t i = 0; i < 20000; ++i) {
    const double value = PhiloxUniform(7, i);
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 1);
    sum += value;
    ++tenths[static_cast<int>(value * 10)];
  }
  EXPECT_NEAR(sum / 20000, 0.5, 0.01);
  for (int count : tenths) EXPECT_NEAR(count, 2000, 200);
}

Candidates Make(const std::vector<float>& scores) {
  Candidates candidates;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] != -INFINITY) candidates.push_back({static_cast<int32_t>(i), scores[i]});
  }
  return candidates;
}

// Scores by id; what was taken out is minus infinity.
std::vector<float> Scores(const Candidates& candidates, size_t vocab) {
  std::vector<float> scores(vocab, -INFINITY);
  for (const Candidate& candidate : candidates) scores[candidate.id] = candidate.score;
  return scores;
}

// By sampling, after `text`.
std::vector<float> Apply(SamplingOptions options, const std::vector<float>& scores,
                         const std::vector<int32_t>& text = {}) {
  options.sample = true;
  Candidates candidates = Make(scores);
  ApplySamplers(options, text, &candidates);
  return Scores(candidates, scores.size());
}

// Tensors of a safetensors file of f32 matrices, by name.
std::map<std::string, std::vector<float>> ReadTensors(const std::string& path) {
  const std::string bytes = ReadFile(path).value();
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  const auto header = nlohmann::json::parse(bytes.substr(8, length), nullptr, false);
  std::map<std::string, std::vector<float>> tensors;
  for (const auto& [name, row] : header.items()) {
    if (!row.contains("dtype") || row["dtype"] != "F32") continue;
    const uint64_t begin = row["data_offsets"][0], end = row["data_offsets"][1];
    std::vector<float> values((end - begin) / sizeof(float));
    std::memcpy(values.data(), bytes.data() + 8 + length + begin, end - begin);
    tensors[name] = std::move(values);
  }
  return tensors;
}

TEST(Samplers, AgreeWithTransformers) {
  NINFER_TEST_DATA_OR_SKIP(folder, "hf-models/logits-processors");
  const auto tensors = ReadTensors(JoinPath(folder, "tensors.safetensors"));
  const auto cases =
      nlohmann::json::parse(ReadFile(JoinPath(folder, "cases.json")).value())["cases"];
  int run = 0;
  for (const auto& test : cases) {
    SamplingOptions options;
    bool known = true;
    for (const auto& [key, value] : test["generation_config"].items()) {
      if (key == "temperature") {
        options.temperature = value;
      } else if (key == "top_k") {
        options.top_k = value;
      } else if (key == "top_p") {
        options.top_p = value;
      } else if (key == "min_p") {
        options.min_p = value;
      } else if (key == "repetition_penalty") {
        options.repetition_penalty = value;
      } else if (key != "do_sample") {
        known = false;
      }
    }
    if (!known) continue;
    ++run;
    const std::vector<float>& logits = tensors.at(test["logits"]);
    const std::vector<float>& expected = tensors.at(test["expected"]);
    constexpr size_t kVocab = 200;
    for (size_t row = 0; row < logits.size() / kVocab; ++row) {
      const auto begin = logits.begin() + row * kVocab;
      const std::vector<float> scores =
          Apply(options, {begin, begin + kVocab}, test["input_ids"][row]);
      for (size_t i = 0; i < kVocab; ++i) {
        const float want = expected[row * kVocab + i];
        ASSERT_EQ(std::isinf(scores[i]), std::isinf(want))
            << test["name"] << " row " << row << " id " << i;
        if (std::isinf(want)) continue;
        ASSERT_NEAR(scores[i], want, 1e-5f * std::abs(want) + 1e-6f) << test["name"];
      }
    }
  }
  EXPECT_GE(run, 25);
}

TEST(Samplers, RepetitionIsPenalisedOnceAndWithoutSamplingToo) {
  SamplingOptions options;
  options.repetition_penalty = 2;
  const std::vector<int32_t> text = {0, 2, 2};
  EXPECT_EQ(Apply(options, {4, 3, -1, -3}, text), (std::vector<float>{2, 3, -2, -3}));
  const std::vector<float> logits = {4, 3, -1, -3};
  EXPECT_EQ(*Sampler(options).Choose(logits, text), 1);
  EXPECT_EQ(*Sampler(options).Choose(logits, {}), 0);
  options.temperature = 1e-3;  // not without sampling
  options.min_p = 1;
  EXPECT_EQ(*Sampler(options).Choose(std::vector<float>{1, 3, 3}, {}), 1);
}

TEST(Samplers, MinPKeepsWhatHasAShareOfTheMostLikely) {
  SamplingOptions options;
  const float a = std::log(0.6f), b = std::log(0.3f), c = std::log(0.1f);
  constexpr float kOut = -INFINITY;
  options.min_p = 0.4;
  EXPECT_EQ(Apply(options, {c, a, b}), (std::vector<float>{kOut, a, b}));
  options.min_p = 1;
  EXPECT_EQ(Apply(options, {c, a, b, a}), (std::vector<float>{kOut, a, kOut, a}));
}

TEST(Samplers, TopKKeepsWhatTiesWithTheKth) {
  SamplingOptions options;
  options.top_k = 2;
  constexpr float kOut = -INFINITY;
  EXPECT_EQ(Apply(options, {1, 3, 2, 2, 0}), (std::vector<float>{kOut, 3, 2, 2, kOut}));
  options.top_k = 100;
  EXPECT_EQ(Apply(options, {1, 3}), (std::vector<float>{1, 3}));
}

TEST(Samplers, TopPKeepsTheFewestThatReachIt) {
  SamplingOptions options;
  const float a = std::log(0.5f), b = std::log(0.3f), c = std::log(0.2f);
  constexpr float kOut = -INFINITY;
  options.top_p = 0.49;
  EXPECT_EQ(Apply(options, {c, a, b}), (std::vector<float>{kOut, a, kOut}));
  options.top_p = 0.6;
  EXPECT_EQ(Apply(options, {c, a, b}), (std::vector<float>{kOut, a, b}));
  options.top_p = 0.9;
  EXPECT_EQ(Apply(options, {c, a, b}), (std::vector<float>{c, a, b}));
  options.top_p = 0;
  EXPECT_EQ(Apply(options, {c, a, b}), (std::vector<float>{kOut, a, kOut}));
}

TEST(Samplers, TopPOverAFlatLargeVocabularyKeepsItsShare) {
  SamplingOptions options;
  options.top_p = 0.5;
  Candidates candidates = Make(std::vector<float>(10000, 1.0f));
  options.sample = true;
  ApplySamplers(options, {}, &candidates);
  EXPECT_EQ(candidates.size(), 5000);
  EXPECT_EQ(candidates.front().id, 0);
  EXPECT_EQ(candidates.back().id, 4999);  // lower ids stay, in order
}

TEST(Samplers, TheOrderIsTemperatureTopKTopP) {
  SamplingOptions options;
  options.temperature = 0.5;
  options.top_k = 3;
  options.top_p = 0.9;
  const std::vector<float> scores = Apply(options, {2, 1.9f, 1.8f, 1.7f});
  EXPECT_EQ(scores[0], 4.0f);
  EXPECT_TRUE(std::isinf(scores[3]));
}

TEST(Samplers, ATemperatureNearZeroLeavesTheMostLikelyAndNoInfinities) {
  SamplingOptions options;
  for (const double temperature : {1e-37, 1e-38, 1e-46, 5e-324}) {
    options.temperature = temperature;
    for (const std::vector<float>& logits :
         {std::vector<float>{-8, 12, 11.5f, -3}, {-9, -1, -2, -1.5f}, {-1, 0, -2, -3}}) {
      Candidates candidates = Make(logits);
      options.sample = true;
      ApplySamplers(options, {}, &candidates);
      for (const Candidate& candidate : candidates) {
        EXPECT_TRUE(std::isfinite(candidate.score)) << temperature << " " << candidate.id;
      }
      for (const double uniform : {0.0, 0.5, 0.999}) {
        EXPECT_EQ(Draw(candidates, uniform), 1) << temperature;
      }
    }
  }
}

TEST(Samplers, AtATemperatureNearZeroEqualScoresStayEquallyLikely) {
  SamplingOptions options;
  options.temperature = 1e-38;
  const std::vector<float> scores = Apply(options, {7, -5, 7, 6});
  EXPECT_EQ(scores[0], scores[2]);
  EXPECT_EQ(Draw(Make(scores), 0.25), 0);
  EXPECT_EQ(Draw(Make(scores), 0.75), 2);
}

TEST(Greedy, TakesTheHighestAndOfTiesTheLowestId) {
  EXPECT_EQ(FirstLargest({1, 5, 5, 2}), 1);
  EXPECT_EQ(FirstLargest({NAN, -INFINITY, -3}), 2);
}

TEST(Greedy, LogitsThatAreNoNumbersAreRefused) {
  EXPECT_EQ(CheckChosen(FirstLargest({NAN, NAN})).status().message(),
            "sampling: expected a logit that is a number, found none");
  EXPECT_EQ(FirstLargest({-INFINITY}), -1);
  EXPECT_EQ(FirstLargest({}), -1);
}

TEST(Draw, EachCandidateTakesItsShareOfTheUnitInterval) {
  const Candidates candidates = Make({0, std::log(3.0f), -INFINITY, 0});
  EXPECT_EQ(Draw(candidates, 0), 0);
  EXPECT_EQ(Draw(candidates, 0.19), 0);
  EXPECT_EQ(Draw(candidates, 0.21), 1);
  EXPECT_EQ(Draw(candidates, 0.79), 1);
  EXPECT_EQ(Draw(candidates, 0.81), 3);
  EXPECT_EQ(Draw(candidates, 0.9999999999999999), 3);
}

// Chi-square of 20,000 draws over ids with known probabilities; 5 degrees of freedom, p = 1e-4.
TEST(Sampler, DrawsFromTheSoftmaxOfTheScaledLogits) {
  const std::vector<float> logits = {0, 0.5f, 1, 1.5f, 2, 2.5f};
  SamplingOptions options;
  options.sample = true;
  options.temperature = 0.8;
  options.seed = 11;
  Sampler sampler(options);
  std::vector<double> counts(logits.size()), weights;
  double total = 0;
  for (float logit : logits) {
    weights.push_back(std::exp(logit / 0.8));
    total += weights.back();
  }
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) counts[*sampler.Choose(logits, {})] += 1;
  double chi = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double expected = kDraws * weights[i] / total;
    chi += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  EXPECT_LT(chi, 25.7);
}

TEST(Sampler, ASeedFixesTheDrawsAndTemperatureZeroIsGreedy) {
  const std::vector<float> logits = {1, 1.1f, 0.9f, 1.05f};
  const auto draw = [&](uint64_t seed, double temperature) {
    SamplingOptions options;
    options.sample = true;
    options.seed = seed;
    options.temperature = temperature;
    Sampler sampler(options);
    std::vector<int32_t> ids;
    for (int i = 0; i < 50; ++i) ids.push_back(*sampler.Choose(logits, {}));
    return ids;
  };
  EXPECT_EQ(draw(3, 1), draw(3, 1));
  EXPECT_NE(draw(3, 1), draw(4, 1));
  EXPECT_EQ(draw(3, 0), std::vector<int32_t>(50, 1));
}

TEST(Sampler, AnInfiniteLogitIsRefusedWhereATokenIsDrawn) {
  const std::vector<float> logits = {1, INFINITY, 2};
  SamplingOptions options;
  EXPECT_EQ(*Sampler(options).Choose(logits, {}), 1);
  options.sample = true;
  EXPECT_EQ(Sampler(options).Choose(logits, {}).status().message(),
            "sampling: expected finite logits, found inf");
}

TEST(SamplingOptions, DefaultsAreTheModels) {
  plan::Metadata metadata;
  EXPECT_FALSE(DefaultSampling(metadata).sample);
  metadata.repetition_penalty = 1.1;
  EXPECT_EQ(DefaultSampling(metadata).repetition_penalty, 1.1);
  EXPECT_EQ(DefaultSampling(metadata).top_k, 0);
  metadata.do_sample = true;
  EXPECT_EQ(DefaultSampling(metadata).top_k, 50);  // as generate() fills it in
  metadata.temperature = 0.7;
  metadata.min_p = 0.05;
  metadata.top_k = 40;
  const SamplingOptions options = DefaultSampling(metadata);
  EXPECT_TRUE(options.sample);
  EXPECT_EQ(options.temperature, 0.7);
  EXPECT_EQ(options.top_k, 40);
  EXPECT_EQ(options.min_p, 0.05);
  EXPECT_EQ(options.top_p, 1);
  metadata.temperature = 0;
  EXPECT_FALSE(DefaultSampling(metadata).sample);
}

TEST(SamplingOptions, ValuesOutsideTheirBoundsAreRefused) {
  SamplingOptions options;
  EXPECT_TRUE(CheckSampling(options).ok());
  options.temperature = -1;
  EXPECT_EQ(CheckSampling(options).message(), "--temperature: expected 0 to 1e+09, found -1");
  options = {};
  options.temperature = NAN;
  EXPECT_EQ(CheckSampling(options).message(), "--temperature: expected 0 to 1e+09, found nan");
  options = {};
  options.top_k = -1;
  EXPECT_EQ(CheckSampling(options).message(), "--top-k: expected 0 to 2147483648, found -1");
  options = {};
  options.top_p = 1.5;
  EXPECT_EQ(CheckSampling(options).message(), "--top-p: expected 0 to 1, found 1.5");
}

}  // namespace
}  // namespace ninfer::runtime
