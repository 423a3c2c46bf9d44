// The linear family: y = epilogue(x w^T). A unit is a panel of 32 output columns (of both segments
// of a gate and up pair). Panels are visited in pairs where the registers hold two; for each, all
// rows go by in tiles, so that a panel is read from memory once and stays in the cache for the
// other tiles. One row or six cost the same read. Accumulators pass through the thread's scratch to
// one small epilogue loop, which evaluates the body's arithmetic on vectors of columns. Tested by
// tests/codegen_linear_test.cc.
//
// Grouped linears, experts of which each row chose some, are the same with the experts one after
// the other: the rows that chose one are gathered into scratch, and the epilogue writes them where
// they belong. A thread has its panels of every expert, so that all threads have work whatever is
// chosen. Tested by tests/codegen_experts_test.cc.
#include <algorithm>

#include "base/status.h"
#include "codegen/emitter.h"
#include "codegen/expert_choices.h"
#include "codegen/quantised.h"
#include "codegen/row_evaluator.h"
#include "codegen/slices.h"
#include "program/body.h"
#include "program/scratch.h"

namespace ninfer::codegen {
namespace {

// x as the linear reads it: rows of a buffer from some column on.
struct Input {
  const ir::Value* buffer = nullptr;
  int64_t ld = 0;
  int64_t first_column = 0;
  DType dtype = DType::kF32;
};

QuantisedRows RowsOf(const ir::Node& linear) {
  const ir::Node* quantiser = program::InputQuantiser(linear);
  if (quantiser == nullptr) return QuantisedRows::kFloats;
  const QuantiseScheme& scheme = *FindQuantiseScheme(quantiser->attr_string("scheme"));
  return scheme.group == 0 ? QuantisedRows::kWhole : QuantisedRows::kByBlock;
}

// Read ahead in a panel. The CPU's own prefetchers stop at every 4 KiB of addresses, huge pages or
// not, and keep too few lines in flight between: on Sapphire Rapids one row of bf16 weights is
// read at 75-82% of the read limit without, at 95-100% with 2 to 4 KiB; more rows gain 10-20%, and
// whole tiles lose nothing.
constexpr int64_t kPrefetchBytes = 4096;

class LinearEmitter {
 public:
  explicit LinearEmitter(Emitter& e) : e_(e), evaluator_(e) {}

  void Run() {
    Analyse();
    StoreI64(e_.begin(), kFirstPanel);
    StoreI64(e_.end(), kLastPanel);
    if (grouped_) {
      e_.For(e_.I64(0), e_.I64(experts_), 1, [this](LV expert) {
        e_.Call("expert", {expert}, [this](const std::vector<LV>& p) { Expert(p[0]); });
      });
      return e_.Finish();
    }
    const auto block = [this](LV from) {
      e_.Call("block", {from}, [this](const std::vector<LV>& p) { AllPanels(p[0]); });
    };
    if (Prepares() || Slices()) {
      e_.For(e_.I64(0), Rows(), program::kLinearRowBlock, [&](LV from) {
        if (Prepares()) {
          e_.Call("prepare", {from}, [this](const std::vector<LV>& p) { Prepare(p[0]); });
        }
        block(from);
      });
    } else {
      block(e_.I64(0));
    }
    e_.Finish();
  }

 private:
  bool Quantised() const { return product_.weights != nullptr; }
  // Widening bf16 activations in the tile would cost as many instructions as half of its products,
  // so it is done once for a block of rows.
  bool Widens() const {
    return !Quantised() && mode_ == DotMode::kBf16Pairs && input_.dtype == DType::kBF16;
  }
  // Rows are read from where they were widened or quantised, behind the accumulators in scratch.
  bool Prepares() const { return Widens() || grouped_ || Quantised(); }
  DType PreparedType() const { return mode_ == DotMode::kBf16Dot ? DType::kBF16 : DType::kF32; }
  int64_t PreparedBytes() const {
    if (!Quantised()) return program::LeadingDimension(k_) * DTypeSize(PreparedType());
    return product_.widened() ? WidenedRowBytes(k_) : PreparedRowBytes(e_.target(), k_);
  }
  int64_t ChoicesAt() const {
    const int64_t sliced = program::kLinearSumsBytes + program::kLinearSliceBytes;
    return program::kLinearTileBytes + (Slices() ? sliced : 0);
  }
  int64_t PreparedAt() const { return ChoicesAt() + (grouped_ ? program::kLinearRowBlock * 8 : 0); }

