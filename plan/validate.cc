#include "plan/validate.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/file.h"
#include "base/page_table.h"
#include "base/status.h"

namespace ninfer::plan {
namespace {

constexpr int64_t kMaxDim = (int64_t{1} << 31) - 1;
constexpr uint64_t kMaxBytes = uint64_t{1} << 46;
constexpr uint64_t kAlignment = 64;
constexpr uint64_t kPage = 4096;

template <typename T>
absl::Status Within(const std::string& what, T value, T min, T max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return InvalidArgument(what, ": expected ", min, " to ", max, ", found ", value);
}

absl::Status CheckRange(const std::string& what, uint64_t offset, uint64_t bytes, uint64_t size) {
  if (!InBounds(offset, bytes, size)) {
    return InvalidArgument(what, ": expected to end within ", size, " bytes, found ", bytes,
                           " bytes at offset ", offset);
  }
  if (offset % kAlignment != 0) {
    return InvalidArgument(what, ": expected an offset that 64 divides, found ", offset);
  }
  return absl::OkStatus();
}

absl::Status CheckMetadata(const Metadata& metadata, absl::string_view file) {
  const std::string context = absl::StrCat(file, ": section metadata: ");
  NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "vocabulary", metadata.vocab_size, 1, kMaxDim));
  NINFER_RETURN_IF_ERROR(
      Within<int64_t>(context + "context length", metadata.context_length, 1, kMaxDim));
  NINFER_RETURN_IF_ERROR(
      Within<int64_t>(context + "rope crossing", metadata.rope_crossing, 0, kMaxDim));
  NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "most new tokens",
                                         metadata.max_new_tokens.value_or(1), 1, kMaxDim));
  const int32_t last = static_cast<int32_t>(metadata.vocab_size - 1);
  if (metadata.bos_id.has_value()) {
    NINFER_RETURN_IF_ERROR(Within<int32_t>(context + "first id", *metadata.bos_id, 0, last));
  }
  for (int32_t id : metadata.eos_ids) {
    NINFER_RETURN_IF_ERROR(Within<int32_t>(context + "end id", id, 0, last));
  }
  return absl::OkStatus();
}

absl::Status CheckVision(const Vision& vision, const Metadata& metadata, absl::string_view file) {
  const std::string context = absl::StrCat(file, ": section vision: ");
  constexpr int64_t kMost = 1 << 14;
  NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "patch size", vision.patch_size, 1, kMost));
  NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "channels", vision.channels, 3, 3));
  NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "grid", vision.grid, 1, kMost));
  NINFER_RETURN_IF_ERROR(
      Within<int64_t>(context + "scale factor", vision.scale_factor, 1, vision.grid));
  NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "columns", vision.columns, 1, 1 << 24));
  NINFER_RETURN_IF_ERROR(
      Within<int64_t>(context + "image token", vision.image_token_id, 0, metadata.vocab_size - 1));
  const int64_t block = vision.patch_size * vision.scale_factor;
  if (vision.has_processor) {
    NINFER_RETURN_IF_ERROR(
        Within<int64_t>(context + "longest edge", vision.longest_edge, 1, 1 << 20));
    NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "largest frame", vision.max_image_size, 1,
                                           vision.grid * vision.patch_size));
  }
  const bool whole = !vision.has_processor || vision.max_image_size % block == 0;
  if (vision.grid % vision.scale_factor != 0 || !whole) {
    return InvalidArgument(context, "expected whole rows of ", vision.scale_factor, " by ",
                           vision.scale_factor, " patches, found a grid of ", vision.grid,
                           " and frames of ", vision.max_image_size);
  }
  if (vision.image_mean.size() != 3 || vision.image_std.size() != 3) {
    return InvalidArgument(context, "mean and deviation: expected three numbers each, found ",
                           vision.image_mean.size(), " and ", vision.image_std.size());
  }
  if (std::find(vision.image_std.begin(), vision.image_std.end(), 0.0) != vision.image_std.end()) {
    return InvalidArgument(context, "deviation: expected numbers other than 0, found 0");
  }
  return absl::OkStatus();
}

