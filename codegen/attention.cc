// The attention family over a paged cache. A unit is one KV head and a block of 16 rows; the query
// heads that share the KV head are rows of the same register tile, so that keys and values are read
// once for all of them. Per page of 64 positions: scores by the same tile as a linear's (a page's keys
// are laid out as a panel), a softmax update, values by the tile again.
//
// flash keeps a running maximum, sum and weighted values (Milakov and Gimelshein 2018; Dao et al. 2022)
// and no scores; efficient keeps the scores of a tile of rows in the thread's scratch; naive keeps all
// scores in a buffer. Pages are taken in order of position in all three, and a masked position adds an
// exact zero, so that a row's result depends neither on its neighbours nor on the pages' places.
// Tested by tests/codegen_test.cc.
#include <algorithm>

#include "base/status.h"
#include "codegen/emitter.h"
#include "codegen/math.h"
#include "codegen/row_evaluator.h"
#include "codegen/sequence.h"

namespace ninfer::codegen {
namespace {

constexpr int64_t kPage = program::KvLayout::kPagePositions;
constexpr int kTileRows = 6;
constexpr int64_t kRowBlock = 16;

class AttentionEmitter {
 public:
  explicit AttentionEmitter(Emitter& e) : e_(e), evaluator_(e), kv_(e.kernel().kv) {}

  absl::Status Run() {
    NINFER_RETURN_IF_ERROR(Analyse());
    llvm::IRBuilder<>& b = e_.b();
    LV tokens = e_.DimValue(node_->result()->type().shape[0]);
    LV blocks = b.CreateUDiv(b.CreateAdd(tokens, e_.I64(kRowBlock - 1)), e_.I64(kRowBlock));
    LV sequences = e_.DimValue(ir::Dim::Symbolic(SymbolIndex(e_.program(), "S")));
    e_.For(e_.begin(), e_.end(), 1, [&](LV unit) {
      head_ = b.CreateUDiv(unit, blocks);
      LV low = b.CreateMul(b.CreateURem(unit, blocks), e_.I64(kRowBlock));
      LV high = Min(b.CreateAdd(low, e_.I64(kRowBlock)), tokens);
      e_.For(e_.I64(0), sequences, 1, [&](LV s) {
        sequence_ = s;
        LV first = LoadIndex(bounds_, s);
        LV last = LoadIndex(bounds_, b.CreateAdd(s, e_.I64(1)));
        LV from = b.CreateSelect(b.CreateICmpSGT(first, low), first, low);
        Rows(from, Min(last, high));
      });
    });
    e_.Finish();
    return absl::OkStatus();
  }

 private:
  absl::Status Analyse() {
    for (const auto& node : e_.body().nodes()) {
      if (node->op() == ir::Op::kPagedAttention) node_ = node.get();
    }
    NINFER_CHECK(node_ != nullptr) << e_.kernel().name;
    const ir::Value* q = node_->operand(0);
    heads_ = q->type().shape[1].offset;
    group_ = heads_ / kv_.heads;
    dim_ = kv_.head_dim;
    q_dtype_ = q->type().dtype;
    while (q->producer() != nullptr) {
      const ir::Node& view = *q->producer();
      if (view.op() == ir::Op::kSlice && view.attr_int("axis") == 1) {
        const ir::Type& type = view.result()->type();
        q_column_ += view.attr_int("begin") * (RowColumns(type) / type.shape[1].offset);
      } else if (view.op() != ir::Op::kReshape) {
        return absl::InternalError(absl::StrCat("kernel ", e_.kernel().name, ": op `",
                                                view.info().name, "` stands before the queries"));
      }
      q = view.operand(0);
    }
    queries_ = e_.ParameterAddress(q);
    q_ld_ = program::LeadingDimension(RowColumns(q->type()));
    pool_ = e_.ParameterAddress(node_->operand(1));
    positions_ = e_.ParameterAddress(node_->operand(2));
    bounds_ = e_.ParameterAddress(node_->operand(3));
    table_ = e_.ParameterAddress(node_->operand(4));
    const std::string& form = node_->attr_string("form");
    flash_ = form == "flash";
    if (form == "naive") {
      const ir::Value* scores = e_.body().parameters().back().get();
      all_scores_ = e_.ParameterAddress(scores);
      scores_ld_ = program::LeadingDimension(RowColumns(scores->type()));
      scores_per_head_ = scores->type().shape[2].offset;
    } else if (form == "efficient") {
      const int g = SymbolIndex(e_.program(), "G");
      scores_per_head_ = e_.program().symbols[g].max * kPage;
    }
    key_mode_ = kv_.dtype == DType::kF32                                          ? DotMode::kF32
                : e_.target().bf16_dot && q_dtype_ == DType::kBF16 ? DotMode::kBf16Dot
                                                                                  : DotMode::kBf16Pairs;
    value_mode_ = kv_.dtype == DType::kF32 ? DotMode::kF32 : DotMode::kBf16Pairs;
    evaluator_.Override(node_->result(), [this](const Place& place, LV column) {
      LV within = e_.b().CreateURem(column, e_.I64(dim_));
      LV value = e_.LoadFloat(e_.Offset(output_row_, e_.b().CreateMul(within, e_.I64(4))),
                              DType::kF32, place.lanes);
      return e_.b().CreateFMul(value, e_.SplatValue(output_scale_, place.lanes));
    });
    for (const ir::Value* result : e_.body().results()) {
      NINFER_RETURN_IF_ERROR(evaluator_.Check(result));
    }
    return absl::OkStatus();
  }

