#include "tests/support/kernel_operands.h"

#include <cstring>
#include <utility>

#include "program/body.h"

namespace ninfer {

std::vector<int64_t> ShapeOf(const ir::Type& type, absl::Span<const int64_t> dims) {
  std::vector<int64_t> shape;
  for (const ir::Dim& dim : type.shape) {
    shape.push_back(dim.offset + (dim.is_static() ? 0 : dims[dim.symbol]));
  }
  return shape;
}

int64_t Product(absl::Span<const int64_t> shape, size_t from) {
  int64_t product = 1;
  for (size_t i = from; i < shape.size(); ++i) product *= shape[i];
  return product;
}

Extent ExtentOf(const ir::Type& type, absl::Span<const int64_t> dims, bool dense) {
  const std::vector<int64_t> shape = ShapeOf(type, dims);
  const int64_t rows = shape.empty() ? 1 : shape[0];
  const int64_t columns = Product(shape, 1);
  const int64_t ld = dense ? 0 : program::BufferLd(type);
  return {rows, columns, ld == 0 ? columns : ld};
}

void Store(const eager::Tensor& tensor, const ir::Type& type, const Extent& extent,
           uint8_t* target) {
  const int64_t size = DTypeSize(type.dtype);
  for (int64_t row = 0; row < extent.rows; ++row) {
    uint8_t* at = target + row * extent.stride * size;
    if (tensor.ints != nullptr) {
      std::memcpy(at, tensor.ints->data() + row * extent.columns, extent.columns * size);
    } else {
      ConvertFromFloat(tensor.floats->data() + row * extent.columns, type.dtype, at,
                       extent.columns);
    }
  }
}

eager::Tensor Load(const ir::Type& type, absl::Span<const int64_t> dims, const Extent& extent,
                   const uint8_t* source) {
  const int64_t size = DTypeSize(type.dtype);
  eager::Tensor tensor;
  if (type.dtype == DType::kI32) {
    tensor = eager::Tensor::Ints(ShapeOf(type, dims),
                                 std::vector<int32_t>(extent.rows * extent.columns));
  } else {
    tensor = eager::Tensor::Floats(ShapeOf(type, dims),
                                   std::vector<float>(extent.rows * extent.columns));
  }
  tensor.dtype = type.dtype;
  for (int64_t row = 0; row < extent.rows; ++row) {
    const uint8_t* at = source + row * extent.stride * size;
    if (tensor.ints != nullptr) {
      std::memcpy(tensor.ints->data() + row * extent.columns, at, extent.columns * size);
    } else {
      ConvertToFloat(type.dtype, at, tensor.floats->data() + row * extent.columns, extent.columns);
    }
  }
  return tensor;
}

formats::PackedShape PackedShapeOf(const ir::Type& type, int64_t segments) {
  formats::PackedShape shape;
  shape.segments = segments;
  shape.n = type.rank() == 1 ? 1 : type.shape[type.rank() - 2].offset;
  if (type.rank() == 2) shape.n /= segments;
  shape.k = type.shape.back().offset;
  return shape;
}

void Pack(const eager::Tensor& tensor, formats::Format format, const formats::PackedShape& shape,
          uint8_t* target) {
  for (int64_t segment = 0; segment < shape.segments; ++segment) {
    formats::PackRows(format, shape, segment, 0, shape.n,
                      tensor.floats->data() + segment * shape.n * shape.k, target);
  }
}

eager::Tensor Rounded(eager::Tensor tensor, DType dtype) {
  if (tensor.floats == nullptr) return tensor;
  std::vector<float> values = *tensor.floats;
  std::vector<uint8_t> bytes(values.size() * DTypeSize(dtype));
  ConvertFromFloat(values.data(), dtype, bytes.data(), static_cast<int64_t>(values.size()));
  ConvertToFloat(dtype, bytes.data(), values.data(), static_cast<int64_t>(values.size()));
  tensor = eager::Tensor::Floats(tensor.shape, std::move(values));
  tensor.dtype = dtype;
  return tensor;
}

bool SameBits(const eager::Tensor& a, const eager::Tensor& b) {
  if (a.shape != b.shape || (a.floats == nullptr) != (b.floats == nullptr)) return false;
  if (a.ints != nullptr) return *a.ints == *b.ints;
  return std::memcmp(a.floats->data(), b.floats->data(), a.floats->size() * sizeof(float)) == 0;
}

eager::Tensor SliceRows(const eager::Tensor& tensor, int64_t first, int64_t last) {
  std::vector<int64_t> shape = tensor.shape;
  shape[0] = last - first;
  const int64_t columns = Product(shape, 1);
  eager::Tensor slice;
  if (tensor.ints != nullptr) {
    slice = eager::Tensor::Ints(
        shape, {tensor.ints->begin() + first * columns, tensor.ints->begin() + last * columns});
  } else {
    slice = eager::Tensor::Floats(
        shape, {tensor.floats->begin() + first * columns, tensor.floats->begin() + last * columns});
  }
  slice.dtype = tensor.dtype;
  return slice;
}

}  // namespace ninfer