absl::Status CheckTables(const Plan& plan, absl::string_view file) {
  for (const Symbol& symbol : plan.symbols) {
    const std::string context = absl::StrCat(file, ": section symbols: ", symbol.name, ": ");
    NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "max", symbol.max, 0, kMaxDim));
    NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "min", symbol.min, 0, symbol.max));
  }
  for (size_t i = 0; i < plan.kv_layers.size(); ++i) {
    const KvLayer& layer = plan.kv_layers[i];
    const std::string context = absl::StrCat(file, ": section kv geometry: layer ", i, ": ");
    NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "heads", layer.heads, 1, 1 << 20));
    NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "head dim", layer.head_dim, 1, 1 << 20));
    NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "window", layer.window, 0, kMaxDim));
    NINFER_RETURN_IF_ERROR(
        Within<int64_t>(context + "page positions", layer.page_positions, 1, 1 << 20));
    if (layer.page_positions != plan.kv_layers[0].page_positions) {
      return InvalidArgument(context, "page positions: expected ", plan.kv_layers[0].page_positions,
                             " as in layer 0, found ", layer.page_positions);
    }
    NINFER_RETURN_IF_ERROR(
        Within<int64_t>(context + "page bytes", layer.page_bytes, 1, int64_t{1} << 40));
    if (layer.page_bytes % kAlignment != 0) {
      return InvalidArgument(context, "page bytes: expected a number that 64 divides, found ",
                             layer.page_bytes);
    }
  }
  NINFER_RETURN_IF_ERROR(Within<uint64_t>(absl::StrCat(file, ": section weights: weight bytes"),
                                          plan.weight_bytes, 0, kMaxBytes));
  for (const Weight& weight : plan.weights) {
    const std::string context = absl::StrCat(file, ": section weights: ", weight.name);
    NINFER_RETURN_IF_ERROR(CheckRange(context, weight.offset, weight.bytes, CpuWeightBytes(plan)));
    NINFER_RETURN_IF_ERROR(
        Within<int64_t>(context + ": segments", weight.segments, 1, int64_t{1} << 40));
    NINFER_RETURN_IF_ERROR(
        Within<int64_t>(context + ": segments read", weight.segments_read, 0, weight.segments));
  }
  for (const Kernel& kernel : plan.kernels) {
    NINFER_RETURN_IF_ERROR(
        Within<uint64_t>(absl::StrCat(file, ": section kernels: ", kernel.name, ": scratch bytes"),
                         kernel.scratch_bytes, 0, uint64_t{1} << 40));
  }
  return absl::OkStatus();
}

absl::Status CheckLines(const KernelSymbol& symbol, uint64_t most, absl::string_view context) {
  // Where the section of symbols was skipped, sizes are not known.
  const uint64_t size = symbol.size > 0 ? symbol.size : most;
  int64_t last = -1;
  for (const CodeLine& line : symbol.lines) {
    if (line.offset <= last || line.offset >= size || line.line == 0) {
      return InvalidArgument(context, ": expected lines from 1 at rising offsets below ", size,
                             ", found line ", line.line, " at offset ", line.offset);
    }
    last = line.offset;
  }
  return absl::OkStatus();
}

absl::Status CheckImages(const Plan& plan, absl::string_view file) {
  for (const CodeImage& image : plan.images) {
    const std::string context = absl::StrCat(file, ": section code: ", image.target, ": ");
    if (image.bytes.empty() || image.bytes.size() % kPage != 0) {
      return InvalidArgument(context, "bytes: expected a number that 4096 divides, found ",
                             image.bytes.size());
    }
    if (image.executable_bytes % kPage != 0 || image.executable_bytes > image.bytes.size()) {
      return InvalidArgument(context, "executable bytes: expected a number up to ",
                             image.bytes.size(), " that 4096 divides, found ",
                             image.executable_bytes);
    }
    if (image.kernels.size() != plan.kernels.size()) {
      return InvalidArgument(context, "kernels: expected ", plan.kernels.size(), ", found ",
                             image.kernels.size());
    }
    for (size_t i = 0; i < image.kernels.size(); ++i) {
      const KernelSymbol& symbol = image.kernels[i];
      if (symbol.offset >= image.executable_bytes ||
          !InBounds(symbol.offset, symbol.size, image.executable_bytes)) {
        return InvalidArgument(context, "kernel ", plan.kernels[i].name, ": expected within ",
                               image.executable_bytes, " bytes, found ", symbol.size,
                               " bytes at offset ", symbol.offset);
      }
      NINFER_RETURN_IF_ERROR(
          CheckLines(symbol, image.executable_bytes - symbol.offset,
                     absl::StrCat(file, ": section kernel lines: ", plan.kernels[i].name)));
    }
  }
  return absl::OkStatus();
}

