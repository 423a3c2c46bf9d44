// Seeded random tensors. Element i is a quantile of the normal distribution, chosen from a table of
// 4,096 by twelve bits of a hash of (seed, name, i): no state runs along the tensor, so any number
// of threads makes the same bytes, at about the speed at which memory takes them. Good for timing
// and for comparing engines with each other; not a source of randomness for anything else. Tested
// by tests/frontend_random_test.cc.
#include <stdlib.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <thread>

#include "absl/strings/match.h"
#include "base/hash.h"
#include "base/machine.h"
#include "base/status.h"
#include "frontend/json.h"
#include "frontend/tensors.h"

namespace ninfer::frontend {
namespace {

constexpr int kQuantiles = 4096;
constexpr double kDeviation = 0.02;  // the initializer_range of most configurations
constexpr uint64_t kHugePage = uint64_t{2} << 20;

// SplitMix64's finaliser (Steele, Lea and Flood, 2014).
inline uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// The x with P(X < x) = p for the standard normal distribution, by bisection.
double NormalQuantile(double p) {
  double low = -10;
  double high = 10;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
  }
  return low;
}

const std::vector<float>& Quantiles() {
  static const std::vector<float>& table = *new std::vector<float>([] {
    std::vector<float> values(kQuantiles);
    for (int i = 0; i < kQuantiles / 2; ++i) {
      const double x = kDeviation * NormalQuantile((i + 0.5) / kQuantiles);
      values[i] = static_cast<float>(x);
      values[kQuantiles - 1 - i] = static_cast<float>(-x);
    }
    return values;
  }());
  return table;
}

template <typename T>
void FillRange(const T* table, uint64_t key, T* out, int64_t begin, int64_t end) {
  const auto bits_at = [key](int64_t i) {
    return Mix(key + static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15u);
  };
  int64_t i = begin;  // a multiple of 4: one hash serves four elements
  for (; i + 4 <= end; i += 4) {
    const uint64_t bits = bits_at(i);
    out[i] = table[bits % kQuantiles];
    out[i + 1] = table[(bits >> 16) % kQuantiles];
    out[i + 2] = table[(bits >> 32) % kQuantiles];
    out[i + 3] = table[(bits >> 48) % kQuantiles];
  }
  for (uint64_t bits = bits_at(i); i < end; ++i, bits >>= 16) out[i] = table[bits % kQuantiles];
}

template <typename T>
void Fill(const std::vector<uint8_t>& table, uint64_t key, void* out, int64_t count) {
  const T* values = reinterpret_cast<const T*>(table.data());
  constexpr int64_t kAtLeast = int64_t{1} << 20;  // elements worth a thread
  const int64_t limit = std::clamp<int64_t>(std::thread::hardware_concurrency(), 1, 16);
  const int64_t threads = std::clamp<int64_t>(count / kAtLeast, 1, limit);
  const int64_t share = (count / threads + 3) / 4 * 4;
  std::vector<std::thread> workers;
  for (int64_t t = 1; t < threads; ++t) {
    workers.emplace_back([=] {
      FillRange(values, key, static_cast<T*>(out), std::min(t * share, count),
                t + 1 == threads ? count : std::min((t + 1) * share, count));
    });
  }
  FillRange(values, key, static_cast<T*>(out), 0, threads == 1 ? count : share);
  for (std::thread& worker : workers) worker.join();
}

struct FreeMemory {
  void operator()(void* memory) const { free(memory); }
};

struct RandomTensor {
  std::vector<int64_t> shape;
  int64_t elements = 0;
  std::once_flag once;
  std::unique_ptr<void, FreeMemory> data;
};

class RandomTensors : public TensorSource {
 public:
  RandomTensors(DType dtype, uint64_t seed) : dtype_(dtype), seed_(seed) {
    around_zero_ = Table(0.0f);
    around_one_ = Table(1.0f);
  }

  absl::StatusOr<DType> Claim(const std::string& name, const std::vector<int64_t>& shape) override {
    int64_t elements = 1;
    int64_t bytes = 0;
    for (int64_t dim : shape) {
      if (__builtin_mul_overflow(elements, dim, &elements)) elements = INT64_MAX;
    }
    if (__builtin_mul_overflow(elements, DTypeSize(dtype_), &bytes)) {
      return InvalidArgument("tensor ", Quoted(name),
                             ": expected fewer than 2^63 bytes, found shape ",
                             ShapeToString(shape));
    }
    claimed_bytes_ += static_cast<uint64_t>(bytes);
    RandomTensor& tensor = tensors_[name];
    tensor.shape = shape;
    tensor.elements = elements;
    return dtype_;
  }

  bool Has(absl::string_view) const override { return false; }
  bool HasPrefix(absl::string_view) const override { return true; }
  bool Same(absl::string_view a, absl::string_view b) const override { return a == b; }
  absl::Status CheckAllClaimed(absl::string_view,
                               absl::Span<const absl::string_view>) const override {
    return absl::OkStatus();
  }

  absl::StatusOr<ir::WeightView> Find(absl::string_view name) const override {
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) {
      return InvalidArgument("random weights: expected a tensor of the model, found ",
                             Quoted(name));
    }
    NINFER_RETURN_IF_ERROR(CheckFitsMemory("random weights", claimed_bytes_));  // of all tensors
    RandomTensor& tensor = it->second;
    std::call_once(tensor.once, [&] { Make(it->first, tensor); });
    if (tensor.data == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("random weights: tensor ", Quoted(name), ": expected ",
                       tensor.elements * DTypeSize(dtype_), " bytes of memory, found less"));
    }
    return ir::WeightView{dtype_, tensor.shape, tensor.data.get()};
  }

 private:
  std::vector<uint8_t> Table(float centre) const {
    std::vector<float> values = Quantiles();
    for (float& value : values) value += centre;
    std::vector<uint8_t> bytes(values.size() * DTypeSize(dtype_));
    ConvertFromFloat(values.data(), dtype_, bytes.data(), kQuantiles);
    return bytes;
  }

  void Make(const std::string& name, RandomTensor& tensor) const {
    const uint64_t bytes = tensor.elements * DTypeSize(dtype_);
    const uint64_t alignment = bytes >= kHugePage ? kHugePage : 64;
    const uint64_t rounded = (bytes / alignment + 1) * alignment;
    tensor.data.reset(aligned_alloc(alignment, rounded));
    if (tensor.data == nullptr) return;
    if (alignment == kHugePage) madvise(tensor.data.get(), rounded, MADV_HUGEPAGE);
    const bool norm = tensor.shape.size() == 1 && !absl::EndsWith(name, ".bias");
    const std::vector<uint8_t>& table = norm ? around_one_ : around_zero_;
    const uint64_t key = Mix(Hash64(name) ^ Mix(seed_ + 1));
    if (DTypeSize(dtype_) == 4) {
      Fill<uint32_t>(table, key, tensor.data.get(), tensor.elements);
    } else {
      Fill<uint16_t>(table, key, tensor.data.get(), tensor.elements);
    }
  }

  DType dtype_;
  uint64_t seed_;
  uint64_t claimed_bytes_ = 0;
  std::vector<uint8_t> around_zero_;
  std::vector<uint8_t> around_one_;
  mutable std::map<std::string, RandomTensor, std::less<>> tensors_;
};

}  // namespace

std::shared_ptr<TensorSource> MakeRandomTensors(DType dtype, uint64_t seed) {
  NINFER_CHECK(dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16)
      << DTypeName(dtype);
  return std::make_shared<RandomTensors>(dtype, seed);
}

}  // namespace ninfer::frontend
