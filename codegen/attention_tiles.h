// The register tiles of attention: queries times a page's keys, and weights times its values. Over
// a cache of integers they multiply integers: queries are rounded to 16 bits once, weights (times
// the scales of their values, which then need no other place) page by page, and the sums are exact.
// Tested by tests/codegen_attention_test.cc.
#ifndef NINFER_CODEGEN_ATTENTION_TILES_H_
#define NINFER_CODEGEN_ATTENTION_TILES_H_

#include <functional>
#include <vector>

#include "codegen/attention_softmax.h"
#include "codegen/emitter.h"

namespace ninfer::codegen {

class AttentionTiles {
 public:
  AttentionTiles(Emitter& e, AttentionScratch* scratch, DType queries);

  // Puts the query at `from` into scratch as row r, before the row's Begin.
  void TakeQuery(LV from, LV r);
  // Scores(r) = query r times the page's keys, of rows [0, all).
  void Keys(int all, LV page);
  // Values(r) = Values(r) * Correction(r) + Scores(r) times the page's values. Of integers the
  // scores are lost.
  void Values(int all, LV page);

 private:
  static constexpr int64_t kPage = program::KvLayout::kPagePositions;

  DType QueryType() const;
  void CopyQuery(LV from, LV to, DType packed);
  void ForParts(DotMode mode, int all, const std::function<void(int, int)>& part);
  void EmitKeyTiles(int all, LV base);
  void CallKeyTile(int r0, int count, LV base, LV j);
  void EmitKeyTile(int count, const std::vector<LV>& p);
  LV ToFloat(LV integers) { return e_.b().CreateSIToFP(integers, e_.FloatType(e_.lanes())); }
  void RoundWeights(LV r, LV page);
  void EmitValueTiles(int all, LV base);
  void CallValueTile(int r0, int count, int64_t slots, LV base, LV c);
  LV Weights(LV r) { return kv_.integers() ? tile_.Weights(r) : tile_.Scores(r); }
  void EmitValueTile(int r0, int count, int64_t slots, LV values, LV weights, LV sums);

  Emitter& e_;
  AttentionScratch& tile_;
  const program::KvLayout& kv_;
  const DType q_dtype_;
  DotMode key_mode_, value_mode_;
};

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_ATTENTION_TILES_H_
