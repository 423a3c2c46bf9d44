// What the machine code is: the instructions of each target, no vector on the stack and no call out
// of the object in any kernel of whole models, an image that runs wherever it lies and that is the
// same bytes for any number of threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "ir/text.h"
#include "passes/pass.h"
#include "tests/support/assembly.h"
#include "tests/support/kernel_harness.h"
#include "tests/tier.h"

namespace ninfer {
namespace {

using codegen::CodegenOptions;
using codegen::CodeImage;
using codegen::KernelCode;
using eager::Tensor;
using formats::Format;
using program::Family;
using testing::HasSubstr;

// What a callee saves: of x86-64 six registers and the word that aligns the stack, of AArch64
// twelve and eight halves of vectors.
int64_t SavedRegisterBytes(const codegen::Target& target) {
  return target.architecture == codegen::Architecture::kX86 ? 56 : 12 * 8 + 8 * 8;
}

std::string EmptyFolder(const std::string& name) {
  const std::string folder = JoinPath(testing::TempDir(), name);
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

std::string Assembly(const std::string& folder, const KernelCode& kernel) {
  auto text = ReadFile(JoinPath(folder, kernel.name + ".s"));
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

void ExpectNoSpillNorCall(const std::string& assembly, const codegen::Target& target,
                          const KernelCode& kernel) {
  EXPECT_LE(kernel.stack_bytes, SavedRegisterBytes(target)) << kernel.name;
  EXPECT_GE(kernel.stack_bytes, 0) << kernel.name;
  EXPECT_THAT(VectorsOnTheStack(assembly), testing::IsEmpty()) << kernel.name;
  EXPECT_THAT(CallsOut(assembly), testing::IsEmpty()) << kernel.name;
}

// --- the rules by themselves ---------------------------------------------------------------------

TEST(AssemblyRules, FindVectorsOnTheStack) {
  EXPECT_THAT(VectorsOnTheStack("\tvmovups\t%zmm0, 64(%rsp)                 # 64-byte Spill\n"
                                "\tvmovups\t(%rsp), %ymm1                    # 32-byte Reload\n"
                                "\tvfmadd231ps\t-64(%rsp,%rax), %zmm1, %zmm2\n"
                                "\tvmovss\t%xmm3, 4(%rsp)\n"
                                "\tkmovw\t%k1, 2(%rsp)\n"
                                "\tmovq\t%rax, 8(%rsp)\n"
                                "\tvmovups\t(%rbp,%rax), %zmm0\n"
                                "\tvmovups\t(%rsi), %zmm0\n"),
              testing::SizeIs(5));
  EXPECT_THAT(VectorsOnTheStack("\tmovq\t%rsp, %rbp\n\tvmovups\t%zmm0, -64(%rbp)\n"),
              testing::SizeIs(1));
  EXPECT_THAT(VectorsOnTheStack("\tstp\td11, d10, [sp, #-64]!\n"
                                "\tstp\tx29, x30, [sp, #16]\n"
                                "\tldr\tq0, [x1]\n"
                                "\tstr\tq1, [sp, #32]                 // 16-byte Folded Spill\n"
                                "\tldr\ts2, [sp, #12]\n"
                                "\tstr\td16, [sp, #12]\n"
                                "\tst1\t{ v0.4s }, [sp]\n"),
              testing::SizeIs(4));
}

TEST(AssemblyRules, FindCallsOut) {
  EXPECT_THAT(CallsOut("own:\n\tcallq\town\n\tcallq\tmemset@PLT\n\tcallq\tother\n\tcallq\t*%rax\n"),
              testing::ElementsAre("callq\tmemset@PLT", "callq\tother", "callq\t*%rax"));
  EXPECT_THAT(CallsOut("own:\n\tbl\town\n\tbl\tmemset\n\tblr\tx8\n\tb\t.LBB0_1\n\tbls\t.LBB0_1\n"),
              testing::ElementsAre("bl\tmemset", "blr\tx8"));
}

// --- whole models --------------------------------------------------------------------------------

constexpr char kGpt2Config[] = R"({
  "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 211, "n_positions": 256,
  "n_embd": 96, "n_layer": 2, "n_head": 4, "activation_function": "gelu_new",
  "layer_norm_epsilon": 1e-05, "tie_word_embeddings": true
})";

// Experts, and norms of single heads.
constexpr char kQwen3MoeConfig[] = R"({
  "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "vocab_size": 211,
  "hidden_size": 96, "intermediate_size": 128, "moe_intermediate_size": 64, "num_hidden_layers": 2,
  "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "num_experts": 8,
  "num_experts_per_tok": 3, "max_position_embeddings": 128, "norm_topk_prob": true
})";

