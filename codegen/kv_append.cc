// The kv_append family: one new position of one sequence, its keys and values written into the page
// that the table names, in the layout of program::KvLayout. And the page table of a scratch cache.
// Tested by tests/codegen_test.cc.
#include "base/status.h"
#include "codegen/row_evaluator.h"
#include "codegen/sequence.h"

namespace ninfer::codegen {
namespace {

// Stores a vector's elements one by one: neighbouring columns do not lie side by side in a page.
void Scatter(Emitter& e, LV value, int lanes, DType dtype, const std::function<LV(int)>& address) {
  LV bits = dtype == DType::kBF16 ? e.ToBf16(value, lanes) : value;
  for (int lane = 0; lane < lanes; ++lane) {
    LV element = lanes == 1 ? bits : e.b().CreateExtractElement(bits, static_cast<uint64_t>(lane));
    e.b().CreateAlignedStore(element, address(lane), llvm::Align(DTypeSize(dtype)));
  }
}

// What a pool that nobody zeroed needs, so that all that attention reads is finite: the partner of an
// odd last column of the row's keys is zeroed, and after a text's last row the values of the positions
// behind it in its page. `base` is the page's address and `slot` the row's position in it.
void ZeroBehind(Emitter& e, LV base, LV slot, LV is_last) {
  llvm::IRBuilder<>& b = e.b();
  const program::KvLayout& kv = e.kernel().kv;
  const int64_t size = DTypeSize(kv.dtype), per_page = program::KvLayout::kPagePositions;
  LV zero = llvm::ConstantInt::get(size == 2 ? b.getInt16Ty() : b.getInt32Ty(), 0);
  const auto store = [&](LV address) {
    b.CreateAlignedStore(zero, address, llvm::Align(size));
  };
  if (kv.head_dim % kv.step() != 0) {
    LV skipped = b.CreateMul(slot, e.I64(kv.step() * size));
    for (int64_t head = 0; head < kv.heads; ++head) {
      store(e.Offset(e.Offset(base, skipped), kv.KOffset(head, 0, kv.head_dim)));
    }
  }
  e.If(is_last, [&] {
    LV behind = b.CreateAdd(slot, e.I64(1));
    e.For(e.I64(0), e.I64(kv.heads), 1, [&](LV head) {
      LV values = e.Offset(e.Offset(base, b.CreateMul(head, e.I64(kv.head_bytes()))), kv.k_bytes());
      e.For(behind, e.I64(per_page), 1, [&](LV position) {
        LV group = b.CreateMul(b.CreateUDiv(position, e.I64(kv.step())),
                               e.I64(kv.v_columns() * kv.step() * size));
        LV lane = b.CreateMul(b.CreateURem(position, e.I64(kv.step())), e.I64(size));
        LV first = e.Offset(e.Offset(values, group), lane);
        e.For(e.I64(0), e.I64(kv.v_columns()), 1, [&](LV column) {
          store(e.Offset(first, b.CreateMul(column, e.I64(kv.step() * size))));
        });
      });
    });
  });
}

}  // namespace

LV FindSequence(Emitter& e, LV bounds, LV row) {
  // Counts the bounds after the first that are at most `row`: few sequences, so a plain scan.
  llvm::IRBuilder<>& b = e.b();
  LV row32 = b.CreateTrunc(row, b.getInt32Ty());
  LV sequences = e.DimValue(ir::Dim::Symbolic(SymbolIndex(e.program(), "S")));
  return e.ForCarry(e.I64(1), sequences, 1, {e.I64(0)}, [&](LV s, const std::vector<LV>& found) {
    LV bound = e.LoadI32(e.Offset(bounds, b.CreateMul(s, e.I64(4))));
    LV passed = b.CreateICmpSLE(bound, row32);
    return std::vector<LV>{b.CreateSelect(passed, s, found[0])};
  })[0];
}

int SymbolIndex(const program::Program& program, absl::string_view name) {
  for (size_t i = 0; i < program.symbols.size(); ++i) {
    if (program.symbols[i].name == name) return static_cast<int>(i);
  }
  NINFER_CHECK(false) << "no symbol " << std::string(name);
  return -1;
}

LV PageOf(Emitter& e, LV table, LV sequence, LV index, int64_t page_bytes) {
  llvm::IRBuilder<>& b = e.b();
  LV width = e.DimValue(ir::Dim::Symbolic(SymbolIndex(e.program(), "G")));
  LV slot = b.CreateAdd(b.CreateMul(sequence, width), index);
  LV page = b.CreateZExt(e.LoadI32(e.Offset(table, b.CreateMul(slot, e.I64(4)))), b.getInt64Ty());
  return b.CreateMul(page, e.I64(page_bytes));
}

absl::Status EmitKvAppend(Emitter& e) {
  llvm::IRBuilder<>& b = e.b();
  const ir::Node* append = e.body().results()[0]->producer();
  NINFER_CHECK(append != nullptr && append->op() == ir::Op::kKvAppend) << e.kernel().name;
  const ir::Value* k = append->operand(1);
  const ir::Value* v = append->operand(2);
  RowEvaluator rows(e);
  NINFER_RETURN_IF_ERROR(rows.Check(k));
  NINFER_RETURN_IF_ERROR(rows.Check(v));
  const program::KvLayout& kv = e.kernel().kv;
  LV pool = e.ParameterAddress(append->operand(0));
  LV positions = e.ParameterAddress(append->operand(3));
  LV bounds = e.ParameterAddress(append->operand(4));
  LV table = e.ParameterAddress(append->operand(5));
  const int64_t per_page = program::KvLayout::kPagePositions;
  const int64_t size = DTypeSize(kv.dtype);
  e.For(e.begin(), e.end(), 1, [&](LV row) {
    LV sequence = FindSequence(e, bounds, row);
    LV position =
        b.CreateZExt(e.LoadI32(e.Offset(positions, b.CreateMul(row, e.I64(4)))), b.getInt64Ty());
    LV page = PageOf(e, table, sequence, b.CreateUDiv(position, e.I64(per_page)), kv.page_bytes());
    LV base = e.Offset(pool, page);
    LV slot = b.CreateURem(position, e.I64(per_page));
    rows.PrepareRow(k, row);
    rows.PrepareRow(v, row);
    // KOffset and VOffset of program::KvLayout, with values for the indices.
    rows.ForEachColumn(k, row, [&](const Place& place, LV column) {
      Scatter(e, rows.Evaluate(k, place, column), place.lanes, kv.dtype, [&](int lane) {
        LV c = b.CreateAdd(column, e.I64(lane));
        LV head = b.CreateUDiv(c, e.I64(kv.head_dim));
        LV within = b.CreateURem(c, e.I64(kv.head_dim));
        LV group = b.CreateUDiv(within, e.I64(kv.step()));
        LV element = b.CreateAdd(b.CreateMul(group, e.I64(per_page)), slot);
        element = b.CreateAdd(b.CreateMul(element, e.I64(kv.step())),
                              b.CreateURem(within, e.I64(kv.step())));
        return e.Offset(base, e.AddMul(b.CreateMul(element, e.I64(size)), head, kv.head_bytes()));
      });
    });
    LV value_group = b.CreateUDiv(slot, e.I64(kv.step()));
    LV value_lane = b.CreateURem(slot, e.I64(kv.step()));
    rows.ForEachColumn(v, row, [&](const Place& place, LV column) {
      Scatter(e, rows.Evaluate(v, place, column), place.lanes, kv.dtype, [&](int lane) {
        LV c = b.CreateAdd(column, e.I64(lane));
        LV head = b.CreateUDiv(c, e.I64(kv.head_dim));
        LV within = b.CreateURem(c, e.I64(kv.head_dim));
        LV element = b.CreateAdd(b.CreateMul(value_group, e.I64(kv.v_columns())), within);
        element = b.CreateAdd(b.CreateMul(element, e.I64(kv.step())), value_lane);
        LV bytes = b.CreateAdd(b.CreateMul(element, e.I64(size)), e.I64(kv.k_bytes()));
        return e.Offset(base, e.AddMul(bytes, head, kv.head_bytes()));
      });
    });
    if (e.ParameterInfo(append->operand(0)).kind != program::OperandKind::kBuffer) return;
    LV next = b.CreateMul(b.CreateAdd(sequence, e.I64(1)), e.I64(4));
    LV end = b.CreateZExt(e.LoadI32(e.Offset(bounds, next)), b.getInt64Ty());
    ZeroBehind(e, base, slot, b.CreateICmpEQ(b.CreateAdd(row, e.I64(1)), end));
  });
  e.Finish();
  return absl::OkStatus();
}

absl::Status EmitPages(Emitter& e) {
  llvm::IRBuilder<>& b = e.b();
  const ir::Node* node = e.body().results()[0]->producer();
  NINFER_CHECK(node != nullptr && node->op() == ir::Op::kScratchPages) << e.kernel().name;
  LV bounds = e.ParameterAddress(node->operand(0));
  LV table = e.OutputAddress(0);
  LV sequences = e.DimValue(ir::Dim::Symbolic(SymbolIndex(e.program(), "S")));
  const ir::Dim width = node->result()->type().shape[1];
  LV columns = e.DimValue(width);
  // The table is a buffer when the width is static, padded to the leading dimension; readers index
  // it by G, so the rows are written with that stride.
  LV last_page = b.CreateSub(columns, e.I64(1));
  e.If(b.CreateICmpSLT(e.begin(), e.end()), [&] {
    e.ForCarry(e.I64(0), sequences, 1, {e.I64(0)}, [&](LV s, const std::vector<LV>& first) {
      LV low = e.LoadI32(e.Offset(bounds, b.CreateMul(s, e.I64(4))));
      LV high = e.LoadI32(e.Offset(bounds, b.CreateMul(b.CreateAdd(s, e.I64(1)), e.I64(4))));
      LV length = b.CreateZExt(b.CreateSub(high, low), b.getInt64Ty());
      const int64_t per_page = program::KvLayout::kPagePositions;
      LV pages = b.CreateUDiv(b.CreateAdd(length, e.I64(per_page - 1)), e.I64(per_page));
      pages =
          b.CreateSelect(b.CreateICmpSLT(pages, columns), pages, b.CreateAdd(last_page, e.I64(1)));
      e.For(e.I64(0), pages, 1, [&](LV i) {
        LV cell = b.CreateAdd(b.CreateMul(s, columns), i);
        LV page = b.CreateTrunc(b.CreateAdd(first[0], i), b.getInt32Ty());
        b.CreateAlignedStore(page, e.Offset(table, b.CreateMul(cell, e.I64(4))), llvm::Align(4));
      });
      return std::vector<LV>{b.CreateAdd(first[0], pages)};
    });
  });
  e.Finish();
  return absl::OkStatus();
}

}  // namespace ninfer::codegen
