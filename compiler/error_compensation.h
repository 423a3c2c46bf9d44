// Rounding of a weight's rows with the error of each column made up for by the columns that follow,
// as far as the layer's inputs let them (GPTQ, Frantar et al. 2022, arXiv:2210.17323), and then
// refined by coordinate descent (as QuantEase, Behdin et al. 2023, arXiv:2309.01885), scales too.
// Tested by tests/compiler_calibrate_test.cc.
#ifndef NINFER_COMPILER_ERROR_COMPENSATION_H_
#define NINFER_COMPILER_ERROR_COMPENSATION_H_

#include <cstdint>
#include <vector>

#include "base/quantise.h"
#include "eager/thread_pool.h"

namespace ninfer::compiler {

// What the inputs of a linear say of its columns: `gram` = the sum of x x^T over inputs x, [K, K]
// row-major. 1% of the mean of the diagonal is added to it, so that it can be inverted; the result
// is the upper triangular U with U^T U = gram^-1, whose lower half is 0.
std::vector<float> FactorInverse(int64_t k, std::vector<float>* gram, eager::ThreadPool* threads);

// Rounds `count` rows of K weights in place to values that the scheme, one with a table, holds, so
// that (row - rounded) gram (row - rounded)^T is small. First column by column, each error spread
// over the columns behind it by U; a group's scale is chosen when its first column comes, with each
// column's error weighed as U weighs it. Then integers and scales are changed one after the other
// while that makes it smaller.
void RoundRows(const QuantiseScheme& scheme, const std::vector<float>& gram,
               const std::vector<float>& factor, int64_t k, int64_t count, float* rows);

}  // namespace ninfer::compiler

#endif  // NINFER_COMPILER_ERROR_COMPENSATION_H_
