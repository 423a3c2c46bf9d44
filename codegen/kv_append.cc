// The kv_append family: of new positions the keys and values written into the pages that the table
// names, in the layout of program::KvLayout, dealt as attention is. And the page table of a scratch
// cache.
// Tested by tests/codegen_kv_test.cc.
#include "base/status.h"
#include "codegen/integer_rows.h"
#include "codegen/row_evaluator.h"
#include "codegen/sequence.h"
#include "program/scratch.h"

namespace ninfer::codegen {
namespace {

// KV heads [begin, end) of a row.
struct Heads {
  LV row, begin, end;
};

// Computes heads of `value` into the thread's scratch, [heads][head_dim] as the cache holds them:
// neighbouring columns do not lie side by side in a page, and are moved there by plain loops.
void ComputeHeads(Emitter& e, RowEvaluator& rows, const ir::Value* value, const Heads& heads) {
  const program::KvLayout& kv = e.kernel().kv;
  const DType dtype = kv.integers() ? DType::kF32 : kv.dtype;
  const RowEvaluator::Groups groups = {kv.head_dim, heads.begin, heads.end};
  rows.ForGroups(value, heads.row, groups, [&](const Place& place, LV column) {
    LV address = e.Offset(e.scratch(), e.b().CreateMul(column, e.I64(DTypeSize(dtype))));
    e.StoreFloat(rows.Evaluate(WithoutFinalCast(value), place, column), address, dtype,
                 place.lanes);
  });
}

void Copy(Emitter& e, LV from, LV to, int64_t bytes) {
  llvm::IRBuilder<>& b = e.b();
  const llvm::Align align(bytes);
  b.CreateAlignedStore(b.CreateAlignedLoad(b.getIntNTy(8 * bytes), from, llvm::Align(1)), to,
                       align);
}

// Rounds the row of `head` in scratch to bytes, those of zeros behind them, and stores their scale.
// Returns their address.
LV RoundHead(Emitter& e, LV head, LV scale_address) {
  const program::KvLayout& kv = e.kernel().kv;
  LV floats = e.Offset(e.scratch(), program::CacheRowAt(e.kernel()));
  LV integers = e.Offset(floats, kv.v_columns() * 4);
  LV row = e.Offset(e.scratch(), e.b().CreateMul(head, e.I64(kv.head_dim * 4)));
  e.ForColumns(kv.v_columns() - kv.head_dim, 1, [&](LV c, int) {
    LV at = e.b().CreateMul(e.b().CreateAdd(c, e.I64(kv.head_dim)), e.I64(4));
    e.StoreFloat(e.Splat(0, 1), e.Offset(floats, at), DType::kF32, 1);
  });
  e.ForColumns(kv.head_dim, e.lanes(), [&](LV c, int lanes) {
    LV at = e.b().CreateMul(c, e.I64(4));
    LV x = e.LoadFloat(e.Offset(row, at), DType::kF32, lanes);
    e.StoreFloat(x, e.Offset(floats, at), DType::kF32, lanes);
  });
  LV scale = EmitCacheRow(e, floats, kv.v_columns(), integers);
  e.StoreFloat(scale, scale_address, DType::kF32, 1);
  return integers;
}

// Keys: the columns of a group lie side by side, group by group with all positions between.
void ScatterKeys(Emitter& e, LV base, LV slot, const Heads& heads) {
  llvm::IRBuilder<>& b = e.b();
  const program::KvLayout& kv = e.kernel().kv;
  const int64_t size = DTypeSize(kv.dtype), group_bytes = kv.step() * size;
  const int64_t stride = program::KvLayout::kPagePositions * group_bytes;
  LV first = e.Offset(base, b.CreateMul(slot, e.I64(group_bytes)));
  e.For(heads.begin, heads.end, 1, [&](LV head) {
    LV in_page = b.CreateMul(head, e.I64(kv.head_bytes()));
    LV to = e.Offset(first, in_page);
    LV from;
    int64_t whole = kv.head_dim / kv.step();
    if (kv.integers()) {
      LV scale = b.CreateAdd(in_page, e.AddMul(e.I64(kv.KScaleOffset(0, 0)), slot, 4));
      from = RoundHead(e, head, e.Offset(base, scale));
      whole = kv.k_groups();
    } else {
      from = e.Offset(e.scratch(), b.CreateMul(head, e.I64(kv.head_dim * size)));
    }
    e.For(e.I64(0), e.I64(whole), 1, [&](LV group) {
      Copy(e, e.Offset(from, b.CreateMul(group, e.I64(group_bytes))),
           e.Offset(to, b.CreateMul(group, e.I64(stride))), group_bytes);
    });
    if (whole * kv.step() >= kv.head_dim) return;
    Copy(e, e.Offset(from, whole * group_bytes), e.Offset(to, whole * stride), size);
  });
}

// The address of column 0 of head 0's value at a position of the page: the positions of a group lie
// side by side, column by column.
LV FirstValue(Emitter& e, LV page, LV position) {
  llvm::IRBuilder<>& b = e.b();
  const program::KvLayout& kv = e.kernel().kv;
  const int64_t size = DTypeSize(kv.dtype);
  LV group = b.CreateMul(b.CreateUDiv(position, e.I64(kv.step())),
                         e.I64(kv.v_columns() * kv.step() * size));
  LV lane = b.CreateMul(b.CreateURem(position, e.I64(kv.step())), e.I64(size));
  return e.Offset(e.Offset(e.Offset(page, kv.k_bytes()), group), lane);
}

void ScatterValues(Emitter& e, LV base, LV slot, const Heads& heads) {
  llvm::IRBuilder<>& b = e.b();
  const program::KvLayout& kv = e.kernel().kv;
  const int64_t size = DTypeSize(kv.dtype), stride = kv.step() * size;
  LV first = FirstValue(e, base, slot);
  e.For(heads.begin, heads.end, 1, [&](LV head) {
    LV in_page = b.CreateMul(head, e.I64(kv.head_bytes()));
    LV to = e.Offset(first, in_page);
    LV from;
    if (kv.integers()) {
      LV scale = b.CreateAdd(in_page, e.AddMul(e.I64(kv.VScaleOffset(0, 0)), slot, 4));
      from = RoundHead(e, head, e.Offset(base, scale));
    } else {
      from = e.Offset(e.scratch(), b.CreateMul(head, e.I64(kv.head_dim * size)));
    }
    e.For(e.I64(0), e.I64(kv.head_dim), 1, [&](LV column) {
      Copy(e, e.Offset(from, b.CreateMul(column, e.I64(size))),
           e.Offset(to, b.CreateMul(column, e.I64(stride))), size);
    });
  });
}

class KvAppendEmitter {
 public:
  KvAppendEmitter(Emitter& e, const ir::Node& append)
      : e_(e), append_(append), rows_(e), kv_(e.kernel().kv), size_(DTypeSize(kv_.dtype)) {}

