// See quantised_element.h. Tested by tests/codegen_quantised_test.cc.
#include "codegen/quantised_element.h"

#include "base/quantise.h"

namespace ninfer::codegen {
namespace {

// As i32.
LV LoadByte(Emitter& e, LV address) {
  llvm::IRBuilder<>& b = e.b();
  return b.CreateZExt(b.CreateAlignedLoad(b.getInt8Ty(), address, llvm::Align(1)), b.getInt32Ty());
}

// Of kQuantiseTable, as i32. Without a load: the table is two constants of eight bytes.
LV EntryOfTable(Emitter& e, LV place) {
  llvm::IRBuilder<>& b = e.b();
  uint64_t halves[2] = {0, 0};
  for (int i = 0; i < 16; ++i) {
    halves[i / 8] |= uint64_t{static_cast<uint8_t>(kQuantiseTable[i])} << (i % 8 * 8);
  }
  LV upper = b.CreateICmpUGE(place, b.getInt32(8));
  LV half = b.CreateSelect(upper, b.getInt64(halves[1]), b.getInt64(halves[0]));
  LV shift = b.CreateZExt(b.CreateShl(b.CreateAnd(place, b.getInt32(7)), 3), b.getInt64Ty());
  LV byte = b.CreateTrunc(b.CreateLShr(half, shift), b.getInt8Ty());
  return b.CreateSExt(byte, b.getInt32Ty());
}

}  // namespace

LV LoadQuantisedElement(Emitter& e, const formats::FormatInfo& format, int64_t columns, LV base,
                        LV row, LV column) {
  llvm::IRBuilder<>& b = e.b();
  const QuantiseScheme& scheme = *format.scheme;
  const formats::BlockLayout layout = formats::BlocksOf(format.format, columns);
  LV inside = b.CreateURem(row, e.I64(formats::kPanelColumns));
  LV panel = b.CreateMul(b.CreateUDiv(row, e.I64(formats::kPanelColumns)), e.I64(layout.bytes()));
  LV number = b.CreateUDiv(column, e.I64(kQuantiseBlock));
  LV group = b.CreateUDiv(number, e.I64(layout.blocks_per_group));
  LV header = e.Offset(base, e.AddMul(panel, group, layout.group_bytes()));
  LV block = e.Offset(
      header, e.AddMul(e.I64(layout.header_bytes),
                       b.CreateURem(number, e.I64(layout.blocks_per_group)), layout.block_bytes));
  const int64_t scale_bytes = DTypeSize(scheme.scale);
  LV scale =
      e.LoadFloat(e.Offset(header, b.CreateMul(inside, e.I64(scale_bytes))), scheme.scale, 1);
  LV k = b.CreateURem(column, e.I64(kQuantiseBlock));
  const int64_t per_step = 4 * (8 / scheme.bits);  // elements of a column in one stretch of 4 bytes
  LV byte = e.AddMul(inside, b.CreateUDiv(k, e.I64(per_step)), formats::kPanelColumns);
  byte = b.CreateAdd(b.CreateMul(byte, e.I64(4)), b.CreateAnd(k, e.I64(3)));
  LV stored = LoadByte(e, e.Offset(block, byte));
  if (scheme.bits == 4) {
    LV shift = b.CreateTrunc(b.CreateAnd(k, e.I64(4)), b.getInt32Ty());
    stored = b.CreateAnd(b.CreateLShr(stored, shift), b.getInt32(15));
  }
  LV integer = nullptr;
  if (scheme.grid == QuantiseGrid::kTable) {
    integer = EntryOfTable(e, stored);
  } else if (scheme.grid == QuantiseGrid::kShifted) {
    LV zero = LoadByte(
        e, e.Offset(header, b.CreateAdd(e.I64(formats::kPanelColumns * scale_bytes), inside)));
    integer = b.CreateSub(stored, zero);
  } else {
    integer = b.CreateSub(stored, b.getInt32(scheme.zero_point()));
  }
  return b.CreateFMul(b.CreateSIToFP(integer, b.getFloatTy()), scale);
}

}  // namespace ninfer::codegen
