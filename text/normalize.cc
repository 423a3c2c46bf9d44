// Normalizers as Hugging Face tokenizers has them; Unicode's normal forms come from utf8proc.
// Tested by tests/text_components_test.cc.
#include "text/normalize.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/status.h"
#include "text/unicode.h"

namespace ninfer {
namespace {

enum class Form { kNfc, kNfd, kNfkc, kNfkd };

// Text below U+0300 is in NFC as it stands.
bool IsBelowCombining(absl::string_view text) {
  for (const char c : text) {
    if (static_cast<uint8_t>(c) >= 0xCC) return false;
  }
  return true;
}

int CombiningClass(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

// The code points of `text`, decomposed, with each run of combining marks in canonical order.
// utf8proc_map orders a run in time quadratic in its length; the rest of it is used here piecewise.
std::vector<utf8proc_int32_t> Decompose(bool compatibility, absl::string_view text) {
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                                                      (compatibility ? UTF8PROC_COMPAT : 0));
  std::vector<utf8proc_int32_t> points;
  points.reserve(text.size() + text.size() / 4);
  utf8proc_int32_t decomposed[32];  // the longest decomposition has 18
  int boundary = 0;
  for (size_t pos = 0; pos < text.size();) {
    const CodePoint c = DecodeAt(text, pos);
    pos += c.length;
    const utf8proc_ssize_t count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.value),
                                                           decomposed, 32, options, &boundary);
    NINFER_CHECK(count >= 0 && count <= 32) << static_cast<uint32_t>(c.value);
    points.insert(points.end(), decomposed, decomposed + count);
  }
  for (auto run = points.begin(); run != points.end();) {
    if (CombiningClass(*run) == 0) {
      ++run;
      continue;
    }
    const auto end =
        std::find_if(run, points.end(), [](utf8proc_int32_t c) { return CombiningClass(c) == 0; });
    std::stable_sort(run, end, [](utf8proc_int32_t a, utf8proc_int32_t b) {
      return CombiningClass(a) < CombiningClass(b);
    });
    run = end;
  }
  return points;
}

void NormalForm(Form form, std::string* text) {
  if (IsAscii(*text) || (form == Form::kNfc && IsBelowCombining(*text))) return;
  std::vector<utf8proc_int32_t> points =
      Decompose(form == Form::kNfkc || form == Form::kNfkd, *text);
  auto count = static_cast<utf8proc_ssize_t>(points.size());
  if (form == Form::kNfc || form == Form::kNfkc) {
    count = utf8proc_normalize_utf32(
        points.data(), count, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    NINFER_CHECK(count >= 0) << utf8proc_errmsg(count);
  }
  text->clear();
  for (utf8proc_ssize_t i = 0; i < count; ++i) AppendUtf8(points[i], text);
}

// Appends to `out` what `map(c, out)` makes of each character.
template <typename Map>
void MapCharacters(std::string* text, Map map) {
  std::string out;
  out.reserve(text->size());
  for (size_t pos = 0; pos < text->size();) {
    const CodePoint c = DecodeAt(*text, pos);
    map(c.value, &out);
    pos += c.length;
  }
  *text = std::move(out);
}

void Lowercase(std::string* text) {
  MapCharacters(text, [](char32_t c, std::string* out) {
    AppendUtf8(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)), out);
    if (c == 0x130) AppendUtf8(0x307, out);  // the one character whose lower case is two
  });
}

template <typename IsAccent>
void StripAccents(IsAccent is_accent, std::string* text) {
  MapCharacters(text, [is_accent](char32_t c, std::string* out) {
    if (!is_accent(c)) AppendUtf8(c, out);
  });
}

