// See cuda_executor.h.
// Tested by tests/cuda_driver_test.cc.
#include "cuda/driver/cuda_executor.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace ninfer::cuda {
namespace {

constexpr uint64_t kBlock = uint64_t{16} << 20;  // of weights, through a pinned buffer
constexpr uint64_t kSpare = uint64_t{64} << 20;  // for the driver's own needs
constexpr uint64_t kProbeBytes = uint64_t{1} << 30;
constexpr int kProbeCopies = 8;
constexpr int64_t kRecordedTokens = 64;  // larger steps hide the time of their launches
constexpr int64_t kAlignment = 64;       // of arguments, in four-byte values

std::string Size(uint64_t bytes) {
  return bytes < 1000000000 ? absl::StrFormat("%.1f MB", bytes * 1e-6)
                            : absl::StrFormat("%.2f GB", bytes * 1e-9);
}

int64_t Blocks(const plan::CardFunction::Grid& grid, const std::vector<int32_t>& dims) {
  if (grid.symbol < 0) return grid.factor;
  return grid.factor * ((dims[grid.symbol] + grid.block - 1) / grid.block);
}

bool Takes(const plan::CardFunction& function, const std::vector<int32_t>& dims) {
  return function.rows_symbol < 0 || dims[function.rows_symbol] <= function.most_rows;
}

}  // namespace

const plan::CardImage* ChooseImage(const plan::Plan& plan, int capability) {
  const plan::CardImage* best = nullptr;
  if (!plan.cards.has_value()) return best;
  const auto wanted = static_cast<uint32_t>(capability);
  for (const plan::CardImage& image : plan.cards->images) {
    const bool runs =
        image.capability <= wanted && (image.ptx || image.capability / 10 == wanted / 10);
    if (!runs) continue;
    const bool better = best == nullptr || (best->ptx && !image.ptx) ||
                        (best->ptx == image.ptx && best->capability < image.capability);
    if (better) best = &image;
  }
  return best;
}

std::string MissingImage(const plan::Plan& plan, const Card& card) {
  std::vector<std::string> found;
  if (plan.cards.has_value()) {
    for (const plan::CardImage& image : plan.cards->images) {
      found.push_back(absl::StrCat(image.ptx ? "PTX for " : "", image.architecture));
    }
  }
  return absl::StrCat(card.device(), " (", card.name, "): expected code for ", card.architecture(),
                      ", found ", found.empty() ? "none" : absl::StrJoin(found, ", "));
}

absl::StatusOr<std::unique_ptr<CudaExecutor>> CudaExecutor::Create(
    std::shared_ptr<const plan::LoadedPlan> plan, const Driver* driver, const Card& card,
    const CudaExecutorOptions& options) {
  std::unique_ptr<CudaExecutor> executor(new CudaExecutor(std::move(plan), card));
  NINFER_RETURN_IF_ERROR(executor->Load(driver, options));
  return executor;
}

CudaExecutor::~CudaExecutor() {
  if (context_ == nullptr || !context_->MakeCurrent().ok()) return;
  const Driver& driver = context_->driver();
  for (const auto& [bucket, graph] : graphs_) driver.GraphExecDestroy(graph);
  if (module_ != nullptr) driver.ModuleUnload(module_);
  if (stream_ != nullptr) driver.StreamDestroy(stream_);
}

