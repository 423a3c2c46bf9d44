// Gemm by OpenBLAS, which has an archive: for programs that are linked statically.
// Tested by tests/portable_test.py.
#include <cblas.h>

#include "eager/kernels.h"

namespace ninfer::eager {

void Gemm(bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
          int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  static const bool one_thread = (openblas_set_num_threads(1), true);
  (void)one_thread;
  const auto size = [](int64_t value) { return static_cast<blasint>(value); };
  cblas_sgemm(CblasRowMajor, CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans, size(m),
              size(n), size(k), alpha, a, size(lda), b, size(ldb), 0.0f, c, size(ldc));
}

}  // namespace ninfer::eager
