// Plans that are written come back as they were, from a file and in memory, with their weights
// where the options say, and what is wrong is refused by name.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>

#include "absl/strings/match.h"
#include "base/file.h"
#include "base/hash.h"
#include "plan/codec.h"
#include "plan/container.h"
#include "plan/memory.h"
#include "plan/reader.h"
#include "plan/sections.h"
#include "plan/writer.h"
#include "tests/plan_example.h"

namespace ninfer::plan {
namespace {

std::string TempPath(const std::string& name) {
  return JoinPath(GetEnv("TEST_TMPDIR", ::testing::TempDir()), name);
}

std::string Read(const std::string& path) { return ReadFile(path).value(); }

std::string WriteExample(const Plan& plan, const std::string& name) {
  const std::string path = TempPath(name);
  const absl::Status status = WritePlan(plan, ExampleWeights(), path);
  EXPECT_TRUE(status.ok()) << status;
  return path;
}

TEST(Plan, SectionsComeBackAsTheyWere) {
  const Plan plan = ExamplePlan();
  const std::string bytes = SerializeSections(plan);
  const absl::StatusOr<Plan> read = ParseSections(bytes, "memory");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(SerializeSections(*read), bytes);
  EXPECT_EQ(read->metadata.model_name, "tiny");
  EXPECT_EQ(read->metadata.bos_id, 0);
  EXPECT_EQ(read->metadata.pad_id, absl::nullopt);
  EXPECT_EQ(read->metadata.eos_ids, (std::vector<int32_t>{2, 3}));
  EXPECT_EQ(read->metadata.temperature, 0.5);
  EXPECT_EQ(read->metadata.top_k, absl::nullopt);
  EXPECT_EQ(read->entries[0].launches[1].barrier, Barrier::kMany);
  EXPECT_EQ(read->entries[0].launches[0].provenance, "layer 0");
  EXPECT_EQ(read->kv_layers[0].dtype, DType::kBF16);
  EXPECT_EQ(read->images[0].kernels[1].name, "head__zen4");
  EXPECT_EQ(read->images[0].kernels[1].offset, 64);
  EXPECT_EQ(read->images[0].kernels[1].stack_bytes, 8);
  ASSERT_EQ(read->images[0].kernels[1].lines.size(), 2u);
  EXPECT_EQ(read->images[0].kernels[1].lines[1].offset, 4u);
  EXPECT_EQ(read->images[0].kernels[1].lines[1].line, 5u);
  EXPECT_EQ(read->evidence.max_error, 1e-6);
  EXPECT_EQ(read->evidence.code_error, 1e-7);
  EXPECT_EQ(read->provenance.passes[0].seconds, 0.25);
  EXPECT_EQ(read->tokenizer, "tables");
}

TEST(Plan, HowAModelSeesComesBackAsItWas) {
  const std::string bytes = SerializeSections(ExamplePlanThatSees());
  const absl::StatusOr<Plan> read = ParseSections(bytes, "memory");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(SerializeSections(*read), bytes);
  ASSERT_TRUE(read->vision.has_value());
  EXPECT_EQ(read->vision->scale_factor, 2);
  EXPECT_EQ(read->vision->image_std, (std::vector<double>{0.5, 0.5, 0.5}));
  EXPECT_EQ(read->vision->global_image_token, "<global>");
  EXPECT_EQ(read->vision->function->entries[0].name, "vision");
  EXPECT_FALSE(ParseSections(SerializeSections(ExamplePlan()), "memory")->vision.has_value());
}

TEST(Plan, WhatIsForCardsComesBackAsItWas) {
  const std::string bytes = SerializeSections(ExamplePlanForCards());
  const absl::StatusOr<Plan> read = ParseSections(bytes, "memory");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(SerializeSections(*read), bytes);
  ASSERT_TRUE(read->cards.has_value());
  EXPECT_EQ(read->cards->functions[1].name, "head_row");
  EXPECT_EQ(read->cards->functions[1].most_rows, 1);
  EXPECT_EQ(read->cards->functions[2].grid[1].symbol, 0);
  EXPECT_TRUE(read->cards->images[1].ptx);
  EXPECT_EQ(CpuWeightBytes(*read), 0u);
  EXPECT_FALSE(ParseSections(SerializeSections(ExamplePlan()), "memory")->cards.has_value());
}

// A damaged block is found by those who read it, and by nobody else.
TEST(Plan, OfAPlanForBothKindsOfMachineEachLoadsItsOwnWeights) {
  Plan plan = ExamplePlan();
  plan.cards = ExamplePlanForCards().cards;
  plan.cards->weights_offset = kWeightAlignment;
  plan.weight_bytes = kWeightAlignment + 128;
  std::vector<uint8_t> memory(plan.weight_bytes + 64);
  uint8_t* weights = memory.data() + 64 - reinterpret_cast<uintptr_t>(memory.data()) % 64;
  for (uint64_t i = 0; i < plan.weight_bytes; ++i) weights[i] = static_cast<uint8_t>(i % 251);
  const std::string path = TempPath("both.bin");
  ASSERT_TRUE(WritePlan(plan, weights, path).ok());
  const auto read = [&path](WeightsFor part) {
    return ReadPlan(path, {.weights_for = [part](const Plan&) { return part; }});
  };
  const auto cpu = read(WeightsFor::kCpu), cards = read(WeightsFor::kCards);
  ASSERT_TRUE(cpu.ok() && cards.ok()) << cpu.status() << cards.status();
  EXPECT_EQ(std::memcmp(cpu->weights, weights, kWeightAlignment), 0);
  EXPECT_EQ(cpu->card_weights, nullptr);
  EXPECT_EQ(std::memcmp(cards->card_weights, weights + kWeightAlignment, 128), 0);
  EXPECT_EQ(cards->weights, nullptr);
  const auto all = ReadPlan(path, {});
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->card_weights, all->weights + kWeightAlignment);

