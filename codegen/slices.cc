// See slices.h. Tested by tests/codegen_linear_test.cc.
#include "codegen/slices.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "program/scratch.h"

namespace ninfer::codegen {
namespace {

constexpr int64_t kSumsAt = program::kLinearTileBytes;
constexpr int64_t kSliceAt = kSumsAt + program::kLinearSumsBytes;

class SliceEmitter {
 public:
  SliceEmitter(Emitter& e, const SlicedLinear& linear, const std::string& name)
      : e_(e), linear_(linear), name_(name), tile_rows_(SliceTileRows(e.target())) {}

  void Run(LV panel, LV from, LV count) {
    const int64_t k = linear_.k, most = program::kLinearSliceBytes / SumsBytes();
    const int64_t slices = (k + most - 1) / most;
    const int64_t size = ((k + slices - 1) / slices + 1) / 2 * 2;  // even, for the steps of pairs
    const int64_t last = (k - 1) / size * size;
    if (last == 0) return CallSlice(panel, from, count, e_.I64(0), {k, true, true});
    CallSlice(panel, from, count, e_.I64(0), {size, true, false});
    if (last > size) {
      e_.For(e_.I64(size), e_.I64(last), size, [&](LV k) {
        CallSlice(panel, from, count, k, {size, false, false});
      });
    }
    CallSlice(panel, from, count, e_.I64(last), {k - last, false, true});
  }

 private:
  // The first one's sums begin with zero, the last one's are done.
  struct Slice {
    int64_t size;
    bool first, last;
  };

  int64_t VectorBytes() const { return int64_t{4} * e_.lanes(); }
  int64_t SumsBytes() const { return SliceSumsBytes(e_, linear_.slots); }
  // Where the sums of `row` lie. Between slices those of all rows are kept.
  LV SumsAt(LV row, const Slice& slice) {
    if (slice.first && slice.last) return e_.I64(kSumsAt);
    return e_.AddMul(e_.I64(kSumsAt), row, SumsBytes());
  }

  void CallSlice(LV panel, LV from, LV count, LV k, const Slice& slice) {
    const char* which = slice.first ? "first_" : slice.last ? "last_" : "";
    const std::string name = absl::StrCat(which, "slices_", name_, "_", slice.size);
    e_.Call(name, {panel, from, count, k},
            [&](const std::vector<LV>& p) { Rows(p[0], p[1], p[2], p[3], slice); });
  }

  // Adds the products of a slice from `k` on.
  void Rows(LV panel, LV from, LV count, LV k, const Slice& slice) {
    const std::string name = absl::StrCat(name_, "_", slice.size);
    e_.Call(absl::StrCat("widen_", name), {panel, k},
            [&](const std::vector<LV>& p) { Widen(p[0], p[1], slice.size); });
    // There are more tiles than these.
    LV asking = e_.I64(0);
    if (AsksForNextWeights(e_.target())) {
      asking = e_.I64(kAskingTiles * tile_rows_);
      RowsOfTiles("asking_", panel, from, e_.I64(0), asking, k, slice);
    }
    RowsOfTiles("", panel, from, asking, count, k, slice);
  }

  void RowsOfTiles(const std::string& asks, LV panel, LV from, LV begin, LV end, LV k,
                   const Slice& slice) {
    const std::string name =
        absl::StrCat(asks, slice.first ? "first_" : "", "slice_", name_, "_", slice.size);
    e_.For(begin, end, tile_rows_, [&](LV row) {
      e_.Call(name, {panel, from, row, k}, [&](const std::vector<LV>& p) {
        NextWeights next;
        if (!asks.empty()) next = NextSlice(p[0], p[2], p[3], slice.size);
        Tile(p[1], p[2], p[3], slice, next);
      });
      if (slice.last) linear_.epilogue(panel, e_.b().CreateAdd(from, row), SumsAt(row, slice));
    });
  }

  // What the tile at `row` asks for, of the slice behind the one at `k`.
  NextWeights NextSlice(LV panel, LV row, LV k, int64_t size) {
    llvm::IRBuilder<>& b = e_.b();
    LV behind = b.CreateAdd(k, e_.I64(size));
    LV is_last = b.CreateICmpSGE(behind, e_.I64(linear_.k));
    LV at = b.CreateMul(b.CreateSelect(is_last, e_.I64(0), behind), e_.I64(linear_.k_bytes));
    at = b.CreateAdd(at, b.CreateSelect(is_last, e_.I64(linear_.next_panels), e_.I64(0)));
    LV tile = b.CreateUDiv(row, e_.I64(tile_rows_));
    return PartsOfNext(e_, linear_.weights(panel), at, tile, e_.I64(kAskingTiles), size,
                       linear_.k_bytes);
  }

