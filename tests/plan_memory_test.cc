// Memory for weights and caches: aligned, zeroed, huge where the kernel grants it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "base/file.h"
#include "plan/memory.h"

namespace ninfer::plan {
namespace {

TEST(PlanMemory, IsAlignedZeroAndWritable) {
  for (uint64_t bytes : {uint64_t{0}, uint64_t{1}, uint64_t{5000}, 3 * kHugePage + 1}) {
    auto memory = Memory::Allocate(bytes, "test");
    ASSERT_TRUE(memory.ok()) << memory.status();
    EXPECT_EQ((*memory)->bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>((*memory)->data()) % kHugePage, 0);
    for (uint64_t i = 0; i < bytes; i += 4096) EXPECT_EQ((*memory)->data()[i], 0);
    if (bytes > 0) std::memset((*memory)->data(), 1, bytes);
  }
}

TEST(PlanMemory, IsTakenFromTheSystemOnlyWhenTouched) {
  auto memory = Memory::Allocate(uint64_t{1} << 35, "test");
  ASSERT_TRUE(memory.ok()) << memory.status();
  (*memory)->data()[uint64_t{1} << 34] = 1;
}

TEST(PlanMemory, MoreThanThereIsIsRefused) {
  const absl::Status status = Memory::Allocate(uint64_t{1} << 60, "cache").status();
  EXPECT_EQ(status.message(),
            "cache: cannot take 1152921504606846976 bytes of memory: Cannot allocate memory");
  EXPECT_FALSE(Memory::Allocate(~uint64_t{0} - 4096, "cache").ok());
}

TEST(PlanMemory, OfAFileIsWrittenThrough) {
  const std::string path = ::testing::TempDir() + "/memory";
  ASSERT_TRUE(WriteFile(path, std::string(10000, 'a')).ok());
  const int fd = open(path.c_str(), O_RDWR);
  ASSERT_GE(fd, 0);
  {
    auto memory = Memory::MapShared(fd, 4096, 5000, path);
    ASSERT_TRUE(memory.ok()) << memory.status();
    EXPECT_EQ(reinterpret_cast<uintptr_t>((*memory)->data()) % kHugePage, 0);
    (*memory)->data()[4999] = 'b';
  }
  close(fd);
  std::string expected(10000, 'a');
  expected[4096 + 4999] = 'b';
  EXPECT_EQ(ReadFile(path).value(), expected);
}

TEST(PlanMemory, TellsWhatLiesInHugePages) {
  if (!HugePagesEnabled()) GTEST_SKIP() << "this kernel gives no huge pages";
  auto memory = Memory::Allocate(8 * kHugePage, "test");
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ((*memory)->huge_bytes(), 0);
  std::memset((*memory)->data(), 1, 8 * kHugePage);
  EXPECT_LE((*memory)->huge_bytes(), 8 * kHugePage);
  EXPECT_EQ((*memory)->huge_bytes() % kHugePage, 0);
}

TEST(PlanMemory, APrefixCanStayInSmallPages) {
  auto memory = Memory::Allocate(4 * kHugePage, "test", kHugePage);
  ASSERT_TRUE(memory.ok());
  std::memset((*memory)->data(), 1, kHugePage);
  EXPECT_EQ(HugeBytes((*memory)->data(), kHugePage), 0);
}

TEST(PlanMemory, SomeIsAvailable) { EXPECT_GT(AvailableMemory(), uint64_t{16} << 20); }

}  // namespace
}  // namespace ninfer::plan
