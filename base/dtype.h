// Element types, and the conversions between f32 and the two half-precision formats.
// Tested by tests/base_test.cc.
#ifndef NINFER_BASE_DTYPE_H_
#define NINFER_BASE_DTYPE_H_

#include <bit>
#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"

namespace ninfer {

enum class DType : uint8_t { kF32, kF16, kBF16, kF64, kI64, kI32, kI8, kU8, kBool };

// Bytes of one element.
int64_t DTypeSize(DType dtype);

// "f32", "bf16", ...: the name used in IR text, flags and dumps.
absl::string_view DTypeName(DType dtype);
std::optional<DType> DTypeFromName(absl::string_view name);

inline bool IsFloat(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
         dtype == DType::kF64;
}

inline float Bf16ToFloat(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// Rounds to nearest, ties to even; a NaN stays a (quiet) NaN.
inline uint16_t FloatToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float F16ToFloat(uint16_t bits);
uint16_t FloatToF16(float value);  // rounds to nearest, ties to even; overflow gives infinity

// Converts `count` elements of `from` (any float dtype) to f32.
void ConvertToFloat(DType from, const void* source, float* target, int64_t count);
// Converts `count` f32 elements to `to` (any float dtype).
void ConvertFromFloat(const float* source, DType to, void* target, int64_t count);

}  // namespace ninfer

#endif  // NINFER_BASE_DTYPE_H_
