// Plan file -> LoadedPlan. Everything is checked before it is believed: sizes before memory is
// taken, checksums before fields are read, indices before they are used. Each error is one line
// that names the file, the section, what was expected and what was found.
//
// A plan is a program: checksums detect damage, not malice. A file that is being read must not be
// cut short by another program (plans are written beside and renamed, so ninfer itself never does).
// Tested by tests/plan_test.cc, tests/plan_corruption_test.cc and tests/fuzz/plan_fuzz.cc.
#ifndef NINFER_PLAN_READER_H_
#define NINFER_PLAN_READER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "plan/plan.h"

namespace ninfer::plan {

enum class WeightsMemory {
  kAuto,  // copy where the mapping got no huge pages and memory allows
  kMap,
  kCopy,
};
absl::StatusOr<WeightsMemory> WeightsMemoryFromName(absl::string_view name);

// Which weights of a plan that has them twice are loaded.
enum class WeightsFor { kCpu, kCards, kAll };

struct ReadOptions {
  bool verify = true;  // the weights' checksums; those of other sections are always verified
  WeightsMemory weights_memory = WeightsMemory::kAuto;
  int threads = 0;  // 0: one for each CPU
  // Asked once the plan is known, of plans for cards; others have weights for CPUs alone. Cards'
  // weights are mapped, whatever weights_memory says. Unset: kAll.
  std::function<WeightsFor(const Plan&)> weights_for;
};

absl::StatusOr<LoadedPlan> ReadPlan(const std::string& path, const ReadOptions& options);

// The sections of a plan without its weights' data, as SerializeSections makes them. `name` begins
// messages.
absl::StatusOr<Plan> ParseSections(absl::string_view bytes, absl::string_view name);

// A plan in memory with weights that `owner` keeps alive.
absl::StatusOr<LoadedPlan> PlanInMemory(absl::string_view sections, absl::string_view name,
                                        const uint8_t* weights, uint64_t weight_bytes,
                                        std::shared_ptr<void> owner);

}  // namespace ninfer::plan

#endif  // NINFER_PLAN_READER_H_
