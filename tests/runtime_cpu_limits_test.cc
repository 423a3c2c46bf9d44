// The CPUs that a process may use: the least quota on the way up from its cgroup, of either
// version.
#include <gtest/gtest.h>

#include "base/file.h"
#include "runtime/cpu_limits.h"
#include "runtime/plan_cache.h"

namespace ninfer::runtime {
namespace {

class CpuLimitsTest : public testing::Test {
 protected:
  CpuLimitsTest()
      : root_(JoinPath(GetEnv("TEST_TMPDIR", "."),
                       testing::UnitTest::GetInstance()->current_test_info()->name())) {}
  void Put(const std::string& path, const std::string& text) {
    ASSERT_TRUE(MakeParentFolders(root_ + path).ok());
    ASSERT_TRUE(WriteFile(root_ + path, text).ok());
  }
  std::string root_;
};

TEST_F(CpuLimitsTest, WithoutCgroupsThereIsNoQuota) {
  const CpuLimits limits = ReadCpuLimits("/nowhere");
  EXPECT_EQ(limits.quota, 0);
  EXPECT_FALSE(limits.cpus.empty());
  EXPECT_EQ(DefaultThreads(limits), static_cast<int>(limits.cpus.size()));
}

TEST_F(CpuLimitsTest, TheLeastQuotaUpToTheRootCounts) {
  Put("/proc/self/cgroup", "0::/a/b\n");
  Put("/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
  Put("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  Put("/sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(ReadCpuLimits(root_).quota, 1.5);
}

TEST_F(CpuLimitsTest, AQuotaOfVersionOneCounts) {
  Put("/proc/self/cgroup", "4:memory:/x\n2:cpu,cpuacct:/box\n0::/\n");
  Put("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "250000\n");
  Put("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(ReadCpuLimits(root_).quota, 2.5);
}

TEST_F(CpuLimitsTest, NoQuotaOfVersionOneIsMinusOne) {
  Put("/proc/self/cgroup", "1:cpu:/\n");
  Put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  Put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(ReadCpuLimits(root_).quota, 0);
}

TEST(DefaultThreads, AreWholeCpusOfTheQuotaAndOneAtLeast) {
  EXPECT_EQ(DefaultThreads({{0, 1, 2, 3}, 0}), 4);
  EXPECT_EQ(DefaultThreads({{0, 1, 2, 3}, 2.9}), 2);
  EXPECT_EQ(DefaultThreads({{0, 1, 2, 3}, 0.5}), 1);
  EXPECT_EQ(DefaultThreads({{0, 1}, 8}), 2);
}

}  // namespace
}  // namespace ninfer::runtime
