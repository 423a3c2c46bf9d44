// A linear's operations are told by its weight and the rows of what it writes, attention's by the
// columns of what it writes and the pairs of rows and positions that its layer's window leaves.
// Tested by tests/bench_launch_cost_test.cc.
#include "bench/launch_cost.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "base/status.h"
#include "bench/count.h"
#include "formats/formats.h"
#include "runtime/tensor_dump.h"

namespace ninfer::bench {
namespace {

class Counter {
 public:
  Counter(const plan::Plan& plan, const plan::Entry& entry, const StepShape& shape)
      : plan_(plan), entry_(entry), shape_(shape) {}

  LaunchCost Count(const plan::Launch& launch) const {
    const std::string& family = plan_.kernels[launch.kernel].family;
    const bool linear = family == "linear" || family == "grouped_linear";
    const double written = WrittenRows(launch);
    LaunchCost cost;
    for (const plan::Operand& operand : launch.operands) {
      if (operand.kind == plan::OperandKind::kBuffer && !IsScratch(operand.index)) {
        cost.bytes += BufferBytes(plan_.buffers[operand.index]);
      } else if (operand.kind == plan::OperandKind::kWeight) {
        const plan::Weight& weight = plan_.weights[operand.index];
        cost.bytes += linear ? LinearBytes(weight) : TableBytes(weight, written);
        if (linear && IsPanel(weight)) cost.operations += 2 * written * Values(weight);
      } else if (operand.kind == plan::OperandKind::kKv) {
        AddCache(plan_.kv_layers[operand.index], family == "attention", WrittenColumns(launch),
                 &cost);
      }
    }
    return cost;
  }

 private:
  // Written and read by one launch alone, and not asked for.
  bool IsScratch(uint32_t index) const {
    const plan::Buffer& buffer = plan_.buffers[index];
    const auto number = static_cast<int64_t>(index);
    return buffer.first_launch == buffer.last_launch && number != entry_.output &&
           number != entry_.argmax;
  }

  int64_t Rows(const runtime::RowType& type) const {
    int64_t rows = 0;
    if (absl::SimpleAtoi(type.rows, &rows)) return rows;
    return type.rows == "T" ? shape_.texts * shape_.tokens : shape_.texts;  // or S, R
  }

  double BufferBytes(const plan::Buffer& buffer) const {
    const absl::optional<runtime::RowType> type = runtime::ParseRowType(buffer.type);
    if (!type.has_value()) return 0;
    return static_cast<double>(Rows(*type) * type->columns() * DTypeSize(type->dtype));
  }

  // Of the launch's last buffer that others read: the one that it writes.
  absl::optional<runtime::RowType> Written(const plan::Launch& launch) const {
    for (auto operand = launch.operands.rbegin(); operand != launch.operands.rend(); ++operand) {
      if (operand->kind != plan::OperandKind::kBuffer || IsScratch(operand->index)) continue;
      return runtime::ParseRowType(plan_.buffers[operand->index].type);
    }
    return absl::nullopt;
  }
  double WrittenRows(const plan::Launch& launch) const {
    const absl::optional<runtime::RowType> type = Written(launch);
    return type.has_value() ? static_cast<double>(Rows(*type)) : 0;
  }
  double WrittenColumns(const plan::Launch& launch) const {
    const absl::optional<runtime::RowType> type = Written(launch);
    return type.has_value() ? static_cast<double>(type->columns()) : 0;
  }

  // What products are made with; biases, and what else a linear adds, are stored plainly.
  static bool IsPanel(const plan::Weight& weight) {
    const absl::optional<formats::Format> format = formats::FormatFromName(weight.format);
    return format.has_value() && formats::InfoOf(*format).is_panel;
  }
  static int64_t SegmentsRead(const plan::Weight& weight) {
    return weight.segments_read > 0 ? weight.segments_read : weight.segments;
  }
  static double LinearBytes(const plan::Weight& weight) {
    return static_cast<double>(weight.bytes) * static_cast<double>(SegmentsRead(weight)) /
           static_cast<double>(weight.segments);
  }
  static double Values(const plan::Weight& weight) {
    return static_cast<double>(SegmentsRead(weight) * weight.n) * static_cast<double>(weight.k);
  }
  // Of a table as many rows as are gathered; all of what has one row.
  static double TableBytes(const plan::Weight& weight, double rows) {
    const double n = static_cast<double>(weight.n);
    return static_cast<double>(weight.bytes) * std::min(rows, n) / n;
  }

  // Attention reads what its rows see, and has two products for each pair; others append.
  void AddCache(const plan::KvLayer& layer, bool attention, double columns,
                LaunchCost* cost) const {
    const double texts = static_cast<double>(shape_.texts);
    int64_t positions = shape_.tokens;
    if (attention) {
      positions += layer.window == 0 ? shape_.cached : std::min(shape_.cached, layer.window - 1);
      cost->operations +=
          4 * columns * texts * PairsSeen(shape_.tokens, shape_.cached, layer.window);
    }
    cost->bytes += texts * static_cast<double>(positions) * static_cast<double>(layer.page_bytes) /
                   static_cast<double>(layer.page_positions);
  }

  const plan::Plan& plan_;
  const plan::Entry& entry_;
  const StepShape& shape_;
};

}  // namespace

absl::StatusOr<std::vector<LaunchCost>> CountLaunches(const plan::Plan& plan,
                                                      const StepShape& shape) {
  for (const plan::Entry& entry : plan.entries) {
    if (entry.name != "step") continue;
    const Counter counter(plan, entry, shape);
    std::vector<LaunchCost> costs;
    for (const plan::Launch& launch : entry.launches) costs.push_back(counter.Count(launch));
    return costs;
  }
  return InvalidArgument("plan: expected an entry \"step\", found none");
}

}  // namespace ninfer::bench
