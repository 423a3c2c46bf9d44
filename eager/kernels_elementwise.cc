// Elementwise ops, casts, quantisation, rope, alibi and the causal mask. Binary ops broadcast
// trailing axes: rows are runs of the last axis, in which each operand steps by one or stands
// still. Tested by tests/eager_test.cc.
#include <cmath>
#include <limits>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "eager/kernels.h"
#include "eager/vector_math.h"

namespace ninfer::eager {
namespace {

constexpr int64_t kGrain = 8192;  // elements that are worth a thread

struct AddOp {
  static float Of(float a, float b) { return a + b; }
};
struct SubOp {
  static float Of(float a, float b) { return a - b; }
};
struct MulOp {
  static float Of(float a, float b) { return a * b; }
};
struct DivOp {
  static float Of(float a, float b) { return a / b; }
};

struct MinOp {
  static float Of(float a, float b) { return b < a ? b : a; }
};
struct MaxOp {
  static float Of(float a, float b) { return a < b ? b : a; }
};
struct GreaterOp {
  static float Of(float a, float b) { return a > b ? 1.0f : 0.0f; }
};

template <typename F>
void BinaryRow(const float* a, bool a_steps, const float* b, bool b_steps, int64_t n, float* y) {
  if (a_steps && b_steps) {
    for (int64_t i = 0; i < n; ++i) y[i] = F::Of(a[i], b[i]);
  } else if (a_steps) {
    for (int64_t i = 0; i < n; ++i) y[i] = F::Of(a[i], b[0]);
  } else if (b_steps) {
    for (int64_t i = 0; i < n; ++i) y[i] = F::Of(a[0], b[i]);
  } else {
    const float value = F::Of(a[0], b[0]);
    for (int64_t i = 0; i < n; ++i) y[i] = value;
  }
}

// Elements from one index of each axis of `shape` to the next, 0 along a broadcast axis.
std::vector<int64_t> Strides(const Tensor& x, const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size(), 0);
  int64_t stride = 1;
  for (size_t i = 0; i < x.shape.size(); ++i) {
    const int64_t size = x.shape[x.shape.size() - 1 - i];
    if (size != 1) strides[shape.size() - 1 - i] = stride;
    stride *= size;
  }
  return strides;
}

absl::StatusOr<std::vector<int64_t>> BroadcastShape(const Tensor& a, const Tensor& b) {
  const Tensor& longer = a.shape.size() >= b.shape.size() ? a : b;
  const Tensor& shorter = a.shape.size() >= b.shape.size() ? b : a;
  std::vector<int64_t> shape = longer.shape;
  for (size_t i = 0; i < shorter.shape.size(); ++i) {
    int64_t& size = shape[shape.size() - 1 - i];
    const int64_t other = shorter.shape[shorter.shape.size() - 1 - i];
    if (size != other && size != 1 && other != 1) {
      return InvalidArgument("operands [", absl::StrJoin(a.shape, ","), "] and [",
                             absl::StrJoin(b.shape, ","), "] do not broadcast");
    }
    if (size == 1) size = other;
  }
  return shape;
}

template <typename F>
absl::StatusOr<Tensor> BinaryOf(const Context& context, const Tensor& a, const Tensor& b) {
  if (a.shape == b.shape) {
    Tensor y = context.workspace->Floats(a.shape);
    context.threads->For(y.elements(), kGrain, [&](int64_t begin, int64_t end) {
      BinaryRow<F>(a.floats->data() + begin, true, b.floats->data() + begin, true, end - begin,
                   y.floats->data() + begin);
    });
    return y;
  }
  NINFER_ASSIGN_OR_RETURN(std::vector<int64_t> shape, BroadcastShape(a, b));
  Tensor y = context.workspace->Floats(shape);
  const std::vector<int64_t> a_strides = Strides(a, shape), b_strides = Strides(b, shape);
  const int64_t n = shape.back();
  const int64_t rows = n == 0 ? 0 : y.elements() / n;
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t a_offset = 0, b_offset = 0, rest = row;
      for (size_t axis = shape.size() - 1; axis-- > 0;) {
        const int64_t index = rest % shape[axis];
        rest /= shape[axis];
        a_offset += index * a_strides[axis];
        b_offset += index * b_strides[axis];
      }
      BinaryRow<F>(a.floats->data() + a_offset, a_strides.back() != 0, b.floats->data() + b_offset,
                   b_strides.back() != 0, n, y.floats->data() + row * n);
    }
  };
  context.threads->For(rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(n, 1)), run);
  return y;
}

