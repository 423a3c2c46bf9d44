// Inside formats/: the functions of each layout of formats.def, over any float dtype or scheme.
#ifndef NINFER_FORMATS_LAYOUTS_H_
#define NINFER_FORMATS_LAYOUTS_H_

#include "formats/formats.h"

namespace ninfer::formats {

void PackPlain(const FormatInfo& info, const PackedShape& shape, int64_t n0, int64_t n1,
               const float* rows, void* packed);
void UnpackPlain(const FormatInfo& info, const PackedShape& shape, int64_t n0, int64_t n1,
                 const void* packed, float* rows);

void PackPanels(const FormatInfo& info, const PackedShape& shape, int64_t segment, int64_t n0,
                int64_t n1, const float* rows, void* packed);
void UnpackPanels(const FormatInfo& info, const PackedShape& shape, int64_t segment, int64_t n0,
                  int64_t n1, const void* packed, float* rows);
void UnpackPanelsTurned(const FormatInfo& info, const PackedShape& shape, int64_t segment,
                        int64_t n0, int64_t n1, const void* packed, int64_t ld, float* out);

void PackQuantised(const FormatInfo& info, const PackedShape& shape, int64_t segment, int64_t n0,
                   int64_t n1, const float* rows, void* packed);
void UnpackQuantised(const FormatInfo& info, const PackedShape& shape, int64_t segment, int64_t n0,
                     int64_t n1, const void* packed, float* rows);
void UnpackQuantisedTurned(const FormatInfo& info, const PackedShape& shape, int64_t segment,
                           int64_t n0, int64_t n1, const void* packed, int64_t ld, float* out);

}  // namespace ninfer::formats

#endif  // NINFER_FORMATS_LAYOUTS_H_