  LV Min(LV a, LV b) { return e_.b().CreateSelect(e_.b().CreateICmpSLT(a, b), a, b); }
  LV LoadIndex(LV array, LV index) {
    LV value = e_.LoadI32(e_.Offset(array, e_.b().CreateMul(index, e_.I64(4))));
    return e_.b().CreateSExt(value, e_.b().getInt64Ty());
  }

  // Scratch: scores of a page, running maximum, sum and correction, positions, weighted values.
  LV Scores(LV r) { return e_.Offset(e_.scratch(), e_.b().CreateMul(r, e_.I64(kPage * 4))); }
  LV PerRow(int field, LV r) {
    const int64_t base = kTileRows * kPage * 4 + field * 64;
    return e_.Offset(e_.scratch(), e_.AddMul(e_.I64(base), r, 4));
  }
  LV Maximum(LV r) { return PerRow(0, r); }
  LV Sum(LV r) { return PerRow(1, r); }
  LV Correction(LV r) { return PerRow(2, r); }
  LV Position(LV r) { return PerRow(3, r); }
  LV Values(LV r) {
    const int64_t base = kTileRows * kPage * 4 + 4 * 64;
    return e_.Offset(e_.scratch(), e_.AddMul(e_.I64(base), r, kv_.v_columns() * 4));
  }
  // All scores of row r of the tile (naive and efficient).
  LV ScoreRow(LV first, LV r) {
    llvm::IRBuilder<>& b = e_.b();
    if (all_scores_ == nullptr) {
      const int64_t base = kTileRows * (kPage * 4 + kv_.v_columns() * 4) + 4 * 64;
      return e_.Offset(e_.scratch(), e_.AddMul(e_.I64(base), r, scores_per_head_ * 4));
    }
    auto [row, head] = RowAndHead(first, r);
    LV element = e_.AddMul(b.CreateMul(head, e_.I64(scores_per_head_)), row, scores_ld_);
    return e_.Offset(all_scores_, b.CreateMul(element, e_.I64(4)));
  }

  // The tile's rows run over (token, query head of the group), heads fastest.
  std::pair<LV, LV> RowAndHead(LV first, LV r) {
    llvm::IRBuilder<>& b = e_.b();
    LV flat = b.CreateAdd(first, r);
    LV row = b.CreateAdd(from_, b.CreateUDiv(flat, e_.I64(group_)));
    LV head = e_.AddMul(b.CreateURem(flat, e_.I64(group_)), head_, group_);
    return {row, head};
  }

  void Rows(LV from, LV to) {
    llvm::IRBuilder<>& b = e_.b();
    from_ = from;
    LV none = b.CreateICmpSGE(from, to);
    LV count = b.CreateMul(b.CreateSelect(none, e_.I64(0), b.CreateSub(to, from)), e_.I64(group_));
    LV left = b.CreateURem(count, e_.I64(kTileRows));
    LV whole = b.CreateSub(count, left);
    e_.For(e_.I64(0), whole, kTileRows, [&](LV first) { Tile(first, kTileRows); });
    for (int n = 1; n < kTileRows; ++n) {
      e_.If(b.CreateICmpEQ(left, e_.I64(n)), [&] { Tile(whole, n); });
    }
  }

