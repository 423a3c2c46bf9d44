// Shapes of published models by name, for timing without their weights: see ImportRandomModel.
// Tested by tests/frontend_random_test.cc.
#ifndef NINFER_FRONTEND_PRESETS_H_
#define NINFER_FRONTEND_PRESETS_H_

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ninfer::frontend {

struct Preset {
  absl::string_view name;
  // The text of the model's own config.json, without what does not matter here.
  absl::string_view config_json;
};

absl::Span<const Preset> Presets();
const Preset* FindPreset(absl::string_view name);  // null when there is none

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_PRESETS_H_