absl::Status CudaExecutor::Load(const Driver* driver, const CudaExecutorOptions& options) {
  const plan::Plan& plan = plan_->plan;
  if (ChooseImage(plan, card_.capability) == nullptr) {
    return InvalidArgument("plan: ", MissingImage(plan, card_));
  }
  NINFER_ASSIGN_OR_RETURN(entry_, runtime::FindEntry(plan, "step"));
  NINFER_ASSIGN_OR_RETURN(
      runtime::StepLayout layout,
      runtime::StepLayout::Create(&plan, entry_, options.total_pages, plan.cards->page_bytes));
  layout_.emplace(std::move(layout));
  checker_ = std::make_unique<runtime::StepChecker>(limits(), plan.metadata.vocab_size);
  weight_bytes_read_ = layout_->WeightBytesRead(
      [&](uint32_t i) { return static_cast<int64_t>(plan.cards->weights[i].bytes); });
  NINFER_ASSIGN_OR_RETURN(context_, Context::Create(driver, card_.ordinal));
  NINFER_RETURN_IF_ERROR(driver->Check(driver->StreamCreate(&stream_, 1), "CUDA: a stream"));
  NINFER_RETURN_IF_ERROR(LoadFunctions());
  NINFER_RETURN_IF_ERROR(CheckFits());
  NINFER_RETURN_IF_ERROR(AllocateCache());
  NINFER_ASSIGN_OR_RETURN(
      arena_,
      DeviceMemory::Allocate(context_.get(), entry_->arena_bytes + entry_->replica_bytes, "arena"));
  NINFER_RETURN_IF_ERROR(PlaceArguments());
  NINFER_RETURN_IF_ERROR(LoadWeights(options.progress));
  PlaceLaunches();
  return absl::OkStatus();
}

absl::Status CudaExecutor::LoadFunctions() {
  const Driver& driver = context_->driver();
  const plan::Cards& cards = *plan_->plan.cards;
  const plan::CardImage& image = *ChooseImage(plan_->plan, card_.capability);
  // PTX is text that ends in a zero byte, which std::string has.
  NINFER_RETURN_IF_ERROR(driver.Check(
      driver.ModuleLoadData(&module_, image.bytes.c_str()),
      absl::StrCat(card_.device(), ": loading the plan's code for ", image.architecture)));
  of_kernel_.resize(plan_->plan.kernels.size());
  bounds_.resize(plan_->plan.symbols.size());
  for (const plan::CardFunction& function : cards.functions) {
    void* address = nullptr;
    NINFER_RETURN_IF_ERROR(
        driver.Check(driver.ModuleGetFunction(&address, module_, function.name.c_str()),
                     absl::StrCat("plan: kernel ", function.name)));
    of_kernel_[function.kernel].push_back(static_cast<int>(functions_.size()));
    functions_.push_back(address);
    if (function.rows_symbol >= 0) bounds_[function.rows_symbol].push_back(function.most_rows);
  }
  // Powers of two, and wherever a kernel changes its function.
  for (size_t i = 0; i < bounds_.size(); ++i) {
    const int64_t most = plan_->plan.symbols[i].max;
    for (int64_t bound = 1; bound < most; bound *= 2) bounds_[i].push_back(bound);
    bounds_[i].push_back(most);
    std::sort(bounds_[i].begin(), bounds_[i].end());
  }
  return absl::OkStatus();
}

absl::Status CudaExecutor::CheckFits() const {
  const Driver& driver = context_->driver();
  size_t free = 0, total = 0;
  NINFER_RETURN_IF_ERROR(
      driver.Check(driver.MemGetInfo(&free, &total), absl::StrCat(card_.device(), ": its memory")));
  const uint64_t weights = plan_->plan.cards->weight_bytes;
  const uint64_t scratch = entry_->arena_bytes + entry_->replica_bytes;
  uint64_t cache = 0;
  for (size_t i = 0; i < layout_->kv_groups().size(); ++i) {
    cache += static_cast<uint64_t>(limits().kv_groups[i].total_pages *
                                   layout_->kv_groups()[i].page_bytes);
  }
  const uint64_t needed = weights + scratch + cache + kSpare;
  if (needed <= free) return absl::OkStatus();
  std::string fits = "; weights and scratch alone are more";
  const uint64_t fixed = weights + scratch + kSpare;
  if (fixed < free) {
    const double share = static_cast<double>(free - fixed) / static_cast<double>(cache);
    const auto positions = static_cast<int64_t>(share * limits().context_length);
    fits = absl::StrCat("; a context of ", positions, " would fit (--context)");
  }
  return InvalidArgument(card_.device(), " (", card_.name, "): expected ", Size(needed),
                         " of free memory (weights ", Size(weights), ", cache ", Size(cache),
                         ", scratch ", Size(scratch), "), found ", Size(free), fits);
}

