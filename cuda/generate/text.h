// Lines of C++ under construction.
// Tested by tests/cuda_shim_test.cc.
#ifndef NINFER_CUDA_GENERATE_TEXT_H_
#define NINFER_CUDA_GENERATE_TEXT_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/dtype.h"

namespace ninfer::cuda {

class Text {
 public:
  template <typename... Parts>
  void Line(const Parts&... parts) {
    Add(absl::StrCat(parts...));
  }
  // "... {", and the lines until Close indented.
  template <typename... Parts>
  void Open(const Parts&... parts) {
    Add(absl::StrCat(parts..., " {"));
    indent_ += 2;
  }
  void Close() {
    indent_ -= 2;
    Add("}");
  }
  void Blank() { text_ += "\n"; }
  // Several lines, indented as they stand.
  void Lines(absl::string_view lines);
  const std::string& str() const { return text_; }

 private:
  void Add(absl::string_view line);
  std::string text_;
  int indent_ = 0;
};

// The shortest C++ literal of type float that reads back as this number.
std::string FloatLiteral(double value);
// "float", "bf16", "f16", "signed char", "int".
std::string TypeName(DType dtype);
// A float as what a buffer of the type holds: "Round<bf16>(x)", or x itself.
std::string StoredText(DType dtype, const std::string& x);
// Letters, digits and underscores alone.
std::string Identifier(absl::string_view name);

}  // namespace ninfer::cuda

#endif  // NINFER_CUDA_GENERATE_TEXT_H_