// Heads so wide that their tiles' addresses are more than registers hold.
constexpr char kWideConfig[] = R"({
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 75, "hidden_size": 64,
  "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 6,
  "num_key_value_heads": 2, "head_dim": 512, "max_position_embeddings": 128
})";

struct Variant {
  DType weights, activations, cache;
  const char* attention;
  bool cached;
  const char* scheme = "";
  const char* inputs = "int8_g32_f32";
};
constexpr Variant kVariants[] = {
    {DType::kF32, DType::kF32, DType::kF32, "flash", true},
    {DType::kBF16, DType::kBF16, DType::kBF16, "flash", true},
    {DType::kF16, DType::kF32, DType::kF32, "efficient", true},
    {DType::kBF16, DType::kF32, DType::kBF16, "naive", true},
    {DType::kBF16, DType::kBF16, DType::kBF16, "efficient", false},
    {DType::kF32, DType::kF32, DType::kF32, "flash", true, "int8_g32"},
    {DType::kF32, DType::kF32, DType::kF32, "flash", true, "int4_g32"},
    {DType::kF32, DType::kF32, DType::kF32, "flash", true, "nu4_g32"},
    {DType::kF32, DType::kF32, DType::kI8, "flash", true},
    {DType::kBF16, DType::kBF16, DType::kI8, "efficient", true},
    // Of one model alone.
    {DType::kF32, DType::kF32, DType::kF32, "flash", true, "int8_channel"},
    {DType::kF32, DType::kF32, DType::kF32, "flash", true, "int8_channel", "int8_row_f32"},
    {DType::kF32, DType::kF32, DType::kF32, "flash", true, "int4a_g32", "int8_row_f32"},
    {DType::kF32, DType::kF32, DType::kF32, "flash", true, "int4_g128"},
    {DType::kF32, DType::kF32, DType::kF32, "flash", true, "int4a_g32"},
    {DType::kF32, DType::kF32, DType::kF32, "flash", true, "int8_g32", ""},
    {DType::kF32, DType::kBF16, DType::kF32, "flash", true, "int4_g32", ""},
    {DType::kF32, DType::kF32, DType::kF32, "flash", true, "int4a_g128", ""},
    {DType::kF32, DType::kBF16, DType::kF32, "flash", true, "nu4_g32", ""},
};
constexpr size_t kForAll = 10;

// Adds the kernels that no program before had.
void AddKernels(const frontend::ImportedModel& model, const Variant& variant,
                KernelHarness* harness, std::set<std::string>* seen) {
  passes::PassOptions options;
  options.weights = variant.weights;
  options.weight_scheme = variant.scheme;
  options.activations = variant.activations;
  options.input_scheme = variant.inputs;
  options.kv_cache = variant.cache;
  options.attention = variant.attention;
  options.context_length = model.info.context_length;
  if (!variant.cached) options.disabled.insert("kv-cache");
  auto result = passes::RunPipeline(model.module.Clone(), options);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_TRUE(result->lowered);
  const program::Program& program = result->program;
  for (size_t i = 0; i < program.kernels.size(); ++i) {
    std::string key = ir::PrintFunction(*program.kernels[i].body, program.symbols);
    for (const program::KernelParam& param : program.kernels[i].params) {
      absl::StrAppend(&key, static_cast<int>(param.kind), ",", static_cast<int>(param.format), ";");
    }
    if (seen->insert(key).second) harness->Add(program, static_cast<int>(i));
  }
}