  // Part by part of the blocks whose units are among the call's. Loops are functions of their own,
  // so that none needs more registers than there are.
  void Run() {
    llvm::IRBuilder<>& b = e_.b();
    const auto parts_before = [&](LV turn) { return b.CreateMul(turn, e_.I64(kParts)); };
    LV units = e_.I64(kv_.heads * kParts);
    LV turns = b.CreateUDiv(b.CreateAdd(e_.end(), b.CreateSub(units, e_.I64(1))), units);
    e_.For(parts_before(b.CreateUDiv(e_.begin(), units)), parts_before(turns), 1, [&](LV part) {
      e_.Call("part", {part, e_.begin(), e_.end()},
              [this](const std::vector<LV>& p) { Part(p[0], p[1], p[2]); });
    });
    e_.Finish();
  }

 private:
  static constexpr int64_t kPage = program::KvLayout::kPagePositions;
  static constexpr int64_t kParts = program::kAttentionParts;

  // Of a part of a block's rows, counted through all blocks, the heads whose unit is among these.
  void Part(LV index, LV begin_unit, LV end_unit) {
    llvm::IRBuilder<>& b = e_.b();
    const int64_t units = kv_.heads * kParts;
    LV turn = b.CreateUDiv(index, e_.I64(kParts)), part = b.CreateURem(index, e_.I64(kParts));
    LV first_unit = b.CreateMul(turn, e_.I64(units));
    const auto first_head = [&](LV unit) {
      unit = e_.Larger(b.CreateSub(unit, first_unit), e_.I64(0));
      unit = b.CreateAdd(e_.Smaller(unit, e_.I64(units)), e_.I64(kParts - 1));
      return b.CreateUDiv(b.CreateSub(unit, part), e_.I64(kParts));
    };
    LV first = first_head(begin_unit), last = first_head(end_unit);
    const RowBlock block = RowBlockOf(e_, append_.operand(1)->type().shape[0], turn);
    LV begin = PartBegin(e_, block, part);
    LV end = PartBegin(e_, block, b.CreateAdd(part, e_.I64(1)));
    end = b.CreateSelect(b.CreateICmpSLT(first, last), end, begin);
    e_.Call("rows", {begin, end, first, last}, [this](const std::vector<LV>& p) {
      e_.For(p[0], p[1], 1, [&](LV row) { Append({row, p[2], p[3]}); });
    });
  }