  std::string bytes = Read(path);
  bytes[bytes.size() - 1] ^= 1;
  ASSERT_TRUE(WriteFile(path, bytes).ok());
  EXPECT_TRUE(read(WeightsFor::kCpu).ok());
  EXPECT_TRUE(absl::StrContains(read(WeightsFor::kCards).status().message(),
                                "section weight data: block 2: expected checksum"));
}

TEST(Plan, AFileComesBackWithItsWeightsMappedOrCopied) {
  const std::string path = WriteExample(ExamplePlan(), "whole.bin");
  for (WeightsMemory memory : {WeightsMemory::kAuto, WeightsMemory::kMap, WeightsMemory::kCopy}) {
    for (bool verify : {true, false}) {
      const absl::StatusOr<LoadedPlan> loaded =
          ReadPlan(path, {.verify = verify, .weights_memory = memory});
      ASSERT_TRUE(loaded.ok()) << loaded.status();
      EXPECT_EQ(SerializeSections(loaded->plan), SerializeSections(ExamplePlan()));
      EXPECT_EQ(std::memcmp(loaded->weights, ExampleWeights(), 128), 0);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(loaded->weights) % kHugePage, 0);
      EXPECT_EQ(loaded->weights_memory, memory == WeightsMemory::kCopy ? "copied" : "mapped");
    }
  }
}

TEST(Plan, WeightsLieAtAMultipleOfTwoMebibytesInTheFile) {
  const std::string bytes = Read(WriteExample(ExamplePlan(), "aligned.bin"));
  EXPECT_EQ(bytes.size() - 128, kWeightAlignment);
  EXPECT_EQ(bytes.substr(kWeightAlignment),
            std::string(reinterpret_cast<const char*>(ExampleWeights()), 128));
}

TEST(Plan, WeightsOfManyBlocksAreVerifiedByManyThreads) {
  Plan plan = ExamplePlan();
  plan.weight_bytes = (9 << 20) + 640;
  std::vector<uint8_t> weights(plan.weight_bytes);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<uint8_t>(i * 31 >> 8);
  const std::string path = TempPath("blocks.bin");
  ASSERT_TRUE(WritePlan(plan, weights.data(), path, 3).ok());
  for (int threads : {1, 2, 5}) {
    for (WeightsMemory memory : {WeightsMemory::kMap, WeightsMemory::kCopy}) {
      const absl::StatusOr<LoadedPlan> loaded =
          ReadPlan(path, {.weights_memory = memory, .threads = threads});
      ASSERT_TRUE(loaded.ok()) << loaded.status();
      EXPECT_EQ(std::memcmp(loaded->weights, weights.data(), weights.size()), 0);
    }
  }
  std::string bytes = Read(path);
  bytes[bytes.size() - 1] ^= 1;
  ASSERT_TRUE(WriteFile(path, bytes).ok());
  const absl::Status status = ReadPlan(path, {.threads = 2}).status();
  EXPECT_TRUE(absl::StrContains(status.message(),
                                "blocks.bin: section weight data: block 9: expected checksum "))
      << status;
}

