// What attention keeps of a tile of rows in the thread's scratch, and the softmax over it.
// Tested by tests/codegen_test.cc.
#ifndef NINFER_CODEGEN_ATTENTION_SOFTMAX_H_
#define NINFER_CODEGEN_ATTENTION_SOFTMAX_H_

#include "codegen/emitter.h"
#include "program/scratch.h"

namespace ninfer::codegen {

// What the op's attributes make of a raw score.
struct ScoreRule {
  double scale = 1;
  int64_t window = 0;  // 0: none
  double softcap = 0;  // 0: none
  bool alibi = false;
  double alibi_scale = 1;
  bool round_alibi = false;  // slopes and slope * position to bf16
};

ScoreRule RuleOf(const ir::Node& attention);

// Layout, for program::kAttentionRows rows: scores [rows][span of pages][64], ten fields [rows],
// weighted values [rows][padded head_dim], queries [rows][padded head_dim], and for a cache of
// integers rounded weights of a page, i16 [rows][64], or for one of bf16 a page of keys or values
// in f32; what follows is free.
class AttentionScratch {
 public:
  AttentionScratch(Emitter& e, const program::KvLayout& kv, const ScoreRule& rule)
      : e_(e), kv_(kv), columns_(kv.v_columns()), rule_(rule) {}

  // Of the span's page `place`.
  LV Scores(LV r, LV place) {
    return e_.Offset(Scores(r), e_.b().CreateMul(place, e_.I64(kPage * 4)));
  }
  LV Scores(LV r) { return Row(0, r, kScoreBytes); }
  LV Maximum(LV r) { return Field(0, r); }
  LV Sum(LV r) { return Field(1, r); }
  LV Position(LV r) { return Field(2, r); }          // i32
  LV LastPosition() { return Field(3, e_.I64(0)); }  // of the tile's rows; i32
  LV FirstPosition() { return Field(3, e_.I64(1)); }
  LV Rows() { return Field(3, e_.I64(2)); }    // of the tile; i32
  LV Slope(LV r) { return Field(4, r); }       // of the row's head, with alibi
  LV QueryScale(LV r) { return Field(6, r); }  // of integers
  LV WeightScale(LV r) { return Field(7, r); }
  LV QueryStart(LV r) { return Field(8, r); }  // what sums of products begin with; i32
  LV WeightStart(LV r) { return Field(9, r); }
  // The unit: its KV head and block of rows, the sequence at hand and its first row in the block;
  // i32.
  LV Head() { return Field(5, e_.I64(0)); }
  LV Sequence() { return Field(5, e_.I64(1)); }
  LV FirstRow() { return Field(5, e_.I64(2)); }
  // Of tokens, of which the rows are.
  LV BlockBegin() { return Field(5, e_.I64(3)); }
  LV BlockEnd() { return Field(5, e_.I64(4)); }
  LV Values(LV r) { return Row(kValuesAt, r, columns_ * 4); }
  LV Query(LV r) { return Row(kValuesAt + kRows * columns_ * 4, r, columns_ * 4); }
  LV Weights(LV r) { return Row(PageAt(), r, kPage * 2); }
  LV WidenedPage() { return e_.Offset(e_.scratch(), PageAt()); }
  int64_t end() const { return program::AttentionTileBytes(kv_); }

  // The state before the first page.
  void Begin(LV r);
  // Turns the scores of the first `count` positions of a span that begins at `start` into weights
  // relative to a running maximum (Milakov and Gimelshein, "Online normalizer calculation for
  // softmax", 2018), and shrinks the weighted values before it by as much.
  void UpdateSoftmax(LV start, LV count, LV r);
  // The same for all scores of pages [first, pages) at once.
  void WholeSoftmax(LV scores, LV r, LV first, LV pages);
  // Divides the weights of pages [first, pages) by their sum, which is one from then on; those of
  // pages before are zero.
  void Normalise(LV scores, LV r, LV first, LV pages);

 private:
  static constexpr int64_t kPage = program::KvLayout::kPagePositions;
  static constexpr int64_t kRows = program::kAttentionRows;
  static constexpr int64_t kScoreBytes = program::kAttentionSpan * kPage * 4;
  static constexpr int64_t kValuesAt = kRows * (kScoreBytes + program::kAttentionFields * 4);

  int64_t PageAt() const { return kValuesAt + 2 * kRows * columns_ * 4; }
  LV Row(int64_t at, LV r, int64_t bytes) {
    return e_.Offset(e_.scratch(), e_.AddMul(e_.I64(at), r, bytes));
  }
  LV Field(int field, LV r) { return Row(kRows * (kScoreBytes + field * 4), r, 4); }
  // Scores are as they come from the products until they are exponentiated.
  bool ScalesLate() const { return rule_.scale > 0 && rule_.softcap == 0 && !rule_.alibi; }
  LV Scored(LV raw, LV first, LV r);
  LV Masked(LV scores, LV first, LV r);
  LV Biased(LV scores, LV index, LV r);
  LV Positions(LV first);
  LV MaskScores(LV scores, LV start, LV count, LV r);
  LV Exponentiate(LV scores, LV count, LV maximum);
  LV Shift(LV maximum);

  Emitter& e_;
  const program::KvLayout& kv_;
  int64_t columns_;
  ScoreRule rule_;
};

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_ATTENTION_SOFTMAX_H_
