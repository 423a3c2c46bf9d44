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

// Refuses more than kMaxSteps.
absl::Status CompileSteps(std::vector<Step> steps, std::vector<CompiledStep>* compiled);

// Bytes that steps may make of a text of `size` bytes. Steps that double it over and over would
// fill any memory: one that would go beyond is left out.
inline size_t NormalizedLimit(size_t size) { return 4096 + 64 * size; }

// Runs the steps over `text` (valid UTF-8). `at_start` says whether text begins where the whole
// text begins; it is cleared where a step removes that beginning.
void Normalize(absl::Span<const CompiledStep> steps, std::string* text, bool* at_start);

// Replaces every match of the pattern by `content`, taken literally; gives the text as it is where
// the result would have more than `limit` bytes.
std::string ReplaceAll(const Pattern& pattern, absl::string_view content, absl::string_view text,
                       size_t limit);

}  // namespace ninfer

#endif  // NINFER_TEXT_NORMALIZE_H_
