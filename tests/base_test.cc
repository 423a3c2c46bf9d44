// Tests of base/: conversions between element types, files, bounds, hashes, and the status macros.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"

namespace ninfer {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr float kInf = std::numeric_limits<float>::infinity();

// ---- dtypes ----

TEST(DTypeTest, NamesRoundTripAndSizesAreTheirs) {
  const struct {
    DType dtype;
    const char* name;
    int64_t size;
  } rows[] = {{DType::kF32, "f32", 4}, {DType::kF16, "f16", 2}, {DType::kBF16, "bf16", 2},
              {DType::kF64, "f64", 8}, {DType::kI64, "i64", 8}, {DType::kI32, "i32", 4},
              {DType::kI8, "i8", 1},   {DType::kU8, "u8", 1},   {DType::kBool, "bool", 1}};
  for (const auto& row : rows) {
    EXPECT_EQ(DTypeName(row.dtype), row.name);
    EXPECT_EQ(DTypeSize(row.dtype), row.size) << row.name;
    EXPECT_EQ(DTypeFromName(row.name), row.dtype);
  }
  EXPECT_EQ(DTypeFromName("f8"), std::nullopt);
  EXPECT_EQ(DTypeFromName(""), std::nullopt);
}

TEST(DTypeTest, OnlyFloatsAreFloats) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF64}) {
    EXPECT_TRUE(IsFloat(dtype)) << DTypeName(dtype);
  }
  for (DType dtype : {DType::kI64, DType::kI32, DType::kI8, DType::kU8, DType::kBool}) {
    EXPECT_FALSE(IsFloat(dtype)) << DTypeName(dtype);
  }
}

// One half-precision format, so that both stand the same tests.
struct Half {
  const char* name;
  float (*to_float)(uint16_t);
  uint16_t (*from_float)(float);
  uint16_t infinity;
};

class HalfTest : public ::testing::TestWithParam<Half> {};

TEST_P(HalfTest, EveryValueRoundTrips) {
  const Half& half = GetParam();
  for (uint32_t i = 0; i < 65536; ++i) {
    const uint16_t bits = static_cast<uint16_t>(i);
    const float value = half.to_float(bits);
    if ((bits & 0x7fff) > half.infinity) {
      ASSERT_TRUE(std::isnan(value)) << i;
      const uint16_t back = half.from_float(value);
      ASSERT_GT(back & 0x7fff, half.infinity) << i << ": a NaN must stay one";
      ASSERT_EQ(back & 0x8000, bits & 0x8000) << i;
    } else {
      ASSERT_EQ(half.from_float(value), bits) << i;
      ASSERT_EQ(std::signbit(value), (bits & 0x8000) != 0) << i;
    }
  }
}

// Between each two neighbours: half way goes to the even one, anything else to the nearer.
TEST_P(HalfTest, EveryBoundaryRoundsToNearestTiesToEven) {
  const Half& half = GetParam();
  for (uint16_t low = 0; low + 1 < half.infinity; ++low) {
    const uint16_t high = low + 1;
    const double sum = double{half.to_float(low)} + double{half.to_float(high)};
    const float middle = static_cast<float>(sum / 2);
    ASSERT_EQ(double{middle}, sum / 2) << low << ": the middle must be exact in f32";
    const uint16_t even = (low & 1) == 0 ? low : high;
    ASSERT_EQ(half.from_float(middle), even) << low;
    ASSERT_EQ(half.from_float(std::nextafter(middle, 0.0f)), low) << low;
    ASSERT_EQ(half.from_float(std::nextafter(middle, kInf)), high) << low;
    ASSERT_EQ(half.from_float(-middle), even | 0x8000) << low;
  }
}

TEST_P(HalfTest, OverflowGivesInfinityFromHalfAStepAboveTheLargest) {
  const Half& half = GetParam();
  const uint16_t largest = half.infinity - 1;
  const float value = half.to_float(largest);
  const float step = value - half.to_float(largest - 1);
  const float tie = static_cast<float>(double{value} + double{step} / 2);
  EXPECT_EQ(half.from_float(std::nextafter(tie, 0.0f)), largest);
  EXPECT_EQ(half.from_float(tie), half.infinity);
  EXPECT_EQ(half.from_float(kInf), half.infinity);
  EXPECT_EQ(half.from_float(-kInf), half.infinity | 0x8000);
  EXPECT_EQ(half.from_float(std::numeric_limits<float>::max()), half.infinity);
}