void Nmt(std::string* text) {
  MapCharacters(text, [](char32_t c, std::string* out) {
    if ((c >= 0x1 && c <= 0x8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
        c == 0x9F) {
      return;
    }
    const bool blank = c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                       (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                       c == 0xFEFF || c == 0xFFFD;
    AppendUtf8(blank ? ' ' : c, out);
  });
}

bool IsChinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

void Bert(uint32_t flags, std::string* text) {
  if ((flags & kBertClean) != 0) {
    MapCharacters(text, [](char32_t c, std::string* out) {
      if (c == '\t' || c == '\n' || c == '\r' || IsWhitespace(c)) {
        // NEL is a control character first, and is dropped.
        if (c == '\t' || c == '\n' || c == '\r' || !IsControl(c)) out->push_back(' ');
      } else if (c != 0 && c != 0xFFFD && !IsControl(c)) {
        AppendUtf8(c, out);
      }
    });
  }
  if ((flags & kBertChinese) != 0) {
    MapCharacters(text, [](char32_t c, std::string* out) {
      if (IsChinese(c)) out->push_back(' ');
      AppendUtf8(c, out);
      if (IsChinese(c)) out->push_back(' ');
    });
  }
  if ((flags & kBertStripAccents) != 0) {
    NormalForm(Form::kNfd, text);
    StripAccents(IsNonspacingMark, text);
  }
  if ((flags & kBertLowercase) != 0) Lowercase(text);
}

void Strip(uint32_t sides, std::string* text, bool* at_start) {
  size_t begin = 0;
  size_t end = text->size();
  while ((sides & kStripLeft) != 0 && begin < end) {
    const CodePoint c = DecodeAt(*text, begin);
    if (!IsWhitespace(c.value)) break;
    begin += c.length;
  }
  while ((sides & kStripRight) != 0 && end > begin) {
    const CodePoint c = DecodeBefore(*text, end);
    if (!IsWhitespace(c.value)) break;
    end -= c.length;
  }
  if (begin > 0) *at_start = false;
  *text = text->substr(begin, end - begin);
}

}  // namespace

absl::Status CompileSteps(std::vector<Step> steps, std::vector<CompiledStep>* compiled) {
  if (steps.size() > kMaxSteps) {
    return InvalidArgument("expected at most ", kMaxSteps,
                           " normalizers, pre-tokenizers or decoders, found ", steps.size());
  }
  for (Step& step : steps) {
    CompiledStep next;
    if (step.pattern == PatternKind::kLiteral) next.pattern = Pattern::Literal(step.text);
    if (step.pattern == PatternKind::kRegex) {
      NINFER_ASSIGN_OR_RETURN(next.pattern, Pattern::Regex(step.text));
    }
    if (!step.blob.empty()) {
      NINFER_ASSIGN_OR_RETURN(next.charsmap, CharsMap::Parse(step.blob));
    }
    next.step = std::move(step);
    compiled->push_back(std::move(next));
  }
  return absl::OkStatus();
}

std::string ReplaceAll(const Pattern& pattern, absl::string_view content, absl::string_view text,
                       size_t limit) {
  std::vector<Pattern::Range> ranges;
  pattern.FindAll(text, &ranges);
  size_t size = 0;
  for (const Pattern::Range& range : ranges) {
    size += range.match ? content.size() : range.end - range.begin;
  }
  if (size > limit) return std::string(text);
  std::string out;
  out.reserve(size);
  for (const Pattern::Range& range : ranges) {
    absl::StrAppend(&out,
                    range.match ? content : text.substr(range.begin, range.end - range.begin));
  }
  return out;
}

void Normalize(absl::Span<const CompiledStep> steps, std::string* text, bool* at_start) {
  const size_t limit = NormalizedLimit(text->size());
  for (const CompiledStep& compiled : steps) {
    if (text->size() > limit) return;
    const Step& step = compiled.step;
    switch (static_cast<NormalizerKind>(step.kind)) {
      case NormalizerKind::kNfc:
        NormalForm(Form::kNfc, text);
        break;
      case NormalizerKind::kNfd:
        NormalForm(Form::kNfd, text);
        break;
      case NormalizerKind::kNfkc:
        NormalForm(Form::kNfkc, text);
        break;
      case NormalizerKind::kNfkd:
        NormalForm(Form::kNfkd, text);
        break;
      case NormalizerKind::kLowercase:
        Lowercase(text);
        break;
      case NormalizerKind::kStripAccents:
        StripAccents(IsCombiningMark, text);
        break;
      case NormalizerKind::kNmt:
        Nmt(text);
        break;
      case NormalizerKind::kBert:
        Bert(step.number, text);
        break;
      case NormalizerKind::kByteLevel: {
        std::string letters;
        AppendByteLetters(*text, &letters);
        *text = std::move(letters);
        break;
      }
      case NormalizerKind::kStrip:
        Strip(step.number, text, at_start);
        break;
      case NormalizerKind::kPrepend:
        if (!text->empty() && (step.number == 0 || *at_start) && step.text.size() <= limit) {
          text->insert(0, step.text);
        }
        break;
      case NormalizerKind::kReplace:
        *text = ReplaceAll(*compiled.pattern, step.content, *text, limit);
        break;
      case NormalizerKind::kPrecompiled:
        ApplyPrecompiled(*compiled.charsmap, limit, text);
        break;
      case NormalizerKind::kSentencePiece:
        ApplySentencePiece(compiled.charsmap.get(), compiled.kept, step.number, *at_start, limit,
                           text);
        break;
      case NormalizerKind::kCount:
        break;
    }
  }
}

}  // namespace ninfer
