// Reductions of a row, by all threads of the block: partial sums of columns that lie a block apart,
// added in the order of lanes and warps. Of heads, each is a warp's, and its statistics go to
// shared memory. Tested by tests/cuda_shim_test.cc.
#include "base/status.h"
#include "cuda/generate/row_writer.h"
#include "program/columns.h"

namespace ninfer::cuda {
namespace {

using program::RowColumns;

void FindReductions(const ir::Value* value, std::vector<const ir::Node*>* found,
                    absl::flat_hash_set<const ir::Value*>* seen) {
  const ir::Node* node = value->producer();
  if (node == nullptr || !seen->insert(value).second) return;
  for (const ir::Value* operand : node->operands()) FindReductions(operand, found, seen);
  if (node->info().op_class == ir::OpClass::kReduce && node->op() != ir::Op::kWeightedSum) {
    found->push_back(node);
  }
}

// Of each part that is reduced by itself; 0: the whole row.
int64_t HeadColumns(const ir::Node& node) {
  const ir::Type& type = node.operand(0)->type();
  const int64_t columns = type.shape.back().offset;
  return columns == RowColumns(type) ? 0 : columns;
}

std::string EpsilonText(const ir::Node& node) { return FloatLiteral(node.attr_float("eps")); }

}  // namespace

void RowWriter::DeclareShared(const std::vector<const ir::Value*>& values) {
  std::vector<const ir::Node*> nodes;
  absl::flat_hash_set<const ir::Value*> seen;
  for (const ir::Value* value : values) FindReductions(value, &nodes, &seen);
  bool rows = false;
  for (const ir::Node* node : nodes) {
    const int64_t head = HeadColumns(*node);
    rows |= head == 0;
    if (head == 0) continue;
    Statistics& statistics = statistics_[node];
    statistics.head_columns = head;
    const int64_t heads = RowColumns(node->operand(0)->type()) / head;
    statistics.scale = w_.NewName("scales");
    w_.text().Line("__shared__ float ", statistics.scale, "[", heads, "];");
    if (node->op() == ir::Op::kRmsNorm) continue;
    statistics.shift = w_.NewName("shifts");
    w_.text().Line("__shared__ float ", statistics.shift, "[", heads, "];");
  }
  if (rows) w_.text().Line("__shared__ float partial[", threads_ / kWarpLanes, "];");
}

void RowWriter::PrepareReduction(const ir::Node& node, const std::string& row) {
  if (HeadColumns(node) == 0) {
    ReduceRow(node, row);
  } else {
    ReduceHeads(node, row);
  }
}

void RowWriter::Accumulate(const ir::Node& node, const std::string& row, const std::string& begin,
                           const std::string& first, int64_t columns, int threads,
                           const std::string& name,
                           const std::function<std::string(const std::string&)>& accumulate) {
  const std::string c = w_.NewName("c");
  w_.text().Open("for (int ", c, " = ", first, "; ", c, " < ", columns, "; ", c, " += ", threads,
                 ")");
  {
    const Scope scope(*this);
    const std::string column = begin.empty() ? c : absl::StrCat("(", begin, " + ", c, ")");
    const std::string x = Evaluate(node.operand(0), row, column);
    w_.text().Line(name, " = ", accumulate(x), ";");
  }
  w_.text().Close();
}

void RowWriter::ReduceRow(const ir::Node& node, const std::string& row) {
  Text& text = w_.text();
  const int64_t columns = RowColumns(node.operand(0)->type());
  const std::string warps = absl::StrCat(threads_ / kWarpLanes);
  const std::string value = w_.NewName(node.result());
  Statistics statistics;
  const auto sum = [&](const std::string& name,
                       const std::function<std::string(const std::string&)>& accumulate) {
    text.Line("float ", name, " = 0.0f;");
    Accumulate(node, row, "", "threadIdx.x", columns, threads_, name, accumulate);
    text.Line(name, " = BlockSum<", warps, ">(", name, ", partial);");
  };
  if (node.op() == ir::Op::kSoftmax) {
    statistics.shift = value + "_most";
    text.Line("float ", statistics.shift, " = -kInfinity;");
    Accumulate(node, row, "", "threadIdx.x", columns, threads_, statistics.shift,
               [&](const std::string& x) {
                 return absl::StrCat(statistics.shift, " < ", x, " ? ", x, " : ", statistics.shift);
               });
    text.Line(statistics.shift, " = BlockMax<", warps, ">(", statistics.shift, ", partial);");
    const std::string total = value + "_sum";
    sum(total, [&](const std::string& x) {
      return absl::StrCat(total, " + expf(", x, " - ", statistics.shift, ")");
    });
    statistics.scale = value + "_scale";
    text.Line("const float ", statistics.scale, " = 1.0f / ", total, ";");
    statistics_[&node] = statistics;
    return;
  }
  const std::string count = FloatLiteral(static_cast<double>(columns));
  if (node.op() == ir::Op::kLayerNorm) {
    statistics.shift = value + "_mean";
    sum(statistics.shift,
        [&](const std::string& x) { return absl::StrCat(statistics.shift, " + ", x); });
    text.Line(statistics.shift, " /= ", count, ";");
  }
  const std::string squares = value + "_squares";
  sum(squares, [&](const std::string& x) {
    if (statistics.shift.empty()) return absl::StrCat("fmaf(", x, ", ", x, ", ", squares, ")");
    const std::string centred = absl::StrCat(x, " - ", statistics.shift);
    return absl::StrCat("fmaf(", centred, ", ", centred, ", ", squares, ")");
  });
  statistics.scale = value + "_scale";
  text.Line("const float ", statistics.scale, " = 1.0f / sqrtf(", squares, " / ", count, " + ",
            EpsilonText(node), ");");
  statistics_[&node] = statistics;
}

void RowWriter::ReduceHeads(const ir::Node& node, const std::string& row) {
  Text& text = w_.text();
  const Statistics statistics = statistics_.at(&node);
  const int64_t columns = statistics.head_columns;
  const std::string h = w_.NewName("h"), lane = "threadIdx.x % 32";
  text.Open("for (int ", h, " = threadIdx.x / 32; ", h, " < ",
            RowColumns(node.operand(0)->type()) / columns, "; ", h, " += ", threads_ / kWarpLanes,
            ")");
  const std::string begin = Times(h, columns), value = w_.NewName(node.result());
  const auto reduce = [&](const std::string& name, const char* first, const char* over,
                          const std::function<std::string(const std::string&)>& accumulate) {
    text.Line("float ", name, " = ", first, ";");
    Accumulate(node, row, begin, lane, columns, kWarpLanes, name, accumulate);
    text.Line(name, " = ", over, "(", name, ");");
  };
  const std::string scale = statistics.scale + "[" + h + "]", shift = value + "_shift";
  const std::string count = FloatLiteral(static_cast<double>(columns));
  if (node.op() == ir::Op::kSoftmax) {
    reduce(shift, "-kInfinity", "WarpMax", [&](const std::string& x) {
      return absl::StrCat(shift, " < ", x, " ? ", x, " : ", shift);
    });
    const std::string total = value + "_sum";
    reduce(total, "0.0f", "WarpSum", [&](const std::string& x) {
      return absl::StrCat(total, " + expf(", x, " - ", shift, ")");
    });
    text.Line("if (", lane, " == 0) ", scale, " = 1.0f / ", total, ";");
  } else {
    const bool centres = node.op() == ir::Op::kLayerNorm;
    if (centres) {
      reduce(shift, "0.0f", "WarpSum",
             [&](const std::string& x) { return absl::StrCat(shift, " + ", x); });
      text.Line(shift, " /= ", count, ";");
    }
    const std::string squares = value + "_squares";
    reduce(squares, "0.0f", "WarpSum", [&](const std::string& x) {
      const std::string centred = centres ? absl::StrCat(x, " - ", shift) : x;
      return absl::StrCat("fmaf(", centred, ", ", centred, ", ", squares, ")");
    });
    text.Line("if (", lane, " == 0) ", scale, " = 1.0f / sqrtf(", squares, " / ", count, " + ",
              EpsilonText(node), ");");
  }
  if (!statistics.shift.empty()) {
    text.Line("if (", lane, " == 0) ", statistics.shift, "[", h, "] = ", shift, ";");
  }
  text.Close();
  text.Line("__syncthreads();");
}

}  // namespace ninfer::cuda
