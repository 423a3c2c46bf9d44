// Code is mapped, runs, is never writable and executable at once, and is known by name to perf and
// gdb.
#include <elf.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "runtime/code_names.h"
#include "runtime/cpu_image.h"
#include "tests/runtime_example.h"

namespace ninfer::runtime {
namespace {

std::unique_ptr<CpuImage> LoadToy(bool perf_map = false) {
  const auto loaded = ToyPlan();
  auto image = CpuImage::Load(loaded->plan.images[0], loaded->plan.kernels, {.perf_map = perf_map});
  EXPECT_TRUE(image.ok()) << image.status();
  return *std::move(image);
}

TEST(CpuImage, ItsKernelsRun) {
  const auto image = LoadToy();
  const int32_t tokens[] = {1, 0};
  const float embedding[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  float hidden[64] = {};
  void* operands[] = {const_cast<int32_t*>(tokens), const_cast<float*>(embedding), hidden};
  image->kernel(0)(operands, nullptr, 0, 2, nullptr);
  EXPECT_EQ(hidden[0], 6);
  EXPECT_EQ(hidden[4], 10);
  EXPECT_EQ(hidden[32], 1);
}

TEST(CpuImage, CodeIsNotWritable) {
  const auto image = LoadToy();
  const auto address = reinterpret_cast<uintptr_t>(image->kernel(0));
  bool found = false;
  const std::string maps = ReadFile("/proc/self/maps").value();
  for (absl::string_view line : absl::StrSplit(maps, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    uintptr_t begin = 0, end = 0;
    ASSERT_EQ(std::sscanf(words[0].c_str(), "%lx-%lx", &begin, &end), 2);
    EXPECT_FALSE(absl::StrContains(words[1], "wx")) << line;
    if (address < begin || address >= end) continue;
    EXPECT_EQ(words[1].substr(0, 3), "r-x");
    EXPECT_EQ(line.find('/'), absl::string_view::npos)
        << "perf maps are for anonymous memory: " << line;
    found = true;
  }
  EXPECT_TRUE(found);
}

TEST(CpuImage, PerfFindsKernelsByName) {
  const auto image = LoadToy(/*perf_map=*/true);
  const std::string path = absl::StrCat("/tmp/perf-", getpid(), ".map");
  const auto text = ReadFile(path);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_TRUE(absl::StrContains(
      *text, absl::StrFormat("%x 10 append__toy\n", reinterpret_cast<uintptr_t>(image->kernel(1)))))
      << *text;
  unlink(path.c_str());
}

extern "C" {
struct jit_code_entry {
  jit_code_entry* next_entry;
  jit_code_entry* prev_entry;
  const char* symfile_addr;
  uint64_t symfile_size;
};
struct jit_descriptor {
  uint32_t version;
  uint32_t action_flag;
  jit_code_entry* relevant_entry;
  jit_code_entry* first_entry;
};
extern jit_descriptor __jit_debug_descriptor;
}

int Registered() {
  int count = 0;
  for (jit_code_entry* e = __jit_debug_descriptor.first_entry; e != nullptr; e = e->next_entry) {
    ++count;
  }
  return count;
}

TEST(CpuImage, GdbKnowsImagesAsLongAsTheyLive) {
  EXPECT_EQ(Registered(), 0);
  auto first = LoadToy();
  auto second = LoadToy();
  EXPECT_EQ(Registered(), 2);
  first.reset();
  EXPECT_EQ(Registered(), 1);
  EXPECT_EQ(__jit_debug_descriptor.action_flag, 2);
  second.reset();
  EXPECT_EQ(Registered(), 0);
}

TEST(CpuImage, TheSymbolObjectNamesKernelsWhereTheyLie) {
  const char code[64] = {};
  const std::string object = MakeSymbolObject(code, 64, {{"one", 0, 16}, {"two", 16, 32}});
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(object.data());
  ASSERT_EQ(header->e_shnum, 5);
  const auto* sections = reinterpret_cast<const Elf64_Shdr*>(object.data() + header->e_shoff);
  EXPECT_EQ(sections[1].sh_addr, reinterpret_cast<uintptr_t>(code));
  EXPECT_EQ(sections[1].sh_size, 64);
  const auto* symbols = reinterpret_cast<const Elf64_Sym*>(object.data() + sections[2].sh_offset);
  const char* names = object.data() + sections[3].sh_offset;
  EXPECT_STREQ(names + symbols[2].st_name, "two");
  EXPECT_EQ(symbols[2].st_value, 16);
  EXPECT_EQ(symbols[2].st_size, 32);
  const char* section_names = object.data() + sections[4].sh_offset;
  EXPECT_STREQ(section_names + sections[1].sh_name, ".text");
  EXPECT_STREQ(section_names + sections[4].sh_name, ".shstrtab");
}

// What a program prints on both streams.
std::string OutputOf(const std::string& command) {
  FILE* pipe = popen(absl::StrCat(command, " 2>&1").c_str(), "r");
  if (pipe == nullptr) return "";
  std::string output(1 << 20, '\0');
  output.resize(fread(output.data(), 1, output.size(), pipe));
  pclose(pipe);
  return output;
}

// As binutils, whose assembler and linker built this program, read it.
TEST(CpuImage, TheSymbolObjectHasTheLinesOfThePlan) {
  const char code[400] = {};
  const std::string object = MakeSymbolObject(code, 400,
                                              {{"one", 0, 16, {{0, 7}, {3, 300}, {9, 8}}},
                                               {"none", 16, 32, {}},
                                               {"two", 64, 300, {{1, 2}}}});
  const std::string path = JoinPath(GetEnv("TEST_TMPDIR", "."), "symbols.o");
  ASSERT_TRUE(WriteFile(path, object).ok());
  const std::string output = OutputOf(absl::StrCat("readelf --debug-dump=decodedline ", path));
  const auto row = [&](int line, int offset) {
    return absl::StrFormat("%d %#x x", line, reinterpret_cast<uintptr_t>(code) + offset);
  };
  std::vector<std::string> rows, expected = {row(7, 0), row(300, 3), row(8, 9), row(2, 65)};
  for (absl::string_view text : absl::StrSplit(output, '\n')) {
    const std::vector<std::string> words = absl::StrSplit(text, ' ', absl::SkipEmpty());
    if (words.size() == 4 && words[0] == "program.ir") {
      rows.push_back(absl::StrCat(words[1], " ", words[2], " ", words[3]));
    }
  }
  EXPECT_EQ(rows, expected) << output;
  const std::string entries = OutputOf(absl::StrCat("readelf --debug-dump=info ", path));
  for (const char* name : {"program.ir", "one", "none", "two"}) {
    EXPECT_TRUE(absl::StrContains(entries, absl::StrCat(": ", name))) << name << "\n" << entries;
  }
}

plan::Plan PlanWithImages(const std::vector<std::vector<std::string>>& features) {
  plan::Plan plan;
  for (const std::vector<std::string>& required : features) {
    plan::CodeImage image;
    image.target = absl::StrCat("target", plan.images.size());
    image.required_features = required;
    plan.images.push_back(image);
  }
  return plan;
}

TEST(ChooseImage, TakesTheMostDemandingThatRuns) {
  const plan::Plan plan = PlanWithImages({{"avx2"}, {"avx2", "fma"}, {"avx2", "fma", "avx512f"}});
  EXPECT_EQ(ChooseImage(plan, {"avx2", "fma", "sse"}), &plan.images[1]);
  EXPECT_EQ(ChooseImage(plan, {"avx2", "avx512f"}), &plan.images[0]);
  EXPECT_EQ(ChooseImage(plan, {"sse"}), nullptr);
}

TEST(ChooseImage, WhatIsMissingIsSaidInOneLine) {
  EXPECT_EQ(MissingFeatures(PlanWithImages({{"avx2"}, {"avx2", "fma"}}), {"avx2"}),
            "code for target0 needs , which this CPU lacks; code for target1 needs fma, which this "
            "CPU lacks");
  EXPECT_EQ(MissingFeatures(PlanWithImages({}), {}), "the plan has no code");
}

// Runs gdb on this very program, stopped where an image is registered, and then in a kernel.
TEST(CpuImage, GdbShowsKernelsByNameAndLine) {
  if (std::system("command -v gdb >/dev/null 2>&1") != 0) GTEST_SKIP() << "gdb is not installed";
  const std::string output = OutputOf(
      absl::StrCat("gdb -nx -batch -ex 'break ToyStop' -ex run "
                   "-ex 'info symbol *(unsigned long*)&toy_address' "
                   "-ex 'info line *(*(unsigned long*)&toy_address + 5)' "
                   "-ex 'break **(unsigned long*)&toy_address' "
                   "-ex 'call ((void (*)(long, long, long, long, long))"
                   "*(unsigned long*)&toy_address)(0, 0, 0, 0, 0)' -ex 'bt 1' --args /proc/",
                   getpid(),
                   "/exe --gtest_filter=CpuImage.DISABLED_StopsForGdb "
                   "--gtest_also_run_disabled_tests"));
  if (absl::StrContains(output, "ptrace")) GTEST_SKIP() << "gdb may not trace here";
  // A symbol without its entry: gdb takes two underscores for an Ada name.
  EXPECT_TRUE(absl::StrContains(output, "sum__toy in section .text") ||
              absl::StrContains(output, "sum.toy in section .text"))
      << output;
  EXPECT_TRUE(absl::StrContains(output, "Line 31 of \"program.ir\"")) << output;
  EXPECT_TRUE(absl::StrContains(output, "sum__toy () at program.ir:30")) << output;
}

extern "C" {
volatile uintptr_t toy_address;
__attribute__((noinline)) void ToyStop() { asm volatile(""); }
}

TEST(CpuImage, DISABLED_StopsForGdb) {
  const auto image = LoadToy();
  toy_address = reinterpret_cast<uintptr_t>(image->kernel(2));
  ToyStop();
}

}  // namespace
}  // namespace ninfer::runtime
