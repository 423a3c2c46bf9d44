// The rows of archs.def as data, and the choice of a row by config.json.
// Tested by tests/frontend_test.cc.
#ifndef NINFER_FRONTEND_ARCH_REGISTRY_H_
#define NINFER_FRONTEND_ARCH_REGISTRY_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "frontend/arch/common.h"
#include "frontend/config.h"

namespace ninfer::frontend {

struct ArchRow {
  absl::Status (*build)(ModelBuilder& m);
  absl::string_view model_type;
  absl::string_view architecture;
  std::vector<absl::string_view> ignorable;
};

absl::Span<const ArchRow> ArchRows();

// By "architectures" and "model_type", which must name the same row where both are given; beside a
// model_type, an architecture may be the row's without its head ("GPT2Model") or in other letters
// ("LLaMAForCausalLM"). Null,
// with the error in the reader's status, when there is none.
const ArchRow* ChooseArch(ConfigReader& config);

// Refuses options of other families that this configuration sets and that the family did not read.
void RefuseUnreadOptions(const ArchRow& row, ConfigReader& config);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_ARCH_REGISTRY_H_
