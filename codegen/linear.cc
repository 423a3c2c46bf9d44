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
#include <climits>

#include "absl/strings/str_cat.h"
#include "codegen/argmax.h"
#include "codegen/emitter.h"
#include "codegen/expert_choices.h"
#include "codegen/linear_shape.h"
#include "codegen/row_evaluator.h"
#include "program/body.h"
#include "program/scratch.h"

namespace ninfer::codegen {
namespace {

// Read ahead in a panel. The CPU's own prefetchers stop at every 4 KiB of addresses and keep too
// few lines in flight between: on Sapphire Rapids one row of bf16 weights is read at 75-82% of the
// read limit without, at 95-100% with 2 to 4 KiB; more rows gain 10-20%.
constexpr int64_t kPrefetchBytes = 4096;

class LinearEmitter {
 public:
  explicit LinearEmitter(Emitter& e) : e_(e), evaluator_(e), shape_(e) { OverrideAccumulators(); }

  void Run() {
    StoreI64(e_.begin(), kFirstPanel);
    StoreI64(e_.end(), kLastPanel);
    if (shape_.grouped) {
      e_.For(e_.I64(0), e_.I64(shape_.experts), 1, [this](LV expert) {
        e_.Call("expert", {expert}, [this](const std::vector<LV>& p) { Expert(p[0]); });
      });
      return e_.Finish();
    }
    const auto block = [this](LV from) {
      e_.Call("block", {from}, [this](const std::vector<LV>& p) { AllPanels(p[0]); });
    };
    if (shape_.Prepares() || shape_.Slices()) {
      e_.For(e_.I64(0), Rows(), program::kLinearRowBlock, [&](LV from) {
        if (shape_.Prepares()) {
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
  LV Rows() const { return e_.DimValue(shape_.linear->result()->type().shape[0]); }

  // Rows of the block that begins at `from`.
  LV BlockRows(LV from) {
    if (shape_.grouped) return LoadI64(kRowCount);
    LV left = e_.b().CreateSub(Rows(), from);
    if (!shape_.Prepares() && !shape_.Slices()) return left;
    LV block = e_.I64(program::kLinearRowBlock);
    return e_.Smaller(left, block);
  }

  // The block's rows of x.
  void Prepare(LV from) {
    LV count = BlockRows(from);
    e_.For(e_.I64(0), count, 1, [&](LV r) {
      LV row = e_.b().CreateAdd(from, r);
      PrepareRow(e_.AddMul(e_.I64(shape_.input.first_column), row, shape_.input.ld), r);
    });
  }

  // The row of x that begins at `element`, widened to f32 (or as it is) or quantised, to place `r`.
  void PrepareRow(LV element, LV r) {
    const int64_t size = DTypeSize(shape_.input.dtype);
    LV source = e_.Offset(e_.ParameterAddress(shape_.input.buffer),
                          e_.b().CreateMul(element, e_.I64(size)));
    LV target =
        e_.Offset(e_.scratch(), e_.AddMul(e_.I64(shape_.PreparedAt()), r, shape_.PreparedBytes()));
    if (shape_.product.widened()) {
      return EmitWidenRow(e_, source, shape_.input.dtype, shape_.k, target);
    }
    if (shape_.Quantised()) {
      EmitPrepareRow(e_, shape_.product, source, shape_.input.dtype, shape_.k, target,
                     e_.scratch());
      return;
    }
    const DType type = shape_.PreparedType();
    e_.ForColumns(shape_.k, e_.lanes(), [&](LV c, int lanes) {
      LV from = e_.Offset(source, e_.b().CreateMul(c, e_.I64(size)));
      LV to = e_.Offset(target, e_.b().CreateMul(c, e_.I64(DTypeSize(type))));
      e_.Prefetch(e_.Offset(from, kPrefetchBytes));  // other threads wrote it
      e_.StoreFloat(e_.LoadFloat(from, shape_.input.dtype, lanes), to, type, lanes);
    });
  }

  // --- experts

  ExpertChoices Choices() const { return {shape_.linear->operand(2), shape_.chosen, Rows()}; }
  LV ChoiceAddress(LV place) {
    return e_.Offset(e_.scratch(), e_.AddMul(e_.I64(shape_.ChoicesAt()), place, 8));
  }

  void Expert(LV expert) {
    LV count = ForEachChoice(e_, Choices(), expert, nullptr);
    e_.For(e_.I64(0), count, program::kLinearRowBlock, [&](LV first) {
      LV left = e_.b().CreateSub(count, first);
      LV block = e_.I64(program::kLinearRowBlock);
      LV rows = e_.Smaller(left, block);
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
        LV row = b.CreateUDiv(choice, e_.I64(shape_.chosen));
        LV element = e_.AddMul(e_.I64(shape_.input.first_column), row, shape_.input.ld);
        if (shape_.own_inputs) {
          element = e_.AddMul(element, b.CreateURem(choice, e_.I64(shape_.chosen)), shape_.k);
        }
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

  // All panels of the call for the block of rows that begins at `from`: in pairs, with a last one
  // alone, where the registers hold two.
  void AllPanels(LV from) {
    const auto singles = [&](LV first) { EachPanel(first, from, 1); };
    const auto pairs = [&] {
      EachPanel(LoadI64(kFirstPanel), from, 2);
      LV last = LoadI64(kLastPanel), count = e_.b().CreateSub(last, LoadI64(kFirstPanel));
      singles(e_.b().CreateSub(last, e_.b().CreateAnd(count, e_.I64(1))));
    };
    const int most = shape_.RowsOfPairs();
    if (most == 0) return singles(LoadI64(kFirstPanel));
    if (most == INT_MAX) return pairs();
    LV rows = BlockRows(from);
    LV few = e_.b().CreateICmpSLE(rows, e_.I64(most));
    if (shape_.Slices()) {
      few = e_.b().CreateOr(few, e_.b().CreateICmpSGT(SlicedRows(e_, rows), e_.I64(0)));
    }
    e_.If(few, pairs);
    e_.If(e_.b().CreateNot(few), [&] { singles(LoadI64(kFirstPanel)); });
  }

  // Those from `first` on, `group` at a time.
  void EachPanel(LV first, LV from, int group) {
    e_.Call(absl::StrCat("each_", group), {first, from}, [&](const std::vector<LV>& p) {
      LV stop = e_.b().CreateSub(LoadI64(kLastPanel), e_.I64(group - 1));
      e_.For(p[0], stop, group, [&](LV panel) {
        e_.Call(absl::StrCat("panels_", group), {panel, p[1]},
                [&](const std::vector<LV>& q) { Panels(q[0], group, q[1]); });
      });
    });
  }

  // The linear's value is the accumulator in scratch. With two segments the slices of the result
  // (or of the result with its bias) say which segment's accumulator is meant.
  void OverrideAccumulators() {
    evaluator_.Override(shape_.linear->result(), [this](const Place& place, LV) {
      const int64_t skipped = int64_t{4} * segment_ * group_slots_ * e_.lanes();
      return e_.LoadFloat(e_.Offset(epilogue_address_, skipped), DType::kF32, place.lanes);
    });
    if (shape_.segments == 1) return;
    for (const auto& node : e_.body().nodes()) {
      if (node->op() != ir::Op::kSlice || node->operand(0)->is_parameter()) continue;
      const ir::Node* slice = node.get();
      evaluator_.Override(slice->result(), [this, slice](const Place& place, LV column) {
        const int64_t begin = slice->attr_int("begin");
        segment_ = static_cast<int>(begin / shape_.n);
        return evaluator_.Evaluate(slice->operand(0), place,
                                   e_.b().CreateAdd(column, e_.I64(begin)));
      });
    }
  }

  // The first vectors of all slots of `group` panels, segment by segment, panel by panel: at
  // `column_bytes` from one column to the next.
  std::vector<LV> Slots(LV panel, int group, int64_t column_bytes) {
    const int64_t panel_bytes = formats::PanelBytes(shape_.format, shape_.k);
    LV weights = e_.ParameterAddress(shape_.linear->operand(1));
    LV base = e_.Offset(
        weights, e_.b().CreateMul(panel, e_.I64(panel_bytes * shape_.segments * shape_.experts)));
    if (shape_.grouped) {
      base = e_.Offset(base, e_.b().CreateMul(LoadI64(kExpert), e_.I64(panel_bytes)));
    }
    std::vector<LV> slots;
    for (int64_t segment = 0; segment < shape_.segments; ++segment) {
      for (int p = 0; p < group; ++p) {
        LV start = e_.Offset(base, panel_bytes * (segment + p * shape_.segments * shape_.experts));
        for (int64_t c = 0; c < formats::kPanelColumns; c += e_.lanes()) {
          slots.push_back(e_.Offset(start, c * column_bytes));
        }
      }
    }
    return slots;
  }

  void Panels(LV panel, int group, LV from) {
    group_slots_ = group * static_cast<int>(formats::kPanelColumns / e_.lanes());
    if (!shape_.Slices()) return Tiles(panel, from, e_.I64(0), group);
    LV done = SlicedRows(e_, BlockRows(from));
    e_.If(e_.b().CreateICmpSGT(done, e_.I64(0)), [&] {
      e_.Call(absl::StrCat("sliced_", group), {panel, from, done}, [&](const std::vector<LV>& p) {
        EmitSlices(e_, Sliced(group), absl::StrCat(group), p[0], p[1], p[2]);
      });
    });
    e_.Call(absl::StrCat("tiles_", group), {panel, from, done},
            [&](const std::vector<LV>& p) { Tiles(p[0], p[1], p[2], group); });
  }

  // How a tile finds its weights: it is the first over them and asks for what comes soon; one of
  // several, which ask for parts of the next panels; behind these.
  enum class Reads { kFirst, kAsksForNext, kAgain };

  // The rows from `first` on.
  void Tiles(LV panel, LV from, LV first, int group) {
    if (shape_.LargestRows() <= MostRows(group)) {
      e_.Call(absl::StrCat("several_", group), {panel, from, first},
              [&](const std::vector<LV>& p) { Several(p[0], p[1], p[2], group); });
    }
    e_.Call(absl::StrCat("rest_", group), {panel, from, first},
            [&](const std::vector<LV>& p) { Rest(p[0], p[1], p[2], group); });
  }

  // Of a tile of pairs of panels, or of single ones.
  int MostRows(int group) const { return group == 2 ? shape_.RowsOfPairs() : INT_MAX; }

  // Where the rows from `first` on end that are several tiles.
  LV EndOfSeveral(LV from, LV first) {
    LV rows = BlockRows(from), all = e_.b().CreateSub(rows, first);
    LV one = e_.b().CreateICmpSLE(all, e_.I64(shape_.RowsOfOneTile()));
    LV rest = e_.b().CreateURem(all, e_.I64(shape_.LargestRows()));
    return e_.b().CreateSelect(one, first, e_.b().CreateSub(rows, rest));
  }

  void Several(LV panel, LV from, LV first, int group) {
    LV end = EndOfSeveral(from, first);
    if (!shape_.AsksForNextPanels()) {
      return CallSeveral("all_", panel, from, first, end, group, Reads::kFirst);
    }
    LV later =
        e_.Smaller(end, e_.b().CreateAdd(first, e_.I64(kAskingTiles * shape_.LargestRows())));
    CallSeveral("asking_", panel, from, first, later, group, Reads::kAsksForNext);
    CallSeveral("later_", panel, from, later, end, group, Reads::kAgain);
  }

  // Rows [first, last). Loops are functions of their own: none keeps registers from another.
  void CallSeveral(const char* name, LV panel, LV from, LV first, LV last, int group, Reads reads) {
    const int full = shape_.LargestRows();
    e_.Call(absl::StrCat(name, group), {panel, from, first, last}, [&](const std::vector<LV>& p) {
      e_.For(p[2], p[3], full, [&](LV row) {
        CallTile(p[0], p[1], row, full, group, reads);
        CallEpilogue(p[0], e_.b().CreateAdd(p[1], row), e_.I64(full), e_.I64(0), group);
      });
    });
  }

  // The rows behind those, one tile.
  void Rest(LV panel, LV from, LV first, int group) {
    const int most = std::max(shape_.LargestRows() - 1, shape_.RowsOfOneTile());
    LV whole = EndOfSeveral(from, first);
    LV left = e_.b().CreateSub(BlockRows(from), whole);
    for (int count = 1; count <= std::min(most, MostRows(group)); ++count) {
      e_.If(e_.b().CreateICmpEQ(left, e_.I64(count)),
            [&] { CallTile(panel, from, whole, count, group, Reads::kFirst); });
    }
    e_.If(e_.b().CreateICmpSGT(left, e_.I64(0)),
          [&] { CallEpilogue(panel, e_.b().CreateAdd(from, whole), left, e_.I64(0), group); });
  }

  SlicedLinear Sliced(int group) {
    return {shape_.mode,
            shape_.k,
            formats::kPanelColumns * shape_.ElementBytes(),
            group_slots_ * shape_.segments,
            shape_.RowType(),
            shape_.RowBytes(),
            NextPanels(group_slots_ * shape_.segments),
            [=, this](LV at) { return Slots(at, group, shape_.Step() * shape_.ElementBytes()); },
            [this](LV at, LV row, LV k, int n) { return InputRows(at, row, k, n); },
            [=, this](LV at, LV row, LV sums) {
              CallEpilogue(at, row, e_.I64(SliceTileRows(e_.target())), sums, group);
            }};
  }
  // Of a row.
  int64_t SumsBytes() const { return SliceSumsBytes(e_, group_slots_ * shape_.segments); }

  // Tile and epilogue are functions of their own, so that neither keeps registers from the other.
  void CallTile(LV panel, LV from, LV row, int count, int group, Reads reads) {
    constexpr const char* kNames[] = {"tile_", "asking_tile_", "later_tile_"};
    e_.Call(absl::StrCat(kNames[static_cast<int>(reads)], group, "_", count), {panel, from, row},
            [&](const std::vector<LV>& p) {
              if (shape_.Quantised()) return IntegerTile(p[0], p[1], p[2], count, group, reads);
              Tile(p[0], p[1], p[2], count, group, reads);
            });
  }

  // What the tile of `count` rows at `row`, one of several, asks for, for the slots [s, stop).
  NextWeights NextOf(LV from, LV row, int count, const std::vector<LV>& slots, size_t s,
                     size_t stop, int64_t steps, int64_t bytes) {
    llvm::IRBuilder<>& b = e_.b();
    LV tiles = e_.Smaller(b.CreateUDiv(BlockRows(from), e_.I64(count)), e_.I64(kAskingTiles));
    return PartsOfNext(e_, {slots.begin() + s, slots.begin() + stop},
                       e_.I64(NextPanels(slots.size())), b.CreateUDiv(row, e_.I64(count)), tiles,
                       steps, bytes);
  }
  // How far behind panels of so many slots the next ones lie.
  int64_t NextPanels(size_t slots) const {
    const auto panels = static_cast<int64_t>(slots) * e_.lanes() / formats::kPanelColumns;
    return panels * shape_.experts * formats::PanelBytes(shape_.format, shape_.k);
  }

  // The sums of the rows from `row` on lie at `at` in scratch.
  void CallEpilogue(LV panel, LV row, LV count, LV at, int group) {
    e_.Call(absl::StrCat("epilogue_", group), {panel, row, count, at},
            [&](const std::vector<LV>& p) { Epilogue(p[0], p[1], p[2], p[3], group); });
  }

  // scratch[row][slot][lane] = accumulators of `count` rows from row `row` of the block that begins
  // at `from` on.
  void Tile(LV panel, LV from, LV row, int count, int group, Reads reads) {
    const std::vector<LV> slots = Slots(panel, group, shape_.Step() * shape_.ElementBytes());
    const TileShape shape = TileFor(e_.target(), shape_.mode, count);
    DotTile tile;
    tile.mode = shape_.mode;
    tile.k = shape_.k;
    tile.b_stride = formats::kPanelColumns * shape_.Step() * shape_.ElementBytes();
    tile.prefetch = reads == Reads::kFirst ? kPrefetchBytes : 0;
    tile.a_dtype = shape_.RowType();
    tile.a_rows = InputRows(from, row, e_.I64(0), count);
    for (size_t s = 0; s < slots.size(); s += shape.slots) {
      const size_t stop = std::min(slots.size(), s + shape.slots);
      tile.b_slots.assign(slots.begin() + s, slots.begin() + stop);
      if (reads == Reads::kAsksForNext) {
        tile.next =
            NextOf(from, row, count, slots, s, stop, shape_.k / shape_.Step(), tile.b_stride);
      }
      StoreAccumulators(EmitDotTile(e_, tile), e_.scratch(), count, s, stop, slots.size());
    }
  }

  // Of the block that begins at `from`: `count` rows from `row` on, from column `k` on.
  std::vector<LV> InputRows(LV from, LV row, LV k, int count) {
    const int64_t size = DTypeSize(shape_.RowType());
    LV first = e_.Offset(e_.scratch(), shape_.PreparedAt());
    if (!shape_.Prepares()) {
      first =
          e_.Offset(e_.ParameterAddress(shape_.input.buffer),
                    e_.AddMul(e_.I64(shape_.input.first_column * size), from, shape_.RowBytes()));
    }
    first = e_.Offset(first, e_.AddMul(e_.b().CreateMul(k, e_.I64(size)), row, shape_.RowBytes()));
    std::vector<LV> rows;
    for (int r = 0; r < count; ++r) rows.push_back(e_.Offset(first, r * shape_.RowBytes()));
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
  void IntegerTile(LV panel, LV from, LV row, int count, int group, Reads reads) {
    const std::vector<LV> panels = Slots(panel, group, 0);
    const TileShape shape = QuantisedTileFor(e_.target(), shape_.product, count);
    const auto in_panel = static_cast<size_t>(formats::kPanelColumns / e_.lanes());
    QuantisedTile tile;
    tile.product = shape_.product;
    tile.layout = formats::BlocksOf(shape_.format, shape_.k);
    const int64_t loads = tile.layout.blocks * LoadsOfBlock(shape_.product);
    const int64_t bytes = formats::PanelBytes(shape_.format, shape_.k) / loads;
    tile.prefetch = reads == Reads::kFirst ? kPrefetchBytes : 0;
    // Two sums for each row and slot: of more rows the registers hold one slot's.
    tile.slots_in_turn =
        !shape_.product.one_sum() && count > LargestQuantisedTile(e_.target(), shape_.product).rows;
    LV first = e_.Offset(e_.scratch(),
                         e_.AddMul(e_.I64(shape_.PreparedAt()), row, shape_.PreparedBytes()));
    for (int r = 0; r < count; ++r) {
      tile.a_rows.push_back(e_.Offset(first, r * shape_.PreparedBytes()));
    }
    for (size_t s = 0; s < panels.size(); s += shape.slots) {
      const size_t stop = std::min(panels.size(), s + shape.slots);
      tile.b_panels.assign(panels.begin() + s, panels.begin() + stop);
      if (reads == Reads::kAsksForNext) {
        tile.next = NextOf(from, row, count, panels, s, stop, loads, bytes);
      }
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
        const ir::Node* node = e_.body().results()[i]->producer();
        if (node != nullptr && program::IsParts(*node)) continue;
        StoreResult(static_cast<int>(i), Place{row, width, 0, nullptr}, column);
      }
    };
    e_.For(e_.I64(0), count, 1, [&](LV r) {
      const AddressScope scope(e_);
      LV row = e_.b().CreateAdd(first_row, r);
      LV skipped = nullptr;  // columns of the row that belong to the experts chosen before
      if (shape_.grouped) {
        LV choice =
            e_.b().CreateAlignedLoad(e_.b().getInt64Ty(), ChoiceAddress(row), llvm::Align(8));
        row = e_.b().CreateUDiv(choice, e_.I64(shape_.chosen));
        skipped =
            e_.b().CreateMul(e_.b().CreateURem(choice, e_.I64(shape_.chosen)), e_.I64(shape_.n));
      }
      LV accumulators = e_.Offset(sums, e_.b().CreateMul(r, e_.I64(SumsBytes())));
      LV columns = e_.I64(group * formats::kPanelColumns);
      LV whole = columns;
      if (shape_.n % formats::kPanelColumns != 0) {
        // The last panel has columns that no bias and, in a buffer of one column, no row has.
        LV left = e_.b().CreateSub(e_.I64(shape_.n), first_column);
        columns = e_.Smaller(left, columns);
        whole = e_.b().CreateSub(columns, e_.b().CreateURem(columns, e_.I64(lanes)));
      }
      e_.For(e_.I64(0), whole, lanes, [&](LV c) { visit(row, skipped, accumulators, c, lanes); });
      if (shape_.n % lanes != 0) {
        e_.For(whole, columns, 1, [&](LV c) { visit(row, skipped, accumulators, c, 1); });
      }
      EmitPanelParts(e_, row, panel, group, shape_.n);
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
  const LinearShape shape_;
  int group_slots_ = 0;            // vectors of one segment in the panels at hand
  int segment_ = 0;                // which the epilogue is reading
  LV epilogue_address_ = nullptr;  // of the accumulators at the epilogue's row and column
};

}  // namespace

void EmitLinear(Emitter& e) { LinearEmitter(e).Run(); }

}  // namespace ninfer::codegen