uint64_t OperandLimit(const Plan& plan, const Entry& entry, OperandKind kind) {
  switch (kind) {
    case OperandKind::kBuffer:
      return plan.buffers.size();
    case OperandKind::kWeight:
      return plan.weights.size();
    case OperandKind::kArgument:
      return entry.arguments.size();
    case OperandKind::kKv:
      return plan.kv_layers.size();
  }
  return 0;
}

// A launch that reads or writes a layer's cache does it through the page table of the layer's
// window: pages of another would lie outside the pool.
absl::Status CheckPageTables(const Plan& plan, const Entry& entry, const Launch& launch,
                             const std::string& context) {
  for (const Operand& pool : launch.operands) {
    if (pool.kind != OperandKind::kKv) continue;
    const std::string expected = PageTableName(plan.kv_layers[pool.index].window);
    bool found = false;
    for (const Operand& operand : launch.operands) {
      if (operand.kind != OperandKind::kArgument) continue;
      const std::string& name = entry.arguments[operand.index];
      if (name != expected && PageTableWindow(name).has_value()) {
        return InvalidArgument(context, "layer ", pool.index, ": expected ", expected,
                               " as page table, found ", name);
      }
      found |= name == expected;
    }
    if (!found) {
      return InvalidArgument(context, "layer ", pool.index, ": expected ", expected,
                             " as page table, found none");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLaunch(const Plan& plan, const Entry& entry, size_t index,
                         absl::string_view file) {
  const Launch& launch = entry.launches[index];
  const std::string context =
      absl::StrCat(file, ": section entries: ", entry.name, ": launch ", index, ": ");
  if (launch.kernel >= plan.kernels.size()) {
    return InvalidArgument(context, "kernel: expected below ", plan.kernels.size(), ", found ",
                           launch.kernel);
  }
  NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "factor", launch.factor, 0, kMaxDim));
  NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "block", launch.block, 1, kMaxDim));
  NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "symbol", launch.symbol, -1,
                                         static_cast<int64_t>(plan.symbols.size()) - 1));
  for (const Operand& operand : launch.operands) {
    const uint64_t limit = OperandLimit(plan, entry, operand.kind);
    if (operand.index >= limit) {
      return InvalidArgument(context, "operand of kind ", static_cast<int>(operand.kind),
                             ": expected below ", limit, ", found ", operand.index);
    }
  }
  return CheckPageTables(plan, entry, launch, context);
}

absl::Status CheckEntry(const Plan& plan, const Entry& entry, absl::string_view file) {
  const std::string context = absl::StrCat(file, ": section entries: ", entry.name, ": ");
  NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "output", entry.output, 0,
                                         static_cast<int64_t>(plan.buffers.size()) - 1));
  NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "argmax", entry.argmax, -1,
                                         static_cast<int64_t>(plan.buffers.size()) - 1));
  NINFER_RETURN_IF_ERROR(Within<int64_t>(context + "few rows", entry.few_rows, 0, kMaxDim));
  NINFER_RETURN_IF_ERROR(
      Within<uint64_t>(context + "arena bytes", entry.arena_bytes, 0, kMaxBytes));
  NINFER_RETURN_IF_ERROR(
      Within<uint64_t>(context + "replica bytes", entry.replica_bytes, 0, kMaxBytes));
  std::vector<std::string> names = entry.arguments;
  std::sort(names.begin(), names.end());
  if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end()) {
    return InvalidArgument(context, "argument ", *twice, ": expected once, found twice");
  }
  for (size_t i = 0; i < entry.launches.size(); ++i) {
    NINFER_RETURN_IF_ERROR(CheckLaunch(plan, entry, i, file));
  }
  return CheckBuffers(plan, entry, file);
}

