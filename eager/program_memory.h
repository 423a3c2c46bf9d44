// The memory of a program's interpreter: the planned arena, poisoned, and the KV pools, in the
// storage types and layouts that target code uses.
// Tested by tests/program_interpreter_test.cc.
#ifndef NINFER_EAGER_PROGRAM_MEMORY_H_
#define NINFER_EAGER_PROGRAM_MEMORY_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "eager/kv_store.h"
#include "eager/workspace.h"
#include "program/program.h"

namespace ninfer::eager {

// What unwritten memory holds: a NaN as bf16 and, twice over, as f32, that no rounding produces.
inline constexpr uint16_t kPoison = 0x7fde;

// The layout of program::KvLayout.
class LayoutStore : public KvStore {
 public:
  LayoutStore(const program::KvLayout& layout, uint8_t* memory, int64_t pages)
      : KvStore(layout.dtype, layout.heads, layout.head_dim, pages),
        layout_(layout),
        memory_(memory) {}
  void Read(KvPart part, int64_t page, int64_t head, int64_t count, float* rows) const override;
  void Write(KvPart part, int64_t page, int64_t head, int64_t position, const float* row) override;
  bool read_poison() const { return read_poison_; }

 private:
  int64_t Offset(KvPart part, int64_t page, int64_t head, int64_t position, int64_t column) const;
  uint8_t* Scale(KvPart part, int64_t page, int64_t head, int64_t position) const;

  program::KvLayout layout_;
  uint8_t* memory_;
  mutable std::atomic<bool> read_poison_{false};
};

class ProgramMemory {
 public:
  // Buffers without an offset get memory of their own. Fails when a buffer lies outside the arena.
  static absl::StatusOr<ProgramMemory> Create(const program::Program* program, int threads,
                                              int64_t kv_pages);

  // Poisons the arena; KV pools keep what they hold.
  void BeginStep(std::vector<int64_t> dims);

  // A tensor of this type from the buffer's replica for `thread`; an error when any element is
  // poison.
  absl::StatusOr<Tensor> Read(int buffer, const ir::Type& type, int thread,
                              Workspace* workspace) const;
  // Writes the logical columns; padding is poisoned.
  absl::Status Write(int buffer, const Tensor& tensor, int thread);
  // Whether the rows that are in use are the same bytes in two replicas.
  bool SameReplicas(int buffer, int thread, int other) const;
  // Poisons the rows in use in every replica, the whole of a KV pool.
  void Poison(int buffer);

  uint8_t* Address(int buffer, int thread) const;
  uint8_t* Pool(int layer) { return pools_[layer].data(); }
  int64_t kv_pages() const { return kv_pages_; }

 private:
  struct Extent {
    int64_t rows = 0, columns = 0, stride = 0;  // in this step, in elements
  };
  absl::StatusOr<Extent> ExtentOf(int buffer) const;

  const program::Program* program_ = nullptr;
  int threads_ = 1;
  int64_t kv_pages_ = 0;
  std::vector<int64_t> dims_;
  mutable std::vector<uint8_t> arena_;
  mutable std::vector<std::vector<uint8_t>> own_;  // by buffer, for those without an offset
  std::vector<std::vector<uint8_t>> pools_;        // by layer
};

}  // namespace ninfer::eager

#endif  // NINFER_EAGER_PROGRAM_MEMORY_H_
