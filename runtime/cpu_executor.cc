// Tested by tests/runtime_cpu_executor_test.cc.
#include "runtime/cpu_executor.h"

#include <algorithm>
#include <cstring>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "base/page_table.h"
#include "base/status.h"
#include "runtime/kv_pages.h"

namespace ninfer::runtime {
namespace {

constexpr int64_t kMostValues = int64_t{1} << 28;      // of one step argument
constexpr int64_t kMostPages = int64_t{1} << 24;       // a thousand million positions
constexpr int64_t kMostCacheBytes = int64_t{1} << 46;  // of all layers

}  // namespace

absl::StatusOr<std::unique_ptr<CpuExecutor>> CpuExecutor::Create(
    std::shared_ptr<const plan::LoadedPlan> plan, const CpuExecutorOptions& options) {
  std::unique_ptr<CpuExecutor> executor(new CpuExecutor(std::move(plan), options));
  const plan::LoadedPlan& loaded = *executor->plan_;
  NINFER_ASSIGN_OR_RETURN(executor->function_, CpuFunction::Create(&loaded.plan, loaded.weights,
                                                                   "step", &executor->pool_));
  NINFER_RETURN_IF_ERROR(executor->ReadLimits(options.total_pages));
  executor->weight_bytes_read_ = executor->WeightBytesRead();
  NINFER_RETURN_IF_ERROR(executor->CheckOutput());
  NINFER_RETURN_IF_ERROR(executor->Place(options.perf_map));
  if (loaded.plan.vision.has_value() && loaded.plan.vision->function != nullptr) {
    NINFER_ASSIGN_OR_RETURN(
        executor->vision_,
        CpuVision::Create(*loaded.plan.vision, loaded.weights, &executor->pool_, options.perf_map));
  }
  executor->ChooseDumps();
  if (options.dump != nullptr && !executor->watch_.call) return options.dump->NoneMatches();
  return executor;
}

CpuExecutor::CpuExecutor(std::shared_ptr<const plan::LoadedPlan> plan,
                         const CpuExecutorOptions& options)
    : plan_(std::move(plan)), dump_(options.dump), pool_(options.threads) {}

absl::Status CpuExecutor::ReadLimits(int64_t total_pages) {
  const plan::Plan& plan = plan_->plan;
  for (const plan::Symbol& symbol : plan.symbols) {
    if (symbol.name.size() != 1 || !absl::StrContains("TSRGC", symbol.name)) {
      return InvalidArgument("plan: symbol ", symbol.name, ": expected one of T, S, R, G, C");
    }
  }
  limits_.context_length = plan.metadata.context_length;
  limits_.has_kv_cache = plan.metadata.has_kv_cache;
  limits_.max_tokens = plan::UpperBound(plan, "T", 1);
  limits_.max_sequences = plan::UpperBound(plan, "S", 1);
  limits_.max_rows = plan::UpperBound(plan, "R", limits_.max_tokens);
  if (!plan.kv_layers.empty()) limits_.page_positions = plan.kv_layers[0].page_positions;
  limits_.pages_per_sequence =
      plan::UpperBound(plan, "G", PagesFor(limits_.context_length, limits_.page_positions));
  limits_.context_length =
      std::min(limits_.context_length, limits_.pages_per_sequence * limits_.page_positions);
  if (!limits_.has_kv_cache && !plan.kv_layers.empty()) {
    return InvalidArgument("plan: expected no cache, found one of ", plan.kv_layers.size(),
                           " layers");
  }
  if (limits_.max_tokens > kMostValues || limits_.max_rows > kMostValues ||
      limits_.max_sequences > kMostValues / std::max<int64_t>(limits_.pages_per_sequence, 1)) {
    return InvalidArgument("plan: symbols: expected at most ", kMostValues,
                           " values in a step's arguments");
  }
  if (limits_.has_kv_cache) NINFER_RETURN_IF_ERROR(ReadKvGroups(total_pages));
  if (plan.vision.has_value()) limits_.picture_columns = plan.vision->columns;
  checker_ = std::make_unique<StepChecker>(limits_, plan.metadata.vocab_size);
  return absl::OkStatus();
}

absl::Status CpuExecutor::ReadKvGroups(int64_t total_pages) {
  kv_groups_ = plan::KvGroups(plan_->plan);
  const int64_t tables = limits_.max_sequences * std::max<int64_t>(limits_.pages_per_sequence, 1);
  if (static_cast<int64_t>(kv_groups_.size()) > kMostValues / std::max<int64_t>(tables, 1)) {
    return InvalidArgument("plan: kv geometry: expected at most ", kMostValues,
                           " entries in all page tables, found ", kv_groups_.size(), " of ",
                           tables);
  }
  limits_.kv_groups = KvLimitsOf(kv_groups_, total_pages, limits_.max_sequences);
  for (size_t i = 0; i < kv_groups_.size(); ++i) {
    const KvGroupLimits& group = limits_.kv_groups[i];
    if (group.total_pages > kMostPages) {
      return InvalidArgument("cache: expected at most ", kMostPages, " pages, found ",
                             group.total_pages);
    }
    const int64_t pages = std::max(group.total_pages, group.pages_held);
    if (pages > kMostCacheBytes / kv_groups_[i].page_bytes) {
      return InvalidArgument("cache: expected at most ", kMostCacheBytes, " bytes, found ", pages,
                             " pages of ", kv_groups_[i].page_bytes);
    }
  }
  return absl::OkStatus();
}

absl::Status CpuExecutor::CheckOutput() const {
  const plan::Buffer& output = function_->output();
  const int64_t vocab = plan_->plan.metadata.vocab_size;
  const int64_t rows =
      plan_->plan.metadata.logits_for_wanted_rows ? limits_.max_rows : limits_.max_tokens;
  const absl::optional<RowType> type = ParseRowType(output.type);
  if (!type.has_value() || type->dtype != DType::kF32 || type->columns() != vocab) {
    return InvalidArgument("plan: output: expected f32[rows,", vocab, "], found ", output.type);
  }
  // Both factors are below 2^31 or checked here, so that the product cannot wrap.
  if (output.ld < vocab || output.ld > (int64_t{1} << 31) ||
      static_cast<uint64_t>(rows) * output.ld > output.bytes / sizeof(float)) {
    return InvalidArgument("plan: output: expected ", rows, " rows of ", vocab, ", found ",
                           output.bytes, " bytes of rows of ", output.ld);
  }
  return absl::OkStatus();
}

absl::Status CpuExecutor::Place(bool perf_map) {
  NINFER_RETURN_IF_ERROR(AllocateCache());
  std::vector<uint8_t*> pools;
  for (const auto& pool : kv_pools_) pools.push_back(pool->data());
  const auto length = [this](absl::string_view name) -> int64_t {
    if (name == "tokens" || name == "positions" || name == "rope_len") return limits_.max_tokens;
    if (name == "seq_bounds") return limits_.max_sequences + 1;
    if (name == "cached_lens") return limits_.max_sequences;
    if (GroupOf(name) >= 0) return limits_.max_sequences * limits_.pages_per_sequence;
    if (name == "rows") return limits_.max_rows;
    if (limits_.picture_columns == 0) return -1;
    if (name == "is_picture") return limits_.max_tokens;
    if (name == "pictures") return limits_.max_tokens * RowStride(limits_.picture_columns);
    return -1;
  };
  return function_->Place(length, std::move(pools), perf_map);
}

absl::Status CpuExecutor::AllocateCache() {
  if (!limits_.has_kv_cache) return absl::OkStatus();
  kv_pools_.resize(plan_->plan.kv_layers.size());
  for (size_t group = 0; group < kv_groups_.size(); ++group) {
    const int64_t pages = limits_.kv_groups[group].total_pages;
    used_pages_.emplace_back(pages, false);
    for (const int layer : kv_groups_[group].layers) {
      // A short text touches the first pages of each layer only: there, huge pages would mostly be
      // empty.
      NINFER_ASSIGN_OR_RETURN(
          kv_pools_[layer],
          plan::Memory::Allocate(
              static_cast<uint64_t>(pages * plan_->plan.kv_layers[layer].page_bytes), "cache",
              plan::kHugePage));
    }
  }
  return absl::OkStatus();
}

// The buffers that the dump matches, each at the launch that writes it.
void CpuExecutor::ChooseDumps() {
  if (dump_ == nullptr) return;
  const std::vector<plan::Launch>& launches = function_->entry().launches;
  watch_.launches.assign(launches.size(), false);
  dumped_.resize(launches.size());
  for (size_t i = 0; i < launches.size(); ++i) {
    for (const plan::Operand& operand : launches[i].operands) {
      if (operand.kind != plan::OperandKind::kBuffer) continue;
      const plan::Buffer& buffer = plan_->plan.buffers[operand.index];
      if (buffer.first_launch != static_cast<int64_t>(i) || !dump_->Matches(buffer.name) ||
          !ParseRowType(buffer.type).has_value()) {
        continue;
      }
      dumped_[i].buffers.push_back(operand.index);
      if (IsProbabilities(launches[i], buffer)) dumped_[i].probabilities = operand.index;
      watch_.launches[i] = true;
      watch_.call = [this](size_t launch) { Dump(dumped_[launch], *input_); };
    }
  }
}

// Naive attention keeps its probabilities in its last operand, f32[T,heads,positions]; no later
// launch reads them.
bool CpuExecutor::IsProbabilities(const plan::Launch& launch, const plan::Buffer& buffer) const {
  const absl::optional<RowType> type = ParseRowType(buffer.type);
  const plan::Operand& last = launch.operands.back();
  return plan_->plan.kernels[launch.kernel].family == "attention" &&
         last.kind == plan::OperandKind::kBuffer && &buffer == &plan_->plan.buffers[last.index] &&
         buffer.first_launch == buffer.last_launch && type.has_value() &&
         type->dtype == DType::kF32 && type->rows == "T" && type->trailing.size() == 2;
}

void CpuExecutor::ClearPage(int group, int32_t page) {
  if (group < 0 || group >= static_cast<int>(kv_groups_.size())) return;
  if (page < 0 || page >= limits_.kv_groups[group].total_pages) return;
  // Memory from the system is zero, and is not touched before it must be.
  if (used_pages_[group][page]) {
    for (const int layer : kv_groups_[group].layers) {
      const int64_t bytes = plan_->plan.kv_layers[layer].page_bytes;
      std::memset(kv_pools_[layer]->data() + page * bytes, 0, bytes);
    }
  }
  used_pages_[group][page] = true;
}

// The layer group whose page table has this name; -1 where it is no group's.
int CpuExecutor::GroupOf(absl::string_view page_table) const {
  const absl::optional<int64_t> window = PageTableWindow(page_table);
  for (size_t i = 0; i < kv_groups_.size(); ++i) {
    if (window == kv_groups_[i].window) return static_cast<int>(i);
  }
  return -1;
}

void CpuExecutor::CopyArguments(const StepInput& input) {
  const auto copy = [this](absl::string_view name, absl::Span<const int32_t> from) {
    int32_t* to = function_->argument(name);
    if (to != nullptr) std::copy(from.begin(), from.end(), to);
  };
  copy("tokens", input.tokens);
  copy("positions", input.positions);
  copy("seq_bounds", input.seq_bounds);
  copy("cached_lens", input.cached_lens);
  for (size_t group = 0; group < kv_groups_.size(); ++group) {
    const size_t size = input.page_table.size() / kv_groups_.size();
    copy(PageTableName(kv_groups_[group].window), input.page_table.subspan(group * size, size));
  }
  copy("rows", input.rows);
  copy("rope_len", input.rope_len);
  CopyPictures(input);
  const int64_t tokens = static_cast<int64_t>(input.tokens.size());
  function_->SetDim("T", tokens);
  function_->SetDim("S", static_cast<int64_t>(input.cached_lens.size()));
  function_->SetDim("R", static_cast<int64_t>(input.rows.size()));
  function_->SetDim("G", limits_.pages_per_sequence);
}

// Rows of no picture are zeros, so that what they are multiplied with stays finite.
void CpuExecutor::CopyPictures(const StepInput& input) {
  int32_t* is_picture = function_->argument("is_picture");
  float* rows = function_->rows_argument("pictures");
  if (is_picture == nullptr || rows == nullptr) return;
  const int64_t tokens = static_cast<int64_t>(input.tokens.size());
  const int64_t columns = limits_.picture_columns, stride = RowStride(columns);
  for (int64_t t = 0; t < tokens; ++t) {
    is_picture[t] = input.is_picture.empty() ? 0 : input.is_picture[t];
    if (is_picture[t] != 0) {
      std::copy_n(input.pictures.begin() + t * columns, columns, rows + t * stride);
    } else {
      std::fill_n(rows + t * stride, columns, 0.0f);
    }
  }
}

absl::Status CpuExecutor::Step(const StepInput& input, float* logits) {
  NINFER_RETURN_IF_ERROR(checker_->Check(input));
  CopyArguments(input);
  if (dump_ != nullptr) dump_->NextStep();
  input_ = &input;
  function_->Run(
      static_cast<int64_t>(input.tokens.size()),
      [&](int thread) { CopyLogits(thread, input, logits); }, watch_.call ? &watch_ : nullptr);
  return absl::OkStatus();
}

absl::Status CpuExecutor::See(const VisionInput& input, float* rows) {
  if (vision_ == nullptr) return Executor::See(input, rows);
  return vision_->Run(input, rows);
}

// Each thread copies its part of the columns: of one row, too, all threads take part.
void CpuExecutor::CopyLogits(int thread, const StepInput& input, float* logits) const {
  const uint32_t index = static_cast<uint32_t>(function_->entry().output);
  const plan::Buffer& output = function_->output();
  const float* from = reinterpret_cast<const float*>(function_->Result(index, thread));
  const int64_t vocab = metadata().vocab_size;
  const UnitRange part = DealUnits(vocab, thread, pool_.size());
  for (size_t i = 0; i < input.rows.size(); ++i) {
    const int64_t row = metadata().logits_for_wanted_rows ? static_cast<int64_t>(i) : input.rows[i];
    std::memcpy(logits + i * vocab + part.begin, from + row * output.ld + part.begin,
                (part.end - part.begin) * sizeof(float));
  }
}

void CpuExecutor::Dump(const Dumped& dumped, const StepInput& input) {
  for (uint32_t index : dumped.buffers) {
    const plan::Buffer& buffer = plan_->plan.buffers[index];
    const absl::optional<RowType> type = ParseRowType(buffer.type);
    if (!type.has_value()) continue;
    int64_t rows = 0;
    const bool numbered = absl::SimpleAtoi(type->rows, &rows);
    if (!numbered) rows = function_->Dim(type->rows);
    const int64_t stride = std::max<int64_t>(buffer.ld, type->columns());
    const int64_t size = DTypeSize(type->dtype);
    const uint64_t held = buffer.bytes / size / std::max<int64_t>(stride, 1);
    if (rows < 0 || static_cast<uint64_t>(rows) > held) continue;
    const char* data = reinterpret_cast<const char*>(function_->SharedResult(index));
    if (index == dumped.probabilities) {
      DumpProbabilities(buffer.name, *type, reinterpret_cast<const float*>(data), stride, input);
    } else if (!numbered) {
      dump_->Append(buffer.name, *type, rows, stride, data);
    } else {
      std::string dense;
      for (int64_t row = 0; row < rows; ++row) {
        dense.append(data + row * stride * size, type->columns() * size);
      }
      std::vector<int64_t> shape = {rows};
      shape.insert(shape.end(), type->trailing.begin(), type->trailing.end());
      dump_->AddStep(buffer.name, type->dtype, shape, dense.data());
    }
  }
}

// The buffer [T, heads, positions of whole pages] as eager has it, [heads, T, keys]: the keys of
// all sequences one after the other, zero where a row looks at none. What lies behind a row's own
// position in its pages no kernel need have written.
void CpuExecutor::DumpProbabilities(const std::string& name, const RowType& type, const float* from,
                                    int64_t stride, const StepInput& input) {
  const int64_t rows = static_cast<int64_t>(input.tokens.size()), heads = type.trailing[0];
  const int64_t sequences = static_cast<int64_t>(input.cached_lens.size());
  std::vector<int64_t> first_key = {0};
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t added = input.seq_bounds[s + 1] - input.seq_bounds[s];
    first_key.push_back(first_key.back() + input.cached_lens[s] + added);
  }
  const int64_t keys = first_key.back();
  std::vector<float> out(heads * rows * keys, 0.0f);
  for (int64_t s = 0; s < sequences; ++s) {
    for (int64_t row = input.seq_bounds[s]; row < input.seq_bounds[s + 1]; ++row) {
      const int64_t seen = std::min<int64_t>(
          {input.positions[row] + 1, type.trailing[1], first_key[s + 1] - first_key[s]});
      for (int64_t head = 0; head < heads; ++head) {
        std::copy_n(from + row * stride + head * type.trailing[1], seen,
                    out.data() + (head * rows + row) * keys + first_key[s]);
      }
    }
  }
  dump_->AddStep(name, DType::kF32, {heads, rows, keys}, out.data());
}

