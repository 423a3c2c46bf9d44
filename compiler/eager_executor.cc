// See eager_executor.h.
// Tested by tests/compiler_eager_test.cc.
#include "compiler/eager_executor.h"

#include <algorithm>
#include <cstring>

#include "base/status.h"
#include "compiler/compile.h"

namespace ninfer::compiler {
namespace {

constexpr int64_t kPage = program::KvLayout::kPagePositions;

// Bytes of one page of one layer in eager's layout.
int64_t PageElements(const eager::KvPool& pool) { return 2 * pool.heads * kPage * pool.head_dim; }

std::vector<int32_t> Copy(absl::Span<const int32_t> values) {
  return std::vector<int32_t>(values.begin(), values.end());
}

}  // namespace

absl::StatusOr<std::unique_ptr<EagerExecutor>> EagerExecutor::Create(const Options& options,
                                                                     const Callbacks& callbacks) {
  std::unique_ptr<EagerExecutor> out(new EagerExecutor());
  NINFER_ASSIGN_OR_RETURN(Source source, OpenSource(options));
  std::string explanation;
  NINFER_ASSIGN_OR_RETURN(passes::PassOptions choice,
                          PassOptionsFor(options, source, &explanation));
  // "auto" is f32 here: the interpreter is the oracle.
  if (options.activations == "auto") choice.activations = DType::kF32;
  if (options.kv_cache == "auto") choice.kv_cache = choice.activations;
  // No buffer is planned for the rows: a step gives the logits of as many as it has.
  choice.max_rows = choice.context_length;
  std::vector<std::string> names = {"kv-cache", "last-rows"};
  if (choice.disabled.contains("kv-cache")) names.erase(names.begin());
  const bool reduced = options.weights != "auto" || choice.activations != DType::kF32 ||
                       choice.kv_cache != DType::kF32;
  if (reduced) {
    names.push_back("attention");
    names.push_back("precision");
  }
  NINFER_RETURN_IF_ERROR(passes::RunPasses(source.model.module, names, choice).status());
  out->module_ = std::move(source.model.module);
  NINFER_RETURN_IF_ERROR(ReadTokenizer(source, callbacks, &out->plan_));
  FillMetadata(source, choice, &out->plan_);
  NINFER_RETURN_IF_ERROR(SetDefaultPrompt(options, source, callbacks, &out->plan_));
  out->threads_ = ThreadsOrDefault(options.threads);
  NINFER_ASSIGN_OR_RETURN(
      out->interpreter_,
      eager::Interpreter::Create(&out->module_, source.model.weights, out->threads_));
  for (const ir::Weight& weight : out->module_.weights()) {
    out->weight_bytes_ += ir::MaxBytes(weight.value->type(), out->module_.symbols()) /
                          DTypeSize(weight.value->type().dtype) * int64_t{sizeof(float)};
  }
  if (!options.dump_tensors.empty()) {
    NINFER_ASSIGN_OR_RETURN(out->dump_, runtime::TensorDump::Create(options.dump_tensors));
  }
  NINFER_RETURN_IF_ERROR(out->ReadLimits(options));
  return out;
}

absl::Status EagerExecutor::ReadLimits(const Options& options) {
  auto bound = [&](absl::string_view symbol, int64_t fallback) {
    const int index = module_.FindSymbol(symbol);
    return index < 0 ? fallback : module_.symbols()[index].max;
  };
  limits_.context_length = plan_.metadata.context_length;
  limits_.max_tokens = bound("T", limits_.context_length);
  limits_.max_sequences = bound("S", 1);
  limits_.max_rows = std::min(bound("R", limits_.max_tokens), limits_.max_tokens);
  limits_.page_positions = kPage;
  limits_.pages_per_sequence = bound("G", (limits_.context_length + kPage - 1) / kPage);
  limits_.total_pages = options.kv_pages > 0 ? options.kv_pages : limits_.pages_per_sequence;
  limits_.has_kv_cache = plan_.metadata.has_kv_cache;
  checker_ = std::make_unique<runtime::StepChecker>(limits_, plan_.metadata.vocab_size);
  const ir::Function* step = module_.FindFunction("step");
  for (const auto& parameter : step->parameters()) {
    const ir::Type& type = parameter->type();
    if (!type.is_kv) continue;
    eager::KvPool pool;
    pool.dtype = type.dtype;
    pool.heads = type.shape[0].offset;
    pool.head_dim = type.shape[1].offset;
    pool.pages = limits_.total_pages;
    pool.data.assign(pool.pages * PageElements(pool), 0);
    pools_.push_back(std::move(pool));
  }
  return absl::OkStatus();
}

void EagerExecutor::ClearPage(int32_t page) {
  if (page < 0 || page >= limits_.total_pages) return;
  for (eager::KvPool& pool : pools_) {
    const int64_t elements = PageElements(pool);
    std::fill_n(pool.data.begin() + page * elements, elements, 0.0f);
  }
}

absl::Status EagerExecutor::Step(const runtime::StepInput& input, float* logits) {
  NINFER_RETURN_IF_ERROR(checker_->Check(input));
  eager::StepArguments arguments;
  arguments.tokens = Copy(input.tokens);
  arguments.positions = Copy(input.positions);
  arguments.seq_bounds = Copy(input.seq_bounds);
  arguments.cached_lens = Copy(input.cached_lens);
  arguments.page_table = Copy(input.page_table);
  arguments.rows = Copy(input.rows);
  arguments.rope_len = Copy(input.rope_len);
  std::vector<eager::Tensor> results;
  if (dump_ != nullptr) {
    seen_.clear();
    auto record = [this](const ir::Node& node, absl::Span<const eager::Tensor> tensors) {
      Record(node, tensors);
    };
    const eager::Observer observer(record);
    NINFER_ASSIGN_OR_RETURN(results, interpreter_->Run(arguments, &pools_, &observer));
  } else {
    NINFER_ASSIGN_OR_RETURN(results, interpreter_->Run(arguments, &pools_));
  }
  std::memcpy(logits, results[0].floats->data(),
              input.rows.size() * plan_.metadata.vocab_size * sizeof(float));
  return absl::OkStatus();
}

// A tensor's name: the value's own, else where it comes from and its op ("model.layers.0/softmax"),
// numbered from the second on.
void EagerExecutor::Record(const ir::Node& node, absl::Span<const eager::Tensor> results) {
  for (int i = 0; i < node.num_results() && i < static_cast<int>(results.size()); ++i) {
    const ir::Value& value = *node.result(i);
    const eager::Tensor& tensor = results[i];
    if (tensor.floats == nullptr || tensor.shape.empty()) continue;
    std::string name = value.name();
    if (name.empty()) name = absl::StrCat(value.provenance(), "/", node.info().name);
    const int count = ++seen_[name];
    if (count > 1) absl::StrAppend(&name, "#", count);
    if (!dump_->Matches(name)) continue;
    runtime::RowType type;
    type.dtype = DType::kF32;
    type.trailing.assign(tensor.shape.begin() + 1, tensor.shape.end());
    dump_->Append(name, type, tensor.shape[0], type.columns(), tensor.floats->data());
  }
}

int64_t EagerExecutor::BytesPerToken(int64_t cached) const {
  int64_t bytes = weight_bytes_;
  for (const eager::KvPool& pool : pools_) {
    bytes += cached * 2 * pool.heads * pool.head_dim * int64_t{sizeof(float)};
  }
  return bytes;
}

std::string EagerExecutor::description() const {
  return absl::StrCat("eager, ", threads_, threads_ == 1 ? " thread" : " threads");
}

absl::Status EagerExecutor::WriteDump(const std::string& path) const {
  if (dump_ == nullptr) return InvalidArgument(path, ": no tensors were asked for");
  return dump_->Write(path);
}

}  // namespace ninfer::compiler