class CodegenModelKernels : public testing::TestWithParam<std::string> {
 protected:
  static void SetUpTestSuite() {
    harness_ = new KernelHarness;
    std::set<std::string> seen;
    auto demo = frontend::ImportModel(NINFER_SOURCE_DIR "/models/demo", {});
    ASSERT_TRUE(demo.ok()) << demo.status();
    auto gpt2 = frontend::ImportRandomModel("gpt2", kGpt2Config, DType::kF32, 1, {});
    ASSERT_TRUE(gpt2.ok()) << gpt2.status();
    auto experts = frontend::ImportRandomModel("qwen3-moe", kQwen3MoeConfig, DType::kF32, 1, {});
    ASSERT_TRUE(experts.ok()) << experts.status();
    for (const frontend::ImportedModel* model : {&*demo, &*gpt2, &*experts}) {
      const size_t variants = model == &*gpt2   ? 2
                              : model == &*demo ? std::size(kVariants)
                              : FullTier()      ? kForAll
                                                : 2;
      for (size_t i = 0; i < variants; ++i) AddKernels(*model, kVariants[i], harness_, &seen);
    }
    auto wide = frontend::ImportRandomModel("llama", kWideConfig, DType::kF32, 1, {});
    ASSERT_TRUE(wide.ok()) << wide.status();
    for (const DType cache : {DType::kF32, DType::kBF16, DType::kI8}) {
      AddKernels(*wide, {DType::kF32, DType::kF32, cache, "flash", true}, harness_, &seen);
    }
  }
  static void TearDownTestSuite() {
    delete harness_;
    harness_ = nullptr;
    images_.clear();
  }
  // The target's code, made once, with assembly in a folder.
  static const CodeImage* Image(const codegen::Target& target) {
    const auto [it, added] = images_.try_emplace(target.name);
    if (!added) return &it->second;
    auto image = codegen::GenerateCode(harness_->program(), target,
                                       {"", EmptyFolder("asm_" + target.name), 2});
    EXPECT_TRUE(image.ok()) << image.status();
    if (image.ok()) it->second = std::move(*image);
    return &it->second;
  }
  static KernelHarness* harness_;
  static std::map<std::string, CodeImage> images_;
};
KernelHarness* CodegenModelKernels::harness_ = nullptr;
std::map<std::string, CodeImage> CodegenModelKernels::images_;

TEST_P(CodegenModelKernels, NeitherSpillVectorsNorCallOutOfTheObject) {
  const auto target = codegen::FindTarget(GetParam());
  ASSERT_TRUE(target.ok()) << target.status();
  const CodeImage* image = Image(*target);
  ASSERT_GT(image->kernels.size(), 20u);
  for (const KernelCode& kernel : image->kernels) {
    const std::string assembly =
        Assembly(JoinPath(testing::TempDir(), "asm_" + GetParam()), kernel);
    ExpectNoSpillNorCall(assembly, *target, kernel);
    if (target->vector_bits == 512) continue;
    EXPECT_EQ(FirstMatch(assembly, "%(zmm|[xy]mm(1[6-9]|2[0-9]|3[01])|k[0-7])\\b"), "")
        << kernel.name;
  }
}

class CodegenModelLines : public CodegenModelKernels {};

TEST_P(CodegenModelLines, DoNotChangeTheBytes) {
  const auto target = codegen::FindTarget(GetParam());
  ASSERT_TRUE(target.ok()) << target.status();
  const CodeImage* with = Image(*target);
  CodegenOptions options{"", "", 2};
  options.lines = false;
  const auto without = codegen::GenerateCode(harness_->program(), *target, options);
  ASSERT_TRUE(without.ok()) << without.status();
  EXPECT_TRUE(with->bytes == without->bytes);
  EXPECT_EQ(with->executable_bytes, without->executable_bytes);
  for (size_t i = 0; i < with->kernels.size(); ++i) {
    EXPECT_FALSE(with->kernels[i].lines.empty()) << with->kernels[i].name;
    EXPECT_TRUE(without->kernels[i].lines.empty()) << with->kernels[i].name;
  }
}

