// Sizes and names of dimensions and types.
// Tested by tests/ir_module_test.cc.
#include <limits>

#include "absl/strings/str_cat.h"
#include "ir/module.h"

namespace ninfer::ir {

int64_t MaxOf(const Dim& dim, absl::Span<const Symbol> symbols) {
  int64_t size = dim.offset;
  if (!dim.is_static() && __builtin_add_overflow(symbols[dim.symbol].max, dim.offset, &size)) {
    return std::numeric_limits<int64_t>::max();
  }
  return size;
}

int64_t MinOf(const Dim& dim, absl::Span<const Symbol> symbols) {
  int64_t size = dim.offset;
  if (!dim.is_static() && __builtin_add_overflow(symbols[dim.symbol].min, dim.offset, &size)) {
    return std::numeric_limits<int64_t>::min();
  }
  return size;
}

int64_t MaxBytes(const Type& type, absl::Span<const Symbol> symbols) {
  int64_t bytes = DTypeSize(type.dtype);
  for (const Dim& dim : type.shape) {
    if (__builtin_mul_overflow(bytes, MaxOf(dim, symbols), &bytes)) {
      return std::numeric_limits<int64_t>::max();
    }
  }
  return bytes;
}

std::string DimToString(const Dim& dim, absl::Span<const Symbol> symbols) {
  if (dim.is_static()) return absl::StrCat(dim.offset);
  // An index that no symbol has can only come from a module that the verifier is about to refuse.
  const std::string name = static_cast<size_t>(dim.symbol) < symbols.size()
                               ? symbols[dim.symbol].name
                               : absl::StrCat("?", dim.symbol);
  if (dim.offset == 0) return name;
  return absl::StrCat(name, dim.offset > 0 ? "+" : "", dim.offset);
}

std::string TypeToString(const Type& type, absl::Span<const Symbol> symbols) {
  std::string text = type.is_kv ? absl::StrCat("kv<", DTypeName(type.dtype), ">[")
                                : absl::StrCat(DTypeName(type.dtype), "[");
  for (int i = 0; i < type.rank(); ++i) {
    absl::StrAppend(&text, i == 0 ? "" : ",", DimToString(type.shape[i], symbols));
  }
  return absl::StrCat(text, "]");
}

}  // namespace ninfer::ir
