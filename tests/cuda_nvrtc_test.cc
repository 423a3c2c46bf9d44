// The generated CUDA C++ through NVRTC, where there is one: every function of the shape presets
// compiles for each architecture, keeps all in registers, and leaves room for as many blocks as it
// states. Skipped elsewhere, but for how NVRTC is looked for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cuda/generate/nvrtc.h"
#include "frontend/frontend.h"
#include "passes/pass.h"
#include "passes/pipeline.h"
#include "tests/tier.h"

namespace ninfer::cuda {
namespace {

using ::testing::HasSubstr;

struct Preset {
  const char* name;
  const char* config;
};
constexpr Preset kPresets[] = {
#define PRESET(name, config) {name, config},
#include "frontend/presets.def"
};

struct Case {
  int preset;
  std::string architecture;
  DType dtype;
  const char* scheme = "";
  const char* attention = "flash";
  DType cache = DType::kF32;  // kI8: of integers; else the activations' type
  const char* input_scheme = "";
};

absl::StatusOr<Source> SourceOf(const Preset& preset, const Case& c) {
  auto model = frontend::ImportRandomModel(preset.name, preset.config, DType::kBF16, 0, {});
  if (!model.ok()) return model.status();
  passes::PassOptions options;
  options.weights = options.activations = c.dtype;
  options.kv_cache = c.cache == DType::kI8 ? c.cache : c.dtype;
  options.attention = c.attention;
  if (*c.scheme != 0 && !options.SetWeights(c.scheme)) return InvalidArgument("no ", c.scheme);
  if (c.dtype != DType::kF32) options.input_scheme.clear();
  if (*c.input_scheme != 0) options.input_scheme = c.input_scheme;
  options.context_length = model->info.context_length;
  auto result = passes::RunPipeline(std::move(model->module), options);
  if (!result.ok()) return result.status();
  return Generate(result->program);
}

TEST(CudaNvrtc, WhereThereIsNoneOneLineSaysHowToGetIt) {
  const std::vector<std::string> paths = {"/nowhere/libnvrtc.so", "libc.so.6"};
  const auto nvrtc = Nvrtc::OpenFrom(paths);
  ASSERT_FALSE(nvrtc.ok());
  EXPECT_EQ(nvrtc.status().message(),
            "NVRTC: expected a CUDA toolkit, PyPI's nvidia-cuda-nvrtc (pip install "
            "nvidia-cuda-nvrtc) or the library's path in NINFER_NVRTC, found none");
}

TEST(CudaArchitectures, AreRefusedByNameWithTheListOfKnownOnes) {
  EXPECT_EQ(FindArchitecture("sm_90")->capability, 90);
  EXPECT_EQ(FindArchitecture("sm_35").status().message(),
            "cuda: expected sm_80, sm_86, sm_89, sm_90, sm_100, sm_120, found sm_35");
}

TEST(CudaArchitectures, HoldAsManyBlocksAsRegistersThreadsAndSharedMemoryAllow) {
  const Architecture card = *FindArchitecture("sm_90");
  EXPECT_EQ(BlocksAtOnce({"", 32, 0, 0, 0}, 256, card), 8);          // threads
  EXPECT_EQ(BlocksAtOnce({"", 128, 0, 0, 0}, 256, card), 2);         // registers
  EXPECT_EQ(BlocksAtOnce({"", 32, 100 << 10, 0, 0}, 256, card), 2);  // shared memory
}

TEST(CudaGenerate, GivesTheSameTextTwiceAndNoNameTwice) {
  const Case bf16{0, "sm_80", DType::kBF16};
  const auto first = SourceOf(kPresets[0], bf16), second = SourceOf(kPresets[0], bf16);
  ASSERT_TRUE(first.ok() && second.ok()) << first.status() << second.status();
  EXPECT_TRUE(first->text == second->text);
  std::map<std::string, int> names;
  for (const DeviceKernel& kernel : first->kernels) EXPECT_EQ(names[kernel.name]++, 0);
  EXPECT_GT(names.size(), 20u);
}

// The forms of attention, over a cache of integers too, and inputs with one scale a row.
std::vector<Case> Forms() {
  std::vector<Case> cases;
  for (int preset = 0; preset < static_cast<int>(std::size(kPresets)); ++preset) {
    for (const char* form : {"naive", "efficient", "flash"}) {
      cases.push_back({preset, "sm_80", DType::kBF16, "", form, DType::kI8});
    }
    cases.push_back(
        {preset, "sm_90", DType::kF32, "int8:channel", "naive", DType::kF32, "int8_row_f32"});
    for (const char* architecture : {"sm_86", "sm_89", "sm_100", "sm_120"}) {
      cases.push_back({preset, architecture, DType::kBF16, "", "efficient"});
    }
  }
  return cases;
}

std::vector<Case> Cases() {
  if (!FullTier()) {
    return {{0, "sm_80", DType::kBF16},
            {1, "sm_90", DType::kF32},
            {2, "sm_120", DType::kBF16},
            {3, "sm_90", DType::kF32, "int4"},
            {0, "sm_80", DType::kBF16, "nu4"},
            {3, "sm_80", DType::kBF16, "", "flash", DType::kI8},
            {1, "sm_90", DType::kF32, "int8:channel", "naive", DType::kF32, "int8_row_f32"}};
  }
  std::vector<Case> cases = Forms();
  for (size_t preset = 0; preset < std::size(kPresets); ++preset) {
    for (const char* architecture : {"sm_80", "sm_90", "sm_120"}) {
      for (const char* scheme : {"", "int8", "int4", "int4a", "nu4"}) {
        for (DType dtype : {DType::kBF16, DType::kF32}) {
          cases.push_back({static_cast<int>(preset), architecture, dtype, scheme});
        }
      }
    }
  }
  return cases;
}

class CudaPresets : public ::testing::TestWithParam<Case> {};

TEST_P(CudaPresets, CompileWithoutSpillsWithinTheOccupancyThatTheyState) {
  const auto nvrtc = Nvrtc::Open();
  if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.status().message();
  const auto architecture = FindArchitecture(GetParam().architecture);
  ASSERT_TRUE(architecture.ok()) << architecture.status();
  const auto source = SourceOf(kPresets[GetParam().preset], GetParam());
  ASSERT_TRUE(source.ok()) << source.status();
  const auto code = (*nvrtc)->Compile(*source, *architecture);
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(code->cubin.substr(0, 4), "\177ELF");
  EXPECT_THAT(code->ptx, HasSubstr(absl::StrCat(".target ", GetParam().architecture)));
  std::map<std::string, Resources> resources;
  for (const Resources& each : code->resources) resources[each.function] = each;
  EXPECT_EQ(resources.size(), source->kernels.size());
  for (const DeviceKernel& kernel : source->kernels) {
    const auto it = resources.find(kernel.name);
    ASSERT_TRUE(it != resources.end()) << kernel.name;
    EXPECT_GT(it->second.registers, 0) << kernel.name;
    EXPECT_EQ(it->second.local_bytes, 0) << kernel.name;
    EXPECT_EQ(it->second.spilled_bytes, 0) << kernel.name;
    EXPECT_GE(BlocksAtOnce(it->second, kernel.threads, *architecture), kernel.blocks)
        << kernel.name << ": " << it->second.registers << " registers, " << it->second.shared_bytes
        << " bytes of shared memory";
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaPresets, ::testing::ValuesIn(Cases()),
                         [](const ::testing::TestParamInfo<Case>& info) {
                           std::string name = absl::StrCat(
                               kPresets[info.param.preset].name, "_", info.param.architecture, "_",
                               std::string(DTypeName(info.param.dtype)), "_", info.param.scheme,
                               "_", info.param.attention,
                               info.param.cache == DType::kI8 ? "_int8_cache" : "", "_",
                               info.param.input_scheme);
                           for (char& c : name) c = absl::ascii_isalnum(c) ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace ninfer::cuda
