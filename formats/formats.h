// How weights lie in a plan: pack, unpack, sizes and the error bound of each format.
// Tested by tests/formats_test.cc.
#ifndef NINFER_FORMATS_FORMATS_H_
#define NINFER_FORMATS_FORMATS_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "base/dtype.h"
#include "base/quantise.h"

namespace ninfer::formats {

inline constexpr int64_t kPanelColumns = 32;

enum class Format : uint8_t {
#define FORMAT(enumerator, ...) k##enumerator,
#include "formats/formats.def"
};

struct FormatInfo {
  Format format;
  absl::string_view name;
  DType dtype;  // of one stored element; f32 with a scheme
  int64_t k_step;
  bool is_panel;
  const QuantiseScheme* scheme;  // null: floats
  absl::string_view layout;
  // What a kernel's name calls it.
  absl::string_view short_name() const {
    return scheme != nullptr ? scheme->name : DTypeName(dtype);
  }
};
const FormatInfo& InfoOf(Format format);
absl::optional<Format> FormatFromName(absl::string_view name);
// The panel, or plain, format whose elements are `dtype` (a float dtype other than f64).
Format PanelFormat(DType dtype);
Format PlainFormat(DType dtype);
// The panel format of a scheme; none where weights are not stored so.
absl::optional<Format> PanelFormat(const QuantiseScheme& scheme);

// A packed weight of `segments` parts of N rows each: panel p of every part lies beside panel p of
// the others (gate and up of an MLP), [N/32][segment][K..]. Plain formats have one segment.
struct PackedShape {
  int64_t n = 0;
  int64_t k = 0;
  int64_t segments = 1;
};

int64_t PackedBytes(Format format, const PackedShape& shape);
int64_t PanelBytes(Format format, int64_t k);  // of one panel of one segment

// How a panel of integers is made: groups of blocks of 32 along K.
struct BlockLayout {
  int64_t blocks = 0;            // of the panel
  int64_t blocks_per_group = 1;  // fewer in the last group
  int64_t header_bytes = 0;      // scales of 32 columns, and zeros behind them
  int64_t block_bytes = 0;
  int64_t group_bytes() const { return header_bytes + blocks_per_group * block_bytes; }
  int64_t bytes() const {
    return (blocks + blocks_per_group - 1) / blocks_per_group * header_bytes + blocks * block_bytes;
  }
  // Where the header of a block's group begins, and the block itself.
  int64_t HeaderAt(int64_t block) const { return block / blocks_per_group * group_bytes(); }
  int64_t BlockAt(int64_t block) const {
    return HeaderAt(block) + header_bytes + block % blocks_per_group * block_bytes;
  }
};
BlockLayout BlocksOf(Format format, int64_t k);  // of a format with a scheme

// Packs rows [n0, n1) of one segment, given as f32 [n1 - n0, K], into the whole packed weight.
// n0 is a multiple of 32 and n1 is too, or is N: then the padding columns are zeroed. Values that
// the dtype holds exactly come back exactly: unpack(pack(w)) == w. With a scheme every group comes
// back as QuantiseRow gives it, which bounds the error.
void PackRows(Format format, const PackedShape& shape, int64_t segment, int64_t n0, int64_t n1,
              const float* rows, void* packed);
void UnpackRows(Format format, const PackedShape& shape, int64_t segment, int64_t n0, int64_t n1,
                const void* packed, float* rows);
// The same rows of a panel format as columns of a matrix [K, n1 - n0] whose rows are `ld` long:
// that is how panels lie.
void UnpackTurned(Format format, const PackedShape& shape, int64_t segment, int64_t n0, int64_t n1,
                  const void* packed, int64_t ld, float* out);

}  // namespace ninfer::formats

#endif  // NINFER_FORMATS_FORMATS_H_
