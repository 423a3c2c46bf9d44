#include "base/dtype.h"

#include <cmath>
#include <cstring>

#include "base/status.h"

namespace ninfer {
namespace {

struct DTypeRow {
  DType dtype;
  absl::string_view name;
  int64_t size;
};

constexpr DTypeRow kRows[] = {
    {DType::kF32, "f32", 4}, {DType::kF16, "f16", 2}, {DType::kBF16, "bf16", 2},
    {DType::kF64, "f64", 8}, {DType::kI64, "i64", 8}, {DType::kI32, "i32", 4},
    {DType::kI8, "i8", 1},   {DType::kU8, "u8", 1},   {DType::kBool, "bool", 1},
};

}  // namespace

int64_t DTypeSize(DType dtype) { return kRows[static_cast<int>(dtype)].size; }

absl::string_view DTypeName(DType dtype) { return kRows[static_cast<int>(dtype)].name; }

std::optional<DType> DTypeFromName(absl::string_view name) {
  for (const DTypeRow& row : kRows) {
    if (row.name == name) return row.dtype;
  }
  return std::nullopt;
}

float F16ToFloat(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint16_t FloatToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00;
  if (magnitude >= 0x477ff000u) return sign | 0x7c00;  // rounds to 65536 or more
  if (magnitude < 0x38800000u) {                       // subnormal in half precision
    const float scaled = std::ldexp(std::bit_cast<float>(magnitude), 24);
    return sign | static_cast<uint16_t>(std::nearbyint(scaled));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return sign | static_cast<uint16_t>((rounded - 0x38000000u) >> 13);
}

void ConvertToFloat(DType from, const void* source, float* target, int64_t count) {
  switch (from) {
    case DType::kF32:
      std::memcpy(target, source, count * sizeof(float));
      return;
    case DType::kBF16: {
      const auto* in = static_cast<const uint16_t*>(source);
      for (int64_t i = 0; i < count; ++i) target[i] = Bf16ToFloat(in[i]);
      return;
    }
    case DType::kF16: {
      const auto* in = static_cast<const uint16_t*>(source);
      for (int64_t i = 0; i < count; ++i) target[i] = F16ToFloat(in[i]);
      return;
    }
    case DType::kF64: {
      const auto* in = static_cast<const double*>(source);
      for (int64_t i = 0; i < count; ++i) target[i] = static_cast<float>(in[i]);
      return;
    }
    default:
      NINFER_CHECK(false) << "not a float dtype: " << DTypeName(from);
  }
}

void ConvertFromFloat(const float* source, DType to, void* target, int64_t count) {
  switch (to) {
    case DType::kF32:
      std::memcpy(target, source, count * sizeof(float));
      return;
    case DType::kBF16: {
      auto* out = static_cast<uint16_t*>(target);
      for (int64_t i = 0; i < count; ++i) out[i] = FloatToBf16(source[i]);
      return;
    }
    case DType::kF16: {
      auto* out = static_cast<uint16_t*>(target);
      for (int64_t i = 0; i < count; ++i) out[i] = FloatToF16(source[i]);
      return;
    }
    case DType::kF64: {
      auto* out = static_cast<double*>(target);
      for (int64_t i = 0; i < count; ++i) out[i] = source[i];
      return;
    }
    default:
      NINFER_CHECK(false) << "not a float dtype: " << DTypeName(to);
  }
}

}  // namespace ninfer
