// The compiler as a whole: what its plans hold, edited graphs, texts that grow, and the C interface
// that programs without a compiler of their own open.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "absl/strings/str_split.h"
#include "compiler/compile.h"
#include "compiler/ninfer_compiler.h"
#include "ir/text.h"
#include "tests/compiler_testing.h"
#include "tests/support/model_folder.h"

namespace ninfer::compiler {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

constexpr char kDemo[] = NINFER_SOURCE_DIR "/models/demo";

class CompilerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::WriteModel(folder_.path(), testing::TinyLlama({.context = 200}));
    for (int i = 0; i < 200; ++i) ids_.push_back(i * 11 % 37);
  }
  Json Options() const { return ExactOptions(folder_.path()); }
  static plan::Plan Sections(const Compiled& compiled) {
    auto plan = plan::ParseSections(plan::SerializeSections(compiled.plan), "plan");
    EXPECT_TRUE(plan.ok()) << plan.status();
    return plan.ok() ? *std::move(plan) : plan::Plan();
  }
  std::string DigestOf(const Json& options) {
    const auto compiled = CompileWith(options);
    EXPECT_TRUE(compiled.ok()) << compiled.status();
    return compiled.ok() ? Sections(*compiled).content_digest : "";
  }

  testing::TemporaryFolder folder_;
  std::vector<int32_t> ids_;
};

TEST_F(CompilerTest, APlanHoldsAllThatTheRuntimeAndAReaderNeed) {
  std::vector<std::string> lines;
  Callbacks callbacks;
  callbacks.log = [&](const std::string& line) { lines.push_back(line); };
  const auto compiled = CompileWith({{"model", kDemo}, {"threads", 2}}, callbacks);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  const plan::Plan plan = Sections(*compiled);
  EXPECT_EQ(plan.metadata.model_name, "demo");
  EXPECT_GT(plan.metadata.parameters, 1000000);
  EXPECT_EQ(plan.metadata.context_length, 1024);
  EXPECT_FALSE(plan.metadata.eos_ids.empty());
  EXPECT_FALSE(plan.tokenizer.empty());
  EXPECT_EQ(plan.entries.size(), 1u);
  EXPECT_EQ(plan.kv_layers.size(), 6u);
  EXPECT_THAT(plan.imported_graph_text, HasSubstr("stage imported"));
  EXPECT_THAT(plan.final_graph_text, HasSubstr("stage fused"));
  EXPECT_THAT(plan.program_text, HasSubstr("launch 0 "));
  EXPECT_EQ(plan.provenance.passes.size(), passes::ListPasses().size());
  const std::vector<std::string> lines_of_program = absl::StrSplit(plan.program_text, '\n');
  for (const plan::KernelSymbol& kernel : plan.images[0].kernels) {
    ASSERT_FALSE(kernel.lines.empty()) << kernel.name;
    for (const plan::CodeLine& line : kernel.lines) {
      ASSERT_LE(line.line, lines_of_program.size());
      EXPECT_THAT(lines_of_program[line.line - 1], MatchesRegex("func @.*|  %.* = .*"));
    }
  }
  EXPECT_GT(plan.evidence.max_error, 0);
  EXPECT_LT(plan.evidence.code_error, plan.evidence.max_error);
  EXPECT_LE(plan.evidence.code_error, plan.evidence.bound);
  EXPECT_NE(plan.evidence.logits_digest, 0u);
  EXPECT_EQ(plan.evidence.calibration_ids.size(), 16u);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], HasSubstr("stored bf16: weights bf16"));
  EXPECT_THAT(lines[1], HasSubstr("evidence: max error "));
}

// Six layers, one of each kernel.
TEST_F(CompilerTest, EqualLayersShareTheirKernels) {
  const auto six = CompileWith({{"model", kDemo}, {"threads", 2}});
  ASSERT_TRUE(six.ok()) << six.status();
  EXPECT_LE(six->plan.kernels.size(), 14u);
  EXPECT_GT(six->plan.entries[0].launches.size(), 40u);
}

