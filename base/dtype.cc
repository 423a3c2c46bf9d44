#include "base/dtype.h"

#include <algorithm>

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

// By masks, not branches: loops over the functions below become vector code so.
inline uint32_t Choose(bool condition, uint32_t yes, uint32_t no) {
  const uint32_t mask = uint32_t{0} - condition;
  return (yes & mask) | (no & ~mask);
}

inline float WidenF16(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t magnitude = bits & 0x7fffu;
  const uint32_t normal = (magnitude << 13) + (uint32_t{112} << 23);
  const uint32_t unbounded = (magnitude << 13) | 0x7f800000u;  // infinity or NaN
  const float scaled = static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f;
  const uint32_t subnormal = std::bit_cast<uint32_t>(scaled);
  const uint32_t finite = Choose(magnitude < 0x400u, subnormal, normal);
  return std::bit_cast<float>(sign | Choose(magnitude >= 0x7c00u, unbounded, finite));
}

inline uint16_t NarrowToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  // Adding one half rounds to multiples of 2^-24, the step of subnormal numbers.
  const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
  const uint32_t subnormal = std::bit_cast<uint32_t>(shifted) - 0x3f000000u;
  const uint32_t finite = Choose(magnitude < 0x38800000u, subnormal, normal);
  // What rounds to 65536 or more is infinite.
  const uint32_t bounded = Choose(magnitude >= 0x477ff000u, 0x7c00u, finite);
  const uint32_t rounded = Choose(magnitude > 0x7f800000u, 0x7e00u, bounded);  // a NaN
  return static_cast<uint16_t>(((bits >> 16) & 0x8000u) | rounded);
}

}  // namespace

int64_t DTypeSize(DType dtype) { return kRows[static_cast<int>(dtype)].size; }

absl::string_view DTypeName(DType dtype) { return kRows[static_cast<int>(dtype)].name; }

std::optional<DType> DTypeFromName(absl::string_view name) {
  for (const DTypeRow& row : kRows) {
    if (row.name == name) return row.dtype;
  }
  return std::nullopt;
}

float F16ToFloat(uint16_t bits) { return WidenF16(bits); }

uint16_t FloatToF16(float value) { return NarrowToF16(value); }

void ConvertToFloat(DType from, const void* source, float* target, int64_t count) {
  switch (from) {
    case DType::kF32:
      std::copy_n(static_cast<const float*>(source), count, target);
      return;
    case DType::kBF16: {
      const auto* in = static_cast<const uint16_t*>(source);
      for (int64_t i = 0; i < count; ++i) target[i] = Bf16ToFloat(in[i]);
      return;
    }
    case DType::kF16: {
      const auto* in = static_cast<const uint16_t*>(source);
      for (int64_t i = 0; i < count; ++i) target[i] = WidenF16(in[i]);
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
      std::copy_n(source, count, static_cast<float*>(target));
      return;
    case DType::kBF16: {
      auto* out = static_cast<uint16_t*>(target);
      for (int64_t i = 0; i < count; ++i) out[i] = FloatToBf16(source[i]);
      return;
    }
    case DType::kF16: {
      auto* out = static_cast<uint16_t*>(target);
      for (int64_t i = 0; i < count; ++i) out[i] = NarrowToF16(source[i]);
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
