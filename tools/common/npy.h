// NumPy's .npy files, version 1.0 (numpy/lib/format.py). Tested by tests/run_test.py.
#ifndef NINFER_TOOLS_COMMON_NPY_H_
#define NINFER_TOOLS_COMMON_NPY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace ninfer::tools {

// A matrix of f32, row by row.
absl::Status WriteNpy(const std::string& path, int64_t rows, int64_t columns,
                      const std::vector<float>& values);

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_COMMON_NPY_H_
