// A plan as text for people, section by section. Tested by tests/inspect_test.py.
#ifndef NINFER_TOOLS_COMMON_INSPECT_H_
#define NINFER_TOOLS_COMMON_INSPECT_H_

#include <string>
#include <vector>

#include "plan/plan.h"

namespace ninfer::tools {

struct InspectSection {
  const char* name;   // as --section names it
  const char* shows;  // one line
  std::string (*print)(const plan::Plan& plan);
};
// In the order of printing.
const std::vector<InspectSection>& InspectSections();

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_COMMON_INSPECT_H_
