// The attention family over a paged cache. A unit is one KV head and a quarter of a block of 16
// tokens; a range of units takes the tokens of a block together. The query heads that share the KV
// head are rows beside each other, so that keys and values are read once for all of them. Per span
// of two pages of 64 positions: scores by the same tile as a linear's (a page's keys are laid out
// as a panel), a softmax update, values by the tile again.
//
// flash keeps a running maximum, sum and weighted values (Milakov and Gimelshein 2018; Dao et al.
// 2022) and no scores; efficient keeps the scores of a tile of rows in the thread's scratch; naive
// keeps all probabilities in a buffer. Pages are taken in order of position in all three, and a
// masked position adds an exact zero, so that a row's result depends neither on its neighbours nor
// on the pages' places.
// Tested by tests/codegen_test.cc.
#include <algorithm>
#include <utility>

#include "base/status.h"
#include "codegen/attention_softmax.h"
#include "codegen/attention_tiles.h"
#include "codegen/emitter.h"
#include "codegen/row_evaluator.h"
#include "codegen/sequence.h"
#include "program/body.h"

namespace ninfer::codegen {
namespace {

constexpr int64_t kPage = program::KvLayout::kPagePositions;
constexpr int64_t kParts = program::kAttentionParts;
constexpr int64_t kSpan = program::kAttentionSpan;

const ir::Node* FindAttention(const Emitter& e) {
  const ir::Node* node = program::FindNode(e.body(), ir::Op::kPagedAttention);
  NINFER_CHECK(node != nullptr) << e.kernel().name;
  return node;
}

class AttentionEmitter {
 public:
  explicit AttentionEmitter(Emitter& e)
      : e_(e),
        evaluator_(e),
        kv_(e.kernel().kv),
        node_(FindAttention(e)),
        rule_(RuleOf(*node_)),
        tile_(e, kv_, rule_),
        tiles_(e, &tile_, node_->operand(0)->type().dtype) {}

  void Run() {
    Analyse();
    llvm::IRBuilder<>& b = e_.b();
    LV last = b.CreateUDiv(b.CreateAdd(e_.end(), e_.I64(kParts - 1)), e_.I64(kParts));
    e_.For(b.CreateUDiv(e_.begin(), e_.I64(kParts)), last, 1, [&](LV block) {
      LV unit = b.CreateMul(block, e_.I64(kParts));
      LV from = e_.Larger(b.CreateSub(e_.begin(), unit), e_.I64(0));
      LV to = e_.Smaller(b.CreateSub(e_.end(), unit), e_.I64(kParts));
      e_.Call("block", {block, from, to},
              [this](const std::vector<LV>& p) { Block(p[0], p[1], p[2]); });
    });
    e_.Finish();
  }

 private:
  void Analyse() {
    const ir::Value* q = node_->operand(0);
    heads_ = q->type().shape[1].offset;
    group_ = heads_ / kv_.heads;
    dim_ = kv_.head_dim;
    q_dtype_ = q->type().dtype;
    const absl::optional<program::ColumnRange> range = program::ResolveColumns(q);
    NINFER_CHECK(range.has_value()) << e_.kernel().name;
    queries_ = range->root;
    q_column_ = range->offset;
    q_ld_ = program::LeadingDimension(RowColumns(queries_->type()));
    const std::string& form = node_->attr_string("form");
    flash_ = form == "flash";
    if (form == "naive") {
      all_scores_ = e_.body().parameters().back().get();
      scores_ld_ = program::LeadingDimension(RowColumns(all_scores_->type()));
      scores_per_head_ = all_scores_->type().shape[2].offset;
    } else if (form == "efficient") {
      const int g = SymbolIndex(e_.program(), "G");
      scores_per_head_ = e_.program().symbols[g].max * kPage;
    }
    evaluator_.Override(node_->result(), [this](const Place& place, LV column) {
      LV within = e_.b().CreateURem(column, e_.I64(dim_));
      LV value = e_.LoadFloat(e_.Offset(output_row_, e_.b().CreateMul(within, e_.I64(4))),
                              DType::kF32, place.lanes);
      return e_.b().CreateFMul(value, e_.SplatValue(output_scale_, place.lanes));
    });
  }

