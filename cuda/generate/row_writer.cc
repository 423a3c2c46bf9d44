// See row_writer.h. Reductions stand in row_reduce.cc.
// Tested by tests/cuda_shim_test.cc.
#include "cuda/generate/row_writer.h"

#include "absl/strings/numbers.h"
#include "base/status.h"
#include "cuda/generate/weights.h"
#include "program/columns.h"

namespace ninfer::cuda {
namespace {

using program::RowColumns;

bool IsReduce(const ir::Node& node) {
  return node.info().op_class == ir::OpClass::kReduce && node.op() != ir::Op::kWeightedSum;
}

// A number that the text is, or -1.
int64_t NumberOf(const std::string& text) {
  int64_t number = -1;
  return absl::SimpleAtoi(text, &number) ? number : -1;
}

}  // namespace

std::string Plus(const std::string& a, int64_t b) {
  if (b == 0) return a;
  if (const int64_t number = NumberOf(a); number >= 0) return absl::StrCat(number + b);
  return b < 0 ? absl::StrCat("(", a, " - ", -b, ")") : absl::StrCat("(", a, " + ", b, ")");
}
std::string Times(const std::string& a, int64_t b) {
  if (b == 1) return a;
  if (const int64_t number = NumberOf(a); number >= 0) return absl::StrCat(number * b);
  return absl::StrCat(a, " * ", b);
}
std::string Modulo(const std::string& a, int64_t b) {
  if (b == 1) return "0";
  if (const int64_t number = NumberOf(a); number >= 0) return absl::StrCat(number % b);
  return absl::StrCat("(", a, " % ", b, ")");
}
std::string Over(const std::string& a, int64_t b) {
  if (b == 1) return a;
  if (const int64_t number = NumberOf(a); number >= 0) return absl::StrCat(number / b);
  return absl::StrCat("(", a, " / ", b, ")");
}

std::string ElementText(const std::string& row, const std::string& stride,
                        const std::string& column) {
  const std::string start = stride == "1" ? row : absl::StrCat("(size_t)", row, " * ", stride);
  return column == "0" ? start : absl::StrCat(start, " + ", column);
}

std::string UnaryText(ir::Op op, const std::string& x) {
  switch (op) {
    case ir::Op::kNeg:
      return absl::StrCat("-(", x, ")");
    case ir::Op::kExp:
      return absl::StrCat("expf(", x, ")");
    case ir::Op::kLog:
      return absl::StrCat("logf(", x, ")");
    case ir::Op::kFloor:
      return absl::StrCat("floorf(", x, ")");
    case ir::Op::kTanh:
      return absl::StrCat("tanhf(", x, ")");
    case ir::Op::kSigmoid:
      return absl::StrCat("Sigmoid(", x, ")");
    case ir::Op::kSilu:
      return absl::StrCat("Silu(", x, ")");
    case ir::Op::kGelu:
      return absl::StrCat("Gelu(", x, ")");
    case ir::Op::kGeluTanh:
      return absl::StrCat("GeluTanh(", x, ")");
    case ir::Op::kRelu:
      return absl::StrCat(x, " < 0.0f ? 0.0f : ", x);
    case ir::Op::kSqrt:
      return absl::StrCat("sqrtf(", x, ")");
    case ir::Op::kRsqrt:
      return absl::StrCat("1.0f / sqrtf(", x, ")");
    case ir::Op::kCos:
      return absl::StrCat("Cosine(", x, ")");
    case ir::Op::kSin:
      return absl::StrCat("Sine(", x, ")");
    default:
      return "";
  }
}

std::string BinaryText(ir::Op op, const std::string& a, const std::string& b) {
  switch (op) {
    case ir::Op::kAdd:
      return absl::StrCat(a, " + ", b);
    case ir::Op::kSub:
      return absl::StrCat(a, " - ", b);
    case ir::Op::kMul:
      return absl::StrCat(a, " * ", b);
    case ir::Op::kDiv:
      return absl::StrCat(a, " / ", b);
    case ir::Op::kMin:
      return absl::StrCat(b, " < ", a, " ? ", b, " : ", a);
    case ir::Op::kMax:
      return absl::StrCat(a, " < ", b, " ? ", b, " : ", a);
    case ir::Op::kGreater:
      return absl::StrCat(a, " > ", b, " ? 1.0f : 0.0f");
    default:
      return "";
  }
}

void RowWriter::Override(const ir::Value* value, Evaluator function) {
  overrides_[value] = std::move(function);
}

void RowWriter::ForColumns(int64_t columns, const std::function<void(const std::string&)>& body) {
  w_.text().Open("for (int c = threadIdx.x; c < ", columns, "; c += ", threads_, ")");
  {
    const Scope scope(*this);
    body("c");
  }
  w_.text().Close();
}

void RowWriter::PrepareRow(const ir::Value* value, const std::string& row) {
  if (overrides_.contains(value) || value->producer() == nullptr) return;
  if (!prepared_.emplace(value, row).second) return;
  const ir::Node& node = *value->producer();
  if (node.op() == ir::Op::kGatherRows) {
    // Several rows side by side are rows of a parameter, where nothing is to prepare.
    if (node.operand(1)->type().rank() > 1) return;
    PrepareRow(node.operand(0), RowOfGather(node, row, "0"));
    return;
  }
  for (const ir::Value* operand : node.operands()) PrepareRow(operand, row);
  if (IsReduce(node)) PrepareReduction(node, row);
}

std::string RowWriter::Define(const ir::Value* value, const std::string& expression) {
  const std::string name = w_.NewName(value);
  w_.text().Line("const float ", name, " = ", expression, ";");
  return name;
}

std::string RowWriter::Evaluate(const ir::Value* value, const std::string& row,
                                const std::string& column) {
  const auto key = std::make_tuple(value, row, column);
  if (const auto it = evaluated_.find(key); it != evaluated_.end()) return it->second;
  std::string name;
  if (const auto it = overrides_.find(value); it != overrides_.end()) {
    name = it->second(row, column);
  } else if (value->producer() == nullptr) {
    name = EvaluateParameter(value, row, column);
  } else {
    name = EvaluateNode(*value->producer(), row, column);
  }
  return evaluated_[key] = name;
}

std::string RowWriter::EvaluateParameter(const ir::Value* value, const std::string& row,
                                         const std::string& column) {
  const ir::Type& type = value->type();
  const std::string element =
      program::HasRows(type) ? ElementText(row, w_.RowStride(value), column) : column;
  if (type.dtype == DType::kI32) {
    const std::string name = w_.NewName(value);
    w_.text().Line("const int ", name, " = ", w_.Name(value), "[", element, "];");
    return name;
  }
  return Define(value, absl::StrCat("Widen(", w_.Name(value), "[", element, "])"));
}

std::string RowWriter::EvaluateOperand(const ir::Node& node, int operand, const std::string& row,
                                       const std::string& column) {
  const ir::Value* value = node.operand(operand);
  const int64_t own = RowColumns(value->type());
  const int64_t columns = RowColumns(node.result()->type());
  if (own == 1 && columns != 1) return Evaluate(value, row, "0");
  return Evaluate(value, row, own == columns ? column : Modulo(column, own));
}

std::string RowWriter::EvaluateNode(const ir::Node& node, const std::string& row,
                                    const std::string& column) {
  switch (node.op()) {
    case ir::Op::kConstant:
      return FloatLiteral(node.attr_float("value"));
    case ir::Op::kRope:
      return EvaluateRope(node, row, column);
    case ir::Op::kSoftmax:
    case ir::Op::kRmsNorm:
    case ir::Op::kLayerNorm:
      return EvaluateNormalised(node, row, column);
    case ir::Op::kCast: {
      const std::string x = Evaluate(node.operand(0), row, column);
      const DType to = node.result()->type().dtype;
      if (node.operand(0)->type().dtype == DType::kI32) {
        return Define(node.result(), absl::StrCat("(float)", x));
      }
      if (to == DType::kF32) return x;
      return Define(node.result(), absl::StrCat("Widen(Round<", TypeName(to), ">(", x, "))"));
    }
    case ir::Op::kReshape:
      return Evaluate(node.operand(0), row, column);
    case ir::Op::kSlice: {
      const int64_t axis = node.attr_int("axis");
      const ir::Type& to = node.result()->type();
      const int64_t trailing = program::TrailingColumns(to, axis);
      const int64_t skipped = node.attr_int("begin") * trailing;
      if (axis <= 1) return Evaluate(node.operand(0), row, Plus(column, skipped));
      const int64_t own = to.shape[axis].offset * trailing;
      const int64_t whole = node.operand(0)->type().shape[axis].offset * trailing;
      const std::string inner = Plus(Modulo(column, own), skipped);
      if (own == RowColumns(to)) return Evaluate(node.operand(0), row, inner);
      const std::string block = Times(Over(column, own), whole);
      return Evaluate(node.operand(0), row, absl::StrCat("(", block, " + ", inner, ")"));
    }
    case ir::Op::kGatherRows: {
      const int64_t own = RowColumns(node.operand(0)->type());
      const bool one = node.operand(1)->type().rank() == 1;
      const std::string from = RowOfGather(node, row, one ? "0" : Over(column, own));
      return Evaluate(node.operand(0), from, one ? column : Modulo(column, own));
    }
    case ir::Op::kEmbedding:
      return EmbeddingAt(node, row, column);
    case ir::Op::kTakeColumns:
      return Evaluate(node.operand(0), row, Evaluate(node.operand(1), row, column));
    case ir::Op::kWeightedSum:
      return EvaluateWeightedSum(node, row, column);
    default:
      break;
  }
  const std::string a = EvaluateOperand(node, 0, row, column);
  if (node.operands().size() == 1) {
    const std::string text = UnaryText(node.op(), a);
    NINFER_CHECK(!text.empty()) << std::string(node.info().name);
    return Define(node.result(), text);
  }
  const std::string text = BinaryText(node.op(), a, EvaluateOperand(node, 1, row, column));
  NINFER_CHECK(!text.empty()) << std::string(node.info().name);
  return Define(node.result(), text);
}

// Column i of a head and its partner turn by angle p; columns behind the pairs pass.
std::string RowWriter::EvaluateRope(const ir::Node& node, const std::string& row,
                                    const std::string& column) {
  Text& text = w_.text();
  const int64_t head = node.result()->type().shape.back().offset;
  const int64_t pairs = RowColumns(node.operand(1)->type());
  const bool neighbours = node.attr_string("style") == "pairs";
  const std::string i = w_.NewName("i"), angle = w_.NewName("angle");
  const std::string partner = w_.NewName("partner"), first = w_.NewName("first");
  text.Line("const int ", i, " = ", Modulo(column, head), ";");
  const bool partly = 2 * pairs < head;
  const std::string turns = absl::StrCat(i, " < ", 2 * pairs);
  if (neighbours) {
    text.Line("const bool ", first, " = ", i, " % 2 == 0;");
    text.Line("const int ", angle, " = ", partly ? turns + " ? " : "", i, " / 2",
              partly ? " : 0;" : ";");
  } else {
    text.Line("const bool ", first, " = ", i, " < ", pairs, ";");
    text.Line("const int ", angle, " = ", first, " ? ", i, " : ",
              partly ? absl::StrCat(turns, " ? ", i, " - ", pairs, " : 0;")
                     : absl::StrCat(i, " - ", pairs, ";"));
  }
  const int64_t step = neighbours ? 1 : pairs;
  text.Line("const int ", partner, " = ", first, " ? ", Plus(column, step), " : ",
            Plus(column, -step), ";");
  const std::string x = Evaluate(node.operand(0), row, column);
  const std::string other = Evaluate(node.operand(0), row, partner);
  const std::string cosine = Evaluate(node.operand(1), row, angle);
  const std::string sine = Evaluate(node.operand(2), row, angle);
  const std::string turned = absl::StrCat("fmaf(", x, ", ", cosine, ", (", first, " ? -", other,
                                          " : ", other, ") * ", sine, ")");
  return Define(node.result(), partly ? absl::StrCat(turns, " ? ", turned, " : ", x) : turned);
}

std::string RowWriter::EvaluateNormalised(const ir::Node& node, const std::string& row,
                                          const std::string& column) {
  const Statistics& found = statistics_.at(&node);
  std::string index;
  if (found.head_columns > 0) index = absl::StrCat("[", Over(column, found.head_columns), "]");
  std::string x = Evaluate(node.operand(0), row, column);
  if (!found.shift.empty()) x = absl::StrCat("(", x, " - ", found.shift, index, ")");
  const std::string scale = found.scale + index;
  if (node.op() == ir::Op::kSoftmax) {
    return Define(node.result(), absl::StrCat("expf", x, " * ", scale));
  }
  std::string y = absl::StrCat(x, " * ", scale, " * ", EvaluateOperand(node, 1, row, column));
  if (node.op() == ir::Op::kLayerNorm) {
    absl::StrAppend(&y, " + ", EvaluateOperand(node, 2, row, column));
  }
  return Define(node.result(), y);
}

std::string RowWriter::EvaluateWeightedSum(const ir::Node& node, const std::string& row,
                                           const std::string& column) {
  const int64_t own = RowColumns(node.result()->type());
  const std::string sum = w_.NewName(node.result()), j = w_.NewName("j");
  w_.text().Line("float ", sum, " = 0.0f;");
  w_.text().Open("for (int ", j, " = 0; ", j, " < ", RowColumns(node.operand(1)->type()), "; ++", j,
                 ")");
  {
    const Scope scope(*this);
    const std::string x =
        Evaluate(node.operand(0), row, absl::StrCat("(", Times(j, own), " + ", column, ")"));
    const std::string weight = Evaluate(node.operand(1), row, j);
    w_.text().Line(sum, " = fmaf(", weight, ", ", x, ", ", sum, ");");
  }
  w_.text().Close();
  return sum;
}

std::string RowWriter::RowOfGather(const ir::Node& node, const std::string& row,
                                   const std::string& column) {
  return Evaluate(node.operand(1), row, column);
}

std::string RowWriter::EmbeddingAt(const ir::Node& node, const std::string& row,
                                   const std::string& column) {
  const ir::Value* table = node.operand(1);
  const formats::FormatInfo& format = formats::InfoOf(w_.ParameterInfo(table).format);
  const std::string id = Evaluate(node.operand(0), row, "0");
  const int64_t columns = table->type().shape[1].offset;
  if (!format.is_panel) {
    return Define(node.result(),
                  absl::StrCat("Widen(", w_.Name(table), "[",
                               ElementText(id, absl::StrCat(columns), column), "])"));
  }
  const TileLayout tiles = TilesOf(format.format, {table->type().shape[0].offset, columns, 1});
  if (format.scheme != nullptr) {
    return Define(node.result(), absl::StrCat("TileInteger<", ElementName(format.format), ">(",
                                              w_.Name(table), ", ", id, ", ", column, ", ",
                                              tiles.tiles(), ", ", tiles.tile_bytes(), ")"));
  }
  return Define(node.result(), absl::StrCat("TileElement(", w_.Name(table), ", ", id, ", ", column,
                                            ", ", tiles.tiles(), ")"));
}

}  // namespace ninfer::cuda
