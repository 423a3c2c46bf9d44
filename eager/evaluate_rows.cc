// EvaluateRows: a block (rows by columns) of an expression is made of blocks of its operands, so
// that no more than one block of each is in memory. A value is a matrix here, trailing dimensions
// flattened.
// Tested by tests/eager_constants_test.cc.
#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "eager/constants.h"

namespace ninfer::eager {
namespace {

constexpr int kMaxDepth = 64;          // of nested expressions
constexpr int kMaxOperands = 1 << 16;  // of all of them, counted along every path

int64_t RowsOf(const ir::Type& type) { return type.rank() == 0 ? 1 : type.shape[0].offset; }

int64_t ColumnsOf(const ir::Type& type) {
  int64_t columns = 1;
  for (int i = 1; i < type.rank(); ++i) columns *= type.shape[i].offset;
  return columns;
}

class BlockReader {
 public:
  BlockReader(const ir::Module& module, const ir::WeightSource& weights)
      : module_(module), weights_(weights) {}

  absl::Status Read(const ir::Value* value, const Block& block, float* out) {
    if (value->is_weight()) return ReadWeight(value, block, out);
    const ir::Node& node = *value->producer();
    switch (node.op()) {
      case ir::Op::kCast:
        return ReadCast(node, block, out);
      case ir::Op::kTranspose:
        return ReadTranspose(node, block, out);
      case ir::Op::kSlice: {
        const int64_t begin = node.attr_int("begin");
        Block inner = block;
        (node.attr_int("axis") == 0 ? inner.row0 : inner.column0) += begin;
        (node.attr_int("axis") == 0 ? inner.row1 : inner.column1) += begin;
        return Read(node.operand(0), inner, out);
      }
      default:
        return ReadConcat(node, block, out);
    }
  }

 private:
  absl::Status ReadWeight(const ir::Value* value, const Block& block, float* out) {
    const int64_t columns = ColumnsOf(value->type());
    const ir::Weight& weight = module_.WeightOf(value);
    DType dtype = DType::kF32;
    const uint8_t* data = reinterpret_cast<const uint8_t*>(weight.literal.data());
    if (weight.literal.empty()) {
      NINFER_ASSIGN_OR_RETURN(const ir::WeightView view, weights_.Find(value->name()));
      NINFER_RETURN_IF_ERROR(CheckView(value, view));
      dtype = view.dtype;
      data = static_cast<const uint8_t*>(view.data);
    }
    if (block.columns() == columns) {  // without gaps
      ConvertToFloat(dtype, data + block.row0 * columns * DTypeSize(dtype), out,
                     block.rows() * columns);
      return absl::OkStatus();
    }
    for (int64_t row = block.row0; row < block.row1; ++row) {
      ConvertToFloat(dtype, data + (row * columns + block.column0) * DTypeSize(dtype), out,
                     block.columns());
      out += block.columns();
    }
    return absl::OkStatus();
  }

  absl::Status CheckView(const ir::Value* value, const ir::WeightView& view) {
    bool equal = view.dtype == value->type().dtype && IsFloat(view.dtype) &&
                 static_cast<int>(view.shape.size()) == value->type().rank();
    for (size_t i = 0; equal && i < view.shape.size(); ++i) {
      equal = value->type().shape[i] == ir::Dim::Static(view.shape[i]);
    }
    if (equal) return absl::OkStatus();
    return InvalidArgument("@", value->name(), ": expected ",
                           ir::TypeToString(value->type(), module_.symbols()), ", found ",
                           DTypeName(view.dtype), "[", absl::StrJoin(view.shape, ","), "]");
  }

  absl::Status ReadCast(const ir::Node& node, const Block& block, float* out) {
    NINFER_RETURN_IF_ERROR(Read(node.operand(0), block, out));
    const DType dtype = node.result()->type().dtype;
    if (dtype != DType::kBF16 && dtype != DType::kF16) return absl::OkStatus();
    std::vector<uint16_t> rounded(block.columns());
    for (int64_t row = 0; row < block.rows(); ++row) {
      float* values = out + row * block.columns();
      ConvertFromFloat(values, dtype, rounded.data(), block.columns());
      ConvertToFloat(dtype, rounded.data(), values, block.columns());
    }
    return absl::OkStatus();
  }

