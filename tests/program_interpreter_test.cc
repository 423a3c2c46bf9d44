// The interpreter of programs: goldens of transformers through lowering, layout, schedule and
// planned arena; steps of all shapes against the whole text; and spoilt programs, each of which
// must be named.
#include "eager/program_interpreter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "passes/pass.h"
#include "tests/eager_models.h"
#include "tests/support/memory_weights.h"

namespace ninfer::eager {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr double kLogitBound = 2e-5;  // of the largest logit
constexpr int64_t kPages = 24;

struct Lowered {
  program::Program program;
  std::vector<uint8_t> packed;
};

passes::PassOptions OptionsFor(const GoldenModel& model) {
  passes::PassOptions options;
  options.context_length = model.imported->info.context_length;
  options.max_tokens = std::min<int64_t>(options.context_length, 128);
  options.max_rows = options.max_tokens;
  options.max_sequences = 4;
  return options;
}

void LowerModel(const GoldenModel& model, const passes::PassOptions& options, Lowered& lowered) {
  auto result = passes::RunPipeline(model.imported->module.Clone(), options);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_TRUE(result->lowered);
  lowered.program = std::move(result->program);
  lowered.packed.assign(lowered.program.weight_bytes, 0);
  int64_t reported = -1;
  const absl::Status status = PackWeights(
      lowered.program, *model.imported->weights, 2,
      [&reported](int64_t bytes) {
        EXPECT_LE(reported, bytes);
        reported = bytes;
      },
      lowered.packed.data());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(reported, lowered.program.weight_bytes);
}

// One text in steps of at most `chunk` tokens, with the rows of `model`'s pictures if it is given.
std::vector<float> RunText(const Lowered& lowered, int threads, const std::vector<int32_t>& ids,
                           size_t chunk, const GoldenModel* model = nullptr) {
  std::vector<float> pictures;
  std::vector<int32_t> is_picture;
  if (model != nullptr) pictures = model->PictureRows(ids);
  if (!pictures.empty()) is_picture = model->IsPicture(ids);
  const size_t columns = pictures.size() / ids.size();
  auto interpreter =
      ProgramInterpreter::Create(&lowered.program, lowered.packed.data(), threads, kPages);
  EXPECT_TRUE(interpreter.ok()) << interpreter.status();
  std::vector<float> logits;
  for (size_t first = 0; interpreter.ok() && first < ids.size(); first += chunk) {
    StepArguments arguments;
    arguments.tokens.assign(ids.begin() + first, ids.begin() + std::min(first + chunk, ids.size()));
    arguments.cached_lens = {static_cast<int32_t>(first)};
    arguments.rope_len.assign(arguments.tokens.size(), static_cast<int32_t>(ids.size()));
    const size_t end = first + arguments.tokens.size();
    if (!pictures.empty()) {
      arguments.is_picture.assign(is_picture.begin() + first, is_picture.begin() + end);
      arguments.pictures.assign(pictures.begin() + first * columns,
                                pictures.begin() + end * columns);
    }
    auto rows = (*interpreter)->Run(arguments);
    EXPECT_TRUE(rows.ok()) << rows.status();
    if (!rows.ok()) break;
    logits.insert(logits.end(), rows->floats->begin(), rows->floats->end());
  }
  return logits;
}

class ProgramModelTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(LoadGoldenModel(GetParam(), model_));
    ids_ = model_.IdsWithLogits();
    expected_ = model_.Floats("logits");
  }
  GoldenModel model_;
  std::vector<int32_t> ids_;
  std::vector<float> expected_;
};

TEST_P(ProgramModelTest, LogitsEqualTransformersWholeAndInChunks) {
  Lowered lowered;
  ASSERT_NO_FATAL_FAILURE(LowerModel(model_, OptionsFor(model_), lowered));
  EXPECT_LE(LargestError(RunText(lowered, 2, ids_, ids_.size(), &model_), expected_), kLogitBound);
  EXPECT_LE(LargestError(RunText(lowered, 3, ids_, 1, &model_), expected_), kLogitBound)
      << "one by one";
  EXPECT_LE(LargestError(RunText(lowered, 2, ids_, 3, &model_), expected_), kLogitBound)
      << "three by three";
}