  // The rows of the parts [from, to) of a block and KV head, sequence by sequence.
  void Block(LV unit, LV from, LV to) {
    llvm::IRBuilder<>& b = e_.b();
    StoreIndex(b.CreateURem(unit, e_.I64(kv_.heads)), tile_.Head());
    const RowBlock block =
        RowBlockOf(e_, node_->result()->type().shape[0], b.CreateUDiv(unit, e_.I64(kv_.heads)));
    StoreIndex(PartBegin(e_, block, from), tile_.BlockBegin());
    StoreIndex(PartBegin(e_, block, to), tile_.BlockEnd());
    LV sequences = e_.DimValue(ir::Dim::Symbolic(SymbolIndex(e_.program(), "S")));
    e_.For(e_.I64(0), sequences, 1, [&](LV s) {
      e_.Call("sequence", {s}, [this](const std::vector<LV>& p) { Sequence(p[0]); });
    });
  }

  void Sequence(LV s) {
    llvm::IRBuilder<>& b = e_.b();
    LV low = LoadIndex(tile_.BlockBegin(), e_.I64(0));
    LV high = LoadIndex(tile_.BlockEnd(), e_.I64(0));
    LV bounds = e_.ParameterAddress(node_->operand(3));
    LV first = LoadIndex(bounds, s);
    LV last = LoadIndex(bounds, b.CreateAdd(s, e_.I64(1)));
    StoreIndex(s, tile_.Sequence());
    StoreIndex(e_.Larger(first, low), tile_.FirstRow());
    Rows(e_.Smaller(last, high));
  }

  void StoreIndex(LV value, LV address) {
    value = e_.b().CreateTrunc(value, e_.b().getInt32Ty());
    e_.b().CreateAlignedStore(value, address, llvm::Align(4));
  }
  LV LoadIndex(LV array, LV index) {
    LV value = e_.LoadI32(e_.Offset(array, e_.b().CreateMul(index, e_.I64(4))));
    return e_.b().CreateSExt(value, e_.b().getInt64Ty());
  }

  // All scores of row r of the tile (naive and efficient).
  LV ScoreRow(LV first, LV r) {
    llvm::IRBuilder<>& b = e_.b();
    if (all_scores_ == nullptr) {
      return e_.Offset(e_.scratch(), e_.AddMul(e_.I64(tile_.end()), r, scores_per_head_ * 4));
    }
    LV all_scores = e_.ParameterAddress(all_scores_);
    auto [row, head] = RowAndHead(first, r);
    LV element = e_.AddMul(b.CreateMul(head, e_.I64(scores_per_head_)), row, scores_ld_);
    return e_.Offset(all_scores, b.CreateMul(element, e_.I64(4)));
  }

  // The tile's rows run over (token, query head of the group), heads fastest.
  std::pair<LV, LV> RowAndHead(LV first, LV r) {
    llvm::IRBuilder<>& b = e_.b();
    LV flat = b.CreateAdd(first, r);
    LV row =
        b.CreateAdd(LoadIndex(tile_.FirstRow(), e_.I64(0)), b.CreateUDiv(flat, e_.I64(group_)));
    LV kv_head = LoadIndex(tile_.Head(), e_.I64(0));
    LV head = e_.AddMul(b.CreateURem(flat, e_.I64(group_)), kv_head, group_);
    return {row, head};
  }

  void Rows(LV to) {
    llvm::IRBuilder<>& b = e_.b();
    LV from = LoadIndex(tile_.FirstRow(), e_.I64(0));
    LV none = b.CreateICmpSGE(from, to);
    LV count = b.CreateMul(b.CreateSelect(none, e_.I64(0), b.CreateSub(to, from)), e_.I64(group_));
    e_.For(e_.I64(0), count, program::kAttentionRows, [&](LV first) {
      LV rows = e_.Smaller(b.CreateSub(count, first), e_.I64(program::kAttentionRows));
      e_.Call("tile", {first, rows}, [this](const std::vector<LV>& p) { Tile(p[0], p[1]); });
    });
  }

  void ForEachRow(const std::function<void(LV)>& visit) {
    e_.For(e_.I64(0), LoadIndex(tile_.Rows(), e_.I64(0)), 1, [&](LV r) {
      const AddressScope scope(e_);
      visit(r);
    });
  }

