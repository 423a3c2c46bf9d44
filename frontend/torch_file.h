// PyTorch's files (`pytorch_model.bin`): what torch.save wrote of a state dictionary, as a zip file
// (PyTorch 1.6 and later) or in the older format of pickles and storages one behind the other.
// The pickle is read by frontend/pickle.h, which runs nothing; storages are never copied: a tensor
// points into the file, with strides where it is a view whose elements lie apart.
// Tested by tests/torch_file_test.cc, fuzzed by tests/fuzz/torch_file_fuzz.cc.
#ifndef NINFER_FRONTEND_TORCH_FILE_H_
#define NINFER_FRONTEND_TORCH_FILE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "frontend/stored_tensor.h"

namespace ninfer::frontend {

// Reads a whole file's contents. The tensors point into `contents`, in the dictionary's order.
absl::StatusOr<std::vector<StoredTensor>> ParseTorchFile(absl::string_view file,
                                                         absl::string_view contents);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_TORCH_FILE_H_
