// See text.h.
// Tested by tests/cuda_shim_test.cc.
#include "cuda/generate/text.h"

#include <cmath>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace ninfer::cuda {

void Text::Add(absl::string_view line) {
  if (!line.empty()) absl::StrAppend(&text_, std::string(indent_, ' '), line);
  text_ += "\n";
}

void Text::Lines(absl::string_view lines) {
  if (absl::EndsWith(lines, "\n")) lines.remove_suffix(1);
  for (absl::string_view line : absl::StrSplit(lines, '\n')) Add(line);
}

std::string FloatLiteral(double value) {
  const float number = static_cast<float>(value);
  if (std::isnan(number)) return "kNaN";
  if (std::isinf(number)) return number < 0 ? "-kInfinity" : "kInfinity";
  std::string text;
  for (int digits = 1; digits <= 9; ++digits) {
    text = absl::StrFormat("%.*g", digits, number);
    if (std::strtof(text.c_str(), nullptr) == number) break;
  }
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text + "f";
}

std::string TypeName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "float";
    case DType::kBF16:
      return "bf16";
    case DType::kF16:
      return "f16";
    case DType::kI8:
      return "signed char";
    default:
      NINFER_CHECK(dtype == DType::kI32) << std::string(DTypeName(dtype));
      return "int";
  }
}

std::string StoredText(DType dtype, const std::string& x) {
  return dtype == DType::kF32 ? x : absl::StrCat("Round<", TypeName(dtype), ">(", x, ")");
}

std::string Identifier(absl::string_view name) {
  std::string identifier(name);
  for (char& c : identifier) {
    if (!absl::ascii_isalnum(c)) c = '_';
  }
  const bool begins = !identifier.empty() && !absl::ascii_isdigit(identifier[0]);
  return begins ? identifier : absl::StrCat("_", identifier);
}

}  // namespace ninfer::cuda