  void Tile(LV first, LV rows) {
    llvm::IRBuilder<>& b = e_.b();
    StoreIndex(rows, tile_.Rows());
    e_.Call("begin_rows", {first}, [this](const std::vector<LV>& p) { BeginRows(p[0]); });
    LV last = b.CreateZExt(e_.LoadI32(tile_.LastPosition()), b.getInt64Ty());
    LV pages = b.CreateAdd(b.CreateUDiv(last, e_.I64(kPage)), e_.I64(1));
    LV begin = FirstPage();
    if (flash_) {
      // Spans begin at multiples of their length, so that a row's sums do not depend on the tile.
      LV start = b.CreateSub(begin, b.CreateURem(begin, e_.I64(kSpan)));
      e_.For(start, pages, kSpan, [&](LV span) {
        LV from = e_.Larger(span, begin);
        LV to = e_.Smaller(b.CreateAdd(span, e_.I64(kSpan)), pages);
        e_.Call("span", {from, to}, [this](const std::vector<LV>& p) { Span(p[0], p[1]); });
      });
    } else {
      AllPages(first, begin, pages);
    }
    e_.Call("output_rows", {first},
            [this](const std::vector<LV>& p) { ForEachRow([&](LV r) { Output(p[0], r); }); });
  }

  // Pages [from, to) of a span.
  void Span(LV from, LV to) {
    const auto pages = [&](const char* name, void (AttentionTiles::*part)(LV, LV)) {
      e_.Call(name, {from, to}, [&](const std::vector<LV>& p) {
        e_.For(p[0], p[1], 1,
               [&](LV page) { (tiles_.*part)(PageBase(page), e_.b().CreateSub(page, p[0])); });
      });
    };
    pages("span_keys", &AttentionTiles::Keys);
    e_.Call("update_softmax", {from, to}, [this](const std::vector<LV>& p) {
      LV start = e_.b().CreateMul(p[0], e_.I64(kPage));
      LV count = e_.b().CreateSub(e_.b().CreateMul(p[1], e_.I64(kPage)), start);
      ForEachRow([&](LV r) { tile_.UpdateSoftmax(start, count, r); });
    });
    pages("span_values", &AttentionTiles::Values);
  }

  // Every score is stored, page by page, and read again for the values.
  void AllPages(LV first, LV begin, LV pages) {
    e_.For(begin, pages, 1, [&](LV page) {
      e_.Call("keys_of_page", {page},
              [this](const std::vector<LV>& p) { tiles_.Keys(PageBase(p[0]), e_.I64(0)); });
      e_.Call("store_scores", {first, page}, [this](const std::vector<LV>& p) {
        ForEachRow([&](LV r) { CopyScores(PageScores(p[0], r, p[1]), tile_.Scores(r)); });
      });
    });
    e_.Call("softmax", {first, begin, pages}, [this](const std::vector<LV>& p) {
      ForEachRow([&](LV r) { tile_.WholeSoftmax(ScoreRow(p[0], r), r, p[1], p[2]); });
    });
    if (all_scores_ != nullptr) {  // kept, so they are to be the probabilities
      e_.Call("normalise", {first, begin, pages}, [this](const std::vector<LV>& p) {
        ForEachRow([&](LV r) { tile_.Normalise(ScoreRow(p[0], r), r, p[1], p[2]); });
      });
    }
    e_.For(begin, pages, 1, [&](LV page) {
      e_.Call("load_scores", {first, page}, [this](const std::vector<LV>& p) {
        ForEachRow([&](LV r) { CopyScores(tile_.Scores(r), PageScores(p[0], r, p[1])); });
      });
      e_.Call("values_of_page", {page},
              [this](const std::vector<LV>& p) { tiles_.Values(PageBase(p[0]), e_.I64(0)); });
    });
  }

  // The first page that a row of the tile sees. The table may name none before it.
  LV FirstPage() {
    if (rule_.window == 0) return e_.I64(0);
    llvm::IRBuilder<>& b = e_.b();
    LV first = LoadIndex(tile_.FirstPosition(), e_.I64(0));
    LV begin = b.CreateSub(first, e_.I64(rule_.window - 1));
    return b.CreateUDiv(e_.Larger(begin, e_.I64(0)), e_.I64(kPage));
  }

  void BeginRows(LV first) {
    LV rows = LoadIndex(tile_.Rows(), e_.I64(0));
    const std::vector<LV> ends = e_.ForCarry(
        e_.I64(0), rows, 1, {e_.I64(0), e_.I64(INT32_MAX)},
        [&](LV r, const std::vector<LV>& carried) {
          LV position = BeginRow(first, r);
          return std::vector<LV>{e_.Larger(position, carried[0]), e_.Smaller(position, carried[1])};
        });
    StoreIndex(ends[0], tile_.LastPosition());
    StoreIndex(ends[1], tile_.FirstPosition());
  }