TEST_F(CompilerTest, ThreadsDoNotChangeTheContent) {
  Json options = Options();
  const std::string digest = DigestOf(options);
  EXPECT_EQ(digest.size(), 32u);
  options["threads"] = 1;
  EXPECT_EQ(DigestOf(options), digest);
  options["max_sequences"] = 3;
  EXPECT_NE(DigestOf(options), digest);
}

TEST_F(CompilerTest, AnUneditedGraphGivesTheSamePlanAndAnEditedOneAnother) {
  const auto compiled = CompileWith(Options());
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  std::string text = compiled->plan.imported_graph_text;
  const std::string path = folder_.File("graph.ir");
  testing::WriteText(path, text);
  Json options = Options();
  options.erase("model");
  options["from_ir"] = path;
  options["weights_from"] = folder_.path();
  EXPECT_EQ(DigestOf(options), Sections(*compiled).content_digest);
  // Another epsilon: what eager makes of the edited text, the plan must give.
  size_t at = 0, edits = 0;
  while ((at = text.find("eps = 1e-05", at)) != text.npos) {
    text.replace(at, 11, "eps = 0.25");
    ++edits;
  }
  ASSERT_EQ(edits, 5u);
  testing::WriteText(path, text);
  const auto plan = CompileInPlace(options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_NE((*plan)->plan.content_digest, Sections(*compiled).content_digest);
  const auto executor = Execute(*plan);
  ASSERT_TRUE(executor.ok()) << executor.status();
  ids_.resize(20);
  const auto found = RunText(**executor, ids_);
  ASSERT_TRUE(found.ok()) << found.status();
  const auto module = ir::Parse(text, path);
  const auto parsed = ParseOptions(Options().dump(), Caller::kCompile);
  const auto source = OpenSource(*parsed);
  auto interpreter = eager::Interpreter::Create(&*module, source->model.weights, 2);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  eager::StepArguments arguments;
  arguments.tokens = ids_;
  const auto expected = (*interpreter)->Run(arguments, nullptr);
  ASSERT_TRUE(expected.ok()) << expected.status();
  EXPECT_LE(LargestError(*found, *(*expected)[0].floats), 2e-5);
  const auto unedited = RunText(**Execute(*InPlace(*CompileWith(Options()))), ids_);
  EXPECT_GT(LargestError(*found, *unedited), 1e-3);
}

// One plan serves every length up to the context, with a cache and without: no code is made anew.
TEST_F(CompilerTest, ATextGrowsToTheContextWithTheSameCode) {
  for (const bool cached : {true, false}) {
    Json options = Options();
    options["max_rows"] = 200;
    if (!cached) options["disable_passes"] = {"kv-cache"};
    const auto plan = CompileInPlace(options);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const auto executor = Execute(*plan);
    ASSERT_TRUE(executor.ok()) << executor.status();
    const auto whole = RunText(**executor, ids_);
    ASSERT_TRUE(whole.ok()) << whole.status();
    if (cached) {
      const auto grown = RunText(**executor, ids_, 1);
      ASSERT_TRUE(grown.ok()) << grown.status();
      EXPECT_EQ(*grown, *whole);
      continue;
    }
    for (size_t length = 1; length <= ids_.size(); length += length < 5 ? 1 : 31) {
      const auto part = RunText(**executor, {ids_.begin(), ids_.begin() + length});
      ASSERT_TRUE(part.ok()) << part.status();
      const std::vector<float> start(whole->begin(), whole->begin() + length * 37);
      EXPECT_EQ(*part, start) << length;
    }
  }
}

TEST_F(CompilerTest, AContextBeyondTheTrainedOneIsSaid) {
  Json options = Options();
  options["stop_after"] = "canonicalise";
  for (const int context : {200, 201}) {
    options["context"] = context;
    std::vector<std::string> lines;
    Callbacks callbacks;
    callbacks.log = [&](const std::string& line) { lines.push_back(line); };
    ASSERT_TRUE(CompileWith(options, callbacks).ok());
    const auto said =
        Contains(MatchesRegex("--context: 201 positions, where .* was trained on 200: "
                              "longer text may go wrong"));
    if (context > 200) {
      EXPECT_THAT(lines, said);
    } else {
      EXPECT_THAT(lines, Not(said));
    }
  }
}

TEST_F(CompilerTest, AFolderWithoutATokenizerSaysSoOnce) {
  std::vector<std::string> lines;
  Callbacks callbacks;
  callbacks.log = [&](const std::string& line) { lines.push_back(line); };
  const auto compiled = CompileWith(Options(), callbacks);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  EXPECT_EQ(compiled->plan.tokenizer, "");
  EXPECT_THAT(
      lines, ElementsAre(HasSubstr("weights f32"),
                         folder_.path() + ": no tokenizer: only ids can go in and out of this plan",
                         HasSubstr("evidence: ")));
}

TEST_F(CompilerTest, TheDefaultPromptIsTheUsersElseTheFolders) {
  Json options = {{"model", kDemo}, {"threads", 2}, {"stop_after", "canonicalise"}};
  std::vector<std::string> lines;
  Callbacks callbacks;
  callbacks.log = [&](const std::string& line) { lines.push_back(line); };
  const auto prompt = [&] {
    const auto compiled = CompileWith(options, callbacks);
    EXPECT_TRUE(compiled.ok()) << compiled.status();
    return compiled.ok() ? compiled->plan.metadata.default_prompt : "";
  };
  EXPECT_EQ(prompt(), "Once upon a time");
  options["default_prompt"] = "One day";
  EXPECT_EQ(prompt(), "One day");
  // The folder's own has four tokens.
  options.erase("default_prompt");
  options["context"] = 4;
  lines.clear();
  EXPECT_EQ(prompt(), "");
  EXPECT_THAT(lines, Contains(std::string(kDemo) +
                              "/generation_config.json: default_prompt left out: expected 1 to 3 "
                              "tokens, found 4"));
}

TEST_F(CompilerTest, ADefaultPromptThatCannotBeUsedIsRefused) {
  const auto error = [](const std::string& model, const std::string& prompt) {
    const auto compiled =
        CompileWith({{"model", model}, {"default_prompt", prompt}, {"context", 4}, {"threads", 2}});
    return std::string(compiled.status().message());
  };
  EXPECT_EQ(error(kDemo, ""), "--default-prompt: expected some text, found none");
  EXPECT_EQ(error(kDemo, "Once upon a time"), "--default-prompt: expected 1 to 3 tokens, found 4");
  EXPECT_EQ(error(folder_.path(), "Once"),
            "--default-prompt: expected a model with a tokenizer, found none");
}

TEST_F(CompilerTest, ProgressRisesAndCancellingEndsIt) {
  double last = -1;
  std::vector<std::string> phases;
  Callbacks callbacks;
  callbacks.progress = [&](const char* phase, double done) {
    if (phases.empty() || phases.back() != phase) {
      phases.push_back(phase);
      last = -1;
    }
    EXPECT_GE(done, last);
    EXPECT_LE(done, 1);
    last = done;
  };
  ASSERT_TRUE(CompileWith(Options(), callbacks).ok());
  EXPECT_THAT(phases, ElementsAre("import", "reference", "passes", "pack weights", "generate code",
                                  "evidence"));
  callbacks.cancelled = [] { return true; };
  EXPECT_EQ(CompileWith(Options(), callbacks).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(CompilerTest, CodeIsNotMadeToItsEndWhenCancelled) {
  int asked = 0, kernels = 0;
  const auto compiled = CompileWith(Options());
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  kernels = static_cast<int>(compiled->plan.kernels.size());
  plan::Plan plan = compiled->plan;
  Callbacks callbacks;
  callbacks.cancelled = [&] { return ++asked == 2; };
  const auto options =
      ParseOptions(R"({"targets": ["x86-64-v3"], "threads": 1})", Caller::kGenerateCode);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(GenerateImages(*options, callbacks, &plan).code(), absl::StatusCode::kCancelled);
  EXPECT_LT(asked, kernels);
}

TEST_F(CompilerTest, CodeThatIsMadeAnewHasTheScratchThatItNeeds) {
  const auto compiled = CompileWith(Options());
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  plan::Plan plan = compiled->plan;
  for (plan::Kernel& kernel : plan.kernels)
    kernel.scratch_bytes = 0;  // another version needed none
  const auto options =
      ParseOptions(R"({"targets": ["x86-64-v3"], "threads": 1})", Caller::kGenerateCode);
  ASSERT_TRUE(options.ok()) << options.status();
  ASSERT_TRUE(GenerateImages(*options, {}, &plan).ok());
  for (size_t i = 0; i < plan.kernels.size(); ++i) {
    EXPECT_EQ(plan.kernels[i].scratch_bytes, compiled->plan.kernels[i].scratch_bytes);
  }
}

TEST_F(CompilerTest, ATargetThatIsNamedTwiceHasOneImage) {
  Json options = Options();
  options["targets"] = {"x86-64-v3", "x86-64", "x86-64-v3"};
  const auto compiled = CompileWith(options);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  ASSERT_EQ(compiled->plan.images.size(), 2u);
  EXPECT_EQ(compiled->plan.images[0].target, "x86-64-v3");
  EXPECT_EQ(compiled->plan.images[1].target, "x86-64");
}

// --- the C interface -----------------------------------------------------------------------------

class CInterface {
 public:
  explicit CInterface(const Json& options) : text_(options.dump()) {
    request.interface = NINFER_COMPILER_INTERFACE;
    request.options = text_.c_str();
    request.callbacks.context = this;
    request.callbacks.log = [](void* context, const char* line) {
      static_cast<CInterface*>(context)->lines.push_back(line);
    };
  }
  ~CInterface() { ninfer_release_result(&result); }

  ninfer_request request = {};
  ninfer_result result = {};
  std::vector<std::string> lines;

 private:
  std::string text_;
};

TEST_F(CompilerTest, TheCInterfaceGivesTheSamePlan) {
  CInterface c(Options());
  ninfer_compile(&c.request, &c.result);
  ASSERT_EQ(c.result.status, NINFER_OK) << c.result.message;
  EXPECT_STREQ(c.result.message, "");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(c.result.weights) % 64, 0u);
  const auto plan = plan::ParseSections(
      absl::string_view(reinterpret_cast<const char*>(c.result.sections), c.result.sections_size),
      "plan");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->content_digest, DigestOf(Options()));
  EXPECT_EQ(c.lines.size(), 3u);
}

// Whoever runs what was linked goes on reading its weights when the call fails behind that.
TEST_F(CompilerTest, LinkedWeightsLiveAsLongAsTheResultOfACallThatFails) {
  struct Linked {
    const uint8_t* weights = nullptr;
    std::vector<uint8_t> copy;
  } linked;
  CInterface c(Options());
  c.request.callbacks = {};
  c.request.callbacks.context = &linked;
  c.request.callbacks.linked = [](void* context, const ninfer_result* result) {
    auto* to = static_cast<Linked*>(context);
    to->weights = result->weights;
    to->copy.assign(result->weights, result->weights + result->weights_size);
  };
  c.request.callbacks.cancelled = [](void* context) {
    return static_cast<Linked*>(context)->weights != nullptr ? 1 : 0;
  };
  ninfer_compile(&c.request, &c.result);
  EXPECT_EQ(c.result.status, NINFER_CANCELLED);
  ASSERT_FALSE(linked.copy.empty());
  EXPECT_EQ(std::memcmp(linked.weights, linked.copy.data(), linked.copy.size()), 0);
}

TEST_F(CompilerTest, TheCInterfaceRefusesInOneLine) {
  CInterface bad(Json{{"model", "no\nsuch"}});
  ninfer_compile(&bad.request, &bad.result);
  EXPECT_EQ(bad.result.status, NINFER_BAD_INPUT);
  EXPECT_STREQ(bad.result.message, "no such: expected a model folder, found nothing");
  CInterface old(Options());
  old.request.interface = 99;
  ninfer_compile(&old.request, &old.result);
  EXPECT_EQ(old.result.status, NINFER_BAD_INPUT);
  EXPECT_THAT(old.result.message, HasSubstr("expected interface 5, found 99"));
  CInterface cancelled(Options());
  cancelled.request.callbacks.cancelled = [](void*) { return 1; };
  ninfer_compile(&cancelled.request, &cancelled.result);
  EXPECT_EQ(cancelled.result.status, NINFER_CANCELLED);
}

TEST_F(CompilerTest, TheCInterfaceGeneratesCodeForOtherTargets) {
  CInterface c(Options());
  ninfer_compile(&c.request, &c.result);
  ASSERT_EQ(c.result.status, NINFER_OK) << c.result.message;
  CInterface other(Json{{"targets", {"x86-64-v3", "x86-64-v4"}}});
  other.request.sections = c.result.sections;
  other.request.sections_size = c.result.sections_size;
  ninfer_generate_code(&other.request, &other.result);
  ASSERT_EQ(other.result.status, NINFER_OK) << other.result.message;
  const auto plan =
      plan::ParseSections(absl::string_view(reinterpret_cast<const char*>(other.result.sections),
                                            other.result.sections_size),
                          "plan");
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->images.size(), 2u);
  // The same bytes that compiling for that target gives.
  Json options = Options();
  options["targets"] = {"x86-64-v3"};
  EXPECT_EQ(plan->images[0].bytes, CompileWith(options)->plan.images[0].bytes);
  CInterface damaged(Json{{"targets", {"x86-64-v3"}}});
  damaged.request.sections = c.result.sections;
  damaged.request.sections_size = c.result.sections_size / 2;
  ninfer_generate_code(&damaged.request, &damaged.result);
  EXPECT_EQ(damaged.result.status, NINFER_BAD_INPUT);
}

