// The 2x2 that the project is about: eager and compiled, without and with a KV cache, on prompts
// that are continued by so many tokens, whatever these are (no end id stops it). Prompt tokens are
// never counted as generated; all four must say the same. Tested by tests/bench_story_test.cc.
#ifndef NINFER_BENCH_STORY_H_
#define NINFER_BENCH_STORY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/engine.h"
#include "bench/machine.h"
#include "bench/peer.h"
#include "bench/progress.h"
#include "bench/report.h"

namespace ninfer::bench {

struct StoryPrompt {
  std::string text;
  int64_t new_tokens = 0;
};

struct StoryOptions {
  ModelChoice model;
  std::string type;  // "f32" or "bf16"
  std::vector<StoryPrompt> prompts;
  int threads = 0;
  int repetitions = 3;
  Peer* peer = nullptr;          // or null
  Progress* progress = nullptr;  // never null; told of RowsOfStory rows
  std::string peer_config;       // the text of a config.json: the peer's shape
};

// What the progress is told of: a row of each of the four for each prompt.
inline int RowsOfStory(const std::vector<StoryPrompt>& prompts) {
  return 4 * static_cast<int>(prompts.size());
}

// One table for each prompt.
absl::StatusOr<std::vector<Table>> TellStory(const StoryOptions& options, const std::string& label,
                                             const runtime::CompilerCallbacks& callbacks,
                                             StateProbe* state);

// "equal", or where the first of `names` that differs from the first one does so.
std::string CompareIds(const std::vector<std::string>& names,
                       const std::vector<std::vector<int32_t>>& ids);

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_STORY_H_
