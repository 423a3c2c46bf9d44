// Tested by tests/program_body_test.cc.
#include "program/scratch.h"

#include <algorithm>

#include "program/body.h"

namespace ninfer::program {
namespace {

constexpr int64_t kTiles = kLinearTileBytes;

int64_t RoundUp(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// f32 elements of one row of every value that the body makes.
int64_t RowBytes(const ir::Function& body) {
  int64_t bytes = 0;
  for (const auto& node : body.nodes()) {
    const ir::Type& type = node->result()->type();
    if (!type.is_kv) bytes += RoundUp(LeadingDimension(Columns(type)) * 4);
  }
  return bytes;
}

// Heads of a reduction along the last axis; 1 when it takes the whole row.
int64_t HeadsReduced(const ir::Node& node) {
  if (node.info().op_class != ir::OpClass::kReduce || node.op() == ir::Op::kWeightedSum) return 1;
  const ir::Type& type = node.result()->type();
  const int64_t head = type.shape.back().offset;
  return head == 0 ? 1 : Columns(type) / head;
}

int64_t StatisticsBytes(const ir::Node& node) {
  const int64_t heads = HeadsReduced(node);
  return heads == 1 ? 0 : RoundUp(heads * 2 * 4);
}

// A row of the input as a linear may prepare it: quantised, or in f32, up to whole blocks.
int64_t PreparedBytes(int64_t columns) {
  const int64_t widened = (columns + kQuantisedGroup - 1) / kQuantisedGroup * kQuantisedGroup * 4;
  return std::max({LeadingDimension(columns) * 4, widened, QuantisedRowBytes(columns)});
}

// A block of rows of the linear's input, where any target prepares them.
int64_t LinearBytes(const Kernel& kernel, absl::Span<const ir::Symbol> symbols) {
  const ir::Node* linear = LinearOf(*kernel.body);
  if (linear == nullptr) return kTiles;
  const ir::Type& x = linear->operand(0)->type();
  const int weight = ParameterIndex(*kernel.body, linear->operand(1));
  const formats::FormatInfo& format = formats::InfoOf(kernel.params[weight].format);
  const bool quantised = format.scheme != nullptr;
  const bool half = !quantised && DTypeSize(format.dtype) == 2;
  const int64_t tiles = kTiles + (half ? kLinearSumsBytes + kLinearSliceBytes : 0);
  if (kernel.family == Family::kGroupedLinear) {
    return tiles + kLinearRowBlock * (8 + RoundUp(PreparedBytes(x.shape.back().offset)));
  }
  const int64_t rows = std::min(ir::MaxOf(x.shape[0], symbols), kLinearRowBlock);
  const int64_t columns = Columns(x);
  if (InputQuantiser(*linear) != nullptr) return tiles + RoundUp(rows * QuantisedRowBytes(columns));
  if (quantised) return tiles + RoundUp(rows * PreparedBytes(columns));
  if (x.dtype != DType::kBF16) return tiles;
  return tiles + RoundUp(rows * LeadingDimension(columns) * 4);
}

int64_t AttentionBytes(const Kernel& kernel, absl::Span<const ir::Symbol> symbols) {
  const ir::Node* attention = FindNode(*kernel.body, ir::Op::kPagedAttention);
  const int64_t tiles = AttentionTileBytes(kernel.kv);
  if (attention == nullptr || attention->attr_string("form") != "efficient") return tiles;
  const int64_t heads = attention->operand(0)->type().shape[1].offset;
  const int64_t pages = ir::MaxOf(attention->operand(4)->type().shape[1], symbols);
  const int64_t group = heads / kernel.kv.heads;
  return tiles + kAttentionTokens * group * pages * KvLayout::kPagePositions * int64_t{4};
}

}  // namespace

int64_t AttentionTileBytes(const KvLayout& kv) {
  const int64_t floats =
      kAttentionSpan * KvLayout::kPagePositions + 2 * kv.v_columns() + kAttentionFields;
  const int64_t row = floats * 4 + (kv.integers() ? KvLayout::kPagePositions * 2 : 0);
  const int64_t page = KvLayout::kPagePositions * kv.v_columns() * int64_t{4};
  return kAttentionRows * row + (kv.dtype == DType::kBF16 ? page : 0);
}

int64_t QuantisedRowBytes(int64_t columns) {
  const int64_t groups = (columns + kQuantisedGroup - 1) / kQuantisedGroup;
  return groups * (2 * kQuantisedGroup + 4 + 4);
}

int64_t CacheRowAt(const Kernel& kernel) {
  int64_t at = kTiles + RowBytes(*kernel.body);
  for (const auto& node : kernel.body->nodes()) at += StatisticsBytes(*node);
  return at;
}

int64_t HeadStatisticsAt(const Kernel& kernel, const ir::Node& node) {
  if (StatisticsBytes(node) == 0) return -1;
  int64_t at = kTiles + RowBytes(*kernel.body);
  for (const auto& other : kernel.body->nodes()) {
    if (other.get() == &node) break;
    at += StatisticsBytes(*other);
  }
  return at;
}

int64_t ScratchBytes(const Kernel& kernel, absl::Span<const ir::Symbol> symbols) {
  switch (kernel.family) {
    case Family::kLinear:
    case Family::kGroupedLinear:
      return LinearBytes(kernel, symbols);
    case Family::kRowwise:
      return CacheRowAt(kernel);
    case Family::kKvAppend:
      return CacheRowAt(kernel) + (kernel.kv.integers() ? RoundUp(kernel.kv.v_columns() * 5) : 0);
    case Family::kAttention:
      return AttentionBytes(kernel, symbols);
    case Family::kPages:
    case Family::kRouting:
    case Family::kArgmax:
      return 0;
  }
  return kTiles;
}

}  // namespace ninfer::program
