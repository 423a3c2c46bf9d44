// What rounding does to each linear by itself. The graph before precision runs on the texts; beside
// each linear's own result stands what it would be with input and weight as precision leaves them.
// Tested by tests/compiler_quality_test.cc.
#include <algorithm>
#include <cmath>
#include <map>

#include "absl/container/flat_hash_map.h"
#include "base/quantise.h"
#include "base/status.h"
#include "compiler/quality.h"
#include "eager/kernels.h"
#include "passes/passes.h"
#include "passes/weight_name.h"

namespace ninfer::compiler {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

constexpr int64_t kMostTokens = 512;
constexpr int64_t kTileElements = 1 << 18;  // of a weight at a time

bool Multiplies(const Node& node) {
  return node.op() == Op::kLinear || node.op() == Op::kGroupedLinear;
}

std::vector<const Node*> LinearsOf(const ir::Module& module) {
  std::vector<const Node*> linears;
  for (const auto& node : module.FindFunction("step")->nodes()) {
    if (Multiplies(*node) && ir::IsConstant(node->operand(1))) linears.push_back(node.get());
  }
  return linears;
}

const Node* QuantiserOf(const Value* value) {
  const Node* node = value->producer();
  return node != nullptr && node->op() == Op::kQuantise ? node : nullptr;
}

// How an operand is stored or multiplied.
std::string TypeName(const Value* value) {
  const Node* quantiser = QuantiserOf(value);
  return quantiser != nullptr ? quantiser->attr_string("scheme")
                              : std::string(DTypeName(value->type().dtype));
}

// One linear as it was and as it will be, and the squares summed so far.
struct Pair {
  const Node* exact;
  const Node* rounded;
  double difference = 0, magnitude = 0;
};

bool Rounds(const Pair& pair) {
  for (const int operand : {0, 1}) {
    const Value* before = pair.exact->operand(operand);
    const Value* after = pair.rounded->operand(operand);
    if (QuantiserOf(after) != nullptr || before->type().dtype != after->type().dtype) return true;
  }
  return false;
}

// Rows of a tensor that one expert takes: where they lie in x and in y, in rows of their own width.
struct Share {
  int64_t expert;
  std::vector<int64_t> x_rows, y_rows;
};

class LinearMeter {
 public:
  LinearMeter(const ir::Module& rounded, const ir::WeightSource& weights, int threads)
      : module_(rounded), weights_(weights), pool_(threads) {}

  void Add(const Node& exact, const Node& rounded) {
    const auto [it, added] = index_.emplace(&exact, pairs_.size());
    if (!added) return;
    pairs_.push_back({&exact, &rounded});
    ++uses_[exact.operand(0)];
    if (exact.op() == Op::kGroupedLinear) ++uses_[exact.operand(2)];
  }

  void Observe(const Node& node, absl::Span<const eager::Tensor> results) {
    for (size_t i = 0; i < results.size(); ++i) {
      const Value* value = node.result(static_cast<int>(i));
      const auto uses = uses_.find(value);
      if (uses != uses_.end()) held_[value] = {results[i], uses->second};
    }
    const auto it = index_.find(&node);
    if (it == index_.end()) return;
    status_.Update(Measure(pairs_[it->second], results[0]));
    Release(node.operand(0));
    if (node.op() == Op::kGroupedLinear) Release(node.operand(2));
  }

  const absl::Status& status() const { return status_; }
  const std::vector<Pair>& pairs() const { return pairs_; }

 private:
  // What linears are given, until the last that reads it is measured.
  struct Held {
    eager::Tensor tensor;
    int uses = 0;
  };
  void Release(const Value* value) {
    const auto it = held_.find(value);
    if (--it->second.uses == 0) held_.erase(it);
  }

  // x as the rounded graph multiplies it.
  std::vector<float> RoundedInput(const Pair& pair, const eager::Tensor& x) const {
    const Value* operand = pair.rounded->operand(0);
    std::vector<float> values = *x.floats;
    const int64_t columns = x.shape.back();
    if (const Node* quantiser = QuantiserOf(operand)) {
      const QuantiseScheme& scheme = *FindQuantiseScheme(quantiser->attr_string("scheme"));
      for (size_t i = 0; i < values.size(); i += columns) {
        QuantiseRow(scheme, &values[i], columns, &values[i]);
      }
    } else if (operand->type().dtype != DType::kF32) {
      std::vector<uint16_t> half(values.size());
      ConvertFromFloat(values.data(), operand->type().dtype, half.data(), half.size());
      ConvertToFloat(operand->type().dtype, half.data(), values.data(), half.size());
    }
    return values;
  }

  std::vector<Share> SharesOf(const Pair& pair, int64_t rows, int64_t x_rank) const {
    if (pair.exact->op() == Op::kLinear) {
      Share all{0, {}, {}};
      for (int64_t r = 0; r < rows; ++r) all.x_rows.push_back(r);
      all.y_rows = all.x_rows;
      return {all};
    }
    const eager::Tensor& ids = held_.at(pair.exact->operand(2)).tensor;
    const int64_t chosen = ids.shape[1];
    std::map<int32_t, Share> by_expert;  // in order: so are the sums
    for (int64_t i = 0; i < ids.elements(); ++i) {
      const int32_t id = (*ids.ints)[i];
      Share& share = by_expert[id];
      share.expert = id;
      share.x_rows.push_back(x_rank == 2 ? i / chosen : i);
      share.y_rows.push_back(i);
    }
    std::vector<Share> shares;
    for (auto& [id, share] : by_expert) shares.push_back(std::move(share));
    return shares;
  }