  void Tile(LV first, int count) {
    llvm::IRBuilder<>& b = e_.b();
    std::vector<LV> queries;
    LV last = e_.I64(0);
    for (int r = 0; r < count; ++r) {
      auto [row, head] = RowAndHead(first, e_.I64(r));
      LV element = e_.AddMul(e_.AddMul(e_.I64(q_column_), head, dim_), row, q_ld_);
      queries.push_back(e_.Offset(queries_, b.CreateMul(element, e_.I64(DTypeSize(q_dtype_)))));
      LV position = LoadIndex(positions_, row);
      b.CreateAlignedStore(b.CreateTrunc(position, b.getInt32Ty()), Position(e_.I64(r)),
                           llvm::Align(4));
      last = b.CreateSelect(b.CreateICmpSGT(position, last), position, last);
    }
    LV rows = e_.I64(count);
    e_.For(e_.I64(0), rows, 1, [&](LV r) {
      e_.StoreFloat(llvm::ConstantFP::getInfinity(b.getFloatTy(), true), Maximum(r), DType::kF32, 1);
      e_.StoreFloat(e_.Splat(0, 1), Sum(r), DType::kF32, 1);
      e_.StoreFloat(e_.Splat(1, 1), Correction(r), DType::kF32, 1);
      e_.For(e_.I64(0), e_.I64(kv_.v_columns()), e_.lanes(), [&](LV c) {
        e_.StoreFloat(e_.Splat(0, e_.lanes()), e_.Offset(Values(r), b.CreateMul(c, e_.I64(4))),
                      DType::kF32, e_.lanes());
      });
    });
    LV pages = b.CreateAdd(b.CreateUDiv(last, e_.I64(kPage)), e_.I64(1));
    if (flash_) {
      e_.For(e_.I64(0), pages, 1, [&](LV page) {
        LV base = PageBase(page);
        KeyTile(queries, base, [&](int r) { return Scores(e_.I64(r)); });
        e_.For(e_.I64(0), rows, 1, [&](LV r) { UpdateSoftmax(page, r); });
        ValueTile(count, base, [&](int r) { return Scores(e_.I64(r)); });
      });
    } else {
      e_.For(e_.I64(0), pages, 1, [&](LV page) {
        LV skipped = b.CreateMul(page, e_.I64(kPage * 4));
        KeyTile(queries, PageBase(page),
                [&](int r) { return e_.Offset(ScoreRow(first, e_.I64(r)), skipped); });
      });
      e_.For(e_.I64(0), rows, 1, [&](LV r) { WholeSoftmax(ScoreRow(first, r), r, pages); });
      e_.For(e_.I64(0), pages, 1, [&](LV page) {
        LV skipped = b.CreateMul(page, e_.I64(kPage * 4));
        ValueTile(count, PageBase(page),
                  [&](int r) { return e_.Offset(ScoreRow(first, e_.I64(r)), skipped); });
      });
    }
    e_.For(e_.I64(0), rows, 1, [&](LV r) { Output(first, r); });
  }

  LV PageBase(LV page) {
    LV base = e_.Offset(pool_, PageOf(e_, table_, sequence_, page, kv_.page_bytes()));
    return e_.Offset(base, e_.b().CreateMul(head_, e_.I64(kv_.head_bytes())));
  }

  // Calls part(first row, rows) for even parts of `all` rows that each fit the registers.
  void ForParts(DotMode mode, int all, const std::function<void(int, int)>& part) {
    const int parts = (all + LargestTile(e_.target(), mode).rows - 1) /
                      LargestTile(e_.target(), mode).rows;
    for (int i = 0; i < parts; ++i) {
      const int from = all * i / parts;
      part(from, all * (i + 1) / parts - from);
    }
  }

  void KeyTile(const std::vector<LV>& queries, LV base, const std::function<LV(int)>& target) {
    const int lanes = e_.lanes();
    const int64_t step = kv_.step() * DTypeSize(kv_.dtype);
    ForParts(key_mode_, static_cast<int>(queries.size()), [&](int r0, int count) {
      DotTile tile;
      tile.mode = key_mode_;
      tile.a_dtype = q_dtype_;
      tile.k = dim_;
      tile.b_stride = kPage * step;
      tile.a_rows.assign(queries.begin() + r0, queries.begin() + r0 + count);
      const int slots = TileFor(e_.target(), key_mode_, count).slots;
      for (int64_t j = 0; j < kPage; j += slots * lanes) {
        tile.b_slots.clear();
        for (int s = 0; s < slots; ++s) tile.b_slots.push_back(e_.Offset(base, (j + s * lanes) * step));
        const std::vector<LV> acc = EmitDotTile(e_, tile);
        for (int r = 0; r < count; ++r) {
          LV row = target(r0 + r);
          for (int s = 0; s < slots; ++s) {
            e_.StoreFloat(acc[r * slots + s], e_.Offset(row, (j + s * lanes) * 4), DType::kF32, lanes);
          }
        }
      }
    });
  }

