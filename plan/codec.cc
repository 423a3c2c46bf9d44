#include "plan/codec.h"

#include <bit>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"

namespace ninfer::plan {

void PutLittleEndian(std::string* out, uint64_t value, int size) {
  for (int i = 0; i < size; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t GetLittleEndian(const void* bytes, int size) {
  const uint8_t* data = static_cast<const uint8_t*>(bytes);
  uint64_t value = 0;
  for (int i = 0; i < size; ++i) value |= uint64_t{data[i]} << (8 * i);
  return value;
}

void Encoder::F64(const char* name, double value) {
  PutLittleEndian(&bytes_, std::bit_cast<uint64_t>(value), 8);
}

void Encoder::Text(const char* name, const std::string& value) {
  NINFER_CHECK(value.size() <= UINT32_MAX) << name;
  PutLittleEndian(&bytes_, value.size(), 4);
  bytes_ += value;
}

void Encoder::Blob(const char* name, const std::string& value) {
  PutLittleEndian(&bytes_, value.size(), 8);
  bytes_ += value;
}

void Decoder::Fail(const char* name, uint64_t size, absl::string_view what) {
  if (!status_.ok()) return;
  status_ = InvalidArgument(context_, ": ", prefix_, name, " at byte ", at_ - size, ": ", what);
}

void Decoder::Note(const char* name, const char* type, uint64_t size, std::string value) {
  trace_->push_back({at_ - size, size, type, absl::StrCat(prefix_, name), std::move(value)});
}

bool Decoder::Take(const char* name, uint64_t size) {
  if (!status_.ok()) return false;
  if (!InBounds(at_, size, bytes_.size())) {
    Fail(name, 0, absl::StrCat("expected ", size, " bytes, found ", bytes_.size() - at_));
    return false;
  }
  at_ += size;
  return true;
}

void Decoder::F64(const char* name, double& value) {
  value = 0;
  if (!Take(name, 8)) return;
  value = std::bit_cast<double>(GetLittleEndian(bytes_.data() + at_ - 8, 8));
  if (trace_ != nullptr) Note(name, "f64", 8, absl::StrFormat("%.17g", value));
}

void Decoder::Bool(const char* name, bool& value) {
  value = false;
  if (!Take(name, 1)) return;
  const uint8_t byte = static_cast<uint8_t>(bytes_[at_ - 1]);
  if (byte > 1) return Fail(name, 1, absl::StrCat("expected 0 or 1, found ", byte));
  value = byte == 1;
  if (trace_ != nullptr) Note(name, "bool", 1, value ? "1" : "0");
}

void Decoder::Bytes(const char* name, const char* type, int length_bytes, std::string& value) {
  value.clear();
  if (!Take(name, length_bytes)) return;
  const uint64_t length = GetLittleEndian(bytes_.data() + at_ - length_bytes, length_bytes);
  if (!Take(name, length)) return;
  value.assign(bytes_.data() + at_ - length, length);
  if (trace_ == nullptr) return;
  constexpr uint64_t kShown = 40;
  std::string shown = absl::StrCat("\"", absl::CHexEscape(value.substr(0, kShown)), "\"");
  if (length > kShown) absl::StrAppend(&shown, "... (", length, " bytes)");
  Note(name, type, length_bytes + length, std::move(shown));
}

void Decoder::Type(const char* name, DType& value) {
  std::string text;
  Text(name, text);
  value = DType::kF32;
  if (!ok()) return;
  const std::optional<DType> found = DTypeFromName(text);
  if (!found.has_value()) {
    return Fail(name, 4 + text.size(),
                absl::StrCat("expected a dtype, found \"", absl::CHexEscape(text), "\""));
  }
  value = *found;
}

absl::Status Decoder::Finish() {
  if (ok() && at_ != bytes_.size()) {
    status_ = InvalidArgument(context_, ": expected ", at_, " bytes, found ", bytes_.size());
  }
  return status_;
}

}  // namespace ninfer::plan
