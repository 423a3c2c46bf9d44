// What generation takes from a model folder beside the graph: ids that begin, end and pad a text,
// and sampling defaults.
// Tested by tests/frontend_test.cc.
#ifndef NINFER_FRONTEND_GENERATION_H_
#define NINFER_FRONTEND_GENERATION_H_

#include <string>

#include "absl/status/status.h"
#include "frontend/config.h"
#include "frontend/frontend.h"

namespace ninfer::frontend {

// Ids that config.json sets; `info` holds the family's defaults for absent keys. Ids outside the
// vocabulary, which no text can hold, are left out.
void ReadConfigIds(ConfigReader& config, ModelInfo& info);

// generation_config.json, where the folder has one: its ids win, its sampling defaults are taken,
// and the text with which to begin when nobody gives one: "default_prompt", a key of ninfer's own.
absl::Status ReadGenerationConfig(const std::string& folder, ModelInfo& info);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_GENERATION_H_
