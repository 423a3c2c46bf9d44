// The linear family: y = epilogue(x w^T). A unit is a panel of 32 output columns (of both segments
// of a gate and up pair). Panels are visited in pairs where the registers hold two; for each, all
// rows go by in tiles, so that a panel is read from memory once and stays in the cache for the
// other tiles. One row or six cost the same read. Accumulators pass through the thread's scratch to
// one small epilogue loop, which evaluates the body's arithmetic on vectors of columns. Tested by
// tests/codegen_test.cc.
#include <algorithm>

#include "base/status.h"
#include "codegen/emitter.h"
#include "codegen/row_evaluator.h"

namespace ninfer::codegen {
namespace {

// x as the linear reads it: rows of a buffer from some column on.
struct Input {
  const ir::Value* buffer = nullptr;
  int64_t ld = 0;
  int64_t first_column = 0;
  DType dtype = DType::kF32;
};

class LinearEmitter {
 public:
  explicit LinearEmitter(Emitter& e) : e_(e), evaluator_(e) {}

  absl::Status Run() {
    NINFER_RETURN_IF_ERROR(Analyse());
    const int group = e_.target().avx512 && segments_ == 1 ? 2 : 1;
    LV pairs = e_.b().CreateSub(
        e_.end(), e_.b().CreateURem(e_.b().CreateSub(e_.end(), e_.begin()), e_.I64(group)));
    e_.For(e_.begin(), pairs, group, [&](LV panel) { Panels(panel, group); });
    if (group > 1) e_.For(pairs, e_.end(), 1, [&](LV panel) { Panels(panel, 1); });
    e_.Finish();
    return absl::OkStatus();
  }

 private:
  absl::Status Analyse() {
    for (const auto& node : e_.body().nodes()) {
      if (node->op() == ir::Op::kLinear) linear_ = node.get();
    }
    NINFER_CHECK(linear_ != nullptr) << e_.kernel().name;
    const ir::Value* weight = linear_->operand(1);
    const program::KernelParam& info = e_.ParameterInfo(weight);
    segments_ = info.segments;
    k_ = weight->type().shape[1].offset;
    n_ = weight->type().shape[0].offset / segments_;
    format_ = info.format;
    NINFER_RETURN_IF_ERROR(FindInput(linear_->operand(0)));
    switch (format_) {
      case formats::Format::kPanelF32:
        mode_ = DotMode::kF32;
        break;
      case formats::Format::kPanelF16:
        mode_ = DotMode::kF16;
        break;
      case formats::Format::kPanelBF16:
        mode_ = e_.target().bf16_dot && input_.dtype == DType::kBF16 ? DotMode::kBf16Dot
                                                                     : DotMode::kBf16Pairs;
        break;
      default:
        return absl::InternalError(
            absl::StrCat("kernel ", e_.kernel().name, ": the weight is not in panels"));
    }
    OverrideAccumulators();
    for (const ir::Value* result : e_.body().results()) {
      NINFER_RETURN_IF_ERROR(evaluator_.Check(result));
    }
    return absl::OkStatus();
  }

  absl::Status FindInput(const ir::Value* x) {
    input_.dtype = x->type().dtype;
    while (x->producer() != nullptr) {
      const ir::Node& node = *x->producer();
      if (node.op() == ir::Op::kSlice &&
          node.attr_int("axis") == node.result()->type().rank() - 1 &&
          node.result()->type().rank() == 2) {
        input_.first_column += node.attr_int("begin");
      } else if (node.op() != ir::Op::kReshape) {
        return absl::InternalError(absl::StrCat("kernel ", e_.kernel().name, ": op `",
                                                node.info().name,
                                                "` stands before the linear's input"));
      }
      x = node.operand(0);
    }
    input_.buffer = x;
    input_.ld = program::LeadingDimension(RowColumns(x->type()));
    return absl::OkStatus();
  }

  // The linear's value is the accumulator in scratch. With two segments the slices of the result
  // (or of the result with its bias) say which segment's accumulator is meant.
  void OverrideAccumulators() {
    evaluator_.Override(linear_->result(), [this](const Place& place, LV) {
      const int64_t skipped = int64_t{4} * segment_ * group_slots_ * e_.lanes();
      return e_.LoadFloat(e_.Offset(epilogue_address_, skipped), DType::kF32, place.lanes);
    });
    if (segments_ == 1) return;
    for (const auto& node : e_.body().nodes()) {
      if (node->op() != ir::Op::kSlice || node->operand(0)->is_parameter()) continue;
      const ir::Node* slice = node.get();
      evaluator_.Override(slice->result(), [this, slice](const Place& place, LV column) {
        const int64_t begin = slice->attr_int("begin");
        segment_ = static_cast<int>(begin / n_);
        return evaluator_.Evaluate(slice->operand(0), place,
                                   e_.b().CreateAdd(column, e_.I64(begin)));
      });
    }
  }

  int64_t Step() const { return formats::InfoOf(format_).k_step; }
  int64_t ElementBytes() const { return DTypeSize(formats::InfoOf(format_).dtype); }

  // The first vectors of all slots of `group` panels, segment by segment, panel by panel.
  std::vector<LV> Slots(LV panel, int group) {
    const int64_t panel_bytes = formats::PanelBytes(format_, k_);
    LV weights = e_.ParameterAddress(linear_->operand(1));
    LV base = e_.Offset(weights, e_.b().CreateMul(panel, e_.I64(panel_bytes * segments_)));
    std::vector<LV> slots;
    for (int64_t segment = 0; segment < segments_; ++segment) {
      for (int p = 0; p < group; ++p) {
        LV start = e_.Offset(base, panel_bytes * (segment + p * segments_));
        for (int64_t c = 0; c < formats::kPanelColumns; c += e_.lanes()) {
          slots.push_back(e_.Offset(start, c * Step() * ElementBytes()));
        }
      }
    }
    return slots;
  }

