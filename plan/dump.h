// Every byte of a plan with its name: what `ninfer-inspect --bytes` prints and plan/FORMAT.md's
// worked example shows. Tested by tests/plan_format_test.cc.
#ifndef NINFER_PLAN_DUMP_H_
#define NINFER_PLAN_DUMP_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "plan/container.h"
#include "plan/sections.h"

namespace ninfer::plan {

struct SectionDump {
  SectionRow row;
  std::string name;
  std::vector<Field> fields;  // none for the weights' data and for sections that are not known
};
struct PlanDump {
  Container container;
  std::vector<Field> header;  // of the header and the table
  std::vector<SectionDump> sections;
};
// `bytes` is a plan file (its weights' data may be missing from the end) of `file_size` bytes, or
// sections without weights.
absl::StatusOr<PlanDump> DumpPlan(absl::string_view bytes, uint64_t file_size,
                                  absl::string_view name);

// One line a field: offset, size, type, name, value.
std::string FormatDump(const PlanDump& dump);

}  // namespace ninfer::plan

#endif  // NINFER_PLAN_DUMP_H_