// Too low and too high a guess, by less and by more than all of them.
TEST(Plan, WeightsPackedIntoTheFileGiveTheSameFileWhereverTheyWereExpected) {
  Plan plan = ExamplePlan();
  plan.weight_bytes = (9 << 20) + 640;
  std::vector<uint8_t> weights(plan.weight_bytes);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<uint8_t>(i * 31 >> 8);
  const std::string path = TempPath("expected.bin");
  ASSERT_TRUE(WritePlan(plan, weights.data(), path, 2).ok());
  const std::string expected = Read(path);
  for (const uint64_t guess : {0, 1 << 20, 3 << 20, 40 << 20}) {
    const std::string found = TempPath("found.bin");
    auto file = PlanFile::Create(found);
    ASSERT_TRUE(file.ok()) << file.status();
    auto memory = (*file)->AllocateWeights(plan.weight_bytes, guess);
    ASSERT_TRUE(memory.ok()) << memory.status();
    ASSERT_EQ((*memory)->data()[plan.weight_bytes - 1], 0);
    std::memcpy((*memory)->data(), weights.data(), weights.size());
    ASSERT_TRUE((*file)->Write(plan, (*memory)->data(), 2).ok());
    EXPECT_TRUE(Read(found) == expected) << guess;
  }
}

TEST(Plan, AFileThatIsNotWrittenLeavesNothing) {
  const std::string path = TempPath("never.bin");
  {
    auto file = PlanFile::Create(path);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE((*file)->AllocateWeights(5000, 100).ok());
  }
  EXPECT_FALSE(FileExists(path));
}

TEST(Plan, EqualContentHasEqualDigestsAndProvenanceIsLeftOut) {
  Plan plan = ExamplePlan();
  const std::string first = ParseSections(SerializeSections(plan), "a")->content_digest;
  EXPECT_EQ(first.size(), 32);
  plan.provenance.passes[0].seconds = 99;
  EXPECT_EQ(ParseSections(SerializeSections(plan), "b")->content_digest, first);
  plan.kernels[0].scratch_bytes = 64;
  EXPECT_NE(ParseSections(SerializeSections(plan), "c")->content_digest, first);
}

TEST(Plan, TheDigestOfAFileCoversTheWeights) {
  const std::string path = WriteExample(ExamplePlan(), "digest.bin");
  const std::string first = ReadPlan(path, {})->plan.content_digest;
  std::vector<uint8_t> weights(ExampleWeights(), ExampleWeights() + 128);
  weights[5] ^= 1;
  ASSERT_TRUE(WritePlan(ExamplePlan(), weights.data(), path).ok());
  EXPECT_NE(ReadPlan(path, {})->plan.content_digest, first);
}

TEST(Plan, APlanInMemoryUsesTheSameReader) {
  const std::string bytes = SerializeSections(ExamplePlan());
  const auto owner = std::make_shared<int>(1);
  const absl::StatusOr<LoadedPlan> loaded =
      PlanInMemory(bytes, "compiled plan", ExampleWeights(), 128, owner);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->weights, ExampleWeights());
  EXPECT_EQ(loaded->weights_memory, "in memory");
  EXPECT_EQ(owner.use_count(), 2);
  EXPECT_EQ(PlanInMemory(bytes, "compiled plan", ExampleWeights(), 64, owner).status().message(),
            "compiled plan: weights: expected 128 bytes, found 64");
}

TEST(Plan, WhatIsNoPlanIsRefused) {
  const std::string path = TempPath("other.bin");
  ASSERT_TRUE(WriteFile(path, "GGUF").ok());
  EXPECT_EQ(ReadPlan(path, {}).status().message(),
            path + ": not a plan: expected 64 bytes at least, found 4");
  ASSERT_TRUE(WriteFile(path, std::string(100, 'x')).ok());
  EXPECT_EQ(ReadPlan(path, {}).status().message(),
            path + ": not a plan: expected to begin with \"\\x89NINFER\\n\", found \"xxxxxxxx\"");
  EXPECT_EQ(ReadPlan("/nowhere.bin", {}).status().message(),
            "/nowhere.bin: cannot open: No such file or directory");
  EXPECT_EQ(ReadPlan("/", {}).status().message(), "/: not a plan: not a regular file");
  EXPECT_EQ(ReadPlan("/dev/null", {}).status().message(),
            "/dev/null: not a plan: not a regular file");
}

