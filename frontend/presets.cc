// The rows of presets.def.
// Tested by tests/frontend_random_test.cc.
#include "frontend/presets.h"

namespace ninfer::frontend {
namespace {

constexpr Preset kPresets[] = {
#define PRESET(name, config) {name, config},
#include "frontend/presets.def"
};

}  // namespace

absl::Span<const Preset> Presets() { return kPresets; }

const Preset* FindPreset(absl::string_view name) {
  for (const Preset& preset : kPresets) {
    if (preset.name == name) return &preset;
  }
  return nullptr;
}

}  // namespace ninfer::frontend
