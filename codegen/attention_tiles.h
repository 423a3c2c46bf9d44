// The register tiles of attention: queries times a page's keys, and weights times its values. Where
// rows are more than a tile of widened bf16 has, a page is widened once for all of them. Over a
// cache of integers they multiply integers: queries are rounded to 16 bits once, weights
// (times the scales of their values, which then need no other place) page by page, and the sums are
// exact. Tested by tests/codegen_attention_test.cc.
#ifndef NINFER_CODEGEN_ATTENTION_TILES_H_
#define NINFER_CODEGEN_ATTENTION_TILES_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "codegen/attention_softmax.h"
#include "codegen/emitter.h"

namespace ninfer::codegen {

class AttentionTiles {
 public:
  AttentionTiles(Emitter& e, AttentionScratch* scratch, DType queries);

  // Puts the query at `from` into scratch as row r, before the row's Begin.
  void TakeQuery(LV from, LV r);
  // Scores(r, place) = query r times the page's keys, of the tile's rows.
  void Keys(LV page, LV place);
  // Values(r) += the weights Scores(r, place) times the page's values. Of integers the weights are
  // lost.
  void Values(LV page, LV place);

 private:
  static constexpr int64_t kPage = program::KvLayout::kPagePositions;

  // A number of rows that go by at once; the last of a page's tiles asks for what is read next.
  struct RowTile {
    LV first;
    int count;
    bool last;
    DotMode mode;  // of keys, or values, as they lie in
    LV operand;    // the page, or
    bool widened;  // scratch
    std::string Name(const char* what) const;
  };

  DType QueryType() const;
  void CopyQuery(LV from, LV to, DType packed);
  void ForRows(DotMode mode, LV rows, LV operand, const std::function<void()>& widen,
               const std::function<void(const RowTile&)>& tile);
  void ForWholeTiles(DotMode mode, LV rows, LV operand, bool widened,
                     const std::function<void(const RowTile&)>& tile);
  // What visits a page's columns for `tile` is a function of its own, for its page and place.
  void CallRows(const char* what, const RowTile& tile, std::pair<LV, LV> rest,
                const std::function<void(const RowTile&, LV, LV)>& body);
  void Widen(const char* name, LV from, int64_t groups, int64_t columns, int64_t ahead);
  int64_t StepBytes(const RowTile& rows) const;
  void CallKeyTile(const RowTile& rows, LV page, LV place, LV j);
  void EmitKeyTile(const RowTile& rows, const std::vector<LV>& p);
  LV ToFloat(LV integers) { return e_.b().CreateSIToFP(integers, e_.FloatType(e_.lanes())); }
  void RoundWeights(LV r, LV page, LV place);
  LV Rows() { return e_.b().CreateSExt(e_.LoadI32(tile_.Rows()), e_.b().getInt64Ty()); }
  void EmitValueTiles(LV page, LV place);
  void CallValueTile(const RowTile& rows, LV place, LV c, int64_t slots);
  void EmitValueTile(const RowTile& rows, int64_t slots, const std::vector<LV>& p);

  Emitter& e_;
  AttentionScratch& tile_;
  const program::KvLayout& kv_;
  const DType q_dtype_;
  DotMode key_mode_, value_mode_;      // of the cache as it is
  int64_t values_ahead_, keys_ahead_;  // bytes from keys to their values, and to the next keys
};

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_ATTENTION_TILES_H_
