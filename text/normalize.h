// Normalizers: text to text, before it is cut into pieces.
// Tested by tests/text_components_test.cc.
#ifndef NINFER_TEXT_NORMALIZE_H_
#define NINFER_TEXT_NORMALIZE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "text/charsmap.h"
#include "text/pattern.h"
#include "text/spec.h"

namespace ninfer {

// A step with its pattern compiled.
struct CompiledStep {
  Step step;
  std::unique_ptr<Pattern> pattern;
  std::unique_ptr<CharsMap> charsmap;
  const AddedTokenMatcher* kept = nullptr;  // what SentencePiece's normalizer leaves as it is
};

absl::Status CompileSteps(std::vector<Step> steps, std::vector<CompiledStep>* compiled);

// Runs the steps over `text` (valid UTF-8). `at_start` says whether text begins where the whole
// text begins; it is cleared where a step removes that beginning.
void Normalize(absl::Span<const CompiledStep> steps, std::string* text, bool* at_start);

// Replaces every match of the pattern by `content`, taken literally.
std::string ReplaceAll(const Pattern& pattern, absl::string_view content, absl::string_view text);

}  // namespace ninfer

#endif  // NINFER_TEXT_NORMALIZE_H_
