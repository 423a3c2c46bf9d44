// Compiling folders in memory and running texts on executors, for tests of the whole way.
#ifndef NINFER_TESTS_COMPILER_TESTING_H_
#define NINFER_TESTS_COMPILER_TESTING_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "compiler/compile.h"
#include "compiler/eager_executor.h"
#include "nlohmann/json.hpp"
#include "plan/reader.h"
#include "plan/writer.h"
#include "runtime/cpu_executor.h"
#include "runtime/kv_pages.h"
#include "runtime/session.h"
#include "tests/eager_models.h"
#include "tests/vision_models.h"

namespace ninfer::compiler {

using Json = nlohmann::json;

// f32 throughout, the logits of every row of a step at hand.
inline Json ExactOptions(const std::string& model) {
  return {{"model", model},    {"weights", "f32"}, {"activations", "f32"},
          {"max_tokens", 512}, {"max_rows", 512},  {"threads", 2}};
}

inline absl::StatusOr<Compiled> CompileWith(const Json& json, const Callbacks& callbacks = {}) {
  auto options = ParseOptions(json.dump(), Caller::kCompile);
  if (!options.ok()) return options.status();
  return Compile(*options, callbacks);
}

// The plan as it is run in place.
inline absl::StatusOr<std::shared_ptr<const plan::LoadedPlan>> InPlace(Compiled compiled) {
  std::shared_ptr<plan::Memory> weights = std::move(compiled.weights);
  auto loaded = plan::PlanInMemory(plan::SerializeSections(compiled.plan), "plan", weights->data(),
                                   compiled.plan.weight_bytes, weights);
  if (!loaded.ok()) return loaded.status();
  return std::make_shared<const plan::LoadedPlan>(*std::move(loaded));
}

inline absl::StatusOr<std::shared_ptr<const plan::LoadedPlan>> CompileInPlace(const Json& json) {
  auto compiled = CompileWith(json);
  if (!compiled.ok()) return compiled.status();
  return InPlace(*std::move(compiled));
}

inline absl::StatusOr<std::unique_ptr<runtime::CpuExecutor>> Execute(
    std::shared_ptr<const plan::LoadedPlan> plan, int threads = 2, int64_t pages = 0) {
  runtime::CpuExecutorOptions options;
  options.threads = threads;
  options.total_pages = pages;
  return runtime::CpuExecutor::Create(std::move(plan), options);
}

// A text on its pages, taken into steps together with others.
struct Sequence {
  std::vector<int32_t> ids;
  runtime::HeldPages pages;
  std::vector<float> logits = {};  // of the tokens done so far, [done, vocab]
  int64_t done = 0;
  // Of a text with pictures: [ids, columns] and [ids].
  std::vector<float> pictures = {};
  std::vector<int32_t> is_picture = {};

  int64_t left() const { return static_cast<int64_t>(ids.size()) - done; }
};

// One step that takes `counts[i]` more tokens of each sequence (0: it rests).
inline absl::Status RunStep(runtime::Executor& executor, const std::vector<Sequence*>& sequences,
                            const std::vector<int64_t>& counts) {
  std::vector<int32_t> tokens, positions, bounds = {0}, cached, table, rows, rope_len, is_picture;
  std::vector<float> pictures;
  const int64_t columns = executor.limits().picture_columns;
  std::vector<const runtime::HeldPages*> pages;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const Sequence& sequence = *sequences[s];
    if (counts[s] == 0) continue;
    for (int64_t i = sequence.done; i < sequence.done + counts[s]; ++i) {
      rows.push_back(static_cast<int32_t>(tokens.size()));
      tokens.push_back(sequence.ids[i]);
      positions.push_back(static_cast<int32_t>(i));
      rope_len.push_back(static_cast<int32_t>(sequence.ids.size()));
    }
    if (columns > 0 && sequence.pictures.empty()) {
      is_picture.resize(tokens.size());
      pictures.resize(tokens.size() * columns);
    } else if (columns > 0) {
      const auto first = sequence.is_picture.begin() + sequence.done;
      const auto row = sequence.pictures.begin() + sequence.done * columns;
      is_picture.insert(is_picture.end(), first, first + counts[s]);
      pictures.insert(pictures.end(), row, row + counts[s] * columns);
    }
    bounds.push_back(static_cast<int32_t>(tokens.size()));
    cached.push_back(static_cast<int32_t>(sequence.done));
    pages.push_back(&sequence.pages);
  }
  if (executor.limits().has_kv_cache) table = runtime::PageTable(executor.limits(), pages);
  const int64_t vocab = executor.metadata().vocab_size;
  std::vector<float> logits(rows.size() * vocab);
  const absl::Status status = executor.Step(
      {tokens, positions, bounds, cached, table, rows, rope_len, pictures, is_picture},
      logits.data());
  if (!status.ok()) return status;
  auto next = logits.begin();
  for (size_t s = 0; s < sequences.size(); ++s) {
    sequences[s]->logits.insert(sequences[s]->logits.end(), next, next + counts[s] * vocab);
    next += counts[s] * vocab;
    sequences[s]->done += counts[s];
  }
  return absl::OkStatus();
}