TEST_P(HalfTest, NaNsWithOnlyLowBitsStayNaN) {
  const Half& half = GetParam();
  for (uint32_t bits : {0x7f800001u, 0xff800001u, 0x7fffffffu, 0x7fc00000u}) {
    const uint16_t found = half.from_float(std::bit_cast<float>(bits));
    EXPECT_GT(found & 0x7fff, half.infinity) << bits;
    EXPECT_EQ(found >> 15, bits >> 31) << bits;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, HalfTest,
                         ::testing::Values(Half{"f16", F16ToFloat, FloatToF16, 0x7c00},
                                           Half{"bf16", Bf16ToFloat, FloatToBf16, 0x7f80}),
                         [](const auto& info) { return info.param.name; });

TEST(F16Test, TinyValuesGoToZeroOrTheSmallestSubnormal) {
  EXPECT_EQ(FloatToF16(std::ldexp(1.0f, -25)), 0x0000);  // a tie, to even
  EXPECT_EQ(FloatToF16(std::nextafter(std::ldexp(1.0f, -25), 1.0f)), 0x0001);
  EXPECT_EQ(FloatToF16(-std::ldexp(1.0f, -30)), 0x8000);
  EXPECT_EQ(FloatToF16(std::numeric_limits<float>::denorm_min()), 0x0000);
  EXPECT_EQ(FloatToF16(65504.0f), 0x7bff);
  EXPECT_EQ(F16ToFloat(0x0001), std::ldexp(1.0f, -24));
}

TEST(Bf16Test, RandomFloatsMatchArithmeticInDouble) {
  std::mt19937 random(1);
  for (int i = 0; i < 100000; ++i) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isfinite(value)) continue;
    const float found = Bf16ToFloat(FloatToBf16(value));
    if (!std::isfinite(found)) continue;
    const uint16_t bits = FloatToBf16(value);
    for (int step : {-1, 1}) {  // no neighbour is nearer
      const float other = Bf16ToFloat(static_cast<uint16_t>(bits + step));
      if (!std::isfinite(other)) continue;
      ASSERT_LE(std::abs(double{found} - value), std::abs(double{other} - value)) << value;
    }
  }
}

TEST(ConvertTest, EveryFloatTypeConvertsBothWays) {
  const std::vector<float> values = {0.0f, -0.0f, 1.0f, -2.5f, 0.15625f, kInf, -kInf};
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF64}) {
    std::vector<uint8_t> stored(values.size() * DTypeSize(dtype));
    std::vector<float> back(values.size());
    ConvertFromFloat(values.data(), dtype, stored.data(), values.size());
    ConvertToFloat(dtype, stored.data(), back.data(), values.size());
    EXPECT_EQ(back, values) << DTypeName(dtype);
    EXPECT_TRUE(std::signbit(back[1])) << DTypeName(dtype);
  }
}

TEST(ConvertDeathTest, AnIntegerTypeIsNamed) {
  float value = 0;
  int32_t target = 0;
  EXPECT_DEATH(ConvertToFloat(DType::kI32, &target, &value, 1), "not a float dtype: i32");
  EXPECT_DEATH(ConvertFromFloat(&value, DType::kBool, &target, 1), "not a float dtype: bool");
}

// ---- bounds ----

TEST(InBoundsTest, AcceptsWhatFitsAndRefusesWhatWrapsAround) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  EXPECT_TRUE(InBounds(0, 0, 0));
  EXPECT_TRUE(InBounds(0, 10, 10));
  EXPECT_TRUE(InBounds(10, 0, 10));
  EXPECT_TRUE(InBounds(4, 6, 10));
  EXPECT_FALSE(InBounds(4, 7, 10));
  EXPECT_FALSE(InBounds(11, 0, 10));
  EXPECT_FALSE(InBounds(1, kMax, 10));                               // 1 + max wraps to 0
  EXPECT_FALSE(InBounds(kMax, 1, 10));                               // the same the other way
  EXPECT_FALSE(InBounds(kMax - 4, 8, 10));                           // wraps to 3
  EXPECT_FALSE(InBounds(uint64_t{1} << 63, uint64_t{1} << 63, 10));  // wraps to 0
  EXPECT_TRUE(InBounds(kMax - 1, 1, kMax));
}