  // Keys, values and what lies behind them are functions of their own: none keeps registers from
  // another.
  void Append(const Heads& heads) {
    const auto part = [&](const char* name, void (KvAppendEmitter::*function)(const Heads&)) {
      e_.Call(name, {heads.row, heads.begin, heads.end}, [&](const std::vector<LV>& p) {
        (this->*function)({p[0], p[1], p[2]});
      });
    };
    part("append_keys", &KvAppendEmitter::AppendKeys);
    part("append_values", &KvAppendEmitter::AppendValues);
    const bool zeroes = e_.ParameterInfo(append_.operand(0)).kind == program::OperandKind::kBuffer;
    if (zeroes) part("zero_behind", &KvAppendEmitter::ZeroBehind);
  }

  struct Target {
    LV page, slot, sequence;  // the page's address, the position in it
  };
  Target Find(LV row) {
    llvm::IRBuilder<>& b = e_.b();
    LV sequence = FindSequence(e_, e_.ParameterAddress(append_.operand(4)), row);
    LV position = Position(sequence, row);
    LV index = b.CreateUDiv(position, e_.I64(kPage));
    LV page =
        PageOf(e_, e_.ParameterAddress(append_.operand(5)), sequence, index, kv_.page_bytes());
    return {e_.Offset(e_.ParameterAddress(append_.operand(0)), page),
            b.CreateURem(position, e_.I64(kPage)), sequence};
  }

  LV Position(LV sequence, LV row) {
    llvm::IRBuilder<>& b = e_.b();
    const auto load = [&](int operand, LV at) {
      LV address =
          e_.Offset(e_.ParameterAddress(append_.operand(operand)), b.CreateMul(at, e_.I64(4)));
      return b.CreateZExt(e_.LoadI32(address), b.getInt64Ty());
    };
    if (append_.attr_bool("from_start", false)) return b.CreateSub(row, load(4, sequence));
    return load(3, row);
  }

  void AppendKeys(const Heads& heads) {
    ComputeHeads(e_, rows_, append_.operand(1), heads);
    const Target target = Find(heads.row);
    ScatterKeys(e_, target.page, target.slot, heads);
  }

  void AppendValues(const Heads& heads) {
    ComputeHeads(e_, rows_, append_.operand(2), heads);
    const Target target = Find(heads.row);
    ScatterValues(e_, target.page, target.slot, heads);
  }

  // What a pool that nobody zeroed needs, so that all that attention reads is finite: the partner
  // of an odd last column of the row's keys is zeroed, and after a text's last row the values of
  // the positions behind it in its page.
  void ZeroBehind(const Heads& heads) {
    llvm::IRBuilder<>& b = e_.b();
    const Target target = Find(heads.row);
    if (kv_.integers()) return ZeroScalesBehind(heads, target);
    LV zero = llvm::ConstantInt::get(size_ == 2 ? b.getInt16Ty() : b.getInt32Ty(), 0);
    const auto store = [&](LV address) { b.CreateAlignedStore(zero, address, llvm::Align(size_)); };
    if (kv_.head_dim % kv_.step() != 0) {
      LV skipped = b.CreateMul(target.slot, e_.I64(kv_.step() * size_));
      LV first = e_.Offset(e_.Offset(target.page, skipped), kv_.KOffset(0, 0, kv_.head_dim));
      e_.For(heads.begin, heads.end, 1, [&](LV head) {
        store(e_.Offset(first, b.CreateMul(head, e_.I64(kv_.head_bytes()))));
      });
    }
    ForPositionsBehind(heads.row, target, [&](LV position) {
      LV first = FirstValue(e_, target.page, position);
      e_.For(heads.begin, heads.end, 1, [&](LV head) {
        LV values = e_.Offset(first, b.CreateMul(head, e_.I64(kv_.head_bytes())));
        e_.For(e_.I64(0), e_.I64(kv_.v_columns()), 1, [&](LV column) {
          store(e_.Offset(values, b.CreateMul(column, e_.I64(kv_.step() * size_))));
        });
      });
    });
  }

  // Any byte is finite; a scale need not be.
  void ZeroScalesBehind(const Heads& heads, const Target& target) {
    ForPositionsBehind(heads.row, target, [&](LV position) {
      LV first = e_.Offset(target.page, e_.AddMul(e_.I64(kv_.VScaleOffset(0, 0)), position, 4));
      e_.For(heads.begin, heads.end, 1, [&](LV head) {
        LV scale = e_.Offset(first, e_.b().CreateMul(head, e_.I64(kv_.head_bytes())));
        e_.StoreFloat(e_.Splat(0, 1), scale, DType::kF32, 1);
      });
    });
  }