TEST(Plan, SectionsWithoutWeightsAreNoFile) {
  const std::string path = TempPath("sections.bin");
  ASSERT_TRUE(WriteFile(path, SerializeSections(ExamplePlan())).ok());
  EXPECT_EQ(ReadPlan(path, {}).status().message(),
            path +
                ": section weight data: expected data and checksums, found none: these are "
                "sections for use in memory");
}

TEST(Plan, AFileIsNotTakenForSectionsInMemory) {
  const std::string bytes = Read(WriteExample(ExamplePlan(), "file.bin"));
  EXPECT_EQ(ParseSections(bytes, "memory").status().message(),
            "memory: expected sections without weight data, found a plan file");
}

// Changes the header or table and makes its checksum right again, as another version would write
// it.
std::string Edit(std::string bytes, uint64_t offset, uint64_t value, int size) {
  std::string replacement;
  PutLittleEndian(&replacement, value, size);
  bytes.replace(offset, size, replacement);
  const uint64_t end = kHeaderBytes + GetLittleEndian(&bytes[24], 4) * kRowBytes;
  std::string checksum;
  PutLittleEndian(&checksum,
                  Hash64(bytes.substr(0, 56) + bytes.substr(kHeaderBytes, end - kHeaderBytes)), 8);
  bytes.replace(56, 8, checksum);
  return bytes;
}

std::string MessageOf(const std::string& bytes) {
  return std::string(ParseSections(bytes, "p").status().message());
}

TEST(Plan, ANewerVersionIsRefused) {
  const std::string bytes = SerializeSections(ExamplePlan());
  EXPECT_EQ(MessageOf(Edit(bytes, 12, 2, 2)),
            "p: header: expected version to read 1 at most, found 2; compile the model again");
  EXPECT_EQ(MessageOf(Edit(bytes, 12, 0, 2)),
            "p: header: expected version to read 1 at most, found 0; compile the model again");
  // A newer version to write alone does not keep an older program from reading.
  EXPECT_EQ(MessageOf(Edit(bytes, 14, 7, 2)), "");
}

TEST(Plan, AnOlderFormOfTheMetadataIsRead) {
  Contents contents;
  contents.plan = ExamplePlan();
  const std::string bytes = EncodeSection(Section::kMetadata, contents);
  Contents read;
  const absl::string_view third = absl::string_view(bytes).substr(0, bytes.size() - 1);
  const absl::string_view second = third.substr(0, third.size() - 2);
  const absl::string_view first = second.substr(0, second.size() - 9);
  ASSERT_TRUE(DecodeSection(Section::kMetadata, 1, first, "p", &read, nullptr).ok());
  EXPECT_EQ(read.plan.metadata.weights_dtype, "f32");
  EXPECT_EQ(read.plan.metadata.rope_crossing, 0);
  ASSERT_TRUE(DecodeSection(Section::kMetadata, 2, second, "p", &read, nullptr).ok());
  EXPECT_TRUE(read.plan.metadata.rope_by_length);
  EXPECT_EQ(read.plan.metadata.rope_crossing, 48);
  ASSERT_TRUE(DecodeSection(Section::kMetadata, 3, third, "p", &read, nullptr).ok());
  EXPECT_FALSE(read.plan.metadata.max_new_tokens.has_value());
}

TEST(Plan, TheOtherByteOrderIsRefused) {
  EXPECT_EQ(MessageOf(Edit(SerializeSections(ExamplePlan()), 8, 0x04030201, 4)),
            "p: header: expected byte order 16909060, found 67305985");
}

// The row of the i-th section begins here.
uint64_t RowAt(int i) { return kHeaderBytes + i * kRowBytes; }

TEST(Plan, ASectionThatMustBeUnderstoodIsRefusedWhenItIsNot) {
  const std::string bytes = SerializeSections(ExamplePlan());
  EXPECT_EQ(MessageOf(Edit(bytes, RowAt(0) + 4, 5, 2)),
            "p: section metadata: expected version 4 at most, found 5");
  EXPECT_EQ(MessageOf(Edit(bytes, RowAt(0), 999, 4)),
            "p: section of type 999: must be understood, and this program does not know it");
}

