// A plan that was cut at any byte, or has any byte changed, is refused: nothing in the file is
// without meaning, and nothing with meaning is without a check.
#include <gtest/gtest.h>

#include "base/file.h"
#include "plan/container.h"
#include "plan/reader.h"
#include "plan/writer.h"
#include "tests/plan_example.h"

namespace ninfer::plan {
namespace {

std::string TempPath() {
  return JoinPath(GetEnv("TEST_TMPDIR", ::testing::TempDir()), "corrupt.bin");
}

// One line that begins with the file's name.
void ExpectRefused(const absl::Status& status, const std::string& name, uint64_t at) {
  EXPECT_FALSE(status.ok()) << "at byte " << at;
  EXPECT_EQ(status.message().find('\n'), absl::string_view::npos) << status;
  EXPECT_EQ(status.message().substr(0, name.size() + 2), name + ": ") << status;
}

TEST(PlanCorruption, SectionsCutAtEveryByteAreRefused) {
  const std::string bytes = SerializeSections(ExamplePlan());
  for (uint64_t size = 0; size < bytes.size(); ++size) {
    ExpectRefused(ParseSections(bytes.substr(0, size), "memory").status(), "memory", size);
  }
}

TEST(PlanCorruption, SectionsWithAnyByteFlippedAreRefused) {
  std::string bytes = SerializeSections(ExamplePlan());
  const Plan plan = ParseSections(bytes, "memory").value();
  for (uint64_t at = 0; at < bytes.size(); ++at) {
    for (int flip : {0x01, 0x80, 0xff}) {
      bytes[at] = static_cast<char>(bytes[at] ^ flip);
      ExpectRefused(ParseSections(bytes, "memory").status(), "memory", at);
      bytes[at] = static_cast<char>(bytes[at] ^ flip);
    }
  }
  EXPECT_TRUE(ParseSections(bytes, "memory").ok());
}

// Everything but the long run of zeros before the weights, of which some places are tried.
std::vector<uint64_t> PlacesToTry(const std::string& bytes) {
  std::vector<uint64_t> places;
  const uint64_t sections_end = bytes.find_last_not_of('\0', kWeightAlignment - 1) + 1;
  for (uint64_t at = 0; at < sections_end + 70; ++at) places.push_back(at);
  for (uint64_t at = sections_end + 70; at < kWeightAlignment; at += 50021) places.push_back(at);
  for (uint64_t at = kWeightAlignment - 3; at < bytes.size(); ++at) places.push_back(at);
  return places;
}

TEST(PlanCorruption, AFileCutAnywhereIsRefused) {
  const std::string path = TempPath();
  ASSERT_TRUE(WritePlan(ExamplePlan(), ExampleWeights(), path).ok());
  const std::string bytes = ReadFile(path).value();
  for (uint64_t size : PlacesToTry(bytes)) {
    if (size % 7 != 0 && size < kWeightAlignment - 100) continue;  // each is a file to write
    ASSERT_TRUE(WriteFile(path, bytes.substr(0, size)).ok());
    ExpectRefused(ReadPlan(path, {}).status(), path, size);
  }
}

TEST(PlanCorruption, AFileWithAnyByteFlippedIsRefused) {
  const std::string path = TempPath();
  ASSERT_TRUE(WritePlan(ExamplePlan(), ExampleWeights(), path).ok());
  const std::string bytes = ReadFile(path).value();
  FILE* file = fopen(path.c_str(), "r+b");
  ASSERT_NE(file, nullptr);
  setvbuf(file, nullptr, _IONBF, 0);
  const auto put = [file](uint64_t at, int byte) {
    fseek(file, static_cast<long>(at), SEEK_SET);
    fputc(byte, file);
  };
  for (uint64_t at : PlacesToTry(bytes)) {
    put(at, bytes[at] ^ 0x10);
    ExpectRefused(ReadPlan(path, {}).status(), path, at);
    put(at, bytes[at]);
  }
  fclose(file);
  EXPECT_TRUE(ReadPlan(path, {}).ok());
}

}  // namespace
}  // namespace ninfer::plan
