// Inside the emitters of quantised linears: where the parts of a prepared block lie.
#ifndef NINFER_CODEGEN_QUANTISED_LAYOUT_H_
#define NINFER_CODEGEN_QUANTISED_LAYOUT_H_

#include "base/quantise.h"
#include "codegen/codegen.h"

namespace ninfer::codegen::quantised {

inline constexpr int64_t kNeighbours = 4;  // along K, side by side

inline int64_t IntegerBytes(const Target& target) {
  return target.integer_dot == IntegerDot::kPairs ? 2 : 1;
}
// Whether the weights' bytes are multiplied with their sign, and so without a zero point.
inline bool SignedWeights(const Target& target, const QuantiseScheme& weights) {
  return target.integer_dot == IntegerDot::kSignedBySigned &&
         (weights.bits == 8 || weights.grid == QuantiseGrid::kTable);
}

inline int64_t ScaleAt(const Target& target) { return kQuantiseBlock * IntegerBytes(target); }
inline int64_t BiasAt(const Target& target) { return ScaleAt(target) + 4; }

}  // namespace ninfer::codegen::quantised

#endif  // NINFER_CODEGEN_QUANTISED_LAYOUT_H_
