// See attention_tiles.h. Tested by tests/codegen_attention_test.cc.
#include "codegen/attention_tiles.h"

#include "absl/strings/str_cat.h"
#include "codegen/integer_rows.h"

namespace ninfer::codegen {

AttentionTiles::AttentionTiles(Emitter& e, AttentionScratch* scratch, DType queries)
    : e_(e), tile_(*scratch), kv_(e.kernel().kv), q_dtype_(queries) {
  key_mode_ = kv_.integers()                                     ? DotMode::kInt8
              : kv_.dtype == DType::kF32                         ? DotMode::kF32
              : e_.target().bf16_dot && q_dtype_ == DType::kBF16 ? DotMode::kBf16Dot
                                                                 : DotMode::kBf16Pairs;
  value_mode_ = kv_.integers()             ? DotMode::kInt8
                : kv_.dtype == DType::kF32 ? DotMode::kF32
                                           : DotMode::kBf16Pairs;
  values_ahead_ = kv_.k_bytes();
  // If the pages of a text lie one behind the other.
  keys_ahead_ = program::kAttentionSpan * kv_.page_bytes() - kv_.k_bytes();
}

std::string AttentionTiles::RowTile::Name(const char* what) const {
  return absl::StrCat(what, "_tile_", count, last ? "_last" : "", widened ? "_widened" : "");
}

// f32, but for VDPBF16PS, which multiplies bf16.
DType AttentionTiles::QueryType() const {
  return key_mode_ == DotMode::kBf16Dot ? DType::kBF16 : DType::kF32;
}

void AttentionTiles::TakeQuery(LV query, LV r) {
  if (kv_.integers()) {  // by way of the values, which are zero before the first page
    tile_.Begin(r);
    CopyQuery(query, tile_.Values(r), DType::kF32);
    const FactorScale rounded = EmitFactorRow(e_, {.source = tile_.Values(r),
                                                   .target = tile_.Query(r),
                                                   .count = kv_.v_columns(),
                                                   .terms = kv_.head_dim});
    e_.StoreFloat(rounded.scale, tile_.QueryScale(r), DType::kF32, 1);
    e_.b().CreateAlignedStore(rounded.start, tile_.QueryStart(r), llvm::Align(4));
  } else {
    CopyQuery(query, tile_.Query(r), QueryType());
  }
}

void AttentionTiles::CopyQuery(LV from, LV to, DType packed) {
  e_.ForColumns(kv_.head_dim, e_.lanes(), [&](LV c, int lanes) {
    LV at = e_.b().CreateMul(c, e_.I64(DTypeSize(q_dtype_)));
    LV value = e_.LoadFloat(e_.Offset(from, at), q_dtype_, lanes);
    LV target = e_.Offset(to, e_.b().CreateMul(c, e_.I64(DTypeSize(packed))));
    e_.StoreFloat(value, target, packed, lanes);
  });
}

// As many rows at once as the registers hold, and the rest, one at least.
void AttentionTiles::ForWholeTiles(DotMode mode, LV rows, LV operand, bool widened,
                                   const std::function<void(const RowTile&)>& tile) {
  llvm::IRBuilder<>& b = e_.b();
  const int most = LargestTile(e_.target(), mode).rows;
  LV before = b.CreateSub(rows, e_.I64(1));
  LV whole = b.CreateSub(before, b.CreateURem(before, e_.I64(most)));
  e_.For(e_.I64(0), whole, most, [&](LV r) { tile({r, most, false, mode, operand, widened}); });
  LV left = b.CreateSub(rows, whole);
  for (int n = 1; n <= most; ++n) {
    e_.If(b.CreateICmpEQ(left, e_.I64(n)), [&] { tile({whole, n, true, mode, operand, widened}); });
  }
}

// Rows of one tile multiply bf16 as it lies in the page at `operand`; for more it is widened.
void AttentionTiles::ForRows(DotMode mode, LV rows, LV operand, const std::function<void()>& widen,
                             const std::function<void(const RowTile&)>& tile) {
  if (mode != DotMode::kBf16Pairs) return ForWholeTiles(mode, rows, operand, false, tile);
  llvm::IRBuilder<>& b = e_.b();
  const int few = LargestTile(e_.target(), mode).rows;
  for (int n = 1; n <= few; ++n) {
    e_.If(b.CreateICmpEQ(rows, e_.I64(n)), [&] {
      tile({e_.I64(0), n, true, mode, operand, false});
    });
  }
  e_.If(b.CreateICmpSGT(rows, e_.I64(few)), [&] {
    widen();
    ForWholeTiles(DotMode::kF32, rows, tile_.WidenedPage(), true, tile);
  });
}

void AttentionTiles::CallRows(const char* what, const RowTile& tile, std::pair<LV, LV> rest,
                              const std::function<void(const RowTile&, LV, LV)>& body) {
  e_.Call(tile.Name(what), {tile.operand, tile.first, rest.first, rest.second},
          [&](const std::vector<LV>& p) {
            RowTile rows = tile;
            rows.operand = p[0];
            rows.first = p[1];
            body(rows, p[2], p[3]);
          });
}

int64_t AttentionTiles::StepBytes(const RowTile& rows) const {
  return rows.widened ? 4 : kv_.step() * DTypeSize(kv_.dtype);
}

// `groups` of `columns` pairs of bf16 at `from` as f32 [2 * groups][columns], in scratch. Asks for
// what lies `ahead` of them.
void AttentionTiles::Widen(const char* name, LV from, int64_t groups, int64_t columns,
                           int64_t ahead) {
  constexpr int64_t kLineColumns = 16;
  e_.Call(name, {from}, [&](const std::vector<LV>& p) {
    e_.For(e_.I64(0), e_.I64(groups), 1, [&](LV g) {
      LV words = e_.Offset(p[0], e_.b().CreateMul(g, e_.I64(columns * 4)));
      LV floats = e_.Offset(tile_.WidenedPage(), e_.b().CreateMul(g, e_.I64(columns * 8)));
      e_.For(e_.I64(0), e_.I64(columns), kLineColumns, [&](LV c) {
        LV line = e_.b().CreateMul(c, e_.I64(4));
        e_.Prefetch(e_.Offset(e_.Offset(words, line), ahead));
        for (int64_t i = 0; i < kLineColumns * 4; i += e_.lanes() * 4) {
          LV at = e_.b().CreateAdd(line, e_.I64(i));
          const std::vector<LV> pair = EmitWeights(e_, DotMode::kBf16Pairs, e_.Offset(words, at));
          for (int64_t half : {0, 1}) {
            LV target = e_.Offset(e_.Offset(floats, at), half * columns * 4);
            e_.StoreFloat(pair[half], target, DType::kF32, e_.lanes());
          }
        }
      });
    });
  });
}

// The register tiles are functions whose operands come as addresses of their own: what LLVM knows
// to lie apart it would load once and hold, or spill. They are called in loops, for all calls side
// by side have more addresses than registers.
void AttentionTiles::Keys(LV page, LV place) {
  e_.Call("keys", {page, place}, [&](const std::vector<LV>& p) {
    const auto widen = [&] { Widen("widen_keys", p[0], kv_.k_groups(), kPage, values_ahead_); };
    ForRows(key_mode_, Rows(), p[0], widen, [&](const RowTile& tile) {
      CallRows("keys", tile, {p[0], p[1]}, [this](const RowTile& rows, LV page, LV place) {
        const int slots = TileFor(e_.target(), rows.mode, rows.count).slots;
        e_.For(e_.I64(0), e_.I64(kPage), int64_t{slots} * e_.lanes(),
               [&](LV j) { CallKeyTile(rows, page, place, j); });
      });
    });
  });
}

void AttentionTiles::CallKeyTile(const RowTile& rows, LV page, LV place, LV j) {
  LV in_floats = e_.b().CreateMul(j, e_.I64(4));
  std::vector<LV> addresses = {
      e_.Offset(rows.operand, e_.b().CreateMul(j, e_.I64(StepBytes(rows)))),
      tile_.Query(rows.first), e_.Offset(tile_.Scores(rows.first, place), in_floats)};
  if (kv_.integers()) {
    LV scales = e_.Offset(page, kv_.KScaleOffset(0, 0));
    addresses.push_back(e_.Offset(scales, in_floats));
    addresses.push_back(tile_.QueryScale(rows.first));
    addresses.push_back(tile_.QueryStart(rows.first));
  }
  e_.Call(rows.Name("key"), addresses, [&](const std::vector<LV>& p) { EmitKeyTile(rows, p); });
}

// Of keys, queries, scores and, of integers, the scales of the first two and the sums' starts.
void AttentionTiles::EmitKeyTile(const RowTile& rows, const std::vector<LV>& p) {
  LV keys = p[0], queries = p[1], scores = p[2];
  const int lanes = e_.lanes(), slots = TileFor(e_.target(), rows.mode, rows.count).slots;
  const int64_t step = StepBytes(rows);
  DotTile tile;
  tile.mode = rows.mode;
  tile.a_dtype = QueryType();
  tile.k = kv_.integers() ? kv_.k_groups() * kv_.step() : kv_.head_dim;
  tile.b_stride = kPage * step;
  if (rows.last && !rows.widened) tile.prefetch = values_ahead_;
  for (int r = 0; r < rows.count; ++r) {
    tile.a_rows.push_back(e_.Offset(queries, r * kv_.v_columns() * 4));
    if (kv_.integers()) tile.a_starts.push_back(e_.Offset(p[5], r * 4));
  }
  for (int s = 0; s < slots; ++s) tile.b_slots.push_back(e_.Offset(keys, s * lanes * step));
  const std::vector<LV> acc = EmitDotTile(e_, tile);
  for (int r = 0; r < rows.count; ++r) {
    for (int s = 0; s < slots; ++s) {
      LV address = e_.Offset(scores, (r * program::kAttentionSpan * kPage + s * lanes) * 4);
      LV score = acc[r * slots + s];
      if (kv_.integers()) {
        LV scale = e_.LoadFloat(e_.Offset(p[3], s * lanes * 4), DType::kF32, lanes);
        LV of_query = e_.LoadFloat(e_.Offset(p[4], r * 4), DType::kF32, 1);
        score = e_.b().CreateFMul(ToFloat(score), scale);
        score = e_.b().CreateFMul(score, e_.SplatValue(of_query, lanes));
      }
      e_.StoreFloat(score, address, DType::kF32, lanes);
    }
  }
}

void AttentionTiles::Values(LV page, LV place) {
  if (kv_.integers()) {
    e_.Call("round_weights", {page, place}, [this](const std::vector<LV>& p) {
      e_.For(e_.I64(0), Rows(), 1, [&](LV r) { RoundWeights(r, p[0], p[1]); });
    });
  }
  e_.Call("values", {page, place}, [&](const std::vector<LV>& p) { EmitValueTiles(p[0], p[1]); });
}

void AttentionTiles::RoundWeights(LV r, LV page, LV place) {
  const FactorScale rounded = EmitFactorRow(e_, {.source = tile_.Scores(r, place),
                                                 .factors = e_.Offset(page, kv_.VScaleOffset(0, 0)),
                                                 .target = tile_.Weights(r),
                                                 .count = kPage,
                                                 .terms = kPage});
  e_.StoreFloat(rounded.scale, tile_.WeightScale(r), DType::kF32, 1);
  e_.b().CreateAlignedStore(rounded.start, tile_.WeightStart(r), llvm::Align(4));
}

void AttentionTiles::EmitValueTiles(LV page, LV place) {
  LV values = e_.Offset(page, kv_.k_bytes());
  const auto widen = [&] {
    Widen("widen_values", values, kPage / 2, kv_.v_columns(), keys_ahead_);
  };
  ForRows(value_mode_, Rows(), values, widen, [&](const RowTile& tile) {
    CallRows("values", tile, {page, place}, [this](const RowTile& rows, LV, LV place) {
      const int slots = TileFor(e_.target(), rows.mode, rows.count).slots;
      const int64_t columns = slots * e_.lanes(), left = kv_.v_columns() % columns;
      const int64_t whole = kv_.v_columns() - left;
      e_.For(e_.I64(0), e_.I64(whole), columns,
             [&](LV c) { CallValueTile(rows, place, c, slots); });
      if (left > 0) CallValueTile(rows, place, e_.I64(whole), left / e_.lanes());
    });
  });
}

void AttentionTiles::CallValueTile(const RowTile& rows, LV place, LV c, int64_t slots) {
  LV sums = e_.Offset(tile_.Values(rows.first), e_.b().CreateMul(c, e_.I64(4)));
  LV weights = kv_.integers() ? tile_.Weights(rows.first) : tile_.Scores(rows.first, place);
  std::vector<LV> addresses = {
      e_.Offset(rows.operand, e_.b().CreateMul(c, e_.I64(StepBytes(rows)))), weights, sums};
  if (kv_.integers()) {
    addresses.push_back(tile_.WeightScale(rows.first));
    addresses.push_back(tile_.WeightStart(rows.first));
  }
  e_.Call(absl::StrCat(rows.Name("value"), "_", slots), addresses,
          [&](const std::vector<LV>& p) { EmitValueTile(rows, slots, p); });
}

// Of values, weights, sums and, of integers, the weights' scales and the products' starts.
void AttentionTiles::EmitValueTile(const RowTile& rows, int64_t slots, const std::vector<LV>& p) {
  const int lanes = e_.lanes();
  const int64_t step = StepBytes(rows);
  const auto sum_address = [&](int r, int64_t s) {
    return e_.Offset(p[2], (r * kv_.v_columns() + s * lanes) * 4);
  };
  DotTile tile;
  tile.mode = rows.mode;
  tile.a_dtype = DType::kF32;
  tile.k = kPage;
  tile.b_stride = kv_.v_columns() * step;
  if (rows.last && !rows.widened) tile.prefetch = keys_ahead_;
  const int64_t row_bytes = kPage * (kv_.integers() ? 2 : program::kAttentionSpan * 4);
  for (int64_t s = 0; s < slots; ++s) tile.b_slots.push_back(e_.Offset(p[0], s * lanes * step));
  for (int r = 0; r < rows.count; ++r) {
    tile.a_rows.push_back(e_.Offset(p[1], r * row_bytes));
    if (kv_.integers()) {
      tile.a_starts.push_back(e_.Offset(p[4], r * 4));
      continue;
    }
    for (int64_t s = 0; s < slots; ++s) {
      tile.sums.push_back(e_.LoadFloat(sum_address(r, s), DType::kF32, lanes));
    }
  }
  const std::vector<LV> acc = EmitDotTile(e_, tile);
  for (int r = 0; r < rows.count; ++r) {
    for (int64_t s = 0; s < slots; ++s) {
      LV sum = acc[r * slots + s];
      if (kv_.integers()) {
        LV scale = e_.LoadFloat(e_.Offset(p[3], r * 4), DType::kF32, 1);
        LV old = e_.LoadFloat(sum_address(r, s), DType::kF32, lanes);
        sum = e_.Fma(ToFloat(sum), e_.SplatValue(scale, lanes), old);
      }
      e_.StoreFloat(sum, sum_address(r, s), DType::kF32, lanes);
    }
  }
}

}  // namespace ninfer::codegen