  // Values(r) = Values(r) * Correction(r) + weights(r) V.
  void ValueTile(int all, LV base, const std::function<LV(int)>& weights) {
    const int lanes = e_.lanes();
    const int64_t step = kv_.step() * DTypeSize(kv_.dtype);
    LV values = e_.Offset(base, kv_.k_bytes());
    ForParts(value_mode_, all, [&](int r0, int count) {
      DotTile tile;
      tile.mode = value_mode_;
      tile.a_dtype = DType::kF32;
      tile.k = kPage;
      tile.b_stride = kv_.v_columns() * step;
      for (int r = 0; r < count; ++r) tile.a_rows.push_back(weights(r0 + r));
      const int64_t slots = std::min<int64_t>(
          TileFor(e_.target(), value_mode_, count).slots, kv_.v_columns() / lanes);
      for (int64_t c = 0; c < kv_.v_columns(); c += slots * lanes) {
        const int64_t here = std::min<int64_t>(slots, (kv_.v_columns() - c) / lanes);
        tile.b_slots.clear();
        for (int64_t s = 0; s < here; ++s) {
          tile.b_slots.push_back(e_.Offset(values, (c + s * lanes) * step));
        }
        const std::vector<LV> acc = EmitDotTile(e_, tile);
        for (int r = 0; r < count; ++r) {
          LV row = Values(e_.I64(r0 + r));
          LV correction =
              e_.SplatValue(e_.LoadFloat(Correction(e_.I64(r0 + r)), DType::kF32, 1), lanes);
          for (int64_t s = 0; s < here; ++s) {
            LV address = e_.Offset(row, (c + s * lanes) * 4);
            LV old = e_.LoadFloat(address, DType::kF32, lanes);
            e_.StoreFloat(e_.Fma(old, correction, acc[r * here + s]), address, DType::kF32, lanes);
          }
        }
      }
    });
  }

  // Scaled scores of `lanes` positions from `first` on; -inf behind the row's own position.
  LV MaskedScores(LV raw, LV first, LV position) {
    llvm::IRBuilder<>& b = e_.b();
    const int lanes = e_.lanes();
    std::vector<llvm::Constant*> steps;
    for (int i = 0; i < lanes; ++i) steps.push_back(b.getInt32(i));
    LV index = b.CreateAdd(e_.b().CreateVectorSplat(lanes, b.CreateTrunc(first, b.getInt32Ty())),
                           llvm::ConstantVector::get(steps));
    LV visible = b.CreateICmpSLE(index, b.CreateVectorSplat(lanes, position));
    LV scaled = b.CreateFMul(raw, e_.Splat(node_->attr_float("scale"), lanes));
    return b.CreateSelect(visible, scaled,
                          llvm::ConstantFP::getInfinity(e_.FloatType(lanes), true));
  }

  void UpdateSoftmax(LV page, LV r) {
    llvm::IRBuilder<>& b = e_.b();
    const int lanes = e_.lanes();
    LV row = Scores(r);
    LV position = e_.LoadI32(Position(r));
    LV start = b.CreateMul(page, e_.I64(kPage));
    std::vector<LV> scores;
    LV most = nullptr;
    for (int64_t j = 0; j < kPage; j += lanes) {
      LV raw = e_.LoadFloat(e_.Offset(row, j * 4), DType::kF32, lanes);
      scores.push_back(MaskedScores(raw, b.CreateAdd(start, e_.I64(j)), position));
      most = most == nullptr ? scores.back() : e_.Max(most, scores.back());
    }
    LV before = e_.LoadFloat(Maximum(r), DType::kF32, 1);
    LV maximum = e_.Max(e_.ReduceMax(most, lanes), before);
    LV correction = EmitExp(e_, b.CreateFSub(before, maximum));
    LV sum = nullptr;
    for (size_t i = 0; i < scores.size(); ++i) {
      LV weight = EmitExp(e_, b.CreateFSub(scores[i], e_.SplatValue(maximum, lanes)));
      e_.StoreFloat(weight, e_.Offset(row, static_cast<int64_t>(i) * lanes * 4), DType::kF32, lanes);
      sum = sum == nullptr ? weight : b.CreateFAdd(sum, weight);
    }
    LV total = e_.Fma(e_.LoadFloat(Sum(r), DType::kF32, 1), correction, e_.ReduceAdd(sum, lanes));
    e_.StoreFloat(maximum, Maximum(r), DType::kF32, 1);
    e_.StoreFloat(correction, Correction(r), DType::kF32, 1);
    e_.StoreFloat(total, Sum(r), DType::kF32, 1);
  }

