// The cache of one layer as kernels see it: rows by page, head and position. One class a memory
// layout.
// Tested by tests/eager_state_test.cc.
#ifndef NINFER_EAGER_KV_STORE_H_
#define NINFER_EAGER_KV_STORE_H_

#include <cstdint>

#include "eager/eager.h"

namespace ninfer::eager {

inline constexpr int64_t kPagePositions = 64;

enum class KvPart : uint8_t { kKeys, kValues };

class KvStore {
 public:
  virtual ~KvStore() = default;
  int64_t heads() const { return heads_; }
  int64_t head_dim() const { return head_dim_; }
  int64_t pages() const { return pages_; }
  DType dtype() const { return dtype_; }
  // The first `count` rows of a page, [count, head_dim].
  virtual void Read(KvPart part, int64_t page, int64_t head, int64_t count, float* rows) const = 0;
  // Rounds as the state's dtype holds them.
  virtual void Write(KvPart part, int64_t page, int64_t head, int64_t position,
                     const float* row) = 0;

 protected:
  KvStore(DType dtype, int64_t heads, int64_t head_dim, int64_t pages)
      : dtype_(dtype), heads_(heads), head_dim_(head_dim), pages_(pages) {}

 private:
  DType dtype_;
  int64_t heads_, head_dim_, pages_;
};

// Eager's own layout, see KvPool.
class PoolStore : public KvStore {
 public:
  explicit PoolStore(KvPool* pool)
      : KvStore(pool->dtype, pool->heads, pool->head_dim, pool->pages), pool_(pool) {}
  void Read(KvPart part, int64_t page, int64_t head, int64_t count, float* rows) const override;
  void Write(KvPart part, int64_t page, int64_t head, int64_t position, const float* row) override;

 private:
  float* Rows(KvPart part, int64_t page, int64_t head) const;
  KvPool* pool_;
};

}  // namespace ninfer::eager

#endif  // NINFER_EAGER_KV_STORE_H_
