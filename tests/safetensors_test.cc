// The safetensors reader: what it reads, and the words with which it refuses what lies.
#include "frontend/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "frontend/checkpoint.h"
#include "tests/support/model_folder.h"
#include "tests/test_data.h"

namespace ninfer::frontend {
namespace {

using ::ninfer::testing::RandomTensor;
using ::ninfer::testing::RawSafetensors;
using ::ninfer::testing::SafetensorsBytes;
using ::ninfer::testing::TemporaryFolder;
using ::ninfer::testing::TestModel;
using ::ninfer::testing::TestTensor;
using ::ninfer::testing::TinyLlama;
using ::ninfer::testing::WriteShardedModel;
using ::ninfer::testing::WriteText;
using ::testing::ElementsAre;

std::string ErrorOf(absl::string_view bytes) {
  const auto tensors = ParseSafetensors("x.safetensors", bytes);
  return tensors.ok() ? "no error" : std::string(tensors.status().message());
}

// The error for this header before eight bytes of data.
std::string ErrorOfHeader(absl::string_view header) {
  return ErrorOf(RawSafetensors(header, "12345678"));
}

std::string Entry(absl::string_view name, absl::string_view dtype, absl::string_view shape,
                  absl::string_view offsets) {
  return absl::StrCat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape,
                      ",\"data_offsets\":", offsets, "}");
}

TEST(Safetensors, ReadsNamesTypesShapesAndBytesInTheOrderOfTheFile) {
  const std::vector<TestTensor> written = {RandomTensor("b", {2, 3}, "BF16"),
                                           RandomTensor("a", {5}, "F32")};
  const std::string bytes = SafetensorsBytes(written);
  const auto tensors = ParseSafetensors("x.safetensors", bytes);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  ASSERT_EQ(tensors->size(), 2u);
  for (int i = 0; i < 2; ++i) {
    const StoredTensor& tensor = (*tensors)[i];
    EXPECT_EQ(tensor.name, written[i].name);
    EXPECT_EQ(tensor.shape, written[i].shape);
    ASSERT_EQ(tensor.bytes, written[i].bytes.size());
    EXPECT_EQ(std::memcmp(tensor.data, written[i].bytes.data(), tensor.bytes), 0);
  }
  EXPECT_EQ((*tensors)[0].dtype, DType::kBF16);
  EXPECT_EQ((*tensors)[1].dtype, DType::kF32);
}

TEST(Safetensors, TakesScalarsEmptyTensorsMetadataAndTrailingSpaces) {
  const std::string header = absl::StrCat("{\"__metadata__\":{\"format\":\"pt\",\"x\":\"\"},",
                                          Entry("empty", "F32", "[3,0]", "[0,0]"), ",",
                                          Entry("scalar", "F64", "[]", "[0,8]"), "}   ");
  const std::string bytes = RawSafetensors(header, "12345678");
  const auto tensors = ParseSafetensors("x.safetensors", bytes);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  ASSERT_EQ(tensors->size(), 2u);
  EXPECT_THAT((*tensors)[0].shape, ElementsAre(3, 0));
  EXPECT_EQ((*tensors)[1].bytes, 8u);
}

TEST(Safetensors, AHeaderWithoutTensorsIsAFileWithoutData) {
  EXPECT_EQ(ErrorOf(RawSafetensors("{}", "")), "no error");
  EXPECT_EQ(ErrorOf(RawSafetensors("{}", "1")), "x.safetensors: expected 0 bytes of data, found 1");
}

TEST(Safetensors, RefusesALyingHeaderLength) {
  EXPECT_EQ(ErrorOf(""), "x.safetensors: expected 8 bytes of header length, found 0 bytes in all");
  EXPECT_EQ(ErrorOf("1234567"),
            "x.safetensors: expected 8 bytes of header length, found 7 bytes in all");
  EXPECT_EQ(ErrorOf(std::string("\x09\0\0\0\0\0\0\0{}", 10)),
            "x.safetensors: expected a header of 9 bytes, found 2 bytes left in the file");
  EXPECT_EQ(ErrorOf(std::string(8, '\xff') + "{}"),
            "x.safetensors: expected a header of at most 100000000 bytes, found a length of "
            "18446744073709551615");
}

TEST(Safetensors, RefusesAPointerOfGitLfsByName) {
  EXPECT_EQ(ErrorOf("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"),
            "x.safetensors: expected weights, found where git-lfs keeps them (git lfs pull)");
}

TEST(Safetensors, RefusesAHeaderThatIsNotAJsonObject) {
  EXPECT_EQ(ErrorOf(RawSafetensors("", "")),
            "x.safetensors: header: expected JSON, found a syntax error in line 1");
  EXPECT_EQ(ErrorOfHeader("{\n\n\"a\":"),
            "x.safetensors: header: expected JSON, found a syntax error in line 3");
  EXPECT_EQ(ErrorOfHeader("[1]"),
            "x.safetensors: header: expected a JSON object, found another value");
  EXPECT_EQ(ErrorOfHeader("{\"\xff\":1}"),
            "x.safetensors: header: expected JSON, found a syntax error in line 1");
  EXPECT_EQ(ErrorOfHeader(absl::StrCat("{\"a\":", std::string(100000, '['))),
            "x.safetensors: header: expected JSON at most 64 levels deep, found more");
}

TEST(Safetensors, RefusesANameThatStandsTwice) {
  EXPECT_EQ(ErrorOfHeader(absl::StrCat("{", Entry("w", "F32", "[1]", "[0,4]"), ",",
                                       Entry("w", "F32", "[1]", "[4,8]"), "}")),
            "x.safetensors: header: expected each key once, found \"w\" twice");
}

TEST(Safetensors, RefusesMetadataThatIsNotAMapOfStrings) {
  EXPECT_EQ(ErrorOfHeader("{\"__metadata__\":3}"),
            "x.safetensors: __metadata__: expected an object, found a number");
  EXPECT_EQ(ErrorOfHeader("{\"__metadata__\":{\"a\":null}}"),
            "x.safetensors: __metadata__: \"a\": expected a string, found null");
}

TEST(Safetensors, RefusesMalformedEntries) {
  EXPECT_EQ(ErrorOfHeader("{\"w\":[]}"),
            "x.safetensors: tensor \"w\": expected an object, found a list");
  EXPECT_EQ(ErrorOfHeader("{\"w\":{}}"),
            "x.safetensors: tensor \"w\": dtype: expected a string, found nothing");
  EXPECT_EQ(ErrorOfHeader("{\"w\":{\"dtype\":\"F32\"}}"),
            "x.safetensors: tensor \"w\": shape: expected a list, found nothing");
  EXPECT_EQ(ErrorOfHeader(absl::StrCat("{", Entry("w", "F32", "[1.5]", "[0,8]"), "}")),
            "x.safetensors: tensor \"w\": shape: expected sizes below 2^63, found 1.5");
  EXPECT_EQ(ErrorOfHeader(absl::StrCat("{", Entry("w", "F32", "[-1]", "[0,8]"), "}")),
            "x.safetensors: tensor \"w\": shape: expected sizes below 2^63, found -1");
  EXPECT_EQ(ErrorOfHeader(absl::StrCat("{", Entry("w", "F32", "[2]", "[0,8,9]"), "}")),
            "x.safetensors: tensor \"w\": data_offsets: expected two offsets, found [0,8,9]");
  EXPECT_EQ(ErrorOfHeader(absl::StrCat("{", Entry("w", "F32", "[2]", "[-8,8]"), "}")),
            "x.safetensors: tensor \"w\": data_offsets: expected two offsets, found [-8,8]");
}

TEST(Safetensors, RefusesAnUnknownDtypeByName) {
  EXPECT_EQ(ErrorOfHeader(absl::StrCat("{", Entry("w", "F8_E4M3", "[8]", "[0,8]"), "}")),
            "x.safetensors: tensor \"w\": dtype: expected one of F32, F16, BF16, F64, I64, I32, "
            "I8, U8, BOOL, found \"F8_E4M3\"");
}

TEST(Safetensors, RefusesOffsetsOutsideTheFile) {
  EXPECT_EQ(ErrorOfHeader(absl::StrCat("{", Entry("w", "F32", "[3]", "[0,12]"), "}")),
            "x.safetensors: tensor \"w\": expected data inside the file's 8 bytes of data, found "
            "offsets [0,12]");
  EXPECT_EQ(ErrorOfHeader(absl::StrCat(
                "{", Entry("w", "F32", "[2]", "[18446744073709551608,18446744073709551615]"), "}")),
            "x.safetensors: tensor \"w\": expected data inside the file's 8 bytes of data, found "
            "offsets [18446744073709551608,18446744073709551615]");
  EXPECT_EQ(ErrorOfHeader(absl::StrCat("{", Entry("w", "F32", "[2]", "[8,0]"), "}")),
            "x.safetensors: tensor \"w\": expected data inside the file's 8 bytes of data, found "
            "offsets [8,0]");
}

TEST(Safetensors, RefusesOverlapsAndGapsAsTheReferenceDoes) {
  EXPECT_EQ(ErrorOfHeader(absl::StrCat("{", Entry("v", "F32", "[2]", "[0,8]"), ",",
                                       Entry("w", "F32", "[1]", "[4,8]"), "}")),
            "x.safetensors: tensor \"w\": expected data to begin at 8, where the one before ends, "
            "found offsets [4,8]");
  EXPECT_EQ(ErrorOfHeader(absl::StrCat("{", Entry("v", "F16", "[1]", "[0,2]"), ",",
                                       Entry("w", "F32", "[1]", "[4,8]"), "}")),
            "x.safetensors: tensor \"w\": expected data to begin at 2, where the one before ends, "
            "found offsets [4,8]");
  EXPECT_EQ(ErrorOfHeader(absl::StrCat("{", Entry("v", "F32", "[1]", "[0,4]"), "}")),
            "x.safetensors: expected 4 bytes of data, found 8");
}

TEST(Safetensors, RefusesABytesCountThatDoesNotFitTheShape) {
  EXPECT_EQ(ErrorOfHeader(absl::StrCat("{", Entry("w", "BF16", "[2]", "[0,8]"), "}")),
            "x.safetensors: tensor \"w\": expected 4 bytes for bf16[2], found 8");
}

TEST(Safetensors, RefusesShapesWhoseProductOverflows) {
  const std::string error =
      "x.safetensors: tensor \"w\": expected fewer than 2^63 bytes, found shape ";
  EXPECT_EQ(ErrorOfHeader(absl::StrCat(
                "{", Entry("w", "F32", "[4294967296,4294967296,4294967296]", "[0,8]"), "}")),
            error + "[4294967296,4294967296,4294967296]");
  EXPECT_EQ(
      ErrorOfHeader(absl::StrCat("{", Entry("w", "F32", "[4611686018427387904]", "[0,8]"), "}")),
      error + "[4611686018427387904]");
  EXPECT_EQ(
      ErrorOfHeader(absl::StrCat("{", Entry("w", "F32", "[9223372036854775808]", "[0,8]"), "}")),
      "x.safetensors: tensor \"w\": shape: expected sizes below 2^63, found "
      "9223372036854775808");
}

TEST(Safetensors, AMessageStaysOnOneLineWhateverTheName) {
  EXPECT_EQ(ErrorOfHeader(absl::StrCat("{", Entry("a\\nb", "F99", "[1]", "[0,8]"), "}")),
            "x.safetensors: tensor \"a\\nb\": dtype: expected one of F32, F16, BF16, F64, I64, "
            "I32, I8, U8, BOOL, found \"F99\"");
}

TEST(Safetensors, EveryCutOfAFileIsRefused) {
  const std::string bytes = SafetensorsBytes({RandomTensor("w", {3, 2}), RandomTensor("v", {5})});
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_NE(ErrorOf(absl::string_view(bytes).substr(0, size)), "no error") << size;
  }
  EXPECT_NE(ErrorOf(bytes + "x"), "no error");
}