  LV Rows() const { return e_.DimValue(linear_->result()->type().shape[0]); }

  // Rows of the block that begins at `from`.
  LV BlockRows(LV from) {
    if (grouped_) return LoadI64(kRowCount);
    LV left = e_.b().CreateSub(Rows(), from);
    if (!Prepares() && !Slices()) return left;
    LV block = e_.I64(program::kLinearRowBlock);
    return e_.b().CreateSelect(e_.b().CreateICmpSLT(left, block), left, block);
  }

  // The block's rows of x.
  void Prepare(LV from) {
    LV count = BlockRows(from);
    e_.For(e_.I64(0), count, 1, [&](LV r) {
      LV row = e_.b().CreateAdd(from, r);
      PrepareRow(e_.AddMul(e_.I64(input_.first_column), row, input_.ld), r);
    });
  }

  // The row of x that begins at `element`, widened to f32 (or as it is) or quantised, to place `r`.
  void PrepareRow(LV element, LV r) {
    const int64_t size = DTypeSize(input_.dtype);
    LV source =
        e_.Offset(e_.ParameterAddress(input_.buffer), e_.b().CreateMul(element, e_.I64(size)));
    LV target = e_.Offset(e_.scratch(), e_.AddMul(e_.I64(PreparedAt()), r, PreparedBytes()));
    if (product_.widened()) return EmitWidenRow(e_, source, input_.dtype, k_, target);
    if (Quantised()) {
      EmitPrepareRow(e_, product_, source, input_.dtype, k_, target, e_.scratch());
      return;
    }
    const DType type = PreparedType();
    e_.ForColumns(k_, e_.lanes(), [&](LV c, int lanes) {
      LV from = e_.Offset(source, e_.b().CreateMul(c, e_.I64(size)));
      LV to = e_.Offset(target, e_.b().CreateMul(c, e_.I64(DTypeSize(type))));
      e_.StoreFloat(e_.LoadFloat(from, input_.dtype, lanes), to, type, lanes);
    });
  }

  // --- experts

  ExpertChoices Choices() const { return {linear_->operand(2), chosen_, Rows()}; }
  LV ChoiceAddress(LV place) {
    return e_.Offset(e_.scratch(), e_.AddMul(e_.I64(ChoicesAt()), place, 8));
  }

  void Expert(LV expert) {
    LV count = ForEachChoice(e_, Choices(), expert, nullptr);
    e_.For(e_.I64(0), count, program::kLinearRowBlock, [&](LV first) {
      LV left = e_.b().CreateSub(count, first);
      LV block = e_.I64(program::kLinearRowBlock);
      LV rows = e_.b().CreateSelect(e_.b().CreateICmpSLT(left, block), left, block);
      StoreI64(rows, kRowCount);
      StoreI64(expert, kExpert);
      e_.Call("gather", {expert, first}, [this](const std::vector<LV>& p) { Gather(p[0], p[1]); });
      e_.Call("block", {e_.I64(0)}, [this](const std::vector<LV>& p) { AllPanels(p[0]); });
    });
  }

