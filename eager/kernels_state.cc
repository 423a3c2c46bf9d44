// The KV cache: appending, bounds, keys and values as tensors, the page table of a scratch cache.
// Tested by tests/eager_state_test.cc.
#include <algorithm>
#include <cstring>

#include "base/page_table.h"
#include "base/quantise.h"
#include "base/status.h"
#include "eager/kernels.h"

namespace ninfer::eager {

float* PoolStore::Rows(KvPart part, int64_t page, int64_t head) const {
  const int64_t half = part == KvPart::kKeys ? 0 : 1;
  return pool_->data.data() + ((page * 2 + half) * heads() + head) * kPagePositions * head_dim();
}

void PoolStore::Read(KvPart part, int64_t page, int64_t head, int64_t count, float* rows) const {
  std::memcpy(rows, Rows(part, page, head), count * head_dim() * sizeof(float));
}

void PoolStore::Write(KvPart part, int64_t page, int64_t head, int64_t position, const float* row) {
  float* out = Rows(part, page, head) + position * head_dim();
  if (pool_->dtype == DType::kI8) return QuantiseRow(kCacheScheme, row, head_dim(), out);
  for (int64_t i = 0; i < head_dim(); ++i) {
    if (pool_->dtype == DType::kBF16) {
      out[i] = Bf16ToFloat(FloatToBf16(row[i]));
    } else if (pool_->dtype == DType::kF16) {
      out[i] = F16ToFloat(FloatToF16(row[i]));
    } else {
      out[i] = row[i];
    }
  }
}

absl::Status CheckBounds(const char* what, const Tensor& bounds, int64_t last) {
  const std::vector<int32_t>& values = *bounds.ints;
  bool ascending = !values.empty() && values.front() == 0 && values.back() == last;
  for (size_t i = 1; i < values.size(); ++i) ascending = ascending && values[i - 1] <= values[i];
  if (ascending) return absl::OkStatus();
  return InvalidArgument(what, ": expected numbers that ascend from 0 to ", last);
}

absl::Status CheckPositions(const Tensor& positions) {
  for (const int32_t position : *positions.ints) {
    if (position < 0) return InvalidArgument("position ", position, ": expected at least 0");
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> PageOf(const KvStore& kv, const Tensor& page_table, int64_t sequence,
                               int64_t position) {
  const int64_t per_sequence = page_table.shape[1];
  if (position < 0 || position >= per_sequence * kPagePositions) {
    return InvalidArgument("position ", position, " of sequence ", sequence, ": expected 0 to ",
                           per_sequence * kPagePositions - 1);
  }
  const int64_t page = (*page_table.ints)[sequence * per_sequence + position / kPagePositions];
  if (page < 0 || page >= kv.pages()) {
    return InvalidArgument("page ", page, " of sequence ", sequence, ": expected 0 to ",
                           kv.pages() - 1);
  }
  return page;
}

absl::Status KvAppend(KvStore* kv, const Tensor& k, const Tensor& v, const Tensor& positions,
                      const Tensor& seq_bounds, const Tensor& page_table, bool from_start) {
  NINFER_RETURN_IF_ERROR(CheckBounds("seq_bounds", seq_bounds, k.shape[0]));
  const int64_t dim = kv->head_dim();
  for (int64_t s = 0; s + 1 < seq_bounds.elements(); ++s) {
    for (int64_t t = (*seq_bounds.ints)[s]; t < (*seq_bounds.ints)[s + 1]; ++t) {
      const int64_t position = from_start ? t - (*seq_bounds.ints)[s] : (*positions.ints)[t];
      NINFER_ASSIGN_OR_RETURN(const int64_t page, PageOf(*kv, page_table, s, position));
      for (int64_t g = 0; g < kv->heads(); ++g) {
        const int64_t offset = (t * kv->heads() + g) * dim;
        kv->Write(KvPart::kKeys, page, g, position % kPagePositions, k.floats->data() + offset);
        kv->Write(KvPart::kValues, page, g, position % kPagePositions, v.floats->data() + offset);
      }
    }
  }
  return absl::OkStatus();
}

Tensor KvBounds(const Context& context, const Tensor& cached_lens, const Tensor& seq_bounds) {
  Tensor y = context.workspace->Ints(seq_bounds.shape);
  (*y.ints)[0] = 0;
  for (int64_t s = 0; s + 1 < seq_bounds.elements(); ++s) {
    (*y.ints)[s + 1] =
        (*y.ints)[s] + (*cached_lens.ints)[s] + (*seq_bounds.ints)[s + 1] - (*seq_bounds.ints)[s];
  }
  return y;
}

absl::StatusOr<Tensor> KvRows(const Context& context, KvPart part, const KvStore& kv,
                              const Tensor& key_bounds, const Tensor& page_table) {
  const std::vector<int32_t>& bounds = *key_bounds.ints;
  NINFER_RETURN_IF_ERROR(CheckBounds("key_bounds", key_bounds, bounds.back()));
  const int64_t heads = kv.heads(), dim = kv.head_dim();
  Tensor y = context.workspace->Floats({bounds.back(), heads, dim});
  std::vector<float> rows(kPagePositions * dim);
  for (size_t s = 0; s + 1 < bounds.size(); ++s) {
    const int64_t length = bounds[s + 1] - bounds[s];
    for (int64_t first = 0; first < length; first += kPagePositions) {
      const int64_t count = std::min(kPagePositions, length - first);
      const size_t entry = s * page_table.shape[1] + first / kPagePositions;
      if (entry < page_table.ints->size() && (*page_table.ints)[entry] == kNoPage) {
        std::fill_n(y.floats->begin() + (bounds[s] + first) * heads * dim, count * heads * dim,
                    0.0f);
        continue;
      }
      NINFER_ASSIGN_OR_RETURN(const int64_t page, PageOf(kv, page_table, s, first));
      for (int64_t g = 0; g < heads; ++g) {
        kv.Read(part, page, g, count, rows.data());
        for (int64_t i = 0; i < count; ++i) {
          std::memcpy(y.floats->data() + ((bounds[s] + first + i) * heads + g) * dim,
                      rows.data() + i * dim, dim * sizeof(float));
        }
      }
    }
  }
  return y;
}

absl::StatusOr<Tensor> ScratchPages(const Context& context, const Tensor& seq_bounds,
                                    int64_t pages) {
  const int64_t sequences = seq_bounds.elements() - 1;
  NINFER_RETURN_IF_ERROR(CheckBounds("seq_bounds", seq_bounds, seq_bounds.ints->back()));
  Tensor y = context.workspace->Ints({sequences, pages});
  int64_t next = 0;
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t length = (*seq_bounds.ints)[s + 1] - (*seq_bounds.ints)[s];
    const int64_t used = (length + kPagePositions - 1) / kPagePositions;
    if (used > pages) {
      return InvalidArgument("sequence ", s, " of ", length, " tokens: expected at most ",
                             pages * kPagePositions);
    }
    for (int64_t i = 0; i < pages; ++i) {
      (*y.ints)[s * pages + i] = static_cast<int32_t>(i < used ? next + i : 0);
    }
    next += used;
  }
  return y;
}

}  // namespace ninfer::eager