TEST(ShardIndex, RefusesWhatIsNotAMapOfPlainFileNames) {
  const auto error = [](absl::string_view text) {
    return std::string(ParseShardIndex("i.json", text).status().message());
  };
  EXPECT_EQ(error("{}"), "i.json: weight_map: expected an object, found nothing");
  EXPECT_EQ(error(R"({"weight_map":{"w":3}})"),
            "i.json: weight_map: \"w\": expected a string, found a number");
  for (absl::string_view shard : {"../x.safetensors", "/etc/passwd", "a/b", "..", ".", ""}) {
    EXPECT_EQ(error(absl::StrCat("{\"weight_map\":{\"w\":\"", shard, "\"}}")),
              absl::StrCat("i.json: weight_map: \"w\": expected the name of a file in this folder, "
                           "found \"",
                           shard, "\""));
  }
}

TEST(Checkpoint, ReadsShardsAsOneCheckpoint) {
  TemporaryFolder folder;
  const TestModel model = TinyLlama();
  WriteShardedModel(folder.path(), model, 3);
  const auto checkpoint = Checkpoint::OpenFolder(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->tensors().size(), model.tensors.size());
  for (const TestTensor& tensor : model.tensors) {
    const StoredTensor* found = (*checkpoint)->Find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(std::memcmp(found->data, tensor.bytes.data(), found->bytes), 0);
  }
  EXPECT_EQ((*checkpoint)->Find("nothing"), nullptr);
}