std::string TargetTestName(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) c = absl::ascii_isalnum(c) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Targets, CodegenModelKernels, testing::ValuesIn(TestedTargets()),
                         TargetTestName);
INSTANTIATE_TEST_SUITE_P(Targets, CodegenModelLines,
                         testing::ValuesIn(FullTier() ? codegen::ListTargets()
                                                      : std::vector<std::string>{"x86-64-v3"}),
                         TargetTestName);

// --- instructions --------------------------------------------------------------------------------

KernelSource Linear(const char* weights, Format format, const char* activations) {
  return {absl::StrCat("linear_", weights, "_", activations),
          Family::kLinear,
          absl::StrCat("(%x: ", activations, "[T,64], %w: ", weights,
                       "[64,64]) {\n  %0 = linear %x, %w : f32[T,64]\n  return %0\n}"),
          {{"w", format}}};
}

TEST(CodegenInstructions, AreTheFastestOfTheTarget) {
  KernelHarness harness;
  harness.Add(Linear("bf16", Format::kPanelBF16, "bf16"));
  harness.Add(Linear("f32", Format::kPanelF32, "f32"));
  harness.Add(Linear("f16", Format::kPanelF16, "f32"));
  harness.Add(
      {"cast", Family::kRowwise, "(%x: f32[T,64]) {\n  %y = cast %x : bf16[T,64]\n  return %y\n}"});
  harness.Add({"linear_int8",
               Family::kLinear,
               R"((%x: f32[T,64], %w: f32[64,64]) {
  %0 = quantise %x {scheme = "int8_g32_f32"} : f32[T,64]
  %1 = linear %0, %w : f32[T,64]
  return %1
})",
               {{"w", Format::kPanelInt8G32}}});
  const char* dot = "^vdpbf16ps\t.*%zmm";
  const char* fma = "^vfmadd[0-9]+ps\t.*%zmm";
  const char* half = "^vcvtph2ps\t.*%zmm";
  const char* narrow = "^vcvtneps2bf16";
  const char* fma256 = "^vfmadd[0-9]+ps\t.*%ymm";
  const char* half256 = "^vcvtph2ps\t.*%ymm";
  struct Rule {
    const char* target;
    int kernel;
    const char* pattern;
    bool found;
  };
  const Rule rules[] = {
      {"zen4", 0, dot, true},
      {"zen4", 0, fma, false},
      {"zen4", 1, fma, true},
      {"zen4", 2, half, true},
      {"zen4", 3, narrow, true},
      {"sapphirerapids", 0, fma, true},
      {"sapphirerapids", 0, dot, false},
      {"sapphirerapids", 1, fma, true},
      {"sapphirerapids", 3, narrow, true},
      {"cascadelake", 0, fma, true},
      {"cascadelake", 3, narrow, false},
      {"x86-64-v4", 0, fma, true},
      {"x86-64-v4", 0, dot, false},
      {"x86-64-v4", 1, fma, true},
      {"x86-64-v4", 2, half, true},
      {"x86-64-v4", 3, narrow, false},
      {"alderlake", 0, fma256, true},
      {"alderlake", 0, "%zmm", false},
      {"alderlake", 2, half256, true},
      {"x86-64", 0, "^mulps\t.*%xmm", true},
      {"x86-64", 0, "^v", false},
      {"x86-64", 1, "^mulps\t.*%xmm", true},
      {"x86-64", 2, "^v", false},
      {"x86-64", 3, "^v", false},
      {"neoverse-n1", 0, "^fmla\tv[0-9]+.4s", true},
      {"neoverse-n1", 1, "^fmla\tv[0-9]+.4s", true},
      {"neoverse-n1", 2, "^fcvtl\tv[0-9]+.4s", true},
      {"neoverse-n1", 3, "^bl\t", false},
      {"neoverse-n1", 4, "^sdot\tv[0-9]+.4s", true},
      {"x86-64-v3", 4, "^vpmaddwd\t.*%ymm", true},
      {"cascadelake", 4, "^vpdpbusd\t.*%zmm", true},
      {"x86-64-v3", 0, fma256, true},
      {"x86-64-v3", 0, "%zmm", false},
      {"x86-64-v3", 1, fma256, true},
      {"x86-64-v3", 1, "%zmm", false},
      {"x86-64-v3", 2, half256, true},
      {"x86-64-v3", 3, narrow, false},
  };
  for (const std::string& name : codegen::ListTargets()) {
    const std::string folder = EmptyFolder("instructions_" + name);
    const auto image =
        codegen::GenerateCode(harness.program(), *codegen::FindTarget(name), {"", folder, 2});
    ASSERT_TRUE(image.ok()) << image.status();
    int checked = 0;
    for (const Rule& rule : rules) {
      if (name != rule.target) continue;
      ++checked;
      const KernelCode& kernel = image->kernels[rule.kernel];
      const std::string line = FirstMatch(Assembly(folder, kernel), rule.pattern);
      EXPECT_EQ(!line.empty(), rule.found) << kernel.name << ": " << rule.pattern << ": " << line;
    }
    EXPECT_GT(checked, 0) << name << ": a target without a rule";
  }
}

