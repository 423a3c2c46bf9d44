// Plan -> bytes, and plan with its weights -> file. Tested by tests/plan_test.cc.
#ifndef NINFER_PLAN_WRITER_H_
#define NINFER_PLAN_WRITER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "plan/plan.h"

namespace ninfer::plan {

// Everything but the weights' data and their checksums, as ParseSections reads it: how a plan
// travels in memory. plan.content_digest is not read: the writer makes it.
std::string SerializeSections(const Plan& plan);

// Writes a plan file through a temporary one. `weights` has plan.weight_bytes bytes. Checksums are
// computed by `threads` threads (0: one for each CPU).
absl::Status WritePlan(const Plan& plan, const uint8_t* weights, const std::string& path,
                       int threads = 0);

}  // namespace ninfer::plan

#endif  // NINFER_PLAN_WRITER_H_
