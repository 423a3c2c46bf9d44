// Every kind of field survives the way through bytes, and a decoder believes no length it cannot
// see.
#include <gtest/gtest.h>

#include <limits>

#include "plan/codec.h"
#include "plan/plan.h"

namespace ninfer::plan {
namespace {

struct All {
  uint8_t u8 = 0;
  uint32_t u32 = 0;
  uint64_t u64 = 0;
  int32_t i32 = 0;
  int64_t i64 = 0;
  double f64 = 0;
  bool flag = false;
  std::string text, blob;
  DType dtype = DType::kF32;
  Barrier barrier = Barrier::kNone;
  absl::optional<int32_t> present, absent;
  std::vector<int32_t> items;
};

template <typename Codec, typename T>
void Code(Codec& c, T& all) {
  c.U8("u8", all.u8);
  c.U32("u32", all.u32);
  c.U64("u64", all.u64);
  c.I32("i32", all.i32);
  c.I64("i64", all.i64);
  c.F64("f64", all.f64);
  c.Bool("flag", all.flag);
  c.Text("text", all.text);
  c.Blob("blob", all.blob);
  c.Type("dtype", all.dtype);
  c.Enum("barrier", all.barrier, 3);
  const auto id = [](auto& codec, auto& value) { codec.I32("id", value); };
  c.Optional("present", all.present, id);
  c.Optional("absent", all.absent, id);
  c.List("items", all.items, 4, id);
}

All Values() {
  All all;
  all.u8 = 200;
  all.u32 = 4000000000u;
  all.u64 = ~uint64_t{0};
  all.i32 = std::numeric_limits<int32_t>::min();
  all.i64 = -1;
  all.f64 = -0.1;
  all.flag = true;
  all.text = std::string("a\0\xff", 3);
  all.blob = "blob";
  all.dtype = DType::kBF16;
  all.barrier = Barrier::kAlways;
  all.present = -7;
  all.items = {1, -2};
  return all;
}

std::string Encode(const All& all) {
  Encoder encoder;
  Code(encoder, all);
  return std::move(encoder).bytes();
}

TEST(PlanCodec, EveryKindOfFieldComesBack) {
  const std::string bytes = Encode(Values());
  All read;
  std::vector<Field> fields;
  Decoder decoder(bytes, "p", &fields);
  Code(decoder, read);
  ASSERT_TRUE(decoder.Finish().ok());
  EXPECT_EQ(Encode(read), bytes);
  EXPECT_EQ(read.text, Values().text);
  EXPECT_EQ(read.absent, absl::nullopt);
  EXPECT_EQ(read.items, Values().items);
  // The trace covers all bytes, each once.
  uint64_t end = 0;
  for (const Field& field : fields) {
    EXPECT_EQ(field.offset, end) << field.name;
    end += field.size;
  }
  EXPECT_EQ(end, bytes.size());
  EXPECT_EQ(fields.back().name, "items[1].id");
  EXPECT_EQ(fields.back().value, "-2");
}

TEST(PlanCodec, NumbersAreLittleEndian) {
  std::string bytes;
  PutLittleEndian(&bytes, 0x0102030405, 5);
  EXPECT_EQ(bytes, "\x05\x04\x03\x02\x01");
  EXPECT_EQ(GetLittleEndian(bytes.data(), 5), 0x0102030405);
}

TEST(PlanCodec, BytesThatEndEarlyAreRefusedAtEveryPlace) {
  const std::string bytes = Encode(Values());
  for (size_t size = 0; size < bytes.size(); ++size) {
    All read;
    Decoder decoder(absl::string_view(bytes).substr(0, size), "p", nullptr);
    Code(decoder, read);
    EXPECT_FALSE(decoder.Finish().ok()) << size;
  }
}

template <typename Fn>
std::string MessageOf(const std::string& bytes, Fn code) {
  Decoder decoder(bytes, "p: section s", nullptr);
  code(decoder);
  return std::string(decoder.Finish().message());
}

TEST(PlanCodec, MessagesNameTheFieldAndItsPlace) {
  uint32_t number;
  std::string text;
  bool flag;
  DType dtype;
  Barrier barrier;
  EXPECT_EQ(MessageOf("\1", [&](Decoder& d) { d.U32("size", number); }),
            "p: section s: size at byte 0: expected 4 bytes, found 1");
  EXPECT_EQ(
      MessageOf(std::string("\xff\xff\xff\xff", 4), [&](Decoder& d) { d.Text("name", text); }),
      "p: section s: name at byte 4: expected 4294967295 bytes, found 0");
  EXPECT_EQ(MessageOf(std::string(8, '\xff'), [&](Decoder& d) { d.Blob("name", text); }),
            "p: section s: name at byte 8: expected 18446744073709551615 bytes, found 0");
  EXPECT_EQ(MessageOf("\2", [&](Decoder& d) { d.Bool("flag", flag); }),
            "p: section s: flag at byte 0: expected 0 or 1, found 2");
  EXPECT_EQ(MessageOf(std::string("\2\0\0\0q\n", 6), [&](Decoder& d) { d.Type("dtype", dtype); }),
            "p: section s: dtype at byte 0: expected a dtype, found \"q\\n\"");
  EXPECT_EQ(MessageOf("\3", [&](Decoder& d) { d.Enum("barrier", barrier, 3); }),
            "p: section s: barrier at byte 0: expected a number below 3, found 3");
  EXPECT_EQ(MessageOf("\1\2",
                      [&](Decoder& d) {
                        uint8_t byte;
                        d.U8("byte", byte);
                      }),
            "p: section s: expected 1 bytes, found 2");
}

TEST(PlanCodec, ACountIsCheckedBeforeMemoryIsTaken) {
  std::vector<int64_t> items;
  EXPECT_EQ(MessageOf(std::string("\xff\xff\xff\x7f", 4) + std::string(16, '\0'),
                      [&](Decoder& d) {
                        d.List("items", items, 8,
                               [](auto& codec, auto& value) { codec.I64("value", value); });
                      }),
            "p: section s: items at byte 0: expected at most 2 items in the bytes that are left, "
            "found 2147483647");
  EXPECT_TRUE(items.empty());
}

}  // namespace
}  // namespace ninfer::plan