TEST_F(CompilerTest, TheCInterfaceRunsTheEagerInterpreter) {
  CInterface c(Json{{"model", folder_.path()}, {"threads", 1}});
  ninfer_open_eager(&c.request, &c.result);
  ASSERT_EQ(c.result.status, NINFER_OK) << c.result.message;
  ninfer_eager* eager = c.result.eager;
  ninfer_limits limits = {};
  ninfer_eager_limits(eager, &limits);
  EXPECT_EQ(limits.context_length, 200);
  EXPECT_EQ(limits.pages_per_sequence, 4);
  EXPECT_EQ(limits.has_kv_cache, 1);
  ASSERT_EQ(limits.kv_group_count, 1);
  EXPECT_EQ(limits.kv_groups[0].window, 0);
  EXPECT_EQ(limits.kv_groups[0].total_pages, 4);
  EXPECT_EQ(limits.kv_groups[0].pages_held, 4);
  const int32_t tokens[] = {1, 2, 3}, positions[] = {0, 1, 2}, lengths[] = {3, 3, 3};
  const int32_t bounds[] = {0, 3}, cached[] = {0}, table[] = {0, 1, 2, 3}, rows[] = {2};
  ninfer_step step = {tokens, positions, lengths, bounds, cached, table, rows, 3, 1, 4, 1, 1};
  std::vector<float> logits(37);
  const char* message = nullptr;
  ninfer_eager_clear_page(eager, 0, 0);
  ASSERT_EQ(ninfer_eager_step(eager, &step, logits.data(), &message), NINFER_OK) << message;
  EXPECT_GT(*std::max_element(logits.begin(), logits.end()), 0);
  step.token_count = 2;
  EXPECT_EQ(ninfer_eager_step(eager, &step, logits.data(), &message), NINFER_BAD_INPUT);
  EXPECT_THAT(message, HasSubstr("expected"));
  EXPECT_GT(ninfer_eager_bytes_per_token(eager, 0), 0);
  EXPECT_GT(ninfer_eager_cache_bytes(eager, 1), 0);
  EXPECT_EQ(ninfer_eager_cache_bytes(eager, 200), 4 * ninfer_eager_cache_bytes(eager, 1));
  EXPECT_EQ(ninfer_eager_write_dump(eager, "x", &message), NINFER_BAD_INPUT);
  ninfer_release_eager(eager);
}

}  // namespace
}  // namespace ninfer::compiler