template <typename F>
Tensor UnaryOf(const Context& context, const Tensor& x, F f) {
  Tensor y = context.workspace->Floats(x.shape);
  context.threads->For(x.elements(), kGrain / 4, [&](int64_t begin, int64_t end) {
    const float* in = x.floats->data();
    float* out = y.floats->data();
    for (int64_t i = begin; i < end; ++i) out[i] = f(in[i]);
  });
  return y;
}

float GeluTanh(float x) {
  // x/2 (1 + tanh u) = x / (1 + e^-2u)
  constexpr float kTwoRootTwoOverPi = 1.5957691216f;
  return x * Sigmoid(kTwoRootTwoOverPi * (x + 0.044715f * x * x * x));
}

}  // namespace

absl::StatusOr<Tensor> Binary(const Context& context, ir::Op op, const Tensor& a, const Tensor& b) {
  switch (op) {
    case ir::Op::kAdd:
      return BinaryOf<AddOp>(context, a, b);
    case ir::Op::kSub:
      return BinaryOf<SubOp>(context, a, b);
    case ir::Op::kMul:
      return BinaryOf<MulOp>(context, a, b);
    case ir::Op::kMin:
      return BinaryOf<MinOp>(context, a, b);
    case ir::Op::kMax:
      return BinaryOf<MaxOp>(context, a, b);
    case ir::Op::kGreater:
      return BinaryOf<GreaterOp>(context, a, b);
    default:
      NINFER_CHECK(op == ir::Op::kDiv) << std::string(ir::InfoOf(op).name);
      return BinaryOf<DivOp>(context, a, b);
  }
}

Tensor Unary(const Context& context, ir::Op op, const Tensor& x) {
  switch (op) {
    case ir::Op::kNeg:
      return UnaryOf(context, x, [](float v) { return -v; });
    case ir::Op::kExp:
      return UnaryOf(context, x, [](float v) { return Exp(v); });
    case ir::Op::kLog:
      return UnaryOf(context, x, [](float v) { return std::log(v); });
    case ir::Op::kFloor:
      return UnaryOf(context, x, [](float v) { return std::floor(v); });
    case ir::Op::kTanh:
      return UnaryOf(context, x, [](float v) { return std::tanh(v); });
    case ir::Op::kSigmoid:
      return UnaryOf(context, x, [](float v) { return Sigmoid(v); });
    case ir::Op::kSilu:
      return UnaryOf(context, x, [](float v) { return v * Sigmoid(v); });
    case ir::Op::kGelu:
      return UnaryOf(context, x, [](float v) {
        return 0.5f * v * (1.0f + std::erf(v * 0.70710678118654752f));
      });
    case ir::Op::kGeluTanh:
      return UnaryOf(context, x, [](float v) { return GeluTanh(v); });
    case ir::Op::kRelu:
      return UnaryOf(context, x, [](float v) { return v < 0.0f ? 0.0f : v; });
    case ir::Op::kSqrt:
      return UnaryOf(context, x, [](float v) { return std::sqrt(v); });
    case ir::Op::kRsqrt:
      return UnaryOf(context, x, [](float v) { return 1.0f / std::sqrt(v); });
    case ir::Op::kCos:
      return UnaryOf(context, x, [](float v) { return std::cos(v); });
    default:
      NINFER_CHECK(op == ir::Op::kSin) << std::string(ir::InfoOf(op).name);
      return UnaryOf(context, x, [](float v) { return std::sin(v); });
  }
}

Tensor Rope(const Context& context, const Tensor& x, const Tensor& cos, const Tensor& sin,
            bool half) {
  const int64_t heads = x.shape[1], dim = x.shape[2];  // x [T, heads, dim]
  const int64_t pairs = cos.shape[1];                  // cos, sin [T, pairs]
  Tensor y = context.workspace->Floats(x.shape);
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* c = cos.floats->data() + t * pairs;
      const float* s = sin.floats->data() + t * pairs;
      for (int64_t h = 0; h < heads; ++h) {
        const float* in = x.floats->data() + (t * heads + h) * dim;
        float* out = y.floats->data() + (t * heads + h) * dim;
        for (int64_t i = 0; i < pairs; ++i) {
          const int64_t first = half ? i : 2 * i, second = half ? i + pairs : 2 * i + 1;
          const float a = in[first], b = in[second];
          out[first] = a * c[i] - b * s[i];
          out[second] = b * c[i] + a * s[i];
        }
        for (int64_t i = 2 * pairs; i < dim; ++i) out[i] = in[i];
      }
    }
  };
  context.threads->For(x.shape[0], std::max<int64_t>(1, kGrain / std::max<int64_t>(1, heads * dim)),
                       run);
  return y;
}

