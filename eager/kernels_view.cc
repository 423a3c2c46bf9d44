// Gathers and views. All elements are held in four bytes, so these ops copy words and do not care
// whether they are floats or integers.
// Tested by tests/eager_ops_test.cc.
#include <cstring>

#include "base/status.h"
#include "eager/kernels.h"
#include "eager/streamed_constant.h"

namespace ninfer::eager {
namespace {

constexpr int64_t kGrain = 16384;  // elements that are worth a thread
constexpr int64_t kWord = 4;

const uint8_t* Bytes(const Tensor& x) {
  return x.ints != nullptr ? reinterpret_cast<const uint8_t*>(x.ints->data())
                           : reinterpret_cast<const uint8_t*>(x.floats->data());
}

uint8_t* MutableBytes(const Tensor& x) { return const_cast<uint8_t*>(Bytes(x)); }

int64_t Product(absl::Span<const int64_t> sizes) {
  int64_t product = 1;
  for (const int64_t size : sizes) product *= size;
  return product;
}

int64_t RowGrain(int64_t row) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, row)); }

absl::Status CheckIndices(const char* what, const Tensor& index, int64_t count) {
  for (const int32_t i : *index.ints) {
    if (i < 0 || i >= count) {
      return InvalidArgument(what, " ", i, ": expected 0 to ", count - 1);
    }
  }
  return absl::OkStatus();
}

// Rows of x, which holds any words, as a tensor of `dtype`.
Tensor CopyRows(const Context& context, const Tensor& index, const Tensor& x, DType dtype) {
  std::vector<int64_t> shape = index.shape;
  shape.insert(shape.end(), x.shape.begin() + 1, x.shape.end());
  Tensor y = context.workspace->Make(dtype, shape);
  const int64_t row = Product(absl::MakeSpan(x.shape).subspan(1));
  context.threads->For(index.elements(), RowGrain(row), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(MutableBytes(y) + i * row * kWord, Bytes(x) + (*index.ints)[i] * row * kWord,
                  row * kWord);
    }
  });
  return y;
}

}  // namespace

absl::StatusOr<Tensor> Embedding(const Context& context, const Tensor& ids, const Tensor& table,
                                 int64_t turned_rows) {
  NINFER_RETURN_IF_ERROR(CheckIndices("id", ids, turned_rows > 0 ? turned_rows : table.shape[0]));
  if (turned_rows == 0) return CopyRows(context, ids, table, DType::kF32);
  const int64_t width = table.shape[0], ld = table.shape[1];  // a row of the table is a column here
  Tensor y = context.workspace->Floats({ids.elements(), width});
  context.threads->For(ids.elements(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* from = table.floats->data() + (*ids.ints)[t];
      for (int64_t i = 0; i < width; ++i) (*y.floats)[t * width + i] = from[i * ld];
    }
  });
  return y;
}

absl::StatusOr<Tensor> Embedding(const Context& context, const Tensor& ids,
                                 const StreamedConstant& table) {
  NINFER_RETURN_IF_ERROR(CheckIndices("id", ids, table.shape()[0]));
  std::vector<int64_t> shape = table.shape();
  shape[0] = ids.elements();
  const int64_t row = Product(absl::MakeSpan(shape).subspan(1));
  Tensor y = context.workspace->Floats(std::move(shape));
  NINFER_RETURN_IF_ERROR(context.threads->ForEach(ids.elements(), [&](int64_t i) {
    const int64_t id = (*ids.ints)[i];
    return table.ReadRows(id, id + 1, y.floats->data() + i * row);
  }));
  return y;
}

absl::StatusOr<Tensor> GatherRows(const Context& context, const Tensor& x, const Tensor& rows) {
  NINFER_RETURN_IF_ERROR(CheckIndices("row", rows, x.shape[0]));
  return CopyRows(context, rows, x, x.dtype);
}