// Which buffer each byte holds: intervals by their first byte.
class Holders {
 public:
  void Assign(uint64_t begin, uint64_t end, uint32_t buffer) {
    Split(begin);
    Split(end);
    held_.erase(held_.lower_bound(begin), held_.lower_bound(end));
    if (begin < end) held_[begin] = {end, buffer};
  }
  // The first byte of [begin, end) that does not hold `buffer`, or `end`.
  uint64_t FirstOther(uint64_t begin, uint64_t end, uint32_t buffer) const {
    auto at = held_.upper_bound(begin);
    if (at == held_.begin()) return begin;
    --at;
    while (begin < end) {
      if (at == held_.end() || at->first > begin || at->second.first <= begin ||
          at->second.second != buffer) {
        return begin;
      }
      begin = at->second.first;
      ++at;
    }
    return end;
  }

 private:
  void Split(uint64_t at) {
    auto next = held_.upper_bound(at);
    if (next == held_.begin()) return;
    auto& [begin, held] = *std::prev(next);
    if (begin == at || held.first <= at) return;
    held_[at] = held;
    held.first = at;
  }
  std::map<uint64_t, std::pair<uint64_t, uint32_t>> held_;
};

}  // namespace

absl::Status CheckBuffers(const Plan& plan, const Entry& entry, absl::string_view file) {
  Holders shared, replicas;
  const auto holds = [&](uint32_t index) {
    const Buffer& buffer = plan.buffers[index];
    const uint64_t end = buffer.offset + buffer.bytes;
    return (buffer.replicated ? replicas : shared).FirstOther(buffer.offset, end, index) == end;
  };
  for (size_t i = 0; i < entry.launches.size(); ++i) {
    const int64_t launch = static_cast<int64_t>(i);
    const std::string context =
        absl::StrCat(file, ": section buffers: launch ", i, " of ", entry.name, ": buffer ");
    std::vector<uint32_t> written;
    for (const Operand& operand : entry.launches[i].operands) {
      if (operand.kind != OperandKind::kBuffer) continue;
      const Buffer& buffer = plan.buffers[operand.index];
      NINFER_RETURN_IF_ERROR(
          CheckRange(absl::StrCat(context, buffer.name), buffer.offset, buffer.bytes,
                     buffer.replicated ? entry.replica_bytes : entry.arena_bytes));
      if (launch < buffer.first_launch || launch > buffer.last_launch) {
        return InvalidArgument(context, buffer.name,
                               ": expected a life that holds this launch, found ",
                               buffer.first_launch, " to ", buffer.last_launch);
      }
      if (launch == buffer.first_launch) {
        written.push_back(operand.index);
      } else if (!holds(operand.index)) {
        return InvalidArgument(context, buffer.name,
                               ": expected to be read before it is overwritten, found another "
                               "buffer in its bytes");
      }
    }
    for (uint32_t index : written) {
      const Buffer& buffer = plan.buffers[index];
      (buffer.replicated ? replicas : shared)
          .Assign(buffer.offset, buffer.offset + buffer.bytes, index);
    }
    for (uint32_t index : written) {
      if (!holds(index)) {
        return InvalidArgument(context, plan.buffers[index].name,
                               ": expected bytes of its own, found another result in them");
      }
    }
  }
  for (const int32_t output : {entry.output, entry.argmax}) {
    if (output < 0) continue;
    const Buffer& buffer = plan.buffers[output];
    const std::string context =
        absl::StrCat(file, ": section buffers: ", entry.name, ": output ", buffer.name);
    NINFER_RETURN_IF_ERROR(CheckRange(context, buffer.offset, buffer.bytes,
                                      buffer.replicated ? entry.replica_bytes : entry.arena_bytes));
    if (holds(static_cast<uint32_t>(output))) continue;
    return InvalidArgument(context,
                           ": expected to be whole after the last launch, found it is not");
  }
  return absl::OkStatus();
}

absl::Status Validate(const Plan& plan, absl::string_view file) {
  NINFER_RETURN_IF_ERROR(CheckMetadata(plan.metadata, file));
  if (plan.vision.has_value()) {
    NINFER_RETURN_IF_ERROR(CheckVision(*plan.vision, plan.metadata, file));
  }
  NINFER_RETURN_IF_ERROR(CheckTables(plan, file));
  NINFER_RETURN_IF_ERROR(CheckImages(plan, file));
  for (const Entry& entry : plan.entries) {
    NINFER_RETURN_IF_ERROR(CheckEntry(plan, entry, file));
  }
  return plan.cards.has_value() ? CheckCards(plan, file) : absl::OkStatus();
}

}  // namespace ninfer::plan