  // slice[k][slot][lane] in f32.
  void Widen(LV panel, LV k, int64_t size) {
    const int64_t step = DotStep(linear_.mode);
    std::vector<LV> slots = linear_.weights(panel);
    for (LV& slot : slots) slot = e_.Offset(slot, e_.b().CreateMul(k, e_.I64(linear_.k_bytes)));
    const auto widen = [&](LV i, int64_t elements) {
      for (size_t s = 0; s < slots.size(); ++s) {
        LV at = e_.Offset(slots[s], e_.b().CreateMul(i, e_.I64(step * linear_.k_bytes)));
        const std::vector<LV> values = EmitWeights(e_, linear_.mode, at);
        for (int64_t element = 0; element < elements; ++element) {
          const int64_t place = kSliceAt + element * SumsBytes() + s * VectorBytes();
          LV to = e_.AddMul(e_.I64(place), i, step * SumsBytes());
          e_.StoreFloat(values[element], e_.Offset(e_.scratch(), to), DType::kF32, e_.lanes());
        }
      }
    };
    e_.For(e_.I64(0), e_.I64(size / step), 1, [&](LV i) { widen(i, step); });
    if (size % step != 0) widen(e_.I64(size / step), 1);  // its partner is padding
  }

  void Tile(LV from, LV row, LV k, const Slice& slice, const NextWeights& next) {
    const TileShape shape = LargestTile(e_.target(), DotMode::kF32);
    DotTile tile;
    tile.next = next;
    tile.k = slice.size;
    tile.b_stride = SumsBytes();
    tile.a_dtype = linear_.a_dtype;
    tile.a_rows = linear_.inputs(from, row, k, tile_rows_);
    tile.next_rows = tile_rows_ * linear_.row_bytes;
    LV sums = e_.Offset(e_.scratch(), SumsAt(row, slice));
    if (!slice.first) {
      tile.next_sums = e_.Offset(sums, tile_rows_ * SumsBytes());
      tile.next_sums_step = std::max<int64_t>(1, tile_rows_ * SumsBytes() / slice.size);
    }
    for (int64_t first = 0; first < linear_.slots; first += shape.slots) {
      const int64_t stop = std::min<int64_t>(linear_.slots, first + shape.slots);
      std::vector<LV> places;
      for (int r = 0; r < tile_rows_; ++r) {
        for (int64_t s = first; s < stop; ++s) {
          places.push_back(e_.Offset(sums, r * SumsBytes() + s * VectorBytes()));
        }
      }
      tile.b_slots.clear();
      for (int64_t s = first; s < stop; ++s) {
        tile.b_slots.push_back(e_.Offset(e_.scratch(), kSliceAt + s * VectorBytes()));
      }
      tile.sums.clear();
      for (LV place : places) {
        if (!slice.first) tile.sums.push_back(e_.LoadFloat(place, DType::kF32, e_.lanes()));
      }
      const std::vector<LV> found = EmitDotTile(e_, tile);
      for (size_t i = 0; i < found.size(); ++i) {
        e_.StoreFloat(found[i], places[i], DType::kF32, e_.lanes());
      }
    }
  }

  Emitter& e_;
  const SlicedLinear& linear_;
  const std::string& name_;
  const int tile_rows_;
};

}  // namespace

bool WantsSlices(DotMode mode) { return mode == DotMode::kBf16Pairs || mode == DotMode::kF16; }

int SliceTileRows(const Target& target) { return LargestTile(target, DotMode::kF32).rows; }

LV SlicedRows(Emitter& e, LV rows) {
  llvm::IRBuilder<>& b = e.b();
  const int tile = SliceTileRows(e.target());
  LV whole = b.CreateSub(rows, b.CreateURem(rows, e.I64(tile)));
  // With 512 bits a tile of few rows is nearly as good, and has nothing to be done before it.
  const int64_t fewest = e.target().vector_bits == 512 ? 11 : 4;
  return b.CreateSelect(b.CreateICmpSGE(rows, e.I64(fewest * tile)), whole, e.I64(0));
}

int64_t SliceSumsBytes(const Emitter& e, int64_t slots) { return slots * e.lanes() * 4; }

void EmitSlices(Emitter& e, const SlicedLinear& linear, const std::string& name, LV panel, LV from,
                LV count) {
  SliceEmitter(e, linear, name).Run(panel, from, count);
}

}  // namespace ninfer::codegen
