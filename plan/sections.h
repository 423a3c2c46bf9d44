// The sections of a plan file: plan/sections.def as an enum, and each section's bytes.
// plan/FORMAT.md is the same in prose; a test compares the two. Tested by tests/plan_test.cc.
#ifndef NINFER_PLAN_SECTIONS_H_
#define NINFER_PLAN_SECTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "plan/codec.h"
#include "plan/plan.h"

namespace ninfer::plan {

enum class Section : uint32_t {
#define SECTION(enumerator, number, ...) k##enumerator = number,
#include "plan/sections.def"
};

struct SectionInfo {
  Section section;
  absl::string_view name;
  uint16_t version;
  bool must_understand;
};
// Rows of sections.def in order.
const std::vector<SectionInfo>& ListSections();
// Null when no row has this number.
const SectionInfo* FindSection(uint32_t number);

// XXH3 of each `block_bytes` of the weights' data (the last block may be shorter).
struct WeightChecksums {
  uint64_t block_bytes = 0;
  std::vector<uint64_t> checksums;
};

// What the sections before the weights' data hold.
struct Contents {
  Plan plan;
  std::string vision_function;  // Plan::vision's function as sections; empty for none
  WeightChecksums weight_checksums;
};

// The bytes of one section in its newest form; not for kWeightData, whose bytes are the weights
// themselves.
std::string EncodeSection(Section section, const Contents& contents);
// Fills in what the section holds, of this or an older form. `file` begins messages; `trace` may be
// null.
absl::Status DecodeSection(Section section, int version, absl::string_view bytes,
                           absl::string_view file, Contents* contents, std::vector<Field>* trace);

}  // namespace ninfer::plan

#endif  // NINFER_PLAN_SECTIONS_H_