absl::StatusOr<Tensor> TakeColumns(const Context& context, const Tensor& x, const Tensor& ids) {
  const int64_t columns = x.shape[1], taken = ids.shape[1];
  NINFER_RETURN_IF_ERROR(CheckIndices("column", ids, columns));
  Tensor y = context.workspace->Floats(ids.shape);
  for (int64_t i = 0; i < y.elements(); ++i) {
    (*y.floats)[i] = (*x.floats)[i / taken * columns + (*ids.ints)[i]];
  }
  return y;
}

Tensor Transpose(const Context& context, const Tensor& x, absl::Span<const int64_t> perm) {
  const size_t rank = perm.size();
  std::vector<int64_t> shape(rank), in_strides(rank, 1), strides(rank);
  for (size_t i = rank; i-- > 1;) in_strides[i - 1] = in_strides[i] * x.shape[i];
  for (size_t i = 0; i < rank; ++i) {
    shape[i] = x.shape[perm[i]];
    strides[i] = in_strides[perm[i]];
  }
  Tensor y = context.workspace->Make(x.dtype, shape);
  if (y.elements() == 0 || rank == 0) return y;
  const int64_t n = shape.back(), step = strides.back();
  context.threads->For(y.elements() / n, RowGrain(n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t offset = 0, rest = row;
      for (size_t axis = rank - 1; axis-- > 0;) {
        offset += rest % shape[axis] * strides[axis];
        rest /= shape[axis];
      }
      const uint8_t* in = Bytes(x) + offset * kWord;
      uint8_t* out = MutableBytes(y) + row * n * kWord;
      if (step == 1) {
        std::memcpy(out, in, n * kWord);
      } else {
        for (int64_t i = 0; i < n; ++i) std::memcpy(out + i * kWord, in + i * step * kWord, kWord);
      }
    }
  });
  return y;
}

Tensor Slice(const Context& context, const Tensor& x, int64_t axis, int64_t begin, int64_t end) {
  std::vector<int64_t> shape = x.shape;
  shape[axis] = end - begin;
  Tensor y = context.workspace->Make(x.dtype, shape);
  const int64_t inner = Product(absl::MakeSpan(x.shape).subspan(axis + 1));
  const int64_t row = (end - begin) * inner;
  const int64_t outer = Product(absl::MakeSpan(x.shape).subspan(0, axis));
  context.threads->For(outer, RowGrain(row), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      std::memcpy(MutableBytes(y) + i * row * kWord,
                  Bytes(x) + (i * x.shape[axis] + begin) * inner * kWord, row * kWord);
    }
  });
  return y;
}

Tensor Concat(const Context& context, absl::Span<const Tensor> operands, int64_t axis) {
  std::vector<int64_t> shape = operands[0].shape;
  shape[axis] = 0;
  for (const Tensor& operand : operands) shape[axis] += operand.shape[axis];
  Tensor y = context.workspace->Make(operands[0].dtype, shape);
  const int64_t inner = Product(absl::MakeSpan(shape).subspan(axis + 1));
  const int64_t outer = Product(absl::MakeSpan(shape).subspan(0, axis));
  context.threads->For(outer, RowGrain(shape[axis] * inner), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      uint8_t* out = MutableBytes(y) + i * shape[axis] * inner * kWord;
      for (const Tensor& operand : operands) {
        const int64_t bytes = operand.shape[axis] * inner * kWord;
        std::memcpy(out, Bytes(operand) + i * bytes, bytes);
        out += bytes;
      }
    }
  });
  return y;
}

Tensor Repeat(const Context& context, const Tensor& x, int64_t axis, int64_t times) {
  std::vector<int64_t> shape = x.shape;
  shape[axis] *= times;
  Tensor y = context.workspace->Make(x.dtype, shape);
  const int64_t inner = Product(absl::MakeSpan(shape).subspan(axis + 1));
  const int64_t count = Product(absl::MakeSpan(x.shape).subspan(0, axis + 1));
  context.threads->For(count, RowGrain(inner * times), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      for (int64_t j = 0; j < times; ++j) {
        std::memcpy(MutableBytes(y) + (i * times + j) * inner * kWord, Bytes(x) + i * inner * kWord,
                    inner * kWord);
      }
    }
  });
  return y;
}

}  // namespace ninfer::eager
