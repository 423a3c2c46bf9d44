// Softmax and norms over the last axis, row by row, with f32 sums in lanes.
// Tested by tests/eager_ops_test.cc.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "eager/kernels.h"
#include "eager/vector_math.h"

namespace ninfer::eager {
namespace {

constexpr int64_t kGrain = 4096;  // elements that are worth a thread

// Where the first of the largest of `count` elements from `first` on lies; -1 where none is above
// -inf.
int32_t FirstLargest(const Tensor& x, int64_t first, int64_t count) {
  float most = -INFINITY;
  int32_t at = -1;
  for (int64_t i = 0; i < count; ++i) {
    const float value = (*x.floats)[first + i];
    if (!(value > most)) continue;  // nor a NaN
    most = value;
    at = static_cast<int32_t>(i);
  }
  return at;
}

float Sum(const float* x, int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += x[i];
  return sum;
}

// Sum of (x - centre)^2.
float SquareSum(const float* x, float centre, int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += (x[i] - centre) * (x[i] - centre);
  return sum;
}

template <typename F>
Tensor ByRow(const Context& context, const Tensor& x, F row) {
  const int64_t n = x.shape.empty() ? 1 : x.shape.back();
  Tensor y = context.workspace->Floats(x.shape);
  if (n == 0) return y;
  context.threads->For(x.elements() / n, std::max<int64_t>(1, kGrain / n),
                       [&](int64_t begin, int64_t end) {
                         for (int64_t i = begin; i < end; ++i) {
                           row(x.floats->data() + i * n, n, y.floats->data() + i * n);
                         }
                       });
  return y;
}

}  // namespace

void SoftmaxRow(const float* x, int64_t count, float* y) {
  float max = x[0];
#pragma omp simd reduction(max : max)
  for (int64_t i = 0; i < count; ++i) max = x[i] > max ? x[i] : max;
  for (int64_t i = 0; i < count; ++i) y[i] = Exp(x[i] - max);
  const float scale = 1.0f / Sum(y, count);
  for (int64_t i = 0; i < count; ++i) y[i] *= scale;
}

Tensor Softmax(const Context& context, const Tensor& x) { return ByRow(context, x, SoftmaxRow); }

Tensor RmsNorm(const Context& context, const Tensor& x, const Tensor& w, double eps) {
  const float* weight = w.floats->data();
  return ByRow(context, x, [=](const float* in, int64_t n, float* out) {
    const float mean = SquareSum(in, 0.0f, n) / static_cast<float>(n);
    const float scale = 1.0f / std::sqrt(mean + static_cast<float>(eps));
    for (int64_t i = 0; i < n; ++i) out[i] = in[i] * scale * weight[i];
  });
}

Tensor LayerNorm(const Context& context, const Tensor& x, const Tensor& w, const Tensor& b,
                 double eps) {
  const float* weight = w.floats->data();
  const float* bias = b.floats->data();
  return ByRow(context, x, [=](const float* in, int64_t n, float* out) {
    const float mean = Sum(in, n) / static_cast<float>(n);
    const float variance = SquareSum(in, mean, n) / static_cast<float>(n);
    const float scale = 1.0f / std::sqrt(variance + static_cast<float>(eps));
    for (int64_t i = 0; i < n; ++i) out[i] = (in[i] - mean) * scale * weight[i] + bias[i];
  });
}

Tensor WeightedSum(const Context& context, const Tensor& x, const Tensor& w) {
  const int64_t rows = x.shape[0], parts = x.shape[1], n = x.shape[2];
  Tensor y = context.workspace->Floats({rows, n});
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, parts * n));
  context.threads->For(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* out = y.floats->data() + t * n;
      std::fill(out, out + n, 0.0f);
      for (int64_t j = 0; j < parts; ++j) {
        const float weight = (*w.floats)[t * parts + j];
        const float* in = x.floats->data() + (t * parts + j) * n;
        for (int64_t i = 0; i < n; ++i) out[i] += weight * in[i];
      }
    }
  });
  return y;
}

Tensor TopK(const Context& context, const Tensor& x, int64_t k) {
  const int64_t rows = x.shape[0], n = x.shape[1];
  Tensor y = Tensor::Ints({rows, k}, std::vector<int32_t>(rows * k));
  context.threads->For(rows, std::max<int64_t>(1, kGrain / n), [&](int64_t begin, int64_t end) {
    std::vector<int32_t> order(n);
    for (int64_t t = begin; t < end; ++t) {
      const float* in = x.floats->data() + t * n;
      std::iota(order.begin(), order.end(), 0);
      std::partial_sort(order.begin(), order.begin() + k, order.end(), [in](int32_t a, int32_t b) {
        return in[a] > in[b] || (in[a] == in[b] && a < b);
      });
      std::copy_n(order.begin(), k, y.ints->begin() + t * k);
    }
  });
  return y;
}

Tensor Argmax(const Tensor& x) {
  const int64_t rows = x.shape[0], n = x.shape[1];
  Tensor y = Tensor::Ints({rows}, std::vector<int32_t>(rows));
  for (int64_t t = 0; t < rows; ++t) (*y.ints)[t] = FirstLargest(x, t * n, n);
  return y;
}

Tensor MaxParts(const Context& context, const Tensor& x, int64_t columns) {
  const int64_t rows = x.shape[0], n = x.shape[1], parts = (n - 1) / columns + 1;
  Tensor y = context.workspace->Floats({rows, parts});
  for (int64_t i = 0; i < rows * parts; ++i) {
    const int64_t from = i % parts * columns, first = i / parts * n + from;
    const int32_t at = FirstLargest(x, first, std::min(columns, n - from));
    (*y.floats)[i] = at < 0 ? -INFINITY : (*x.floats)[first + at];
  }
  return y;
}

Tensor ArgmaxParts(const Tensor& x, int64_t columns) {
  const int64_t rows = x.shape[0], n = x.shape[1], parts = (n - 1) / columns + 1;
  Tensor y = Tensor::Ints({rows, parts}, std::vector<int32_t>(rows * parts));
  for (int64_t i = 0; i < rows * parts; ++i) {
    const int64_t from = i % parts * columns;
    const int32_t at = FirstLargest(x, i / parts * n + from, std::min(columns, n - from));
    (*y.ints)[i] = static_cast<int32_t>(from) + std::max(at, 0);
  }
  return y;
}

Tensor ArgmaxOf(const Tensor& parts, const Tensor& ids) {
  const int64_t rows = parts.shape[0], n = parts.shape[1];
  Tensor y = Tensor::Ints({rows}, std::vector<int32_t>(rows));
  for (int64_t t = 0; t < rows; ++t) {
    const int32_t at = FirstLargest(parts, t * n, n);
    (*y.ints)[t] = at < 0 ? -1 : (*ids.ints)[t * n + at];
  }
  return y;
}

}  // namespace ninfer::eager