std::string OpenError(const TemporaryFolder& folder) {
  const auto checkpoint = Checkpoint::OpenFolder(folder.path());
  return checkpoint.ok() ? "no error" : std::string(checkpoint.status().message());
}

TEST(Checkpoint, AMissingShardIsNamed) {
  TemporaryFolder folder;
  WriteShardedModel(folder.path(), TinyLlama(), 3);
  ASSERT_EQ(remove(folder.File("model-2-of-3.safetensors").c_str()), 0);
  EXPECT_EQ(OpenError(folder),
            folder.File("model.safetensors.index.json") +
                ": expected shard \"model-2-of-3.safetensors\" in the folder, found no such file");
}

TEST(Checkpoint, ATensorThatItsShardLacksIsNamed) {
  TemporaryFolder folder;
  const std::string index = folder.File("model.safetensors.index.json");
  WriteText(folder.File("a.safetensors"), SafetensorsBytes({RandomTensor("v", {1})}));
  WriteText(folder.File("b.safetensors"), SafetensorsBytes({RandomTensor("w", {1})}));
  WriteText(index, R"({"weight_map":{"v":"a.safetensors","u":"b.safetensors"}})");
  EXPECT_EQ(OpenError(folder),
            index + ": tensor \"u\": expected in \"b.safetensors\", found in no shard");
  WriteText(index, R"({"weight_map":{"v":"b.safetensors","w":"a.safetensors"}})");
  EXPECT_EQ(OpenError(folder), index + ": tensor \"w\": expected in \"a.safetensors\", found " +
                                   folder.File("b.safetensors"));
}

