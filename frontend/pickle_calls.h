// What a pickle may name and call: PyTorch's storages and tensors, and ordered dictionaries. Each
// function takes the table of values and gives a new one; its errors begin with "expected".
// Tested by tests/torch_file_test.cc, fuzzed by tests/fuzz/torch_file_fuzz.cc.
#ifndef NINFER_FRONTEND_PICKLE_CALLS_H_
#define NINFER_FRONTEND_PICKLE_CALLS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "frontend/pickle.h"

namespace ninfer::frontend {

// A state dictionary needs some thirty values for a tensor.
inline constexpr size_t kMaxPickleValues = size_t{1} << 22;

// "expected X, found Y".
absl::Status Unexpected(absl::string_view expected, absl::string_view found);

// A global of the table; any other is refused by its name.
absl::StatusOr<PickleValue> FindPickleGlobal(absl::string_view module, absl::string_view name);

// ("storage", type, key, device, elements): what PyTorch keeps outside the pickle. Files from
// before zip add a view of another storage, or None.
absl::StatusOr<PickleValue> LoadPickleStorage(const std::vector<PickleValue>& values, uint32_t id);

// The result of a call. A list can be an argument many times over: `copied` counts its elements.
absl::StatusOr<PickleValue> CallPickleGlobal(const std::vector<PickleValue>& values,
                                             uint32_t function, uint32_t arguments, size_t* copied);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_PICKLE_CALLS_H_
