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

// Calls part(first row, rows) for even parts of `all` rows that each fit the registers.
void AttentionTiles::ForParts(DotMode mode, int all, const std::function<void(int, int)>& part) {
  const int most = LargestTile(e_.target(), mode).rows, parts = (all + most - 1) / most;
  for (int i = 0; i < parts; ++i) {
    const int from = all * i / parts;
    part(from, all * (i + 1) / parts - from);
  }
}

// The register tiles are functions whose operands come as addresses of their own: what LLVM knows
// to lie apart it would load once and hold, or spill. They are called in loops, for all calls side
// by side have more addresses than registers.
void AttentionTiles::Keys(int all, LV page) {
  e_.Call(absl::StrCat("keys_", all), {page},
          [&](const std::vector<LV>& p) { EmitKeyTiles(all, p[0]); });
}

void AttentionTiles::EmitKeyTiles(int all, LV base) {
  ForParts(key_mode_, all, [&](int r0, int count) {
    const int64_t columns = TileFor(e_.target(), key_mode_, count).slots * e_.lanes();
    e_.Call(absl::StrCat("keys_", r0, "_", count), {base}, [&](const std::vector<LV>& p) {
      e_.For(e_.I64(0), e_.I64(kPage), columns, [&](LV j) { CallKeyTile(r0, count, p[0], j); });
    });
  });
}

void AttentionTiles::CallKeyTile(int r0, int count, LV base, LV j) {
  const int64_t step = kv_.step() * DTypeSize(kv_.dtype);
  LV row = e_.I64(r0), in_floats = e_.b().CreateMul(j, e_.I64(4));
  std::vector<LV> addresses = {e_.Offset(base, e_.b().CreateMul(j, e_.I64(step))), tile_.Query(row),
                               e_.Offset(tile_.Scores(row), in_floats)};
  if (kv_.integers()) {
    LV scales = e_.Offset(base, kv_.KScaleOffset(0, 0));
    for (LV address : {e_.Offset(scales, in_floats), tile_.QueryScale(row), tile_.QueryStart(row)})
      addresses.push_back(address);
  }
  e_.Call(absl::StrCat("key_tile_", count), addresses,
          [&](const std::vector<LV>& p) { EmitKeyTile(count, p); });
}

