// See eager_executor.h.
// Tested by tests/compiler_eager_test.cc.
#include "compiler/eager_executor.h"

#include <algorithm>
#include <cstring>

#include "base/page_table.h"
#include "base/status.h"
#include "compiler/compile.h"
#include "compiler/vision.h"
#include "runtime/cpu_vision.h"
#include "runtime/kv_pages.h"

namespace ninfer::compiler {
namespace {

constexpr int64_t kPage = program::KvLayout::kPagePositions;

// Of one page of one layer in eager's layout: keys, then values.
int64_t PageElements(const eager::KvPool& pool) { return 2 * pool.heads * kPage * pool.head_dim; }

// How far back the layer with this state sees, as the page table says which it is written through.
int64_t WindowOf(const ir::Function& step, const ir::Value* state) {
  for (const auto& node : step.nodes()) {
    if (node->op() != ir::Op::kKvAppend || node->operand(0) != state) continue;
    return PageTableWindow(node->operand(5)->name()).value_or(0);
  }
  return 0;
}

std::vector<int32_t> Copy(absl::Span<const int32_t> values) {
  return std::vector<int32_t>(values.begin(), values.end());
}

}  // namespace

absl::StatusOr<std::unique_ptr<EagerExecutor>> EagerExecutor::Create(const Options& options,
                                                                     const Callbacks& callbacks) {
  std::unique_ptr<EagerExecutor> out(new EagerExecutor());
  NINFER_ASSIGN_OR_RETURN(Source source, OpenSource(options, callbacks));
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
  // What rounds nothing needs no casts, and keeps attention spelled out.
  passes::PassOptions asked = choice;
  if (options.weights == "auto") asked.weights = DType::kF32;
  if (ChoiceRounds(source.model.module, asked)) {
    names.push_back("attention");
    names.push_back("precision");
  }
  passes::PassOptions step = choice, vision;
  if (source.model.vision.has_value()) vision = TakeVisionOptions(source.model, &step);
  NINFER_RETURN_IF_ERROR(passes::RunPasses(source.model.module, names, step).status());
  out->module_ = std::move(source.model.module);
  NINFER_RETURN_IF_ERROR(ReadTextFiles(options, source, callbacks, &out->plan_));
  FillMetadata(source, choice, &out->plan_);
  out->plan_.vision = VisionOf(source.model.info);
  out->threads_ = ThreadsOrDefault(options.threads);
  NINFER_ASSIGN_OR_RETURN(
      out->interpreter_,
      eager::Interpreter::Create(&out->module_, source.model.weights, out->threads_));
  for (const ir::Weight& weight : out->module_.weights()) {
    out->weight_bytes_ += ir::MaxBytes(weight.value->type(), out->module_.symbols()) /
                          DTypeSize(weight.value->type().dtype) * int64_t{sizeof(float)};
  }
  if (source.model.vision.has_value()) {
    NINFER_RETURN_IF_ERROR(
        out->OpenVision(*std::move(source.model.vision), source.model.weights, names, vision));
  }
  if (!options.dump_tensors.empty()) {
    NINFER_ASSIGN_OR_RETURN(out->dump_, runtime::TensorDump::Create(options.dump_tensors));
    if (!out->DumpMatches(*out->module_.FindFunction("step"))) return out->dump_->NoneMatches();
    out->seen_.clear();
  }
  out->ReadLimits(options);
  return out;
}

// The passes that look at @step alone leave @vision as it is.
absl::Status EagerExecutor::OpenVision(ir::Module module,
                                       std::shared_ptr<const ir::WeightSource> weights,
                                       const std::vector<std::string>& passes,
                                       const passes::PassOptions& choice) {
  vision_module_ = std::make_unique<ir::Module>(std::move(module));
  NINFER_RETURN_IF_ERROR(passes::RunPasses(*vision_module_, passes, choice).status());
  NINFER_ASSIGN_OR_RETURN(
      vision_, eager::Interpreter::Create(vision_module_.get(), std::move(weights), threads_));
  return absl::OkStatus();
}

absl::Status EagerExecutor::See(const runtime::VisionInput& input, float* rows) {
  if (vision_ == nullptr) return Executor::See(input, rows);
  NINFER_RETURN_IF_ERROR(runtime::CheckVisionInput(input, *plan_.vision));
  NINFER_ASSIGN_OR_RETURN(const std::vector<eager::Tensor> results,
                          vision_->Run(VisionArguments(input), nullptr));
  std::copy(results[0].floats->begin(), results[0].floats->end(), rows);
  return absl::OkStatus();
}

void EagerExecutor::ReadLimits(const Options& options) {
  auto bound = [&](absl::string_view symbol, int64_t fallback) {
    const int index = module_.FindSymbol(symbol);
    return index < 0 ? fallback : module_.symbols()[index].max;
  };
  limits_.context_length = plan_.metadata.context_length;
  limits_.max_tokens = bound("T", limits_.context_length);
  limits_.max_sequences = bound("S", 1);
  limits_.max_rows = std::min(bound("R", limits_.max_tokens), limits_.max_tokens);
  limits_.page_positions = kPage;
  limits_.pages_per_sequence = bound("G", PagesFor(limits_.context_length, kPage));
  limits_.has_kv_cache = plan_.metadata.has_kv_cache;
  ReadKvGroups(options.kv_pages);
  if (plan_.vision.has_value()) limits_.picture_columns = plan_.vision->columns;
  checker_ = std::make_unique<runtime::StepChecker>(limits_, plan_.metadata.vocab_size);
}

void EagerExecutor::ReadKvGroups(int64_t total_pages) {
  const ir::Function& step = *module_.FindFunction("step");
  plan::Plan cache;  // what a plan would say of the caches
  cache.metadata.context_length = limits_.context_length;
  cache.symbols = {{"T", 1, limits_.max_tokens}, {"G", 1, limits_.pages_per_sequence}};
  for (const auto& parameter : step.parameters()) {
    const ir::Type& type = parameter->type();
    if (!type.is_kv) continue;
    eager::KvPool pool;
    pool.dtype = type.dtype;
    pool.heads = type.shape[0].offset;
    pool.head_dim = type.shape[1].offset;
    cache.kv_layers.push_back({pool.dtype, pool.heads, pool.head_dim, kPage,
                               PageElements(pool) * int64_t{sizeof(float)},
                               WindowOf(step, parameter.get())});
    pools_.push_back(std::move(pool));
  }
  kv_groups_ = plan::KvGroups(cache);
  limits_.kv_groups = runtime::KvLimitsOf(kv_groups_, total_pages, limits_.max_sequences);
}

void EagerExecutor::ClearPage(int group, int32_t page) {
  if (group < 0 || group >= static_cast<int>(kv_groups_.size())) return;
  for (const int layer : kv_groups_[group].layers) {
    eager::KvPool& pool = pools_[layer];
    if (page < 0 || page >= pool.pages) continue;
    const int64_t elements = PageElements(pool);
    std::fill_n(pool.data.begin() + page * elements, elements, 0.0f);
  }
}

// A context may have far more pages than any text fills: a page is made, of zeros, when a step
// first uses it.
void EagerExecutor::MakePages(const runtime::StepInput& input) {
  const size_t entries = kv_groups_.empty() ? 0 : input.page_table.size() / kv_groups_.size();
  const size_t width = limits_.pages_per_sequence;
  for (size_t group = 0; group < kv_groups_.size(); ++group) {
    int64_t pages = pools_[kv_groups_[group].layers[0]].pages;
    for (size_t s = 0; s < input.cached_lens.size(); ++s) {
      const int64_t length = input.cached_lens[s] + input.seq_bounds[s + 1] - input.seq_bounds[s];
      const int64_t first = limits_.kv_groups[group].FirstSeen(input.cached_lens[s]) / kPage;
      const int32_t* table = input.page_table.data() + group * entries + s * width;
      for (int64_t i = first; i * kPage < length; ++i) {
        pages = std::max<int64_t>(pages, table[i] + 1);
      }
    }
    for (const int layer : kv_groups_[group].layers) {
      pools_[layer].pages = pages;
      pools_[layer].data.resize(pages * PageElements(pools_[layer]));
    }
  }
}

absl::Status EagerExecutor::Step(const runtime::StepInput& input, float* logits) {
  NINFER_RETURN_IF_ERROR(checker_->Check(input));
  MakePages(input);
  eager::StepArguments arguments;
  arguments.tokens = Copy(input.tokens);
  arguments.positions = Copy(input.positions);
  arguments.seq_bounds = Copy(input.seq_bounds);
  arguments.cached_lens = Copy(input.cached_lens);
  for (size_t group = 0; group < kv_groups_.size(); ++group) {
    const size_t size = input.page_table.size() / kv_groups_.size();
    std::vector<int32_t> table = Copy(input.page_table.subspan(group * size, size));
    if (kv_groups_[group].window == 0) {
      arguments.page_table = std::move(table);
    } else {
      arguments.window_tables.push_back(std::move(table));
    }
  }
  arguments.rows = Copy(input.rows);
  arguments.rope_len = Copy(input.rope_len);
  arguments.is_picture = Copy(input.is_picture);
  arguments.pictures.assign(input.pictures.begin(), input.pictures.end());
  std::vector<eager::Tensor> results;
  if (dump_ != nullptr) {
    seen_.clear();
    dump_->NextStep(/*whole_text=*/!limits_.has_kv_cache);
    auto record = [this](const ir::Node& node, absl::Span<const eager::Tensor> tensors) {
      Record(node, tensors);
      return absl::OkStatus();
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

// Whether the first dimension counts the step's tokens, or the rows wanted of them, and the others
// are numbers: such rows of later steps can follow those of earlier ones.
bool EagerExecutor::HasRowsOfStep(const ir::Type& type) const {
  if (type.shape.empty() || type.shape[0].is_static() || type.shape[0].offset != 0) return false;
  const std::string& rows = module_.symbols()[type.shape[0].symbol].name;
  if (rows != "T" && rows != "R") return false;
  return std::all_of(type.shape.begin() + 1, type.shape.end(),
                     [](const ir::Dim& dim) { return dim.is_static(); });
}

// A tensor's name: the value's own, else where it comes from and its op ("model.layers.0/softmax"),
// numbered from the second of the step on.
std::string EagerExecutor::NameOf(const ir::Node& node, const ir::Value& value) {
  std::string name = value.name();
  if (name.empty()) name = absl::StrCat(value.provenance(), "/", node.info().name);
  const int count = ++seen_[name];
  if (count > 1) absl::StrAppend(&name, "#", count);
  return name;
}

// Whether a step has a tensor to show. Constants are none of a step's.
bool EagerExecutor::DumpMatches(const ir::Function& function) {
  for (const auto& node : function.nodes()) {
    if (node->body() != nullptr && DumpMatches(*node->body())) return true;
    for (int i = 0; i < node->num_results(); ++i) {
      const ir::Value& value = *node->result(i);
      const ir::Type& type = value.type();
      if (type.is_kv || type.shape.empty() || type.dtype == DType::kI32) continue;
      if (!ir::IsConstant(&value) && dump_->Matches(NameOf(*node, value))) return true;
    }
  }
  return false;
}

void EagerExecutor::Record(const ir::Node& node, absl::Span<const eager::Tensor> results) {
  for (int i = 0; i < node.num_results() && i < static_cast<int>(results.size()); ++i) {
    const ir::Value& value = *node.result(i);
    const eager::Tensor& tensor = results[i];
    if (tensor.floats == nullptr || tensor.shape.empty()) continue;
    const std::string name = NameOf(node, value);
    if (!dump_->Matches(name)) continue;
    if (!HasRowsOfStep(value.type())) {
      dump_->AddStep(name, DType::kF32, tensor.shape, tensor.floats->data());
      continue;
    }
    runtime::RowType type;
    type.rows = module_.symbols()[value.type().shape[0].symbol].name;
    type.trailing.assign(tensor.shape.begin() + 1, tensor.shape.end());
    dump_->Append(name, type, tensor.shape[0], type.columns(), tensor.floats->data());
  }
}

int64_t EagerExecutor::BytesPerToken(int64_t cached) const {
  int64_t bytes = weight_bytes_;
  for (const plan::KvGroup& group : kv_groups_) {
    const int64_t seen = group.window > 0 ? std::min(cached, group.window - 1) : cached;
    bytes += seen * group.page_bytes / kPage;
  }
  return bytes;
}

int64_t EagerExecutor::CacheBytes(int64_t positions) const {
  int64_t bytes = 0;
  for (const plan::KvGroup& group : kv_groups_) bytes += group.Bytes(positions, kPage);
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
