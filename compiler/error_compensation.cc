// See error_compensation.h.
// Tested by tests/compiler_calibrate_test.cc.
#include "compiler/error_compensation.h"

#include <algorithm>
#include <cmath>

namespace ninfer::compiler {
namespace {

constexpr double kDamping = 0.01;
constexpr int64_t kRowsAtOnce = 8;  // share what is read of U
constexpr int kPasses = 4;

// y -= factor * x
void SubtractScaled(float factor, const float* x, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] -= factor * x[i];
}

// With columns in reversed order this is Cholesky's factor: gram = R R^T, R upper triangular.
void FactorUpper(int64_t k, std::vector<float>& a, eager::ThreadPool& threads) {
  std::vector<float> column(k);
  for (int64_t j = k - 1; j >= 0; --j) {
    const float root = std::sqrt(std::max(a[j * k + j], 1e-30f));
    a[j * k + j] = root;
    for (int64_t i = 0; i < j; ++i) column[i] = a[i * k + j] /= root;
    threads.For(j, 64, [&](int64_t begin, int64_t end) {
      // Row i of what is left: columns i to j - 1.
      for (int64_t i = begin; i < end; ++i) {
        SubtractScaled(column[i], &column[i], j - i, &a[i * k + i]);
      }
    });
  }
}

// R^-1 in place, row by row.
void InvertUpper(int64_t k, std::vector<float>& r, eager::ThreadPool& threads) {
  std::vector<float> inverse(k * k);
  threads.For(k, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = &inverse[i * k];
      row[i] = 1;
      for (int64_t m = i; m < k; ++m) {
        row[m] /= r[m * k + m];
        SubtractScaled(row[m], r.data() + m * k + m + 1, k - m - 1, row + m + 1);
      }
    }
  });
  r = std::move(inverse);
}

// GPTQ on a few rows of K; scales are [rows, groups].
void SpreadErrors(const QuantiseScheme& scheme, const std::vector<float>& factor, int64_t k,
                  int64_t count, float* rows, float* scales) {
  const int64_t group = scheme.GroupOf(k), groups = (k + group - 1) / group;
  std::vector<float> importance(group);
  std::vector<int8_t> integers(group);
  for (int64_t c = 0; c < k; ++c) {
    const float* u = &factor[c * k + c];
    if (c % group == 0) {
      const int64_t size = std::min(group, k - c);
      for (int64_t i = 0; i < size; ++i) {
        const float diagonal = factor[(c + i) * k + c + i];
        importance[i] = 1 / (diagonal * diagonal);
      }
      for (int64_t r = 0; r < count; ++r) {
        scales[r * groups + c / group] =
            QuantiseTableGroup(scheme, rows + r * k + c, importance.data(), size, integers.data())
                .scale;
      }
    }
    for (int64_t r = 0; r < count; ++r) {
      float* w = rows + r * k + c;
      const float scale = scales[r * groups + c / group];
      const float inverse = scale == 0 ? 0 : 1 / scale;
      const float rounded = static_cast<float>(NearestOfTable(*w, inverse)) * scale;
      const float error = (*w - rounded) / u[0];
      *w = rounded;
      SubtractScaled(error, u + 1, k - c - 1, w + 1);
    }
  }
}

// Changes one integer or one scale of a row at a time, each to the best there is while all others
// stay, by the gradient of half the error.
class RowDescent {
 public:
  RowDescent(const QuantiseScheme& scheme, const std::vector<float>& gram, int64_t k,
             const float* exact, float* rounded, float* scales)
      : gram_(gram),
        k_(k),
        group_(scheme.GroupOf(k)),
        rounded_(rounded),
        scales_(scales),
        gradient_(k) {
    for (int64_t i = 0; i < k; ++i) Move(i, rounded[i] - exact[i]);
  }

  void Run() {
    for (int pass = 0; pass < kPasses; ++pass) {
      bool changed = false;
      for (int64_t begin = 0; begin < k_; begin += group_) {
        changed |= ChangeScale(begin, std::min(group_, k_ - begin));
        changed |= ChangeIntegers(begin, std::min(group_, k_ - begin));
      }
      if (!changed) return;
    }
  }

 private:
  // What a change of one value does to the gradient.
  void Move(int64_t column, float by) {
    if (by != 0) SubtractScaled(-by, &gram_[column * k_], k_, gradient_.data());
  }

  bool ChangeIntegers(int64_t begin, int64_t size) {
    const float scale = scales_[begin / group_];
    if (scale == 0) return false;
    bool changed = false;
    for (int64_t i = begin; i < begin + size; ++i) {
      const float best = rounded_[i] - gradient_[i] / gram_[i * k_ + i];
      const float value = static_cast<float>(NearestOfTable(best, 1 / scale)) * scale;
      if (value == rounded_[i]) continue;
      Move(i, value - rounded_[i]);
      rounded_[i] = value;
      changed = true;
    }
    return changed;
  }

  bool ChangeScale(int64_t begin, int64_t size) {
    float& scale = scales_[begin / group_];
    if (scale == 0) return false;
    double slope = 0, curvature = 0;  // along the group's values
    for (int64_t i = begin; i < begin + size; ++i) {
      slope += double{gradient_[i]} * rounded_[i];
      double sum = 0;
      for (int64_t j = begin; j < begin + size; ++j) sum += gram_[i * k_ + j] * rounded_[j];
      curvature += sum * rounded_[i];
    }
    if (!(curvature > 0)) return false;
    const auto wanted = static_cast<float>(scale * (1 - slope / curvature));
    const float next = F16ToFloat(FloatToF16(wanted));
    const double step = double{next} / scale - 1;
    const bool better = slope * step + curvature * step * step / 2 < 0;
    if (!better || next == scale || std::fabs(next) < kSmallestQuantiseScale) return false;
    for (int64_t i = begin; i < begin + size; ++i) {
      const float value = std::nearbyint(rounded_[i] / scale) * next;
      Move(i, value - rounded_[i]);
      rounded_[i] = value;
    }
    scale = next;
    return true;
  }

  const std::vector<float>& gram_;
  const int64_t k_, group_;
  float* rounded_;
  float* scales_;
  std::vector<float> gradient_;  // (rounded - exact) gram
};

}  // namespace

std::vector<float> FactorInverse(int64_t k, std::vector<float>* gram, eager::ThreadPool* threads) {
  std::vector<float>& a = *gram;
  double sum = 0;
  for (int64_t i = 0; i < k; ++i) sum += a[i * k + i];
  const double damping = sum > 0 ? kDamping * sum / static_cast<double>(k) : 1;
  for (int64_t i = 0; i < k; ++i) a[i * k + i] += static_cast<float>(damping);
  std::vector<float> factor = a;
  FactorUpper(k, factor, *threads);
  InvertUpper(k, factor, *threads);
  return factor;
}

void RoundRows(const QuantiseScheme& scheme, const std::vector<float>& gram,
               const std::vector<float>& factor, int64_t k, int64_t count, float* rows) {
  const std::vector<float> exact(rows, rows + count * k);
  const int64_t groups = (k + scheme.GroupOf(k) - 1) / scheme.GroupOf(k);
  std::vector<float> scales(count * groups);
  for (int64_t first = 0; first < count; first += kRowsAtOnce) {
    SpreadErrors(scheme, factor, k, std::min(kRowsAtOnce, count - first), rows + first * k,
                 &scales[first * groups]);
  }
  for (int64_t r = 0; r < count; ++r) {
    RowDescent(scheme, gram, k, &exact[r * k], rows + r * k, &scales[r * groups]).Run();
  }
}

}  // namespace ninfer::compiler