Tensor Quantise(const Context& context, const Tensor& x, const QuantiseScheme& scheme) {
  Tensor y = context.workspace->Floats(x.shape, DType::kF32);
  const int64_t columns = x.shape.back();
  if (columns == 0) return y;
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      QuantiseRow(scheme, x.floats->data() + row * columns, columns,
                  y.floats->data() + row * columns);
    }
  };
  context.threads->For(x.elements() / columns, std::max<int64_t>(1, kGrain / columns), run);
  return y;
}

absl::StatusOr<Tensor> Cast(const Context& context, const Tensor& x, DType dtype) {
  if (x.dtype == dtype) return x;
  if (!IsFloat(dtype)) {
    return InvalidArgument("cast from ", DTypeName(x.dtype), " to ", DTypeName(dtype),
                           ": expected a float type");
  }
  Tensor y = context.workspace->Floats(x.shape, dtype);
  context.threads->For(x.elements(), kGrain, [&](int64_t begin, int64_t end) {
    float* out = y.floats->data();
    if (x.ints != nullptr) {
      for (int64_t i = begin; i < end; ++i) out[i] = static_cast<float>((*x.ints)[i]);
      return;
    }
    const float* in = x.floats->data();
    for (int64_t i = begin; i < end; ++i) {
      if (dtype == DType::kBF16) {
        out[i] = Bf16ToFloat(FloatToBf16(in[i]));
      } else if (dtype == DType::kF16) {
        out[i] = F16ToFloat(FloatToF16(in[i]));
      } else {
        out[i] = in[i];
      }
    }
  });
  return y;
}

float AlibiBias(float slope, int64_t position, float scale, bool round) {
  const auto rounded = [round](float v) { return round ? Bf16ToFloat(FloatToBf16(v)) : v; };
  return rounded(rounded(slope) * rounded(static_cast<float>(position))) * scale;
}

absl::StatusOr<Tensor> Alibi(const Context& context, const Tensor& scores, const Tensor& slopes,
                             const Tensor& key_bounds, double scale, bool round) {
  const int64_t tokens = scores.shape[1], keys = scores.shape[2];
  NINFER_RETURN_IF_ERROR(CheckBounds("key_bounds", key_bounds, keys));
  Tensor y = context.workspace->Floats(scores.shape);
  context.threads->For(scores.shape[0], 1, [&](int64_t begin, int64_t end) {
    std::vector<float> bias(keys);
    for (int64_t h = begin; h < end; ++h) {
      for (int64_t s = 0; s + 1 < key_bounds.elements(); ++s) {
        const int64_t first = (*key_bounds.ints)[s];
        for (int64_t c = first; c < (*key_bounds.ints)[s + 1]; ++c) {
          bias[c] = AlibiBias((*slopes.floats)[h], c - first, static_cast<float>(scale), round);
        }
      }
      for (int64_t row = h * tokens; row < (h + 1) * tokens; ++row) {
        const float* in = scores.floats->data() + row * keys;
        float* out = y.floats->data() + row * keys;
        for (int64_t c = 0; c < keys; ++c) out[c] = in[c] + bias[c];
      }
    }
  });
  return y;
}

absl::StatusOr<Tensor> CausalMask(const Context& context, const Tensor& scores,
                                  const Tensor& positions, const Tensor& seq_bounds,
                                  const Tensor& key_bounds, int64_t window) {
  const int64_t heads = scores.shape[0], tokens = scores.shape[1], keys = scores.shape[2];
  NINFER_RETURN_IF_ERROR(CheckBounds("seq_bounds", seq_bounds, tokens));
  NINFER_RETURN_IF_ERROR(CheckBounds("key_bounds", key_bounds, keys));
  NINFER_RETURN_IF_ERROR(CheckPositions(positions));
  Tensor y = context.workspace->Floats(scores.shape);
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t t = row % tokens;
      int64_t s = 0;
      while ((*seq_bounds.ints)[s + 1] <= t) ++s;
      const int64_t begin_of = (*key_bounds.ints)[s], end_of = (*key_bounds.ints)[s + 1];
      const int64_t last = std::min<int64_t>(begin_of + (*positions.ints)[t] + 1, end_of);
      const int64_t skipped =
          window == 0 ? 0 : std::max<int64_t>(0, (*positions.ints)[t] + int64_t{1} - window);
      const int64_t first = std::min(begin_of + skipped, last);
      const float* in = scores.floats->data() + row * keys;
      float* out = y.floats->data() + row * keys;
      constexpr float kMasked = -std::numeric_limits<float>::infinity();
      std::fill(out, out + first, kMasked);
      std::copy(in + first, in + last, out + first);
      std::fill(out + last, out + keys, kMasked);
    }
  };
  context.threads->For(heads * tokens, std::max<int64_t>(1, kGrain / std::max<int64_t>(keys, 1)),
                       run);
  return y;
}

}  // namespace ninfer::eager
