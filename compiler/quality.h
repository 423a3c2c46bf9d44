// What a plan's types cost: how far its predictions are from those of the imported graph in f32, on
// texts, and how far each linear's output is from what it would be without rounding. Measured when
// asked for (`--quality`). Tested by tests/compiler_quality_test.cc.
#ifndef NINFER_COMPILER_QUALITY_H_
#define NINFER_COMPILER_QUALITY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "compiler/compile.h"
#include "compiler/options.h"
#include "compiler/run_text.h"

namespace ninfer::compiler {

// Texts, and where they are from.
struct QualityTexts {
  std::string origin;  // "bundled text", "sampled from the model", a path
  Texts texts;
};

// What a flag asks for: "bundled"; "sampled", `count` texts of up to `length` tokens that the model
// itself draws at temperature 1, by eager in f32; else the path of a text file. Texts are cut where
// they are longer than 256 tokens or the context. A model without a tokenizer has sampled texts
// alone.
struct TextRequest {
  const char* flag;  // for messages
  std::string what;
  int64_t count, length;
  uint64_t seed;
};
absl::StatusOr<QualityTexts> ReadTexts(const TextRequest& request, const Options& options,
                                       const Source& source,
                                       const std::string& serialized_tokenizer,
                                       const Callbacks& callbacks);

// `count` texts that the model draws by itself, from its first id on: of `length` ids, fewer where
// it ends a text.
absl::StatusOr<Texts> SampleTexts(const Options& options, int64_t count, int64_t length,
                                  uint64_t seed, const Callbacks& callbacks);

// The error of every linear whose weight or input precision rounds, each by itself on what it is
// given in the graph without rounding, in the order of the graph. At most 512 tokens of the texts.
absl::StatusOr<std::vector<plan::LinearError>> MeasureLinears(const Source& source,
                                                              const passes::PassOptions& options,
                                                              const Texts& texts, int threads);

// All of it, into the plan's evidence. Does nothing, and says so, where no image fits this CPU.
absl::Status MeasureQuality(const Options& options, const Source& source,
                            const passes::PassOptions& pass_options, const Callbacks& callbacks,
                            Compiled* compiled);

// One line for the whole, then one for each kind of linear (layers taken together).
std::vector<std::string> QualityLines(const plan::Quality& quality);

}  // namespace ninfer::compiler

#endif  // NINFER_COMPILER_QUALITY_H_
