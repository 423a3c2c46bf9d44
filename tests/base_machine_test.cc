// What the machine grants, on made-up /proc and /sys; and what a process does without memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "base/machine.h"

namespace ninfer {
namespace {

TEST(CpuFeatures, HiddenOnesAreLeftOut) {
  const absl::flat_hash_set<std::string> all = CpuFeatures();
  ASSERT_FALSE(all.empty());
  const std::string one = *all.begin();
  setenv("NINFER_HIDE_CPU_FEATURES", (one + ",nothing").c_str(), 1);
  const absl::flat_hash_set<std::string> fewer = CpuFeatures();
  unsetenv("NINFER_HIDE_CPU_FEATURES");
  EXPECT_EQ(fewer.size(), all.size() - 1);
  EXPECT_FALSE(fewer.contains(one));
}

class MemoryLimitTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = ::testing::TempDir() + "/memory_limit";
    std::filesystem::remove_all(root_);
    Put("/proc/meminfo", "MemTotal:       1000 kB\nMemFree:  9 kB\nSwapTotal:        24 kB\n");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void Put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }

  std::string root_;
};

TEST_F(MemoryLimitTest, IsMemoryAndSwapWhereNothingLimitsIt) {
  EXPECT_EQ(MemoryLimit(root_), 1024u << 10);
  Put("/proc/self/cgroup", "0::/box\n");
  Put("/sys/fs/cgroup/box/memory.max", "max\n");
  EXPECT_EQ(MemoryLimit(root_), 1024u << 10);
}

TEST_F(MemoryLimitTest, IsTheLeastOfTheGroupsOfEitherVersion) {
  Put("/proc/self/cgroup", "0::/box/inner\n");
  Put("/sys/fs/cgroup/box/inner/memory.max", "max\n");
  Put("/sys/fs/cgroup/box/memory.max", "70000\n");
  EXPECT_EQ(MemoryLimit(root_), 70000u);
  Put("/proc/self/cgroup", "4:cpu:/\n5:memory:/box\n");
  Put("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "60000\n");
  EXPECT_EQ(MemoryLimit(root_), 60000u);
}

TEST_F(MemoryLimitTest, IsAtMostTheProcessLimit) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitiser needs more than any limit leaves";
#endif
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_DATA, &before), 0);
  Put("/proc/meminfo", "MemTotal: 99999999999 kB\n");
  rlimit lowered = before;
  lowered.rlim_cur = uint64_t{1} << 40;
  ASSERT_EQ(setrlimit(RLIMIT_DATA, &lowered), 0);
  EXPECT_EQ(MemoryLimit(root_), uint64_t{1} << 40);
  EXPECT_THAT(
      std::string(CheckFitsMemory("the cake", uint64_t{1} << 62).message()),
      ::testing::MatchesRegex("the cake: expected at most [0-9]+ bytes, the memory that this "
                              "process may have, found 4611686018427387904"));
  EXPECT_TRUE(CheckFitsMemory("the crumb", 1).ok());
  setrlimit(RLIMIT_DATA, &before);
}

TEST(EndWhenOutOfMemoryTest, EndsWithOneLineAndStatusTwo) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitiser's allocator ends the process itself";
#endif
  EXPECT_EXIT(
      {
        EndWhenOutOfMemory();
        std::vector<char> never(uint64_t{1} << 62);
        never[never.size() / 2] = 1;
      },
      ::testing::ExitedWithCode(2), "^base_machine_test: out of memory: [^\n]*\n$");
}

}  // namespace
}  // namespace ninfer