TEST_P(ProgramModelTest, LogitsEqualTransformersWithoutOptionalPasses) {
  passes::PassOptions options = OptionsFor(model_);
  for (const passes::PassInfo& pass : passes::ListPasses()) {
    if (pass.optional) options.disabled.insert(pass.name);
  }
  Lowered lowered;
  ASSERT_NO_FATAL_FAILURE(LowerModel(model_, options, lowered));
  EXPECT_LE(LargestError(RunText(lowered, 2, ids_, ids_.size(), &model_), expected_), kLogitBound);
}

TEST_P(ProgramModelTest, LogitsEqualTransformersWithoutCacheInEveryFormOfAttention) {
  for (const char* form : {"naive", "efficient", "flash"}) {
    passes::PassOptions options = OptionsFor(model_);
    options.attention = form;
    options.disabled = {"kv-cache"};
    Lowered lowered;
    ASSERT_NO_FATAL_FAILURE(LowerModel(model_, options, lowered));
    EXPECT_LE(LargestError(RunText(lowered, 2, ids_, ids_.size(), &model_), expected_), kLogitBound)
        << form;
  }
}

TEST_P(ProgramModelTest, SequencesOnShuffledPagesEqualEachAlone) {
  Lowered lowered;
  ASSERT_NO_FATAL_FAILURE(LowerModel(model_, OptionsFor(model_), lowered));
  const std::vector<std::vector<int32_t>> texts = {{ids_.begin(), ids_.begin() + 5},
                                                   {ids_.begin() + 1, ids_.begin() + 3},
                                                   {ids_.begin() + 2, ids_.end()}};
  auto interpreter = ProgramInterpreter::Create(&lowered.program, lowered.packed.data(), 2, kPages);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  std::vector<std::vector<float>> found(texts.size());
  // Each step takes up to two more tokens of every text that has any left.
  for (size_t done = 0; done < ids_.size(); done += 2) {
    StepArguments arguments;
    arguments.seq_bounds = {0};
    std::vector<std::pair<size_t, size_t>> parts;  // text, tokens
    for (size_t s = 0; s < texts.size(); ++s) {
      const size_t count = std::min<size_t>(2, texts[s].size() - std::min(done, texts[s].size()));
      if (count == 0) continue;
      parts.push_back({s, count});
      arguments.tokens.insert(arguments.tokens.end(), texts[s].begin() + done,
                              texts[s].begin() + done + count);
      arguments.seq_bounds.push_back(static_cast<int32_t>(arguments.tokens.size()));
      arguments.cached_lens.push_back(static_cast<int32_t>(done));
      arguments.rope_len.insert(arguments.rope_len.end(), count,
                                static_cast<int32_t>(texts[s].size()));
      for (const int32_t page : {17 - static_cast<int32_t>(s) * 5, 20 - static_cast<int32_t>(s)}) {
        arguments.page_table.push_back(page);
      }
    }
    if (parts.empty()) break;
    if (model_.imported->info.context_length <= 64) {  // one page is all that a text may have
      for (size_t i = 0; i < parts.size(); ++i)
        arguments.page_table.erase(arguments.page_table.begin() + i + 1);
    }
    auto rows = (*interpreter)->Run(arguments);
    ASSERT_TRUE(rows.ok()) << rows.status();
    auto row = rows->floats->begin();
    for (const auto& [text, count] : parts) {
      found[text].insert(found[text].end(), row, row + count * model_.vocab());
      row += count * model_.vocab();
    }
  }
  for (size_t s = 0; s < texts.size(); ++s) {
    const std::vector<float> alone = RunText(lowered, 2, texts[s], texts[s].size());
    EXPECT_LE(LargestError(found[s], alone), 4e-6) << "text " << s;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ProgramModelTest, testing::ValuesIn(GoldenModelFolders()),
                         FolderTestName);

// --- one small model, spoilt in many ways ---

class ProgramInterpreterTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(
        LoadGoldenModel(NINFER_SOURCE_DIR "/tests/data/hf-models/llama-gqa", model_));
    ids_ = model_.IdsWithLogits();
    expected_ = model_.Floats("logits");
  }

  absl::Status RunStep(const Lowered& lowered, const StepArguments& arguments, int threads = 2) {
    auto interpreter =
        ProgramInterpreter::Create(&lowered.program, lowered.packed.data(), threads, kPages);
    if (!interpreter.ok()) return interpreter.status();
    return (*interpreter)->Run(arguments).status();
  }

  StepArguments StepOf(int count) const {
    StepArguments arguments;
    arguments.tokens.assign(ids_.begin(), ids_.begin() + count);
    return arguments;
  }

  GoldenModel model_;
  std::vector<int32_t> ids_;
  std::vector<float> expected_;
};