// --- the image -----------------------------------------------------------------------------------

// A kernel with constants in the read-only part, one with loops, one with functions of its own.
void AddSamples(KernelHarness* harness) {
  harness->Add({"unary", Family::kRowwise, R"((%x: f32[T,50]) {
  %0 = gelu %x : f32[T,50]
  %1 = sin %0 : f32[T,50]
  return %1
})"});
  harness->Add(Linear("bf16", Format::kPanelBF16, "bf16"));
  harness->Add(
      {"attention", Family::kAttention,
       R"((%q: bf16[T,4,24], %kv: kv<bf16>[2,24], %positions: i32[T], %seq_bounds: i32[S+1], %page_table: i32[S,G]) {
  %0 = paged_attention %q, %kv, %positions, %seq_bounds, %page_table {scale = 0.2, form = "flash"} : f32[T,4,24]
  return %0
})"});
  harness->Add({"softmax", Family::kRowwise,
                "(%x: f32[T,50]) {\n  %0 = softmax %x : f32[T,50]\n  return %0\n}"});
}

TEST(CodegenImage, HoldsTheKernelsInTheProgramsOrder) {
  KernelHarness harness;
  AddSamples(&harness);
  for (const std::string& name : codegen::ListTargets()) {
    const auto image =
        codegen::GenerateCode(harness.program(), *codegen::FindTarget(name), {"", "", 2});
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->target.name, name);
    EXPECT_EQ(image->bytes.size() % 4096, 0u);
    EXPECT_EQ(image->executable_bytes % 4096, 0u);
    EXPECT_LT(image->executable_bytes, image->bytes.size());  // there are constants
    ASSERT_EQ(image->kernels.size(), harness.program().kernels.size());
    uint64_t end = 0;
    for (size_t i = 0; i < image->kernels.size(); ++i) {
      const KernelCode& kernel = image->kernels[i];
      EXPECT_TRUE(absl::StartsWith(kernel.name, harness.kernel(static_cast<int>(i)).name + "__"));
      EXPECT_EQ(kernel.offset % 64, 0u) << kernel.name;
      EXPECT_GE(kernel.offset, end) << kernel.name;
      EXPECT_GT(kernel.size, 0u) << kernel.name;
      EXPECT_GT(kernel.llvm_instructions, 0) << kernel.name;
      end = kernel.offset + kernel.size;
    }
    EXPECT_LE(end, image->executable_bytes);
  }
}

