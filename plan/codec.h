// Encode and decode from one description. A section is described once, as a template over its
// codec:
//
//   template <typename Codec, typename T>
//   void CodeSymbol(Codec& c, T& symbol) {
//     c.Text("name", symbol.name);
//     c.I64("min", symbol.min);
//   }
//
// With an Encoder it writes, with a Decoder it reads, checks bounds and can note every field with
// its place and value, so that the writer, the reader and the dump cannot disagree. Numbers are
// little-endian and lie one after the other without padding. Tested by tests/plan_codec_test.cc.
#ifndef NINFER_PLAN_CODEC_H_
#define NINFER_PLAN_CODEC_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "base/dtype.h"

namespace ninfer::plan {

// Appends the `size` low bytes of `value`, lowest first.
void PutLittleEndian(std::string* out, uint64_t value, int size);
uint64_t GetLittleEndian(const void* bytes, int size);

class Encoder {
 public:
  void U8(const char* name, uint8_t value) { PutLittleEndian(&bytes_, value, 1); }
  void U32(const char* name, uint32_t value) { PutLittleEndian(&bytes_, value, 4); }
  void U64(const char* name, uint64_t value) { PutLittleEndian(&bytes_, value, 8); }
  void I32(const char* name, int32_t value) { PutLittleEndian(&bytes_, uint32_t(value), 4); }
  void I64(const char* name, int64_t value) { PutLittleEndian(&bytes_, uint64_t(value), 8); }
  void F64(const char* name, double value);
  void Bool(const char* name, bool value) { PutLittleEndian(&bytes_, value ? 1 : 0, 1); }
  void Text(const char* name, const std::string& value);
  void Blob(const char* name, const std::string& value);
  void Type(const char* name, DType value) { Text(name, std::string(DTypeName(value))); }
  template <typename E>
  void Enum(const char* name, E value, int count) {
    U8(name, static_cast<uint8_t>(value));
  }
  template <typename T, typename Fn>
  void Optional(const char* name, const absl::optional<T>& value, Fn code) {
    Bool(name, value.has_value());
    if (value.has_value()) code(*this, *value);
  }
  template <typename T, typename Fn>
  void List(const char* name, const std::vector<T>& items, int min_bytes, Fn code) {
    U32(name, static_cast<uint32_t>(items.size()));
    for (const T& item : items) code(*this, item);
  }

  std::string bytes() && { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// One field of a decoded section: where it lies and what it says.
struct Field {
  uint64_t offset = 0, size = 0;
  std::string type;   // "u32", "text"
  std::string name;   // "launches[3].barrier"
  std::string value;  // "2", "\"kv.0\""
};

// Reads what an Encoder wrote. The first error is kept; what is read after it is zero.
class Decoder {
 public:
  // `context` begins every message: "plan.bin: section metadata". `trace` may be null.
  Decoder(absl::string_view bytes, std::string context, std::vector<Field>* trace)
      : bytes_(bytes), context_(std::move(context)), trace_(trace) {}

  void U8(const char* name, uint8_t& value) { Number(name, "u8", 1, value); }
  void U32(const char* name, uint32_t& value) { Number(name, "u32", 4, value); }
  void U64(const char* name, uint64_t& value) { Number(name, "u64", 8, value); }
  void I32(const char* name, int32_t& value) { Number(name, "i32", 4, value); }
  void I64(const char* name, int64_t& value) { Number(name, "i64", 8, value); }
  void F64(const char* name, double& value);
  void Bool(const char* name, bool& value);
  void Text(const char* name, std::string& value) { Bytes(name, "text", 4, value); }
  void Blob(const char* name, std::string& value) { Bytes(name, "blob", 8, value); }
  void Type(const char* name, DType& value);
  template <typename E>
  void Enum(const char* name, E& value, int count) {
    uint8_t number = 0;
    U8(name, number);
    if (ok() && number >= count) {
      Fail(name, 1, absl::StrCat("expected a number below ", count, ", found ", number));
    }
    value = static_cast<E>(ok() ? number : 0);
  }
  template <typename T, typename Fn>
  void Optional(const char* name, absl::optional<T>& value, Fn code) {
    bool present = false;
    Bool(name, present);
    value.reset();
    if (!present || !ok()) return;
    value.emplace();
    code(*this, *value);
  }
  // `min_bytes` is the least that one item takes, so that a count is checked before memory is
  // taken.
  template <typename T, typename Fn>
  void List(const char* name, std::vector<T>& items, int min_bytes, Fn code) {
    uint32_t count = 0;
    U32(name, count);
    if (ok() && count > (bytes_.size() - at_) / min_bytes) {
      Fail(name, 4,
           absl::StrCat("expected at most ", (bytes_.size() - at_) / min_bytes,
                        " items in the bytes that are left, found ", count));
    }
    items.clear();
    if (!ok()) return;
    items.resize(count);
    const std::string prefix = prefix_;
    for (uint32_t i = 0; i < count && ok(); ++i) {
      if (trace_ != nullptr) prefix_ = absl::StrCat(prefix, name, "[", i, "].");
      code(*this, items[i]);
    }
    prefix_ = prefix;
  }

  bool ok() const { return status_.ok(); }
  // OK when everything was read and nothing is left over.
  absl::Status Finish();

 private:
  template <typename T>
  void Number(const char* name, const char* type, int size, T& value) {
    value = T{};
    if (!Take(name, size)) return;
    value = static_cast<T>(GetLittleEndian(bytes_.data() + at_ - size, size));
    if (trace_ != nullptr) Note(name, type, size, absl::StrCat(value));
  }
  void Bytes(const char* name, const char* type, int length_bytes, std::string& value);
  bool Take(const char* name, uint64_t size);
  // `size` bytes before the current place are at fault.
  void Fail(const char* name, uint64_t size, absl::string_view what);
  void Note(const char* name, const char* type, uint64_t size, std::string value);

  absl::string_view bytes_;
  uint64_t at_ = 0;
  std::string context_, prefix_;
  std::vector<Field>* trace_;
  absl::Status status_;
};

}  // namespace ninfer::plan

#endif  // NINFER_PLAN_CODEC_H_
