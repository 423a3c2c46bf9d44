// EvaluateRows: a block (rows by columns) of an expression is made of blocks of its operands, so
// that no more than one block of each is in memory. A value is a matrix here: its last dimension
// are the columns, all before it are flattened into the rows (a vector is one column). What cannot
// be read so, a sum of two vectors for instance, is evaluated as a whole while it is small. Tested
// by tests/eager_constants_test.cc.
#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/quantise.h"
#include "base/status.h"
#include "eager/constants.h"

namespace ninfer::eager {
namespace {

constexpr int kMaxDepth = 64;           // of nested expressions
constexpr int kMaxOperands = 1 << 16;   // of all of them, counted along every path
constexpr int64_t kMaxWhole = 1 << 22;  // elements of an expression that is evaluated as a whole

int64_t RowsOf(const ir::Type& type) {
  if (type.rank() == 1) return type.shape[0].offset;
  int64_t rows = 1;
  for (int i = 0; i + 1 < type.rank(); ++i) rows *= type.shape[i].offset;
  return rows;
}

int64_t ColumnsOf(const ir::Type& type) { return type.rank() < 2 ? 1 : type.shape.back().offset; }

// The row of the operand that row `row` of the result is, for views that leave the last of at least
// two dimensions alone.
int64_t SourceRow(const ir::Node& node, int64_t row) {
  const ir::Type& to = node.result()->type();
  const ir::Type& from = node.operand(0)->type();
  std::vector<int64_t> index(to.rank() - 1);
  for (size_t axis = index.size(); axis-- > 0;) {
    index[axis] = row % to.shape[axis].offset;
    row /= to.shape[axis].offset;
  }
  std::vector<int64_t> source = index;
  if (node.op() == ir::Op::kTranspose) {
    for (size_t i = 0; i < index.size(); ++i) source[node.attr_ints("perm")[i]] = index[i];
  } else {
    source[node.attr_int("axis")] += node.attr_int("begin");
  }
  int64_t flat = 0;
  for (size_t i = 0; i < source.size(); ++i) flat = flat * from.shape[i].offset + source[i];
  return flat;
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
      case ir::Op::kQuantise:
        return ReadQuantised(node, block, out);
      case ir::Op::kReshape:
        return Read(node.operand(0), block, out);
      case ir::Op::kTranspose:
        if (node.result()->type().rank() == 1) return Read(node.operand(0), block, out);
        return TurnsMatrix(node) ? ReadTranspose(node, block, out) : ReadRows(node, block, out);
      case ir::Op::kSlice: {
        const int rank = node.result()->type().rank();
        const int64_t axis = node.attr_int("axis"), begin = node.attr_int("begin");
        if (rank > 1 && axis < rank - 1) return ReadRows(node, block, out);
        Block inner = block;
        (rank == 1 ? inner.row0 : inner.column0) += begin;
        (rank == 1 ? inner.row1 : inner.column1) += begin;
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

  // Whole groups are read, whatever part of them is wanted.
  absl::Status ReadQuantised(const ir::Node& node, const Block& block, float* out) {
    const QuantiseScheme& scheme = *FindQuantiseScheme(node.attr_string("scheme"));
    const int64_t all = ColumnsOf(node.result()->type());
    Block groups = block;
    const int64_t group = std::max<int64_t>(1, scheme.GroupOf(all));
    groups.column0 = block.column0 / group * group;
    groups.column1 = std::min(all, (block.column1 + group - 1) / group * group);
    std::vector<float> values(groups.rows() * groups.columns());
    NINFER_RETURN_IF_ERROR(Read(node.operand(0), groups, values.data()));
    for (int64_t row = 0; row < block.rows(); ++row) {
      float* from = values.data() + row * groups.columns();
      QuantiseRow(scheme, from, groups.columns(), from);
      std::copy_n(from + block.column0 - groups.column0, block.columns(),
                  out + row * block.columns());
    }
    return absl::OkStatus();
  }

  // Row by row, runs of neighbouring rows at once.
  absl::Status ReadRows(const ir::Node& node, const Block& block, float* out) {
    for (int64_t row = block.row0; row < block.row1;) {
      const int64_t first = SourceRow(node, row);
      int64_t count = 1;
      while (row + count < block.row1 && SourceRow(node, row + count) == first + count) ++count;
      NINFER_RETURN_IF_ERROR(
          Read(node.operand(0), {first, first + count, block.column0, block.column1}, out));
      out += count * block.columns();
      row += count;
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
    case ir::Op::kQuantise:
      if (rank < 2) return false;
      break;
    case ir::Op::kReshape:
      if (rank < 2 || node.operand(0)->type().rank() < 2 ||
          node.operand(0)->type().shape.back() != value->type().shape.back()) {
        return false;
      }
      break;
    case ir::Op::kTranspose:
      if (!TurnsMatrix(node) && node.attr_ints("perm").back() != rank - 1) return false;
      break;
    case ir::Op::kSlice:
      break;
    case ir::Op::kConcat:
      if (node.attr_int("axis") != 0 && node.attr_int("axis") != rank - 1) return false;
      break;
    default:
      return false;
  }
  for (const ir::Value* operand : node.operands()) {
    if (!IsBlockwise(operand, depth - 1, budget)) return false;
  }
  return true;
}

// Elements of a value of static shape, or -1.
int64_t Elements(const ir::Value* value) {
  int64_t elements = 1;
  for (const ir::Dim& dim : value->type().shape) {
    if (!dim.is_static() || dim.offset < 0 ||
        __builtin_mul_overflow(elements, dim.offset, &elements)) {
      return -1;
    }
  }
  return elements;
}

// Small expressions of elementwise ops, casts and views, evaluated op by op.
bool IsSmall(const ir::Value* value, int depth, int& budget) {
  const int64_t elements = Elements(value);
  if (--budget < 0 || elements < 0 || elements > kMaxWhole || value->type().is_kv) return false;
  if (value->is_weight()) return IsFloat(value->type().dtype);
  if (value->is_parameter() || depth == 0) return false;
  const ir::Node& node = *value->producer();
  const ir::OpClass op_class = node.info().op_class;
  if (op_class != ir::OpClass::kElementwise && op_class != ir::OpClass::kCast &&
      op_class != ir::OpClass::kView) {
    return false;
  }
  return std::all_of(node.operands().begin(), node.operands().end(),
                     [&](const ir::Value* v) { return IsSmall(v, depth - 1, budget); });
}

bool IsSmall(const ir::Value* value) {
  int budget = kMaxOperands;
  return IsSmall(value, kMaxDepth, budget);
}

class WholeEvaluator {
 public:
  WholeEvaluator(const ir::Module& module, const ir::WeightSource& weights)
      : module_(module),
        reader_(module, weights),
        threads_(1),
        evaluator_({&threads_, &workspace_}, module.symbols()) {}

  absl::StatusOr<Slot> Evaluate(const ir::Value* value) {
    if (const auto it = known_.find(value); it != known_.end()) return it->second;
    Slot slot;
    if (value->is_weight()) {
      slot.tensor.dtype = value->type().dtype;
      for (const ir::Dim& dim : value->type().shape) slot.tensor.shape.push_back(dim.offset);
      slot.tensor.floats = std::make_shared<std::vector<float>>(Elements(value));
      NINFER_RETURN_IF_ERROR(reader_.Read(value,
                                          {0, RowsOf(value->type()), 0, ColumnsOf(value->type())},
                                          slot.tensor.floats->data()));
    } else {
      std::vector<Slot> operands;
      for (const ir::Value* operand : value->producer()->operands()) {
        NINFER_ASSIGN_OR_RETURN(Slot evaluated, Evaluate(operand));
        operands.push_back(std::move(evaluated));
      }
      NINFER_ASSIGN_OR_RETURN(slot, evaluator_.Evaluate(*value->producer(), operands));
    }
    known_[value] = slot;
    return slot;
  }

 private:
  const ir::Module& module_;
  BlockReader reader_;
  ThreadPool threads_;
  Workspace workspace_;
  Evaluator evaluator_;
  Slots known_;
};

}  // namespace

int64_t RowsOf(const ir::Value* value) { return RowsOf(value->type()); }

bool TurnsMatrix(const ir::Node& node) {
  return node.op() == ir::Op::kTranspose && node.attr_ints("perm") == std::vector<int64_t>{1, 0};
}

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
  const bool blockwise = IsBlockwise(value);
  if (!blockwise && !IsSmall(value)) {
    return InvalidArgument(
        value->is_weight() ? "@" : "%", value->name(), " (",
        value->is_weight()             ? "weight"
        : value->producer() == nullptr ? "parameter"
                                       : value->producer()->info().name,
        "): expected concat, transpose, reshape, cast and slice of weights, at most ", kMaxDepth,
        " deep, or small elementwise arithmetic");
  }
  NINFER_CHECK(0 <= row0 && row0 <= row1 && row1 <= RowsOf(value->type()));
  const int64_t columns = ColumnsOf(value->type());
  if (blockwise) return EvaluateBlock(value, module, weights, {row0, row1, 0, columns}, out);
  WholeEvaluator evaluator(module, weights);
  NINFER_ASSIGN_OR_RETURN(const Slot slot, evaluator.Evaluate(value));
  std::copy(slot.tensor.floats->begin() + row0 * columns,
            slot.tensor.floats->begin() + row1 * columns, out);
  return absl::OkStatus();
}

}  // namespace ninfer::eager
