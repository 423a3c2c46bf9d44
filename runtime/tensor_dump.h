// Tensors of a run by name, written as safetensors: what --dump-tensors=REGEX --dump-to=FILE asks
// for. Rows of later steps follow those of earlier ones. Tested by
// tests/runtime_tensor_dump_test.cc.
#ifndef NINFER_RUNTIME_TENSOR_DUMP_H_
#define NINFER_RUNTIME_TENSOR_DUMP_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "base/dtype.h"

namespace ninfer::runtime {

// "bf16[T,9,64]": a dtype, the name of the first dimension (or its number) and the others. Nothing
// when the text is no such type or a later dimension is symbolic.
struct RowType {
  DType dtype = DType::kF32;
  std::string rows;
  std::vector<int64_t> trailing;
  int64_t columns() const;
};
absl::optional<RowType> ParseRowType(absl::string_view type);

class TensorDump {
 public:
  static absl::StatusOr<std::unique_ptr<TensorDump>> Create(const std::string& regex);
  ~TensorDump();

  bool Matches(absl::string_view name) const;
  // Rows of `columns` elements, `stride` elements from one to the next.
  void Append(const std::string& name, const RowType& type, int64_t rows, int64_t stride,
              const void* data);
  absl::Status Write(const std::string& path) const;

 private:
  struct Pattern;
  struct Tensor {
    RowType type;
    int64_t rows = 0;
    std::string bytes;
  };
  explicit TensorDump(std::unique_ptr<Pattern> pattern);
  std::unique_ptr<Pattern> pattern_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_TENSOR_DUMP_H_
