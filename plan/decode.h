// The sections of a plan whose header and table were checked: padding, presence, checksums, fields,
// and what they say about each other. Used by the reader and the dump. Tested by
// tests/plan_test.cc.
#ifndef NINFER_PLAN_DECODE_H_
#define NINFER_PLAN_DECODE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "plan/container.h"
#include "plan/sections.h"

namespace ninfer::plan {

// Verifies and decodes all sections but the weights' data, which `bytes` need not hold. `fields`
// may be null; else it receives the fields of each row of the table, none for what was passed over.
absl::StatusOr<Contents> DecodeSections(absl::string_view bytes, const Container& container,
                                        absl::string_view name,
                                        std::vector<std::vector<Field>>* fields);

}  // namespace ninfer::plan

#endif  // NINFER_PLAN_DECODE_H_
