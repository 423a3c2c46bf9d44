// The format table at run time, sizes, and the way from a format to its layout's functions.
// Tested by tests/formats_test.cc.
#include "formats/formats.h"

#include <algorithm>
#include <iterator>

#include "base/status.h"
#include "formats/layouts.h"

namespace ninfer::formats {
namespace {

constexpr bool IsPanelName(absl::string_view text) { return text.substr(0, 6) == "panel_"; }

const FormatInfo kRows[] = {
#define FORMAT(enumerator, text, dtype, k_step, scheme, layout)                \
  {Format::k##enumerator,      text,  DType::dtype, k_step, IsPanelName(text), \
   FindQuantiseScheme(scheme), layout},
#include "formats/formats.def"
};

Format FindFormat(DType dtype, bool is_panel) {
  for (const FormatInfo& row : kRows) {
    if (row.dtype == dtype && row.is_panel == is_panel && row.scheme == nullptr) return row.format;
  }
  NINFER_CHECK(false) << "no weight format stores " << std::string(DTypeName(dtype));
  return Format::kPlainF32;
}

void CheckRange(const FormatInfo& info, const PackedShape& shape, int64_t segment, int64_t n0,
                int64_t n1) {
  NINFER_CHECK(0 <= n0 && n0 <= n1 && n1 <= shape.n) << n0 << ".." << n1 << " of " << shape.n;
  NINFER_CHECK(0 <= segment && segment < shape.segments) << segment << " of " << shape.segments;
  if (info.is_panel) {
    NINFER_CHECK(n0 % kPanelColumns == 0) << "row " << n0 << " does not begin a panel";
    NINFER_CHECK(n1 % kPanelColumns == 0 || n1 == shape.n) << "row " << n1 << " cuts a panel";
  } else {
    NINFER_CHECK(shape.segments == 1) << "plain rows have one segment";
  }
}

}  // namespace

const FormatInfo& InfoOf(Format format) {
  const size_t index = static_cast<size_t>(format);
  NINFER_CHECK(index < std::size(kRows)) << "format " << index;
  return kRows[index];
}

absl::optional<Format> FormatFromName(absl::string_view name) {
  for (const FormatInfo& row : kRows) {
    if (row.name == name) return row.format;
  }
  return absl::nullopt;
}

Format PanelFormat(DType dtype) { return FindFormat(dtype, true); }
Format PlainFormat(DType dtype) { return FindFormat(dtype, false); }

absl::optional<Format> PanelFormat(const QuantiseScheme& scheme) {
  for (const FormatInfo& row : kRows) {
    if (row.scheme == &scheme) return row.format;
  }
  return absl::nullopt;
}

BlockLayout BlocksOf(Format format, int64_t k) {
  const FormatInfo& info = InfoOf(format);
  NINFER_CHECK(info.scheme != nullptr) << std::string(info.name);
  const QuantiseScheme& scheme = *info.scheme;
  const int64_t zero_bytes = scheme.grid == QuantiseGrid::kShifted ? 1 : 0;
  BlockLayout layout;
  layout.blocks = (k + kQuantiseBlock - 1) / kQuantiseBlock;
  layout.blocks_per_group =
      std::max<int64_t>(1, scheme.group == 0 ? layout.blocks : scheme.group / kQuantiseBlock);
  layout.header_bytes = kPanelColumns * (DTypeSize(scheme.scale) + zero_bytes);
  layout.block_bytes = kPanelColumns * kQuantiseBlock * scheme.bits / 8;
  return layout;
}

int64_t PanelBytes(Format format, int64_t k) {
  const FormatInfo& info = InfoOf(format);
  if (info.scheme != nullptr) return BlocksOf(format, k).bytes();
  return (k + info.k_step - 1) / info.k_step * info.k_step * kPanelColumns * DTypeSize(info.dtype);
}

int64_t PackedBytes(Format format, const PackedShape& shape) {
  const FormatInfo& info = InfoOf(format);
  if (!info.is_panel) return shape.n * shape.k * DTypeSize(info.dtype);
  const int64_t panels = (shape.n + kPanelColumns - 1) / kPanelColumns;
  return panels * shape.segments * PanelBytes(format, shape.k);
}

void PackRows(Format format, const PackedShape& shape, int64_t segment, int64_t n0, int64_t n1,
              const float* rows, void* packed) {
  const FormatInfo& info = InfoOf(format);
  CheckRange(info, shape, segment, n0, n1);
  if (info.scheme != nullptr) {
    PackQuantised(info, shape, segment, n0, n1, rows, packed);
  } else if (info.is_panel) {
    PackPanels(info, shape, segment, n0, n1, rows, packed);
  } else {
    PackPlain(info, shape, n0, n1, rows, packed);
  }
}

void UnpackRows(Format format, const PackedShape& shape, int64_t segment, int64_t n0, int64_t n1,
                const void* packed, float* rows) {
  const FormatInfo& info = InfoOf(format);
  CheckRange(info, shape, segment, n0, n1);
  if (info.scheme != nullptr) {
    UnpackQuantised(info, shape, segment, n0, n1, packed, rows);
  } else if (info.is_panel) {
    UnpackPanels(info, shape, segment, n0, n1, packed, rows);
  } else {
    UnpackPlain(info, shape, n0, n1, packed, rows);
  }
}

void UnpackTurned(Format format, const PackedShape& shape, int64_t segment, int64_t n0, int64_t n1,
                  const void* packed, int64_t ld, float* out) {
  const FormatInfo& info = InfoOf(format);
  CheckRange(info, shape, segment, n0, n1);
  NINFER_CHECK(info.is_panel) << std::string(info.name);
  if (info.scheme != nullptr) {
    UnpackQuantisedTurned(info, shape, segment, n0, n1, packed, ld, out);
  } else {
    UnpackPanelsTurned(info, shape, segment, n0, n1, packed, ld, out);
  }
}

}  // namespace ninfer::formats