  absl::Status Measure(Pair& pair, const eager::Tensor& y) {
    const eager::Tensor& x = held_.at(pair.exact->operand(0)).tensor;
    const std::vector<float> input = RoundedInput(pair, x);
    const int64_t k = x.shape.back(), n = y.shape.back();
    for (const Share& share : SharesOf(pair, x.elements() / k, x.shape.size())) {
      std::vector<float> rows;
      for (const int64_t row : share.x_rows) {
        rows.insert(rows.end(), input.begin() + row * k, input.begin() + (row + 1) * k);
      }
      NINFER_RETURN_IF_ERROR(MeasureShare(pair, share, rows, k, n, *y.floats));
    }
    return absl::OkStatus();
  }

  // Tiles of the weight's rows, summed in their order, whatever thread had them.
  absl::Status MeasureShare(Pair& pair, const Share& share, const std::vector<float>& x, int64_t k,
                            int64_t n, const std::vector<float>& y) {
    const int64_t tile = std::max<int64_t>(1, kTileElements / k);
    const auto count = static_cast<int64_t>(share.y_rows.size());
    std::vector<Pair> sums((n + tile - 1) / tile, pair);
    NINFER_RETURN_IF_ERROR(
        pool_.ForEach(static_cast<int64_t>(sums.size()), [&](int64_t t) -> absl::Status {
          const int64_t n0 = t * tile, n1 = std::min(n, n0 + tile), width = n1 - n0;
          std::vector<float> weight(width * k), out(count * width);
          const int64_t first = share.expert * n;
          NINFER_RETURN_IF_ERROR(eager::EvaluateRows(pair.rounded->operand(1), module_, weights_,
                                                     first + n0, first + n1, weight.data()));
          eager::Gemm(/*transpose_b=*/true, count, width, k, 1.0f, x.data(), k, weight.data(), k,
                      out.data(), width);
          sums[t].difference = sums[t].magnitude = 0;
          for (int64_t r = 0; r < count; ++r) {
            const float* expected = &y[share.y_rows[r] * n + n0];
            for (int64_t i = 0; i < width; ++i) {
              const double difference = double{out[r * width + i]} - expected[i];
              sums[t].difference += difference * difference;
              sums[t].magnitude += double{expected[i]} * expected[i];
            }
          }
          return absl::OkStatus();
        }));
    for (const Pair& sum : sums) {
      pair.difference += sum.difference;
      pair.magnitude += sum.magnitude;
    }
    return absl::OkStatus();
  }

  const ir::Module& module_;
  const ir::WeightSource& weights_;
  eager::ThreadPool pool_;
  std::vector<Pair> pairs_;
  absl::flat_hash_map<const Node*, size_t> index_;
  absl::flat_hash_map<const Value*, int> uses_;  // by linears that are measured
  absl::flat_hash_map<const Value*, Held> held_;
  absl::Status status_;
};

// The first texts, as many as hold the tokens that are enough.
Texts FirstOf(const Texts& texts) {
  Texts out;
  int64_t tokens = 0;
  for (const std::vector<int32_t>& text : texts) {
    if (tokens >= kMostTokens) break;
    out.push_back(text);
    if (tokens + static_cast<int64_t>(text.size()) > kMostTokens) {
      out.back().resize(kMostTokens - tokens);
    }
    tokens += static_cast<int64_t>(out.back().size());
  }
  return out;
}

}  // namespace

absl::StatusOr<std::vector<plan::LinearError>> MeasureLinears(const Source& source,
                                                              const passes::PassOptions& options,
                                                              const Texts& texts, int threads) {
  NINFER_ASSIGN_OR_RETURN(const ir::Module exact, GraphBeforePrecision(source, options));
  ir::Module rounded = exact.Clone();
  NINFER_RETURN_IF_ERROR(passes::SettlePrecision(rounded, options).status());
  const std::vector<const Node*> before = LinearsOf(exact), after = LinearsOf(rounded);
  NINFER_CHECK(before.size() == after.size()) << "precision makes and drops no linear";
  LinearMeter meter(rounded, *source.model.weights, threads);
  for (size_t i = 0; i < before.size(); ++i) {
    if (Rounds({before[i], after[i]})) meter.Add(*before[i], *after[i]);
  }
  const auto observe = [&](const Node& node, absl::Span<const eager::Tensor> results) {
    meter.Observe(node, results);
    return absl::OkStatus();
  };
  const eager::Observer observer(observe);
  for (const std::vector<int32_t>& text : FirstOf(texts)) {
    NINFER_RETURN_IF_ERROR(
        RunGraph(exact, source.model.weights, Texts{text}, 0, threads, &observer).status());
    NINFER_RETURN_IF_ERROR(meter.status());
  }
  std::vector<plan::LinearError> errors;
  for (const Pair& pair : meter.pairs()) {
    const double relative = pair.magnitude > 0 ? std::sqrt(pair.difference / pair.magnitude) : 0;
    errors.push_back({passes::WeightName(pair.exact->operand(1)),
                      TypeName(pair.rounded->operand(1)), TypeName(pair.rounded->operand(0)),
                      relative});
  }
  return errors;
}

}  // namespace ninfer::compiler
