// Gemm by oneDNN, which generates its kernels for what cpuid reports. Debian 12's OpenBLAS chooses
// by CPU model and gives a CPU newer than itself its SSE3 kernels, a fifth of the speed. Tested by
// tests/eager_ops_test.cc.
#include <new>

#include "base/status.h"
#include "dnnl.h"
#include "eager/kernels.h"

// oneDNN's own threads come from OpenMP, whose count is a setting of the calling thread.
extern "C" void omp_set_num_threads(int threads);

namespace ninfer::eager {

void Gemm(bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
          int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  omp_set_num_threads(1);
  const dnnl_status_t status =
      dnnl_sgemm('N', transpose_b ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, 0.0f, c, ldc);
  if (status == dnnl_out_of_memory && std::get_new_handler() != nullptr) std::get_new_handler()();
  NINFER_CHECK(status == dnnl_success) << "sgemm " << m << " x " << n << " x " << k;
}

}  // namespace ninfer::eager