TEST(CodegenImage, IsTheSameBytesForAnyNumberOfThreads) {
  KernelHarness harness;
  AddSamples(&harness);
  for (const std::string& name : codegen::ListTargets()) {
    const auto target = codegen::FindTarget(name);
    const auto one = codegen::GenerateCode(harness.program(), *target, {"", "", 1});
    const auto four = codegen::GenerateCode(harness.program(), *target, {"", "", 4});
    ASSERT_TRUE(one.ok()) << one.status();
    ASSERT_TRUE(four.ok()) << four.status();
    EXPECT_TRUE(one->bytes == four->bytes) << name;
    for (size_t i = 0; i < one->kernels.size(); ++i) {
      EXPECT_EQ(one->kernels[i].name, four->kernels[i].name);
      EXPECT_EQ(one->kernels[i].offset, four->kernels[i].offset);
    }
  }
}

TEST(CodegenImage, RunsWhereverItLies) {
  KernelHarness harness;
  AddSamples(&harness);
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  int ran = 0;
  for (const Engine& engine : harness.engines()) {
    const CodeImage* image = harness.image(engine.name);
    if (image == nullptr || !WhyNotHere(image->target).empty()) continue;
    ++ran;
    std::vector<std::vector<float>> results;
    std::vector<const uint8_t*> bases;
    const MappedCode here(*image), there(*image, 77);
    for (const MappedCode* code : {&here, &there}) {
      alignas(64) float x[64], y[64];
      for (int i = 0; i < 64; ++i) x[i] = static_cast<float>(i) / 8 - 3;
      std::vector<uint8_t> scratch(harness.kernel(0).scratch_bytes);
      void* const operands[] = {x, y};
      const int32_t dims[] = {1, 1, 1, 1, 1};
      for (const int kernel : {0, 3}) {
        std::fill(std::begin(y), std::end(y), 0.0f);
        code->At(image->kernels[kernel].offset)(operands, dims, 0, 1, scratch.data());
        results.emplace_back(y, y + 50);
      }
      bases.push_back(code->base());
    }
    EXPECT_NE(bases[0], bases[1]);
    EXPECT_NE(results[0], results[1]);  // two kernels
    EXPECT_EQ(results[0], results[2]);
    EXPECT_EQ(results[1], results[3]);
  }
  EXPECT_GT(ran, 0) << "no target's code runs on this host";
}

TEST(CodegenImage, DumpsLlvmAndAssemblyOfEachKernel) {
  KernelHarness harness;
  AddSamples(&harness);
  const std::string folder = EmptyFolder("dumps");
  const auto plain =
      codegen::GenerateCode(harness.program(), *codegen::FindTarget("x86-64-v3"), {});
  const auto image = codegen::GenerateCode(harness.program(), *codegen::FindTarget("x86-64-v3"),
                                           {folder, folder, 2});
  ASSERT_TRUE(plain.ok()) << plain.status();
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_TRUE(plain->bytes == image->bytes) << "a dump changes the code";
  for (const KernelCode& kernel : image->kernels) {
    const auto llvm = ReadFile(JoinPath(folder, kernel.name + ".ll"));
    ASSERT_TRUE(llvm.ok()) << llvm.status();
    EXPECT_THAT(*llvm, HasSubstr(absl::StrCat("@", kernel.name, "(")));
    EXPECT_THAT(Assembly(folder, kernel), HasSubstr(absl::StrCat("\n", kernel.name, ":")));
  }
}

TEST(CodegenImage, NamesTheDumpFolderThatIsMissing) {
  KernelHarness harness;
  AddSamples(&harness);
  const std::string folder = JoinPath(EmptyFolder("nothing"), "here");
  const auto image =
      codegen::GenerateCode(harness.program(), *codegen::FindTarget("x86-64-v3"), {"", folder, 1});
  EXPECT_THAT(std::string(image.status().message()), HasSubstr(folder));
}

// Two bodies that compile, one that no emitter takes: the kernel is named.
}  // namespace
}  // namespace ninfer