  // The positions behind the row's in its page, where it is the last of its text.
  void ForPositionsBehind(LV row, const Target& target, const std::function<void(LV)>& body) {
    llvm::IRBuilder<>& b = e_.b();
    LV next = b.CreateMul(b.CreateAdd(target.sequence, e_.I64(1)), e_.I64(4));
    LV end = e_.LoadI32(e_.Offset(e_.ParameterAddress(append_.operand(4)), next));
    LV is_last = b.CreateICmpEQ(b.CreateAdd(row, e_.I64(1)), b.CreateZExt(end, b.getInt64Ty()));
    e_.If(is_last, [&] {
      LV behind = b.CreateAdd(target.slot, e_.I64(1));
      e_.For(behind, e_.I64(kPage), 1, body);
    });
  }

  Emitter& e_;
  const ir::Node& append_;
  RowEvaluator rows_;
  const program::KvLayout& kv_;
  const int64_t size_;
};

}  // namespace

RowBlock RowBlockOf(Emitter& e, const ir::Dim& rows, LV turn) {
  llvm::IRBuilder<>& b = e.b();
  constexpr int64_t kBlock = program::kAttentionTokens;
  LV all = e.DimValue(rows);
  LV blocks = b.CreateUDiv(b.CreateAdd(all, e.I64(kBlock - 1)), e.I64(kBlock));
  // Blocks of a prompt have the more positions to see the later they are: from both ends in turn,
  // so that any range of units has as much to do as another of its length.
  LV half = b.CreateUDiv(turn, e.I64(2));
  LV from_end = b.CreateSub(b.CreateSub(blocks, e.I64(1)), half);
  LV odd = b.CreateICmpNE(b.CreateAnd(turn, e.I64(1)), e.I64(0));
  LV first = b.CreateMul(b.CreateSelect(odd, from_end, half), e.I64(kBlock));
  return {first, e.Smaller(b.CreateSub(all, first), e.I64(kBlock))};
}

LV PartBegin(Emitter& e, const RowBlock& block, LV part) {
  llvm::IRBuilder<>& b = e.b();
  LV rows = b.CreateUDiv(b.CreateMul(block.count, part), e.I64(program::kAttentionParts));
  return b.CreateAdd(block.first, rows);
}

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

void EmitKvAppend(Emitter& e) {
  const ir::Node* append = e.body().results()[0]->producer();
  NINFER_CHECK(append != nullptr && append->op() == ir::Op::kKvAppend) << e.kernel().name;
  KvAppendEmitter(e, *append).Run();
}

void EmitPages(Emitter& e) {
  llvm::IRBuilder<>& b = e.b();
  const ir::Node* node = e.body().results()[0]->producer();
  NINFER_CHECK(node != nullptr && node->op() == ir::Op::kScratchPages) << e.kernel().name;
  LV bounds = e.ParameterAddress(node->operand(0));
  LV table = e.OutputAddress(0);
  LV sequences = e.DimValue(ir::Dim::Symbolic(SymbolIndex(e.program(), "S")));
  LV columns = e.DimValue(node->result()->type().shape[1]);  // G, by which readers index the table
  e.If(b.CreateICmpSLT(e.begin(), e.end()), [&] {
    e.ForCarry(e.I64(0), sequences, 1, {e.I64(0)}, [&](LV s, const std::vector<LV>& first) {
      LV low = e.LoadI32(e.Offset(bounds, b.CreateMul(s, e.I64(4))));
      LV high = e.LoadI32(e.Offset(bounds, b.CreateMul(b.CreateAdd(s, e.I64(1)), e.I64(4))));
      LV length = b.CreateZExt(b.CreateSub(high, low), b.getInt64Ty());
      const int64_t per_page = program::KvLayout::kPagePositions;
      LV pages = b.CreateUDiv(b.CreateAdd(length, e.I64(per_page - 1)), e.I64(per_page));
      pages = e.Smaller(pages, columns);
      e.For(e.I64(0), pages, 1, [&](LV i) {
        LV cell = b.CreateAdd(b.CreateMul(s, columns), i);
        LV page = b.CreateTrunc(b.CreateAdd(first[0], i), b.getInt32Ty());
        b.CreateAlignedStore(page, e.Offset(table, b.CreateMul(cell, e.I64(4))), llvm::Align(4));
      });
      return std::vector<LV>{b.CreateAdd(first[0], pages)};
    });
  });
  e.Finish();
}

}  // namespace ninfer::codegen
