// PCRE2 behind Pattern. Empty matches are treated as the onig crate treats them: accepted, except
// directly behind the match before.
// Tested by tests/text_pattern_test.cc.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pattern.h"

#include <pcre2.h>

#include "base/status.h"
#include "text/unicode.h"

namespace ninfer {
namespace {

constexpr uint32_t kMatchLimit = 50'000'000;  // steps of backtracking in one search

struct MatchState {
  explicit MatchState(const pcre2_code* code)
      : data(pcre2_match_data_create_from_pattern(code, nullptr)),
        context(pcre2_match_context_create(nullptr)) {
    pcre2_set_match_limit(context, kMatchLimit);
  }
  ~MatchState() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
  }
  MatchState(const MatchState&) = delete;
  MatchState& operator=(const MatchState&) = delete;
  pcre2_match_data* data;
  pcre2_match_context* context;
};

int Search(const pcre2_code* code, absl::string_view text, size_t from, MatchState* state) {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  int rc = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, state->data,
                       state->context);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
    rc = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                     state->data, state->context);
  }
  return rc;
}

}  // namespace

std::unique_ptr<Pattern> Pattern::Literal(absl::string_view text) {
  std::unique_ptr<Pattern> pattern(new Pattern);
  pattern->literal_ = std::string(text);
  return pattern;
}

absl::StatusOr<std::unique_ptr<Pattern>> Pattern::Regex(absl::string_view expression,
                                                        bool use_scanner) {
  std::unique_ptr<Pattern> pattern(new Pattern);
  if (use_scanner) pattern->scanner_ = FindSplitScanner(expression);
  if (pattern->scanner_ != nullptr) return pattern;
  NINFER_ASSIGN_OR_RETURN(const std::string translated, TranslateRegex(expression));
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  pcre2_set_max_pattern_length(context, 1 << 16);
  pcre2_set_parens_nest_limit(context, 100);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context);
  pcre2_compile_context_free(context);
  if (code == nullptr) {
    PCRE2_UCHAR message[128];
    pcre2_get_error_message(error, message, sizeof(message));
    return InvalidArgument("regular expression not understood: ",
                           reinterpret_cast<const char*>(message), " near character ", offset);
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where it fails, the interpreter runs
  pattern->code_ = code;
  return pattern;
}

Pattern::~Pattern() { pcre2_code_free(static_cast<pcre2_code*>(code_)); }

void Pattern::FindAll(absl::string_view text, std::vector<Range>* ranges) const {
  ranges->clear();
  if (text.empty()) return;
  if (scanner_ != nullptr) {
    for (size_t pos = 0; pos < text.size();) {
      const size_t end = scanner_(text, pos);
      ranges->push_back({pos, end, true});
      pos = end;
    }
    return;
  }
  if (code_ != nullptr) {
    FindAllRegex(text, ranges);
    return;
  }
  size_t previous = 0;
  while (!literal_.empty()) {
    const size_t found = text.find(literal_, previous);
    if (found == absl::string_view::npos) break;
    if (found > previous) ranges->push_back({previous, found, false});
    previous = found + literal_.size();
    ranges->push_back({found, previous, true});
  }
  if (previous < text.size()) ranges->push_back({previous, text.size(), false});
}

void Pattern::FindAllRegex(absl::string_view text, std::vector<Range>* ranges) const {
  const auto* code = static_cast<const pcre2_code*>(code_);
  MatchState state(code);
  size_t from = 0;
  size_t previous = 0;  // end of the last match
  bool matched = false;
  while (from <= text.size() && Search(code, text, from, &state) > 0) {
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(state.data);
    const size_t begin = span[0];
    const size_t end = span[1];
    // \K in a lookahead can put a match's start behind its end, or before the last one.
    if (end < begin || begin < previous) break;
    if (begin == end && matched && end == previous) {
      from += from < text.size() ? Utf8Length(text[from]) : 1;
      continue;
    }
    if (begin > previous) ranges->push_back({previous, begin, false});
    ranges->push_back({begin, end, true});
    previous = end;
    from = end;
    matched = true;
  }
  if (previous < text.size()) ranges->push_back({previous, text.size(), false});
}

}  // namespace ninfer
