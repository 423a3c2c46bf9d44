// See step_layout.h.
// Tested by tests/runtime_cpu_executor_test.cc.
#include "runtime/step_layout.h"

#include <algorithm>
#include <cstring>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "base/page_table.h"
#include "base/status.h"
#include "runtime/kv_pages.h"
#include "runtime/tensor_dump.h"

namespace ninfer::runtime {
namespace {

constexpr int64_t kMostValues = int64_t{1} << 28;      // of one step argument
constexpr int64_t kMostPages = int64_t{1} << 24;       // a thousand million positions
constexpr int64_t kMostCacheBytes = int64_t{1} << 46;  // of all layers

}  // namespace

absl::StatusOr<const plan::Entry*> FindEntry(const plan::Plan& plan, absl::string_view name) {
  for (const plan::Entry& candidate : plan.entries) {
    if (candidate.name == name) return &candidate;
  }
  return InvalidArgument("plan: expected an entry \"", name, "\", found none");
}

absl::StatusOr<StepLayout> StepLayout::Create(const plan::Plan* plan, const plan::Entry* step,
                                              int64_t total_pages,
                                              const std::vector<int64_t>& page_bytes) {
  StepLayout layout(plan, step);
  NINFER_RETURN_IF_ERROR(layout.ReadLimits(total_pages, page_bytes));
  NINFER_RETURN_IF_ERROR(layout.CheckOutput());
  NINFER_RETURN_IF_ERROR(layout.CheckArgmax());
  return layout;
}

absl::Status StepLayout::ReadLimits(int64_t total_pages, const std::vector<int64_t>& page_bytes) {
  const plan::Plan& plan = *plan_;
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
  if (limits_.has_kv_cache) NINFER_RETURN_IF_ERROR(ReadKvGroups(total_pages, page_bytes));
  if (plan.vision.has_value()) limits_.picture_columns = plan.vision->columns;
  return absl::OkStatus();
}

absl::Status StepLayout::ReadKvGroups(int64_t total_pages, const std::vector<int64_t>& page_bytes) {
  kv_groups_ = plan::KvGroups(*plan_, page_bytes);
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

absl::Status StepLayout::CheckOutput() const {
  const plan::Buffer& output = plan_->buffers[step_->output];
  const int64_t vocab = plan_->metadata.vocab_size;
  const int64_t rows =
      plan_->metadata.logits_for_wanted_rows ? limits_.max_rows : limits_.max_tokens;
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

absl::Status StepLayout::CheckArgmax() const {
  if (!finds_argmax()) return absl::OkStatus();
  if (!plan_->metadata.logits_for_wanted_rows) {
    return InvalidArgument("plan: argmax: expected logits of the wanted rows, found those of all");
  }
  const plan::Buffer& ids = plan_->buffers[step_->argmax];
  const bool one_a_row = ids.type == "i32[R]" && ids.ld == 1 && !ids.replicated;
  if (one_a_row && static_cast<uint64_t>(limits_.max_rows) <= ids.bytes / sizeof(int32_t)) {
    return absl::OkStatus();
  }
  return InvalidArgument("plan: argmax: expected a shared i32[R] of ", limits_.max_rows,
                         " rows, found ", ids.type, " of ", ids.bytes, " bytes, ld ", ids.ld);
}

int StepLayout::GroupOf(absl::string_view page_table) const {
  const absl::optional<int64_t> window = PageTableWindow(page_table);
  for (size_t i = 0; i < kv_groups_.size(); ++i) {
    if (window == kv_groups_[i].window) return static_cast<int>(i);
  }
  return -1;
}

int64_t StepLayout::ArgumentLength(absl::string_view name) const {
  if (name == "tokens" || name == "positions" || name == "rope_len") return limits_.max_tokens;
  if (name == "seq_bounds") return limits_.max_sequences + 1;
  if (name == "cached_lens") return limits_.max_sequences;
  if (GroupOf(name) >= 0) return limits_.max_sequences * limits_.pages_per_sequence;
  if (name == "rows") return limits_.max_rows;
  if (limits_.picture_columns == 0) return -1;
  if (name == "is_picture") return limits_.max_tokens;
  if (name == "pictures") return limits_.max_tokens * RowStride(limits_.picture_columns);
  return -1;
}

void StepLayout::CopyArguments(const StepInput& input,
                               absl::FunctionRef<int32_t*(absl::string_view name)> place) const {
  const auto copy = [&place](absl::string_view name, absl::Span<const int32_t> from) {
    int32_t* to = place(name);
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
  int32_t* is_picture = place("is_picture");
  int32_t* pictures = place("pictures");
  if (is_picture == nullptr || pictures == nullptr) return;
  CopyPictures(input, is_picture, reinterpret_cast<float*>(pictures));
}

// Rows of no picture are zeros, so that what they are multiplied with stays finite.
void StepLayout::CopyPictures(const StepInput& input, int32_t* is_picture, float* rows) const {
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

int64_t StepLayout::Dim(absl::string_view symbol, const StepInput& input) const {
  if (symbol == "T") return static_cast<int64_t>(input.tokens.size());
  if (symbol == "S") return static_cast<int64_t>(input.cached_lens.size());
  if (symbol == "R") return static_cast<int64_t>(input.rows.size());
  if (symbol == "G") return limits_.pages_per_sequence;
  return 0;
}

void StepLayout::CopyLogits(const StepInput& input, const float* output, int64_t begin, int64_t end,
                            float* logits) const {
  const int64_t vocab = plan_->metadata.vocab_size, stride = plan_->buffers[step_->output].ld;
  for (size_t i = 0; i < input.rows.size(); ++i) {
    const int64_t row =
        plan_->metadata.logits_for_wanted_rows ? static_cast<int64_t>(i) : input.rows[i];
    std::memcpy(logits + i * vocab + begin, output + row * stride + begin,
                (end - begin) * sizeof(float));
  }
}

int64_t StepLayout::WeightBytesRead(absl::FunctionRef<int64_t(uint32_t)> bytes_of) const {
  absl::flat_hash_set<uint32_t> whole, one_row;
  for (const plan::Launch& launch : step_->launches) {
    for (const plan::Operand& operand : launch.operands) {
      if (operand.kind != plan::OperandKind::kWeight) continue;
      // Outside linears, a table is gathered from: one row for one token.
      const std::string& family = plan_->kernels[launch.kernel].family;
      const bool table =
          family != "linear" && family != "grouped_linear" && plan_->weights[operand.index].n > 1;
      (table ? one_row : whole).insert(operand.index);
    }
  }
  int64_t bytes = 0;
  for (uint32_t index : whole) {
    const plan::Weight& weight = plan_->weights[index];
    const int64_t all = bytes_of(index);
    bytes += weight.segments_read > 0 ? all / weight.segments * weight.segments_read : all;
  }
  for (uint32_t index : one_row) {
    if (!whole.contains(index)) bytes += bytes_of(index) / plan_->weights[index].n;
  }
  return bytes;
}

int64_t StepLayout::CacheBytesRead(int64_t cached) const {
  int64_t bytes = 0;
  for (const plan::KvGroup& group : kv_groups_) {
    int64_t seen = std::max<int64_t>(cached, 0);
    if (group.window > 0) seen = std::min(seen, group.window - 1);
    bytes += seen * group.page_bytes / limits_.page_positions;
  }
  return bytes;
}

int64_t StepLayout::CacheBytes(int64_t positions) const {
  int64_t bytes = 0;
  for (const plan::KvGroup& group : kv_groups_) {
    bytes += group.Bytes(positions, limits_.page_positions);
  }
  return bytes;
}

}  // namespace ninfer::runtime
