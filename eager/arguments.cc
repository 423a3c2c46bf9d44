// What a step may leave out, filled in, and what data can get wrong, found before any op runs.
// Tested by tests/eager_test.cc.
#include "eager/arguments.h"

#include <algorithm>
#include <utility>

#include "base/page_table.h"
#include "base/status.h"
#include "eager/evaluator.h"

namespace ninfer::eager {
namespace {

absl::Status CheckSequenceBounds(const std::vector<int32_t>& bounds, size_t tokens) {
  bool ascending =
      bounds.size() >= 2 && bounds.front() == 0 && bounds.back() == static_cast<int64_t>(tokens);
  for (size_t i = 1; i < bounds.size(); ++i) ascending = ascending && bounds[i - 1] <= bounds[i];
  if (ascending) return absl::OkStatus();
  return InvalidArgument("seq_bounds: expected numbers that ascend from 0 to ", tokens);
}

absl::Status CheckLength(const char* name, const std::vector<int32_t>& values, size_t expected) {
  if (values.size() == expected) return absl::OkStatus();
  return InvalidArgument(name, ": expected ", expected, " numbers, found ", values.size());
}

// Fills in what is absent and checks what is there. A derived page table gives each sequence at
// most `most_pages` of all the `pages`.
absl::Status Complete(StepArguments& a, int64_t pages, int64_t most_pages) {
  const size_t tokens = a.tokens.empty() ? a.patch_ids.size() : a.tokens.size();
  if (tokens == 0) return InvalidArgument("tokens: expected at least one, found none");
  if (a.seq_bounds.empty()) a.seq_bounds = {0, static_cast<int32_t>(tokens)};
  NINFER_RETURN_IF_ERROR(CheckSequenceBounds(a.seq_bounds, tokens));
  const size_t sequences = a.seq_bounds.size() - 1;
  if (!a.positions.empty()) NINFER_RETURN_IF_ERROR(CheckLength("positions", a.positions, tokens));
  if (a.cached_lens.empty()) {
    for (size_t s = 0; s < sequences; ++s) {
      const size_t first = a.seq_bounds[s];
      a.cached_lens.push_back(a.positions.empty() || first == tokens ? 0 : a.positions[first]);
    }
  }
  NINFER_RETURN_IF_ERROR(CheckLength("cached_lens", a.cached_lens, sequences));
  const bool place = a.positions.empty(), stretch = a.rope_len.empty();
  for (size_t s = 0; s < sequences; ++s) {
    const int32_t length = a.seq_bounds[s + 1] - a.seq_bounds[s];
    for (int32_t i = 0; i < length; ++i) {
      if (place) a.positions.push_back(a.cached_lens[s] + i);
      if (stretch) a.rope_len.push_back(a.cached_lens[s] + length);
    }
  }
  for (const int32_t position : a.positions) {
    if (position < 0) return InvalidArgument("positions: expected at least 0, found ", position);
  }
  NINFER_RETURN_IF_ERROR(CheckLength("rope_len", a.rope_len, tokens));
  if (a.is_picture.empty()) a.is_picture.assign(tokens, 0);
  if (a.page_table.empty()) {
    const int64_t each = std::min(pages / static_cast<int64_t>(sequences), most_pages);
    for (int64_t i = 0; i < each * static_cast<int64_t>(sequences); ++i) {
      a.page_table.push_back(static_cast<int32_t>(i));
    }
  }
  if (a.rows.empty()) {
    for (size_t t = 0; t < tokens; ++t) a.rows.push_back(static_cast<int32_t>(t));
  }
  for (const int32_t row : a.rows) {
    if (row < 0 || static_cast<size_t>(row) >= tokens) {
      return InvalidArgument("rows: expected 0 to ", tokens - 1, ", found ", row);
    }
  }
  return absl::OkStatus();
}

// Rows of f32, which are zeros where none are given.
absl::StatusOr<Tensor> RowsOf(const StepArguments& a, const NamedType& named, int64_t tokens) {
  const bool known = named.name == "pictures" || named.name == "pixels";
  const ir::Type& type = named.type;
  if (!known || type.dtype != DType::kF32 || type.rank() != 2 || !type.shape[1].is_static()) {
    return InvalidArgument("%", named.name,
                           ": expected i32, or rows of f32 that a step has, found ",
                           DTypeName(type.dtype));
  }
  std::vector<float> values = named.name == "pixels" ? a.pixels : a.pictures;
  const int64_t columns = type.shape[1].offset;
  if (values.empty()) values.assign(tokens * columns, 0.0f);
  if (static_cast<int64_t>(values.size()) != tokens * columns) {
    return InvalidArgument(named.name, ": expected ", tokens, " rows of ", columns,
                           " numbers, found ", values.size(), " numbers");
  }
  return Tensor::Floats({tokens, columns}, std::move(values));
}

// `windows` counts the window tables found so far.
absl::StatusOr<const std::vector<int32_t>*> Find(const StepArguments& a, absl::string_view name,
                                                 size_t* windows) {
  const absl::optional<int64_t> window = PageTableWindow(name);
  if (window.value_or(0) > 0 && (*windows)++ < a.window_tables.size()) {
    return &a.window_tables[*windows - 1];
  }
  if (window.has_value()) return &a.page_table;
  const std::pair<absl::string_view, const std::vector<int32_t>*> table[] = {
      {"tokens", &a.tokens},           {"positions", &a.positions}, {"seq_bounds", &a.seq_bounds},
      {"cached_lens", &a.cached_lens}, {"rows", &a.rows},           {"rope_len", &a.rope_len},
      {"is_picture", &a.is_picture},   {"patch_ids", &a.patch_ids}, {"visible", &a.visible},
      {"shuffle", &a.shuffle},
  };
  for (const auto& [known, values] : table) {
    if (known == name) return values;
  }
  return InvalidArgument("%", name, ": expected an argument of a step, such as tokens");
}

}  // namespace

absl::StatusOr<Step> ResolveStep(const StepArguments& arguments, absl::Span<const NamedType> names,
                                 absl::Span<const ir::Symbol> symbols, int64_t pages) {
  StepArguments complete = arguments;
  int64_t most_pages = pages;
  for (const NamedType& named : names) {
    if (PageTableWindow(named.name).has_value() && named.type.rank() == 2) {
      most_pages = ir::MaxOf(named.type.shape[1], symbols);
    }
  }
  NINFER_RETURN_IF_ERROR(Complete(complete, pages, most_pages));
  const int64_t sequences = static_cast<int64_t>(complete.seq_bounds.size()) - 1;
  Step step;
  step.dims.assign(symbols.size(), -1);
  size_t windows = 0;
  for (const NamedType& named : names) {
    if (named.type.dtype != DType::kI32) {
      const auto tokens = static_cast<int64_t>(complete.is_picture.size());
      NINFER_ASSIGN_OR_RETURN(Tensor rows, RowsOf(complete, named, tokens));
      NINFER_RETURN_IF_ERROR(
          BindShape(absl::StrCat("%", named.name), named.type, rows.shape, symbols, step.dims));
      step.arguments.push_back(std::move(rows));
      continue;
    }
    NINFER_ASSIGN_OR_RETURN(const std::vector<int32_t>* values,
                            Find(complete, named.name, &windows));
    std::vector<int64_t> shape = {static_cast<int64_t>(values->size())};
    if (named.type.rank() == 2) {
      // Either dimension may be the one that is known.
      const bool by_columns = named.type.shape[1].is_static();
      const int64_t known = by_columns ? named.type.shape[1].offset : sequences;
      if (known < 1 || shape[0] % known != 0) {
        return InvalidArgument(named.name, ": expected a multiple of ", known, " numbers, found ",
                               values->size());
      }
      shape = {known, shape[0] / known};
      if (by_columns) std::swap(shape[0], shape[1]);
    }
    NINFER_RETURN_IF_ERROR(
        BindShape(absl::StrCat("%", named.name), named.type, shape, symbols, step.dims));
    step.arguments.push_back(Tensor::Ints(std::move(shape), *values));
  }
  for (size_t i = 0; i < symbols.size(); ++i) {
    if (step.dims[i] < 0) continue;
    if (step.dims[i] < symbols[i].min || step.dims[i] > symbols[i].max) {
      return InvalidArgument(symbols[i].name, " = ", step.dims[i], ": expected ", symbols[i].min,
                             " to ", symbols[i].max);
    }
  }
  return step;
}

}  // namespace ninfer::eager