absl::Status CudaExecutor::AllocateCache() {
  if (!limits().has_kv_cache) return absl::OkStatus();
  pools_.resize(plan_->plan.kv_layers.size());
  for (size_t group = 0; group < layout_->kv_groups().size(); ++group) {
    const int64_t pages = limits().kv_groups[group].total_pages;
    for (const int layer : layout_->kv_groups()[group].layers) {
      NINFER_ASSIGN_OR_RETURN(
          pools_[layer],
          DeviceMemory::Allocate(
              context_.get(), static_cast<uint64_t>(pages * plan_->plan.cards->page_bytes[layer]),
              "cache"));
    }
  }
  return absl::OkStatus();
}

// Two pinned buffers: one is filled while the card takes the other.
absl::Status CudaExecutor::LoadWeights(const std::function<void(double)>& progress) {
  const Driver& driver = context_->driver();
  const uint64_t bytes = plan_->plan.cards->weight_bytes;
  NINFER_ASSIGN_OR_RETURN(weights_, DeviceMemory::Allocate(context_.get(), bytes, "weights"));
  PinnedMemory buffers[2];
  void* streams[2] = {};
  absl::Status status;
  for (int i = 0; i < 2; ++i) {
    NINFER_ASSIGN_OR_RETURN(
        buffers[i], PinnedMemory::Allocate(
                        context_.get(), std::min(kBlock, std::max<uint64_t>(bytes, 1)), "weights"));
    status.Update(driver.Check(driver.StreamCreate(&streams[i], 1), "CUDA: a stream"));
  }
  for (uint64_t at = 0, i = 0; at < bytes && status.ok(); at += kBlock, i ^= 1) {
    const uint64_t size = std::min(kBlock, bytes - at);
    if (progress) progress(static_cast<double>(at) / static_cast<double>(bytes));
    status.Update(driver.Check(driver.StreamSynchronize(streams[i]), "weights: to the card"));
    std::memcpy(buffers[i].data(), plan_->card_weights + at, size);
    status.Update(driver.Check(
        driver.MemcpyHtoDAsync(weights_.address() + at, buffers[i].data(), size, streams[i]),
        "weights: to the card"));
  }
  for (void* stream : streams) {
    if (stream == nullptr) continue;
    status.Update(driver.Check(driver.StreamSynchronize(stream), "weights: to the card"));
    driver.StreamDestroy(stream);
  }
  if (progress) progress(1);
  return status;
}