// ---- files ----

class FileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = JoinPath(::testing::TempDir(), info->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return JoinPath(folder_, name); }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  std::string folder_;
};

TEST_F(FileTest, MapsTheBytesOfAFile) {
  const std::string path = Path("a");
  ASSERT_TRUE(WriteFile(path, "hello").ok());
  auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->view(), "hello");
  EXPECT_EQ((*file)->size(), 5u);
  EXPECT_EQ((*file)->path(), path);
}

TEST_F(FileTest, AnEmptyFileMapsToNoBytes) {
  ASSERT_TRUE(WriteFile(Path("empty"), "").ok());
  auto file = MappedFile::Open(Path("empty"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->size(), 0u);
  EXPECT_EQ((*file)->view(), "");
}

TEST_F(FileTest, MappingNamesTheFileAndTheReason) {
  EXPECT_EQ(MappedFile::Open(Path("none")).status().message(),
            Path("none") + ": cannot open: No such file or directory");
  EXPECT_EQ(MappedFile::Open(folder_).status().message(),
            folder_ + ": cannot map: not a regular file");
  EXPECT_EQ(MappedFile::Open("/dev/null").status().message(),
            "/dev/null: cannot map: not a regular file");
}

TEST_F(FileTest, MappingANamedPipeIsRefusedWithoutWaiting) {
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(MappedFile::Open(Path("pipe")).status().message(),
            Path("pipe") + ": cannot map: not a regular file");
}

TEST_F(FileTest, ReadsWholeFilesUpToTheLimit) {
  const std::string contents(100000, 'x');
  ASSERT_TRUE(WriteFile(Path("a"), contents).ok());
  auto read = ReadFile(Path("a"), contents.size());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, contents);
  EXPECT_EQ(ReadFile(Path("a"), 99999).status().message(),
            Path("a") + ": expected at most 99999 bytes, found more");
  EXPECT_EQ(ReadFile(Path("none")).status().message(),
            Path("none") + ": cannot open: No such file or directory");
  EXPECT_EQ(ReadFile(folder_).status().message(), folder_ + ": cannot read: Is a directory");
}

TEST_F(FileTest, TellsFilesFromFolders) {
  ASSERT_TRUE(WriteFile(Path("a"), "x").ok());
  EXPECT_TRUE(FileExists(Path("a")));
  EXPECT_FALSE(FileExists(folder_));
  EXPECT_FALSE(FileExists(Path("none")));
  EXPECT_TRUE(IsDirectory(folder_));
  EXPECT_FALSE(IsDirectory(Path("a")));
}

TEST_F(FileTest, AtomicFileAppendsAndWritesAtOffsets) {
  auto file = AtomicFile::Create(Path("a"));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE((*file)->Append("ab", 2).ok());
  ASSERT_TRUE((*file)->WriteAt(4, "c", 1).ok());
  ASSERT_TRUE((*file)->Append("d", 1).ok());
  ASSERT_TRUE((*file)->WriteAt(0, "AB", 2).ok());
  EXPECT_EQ((*file)->size(), 6u);
  EXPECT_FALSE(FileExists(Path("a"))) << "nothing is there before Commit";
  ASSERT_TRUE((*file)->Commit().ok());
  EXPECT_EQ(ReadFile(Path("a")).value(), std::string("AB\0\0cd", 6));
  EXPECT_THAT(Names(), ElementsAre("a"));
}