  // The rows of a block of the expert's choices, and which they are.
  void Gather(LV expert, LV first) {
    llvm::IRBuilder<>& b = e_.b();
    ForEachChoice(e_, Choices(), expert, [&](LV choice, LV before) {
      LV place = b.CreateSub(before, first);
      LV inside = b.CreateICmpULT(place, e_.I64(program::kLinearRowBlock));  // not below 0 either
      e_.If(inside, [&] {
        b.CreateAlignedStore(choice, ChoiceAddress(place), llvm::Align(8));
        LV row = b.CreateUDiv(choice, e_.I64(chosen_));
        LV element = e_.AddMul(e_.I64(input_.first_column), row, input_.ld);
        if (own_inputs_) element = e_.AddMul(element, b.CreateURem(choice, e_.I64(chosen_)), k_);
        PrepareRow(element, place);
      });
    });
  }

  // The call's range of panels, and of a grouped linear what is at hand, kept in scratch behind the
  // accumulators.
  static constexpr int64_t kExpert = program::kLinearTileBytes - 32;
  static constexpr int64_t kRowCount = program::kLinearTileBytes - 24;
  static constexpr int64_t kFirstPanel = program::kLinearTileBytes - 16;
  static constexpr int64_t kLastPanel = program::kLinearTileBytes - 8;
  void StoreI64(LV value, int64_t at) {
    e_.b().CreateAlignedStore(value, e_.Offset(e_.scratch(), at), llvm::Align(8));
  }
  LV LoadI64(int64_t at) {
    LV address = e_.Offset(e_.scratch(), at);
    return e_.b().CreateAlignedLoad(e_.b().getInt64Ty(), address, llvm::Align(8));
  }

  // All panels of the call for the block of rows that begins at `from`: pairs where the registers
  // hold two, and a last one alone.
  void AllPanels(LV from) {
    const int group = e_.target().vector_bits == 512 && segments_ == 1 ? 2 : 1;
    const auto panels = [&](LV panel, int count) {
      e_.Call(absl::StrCat("panels_", count), {panel, from},
              [&](const std::vector<LV>& p) { Panels(p[0], count, p[1]); });
    };
    LV last = LoadI64(kLastPanel);
    LV stop = e_.b().CreateSub(last, e_.I64(group - 1));
    e_.For(LoadI64(kFirstPanel), stop, group, [&](LV panel) { panels(panel, group); });
    if (group == 1) return;
    LV odd = e_.b().CreateAnd(e_.b().CreateSub(last, LoadI64(kFirstPanel)), e_.I64(1));
    e_.If(e_.b().CreateICmpNE(odd, e_.I64(0)),
          [&] { panels(e_.b().CreateSub(LoadI64(kLastPanel), e_.I64(1)), 1); });
  }

  void Analyse() {
    linear_ = program::LinearOf(e_.body());
    NINFER_CHECK(linear_ != nullptr) << e_.kernel().name;
    const ir::Type& weight = linear_->operand(1)->type();
    const program::KernelParam& info = e_.ParameterInfo(linear_->operand(1));
    k_ = weight.shape.back().offset;
    grouped_ = linear_->op() == ir::Op::kGroupedLinear;
    if (grouped_) {
      experts_ = info.segments;
      n_ = weight.shape[1].offset;
      chosen_ = linear_->operand(2)->type().shape[1].offset;
      own_inputs_ = linear_->operand(0)->type().rank() == 3;
    } else {
      segments_ = info.segments;
      n_ = weight.shape[0].offset / segments_;
    }
    format_ = info.format;
    FindInput(program::LinearInput(*linear_));
    product_.weights = formats::InfoOf(format_).scheme;
    product_.rows = RowsOf(*linear_);
    if (Quantised()) return OverrideAccumulators();
    mode_ = DotModeOf(e_.target(), format_, input_.dtype);
    OverrideAccumulators();
  }