TEST_F(ProgramInterpreterTest, RunsAfterEachPassOfTheProgram) {
  for (const char* pass : {"layout", "schedule", "plan-buffers"}) {
    passes::PassOptions options = OptionsFor(model_);
    options.stop_after = pass;
    Lowered lowered;
    ASSERT_NO_FATAL_FAILURE(LowerModel(model_, options, lowered));
    EXPECT_LE(LargestError(RunText(lowered, 2, ids_, ids_.size()), expected_), kLogitBound) << pass;
    EXPECT_LE(LargestError(RunText(lowered, 2, ids_, 5), expected_), kLogitBound) << pass;
  }
}

TEST_F(ProgramInterpreterTest, NeedsWeightsWithOffsets) {
  passes::PassOptions options = OptionsFor(model_);
  options.stop_after = "lower";
  auto result = passes::RunPipeline(model_.imported->module.Clone(), options);
  ASSERT_TRUE(result.ok() && result->lowered) << result.status();
  EXPECT_THAT(ProgramInterpreter::Create(&result->program, nullptr, 1, 1).status().message(),
              HasSubstr("expected an offset, found none"));
}

// Rounding is where the graph says it is: the program and its last graph, by the same kernels.
TEST_F(ProgramInterpreterTest, HalfPrecisionProgramsEqualTheirGraph) {
  passes::PassOptions options = OptionsFor(model_);
  options.weights = DType::kBF16;
  options.activations = DType::kBF16;
  options.kv_cache = DType::kBF16;
  Lowered lowered;
  ASSERT_NO_FATAL_FAILURE(LowerModel(model_, options, lowered));
  auto result = passes::RunPipeline(model_.imported->module.Clone(), options);
  ASSERT_TRUE(result.ok()) << result.status();
  auto interpreter = Interpreter::Create(&result->module, model_.imported->weights, 2);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  std::vector<KvPool> pools;
  for (const program::KvState& state : lowered.program.kv) {
    const program::KvLayout& layout = state.layout;
    EXPECT_EQ(layout.dtype, DType::kBF16);
    pools.push_back({layout.dtype, layout.heads, layout.head_dim, kPages, {}});
    pools.back().data.resize(kPages * 2 * layout.heads * 64 * layout.head_dim);
  }
  auto graph = (*interpreter)->Run(StepOf(static_cast<int>(ids_.size())), &pools);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const std::vector<float> found = RunText(lowered, 2, ids_, ids_.size());
  EXPECT_LE(LargestError(found, *graph->at(0).floats), 1e-2);
  EXPECT_GT(LargestError(found, expected_), 1e-4) << "nothing was rounded";
}

TEST_F(ProgramInterpreterTest, ReadOfABufferAfterItsLifeIsNamed) {
  Lowered lowered;
  ASSERT_NO_FATAL_FAILURE(LowerModel(model_, OptionsFor(model_), lowered));
  int spoilt = 0;
  for (program::Buffer& buffer : lowered.program.buffers) {
    if (buffer.last_launch <= buffer.first_launch + 1 || buffer.is_output) continue;
    const int64_t last = buffer.last_launch;
    buffer.last_launch = last - 1;
    for (const int count : {4, 20}) {
      EXPECT_THAT(RunStep(lowered, StepOf(count)).message(),
                  AllOf(HasSubstr(absl::StrCat("launch ", last, " (")),
                        HasSubstr(absl::StrCat("buffer %", buffer.name,
                                               ": row 0, column 0 is read and holds no value"))));
    }
    buffer.last_launch = last;
    ++spoilt;
  }
  EXPECT_GT(spoilt, 0);
}

TEST_F(ProgramInterpreterTest, BuffersThatShareAPlaceWhileBothLiveShow) {
  Lowered lowered;
  ASSERT_NO_FATAL_FAILURE(LowerModel(model_, OptionsFor(model_), lowered));
  std::vector<program::Buffer>& buffers = lowered.program.buffers;
  int spoilt = 0;
  for (program::Buffer& a : buffers) {
    for (const program::Buffer& b : buffers) {
      const bool both = a.first_launch < b.first_launch && b.first_launch < a.last_launch;
      if (!both || a.replicated != b.replicated || a.bytes != b.bytes || a.kv || b.kv) continue;
      const int64_t offset = a.offset;
      a.offset = b.offset;
      auto interpreter =
          ProgramInterpreter::Create(&lowered.program, lowered.packed.data(), 2, kPages);
      ASSERT_TRUE(interpreter.ok()) << interpreter.status();
      // Poison shows some of these, the logits the others.
      auto logits = (*interpreter)->Run(StepOf(static_cast<int>(ids_.size())));
      EXPECT_TRUE(!logits.ok() || LargestError(*logits->floats, expected_) > 1e-3)
          << a.name << " in the place of " << b.name;
      a.offset = offset;
      if (++spoilt == 10) return;
    }
  }
  EXPECT_GT(spoilt, 0);
}

