// Tested by tests/runtime_tensor_dump_test.cc.
#include "runtime/tensor_dump.h"

#include <nlohmann/json.hpp>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"

namespace ninfer::runtime {

int64_t RowType::columns() const {
  int64_t product = 1;
  for (int64_t dim : trailing) product *= dim;
  return product;
}

absl::optional<RowType> ParseRowType(absl::string_view type) {
  const size_t bracket = type.find('[');
  if (bracket == absl::string_view::npos || type.back() != ']') return absl::nullopt;
  const std::optional<DType> dtype = DTypeFromName(type.substr(0, bracket));
  if (!dtype.has_value()) return absl::nullopt;
  RowType result;
  result.dtype = *dtype;
  const absl::string_view inside = type.substr(bracket + 1, type.size() - bracket - 2);
  const std::vector<absl::string_view> dims = absl::StrSplit(inside, ',');
  result.rows = std::string(absl::StripAsciiWhitespace(dims[0]));
  constexpr int64_t kMostColumns = int64_t{1} << 46;
  int64_t columns = 1;
  for (size_t i = 1; i < dims.size(); ++i) {
    int64_t value = 0;
    if (!absl::SimpleAtoi(dims[i], &value) || value < 0) return absl::nullopt;
    if (value > 0 && columns > kMostColumns / value) return absl::nullopt;
    columns *= value;
    result.trailing.push_back(value);
  }
  return result.rows.empty() ? absl::nullopt : absl::make_optional(std::move(result));
}

struct TensorDump::Pattern {
  explicit Pattern(std::string text) : text(std::move(text)) {}
  ~Pattern() { pcre2_code_free(code); }
  std::string text;
  pcre2_code* code = nullptr;
};

TensorDump::TensorDump(std::unique_ptr<Pattern> pattern) : pattern_(std::move(pattern)) {}
TensorDump::~TensorDump() = default;

absl::StatusOr<std::unique_ptr<TensorDump>> TensorDump::Create(const std::string& regex) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto pattern = std::make_unique<Pattern>(regex);
  pattern->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(regex.data()), regex.size(), PCRE2_UTF,
                                &error, &offset, nullptr);
  if (pattern->code == nullptr) {
    PCRE2_UCHAR message[256] = {};
    pcre2_get_error_message(error, message, sizeof(message));
    return InvalidArgument("--dump-tensors: expected a regular expression, found \"", regex,
                           "\": ", reinterpret_cast<const char*>(message), " at ", offset);
  }
  return std::unique_ptr<TensorDump>(new TensorDump(std::move(pattern)));
}

bool TensorDump::Matches(absl::string_view name) const {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  const int count = pcre2_match(pattern_->code, reinterpret_cast<PCRE2_SPTR>(name.data()),
                                name.size(), 0, 0, data, nullptr);
  pcre2_match_data_free(data);
  return count >= 0;
}

void TensorDump::NextStep(bool whole_text) {
  ++step_;
  whole_text_ = whole_text;
}

void TensorDump::Append(const std::string& name, const RowType& type, int64_t rows, int64_t stride,
                        const void* data) {
  Tensor& tensor = tensors_[name];
  if (tensor.shape.empty()) {
    tensor.dtype = type.dtype;
    tensor.shape = {0};
    tensor.shape.insert(tensor.shape.end(), type.trailing.begin(), type.trailing.end());
  }
  NINFER_CHECK(tensor.dtype == type.dtype &&
               std::equal(type.trailing.begin(), type.trailing.end(), tensor.shape.begin() + 1,
                          tensor.shape.end()))
      << name;
  if (whole_text_ && type.rows == "T" && tensor.step != step_) {
    tensor.shape[0] = 0;
    tensor.bytes.clear();
  }
  tensor.step = step_;
  tensor.shape[0] += rows;
  const int64_t size = DTypeSize(type.dtype);
  const char* bytes = static_cast<const char*>(data);
  for (int64_t row = 0; row < rows; ++row) {
    tensor.bytes.append(bytes + row * stride * size, type.columns() * size);
  }
}

void TensorDump::AddStep(const std::string& name, DType dtype, const std::vector<int64_t>& shape,
                         const void* data) {
  int64_t size = DTypeSize(dtype);
  for (int64_t dim : shape) size *= dim;
  step_tensors_[name][step_] = {dtype, shape, std::string(static_cast<const char*>(data), size)};
}

absl::Status TensorDump::Write(const std::string& path) const {
  std::vector<std::pair<std::string, const Tensor*>> tensors;
  for (const auto& [name, tensor] : tensors_) tensors.emplace_back(name, &tensor);
  for (const auto& [name, steps] : step_tensors_) {
    for (const auto& [step, tensor] : steps) {
      tensors.emplace_back(steps.size() == 1 ? name : absl::StrCat(name, "@", step), &tensor);
    }
  }
  if (tensors.empty()) return NoneMatches();
  // Wider elements first, so that each tensor lies where its type wants it.
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    const int64_t wide = DTypeSize(a.second->dtype), other = DTypeSize(b.second->dtype);
    return wide != other ? wide > other : a.first < b.first;
  });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", absl::AsciiStrToUpper(DTypeName(tensor->dtype))},
                    {"shape", tensor->shape},
                    {"data_offsets", {offset, offset + tensor->bytes.size()}}};
    offset += tensor->bytes.size();
  }
  std::string text = header.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  const uint64_t size = text.size();
  NINFER_RETURN_IF_ERROR(file->Append(&size, sizeof(size)));
  NINFER_RETURN_IF_ERROR(file->Append(text.data(), text.size()));
  for (const auto& [name, tensor] : tensors) {
    NINFER_RETURN_IF_ERROR(file->Append(tensor->bytes.data(), tensor->bytes.size()));
  }
  return file->Commit();
}

absl::Status TensorDump::NoneMatches() const {
  return InvalidArgument("--dump-tensors: expected the name of a tensor that is kept, found \"",
                         pattern_->text, "\", which none has");
}

}  // namespace ninfer::runtime