// The rows [n, columns] that an executor makes of a golden's pictures; none where it has none.
inline absl::StatusOr<std::vector<float>> SeeGolden(runtime::Executor& executor,
                                                    const GoldenModel& model) {
  std::vector<float> rows;
  if (executor.vision() == nullptr || model.golden->Find("pixel_values") == nullptr) return rows;
  for (const image::Patches& patches : GoldenPatches(model)) {
    const int64_t count = patches.rows(GeometryOf(model.imported->info.vision));
    rows.resize(rows.size() + count * executor.limits().picture_columns);
    const absl::Status status =
        executor.See({patches.pixels, patches.patch_ids, patches.visible, patches.shuffle},
                     rows.data() + rows.size() - count * executor.limits().picture_columns);
    if (!status.ok()) return status;
  }
  return rows;
}

// Logits [ids, vocab] of one text in steps of at most `chunk` tokens (0: as many as a step takes;
// an executor without a cache takes the text once). With a model that sees, and rows of its
// pictures, they take the places of its image tokens.
inline absl::StatusOr<std::vector<float>> RunText(runtime::Executor& executor,
                                                  const std::vector<int32_t>& ids,
                                                  int64_t chunk = 0,
                                                  const GoldenModel* model = nullptr,
                                                  const std::vector<float>& pictures = {}) {
  Sequence text{ids, {}};
  if (model != nullptr && !pictures.empty()) {
    text.pictures = model->PictureRows(ids, pictures);
    text.is_picture = model->IsPicture(ids);
  }
  runtime::KvPages pages(&executor);
  const runtime::ExecutorLimits& limits = executor.limits();
  while (text.left() > 0) {
    const int64_t most = limits.has_kv_cache ? limits.max_tokens : text.left();
    const int64_t count = std::min({chunk == 0 ? most : chunk, most, text.left()});
    if (limits.has_kv_cache) {
      const absl::Status held = pages.Reserve(text.done, text.done + count, &text.pages);
      if (!held.ok()) return held;
    }
    const absl::Status status = RunStep(executor, {&text}, {count});
    if (!status.ok()) return status;
  }
  return text.logits;
}

// What a golden text consists of: the prompt, and what greedy decoding answers.
struct GoldenText {
  std::vector<int32_t> prompt, answer;
};

inline GoldenText GoldenTextOf(const std::string& folder, const GoldenModel& model) {
  const std::vector<int32_t> ids = model.Ids("input_ids"), greedy = model.Ids("greedy_ids");
  if (!greedy.empty()) return {ids, greedy};
  // input_ids are prompt and answer; where the answer starts stands in golden.json.
  const absl::StatusOr<std::string> text = ReadFile(folder + "/golden.json");
  const Json json = Json::parse(text.ok() ? *text : "", nullptr, false);
  if (json.is_discarded() || !json.contains("prompt_ids")) return {};
  const auto prompt = ids.begin() + static_cast<int64_t>(json["prompt_ids"].size());
  return {{ids.begin(), prompt}, {prompt, ids.end()}};
}

// Generates as many ids as the golden answer has, by the runtime's own loop.
inline absl::StatusOr<std::vector<int32_t>> GreedyIds(runtime::Executor& executor,
                                                      const GoldenText& text,
                                                      std::vector<float> pictures = {}) {
  runtime::Session session(&executor, nullptr);
  runtime::GenerateOptions options;
  options.max_tokens = static_cast<int64_t>(text.answer.size());
  options.ignore_eos = true;
  options.pictures = std::move(pictures);
  auto generation = session.Generate(text.prompt, options);
  if (!generation.ok()) return generation.status();
  return generation->ids;
}

// Tests of one plan by several executors; what fails is told where it happens.
template <typename Case>
class PlanTest : public ::testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<runtime::CpuExecutor> NewExecutor(int threads, int64_t pages = 0) {
    auto executor = Execute(plan_, threads, pages);
    EXPECT_TRUE(executor.ok()) << executor.status();
    return executor.ok() ? *std::move(executor) : nullptr;
  }
  std::vector<float> Run(runtime::Executor& executor, const std::vector<int32_t>& ids,
                         int64_t chunk = 0) {
    auto logits = RunText(executor, ids, chunk);
    EXPECT_TRUE(logits.ok()) << logits.status();
    return logits.ok() ? *logits : std::vector<float>();
  }

  std::shared_ptr<const plan::LoadedPlan> plan_;
  std::unique_ptr<runtime::CpuExecutor> executor_;
};

}  // namespace ninfer::compiler

#endif  // NINFER_TESTS_COMPILER_TESTING_H_