TEST_F(ProgramInterpreterTest, PositionsThatNobodyWroteAreNamed) {
  Lowered lowered;
  ASSERT_NO_FATAL_FAILURE(LowerModel(model_, OptionsFor(model_), lowered));
  StepArguments arguments = StepOf(2);
  arguments.cached_lens = {5};  // nothing is cached
  EXPECT_THAT(RunStep(lowered, arguments).message(),
              AllOf(HasSubstr("launch "), HasSubstr("(attention"),
                    HasSubstr("a position of the KV cache is read and holds no value")));
}

TEST_F(ProgramInterpreterTest, BuffersOutsideTheArenaAreRefused) {
  Lowered lowered;
  ASSERT_NO_FATAL_FAILURE(LowerModel(model_, OptionsFor(model_), lowered));
  program::Buffer& output = lowered.program.buffers[lowered.program.output];
  output.offset = lowered.program.arena_bytes - output.bytes + 64;
  EXPECT_THAT(RunStep(lowered, StepOf(2)).message(),
              HasSubstr(absl::StrCat("buffer %", output.name, ": expected an end inside ",
                                     lowered.program.arena_bytes, " bytes, found ",
                                     lowered.program.arena_bytes + 64)));
}

TEST_F(ProgramInterpreterTest, StepsBeyondTheBoundsAreRefused) {
  Lowered lowered;
  ASSERT_NO_FATAL_FAILURE(LowerModel(model_, OptionsFor(model_), lowered));
  StepArguments arguments;
  arguments.tokens.assign(200, 1);
  arguments.rows = {0};
  EXPECT_EQ(RunStep(lowered, arguments).message(), "T = 200: expected 1 to 128");
}

// Every segment of every weight comes back from the packed bytes as its expression says.
TEST_F(ProgramInterpreterTest, PackedWeightsUnpackToTheirExpressions) {
  Lowered lowered;
  ASSERT_NO_FATAL_FAILURE(LowerModel(model_, OptionsFor(model_), lowered));
  const program::Program& program = lowered.program;
  for (const program::PackedWeight& weight : program.weights) {
    const formats::PackedShape& shape = weight.shape;
    const int64_t rows = shape.n * shape.segments;
    std::vector<float> found(rows * shape.k), expected(rows * shape.k);
    for (int64_t segment = 0; segment < shape.segments; ++segment) {
      formats::UnpackRows(weight.format, shape, segment, 0, shape.n,
                          lowered.packed.data() + weight.offset,
                          found.data() + segment * shape.n * shape.k);
    }
    const int64_t first = weight.source->type().shape[0].offset;
    ASSERT_TRUE(EvaluateRows(weight.source, *program.weights_module, *model_.imported->weights, 0,
                             first, expected.data())
                    .ok());
    EXPECT_EQ(found, expected) << weight.name;
  }
}

TEST_F(ProgramInterpreterTest, PackingNamesTheWeightThatIsMissingOrMisplaced) {
  Lowered lowered;
  ASSERT_NO_FATAL_FAILURE(LowerModel(model_, OptionsFor(model_), lowered));
  program::Program& program = lowered.program;
  const auto pack = [&](const ir::WeightSource& weights) {
    return std::string(PackWeights(
                           program, weights, 2, [](int64_t) {}, lowered.packed.data())
                           .message());
  };
  EXPECT_THAT(pack(MemoryWeights()), HasSubstr("weight "));
  program::PackedWeight& weight = program.weights[0];
  weight.offset = program.weight_bytes;
  EXPECT_THAT(
      pack(*model_.imported->weights),
      HasSubstr(absl::StrCat("weight ", weight.name, ": expected ", weight.bytes,
                             " bytes inside the weights section of ", program.weight_bytes)));
}

}  // namespace
}  // namespace ninfer::eager