absl::Status CudaExecutor::PlaceArguments() {
  int64_t total = 0;
  const auto place = [&total](int64_t count) {
    const int64_t at = total;
    total += (count + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  };
  for (const std::string& name : entry_->arguments) {
    const int64_t count = layout_->ArgumentLength(name);
    if (count < 0) return InvalidArgument("plan: argument ", name, ": expected a known one");
    argument_places_.push_back(place(count));
  }
  dims_place_ = place(static_cast<int64_t>(plan_->plan.symbols.size()));
  NINFER_ASSIGN_OR_RETURN(
      arguments_, DeviceMemory::Allocate(context_.get(), total * sizeof(int32_t), "arguments"));
  NINFER_ASSIGN_OR_RETURN(
      sent_, PinnedMemory::Allocate(context_.get(), total * sizeof(int32_t), "arguments"));
  std::memset(sent_.data(), 0, sent_.bytes());
  const plan::Buffer& output = plan_->plan.buffers[entry_->output];
  NINFER_ASSIGN_OR_RETURN(received_,
                          PinnedMemory::Allocate(context_.get(), output.bytes, "logits"));
  return absl::OkStatus();
}

uint64_t CudaExecutor::OperandAddress(const plan::Operand& operand) const {
  switch (operand.kind) {
    case plan::OperandKind::kBuffer: {
      const plan::Buffer& buffer = plan_->plan.buffers[operand.index];
      // One replica serves: blocks share the card's memory.
      return arena_.address() + (buffer.replicated ? entry_->arena_bytes : 0) + buffer.offset;
    }
    case plan::OperandKind::kWeight:
      return weights_.address() + plan_->plan.cards->weights[operand.index].offset;
    case plan::OperandKind::kArgument:
      return arguments_.address() + argument_places_[operand.index] * sizeof(int32_t);
    case plan::OperandKind::kKv:
      return pools_[operand.index].address();
  }
  return 0;
}

void CudaExecutor::PlaceLaunches() {
  for (const plan::Launch& from : entry_->launches) {
    Launch launch{{}, &of_kernel_[from.kernel]};
    for (const plan::Operand& operand : from.operands) {
      launch.operands.push_back(OperandAddress(operand));
    }
    launch.operands.push_back(arguments_.address() + dims_place_ * sizeof(int32_t));
    launches_.push_back(std::move(launch));
  }
}

std::vector<int32_t> CudaExecutor::BucketOf(const std::vector<int32_t>& dims) const {
  std::vector<int32_t> bucket(dims);
  for (size_t i = 0; i < dims.size(); ++i) {
    const auto at = std::lower_bound(bounds_[i].begin(), bounds_[i].end(), dims[i]);
    if (at != bounds_[i].end()) bucket[i] = static_cast<int32_t>(*at);
  }
  return bucket;
}

absl::Status CudaExecutor::LaunchAll(const std::vector<int32_t>& dims) {
  const Driver& driver = context_->driver();
  const std::vector<plan::CardFunction>& functions = plan_->plan.cards->functions;
  for (Launch& launch : launches_) {
    const auto takes = [&](int index) { return Takes(functions[index], dims); };
    const int index = *std::find_if(launch.functions->begin(), launch.functions->end(), takes);
    const plan::CardFunction& function = functions[index];
    const int64_t x = Blocks(function.grid[0], dims), y = Blocks(function.grid[1], dims);
    if (x == 0 || y == 0) continue;
    std::vector<void*> arguments;
    for (uint64_t& operand : launch.operands) arguments.push_back(&operand);
    NINFER_RETURN_IF_ERROR(driver.Check(
        driver.LaunchKernel(functions_[index], static_cast<unsigned>(x), static_cast<unsigned>(y),
                            1, function.threads, 1, 1, 0, stream_, arguments.data(), nullptr),
        absl::StrCat(card_.device(), ": ", function.name)));
  }
  return absl::OkStatus();
}

absl::Status CudaExecutor::LaunchGraph(const std::vector<int32_t>& bucket) {
  const Driver& driver = context_->driver();
  void*& executable = graphs_[bucket];
  if (executable == nullptr) {
    constexpr int kRelaxed = 2;  // other threads may use the driver meanwhile
    const std::string what = absl::StrCat(card_.device(), ": recording a step");
    NINFER_RETURN_IF_ERROR(driver.Check(driver.StreamBeginCapture(stream_, kRelaxed), what));
    absl::Status status = LaunchAll(bucket);
    void* graph = nullptr;
    status.Update(driver.Check(driver.StreamEndCapture(stream_, &graph), what));
    if (status.ok()) status = driver.Check(driver.GraphInstantiate(&executable, graph, 0), what);
    if (graph != nullptr) driver.GraphDestroy(graph);
    NINFER_RETURN_IF_ERROR(status);
  }
  return driver.Check(driver.GraphLaunch(executable, stream_),
                      absl::StrCat(card_.device(), ": a step"));
}

// Runs the step and brings the first `bytes` of a buffer back.
absl::Status CudaExecutor::Run(const runtime::StepInput& input, int32_t buffer, uint64_t bytes) {
  NINFER_RETURN_IF_ERROR(checker_->Check(input));
  NINFER_RETURN_IF_ERROR(context_->MakeCurrent());
  auto* sent = reinterpret_cast<int32_t*>(sent_.data());
  layout_->CopyArguments(input, [&](absl::string_view name) -> int32_t* {
    for (size_t i = 0; i < argument_places_.size(); ++i) {
      if (entry_->arguments[i] == name) return sent + argument_places_[i];
    }
    return nullptr;
  });
  std::vector<int32_t> dims;
  for (const plan::Symbol& symbol : plan_->plan.symbols) {
    dims.push_back(static_cast<int32_t>(layout_->Dim(symbol.name, input)));
  }
  std::copy(dims.begin(), dims.end(), sent + dims_place_);
  const Driver& driver = context_->driver();
  const std::string what = absl::StrCat(card_.device(), ": a step");
  NINFER_RETURN_IF_ERROR(driver.Check(
      driver.MemcpyHtoDAsync(arguments_.address(), sent_.data(), sent_.bytes(), stream_), what));
  const bool few = static_cast<int64_t>(input.tokens.size()) <= kRecordedTokens;
  NINFER_RETURN_IF_ERROR(few ? LaunchGraph(BucketOf(dims)) : LaunchAll(dims));
  const uint64_t from = OperandAddress({plan::OperandKind::kBuffer, static_cast<uint32_t>(buffer)});
  NINFER_RETURN_IF_ERROR(
      driver.Check(driver.MemcpyDtoHAsync(received_.data(), from, bytes, stream_), what));
  return driver.Check(driver.StreamSynchronize(stream_), what);
}

absl::Status CudaExecutor::Step(const runtime::StepInput& input, float* logits) {
  const plan::Buffer& output = plan_->plan.buffers[entry_->output];
  const auto rows = static_cast<uint64_t>(metadata().logits_for_wanted_rows ? input.rows.size()
                                                                            : input.tokens.size());
  NINFER_RETURN_IF_ERROR(Run(input, entry_->output, rows * output.ld * sizeof(float)));
  layout_->CopyLogits(input, reinterpret_cast<const float*>(received_.data()), 0,
                      metadata().vocab_size, logits);
  return absl::OkStatus();
}

absl::Status CudaExecutor::StepGreedy(const runtime::StepInput& input, int32_t* ids) {
  if (!layout_->finds_argmax()) return Executor::StepGreedy(input, ids);
  const uint64_t bytes = input.rows.size() * sizeof(int32_t);
  NINFER_RETURN_IF_ERROR(Run(input, entry_->argmax, bytes));
  std::memcpy(ids, received_.data(), bytes);
  return absl::OkStatus();
}

std::string CudaExecutor::description() const {
  const plan::CardImage& image = *ChooseImage(plan_->plan, card_.capability);
  return absl::StrCat("compiled ", image.architecture, image.ptx ? " PTX" : "", ", ",
                      card_.device(), " (", card_.name, ")");
}

double CudaExecutor::MeasureBandwidth(double seconds) {
  using Clock = std::chrono::steady_clock;
  const Driver& driver = context_->driver();
  size_t free = 0, total = 0;
  if (!context_->MakeCurrent().ok() || driver.MemGetInfo(&free, &total) != 0) return 0;
  const uint64_t bytes = std::min<uint64_t>(kProbeBytes, free / 4);
  const auto from = DeviceMemory::Allocate(context_.get(), bytes, "probe");
  const auto to = DeviceMemory::Allocate(context_.get(), bytes, "probe");
  if (bytes == 0 || !from.ok() || !to.ok()) return 0;
  double best = 0;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  do {
    const auto start = Clock::now();
    for (int i = 0; i < kProbeCopies; ++i) {
      if (driver.MemcpyDtoDAsync(to->address(), from->address(), bytes, stream_) != 0) return 0;
    }
    if (driver.StreamSynchronize(stream_) != 0) return 0;
    const std::chrono::duration<double> took = Clock::now() - start;
    best = std::max(best, 2.0 * kProbeCopies * static_cast<double>(bytes) / took.count());
  } while (Clock::now() < end);
  return best;
}

}  // namespace ninfer::cuda