  // Starts row r of a tile: its position (returned), its query in scratch as the tile wants it, and
  // the softmax's state before the first page.
  LV BeginRow(LV first, LV r) {
    const AddressScope scope(e_);
    llvm::IRBuilder<>& b = e_.b();
    auto [row, head] = RowAndHead(first, r);
    LV element = e_.AddMul(e_.AddMul(e_.I64(q_column_), head, dim_), row, q_ld_);
    LV query =
        e_.Offset(e_.ParameterAddress(queries_), b.CreateMul(element, e_.I64(DTypeSize(q_dtype_))));
    tiles_.TakeQuery(query, r);
    LV position = LoadIndex(e_.ParameterAddress(node_->operand(2)), row);
    StoreIndex(position, tile_.Position(r));
    if (rule_.alibi) {
      LV slopes = e_.ParameterAddress(node_->operand(5));
      LV slope = e_.LoadFloat(e_.Offset(slopes, b.CreateMul(head, e_.I64(4))), DType::kF32, 1);
      if (rule_.round_alibi) slope = e_.RoundTo(slope, DType::kBF16, 1);
      e_.StoreFloat(slope, tile_.Slope(r), DType::kF32, 1);
    }
    tile_.Begin(r);
    return position;
  }

  LV PageScores(LV first, LV r, LV page) {
    return e_.Offset(ScoreRow(first, r), e_.b().CreateMul(page, e_.I64(kPage * 4)));
  }

  void CopyScores(LV to, LV from) {
    for (int64_t j = 0; j < kPage; j += e_.lanes()) {
      LV value = e_.LoadFloat(e_.Offset(from, j * 4), DType::kF32, e_.lanes());
      e_.StoreFloat(value, e_.Offset(to, j * 4), DType::kF32, e_.lanes());
    }
  }

  LV PageBase(LV page) {
    const AddressScope scope(e_);
    LV pool = e_.ParameterAddress(node_->operand(1));
    LV table = e_.ParameterAddress(node_->operand(4));
    LV base = e_.Offset(
        pool, PageOf(e_, table, LoadIndex(tile_.Sequence(), e_.I64(0)), page, kv_.page_bytes()));
    return e_.Offset(
        base, e_.b().CreateMul(LoadIndex(tile_.Head(), e_.I64(0)), e_.I64(kv_.head_bytes())));
  }

  void Output(LV first, LV r) {
    llvm::IRBuilder<>& b = e_.b();
    auto [row, head] = RowAndHead(first, r);
    output_row_ = tile_.Values(r);
    output_scale_ = b.CreateFDiv(e_.Splat(1, 1), e_.LoadFloat(tile_.Sum(r), DType::kF32, 1));
    LV start = b.CreateMul(head, e_.I64(dim_));
    for (size_t i = 0; i < e_.body().results().size(); ++i) {
      const ir::Value* result = e_.body().results()[i];
      const DType dtype = result->type().dtype;
      const int64_t ld = program::LeadingDimension(RowColumns(result->type()));
      LV base = e_.Offset(e_.OutputAddress(static_cast<int>(i)),
                          b.CreateMul(e_.AddMul(start, row, ld), e_.I64(DTypeSize(dtype))));
      e_.ForColumns(dim_, e_.lanes(), [&](LV c, int lanes) {
        LV value =
            evaluator_.Evaluate(result, Place{row, lanes, 0, nullptr}, b.CreateAdd(start, c));
        e_.StoreFloat(value, e_.Offset(base, b.CreateMul(c, e_.I64(DTypeSize(dtype)))), dtype,
                      lanes);
      });
    }
  }

  Emitter& e_;
  RowEvaluator evaluator_;
  const program::KvLayout& kv_;
  const ir::Node* node_;
  const ScoreRule rule_;
  AttentionScratch tile_;
  AttentionTiles tiles_;
  int64_t heads_ = 0, group_ = 0, dim_ = 0;
  DType q_dtype_ = DType::kF32;
  int64_t q_column_ = 0, q_ld_ = 0;
  const ir::Value* queries_ = nullptr;  // the buffer
  bool flash_ = true;
  const ir::Value* all_scores_ = nullptr;  // naive
  int64_t scores_ld_ = 0, scores_per_head_ = 0;
  LV output_row_ = nullptr, output_scale_ = nullptr;
};

}  // namespace

void EmitAttention(Emitter& e) { AttentionEmitter(e).Run(); }

}  // namespace ninfer::codegen