TEST_F(FileTest, AtomicFileLeavesNothingWithoutCommit) {
  {
    auto file = AtomicFile::Create(Path("a"));
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE((*file)->Append("ab", 2).ok());
  }
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(FileTest, AtomicFileWithoutANameLeavesNothingOfAProcessThatIsKilled) {
  {
    auto file = AtomicFile::Create(Path("a"));
    ASSERT_TRUE(file.ok()) << file.status();
    if (!(*file)->nameless()) GTEST_SKIP() << "no such files here";
  }
  const pid_t child = fork();
  if (child == 0) {
    auto file = AtomicFile::Create(Path("a"));
    if (file.ok() && (*file)->Append("ab", 2).ok()) kill(getpid(), SIGKILL);
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(FileTest, AtomicFileReservesZerosAndKeepsWhatIsThere) {
  auto file = AtomicFile::Create(Path("a"));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE((*file)->Append("abc", 3).ok());
  ASSERT_TRUE((*file)->Reserve(6).ok());
  EXPECT_EQ((*file)->size(), 6u);
  ASSERT_TRUE((*file)->Append("de", 2).ok());
  ASSERT_TRUE((*file)->Truncate(7).ok());
  ASSERT_TRUE((*file)->Commit().ok());
  EXPECT_EQ(ReadFile(Path("a")).value(), std::string("abc\0\0\0d", 7));
}

TEST_F(FileTest, AtomicFileKeepsTheOldFileWithoutCommitAndReplacesItWith) {
  ASSERT_TRUE(WriteFile(Path("a"), "old").ok());
  {
    auto file = AtomicFile::Create(Path("a"));
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE((*file)->Append("new", 3).ok());
  }
  EXPECT_EQ(ReadFile(Path("a")).value(), "old");
  ASSERT_TRUE(WriteFile(Path("a"), "new").ok());
  EXPECT_EQ(ReadFile(Path("a")).value(), "new");
  EXPECT_THAT(Names(), ElementsAre("a"));
}

TEST_F(FileTest, AtomicFileReplacesOrMakesWhatALinkLeadsTo) {
  ASSERT_TRUE(WriteFile(Path("a"), "old").ok());
  ASSERT_EQ(symlink("a", Path("link").c_str()), 0);
  ASSERT_EQ(symlink(Path("link").c_str(), Path("link of a link").c_str()), 0);
  ASSERT_EQ(symlink("none yet", Path("dangling").c_str()), 0);
  ASSERT_EQ(symlink("loop", Path("loop").c_str()), 0);
  ASSERT_TRUE(WriteFile(Path("link of a link"), "new").ok());
  ASSERT_TRUE(WriteFile(Path("dangling"), "made").ok());
  EXPECT_EQ(*ReadFile(Path("a")), "new");
  EXPECT_EQ(*ReadFile(Path("none yet")), "made");
  for (const char* link : {"link", "link of a link", "dangling"}) {
    EXPECT_TRUE(std::filesystem::is_symlink(Path(link))) << link;
  }
  EXPECT_EQ(WriteFile(Path("loop"), "x").message(),
            absl::StrCat(Path("loop"), ": cannot write: Too many levels of symbolic links"));
}

TEST_F(FileTest, AtomicFileGivesTheUsersOrdinaryPermissions) {
  const mode_t mask = umask(0022);
  ASSERT_TRUE(WriteFile(Path("a"), "x").ok());
  umask(mask);
  struct stat info;
  ASSERT_EQ(stat(Path("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0644u);
}

TEST_F(FileTest, AtomicFileNamesAMissingFolder) {
  EXPECT_EQ(AtomicFile::Create(Path("none/a")).status().message(),
            Path("none/a") + ": cannot write: No such file or directory");
}

TEST_F(FileTest, AtomicFileNamesAnUnwritableFolder) {
  ASSERT_EQ(chmod(folder_.c_str(), 0555), 0);
  const bool root = geteuid() == 0;  // root may write anywhere: become nobody for the attempt
  ASSERT_EQ(seteuid(root ? 65534 : geteuid()), 0);
  const absl::Status status = AtomicFile::Create(Path("a")).status();
  ASSERT_EQ(seteuid(root ? 0 : geteuid()), 0);
  ASSERT_EQ(chmod(folder_.c_str(), 0755), 0);
  EXPECT_EQ(status.message(), Path("a") + ": cannot write: Permission denied");
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(FileTest, AtomicFileRefusesFoldersAndDevices) {
  EXPECT_EQ(AtomicFile::Create(folder_).status().message(),
            folder_ + ": cannot write: it is a folder");
  EXPECT_EQ(AtomicFile::Create("/dev/null").status().message(),
            "/dev/null: cannot write: not a regular file");
  EXPECT_EQ(AtomicFile::Create("/dev/full").status().message(),
            "/dev/full: cannot write: not a regular file");
}

// The limit on a file's size stands for a full disk: in both, a write stops part of the way.
TEST_F(FileTest, AtomicFileReportsAWriteThatStopsAndLeavesNothing) {
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit limit = {4096, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status status = WriteFile(Path("a"), std::string(10000, 'x'));
  absl::Status reserved = absl::OkStatus();
  {
    auto file = AtomicFile::Create(Path("b"));
    if (file.ok()) reserved = (*file)->Reserve(10000);
  }
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  signal(SIGXFSZ, old_handler);
  EXPECT_EQ(status.message(), Path("a") + ": cannot write: File too large");
  EXPECT_EQ(reserved.message(), Path("b") + ": cannot write: File too large");
  EXPECT_THAT(Names(), IsEmpty());
}

TEST(PathTest, JoinsWithOneSlash) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
}

TEST(GetEnvTest, GivesTheValueOrTheFallback) {
  setenv("NINFER_BASE_TEST", "value", 1);
  EXPECT_EQ(GetEnv("NINFER_BASE_TEST", "other"), "value");
  unsetenv("NINFER_BASE_TEST");
  EXPECT_EQ(GetEnv("NINFER_BASE_TEST", "other"), "other");
  EXPECT_EQ(GetEnv("NINFER_BASE_TEST"), "");
}

// ---- hashes ----

TEST(HashTest, MatchesThePublishedValuesOfTheEmptyInput) {
  EXPECT_EQ(Hash64(""), 0x2d06800538d394c2u);
  EXPECT_EQ(Hash128Hex("", 0), "99aa06d3014798d86001c324468d497f");
}

TEST(HashTest, DiffersByOneBit) {
  EXPECT_NE(Hash64("a"), Hash64("c"));
  EXPECT_NE(Hash128Hex("a", 1), Hash128Hex("c", 1));
}

// ---- status ----

absl::Status FailIf(bool fail) {
  return fail ? InvalidArgument("x.json: expected ", 1, ", found ", 2) : absl::OkStatus();
}

absl::Status Through(bool fail, int* reached) {
  NINFER_RETURN_IF_ERROR(FailIf(fail));
  ++*reached;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Halve(int value) {
  if (value % 2 != 0) return InvalidArgument(value, " is odd");
  return absl::StrCat(value / 2);
}

absl::StatusOr<std::string> Halves(int first, int second) {
  NINFER_ASSIGN_OR_RETURN(const std::string a, Halve(first));
  NINFER_ASSIGN_OR_RETURN(const std::string b, Halve(second));
  return a + b;
}

TEST(StatusTest, ReturnIfErrorPassesOnTheErrorOnly) {
  int reached = 0;
  EXPECT_TRUE(Through(false, &reached).ok());
  EXPECT_EQ(reached, 1);
  EXPECT_EQ(Through(true, &reached), absl::InvalidArgumentError("x.json: expected 1, found 2"));
  EXPECT_EQ(reached, 1);
}

TEST(StatusTest, AssignOrReturnGivesTheValueOrTheFirstError) {
  EXPECT_EQ(Halves(2, 4).value(), "12");
  EXPECT_EQ(Halves(3, 5).status().message(), "3 is odd");
  EXPECT_EQ(Halves(2, 5).status().message(), "5 is odd");
}

TEST(StatusTest, AnnotateSaysWhere) {
  EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok());
  EXPECT_EQ(Annotate(absl::NotFoundError("gone"), "x.json"), absl::NotFoundError("x.json: gone"));
}

TEST(CheckTest, DoesNothingWhenItHolds) {
  int evaluated = 0;
  NINFER_CHECK(++evaluated == 1) << "not printed";
  EXPECT_EQ(evaluated, 1);
}

TEST(CheckDeathTest, PrintsPlaceConditionAndMessage) {
  EXPECT_DEATH(NINFER_CHECK(1 > 2) << "node " << 7,
               "base_test.cc:[0-9]+: internal error: 1 > 2 node 7");
}

}  // namespace
}  // namespace ninfer
