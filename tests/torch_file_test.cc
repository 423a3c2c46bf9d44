// The reader of PyTorch's files: what it reads, in every form that torch.save has had, and the
// words with which it refuses what is damaged or would run code.
#include "frontend/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "frontend/checkpoint.h"
#include "frontend/pickle.h"
#include "frontend/zip.h"
#include "tests/checkpoint_testing.h"
#include "tests/support/model_folder.h"

namespace ninfer::frontend {
namespace {

using ::ninfer::testing::TemporaryFolder;
using ::ninfer::testing::WriteText;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// "a"b concatenates; NUL bytes stay.
template <size_t N>
std::string Bytes(const char (&text)[N]) {
  return std::string(text, N - 1);
}

std::string PickleError(const std::string& pickle) {
  const auto read = ParsePickle("p", pickle);
  return read.ok() ? "no error" : std::string(read.status().message());
}

TEST(TorchFile, EveryFormThatTorchWritesGivesTheModelThatSafetensorsGives) {
  const std::string expected = ModelText(CheckpointFolder("safetensors"));
  ASSERT_THAT(expected, HasSubstr("\ntransformer.h.1.mlp.c_proj.bias "));
  for (const char* name : {"torch-zip", "torch-legacy", "torch-protocol-4", "torch-parameters",
                           "torch-views", "torch-no-checksums", "torch-sharded"}) {
    EXPECT_EQ(ModelText(CheckpointFolder(name)), expected) << name;
  }
}

TEST(TorchFile, HalfPrecisionIsReadAsItIsStored) {
  const std::pair<const char*, DType> cases[] = {{"torch-f16", DType::kF16},
                                                 {"torch-bf16", DType::kBF16}};
  for (const auto& [name, dtype] : cases) {
    const auto values = [](const std::string& text) { return text.substr(text.find("\neos ")); };
    const std::string text = ModelText(CheckpointFolder(name), dtype);
    EXPECT_EQ(values(text), values(ModelText(CheckpointFolder("safetensors"), dtype))) << name;
    EXPECT_THAT(text, HasSubstr(DTypeName(dtype).data()));
  }
}

TEST(TorchFile, StoragesAreMappedAndViewsKeepTheirStrides) {
  const auto file = MappedFile::Open(CheckpointFolder("torch-views/pytorch_model.bin"));
  ASSERT_TRUE(file.ok()) << file.status();
  const auto tensors = ParseTorchFile("x.bin", (*file)->view());
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  ASSERT_EQ((*tensors)[0].name, "transformer.wte.weight");
  EXPECT_THAT((*tensors)[0].shape, ElementsAre(11, 4));
  EXPECT_THAT((*tensors)[0].strides, ElementsAre(2, 22));
  EXPECT_EQ((*tensors)[0].bytes, 11u * 4 * 4);
  for (const StoredTensor& tensor : *tensors) {
    EXPECT_GE(tensor.data, (*file)->data());
    EXPECT_LT(tensor.data, (*file)->data() + (*file)->size());
  }
}

TEST(TorchFile, DamageIsRefusedOrChangesNothing) {
  const std::string bytes = *ReadFile(CheckpointFolder("torch-zip/pytorch_model.bin"));
  const std::string expected = TensorsText(ParseTorchFile("x.bin", bytes));
  int refused = 0;
  ForEachDamage(bytes, [&](const std::string& damaged, const std::string& damage) {
    const std::string found = TensorsText(ParseTorchFile("x.bin", damaged));
    if (found == expected) return;  // padding, dates, and other entries
    ++refused;
    EXPECT_TRUE(IsOneLine(found)) << damage << ": " << found;
  });
  EXPECT_GT(refused, 10000);
}

TEST(TorchFile, DamageToAnOldFileWithoutChecksumsIsReadOrRefusedInOneLine) {
  const std::string bytes = *ReadFile(CheckpointFolder("torch-legacy/pytorch_model.bin"));
  int refused = 0;
  ForEachDamage(bytes, [&](const std::string& damaged, const std::string& damage) {
    const auto tensors = ParseTorchFile("x.bin", damaged);
    if (tensors.ok()) return;
    ++refused;
    EXPECT_TRUE(IsOneLine(tensors.status().message())) << damage << ": " << tensors.status();
  });
  EXPECT_GT(refused, 7000);
}

TEST(Pickle, AGlobalThatIsNotATensorsIsRefusedByName) {
  EXPECT_EQ(PickleError(Bytes("\x80\x02"
                              "cposix\nsystem\nX\x02\0\0\0id\x85R.")),
            "p: byte 2: expected only what tensors are made of, found the global \"posix.system\"");
  EXPECT_EQ(PickleError(Bytes("\x80\x04\x8c\x08"
                              "builtins\x8c\x04"
                              "eval\x93.")),
            "p: byte 18: expected only what tensors are made of, found the global "
            "\"builtins.eval\"");
  EXPECT_EQ(PickleError("\x80\x02"
                        "ctorch\nload\n."),
            "p: byte 2: expected only what tensors are made of, found the global \"torch.load\"");
}

TEST(Pickle, OpcodesThatMakeObjectsAreRefused) {
  // INST, OBJ, NEWOBJ, NEWOBJ_EX, EXT1, a persistent id by line, and a text that evaluates.
  for (const char* text :
       {"(iposix\nsystem\n.", "(o.", "\x81.", "\x92.", "\x82\x01.", "P1\n.", "S'a'\n."}) {
    EXPECT_THAT(PickleError(text),
                HasSubstr("expected only what tensors are made of, found opcode"));
  }
}

TEST(Pickle, OnlyTensorMakersAreCalled) {
  EXPECT_EQ(PickleError("ctorch\nFloatStorage\n)R."),
            "p: byte 21: expected a call of what makes tensors, found a call of "
            "torch.FloatStorage");
  EXPECT_EQ(PickleError("U\x01"
                        "a)R."),
            "p: byte 4: expected a call of a global, found a call of a string");
  EXPECT_EQ(PickleError("ctorch._utils\n_rebuild_tensor_v2\n)R."),
            "p: byte 34: expected a tensor's storage, offset, shape and strides, found other "
            "arguments");
  EXPECT_EQ(PickleError("]}b."), "p: byte 2: expected a dictionary, found a list");
}

TEST(Pickle, MalformedPicklesAreRefused) {
  EXPECT_EQ(PickleError(""), "p: byte 0: expected 1 bytes more, found 0");
  EXPECT_EQ(PickleError("."), "p: byte 0: expected 1 values on the stack, found 0");
  EXPECT_EQ(PickleError("t."), "p: byte 0: expected a mark on the stack, found none");
  EXPECT_EQ(PickleError("h\x07."), "p: byte 0: expected a value under the number 7, found none");
  EXPECT_EQ(PickleError("X\xff\xff\xff\xff."),
            "p: byte 0: expected 4294967295 bytes more, found 1");
  EXPECT_EQ(PickleError("}(K\x01u."), "p: byte 4: expected a value for each key, found none");
  EXPECT_EQ(PickleError("ctorch"), "p: byte 0: expected a line's end, found none");
}

TEST(Pickle, ValuesThatMultiplyAreRefused) {
  // A list of pairs, made into a dictionary again and again.
  std::string pickle = Bytes("ccollections\nOrderedDict\nq\0000](");
  for (int i = 0; i < 5000; ++i) absl::StrAppend(&pickle, "NN\x86");
  absl::StrAppend(&pickle, "e\x85q\x01", "0");
  for (int i = 0; i < 5000; ++i) absl::StrAppend(&pickle, Bytes("h\0h\x01R0"));
  EXPECT_THAT(PickleError(pickle + "N."), HasSubstr("expected at most 4194304 pairs, found more"));
  EXPECT_THAT(PickleError(std::string(5'000'000, 'N')),
              HasSubstr("expected at most 4194304 values, found more"));
}

TEST(Pickle, DepthAndCyclesCostNothing) {
  std::string deep(200'000, ']');
  deep += std::string(199'999, 'a');
  EXPECT_EQ(PickleError(deep + "."), "no error");
  EXPECT_EQ(PickleError("]q\x01h\x01"
                        "a."),
            "no error");  // a list in itself
}

// A legacy file whose dictionary is this pickle and whose storage "0" has `count` elements.
std::string LegacyFile(const std::string& pickle, char count, const std::string& data) {
  return absl::StrCat(
      Bytes("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03."),
      "\x80\x02}U\x0dlittle_endian\x88s.", pickle, "\x80\x02]U\x01", "0a.", std::string(1, count),
      std::string(7, '\0'), data);
}

// {"w": a tensor of storage "0"}, of one dimension.
std::string OneTensor(const std::string& elements, const std::string& offset,
                      const std::string& size, const std::string& stride) {
  return absl::StrCat("}U\x01wctorch._utils\n_rebuild_tensor_v2\n",
                      "((U\x07storagectorch\nFloatStorage\nU\x01", "0U\x03", "cpu", elements, "tQ",
                      offset, size, "\x85", stride, "\x85\x89}tRs.");
}

std::string FileError(const std::string& bytes) {
  const auto tensors = ParseTorchFile("x.bin", bytes);
  return tensors.ok() ? "no error" : std::string(tensors.status().message());
}

TEST(TorchFile, ATensorOutsideItsStorageIsRefused) {
  const std::string data(16, 'x');
  const std::string k4("K\x04"), k0("K\0", 2), k1("K\x01"), k2("K\x02"), k5("K\x05");
  EXPECT_EQ(FileError(LegacyFile(OneTensor(k4, k0, k4, k1), 4, data)), "no error");
  EXPECT_EQ(FileError(LegacyFile(OneTensor(k4, k1, k2, k2), 4, data)), "no error");
  EXPECT_EQ(FileError(LegacyFile(OneTensor(k4, k1, k4, k1), 4, data)),
            "x.bin: tensor \"w\": expected elements inside its storage of 4, found shape [4] with "
            "strides [1] at 1");
  EXPECT_THAT(FileError(LegacyFile(OneTensor(k4, k0, k4, k2), 4, data)),
              HasSubstr("inside its storage"));
  EXPECT_THAT(FileError(LegacyFile(OneTensor(k4, k0, k5, k0), 4, data)),
              HasSubstr("inside its storage"));
  EXPECT_EQ(FileError(LegacyFile(OneTensor(k5, k0, k4, k1), 4, data)),
            "x.bin: tensor \"w\": expected a storage of 5 elements, found 16 bytes");
  const std::string huge("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f");
  for (const std::string& size : {huge, k2}) {
    EXPECT_THAT(FileError(LegacyFile(OneTensor(k4, k0, size, huge), 4, data)),
                HasSubstr(": expected "));
  }
  EXPECT_EQ(FileError(LegacyFile(OneTensor(k4, k0, k4, k1), 5, data)),
            "x.bin: storage \"0\": expected 5 elements, found 16 bytes");
}

TEST(TorchFile, WhatIsNoDictionaryOfTensorsIsRefused) {
  EXPECT_EQ(FileError(LegacyFile("}.", 0, "")),
            "x.bin: expected a list of the keys of storages, found another");
  const std::string data(16, 'x');
  std::string pickle = OneTensor("K\x04", "K\x01", "K\x01", "K\x01");
  pickle.insert(1, "U\x01v]s");  // beside the tensor
  EXPECT_EQ(FileError(LegacyFile(pickle, 4, data)),
            "x.bin: tensor \"v\": expected a tensor, found a list");
  EXPECT_EQ(FileError("\x80\x02K\x01."),
            "x.bin: expected a file of torch.save, found another pickle");
  EXPECT_EQ(FileError(Bytes("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.K\x07.")),
            "x.bin: expected version 1001 of torch.save, found 7");
}

TEST(Zip, CompressedAndMissingEntriesAreRefused) {
  EXPECT_EQ(ParseZip("x.zip", "PK\x03\x04").status().message(),
            "x.zip: expected a zip file's directory at its end, found none");
  auto bytes = *ReadFile(CheckpointFolder("torch-zip/pytorch_model.bin"));
  const size_t central = bytes.find(Bytes("PK\x01\x02"));
  bytes[central + 10] = 8;  // deflate
  EXPECT_EQ(ParseZip("x.zip", bytes).status().message(),
            "x.zip: entry \"pytorch_model/data.pkl\": expected stored bytes, found them compressed "
            "by method 8");
  bytes[central + 8] |= 1;
  EXPECT_EQ(ParseZip("x.zip", bytes).status().message(),
            "x.zip: entry \"pytorch_model/data.pkl\": expected plain bytes, found them encrypted");
}

TEST(Checkpoint, SafetensorsComeBeforePyTorchsFiles) {
  TemporaryFolder folder;
  std::filesystem::copy(CheckpointFolder("safetensors"), folder.path(),
                        std::filesystem::copy_options::recursive);
  WriteText(folder.File("pytorch_model.bin"), "nonsense");
  const auto checkpoint = Checkpoint::OpenFolder(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->path(), folder.File("model.safetensors"));
}

}  // namespace
}  // namespace ninfer::frontend