  void WholeSoftmax(LV scores, LV r, LV pages) {
    llvm::IRBuilder<>& b = e_.b();
    const int lanes = e_.lanes();
    LV position = e_.LoadI32(Position(r));
    LV end = b.CreateMul(pages, e_.I64(kPage));
    auto at = [&](LV j) { return e_.Offset(scores, b.CreateMul(j, e_.I64(4))); };
    LV lowest = llvm::ConstantFP::getInfinity(e_.FloatType(lanes), true);
    LV most = e_.ForCarry(e_.I64(0), end, lanes, {lowest}, [&](LV j, const std::vector<LV>& acc) {
      LV masked = MaskedScores(e_.LoadFloat(at(j), DType::kF32, lanes), j, position);
      e_.StoreFloat(masked, at(j), DType::kF32, lanes);
      return std::vector<LV>{e_.Max(masked, acc[0])};
    })[0];
    LV maximum = e_.SplatValue(e_.ReduceMax(most, lanes), lanes);
    LV sum = e_.ForCarry(e_.I64(0), end, lanes, {e_.Splat(0, lanes)},
                         [&](LV j, const std::vector<LV>& acc) {
                           LV score = e_.LoadFloat(at(j), DType::kF32, lanes);
                           LV weight = EmitExp(e_, b.CreateFSub(score, maximum));
                           e_.StoreFloat(weight, at(j), DType::kF32, lanes);
                           return std::vector<LV>{b.CreateFAdd(acc[0], weight)};
                         })[0];
    e_.StoreFloat(e_.ReduceAdd(sum, lanes), Sum(r), DType::kF32, 1);
  }

  void Output(LV first, LV r) {
    llvm::IRBuilder<>& b = e_.b();
    auto [row, head] = RowAndHead(first, r);
    output_row_ = Values(r);
    output_scale_ = b.CreateFDiv(e_.Splat(1, 1), e_.LoadFloat(Sum(r), DType::kF32, 1));
    LV start = b.CreateMul(head, e_.I64(dim_));
    for (size_t i = 0; i < e_.body().results().size(); ++i) {
      const ir::Value* result = e_.body().results()[i];
      const DType dtype = result->type().dtype;
      const int64_t ld = program::LeadingDimension(RowColumns(result->type()));
      LV base = e_.Offset(e_.OutputAddress(static_cast<int>(i)),
                          b.CreateMul(e_.AddMul(start, row, ld), e_.I64(DTypeSize(dtype))));
      e_.ForColumns(dim_, e_.lanes(), [&](LV c, int lanes) {
        LV value = evaluator_.Evaluate(result, Place{row, lanes, 0, nullptr}, b.CreateAdd(start, c));
        e_.StoreFloat(value, e_.Offset(base, b.CreateMul(c, e_.I64(DTypeSize(dtype)))), dtype, lanes);
      });
    }
  }

  Emitter& e_;
  RowEvaluator evaluator_;
  const program::KvLayout& kv_;
  const ir::Node* node_ = nullptr;
  int64_t heads_ = 0, group_ = 0, dim_ = 0;
  DType q_dtype_ = DType::kF32;
  int64_t q_column_ = 0, q_ld_ = 0;
  LV queries_ = nullptr, pool_ = nullptr, positions_ = nullptr, bounds_ = nullptr, table_ = nullptr;
  bool flash_ = true;
  LV all_scores_ = nullptr;  // naive
  int64_t scores_ld_ = 0, scores_per_head_ = 0;
  DotMode key_mode_ = DotMode::kF32, value_mode_ = DotMode::kF32;
  // Of the unit and tile that is being emitted.
  LV head_ = nullptr, sequence_ = nullptr, from_ = nullptr;
  LV output_row_ = nullptr, output_scale_ = nullptr;
};

}  // namespace

absl::Status EmitAttention(Emitter& e) { return AttentionEmitter(e).Run(); }

}  // namespace ninfer::codegen