  absl::Status ReadTranspose(const ir::Node& node, const Block& block, float* out) {
    std::vector<float> inner(block.rows() * block.columns());
    NINFER_RETURN_IF_ERROR(Read(
        node.operand(0), {block.column0, block.column1, block.row0, block.row1}, inner.data()));
    constexpr int64_t kTile = 16;
    for (int64_t i0 = 0; i0 < block.rows(); i0 += kTile) {
      for (int64_t j = 0; j < block.columns(); ++j) {
        for (int64_t i = i0; i < std::min(i0 + kTile, block.rows()); ++i) {
          out[i * block.columns() + j] = inner[j * block.rows() + i];
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadConcat(const ir::Node& node, const Block& block, float* out) {
    const bool by_row = node.attr_int("axis") == 0;
    const int64_t begin = by_row ? block.row0 : block.column0;
    const int64_t end = by_row ? block.row1 : block.column1;
    int64_t first = 0;  // where the operand begins along the axis
    std::vector<float> part;
    for (const ir::Value* operand : node.operands()) {
      const int64_t size = by_row ? RowsOf(operand->type()) : ColumnsOf(operand->type());
      const int64_t from = std::max(begin, first), to = std::min(end, first + size);
      if (from < to && by_row) {
        NINFER_RETURN_IF_ERROR(Read(operand,
                                    {from - first, to - first, block.column0, block.column1},
                                    out + (from - begin) * block.columns()));
      } else if (from < to) {
        part.resize(block.rows() * (to - from));
        NINFER_RETURN_IF_ERROR(
            Read(operand, {block.row0, block.row1, from - first, to - first}, part.data()));
        for (int64_t row = 0; row < block.rows(); ++row) {
          std::memcpy(out + row * block.columns() + from - begin, part.data() + row * (to - from),
                      (to - from) * sizeof(float));
        }
      }
      first += size;
    }
    return absl::OkStatus();
  }

  const ir::Module& module_;
  const ir::WeightSource& weights_;
};

bool IsBlockwise(const ir::Value* value, int depth, int& budget) {
  if (--budget < 0) return false;
  if (value->is_weight()) return IsFloat(value->type().dtype);
  if (value->is_parameter() || depth == 0) return false;
  const ir::Node& node = *value->producer();
  const int rank = value->type().rank();
  switch (node.op()) {
    case ir::Op::kCast:
      if (!IsFloat(value->type().dtype)) return false;
      break;
    case ir::Op::kTranspose:
      if (rank != 2 || node.attr_ints("perm") != std::vector<int64_t>{1, 0}) return false;
      break;
    case ir::Op::kSlice:
    case ir::Op::kConcat:
      if (node.attr_int("axis") != 0 && rank != 2) return false;
      break;
    default:
      return false;
  }
  for (const ir::Value* operand : node.operands()) {
    if (!IsBlockwise(operand, depth - 1, budget)) return false;
  }
  return true;
}

}  // namespace

bool IsBlockwise(const ir::Value* value) {
  for (const ir::Dim& dim : value->type().shape) {
    if (!dim.is_static()) return false;
  }
  int budget = kMaxOperands;
  return IsBlockwise(value, kMaxDepth, budget);
}

absl::Status EvaluateBlock(const ir::Value* value, const ir::Module& module,
                           const ir::WeightSource& weights, const Block& block, float* out) {
  return BlockReader(module, weights).Read(value, block, out);
}

absl::Status EvaluateRows(const ir::Value* value, const ir::Module& module,
                          const ir::WeightSource& weights, int64_t row0, int64_t row1, float* out) {
  if (!IsBlockwise(value)) {
    return InvalidArgument(value->is_weight() ? "@" : "%", value->name(), " (",
                           value->is_weight()             ? "weight"
                           : value->producer() == nullptr ? "parameter"
                                                          : value->producer()->info().name,
                           "): expected concat, transpose, cast and slice of weights, at most ",
                           kMaxDepth, " deep");
  }
  NINFER_CHECK(0 <= row0 && row0 <= row1 && row1 <= RowsOf(value->type()));
  return EvaluateBlock(value, module, weights, {row0, row1, 0, ColumnsOf(value->type())}, out);
}

}  // namespace ninfer::eager
