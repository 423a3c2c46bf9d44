// What attention keeps of a tile of rows in the thread's scratch, and the softmax over it.
// Tested by tests/codegen_test.cc.
#ifndef NINFER_CODEGEN_ATTENTION_SOFTMAX_H_
#define NINFER_CODEGEN_ATTENTION_SOFTMAX_H_

#include "codegen/emitter.h"

namespace ninfer::codegen {

inline constexpr int kAttentionRows = 6;  // rows of a tile: (token, query head) pairs

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

// Layout: scores of a page [rows][64], eleven fields of a few numbers, weighted values
// [rows][padded head_dim], queries [rows][padded head_dim], and for a cache of integers rounded
// weights of a page, i16 [rows][64]; what follows is free.
class AttentionScratch {
 public:
  AttentionScratch(Emitter& e, const program::KvLayout& kv, const ScoreRule& rule)
      : e_(e), columns_(kv.v_columns()), integers_(kv.integers()), rule_(rule) {}

  LV Scores(LV r) { return Row(0, r, kPage * 4); }
  LV Maximum(LV r) { return Field(0, r); }
  LV Sum(LV r) { return Field(1, r); }
  LV Correction(LV r) { return Field(2, r); }        // of the values before the page at hand
  LV Position(LV r) { return Field(3, r); }          // i32
  LV LastPosition() { return Field(4, e_.I64(0)); }  // of the tile's rows; i32
  LV FirstPosition() { return Field(4, e_.I64(1)); }
  LV Slope(LV r) { return Field(6, r); }       // of the row's head, with alibi
  LV QueryScale(LV r) { return Field(7, r); }  // of integers
  LV WeightScale(LV r) { return Field(8, r); }
  LV QueryStart(LV r) { return Field(9, r); }  // what sums of products begin with; i32
  LV WeightStart(LV r) { return Field(10, r); }
  // The unit: its KV head and block of rows, the sequence at hand and its first row in the block;
  // i32.
  LV Head() { return Field(5, e_.I64(0)); }
  LV Sequence() { return Field(5, e_.I64(1)); }
  LV FirstRow() { return Field(5, e_.I64(2)); }
  LV Block() { return Field(5, e_.I64(3)); }
  LV Values(LV r) { return Row(kValuesAt, r, columns_ * 4); }
  LV Query(LV r) { return Row(kValuesAt + kAttentionRows * columns_ * 4, r, columns_ * 4); }
  LV Weights(LV r) { return Row(kValuesAt + 2 * kAttentionRows * columns_ * 4, r, kPage * 2); }
  int64_t end() const {
    return kValuesAt + 2 * kAttentionRows * columns_ * 4 +
           (integers_ ? kAttentionRows * kPage * 2 : 0);
  }

  // The state before the first page.
  void Begin(LV r);
  // Turns the scores of `page` into weights relative to a running maximum (Milakov and Gimelshein,
  // "Online normalizer calculation for softmax", 2018), and says by how much older values shrink.
  void UpdateSoftmax(LV page, LV r);
  // The same for all scores of pages [first, pages) at once.
  void WholeSoftmax(LV scores, LV r, LV first, LV pages);
  // Divides the weights of pages [first, pages) by their sum, which is one from then on; those of
  // pages before are zero.
  void Normalise(LV scores, LV r, LV first, LV pages);

 private:
  static constexpr int64_t kPage = program::KvLayout::kPagePositions;
  static constexpr int64_t kFieldBytes = 64;
  static constexpr int64_t kValuesAt = kAttentionRows * kPage * 4 + 11 * kFieldBytes;

  LV Row(int64_t at, LV r, int64_t bytes) {
    return e_.Offset(e_.scratch(), e_.AddMul(e_.I64(at), r, bytes));
  }
  LV Field(int field, LV r) { return Row(kAttentionRows * kPage * 4 + field * kFieldBytes, r, 4); }
  LV MaskedScores(LV raw, LV first, LV r);
  LV Biased(LV scores, LV index, LV r);
  LV MaskScores(LV scores, LV start, LV count, LV r);
  LV Exponentiate(LV scores, LV count, LV maximum);
  LV Shift(LV maximum);

  Emitter& e_;
  int64_t columns_;
  bool integers_;
  ScoreRule rule_;
};

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_ATTENTION_SOFTMAX_H_