// Of keys, queries, scores and, of integers, the scales of the first two and the sums' starts.
void AttentionTiles::EmitKeyTile(int count, const std::vector<LV>& p) {
  LV keys = p[0], queries = p[1], scores = p[2];
  const int lanes = e_.lanes(), slots = TileFor(e_.target(), key_mode_, count).slots;
  const int64_t step = kv_.step() * DTypeSize(kv_.dtype);
  DotTile tile;
  tile.mode = key_mode_;
  tile.a_dtype = QueryType();
  tile.k = kv_.integers() ? kv_.k_groups() * kv_.step() : kv_.head_dim;
  tile.b_stride = kPage * step;
  tile.prefetch = kv_.k_bytes();  // the page's values
  for (int r = 0; r < count; ++r) {
    tile.a_rows.push_back(e_.Offset(queries, r * kv_.v_columns() * 4));
    if (kv_.integers()) tile.a_starts.push_back(e_.Offset(p[5], r * 4));
  }
  for (int s = 0; s < slots; ++s) tile.b_slots.push_back(e_.Offset(keys, s * lanes * step));
  const std::vector<LV> acc = EmitDotTile(e_, tile);
  for (int r = 0; r < count; ++r) {
    for (int s = 0; s < slots; ++s) {
      LV address = e_.Offset(scores, (r * kPage + s * lanes) * 4);
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

void AttentionTiles::Values(int all, LV page) {
  if (kv_.integers()) {
    e_.Call("round_weights", {e_.I64(all), page}, [this](const std::vector<LV>& p) {
      e_.For(e_.I64(0), p[0], 1, [&](LV r) { RoundWeights(r, p[1]); });
    });
  }
  e_.Call(absl::StrCat("values_", all), {page},
          [&](const std::vector<LV>& p) { EmitValueTiles(all, p[0]); });
}

void AttentionTiles::RoundWeights(LV r, LV page) {
  const FactorScale rounded = EmitFactorRow(e_, {.source = tile_.Scores(r),
                                                 .factors = e_.Offset(page, kv_.VScaleOffset(0, 0)),
                                                 .target = tile_.Weights(r),
                                                 .count = kPage,
                                                 .terms = kPage});
  e_.StoreFloat(rounded.scale, tile_.WeightScale(r), DType::kF32, 1);
  e_.b().CreateAlignedStore(rounded.start, tile_.WeightStart(r), llvm::Align(4));
}

void AttentionTiles::EmitValueTiles(int all, LV base) {
  ForParts(value_mode_, all, [&](int r0, int count) {
    const int slots = TileFor(e_.target(), value_mode_, count).slots;
    const int64_t columns = slots * e_.lanes(), left = kv_.v_columns() % columns;
    const int64_t whole = kv_.v_columns() - left;
    e_.Call(absl::StrCat("values_", r0, "_", count), {base}, [&](const std::vector<LV>& p) {
      e_.For(e_.I64(0), e_.I64(whole), columns,
             [&](LV c) { CallValueTile(r0, count, slots, p[0], c); });
      if (left > 0) CallValueTile(r0, count, left / e_.lanes(), p[0], e_.I64(whole));
    });
  });
}

void AttentionTiles::CallValueTile(int r0, int count, int64_t slots, LV base, LV c) {
  const int64_t step = kv_.step() * DTypeSize(kv_.dtype);
  LV values = e_.Offset(base, e_.AddMul(e_.I64(kv_.k_bytes()), c, step));
  LV sums = e_.Offset(tile_.Values(e_.I64(r0)), e_.b().CreateMul(c, e_.I64(4)));
  e_.Call(absl::StrCat("value_tile_", r0, "_", count, "_", slots),
          {values, Weights(e_.I64(r0)), sums},
          [&](const std::vector<LV>& p) { EmitValueTile(r0, count, slots, p[0], p[1], p[2]); });
}

void AttentionTiles::EmitValueTile(int r0, int count, int64_t slots, LV values, LV weights,
                                   LV sums) {
  const int lanes = e_.lanes();
  const int64_t step = kv_.step() * DTypeSize(kv_.dtype);
  DotTile tile;
  tile.mode = value_mode_;
  tile.a_dtype = DType::kF32;
  tile.k = kPage;
  tile.b_stride = kv_.v_columns() * step;
  tile.prefetch = kv_.page_bytes() - kv_.k_bytes();  // the next page's keys, if it lies behind
  const int64_t row_bytes = kPage * (kv_.integers() ? 2 : 4);
  for (int r = 0; r < count; ++r) {
    tile.a_rows.push_back(e_.Offset(weights, r * row_bytes));
    if (kv_.integers()) tile.a_starts.push_back(tile_.WeightStart(e_.I64(r0 + r)));
  }
  for (int64_t s = 0; s < slots; ++s) tile.b_slots.push_back(e_.Offset(values, s * lanes * step));
  const std::vector<LV> acc = EmitDotTile(e_, tile);
  for (int r = 0; r < count; ++r) {
    LV correction = e_.LoadFloat(tile_.Correction(e_.I64(r0 + r)), DType::kF32, 1);
    for (int64_t s = 0; s < slots; ++s) {
      LV address = e_.Offset(sums, (r * kv_.v_columns() + s * lanes) * 4);
      LV old = e_.LoadFloat(address, DType::kF32, lanes);
      LV added = acc[r * slots + s];
      if (kv_.integers()) {
        LV scale = e_.LoadFloat(tile_.WeightScale(e_.I64(r0 + r)), DType::kF32, 1);
        added = e_.b().CreateFMul(ToFloat(added), e_.SplatValue(scale, lanes));
      }
      LV sum = e_.Fma(old, e_.SplatValue(correction, lanes), added);
      e_.StoreFloat(sum, address, DType::kF32, lanes);
    }
  }
}

}  // namespace ninfer::codegen
