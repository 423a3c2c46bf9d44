// Poison, storage types and layouts, and nothing else: which byte may be read when is decided by
// the interpreter and shows here as poison.
// Tested by tests/program_interpreter_test.cc.
#include "eager/program_memory.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/quantise.h"
#include "base/status.h"

namespace ninfer::eager {
namespace {

constexpr int32_t kPoisonWord = kPoison << 16 | kPoison;

void FillPoison(uint8_t* memory, int64_t bytes) {
  for (int64_t i = 0; i + 2 <= bytes; i += 2) std::memcpy(memory + i, &kPoison, 2);
}

bool IsPoison(const uint8_t* element, int64_t size) {
  return std::memcmp(element, size == 2 ? static_cast<const void*>(&kPoison) : &kPoisonWord,
                     size) == 0;
}

}  // namespace

// --- LayoutStore ---------------------------------------------------------------------------------

int64_t LayoutStore::Offset(KvPart part, int64_t page, int64_t head, int64_t position,
                            int64_t column) const {
  return page * layout_.page_bytes() + (part == KvPart::kKeys
                                            ? layout_.KOffset(head, position, column)
                                            : layout_.VOffset(head, position, column));
}

uint8_t* LayoutStore::Scale(KvPart part, int64_t page, int64_t head, int64_t position) const {
  return memory_ + page * layout_.page_bytes() +
         (part == KvPart::kKeys ? layout_.KScaleOffset(head, position)
                                : layout_.VScaleOffset(head, position));
}

void LayoutStore::Read(KvPart part, int64_t page, int64_t head, int64_t count, float* rows) const {
  const int64_t size = DTypeSize(layout_.dtype);
  for (int64_t position = 0; position < count; ++position) {
    if (layout_.integers()) {  // any byte is an integer: the scale tells what was never written
      const uint8_t* at = Scale(part, page, head, position);
      if (IsPoison(at, sizeof(float))) read_poison_ = true;
      float scale;
      std::memcpy(&scale, at, sizeof(scale));
      for (int64_t column = 0; column < head_dim(); ++column) {
        const int integer = memory_[Offset(part, page, head, position, column)] - kCacheZero;
        *rows++ = static_cast<float>(integer) * scale;
      }
      continue;
    }
    for (int64_t column = 0; column < head_dim(); ++column) {
      const uint8_t* element = memory_ + Offset(part, page, head, position, column);
      if (IsPoison(element, size)) read_poison_ = true;
      ConvertToFloat(layout_.dtype, element, rows++, 1);
    }
  }
}

void LayoutStore::Write(KvPart part, int64_t page, int64_t head, int64_t position,
                        const float* row) {
  if (layout_.integers()) {
    std::vector<int8_t> integers(head_dim());
    const float scale = QuantiseGroup(kCacheScheme, row, head_dim(), integers.data()).scale;
    std::memcpy(Scale(part, page, head, position), &scale, sizeof(scale));
    for (int64_t column = 0; column < head_dim(); ++column) {
      memory_[Offset(part, page, head, position, column)] =
          static_cast<uint8_t>(integers[column] + kCacheZero);
    }
    return;
  }
  for (int64_t column = 0; column < head_dim(); ++column) {
    ConvertFromFloat(row + column, layout_.dtype,
                     memory_ + Offset(part, page, head, position, column), 1);
  }
}

// --- ProgramMemory -------------------------------------------------------------------------------

absl::StatusOr<ProgramMemory> ProgramMemory::Create(const program::Program* program, int threads,
                                                    int64_t kv_pages) {
  ProgramMemory memory;
  memory.program_ = program;
  memory.threads_ = threads;
  memory.kv_pages_ = kv_pages;
  memory.arena_.resize(program->arena_bytes + threads * program->replica_bytes);
  memory.own_.resize(program->buffers.size());
  for (size_t i = 0; i < program->buffers.size(); ++i) {
    const program::Buffer& buffer = program->buffers[i];
    const int64_t end = buffer.replicated ? program->replica_bytes : program->arena_bytes;
    if (buffer.offset < 0) {
      memory.own_[i].resize(buffer.bytes * (buffer.replicated ? threads : 1));
    } else if (buffer.bytes > end || buffer.offset > end - buffer.bytes) {
      return InvalidArgument("buffer %", buffer.name, ": expected an end inside ", end,
                             " bytes, found ", buffer.offset + buffer.bytes);
    }
  }
  for (const program::KvState& state : program->kv) {
    memory.pools_.emplace_back(kv_pages * state.layout.page_bytes());
    FillPoison(memory.pools_.back().data(), static_cast<int64_t>(memory.pools_.back().size()));
  }
  return memory;
}

void ProgramMemory::BeginStep(std::vector<int64_t> dims) {
  dims_ = std::move(dims);
  FillPoison(arena_.data(), static_cast<int64_t>(arena_.size()));
  for (std::vector<uint8_t>& own : own_) FillPoison(own.data(), static_cast<int64_t>(own.size()));
}

uint8_t* ProgramMemory::Address(int index, int thread) const {
  const program::Buffer& buffer = program_->buffers[index];
  const int64_t replica = buffer.replicated ? thread : 0;
  if (buffer.offset < 0) return own_[index].data() + replica * buffer.bytes;
  const int64_t base =
      buffer.replicated ? program_->arena_bytes + replica * program_->replica_bytes : 0;
  return arena_.data() + base + buffer.offset;
}

absl::StatusOr<ProgramMemory::Extent> ProgramMemory::ExtentOf(int index) const {
  const program::Buffer& buffer = program_->buffers[index];
  Extent extent{1, 1, 0};
  for (int i = 0; i < buffer.type.rank(); ++i) {
    const ir::Dim& dim = buffer.type.shape[i];
    if (!dim.is_static() && dims_[dim.symbol] < 0) {
      return InvalidArgument("buffer %", buffer.name, ": ", program_->symbols[dim.symbol].name,
                             " has no value in this step");
    }
    (i == 0 ? extent.rows : extent.columns) *=
        dim.offset + (dim.is_static() ? 0 : dims_[dim.symbol]);
  }
  // A page table's rows lie dense: their width is the step's.
  extent.stride = buffer.ld > 0 ? buffer.ld : extent.columns;
  const int64_t size = DTypeSize(buffer.type.dtype);
  if (extent.columns > extent.stride || extent.rows * extent.stride * size > buffer.bytes) {
    return InvalidArgument("buffer %", buffer.name, ": expected at most ", buffer.bytes,
                           " bytes in rows of ", extent.stride, ", found ", extent.rows,
                           " rows of ", extent.columns);
  }
  return extent;
}

absl::StatusOr<Tensor> ProgramMemory::Read(int index, const ir::Type& type, int thread,
                                           Workspace* workspace) const {
  const program::Buffer& buffer = program_->buffers[index];
  NINFER_ASSIGN_OR_RETURN(const Extent extent, ExtentOf(index));
  std::vector<int64_t> shape;
  for (const ir::Dim& dim : type.shape) {
    shape.push_back(dim.offset + (dim.is_static() ? 0 : dims_[dim.symbol]));
  }
  Tensor tensor = workspace->Make(type.dtype, std::move(shape));
  if (type.dtype != buffer.type.dtype || tensor.elements() != extent.rows * extent.columns) {
    return InvalidArgument("buffer %", buffer.name, ": expected ",
                           ir::TypeToString(type, program_->symbols), ", found ",
                           ir::TypeToString(buffer.type, program_->symbols));
  }
  const int64_t size = DTypeSize(type.dtype);
  for (int64_t row = 0; row < extent.rows; ++row) {
    const uint8_t* from = Address(index, thread) + row * extent.stride * size;
    for (int64_t column = 0; column < extent.columns; ++column) {
      if (!IsPoison(from + column * size, size)) continue;
      return InvalidArgument("buffer %", buffer.name, ": row ", row, ", column ", column,
                             " is read and holds no value");
    }
    if (tensor.ints != nullptr) {
      std::memcpy(tensor.ints->data() + row * extent.columns, from, extent.columns * size);
    } else {
      ConvertToFloat(type.dtype, from, tensor.floats->data() + row * extent.columns,
                     extent.columns);
    }
  }
  return tensor;
}

absl::Status ProgramMemory::Write(int index, const Tensor& tensor, int thread) {
  const program::Buffer& buffer = program_->buffers[index];
  NINFER_ASSIGN_OR_RETURN(const Extent extent, ExtentOf(index));
  if (tensor.dtype != buffer.type.dtype || tensor.elements() != extent.rows * extent.columns) {
    return InvalidArgument("buffer %", buffer.name, ": expected ",
                           ir::TypeToString(buffer.type, program_->symbols), ", found ",
                           tensor.elements(), " elements of ", DTypeName(tensor.dtype));
  }
  const int64_t size = DTypeSize(tensor.dtype);
  for (int64_t row = 0; row < extent.rows; ++row) {
    uint8_t* to = Address(index, thread) + row * extent.stride * size;
    if (tensor.ints != nullptr) {
      std::memcpy(to, tensor.ints->data() + row * extent.columns, extent.columns * size);
    } else {
      ConvertFromFloat(tensor.floats->data() + row * extent.columns, tensor.dtype, to,
                       extent.columns);
    }
    FillPoison(to + extent.columns * size, (extent.stride - extent.columns) * size);
  }
  return absl::OkStatus();
}

bool ProgramMemory::SameReplicas(int index, int thread, int other) const {
  const program::Buffer& buffer = program_->buffers[index];
  const absl::StatusOr<Extent> extent = ExtentOf(index);
  if (!extent.ok()) return false;
  const int64_t size = DTypeSize(buffer.type.dtype);
  for (int64_t row = 0; row < extent->rows; ++row) {
    const int64_t offset = row * extent->stride * size;
    if (std::memcmp(Address(index, thread) + offset, Address(index, other) + offset,
                    extent->columns * size) != 0) {
      return false;
    }
  }
  return true;
}

void ProgramMemory::Poison(int index) {
  const program::Buffer& buffer = program_->buffers[index];
  int64_t bytes = buffer.bytes;
  if (!buffer.kv.has_value()) {
    const absl::StatusOr<Extent> extent = ExtentOf(index);
    if (extent.ok()) bytes = extent->rows * extent->stride * DTypeSize(buffer.type.dtype);
  }
  for (int thread = 0; thread < (buffer.replicated ? threads_ : 1); ++thread) {
    FillPoison(Address(index, thread), bytes);
  }
}

}  // namespace ninfer::eager