int64_t CpuExecutor::WeightBytesRead() const {
  const plan::Plan& plan = plan_->plan;
  absl::flat_hash_set<uint32_t> whole, one_row;
  for (const plan::Launch& launch : function_->entry().launches) {
    for (const plan::Operand& operand : launch.operands) {
      if (operand.kind != plan::OperandKind::kWeight) continue;
      // Outside linears, a table is gathered from: one row for one token.
      const std::string& family = plan.kernels[launch.kernel].family;
      const bool table =
          family != "linear" && family != "grouped_linear" && plan.weights[operand.index].n > 1;
      (table ? one_row : whole).insert(operand.index);
    }
  }
  int64_t bytes = 0;
  for (uint32_t index : whole) {
    const plan::Weight& weight = plan.weights[index];
    const int64_t all = static_cast<int64_t>(weight.bytes);
    bytes += weight.segments_read > 0 ? all / weight.segments * weight.segments_read : all;
  }
  for (uint32_t index : one_row) {
    if (whole.contains(index)) continue;
    bytes += static_cast<int64_t>(plan.weights[index].bytes) / plan.weights[index].n;
  }
  return bytes;
}

int64_t CpuExecutor::BytesPerToken(int64_t cached) const {
  int64_t bytes = weight_bytes_read_;
  for (const plan::KvGroup& group : kv_groups_) {
    int64_t seen = std::max<int64_t>(cached, 0);
    if (group.window > 0) seen = std::min(seen, group.window - 1);
    bytes += seen * group.page_bytes / limits_.page_positions;
  }
  return bytes;
}

int64_t CpuExecutor::CacheBytes(int64_t positions) const {
  int64_t bytes = 0;
  for (const plan::KvGroup& group : kv_groups_) {
    bytes += group.Bytes(positions, limits_.page_positions);
  }
  return bytes;
}

std::string CpuExecutor::description() const {
  return absl::StrCat("compiled ", function_->code().target, ", ", pool_.size(),
                      pool_.size() == 1 ? " thread" : " threads");
}

}  // namespace ninfer::runtime
