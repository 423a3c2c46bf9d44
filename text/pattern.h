// What normalizers, pre-tokenizers and decoders search for: a literal string or a regular
// expression.
//
// tokenizer.json's expressions are written for Oniguruma; they are translated to PCRE2 (UTF and
// UCP, text/regex_syntax.cc). A few well-known expressions have a scanner written by hand
// (text/split_scanner.cc), which gives the same pieces several times faster.
// Tested by tests/text_pattern_test.cc.
#ifndef NINFER_TEXT_PATTERN_H_
#define NINFER_TEXT_PATTERN_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ninfer {

// The end of the piece that starts at `pos`; for expressions that match at every position.
using SplitScanner = size_t (*)(absl::string_view text, size_t pos);

class Pattern {
 public:
  struct Range {
    size_t begin;
    size_t end;
    bool match;
  };

  static std::unique_ptr<Pattern> Literal(absl::string_view text);
  // `use_scanner` false runs PCRE2 also for expressions that have a scanner (to test one by the
  // other).
  static absl::StatusOr<std::unique_ptr<Pattern>> Regex(absl::string_view expression,
                                                        bool use_scanner = true);
  ~Pattern();
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  // Ranges that cover `text` (valid UTF-8) without gaps, matches and what lies between. An
  // expression that exceeds PCRE2's limits on backtracking finds nothing more in that text.
  void FindAll(absl::string_view text, std::vector<Range>* ranges) const;

  // Set where every range is a match, found without searching.
  SplitScanner scanner() const { return scanner_; }

 private:
  Pattern() = default;
  void FindAllRegex(absl::string_view text, std::vector<Range>* ranges) const;

  std::string literal_;
  SplitScanner scanner_ = nullptr;
  void* code_ = nullptr;  // pcre2_code
};

// The expression of GPT-2's pre-tokenizer, which ByteLevel uses.
extern const char kGpt2Split[];
// The expressions of Qwen 2's and Llama 3's pre-tokenizers (cl100k_base's is Llama 3's), and of
// o200k_base's.
extern const char kQwen2Split[];
extern const char kLlama3Split[];
extern const char kO200kSplit[];

// The pieces that the pre-tokenizer UnicodeScripts keeps. In text/unicode_scripts.cc.
std::string UnicodeScriptsPattern();

// The scanner that cuts as `expression` does, or null. In text/split_scanner.cc.
SplitScanner FindSplitScanner(absl::string_view expression);

// Oniguruma's (Ruby) syntax to PCRE2's. In text/regex_syntax.cc.
absl::StatusOr<std::string> TranslateRegex(absl::string_view expression);

}  // namespace ninfer

#endif  // NINFER_TEXT_PATTERN_H_
