// Checks what a plan's sections say about each other, after each was read by itself: every index
// names something, every range lies within what holds it, and no product of two fields can
// overflow. The runtime relies on it and checks none of this again. Tested by
// tests/plan_validate_test.cc.
#ifndef NINFER_PLAN_VALIDATE_H_
#define NINFER_PLAN_VALIDATE_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "plan/plan.h"

namespace ninfer::plan {

// `file` begins messages.
absl::Status Validate(const Plan& plan, absl::string_view file);

// Follows which buffer each byte of the arena holds, launch by launch, and refuses a launch that
// reads a buffer whose bytes another has taken since. Part of Validate.
absl::Status CheckBuffers(const Plan& plan, const Entry& entry, absl::string_view file);

// Of a plan that has cards. Part of Validate (plan/validate_cards.cc).
absl::Status CheckCards(const Plan& plan, absl::string_view file);

}  // namespace ninfer::plan

#endif  // NINFER_PLAN_VALIDATE_H_