TEST(Plan, ASectionThatMayBeSkippedIsSkippedWhenItIsNewerOrUnknown) {
  const std::string bytes = SerializeSections(ExamplePlan());
  // Row 8 is the kernel symbols. The digest covers versions and types, so it is made anew as well.
  const auto reseal = [](const std::string& edited) {
    Container container;
    const uint64_t count = GetLittleEndian(&edited[24], 4);
    for (uint64_t i = 0; i < count; ++i) {
      const char* row = &edited[RowAt(static_cast<int>(i))];
      container.rows.push_back({static_cast<uint32_t>(GetLittleEndian(row, 4)),
                                static_cast<uint16_t>(GetLittleEndian(row + 4, 2)),
                                static_cast<uint16_t>(GetLittleEndian(row + 6, 2)), 0,
                                GetLittleEndian(row + 16, 8), GetLittleEndian(row + 24, 8)});
    }
    LayOut(&container);
    const std::string header = SerializeContainer(container);
    return header + edited.substr(header.size());
  };
  const absl::StatusOr<Plan> newer = ParseSections(reseal(Edit(bytes, RowAt(8) + 4, 2, 2)), "p");
  ASSERT_TRUE(newer.ok()) << newer.status();
  EXPECT_EQ(newer->images[0].kernels[0].name, "");
  EXPECT_EQ(newer->images[0].kernels[1].offset, 64);
  const absl::StatusOr<Plan> unknown = ParseSections(reseal(Edit(bytes, RowAt(8), 999, 4)), "p");
  ASSERT_TRUE(unknown.ok()) << unknown.status();
  EXPECT_EQ(unknown->images[0].kernels[0].name, "");
}

TEST(Plan, EachRowOfTheTableIsChecked) {
  const std::string bytes = SerializeSections(ExamplePlan());
  EXPECT_EQ(MessageOf(Edit(bytes, RowAt(0) + 6, 3, 2)),
            "p: section metadata: expected flags 0 or 1, found 3");
  EXPECT_EQ(MessageOf(Edit(bytes, RowAt(0) + 4, 0, 2)),
            "p: section metadata: expected a version, found 0");
  EXPECT_EQ(MessageOf(Edit(bytes, RowAt(0) + 8, 64, 8)),
            "p: section metadata: expected at offset 640, found 64");
  EXPECT_TRUE(absl::StartsWith(MessageOf(Edit(bytes, RowAt(0) + 16, ~uint64_t{0}, 8)),
                               "p: section metadata: expected to end within "));
  EXPECT_EQ(MessageOf(Edit(bytes, RowAt(1), 1, 4)),
            "p: section metadata: expected once, found twice");
  EXPECT_EQ(MessageOf(Edit(bytes, 28, 1, 4)),
            "p: header: expected reserved bytes to be 0, found others");
  EXPECT_TRUE(absl::StartsWith(MessageOf(Edit(bytes, 32, 1, 8)),
                               "p: header: expected content digest 01000000"));
  EXPECT_EQ(MessageOf(bytes + '\0'), absl::StrCat("p: header: expected a file of ", bytes.size(),
                                                  " bytes, found ", bytes.size() + 1));
}

// Readers hold what lies before the weights' data, and nothing behind it.
TEST(Plan, SectionsBehindTheWeightsAreRefused) {
  const std::string bytes = Read(WriteExample(ExamplePlan(), "behind.bin"));
  absl::StatusOr<Container> container = ParseContainer(bytes, bytes.size(), "p");
  ASSERT_TRUE(container.ok()) << container.status();
  std::swap(container->rows.end()[-1], container->rows.end()[-2]);
  LayOut(&*container);
  std::string swapped = SerializeContainer(*container);
  swapped.resize(container->file_size);
  const std::string path = TempPath("swapped.bin");
  ASSERT_TRUE(WriteFile(path, swapped).ok());
  EXPECT_EQ(ReadPlan(path, {}).status().message(),
            path + ": section weight data: expected to be the last, found 1 behind it");
}

TEST(Plan, AFileThatCannotBeWrittenIsNamedAndLeavesNothing) {
  const std::string path = TempPath("no-such-folder/plan.bin");
  EXPECT_EQ(WritePlan(ExamplePlan(), ExampleWeights(), path).message(),
            path + ": cannot write: No such file or directory");
}

TEST(Plan, WeightsMemoryHasThreeNames) {
  EXPECT_EQ(*WeightsMemoryFromName("map"), WeightsMemory::kMap);
  EXPECT_EQ(WeightsMemoryFromName("swap").status().message(),
            "--weights-memory: expected auto, map or copy, found \"swap\"");
}

}  // namespace
}  // namespace ninfer::plan