  void Panels(LV panel, int group) {
    group_slots_ = group * static_cast<int>(formats::kPanelColumns / e_.lanes());
    LV rows = e_.DimValue(linear_->result()->type().shape[0]);
    const TileShape full = LargestTile(e_.target(), mode_);
    LV whole = e_.b().CreateSub(rows, e_.b().CreateURem(rows, e_.I64(full.rows)));
    e_.For(e_.I64(0), whole, full.rows, [&](LV row) {
      Tile(panel, row, full.rows, group);
      Epilogue(panel, row, e_.I64(full.rows), group);
    });
    LV left = e_.b().CreateSub(rows, whole);
    for (int count = 1; count < full.rows; ++count) {
      e_.If(e_.b().CreateICmpEQ(left, e_.I64(count)), [&] { Tile(panel, whole, count, group); });
    }
    e_.If(e_.b().CreateICmpSGT(left, e_.I64(0)), [&] { Epilogue(panel, whole, left, group); });
  }

  // scratch[row][slot][lane] = accumulators of `count` rows from `row` on.
  void Tile(LV panel, LV row, int count, int group) {
    const AddressScope scope(e_);
    const std::vector<LV> slots = Slots(panel, group);
    const TileShape shape = TileFor(e_.target(), mode_, count);
    const int64_t row_bytes = input_.ld * DTypeSize(input_.dtype);
    DotTile tile;
    tile.mode = mode_;
    tile.a_dtype = input_.dtype;
    tile.k = k_;
    tile.b_stride = formats::kPanelColumns * Step() * ElementBytes();
    LV first =
        e_.Offset(e_.ParameterAddress(input_.buffer), e_.b().CreateMul(row, e_.I64(row_bytes)));
    for (int r = 0; r < count; ++r) {
      const int64_t skipped = input_.first_column * DTypeSize(input_.dtype);
      tile.a_rows.push_back(e_.Offset(first, r * row_bytes + skipped));
    }
    const int lanes = e_.lanes();
    for (size_t s = 0; s < slots.size(); s += shape.slots) {
      const size_t stop = std::min(slots.size(), s + shape.slots);
      tile.b_slots.assign(slots.begin() + s, slots.begin() + stop);
      const std::vector<LV> acc = EmitDotTile(e_, tile);
      for (int r = 0; r < count; ++r) {
        for (size_t i = s; i < stop; ++i) {
          const int64_t at = (r * static_cast<int64_t>(slots.size()) + i) * lanes * 4;
          e_.StoreFloat(acc[r * (stop - s) + i - s], e_.Offset(e_.scratch(), at), DType::kF32,
                        lanes);
        }
      }
    }
  }

  void Epilogue(LV panel, LV first_row, LV count, int group) {
    const int lanes = e_.lanes();
    const int64_t row_bytes = int64_t{4} * group_slots_ * segments_ * lanes;
    LV first_column = e_.b().CreateMul(panel, e_.I64(formats::kPanelColumns));
    e_.For(e_.I64(0), count, 1, [&](LV r) {
      const AddressScope scope(e_);
      LV row = e_.b().CreateAdd(first_row, r);
      LV accumulators = e_.Offset(e_.scratch(), e_.b().CreateMul(r, e_.I64(row_bytes)));
      e_.For(e_.I64(0), e_.I64(group * formats::kPanelColumns), lanes, [&](LV c) {
        epilogue_address_ = e_.Offset(accumulators, e_.b().CreateMul(c, e_.I64(4)));
        LV column = e_.b().CreateAdd(first_column, c);
        for (size_t i = 0; i < e_.body().results().size(); ++i) {
          StoreResult(static_cast<int>(i), Place{row, lanes, 0, nullptr}, column);
        }
      });
    });
  }

  void StoreResult(int index, const Place& place, LV column) {
    const ir::Value* result = e_.body().results()[index];
    const DType dtype = result->type().dtype;
    const ir::Node* last = result->producer();
    const bool drops_cast = last != nullptr && last->op() == ir::Op::kCast;
    LV value = evaluator_.Evaluate(drops_cast ? last->operand(0) : result, place, column);
    const int64_t ld = program::LeadingDimension(RowColumns(result->type()));
    LV element = e_.AddMul(column, place.row, ld);
    LV address =
        e_.Offset(e_.OutputAddress(index), e_.b().CreateMul(element, e_.I64(DTypeSize(dtype))));
    e_.StoreFloat(value, address, dtype, place.lanes);
  }

  Emitter& e_;
  RowEvaluator evaluator_;
  const ir::Node* linear_ = nullptr;
  Input input_;
  DotMode mode_ = DotMode::kF32;
  formats::Format format_ = formats::Format::kPanelF32;
  int64_t segments_ = 1, k_ = 0, n_ = 0;
  int group_slots_ = 0;            // vectors of one segment in the panels at hand
  int segment_ = 0;                // which the epilogue is reading
  LV epilogue_address_ = nullptr;  // of the accumulators at the epilogue's row and column
};

}  // namespace

absl::Status EmitLinear(Emitter& e) { return LinearEmitter(e).Run(); }

}  // namespace ninfer::codegen