  void FindInput(const ir::Value* x) {
    const absl::optional<program::ColumnRange> range = program::ResolveColumns(x);
    NINFER_CHECK(range.has_value()) << e_.kernel().name;
    input_.dtype = x->type().dtype;
    input_.first_column = range->offset;
    input_.buffer = range->root;
    input_.ld = program::LeadingDimension(RowColumns(range->root->type()));
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

  // The first vectors of all slots of `group` panels, segment by segment, panel by panel: at
  // `column_bytes` from one column to the next.
  std::vector<LV> Slots(LV panel, int group, int64_t column_bytes) {
    const int64_t panel_bytes = formats::PanelBytes(format_, k_);
    LV weights = e_.ParameterAddress(linear_->operand(1));
    LV base =
        e_.Offset(weights, e_.b().CreateMul(panel, e_.I64(panel_bytes * segments_ * experts_)));
    if (grouped_) {
      base = e_.Offset(base, e_.b().CreateMul(LoadI64(kExpert), e_.I64(panel_bytes)));
    }
    std::vector<LV> slots;
    for (int64_t segment = 0; segment < segments_; ++segment) {
      for (int p = 0; p < group; ++p) {
        LV start = e_.Offset(base, panel_bytes * (segment + p * segments_ * experts_));
        for (int64_t c = 0; c < formats::kPanelColumns; c += e_.lanes()) {
          slots.push_back(e_.Offset(start, c * column_bytes));
        }
      }
    }
    return slots;
  }

  void Panels(LV panel, int group, LV from) {
    group_slots_ = group * static_cast<int>(formats::kPanelColumns / e_.lanes());
    if (!Slices()) return Tiles(panel, from, e_.I64(0), group);
    LV done = SlicedRows(e_, BlockRows(from));
    e_.If(e_.b().CreateICmpSGT(done, e_.I64(0)), [&] {
      e_.Call(absl::StrCat("sliced_", group), {panel, from, done}, [&](const std::vector<LV>& p) {
        EmitSlices(e_, Sliced(group), absl::StrCat(group), p[0], p[1], p[2]);
      });
      const int tile = SliceTileRows(e_.target());
      e_.Call(absl::StrCat("epilogues_", group), {panel, from, done},
              [&](const std::vector<LV>& p) {
                e_.For(e_.I64(0), p[2], tile, [&](LV row) {
                  LV at = e_.AddMul(e_.I64(program::kLinearTileBytes), row, SumsBytes());
                  CallEpilogue(p[0], e_.b().CreateAdd(p[1], row), e_.I64(tile), at, group);
                });
              });
    });
    e_.Call(absl::StrCat("tiles_", group), {panel, from, done},
            [&](const std::vector<LV>& p) { Tiles(p[0], p[1], p[2], group); });
  }

  // The rows from `first` on.
  void Tiles(LV panel, LV from, LV first, int group) {
    LV rows = BlockRows(from);
    const TileShape full =
        Quantised() ? LargestQuantisedTile(e_.target(), product_) : LargestTile(e_.target(), mode_);
    LV rest = e_.b().CreateURem(e_.b().CreateSub(rows, first), e_.I64(full.rows));
    LV whole = e_.b().CreateSub(rows, rest);
    e_.For(first, whole, full.rows, [&](LV row) {
      CallTile(panel, from, row, full.rows, group);
      CallEpilogue(panel, e_.b().CreateAdd(from, row), e_.I64(full.rows), e_.I64(0), group);
    });
    LV left = e_.b().CreateSub(rows, whole);
    for (int count = 1; count < full.rows; ++count) {
      e_.If(e_.b().CreateICmpEQ(left, e_.I64(count)),
            [&] { CallTile(panel, from, whole, count, group); });
    }
    e_.If(e_.b().CreateICmpSGT(left, e_.I64(0)),
          [&] { CallEpilogue(panel, e_.b().CreateAdd(from, whole), left, e_.I64(0), group); });
  }

  bool Slices() const { return !Quantised() && WantsSlices(mode_); }

  SlicedLinear Sliced(int group) {
    return {mode_,
            k_,
            formats::kPanelColumns * ElementBytes(),
            group_slots_ * segments_,
            RowType(),
            RowBytes(),
            [=, this](LV at) { return Slots(at, group, Step() * ElementBytes()); },
            [this](LV at, LV row, LV k, int n) { return InputRows(at, row, k, n); }};
  }
  int64_t SumsBytes() const { return SliceSumsBytes(e_, group_slots_ * segments_); }  // of a row

  // Tile and epilogue are functions of their own, so that neither keeps registers from the other.
  void CallTile(LV panel, LV from, LV row, int count, int group) {
    e_.Call(absl::StrCat("tile_", group, "_", count), {panel, from, row},
            [&](const std::vector<LV>& p) {
              if (Quantised()) return IntegerTile(p[0], p[2], count, group);
              Tile(p[0], p[1], p[2], count, group);
            });
  }
  // The sums of the rows from `row` on lie at `at` in scratch.
  void CallEpilogue(LV panel, LV row, LV count, LV at, int group) {
    e_.Call(absl::StrCat("epilogue_", group), {panel, row, count, at},
            [&](const std::vector<LV>& p) { Epilogue(p[0], p[1], p[2], p[3], group); });
  }

  // scratch[row][slot][lane] = accumulators of `count` rows from row `row` of the block that begins
  // at `from` on.
  void Tile(LV panel, LV from, LV row, int count, int group) {
    const std::vector<LV> slots = Slots(panel, group, Step() * ElementBytes());
    const TileShape shape = TileFor(e_.target(), mode_, count);
    DotTile tile;
    tile.mode = mode_;
    tile.k = k_;
    tile.b_stride = formats::kPanelColumns * Step() * ElementBytes();
    tile.prefetch = kPrefetchBytes;
    tile.a_dtype = RowType();
    tile.a_rows = InputRows(from, row, e_.I64(0), count);
    for (size_t s = 0; s < slots.size(); s += shape.slots) {
      const size_t stop = std::min(slots.size(), s + shape.slots);
      tile.b_slots.assign(slots.begin() + s, slots.begin() + stop);
      StoreAccumulators(EmitDotTile(e_, tile), e_.scratch(), count, s, stop, slots.size());
    }
  }

  // Rows of x as tiles read them: prepared, or where they are.
  DType RowType() const { return Prepares() ? PreparedType() : input_.dtype; }
  int64_t RowBytes() const {
    return Prepares() ? PreparedBytes() : input_.ld * DTypeSize(input_.dtype);
  }
  std::vector<LV> InputRows(LV from, LV row, LV k, int count) {
    const int64_t size = DTypeSize(RowType());
    LV first = e_.Offset(e_.scratch(), PreparedAt());
    if (!Prepares()) {
      first = e_.Offset(e_.ParameterAddress(input_.buffer),
                        e_.AddMul(e_.I64(input_.first_column * size), from, RowBytes()));
    }
    first = e_.Offset(first, e_.AddMul(e_.b().CreateMul(k, e_.I64(size)), row, RowBytes()));
    std::vector<LV> rows;
    for (int r = 0; r < count; ++r) rows.push_back(e_.Offset(first, r * RowBytes()));
    return rows;
  }

  void StoreAccumulators(const std::vector<LV>& acc, LV to, int count, size_t first, size_t stop,
                         size_t slots) {
    const int lanes = e_.lanes();
    for (int r = 0; r < count; ++r) {
      for (size_t i = first; i < stop; ++i) {
        const int64_t at = (r * static_cast<int64_t>(slots) + i) * lanes * 4;
        e_.StoreFloat(acc[r * (stop - first) + i - first], e_.Offset(to, at), DType::kF32, lanes);
      }
    }
  }

  // The same as Tile, of quantised panels and prepared rows.
  void IntegerTile(LV panel, LV row, int count, int group) {
    const std::vector<LV> panels = Slots(panel, group, 0);
    const TileShape shape = QuantisedTileFor(e_.target(), product_, count);
    const auto in_panel = static_cast<size_t>(formats::kPanelColumns / e_.lanes());
    QuantisedTile tile;
    tile.product = product_;
    tile.layout = formats::BlocksOf(format_, k_);
    tile.prefetch = kPrefetchBytes;
    LV first = e_.Offset(e_.scratch(), e_.AddMul(e_.I64(PreparedAt()), row, PreparedBytes()));
    for (int r = 0; r < count; ++r) tile.a_rows.push_back(e_.Offset(first, r * PreparedBytes()));
    for (size_t s = 0; s < panels.size(); s += shape.slots) {
      const size_t stop = std::min(panels.size(), s + shape.slots);
      tile.b_panels.assign(panels.begin() + s, panels.begin() + stop);
      tile.b_columns.clear();
      for (size_t i = s; i < stop; ++i) {
        tile.b_columns.push_back(static_cast<int64_t>(i % in_panel) * e_.lanes());
      }
      StoreAccumulators(EmitQuantisedTile(e_, tile), e_.scratch(), count, s, stop, panels.size());
    }
  }

  void Epilogue(LV panel, LV first_row, LV count, LV at, int group) {
    const int lanes = e_.lanes();
    LV sums = e_.Offset(e_.scratch(), at);
    LV first_column = e_.b().CreateMul(panel, e_.I64(formats::kPanelColumns));
    const auto visit = [&](LV row, LV skipped, LV accumulators, LV c, int width) {
      epilogue_address_ = e_.Offset(accumulators, e_.b().CreateMul(c, e_.I64(4)));
      LV column = e_.b().CreateAdd(first_column, c);
      if (skipped != nullptr) column = e_.b().CreateAdd(skipped, column);
      for (size_t i = 0; i < e_.body().results().size(); ++i) {
        StoreResult(static_cast<int>(i), Place{row, width, 0, nullptr}, column);
      }
    };
    e_.For(e_.I64(0), count, 1, [&](LV r) {
      const AddressScope scope(e_);
      LV row = e_.b().CreateAdd(first_row, r);
      LV skipped = nullptr;  // columns of the row that belong to the experts chosen before
      if (grouped_) {
        LV choice =
            e_.b().CreateAlignedLoad(e_.b().getInt64Ty(), ChoiceAddress(row), llvm::Align(8));
        row = e_.b().CreateUDiv(choice, e_.I64(chosen_));
        skipped = e_.b().CreateMul(e_.b().CreateURem(choice, e_.I64(chosen_)), e_.I64(n_));
      }
      LV accumulators = e_.Offset(sums, e_.b().CreateMul(r, e_.I64(SumsBytes())));
      LV columns = e_.I64(group * formats::kPanelColumns);
      LV whole = columns;
      if (n_ % formats::kPanelColumns != 0) {
        // The last panel has columns that no bias and, in a buffer of one column, no row has.
        LV left = e_.b().CreateSub(e_.I64(n_), first_column);
        columns = e_.b().CreateSelect(e_.b().CreateICmpSLT(left, columns), left, columns);
        whole = e_.b().CreateSub(columns, e_.b().CreateURem(columns, e_.I64(lanes)));
      }
      e_.For(e_.I64(0), whole, lanes, [&](LV c) { visit(row, skipped, accumulators, c, lanes); });
      if (n_ % lanes != 0) {
        e_.For(whole, columns, 1, [&](LV c) { visit(row, skipped, accumulators, c, 1); });
      }
    });
  }

  void StoreResult(int index, const Place& place, LV column) {
    const ir::Value* result = e_.body().results()[index];
    const DType dtype = result->type().dtype;
    LV value = evaluator_.Evaluate(WithoutFinalCast(result), place, column);
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
  QuantisedProduct product_;  // of a quantised weight
  int64_t segments_ = 1, k_ = 0, n_ = 0;
  bool grouped_ = false, own_inputs_ = false;  // the latter: x is [T, k, K]
  int64_t experts_ = 1, chosen_ = 1;
  int group_slots_ = 0;            // vectors of one segment in the panels at hand
  int segment_ = 0;                // which the epilogue is reading
  LV epilogue_address_ = nullptr;  // of the accumulators at the epilogue's row and column
};

}  // namespace

void EmitLinear(Emitter& e) { LinearEmitter(e).Run(); }

}  // namespace ninfer::codegen
