// Tested by tests/plan_test.cc.
#include "plan/plan.h"

namespace ninfer::plan {

Plan::Plan() = default;
Plan::~Plan() = default;
Plan::Plan(const Plan&) = default;
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(const Plan&) = default;
Plan& Plan::operator=(Plan&&) noexcept = default;

}  // namespace ninfer::plan
