// Values as a kernel's operands hold them: rows of buffers, packed weights, step arguments.
#ifndef NINFER_TESTS_SUPPORT_KERNEL_OPERANDS_H_
#define NINFER_TESTS_SUPPORT_KERNEL_OPERANDS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "eager/eager.h"
#include "formats/formats.h"
#include "ir/module.h"

namespace ninfer {

std::vector<int64_t> ShapeOf(const ir::Type& type, absl::Span<const int64_t> dims);
// Of the sizes from the `from`-th on.
int64_t Product(absl::Span<const int64_t> shape, size_t from);

// How a value lies in its memory: rows of `columns` elements, `stride` apart.
struct Extent {
  int64_t rows, columns, stride;
  int64_t bytes(DType dtype) const { return rows * stride * DTypeSize(dtype); }
};
// In a buffer, or `dense` as a step argument.
Extent ExtentOf(const ir::Type& type, absl::Span<const int64_t> dims, bool dense);
void Store(const eager::Tensor& tensor, const ir::Type& type, const Extent& extent,
           uint8_t* target);
eager::Tensor Load(const ir::Type& type, absl::Span<const int64_t> dims, const Extent& extent,
                   const uint8_t* source);

formats::PackedShape PackedShapeOf(const ir::Type& type, int64_t segments);
void Pack(const eager::Tensor& tensor, formats::Format format, const formats::PackedShape& shape,
          uint8_t* target);

// Values as `dtype` holds them.
eager::Tensor Rounded(eager::Tensor tensor, DType dtype);
eager::Tensor SliceRows(const eager::Tensor& tensor, int64_t first, int64_t last);
bool SameBits(const eager::Tensor& a, const eager::Tensor& b);

}  // namespace ninfer

#endif  // NINFER_TESTS_SUPPORT_KERNEL_OPERANDS_H_
