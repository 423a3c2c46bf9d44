// The one switch over ops. Every result is compared with its declared type, so that a wrong rewrite
// is named where it stands and not where its value is used.
// Tested by tests/eager_test.cc.
#include "eager/evaluator.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "eager/constants.h"
#include "eager/streamed_constant.h"
#include "ir/text.h"

namespace ninfer::eager {
namespace {

// `slopes` is the operand's index, where there is one.
ScoreRule RuleOf(const ir::Node& node, absl::Span<const Slot> operands, size_t slopes) {
  ScoreRule rule;
  rule.scale = node.attr_float("scale");
  rule.window = node.attr_int_or("window", 0);
  rule.softcap = node.attr_float_or("softcap", 0);
  if (operands.size() <= slopes) return rule;
  rule.slopes = &operands[slopes].tensor;
  rule.alibi_scale = node.attr_float("alibi_scale");
  rule.round_alibi = node.find_attr("alibi_rounding") != nullptr;
  return rule;
}

// Whether an op takes its operand in parts, which it reads itself.
bool ReadsByRows(ir::Op op, size_t operand, const StreamedConstant& constant) {
  if (operand != 1) return false;
  return op == ir::Op::kEmbedding || (op == ir::Op::kLinear && constant.turned());
}

// In place of a streamed constant, all of it.
absl::Status ReadStreamed(const Context& context, Slot* slot) {
  if (slot->streamed == nullptr) return absl::OkStatus();
  NINFER_ASSIGN_OR_RETURN(slot->tensor, ReadWhole(context, *slot->streamed));
  slot->streamed = nullptr;
  return absl::OkStatus();
}

}  // namespace

absl::Status BindShape(absl::string_view what, const ir::Type& type,
                       absl::Span<const int64_t> shape, absl::Span<const ir::Symbol> symbols,
                       std::vector<int64_t>& dims) {
  const auto mismatch = [&] {
    return InvalidArgument(what, ": expected ", ir::TypeToString(type, symbols), ", found [",
                           absl::StrJoin(shape, ","), "]");
  };
  if (static_cast<int>(shape.size()) != type.rank()) return mismatch();
  for (int i = 0; i < type.rank(); ++i) {
    const ir::Dim& dim = type.shape[i];
    const int64_t size = shape[i] - dim.offset;
    if (dim.is_static() || dims[dim.symbol] >= 0) {
      if (size != (dim.is_static() ? 0 : dims[dim.symbol])) return mismatch();
    } else {
      if (size < 0) return mismatch();
      dims[dim.symbol] = size;
    }
  }
  return absl::OkStatus();
}

const Evaluator::Schedule& Evaluator::ScheduleOf(const ir::Function& function) {
  std::unique_ptr<Schedule>& entry = schedules_[&function];
  if (entry != nullptr) return *entry;
  entry = std::make_unique<Schedule>();
  absl::flat_hash_set<const ir::Value*> constant;
  if (&function == folded_) constant = ConstantResults(function);
  for (const auto& node : function.nodes()) {
    const bool folded = node->num_results() > 0 && constant.contains(node->result(0));
    if (!folded) entry->nodes.push_back(node.get());
  }
  entry->dying.resize(entry->nodes.size());
  absl::flat_hash_set<const ir::Value*> seen(function.results().begin(), function.results().end());
  for (size_t i = entry->nodes.size(); i-- > 0;) {
    const ir::Node* node = entry->nodes[i];
    for (int r = 0; r < node->num_results(); ++r) {
      if (!seen.contains(node->result(r))) entry->dying[i].push_back(node->result(r));
    }
    for (const ir::Value* operand : node->operands()) {
      if (seen.insert(operand).second) entry->dying[i].push_back(operand);
    }
  }
  return *entry;
}

absl::StatusOr<std::vector<Slot>> Evaluator::Run(const ir::Function& function,
                                                 absl::Span<const Slot> parameters,
                                                 const Observer* observer) {
  if (parameters.size() != function.parameters().size()) {
    return InvalidArgument("@", function.name(), ": expected ", function.parameters().size(),
                           " parameters, found ", parameters.size());
  }
  Slots values;
  for (size_t i = 0; i < parameters.size(); ++i) {
    values[function.parameters()[i].get()] = parameters[i];
  }
  const Schedule& schedule = ScheduleOf(function);
  for (size_t i = 0; i < schedule.nodes.size(); ++i) {
    const ir::Node& node = *schedule.nodes[i];
    const absl::Status status = RunNode(node, values, observer);
    if (!status.ok()) {
      return node.body() != nullptr ? status : Annotate(status, ir::PrintNode(node, symbols_));
    }
    for (const ir::Value* value : schedule.dying[i]) values.erase(value);
  }
  std::vector<Slot> results;
  for (const ir::Value* result : function.results()) {
    const auto it = values.find(result);
    const bool computed = it != values.end();
    NINFER_CHECK(computed || (constants_ != nullptr && constants_->contains(result)))
        << result->name();
    results.push_back(computed ? it->second : constants_->at(result));
    NINFER_RETURN_IF_ERROR(ReadStreamed(context_, &results.back()));
  }
  return results;
}

absl::Status Evaluator::RunNode(const ir::Node& node, Slots& values, const Observer* observer) {
  std::vector<Slot> operands;
  for (const ir::Value* operand : node.operands()) {
    const auto it = values.find(operand);
    if (it != values.end()) {
      operands.push_back(it->second);
    } else if (constants_ != nullptr && constants_->contains(operand)) {
      operands.push_back(constants_->at(operand));
    } else {
      return InvalidArgument(operand->is_weight() ? "@" : "%", operand->name(),
                             " has no value here");
    }
  }
  std::vector<Slot> results;
  if (node.body() != nullptr) {
    NINFER_ASSIGN_OR_RETURN(results, Run(*node.body(), operands, observer));
  } else {
    NINFER_ASSIGN_OR_RETURN(Slot result, Evaluate(node, operands));
    results.push_back(std::move(result));
  }
  if (observer != nullptr) {
    std::vector<Tensor> tensors;
    for (const Slot& result : results) tensors.push_back(result.tensor);
    NINFER_RETURN_IF_ERROR((*observer)(node, tensors));
  }
  for (int i = 0; i < node.num_results(); ++i) {
    values[node.result(i)] = std::move(results[i]);
  }
  return absl::OkStatus();
}

absl::StatusOr<Slot> Evaluator::Evaluate(const ir::Node& node, absl::Span<const Slot> operands) {
  Slot slot;
  if (node.op() == ir::Op::kKvAppend) {
    slot.kv = operands[0].kv;
    if (slot.kv == nullptr) return InvalidArgument("the first operand is no KV cache");
    NINFER_RETURN_IF_ERROR(KvAppend(slot.kv, operands[1].tensor, operands[2].tensor,
                                    operands[3].tensor, operands[4].tensor, operands[5].tensor,
                                    node.attr_bool("from_start", false)));
    return slot;
  }
  const auto is_streamed = [](const Slot& operand) { return operand.streamed != nullptr; };
  if (std::any_of(operands.begin(), operands.end(), is_streamed)) {
    std::vector<Slot> read(operands.begin(), operands.end());
    for (size_t i = 0; i < read.size(); ++i) {
      if (read[i].streamed == nullptr || ReadsByRows(node.op(), i, *read[i].streamed)) continue;
      NINFER_RETURN_IF_ERROR(ReadStreamed(context_, &read[i]));
    }
    NINFER_ASSIGN_OR_RETURN(slot.tensor, Compute(node, read));
  } else {
    NINFER_ASSIGN_OR_RETURN(slot.tensor, Compute(node, operands));
  }
  NINFER_RETURN_IF_ERROR(CheckResult(node.result()->type(), slot));
  return slot;
}

absl::Status Evaluator::CheckResult(const ir::Type& type, const Slot& slot) {
  if (slot.tensor.dtype != type.dtype) {
    return InvalidArgument("expected ", DTypeName(type.dtype), ", found ",
                           DTypeName(slot.tensor.dtype));
  }
  return BindShape("result", type, slot.tensor.shape, symbols_, dims_);
}

absl::StatusOr<std::vector<int64_t>> Evaluator::Shape(const ir::Type& type,
                                                      int64_t elements) const {
  std::vector<int64_t> shape;
  int unknown = -1;
  int64_t known = 1;
  for (int i = 0; i < type.rank(); ++i) {
    const ir::Dim& dim = type.shape[i];
    if (!dim.is_static() && dims_[dim.symbol] < 0) {
      if (unknown >= 0) return InvalidArgument("two sizes of the result are not known");
      unknown = i;
      shape.push_back(0);
      continue;
    }
    shape.push_back(dim.offset + (dim.is_static() ? 0 : dims_[dim.symbol]));
    known *= shape.back();
  }
  if (unknown >= 0 && known > 0) shape[unknown] = elements / known;
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  if (product != elements) {
    return InvalidArgument("expected ", product, " elements, found ", elements);
  }
  return shape;
}

absl::StatusOr<Tensor> Evaluator::Compute(const ir::Node& node, absl::Span<const Slot> operands) {
  const auto x = [operands](int i) -> const Tensor& { return operands[i].tensor; };
  switch (node.op()) {
    case ir::Op::kConstant: {
      Tensor y = context_.workspace->Floats({});
      (*y.floats)[0] = static_cast<float>(node.attr_float("value"));
      return y;
    }
    case ir::Op::kAdd:
    case ir::Op::kSub:
    case ir::Op::kMul:
    case ir::Op::kDiv:
    case ir::Op::kMin:
    case ir::Op::kMax:
    case ir::Op::kGreater:
      return Binary(context_, node.op(), x(0), x(1));
    case ir::Op::kNeg:
    case ir::Op::kExp:
    case ir::Op::kLog:
    case ir::Op::kFloor:
    case ir::Op::kTanh:
    case ir::Op::kSigmoid:
    case ir::Op::kSilu:
    case ir::Op::kGelu:
    case ir::Op::kGeluTanh:
    case ir::Op::kRelu:
    case ir::Op::kSqrt:
    case ir::Op::kRsqrt:
    case ir::Op::kCos:
    case ir::Op::kSin:
      return Unary(context_, node.op(), x(0));
    case ir::Op::kRope:
      return Rope(context_, x(0), x(1), x(2), node.attr_string("style") == "half");
    case ir::Op::kCast:
      return Cast(context_, x(0), node.result()->type().dtype);
    case ir::Op::kQuantise:
      return Quantise(context_, x(0), *FindQuantiseScheme(node.attr_string("scheme")));
    case ir::Op::kSoftmax:
      return Softmax(context_, x(0));
    case ir::Op::kRmsNorm:
      return RmsNorm(context_, x(0), x(1), node.attr_float("eps"));
    case ir::Op::kLayerNorm:
      return LayerNorm(context_, x(0), x(1), x(2), node.attr_float("eps"));
    case ir::Op::kWeightedSum:
      return WeightedSum(context_, x(0), x(1));
    case ir::Op::kTopK:
      return TopK(context_, x(0), node.attr_int("k"));
    case ir::Op::kArgmax:
      return Argmax(x(0));
    case ir::Op::kMaxParts:
      return MaxParts(context_, x(0), node.attr_int("columns"));
    case ir::Op::kArgmaxParts:
      return ArgmaxParts(x(0), node.attr_int("columns"));
    case ir::Op::kArgmaxOf:
      return ArgmaxOf(x(0), x(1));
    case ir::Op::kTakeColumns:
      return TakeColumns(context_, x(0), x(1));
    case ir::Op::kGroupedLinear:
      return GroupedLinear(context_, x(0), x(1), x(2));
    case ir::Op::kLinear:
      if (operands[1].streamed != nullptr) return Linear(context_, x(0), *operands[1].streamed);
      return Linear(context_, x(0), x(1), operands[1].turned_rows);
    case ir::Op::kMatMul:
      return MatMul(context_, x(0), x(1), node.attr_bool("transpose_b", false));
    case ir::Op::kEmbedding:
      if (operands[1].streamed != nullptr) return Embedding(context_, x(0), *operands[1].streamed);
      return Embedding(context_, x(0), x(1), operands[1].turned_rows);
    case ir::Op::kGatherRows:
      return GatherRows(context_, x(0), x(1));
    case ir::Op::kReshape: {
      Tensor y = x(0);  // shares the data
      NINFER_ASSIGN_OR_RETURN(y.shape, Shape(node.result()->type(), y.elements()));
      return y;
    }
    case ir::Op::kTranspose:
      return Transpose(context_, x(0), node.attr_ints("perm"));
    case ir::Op::kSlice:
      return Slice(context_, x(0), node.attr_int("axis"), node.attr_int("begin"),
                   node.attr_int("end"));
    case ir::Op::kConcat: {
      std::vector<Tensor> parts;
      for (const Slot& operand : operands) parts.push_back(operand.tensor);
      return Concat(context_, parts, node.attr_int("axis"));
    }
    case ir::Op::kRepeat:
      return Repeat(context_, x(0), node.attr_int("axis"), node.attr_int("times"));
    case ir::Op::kAlibi:
      return Alibi(context_, x(0), x(1), x(2), node.attr_float("scale"),
                   node.find_attr("rounding") != nullptr);
    case ir::Op::kCausalMask:
      return CausalMask(context_, x(0), x(1), x(2), x(3), node.attr_int_or("window", 0));
    case ir::Op::kAttention:
      return Attention(context_, x(0), x(1), x(2), x(3), x(4), x(5), RuleOf(node, operands, 6));
    case ir::Op::kPagedAttention:
    case ir::Op::kKvBounds:
    case ir::Op::kKvKeys:
    case ir::Op::kKvValues:
    case ir::Op::kScratchPages:
      return ComputeState(node, operands);
    case ir::Op::kKvAppend:
    case ir::Op::kFused:
      break;
  }
  NINFER_CHECK(false) << "no kernel of its own: " << std::string(node.info().name);
  return Tensor();
}

absl::StatusOr<Tensor> Evaluator::ComputeState(const ir::Node& node,
                                               absl::Span<const Slot> operands) {
  const auto x = [operands](int i) -> const Tensor& { return operands[i].tensor; };
  const auto cache = [operands](int i) -> absl::StatusOr<KvStore*> {
    if (operands[i].kv == nullptr) return InvalidArgument("operand ", i, " is no KV cache");
    return operands[i].kv;
  };
  switch (node.op()) {
    case ir::Op::kPagedAttention: {
      NINFER_ASSIGN_OR_RETURN(const KvStore* kv, cache(1));
      return PagedAttention(context_, x(0), *kv, x(2), x(3), x(4), RuleOf(node, operands, 5));
    }
    case ir::Op::kKvKeys:
    case ir::Op::kKvValues: {
      NINFER_ASSIGN_OR_RETURN(const KvStore* kv, cache(0));
      const KvPart part = node.op() == ir::Op::kKvKeys ? KvPart::kKeys : KvPart::kValues;
      NINFER_ASSIGN_OR_RETURN(Tensor rows, KvRows(context_, part, *kv, x(1), x(2)));
      rows.dtype = node.result()->type().dtype;  // as the cache holds them
      return rows;
    }
    case ir::Op::kKvBounds:
      return KvBounds(context_, x(0), x(1));
    default: {
      NINFER_CHECK(node.op() == ir::Op::kScratchPages) << std::string(node.info().name);
      // As many pages as the longest text may need when the step does not say.
      const ir::Dim& pages = node.result()->type().shape[1];
      const bool known = !pages.is_static() && dims_[pages.symbol] >= 0;
      return ScratchPages(context_, x(0),
                          known ? dims_[pages.symbol] + pages.offset : ir::MaxOf(pages, symbols_));
    }
  }
}

absl::StatusOr<std::vector<Tensor>> RunFunction(const ir::Function& function,
                                                absl::Span<const ir::Symbol> symbols,
                                                absl::Span<const Tensor> parameters, int threads) {
  ThreadPool pool(threads);
  Workspace workspace;
  Evaluator evaluator({&pool, &workspace}, symbols);
  std::vector<int64_t> dims(symbols.size(), -1);
  std::vector<Slot> slots;
  for (size_t i = 0; i < parameters.size() && i < function.parameters().size(); ++i) {
    const ir::Value& parameter = *function.parameters()[i];
    NINFER_RETURN_IF_ERROR(BindShape(absl::StrCat("%", parameter.name()), parameter.type(),
                                     parameters[i].shape, symbols, dims));
    if (IsFloat(parameter.type().dtype) != (parameters[i].floats != nullptr)) {
      return InvalidArgument("%", parameter.name(), ": expected ",
                             DTypeName(parameter.type().dtype), ", found ",
                             DTypeName(parameters[i].dtype));
    }
    slots.push_back({parameters[i]});
    slots.back().tensor.dtype = parameter.type().dtype;
  }
  slots.resize(parameters.size());
  evaluator.set_dims(std::move(dims));
  NINFER_ASSIGN_OR_RETURN(std::vector<Slot> results, evaluator.Run(function, slots, nullptr));
  std::vector<Tensor> tensors;
  for (Slot& result : results) {
    if (result.kv == nullptr) tensors.push_back(std::move(result.tensor));
  }
  return tensors;
}

}  // namespace ninfer::eager