TEST(Checkpoint, ATensorInTwoShardsIsRefused) {
  TemporaryFolder folder;
  WriteText(folder.File("a.safetensors"), SafetensorsBytes({RandomTensor("w", {1})}));
  WriteText(folder.File("b.safetensors"),
            SafetensorsBytes({RandomTensor("v", {1}), RandomTensor("w", {1})}));
  WriteText(folder.File("model.safetensors.index.json"),
            R"({"weight_map":{"w":"a.safetensors","v":"b.safetensors"}})");
  EXPECT_EQ(OpenError(folder), folder.File("b.safetensors") +
                                   ": tensor \"w\": expected in one file, found in " +
                                   folder.File("a.safetensors") + " too");
}

TEST(Checkpoint, AFolderWithoutWeightsThatAreReadSaysWhatItHas) {
  TemporaryFolder folder;
  const std::string expected =
      ": expected model.safetensors, pytorch_model.bin (or the .index.json of either) or "
      "model.ckpt.index, found ";
  EXPECT_EQ(OpenError(folder), folder.path() + expected + "none of them");
  WriteText(folder.File("tf_model.h5"), "x");
  EXPECT_EQ(OpenError(folder), folder.path() + expected + "tf_model.h5");
}

TEST(Checkpoint, AnEmptyFileIsRefused) {
  TemporaryFolder folder;
  WriteText(folder.File("model.safetensors"), "");
  EXPECT_EQ(OpenError(folder), folder.File("model.safetensors") +
                                   ": expected 8 bytes of header length, found 0 bytes in all");
}

TEST(Checkpoint, ReadsTheReferenceImplementationsFiles) {
  const std::string folder = NINFER_SOURCE_DIR "/tests/data/hf-models/llama-old-buffers";
  const auto checkpoint = Checkpoint::OpenFolder(folder);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const StoredTensor* buffer = (*checkpoint)->Find("model.layers.1.self_attn.rotary_emb.inv_freq");
  ASSERT_NE(buffer, nullptr);
  EXPECT_THAT(buffer->shape, ElementsAre(6));
  EXPECT_EQ(buffer->dtype, DType::kF32);
}

}  // namespace
}  // namespace ninfer::frontend
