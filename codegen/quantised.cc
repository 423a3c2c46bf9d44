// The register tile of quantised linears; rows are prepared in quantised_rows.cc.
//
// Integers by integers: one load of a panel gives 4 neighbours of 16 or 8 columns (twice 4 of 4
// bits), as bytes without a sign; the zero point stands in what the sums begin with. A table's
// bytes come from a byte shuffle. Integers by f32: a table of 16 floats is looked up by the low 4
// bits of each lane where the registers hold it, else bytes are widened. Tested by
// tests/codegen_quantised_test.cc.
#include "codegen/quantised.h"

#include "base/status.h"
#include "codegen/quantised_layout.h"
#include "codegen/quantised_ops.h"
#include "llvm/IR/IntrinsicsX86.h"

namespace ninfer::codegen {
namespace {

using quantised::kNeighbours;

constexpr int64_t kBlock = kQuantiseBlock;

// Blocks that need no more registers than their integers, scales and sums: their loads are
// unrolled.
bool IsPlain(const QuantisedProduct& product) {
  const QuantiseScheme& scheme = *product.weights;
  const bool own_scales = scheme.group == kBlock || product.one_sum();
  return scheme.grid == QuantiseGrid::kSymmetric && own_scales && !product.widened() &&
         !product.few_blocks;
}

class TileEmitter {
 public:
  TileEmitter(Emitter& e, const QuantisedTile& tile)
      : e_(e),
        tile_(tile),
        product_(tile.product),
        scheme_(*tile.product.weights),
        lanes_(e.lanes()),
        slots_(tile.b_panels.size()) {}

  std::vector<LV> Run() {
    const std::vector<LV> zero(tile_.a_rows.size() * slots_, e_.Splat(0, lanes_));
    const std::vector<LV> begin = product_.one_sum() ? Begin(tile_.a_rows, e_.I64(0)) : zero;
    std::vector<LV> sums =
        e_.ForCarry(e_.I64(0), e_.I64(tile_.layout.blocks), 1, begin,
                    [&](LV g, const std::vector<LV>& carried) {
                      return tile_.slots_in_turn ? SlotsInTurn(g, carried) : Block(g, carried);
                    });
    if (product_.one_sum()) sums = Scaled(e_.I64(0), tile_.a_rows, sums, zero);
    if (product_.rows == QuantisedRows::kWhole) ScaleRows(sums);
    return sums;
  }

 private:
  bool shifted() const { return scheme_.grid == QuantiseGrid::kShifted; }
  bool table() const { return scheme_.grid == QuantiseGrid::kTable; }

  llvm::Type* WordsType() { return llvm::FixedVectorType::get(e_.b().getInt32Ty(), lanes_); }
  llvm::Type* BytesType() { return llvm::FixedVectorType::get(e_.b().getInt8Ty(), lanes_ * 4); }
  LV Words(LV address) { return e_.b().CreateAlignedLoad(WordsType(), address, llvm::Align(4)); }
  LV Scalar(LV address) {
    return e_.b().CreateAlignedLoad(e_.b().getInt32Ty(), address, llvm::Align(4));
  }
  LV Splat(LV scalar) { return e_.b().CreateVectorSplat(lanes_, scalar); }
  LV And(LV words, uint32_t mask) {
    return e_.b().CreateAnd(words, llvm::ConstantInt::get(words->getType(), mask));
  }

  // Where a block's group begins, and the block, in bytes from the panel's start.
  LV InHeader(LV g) {
    const formats::BlockLayout& layout = tile_.layout;
    if (layout.blocks_per_group >= layout.blocks) return e_.I64(0);
    LV group =
        layout.blocks_per_group == 1 ? g : e_.b().CreateUDiv(g, e_.I64(layout.blocks_per_group));
    return e_.b().CreateMul(group, e_.I64(layout.group_bytes()));
  }
  LV InBlock(LV g, LV header) {
    const formats::BlockLayout& layout = tile_.layout;
    LV at = e_.b().CreateAdd(header, e_.I64(layout.header_bytes));
    if (layout.blocks_per_group == 1) return at;
    LV inside = layout.blocks_per_group >= layout.blocks
                    ? g
                    : e_.b().CreateURem(g, e_.I64(layout.blocks_per_group));
    return e_.AddMul(at, inside, layout.block_bytes);
  }

  // Bytes of a header: `at` is that of the first column, of `size` bytes each.
  LV HeaderAddress(size_t slot, LV header, int64_t at, int64_t size) {
    return e_.Offset(e_.Offset(tile_.b_panels[slot], header), at + tile_.b_columns[slot] * size);
  }
  LV Scales(size_t slot, LV header) {
    const int64_t size = DTypeSize(scheme_.scale);
    return e_.LoadFloat(HeaderAddress(slot, header, 0, size), scheme_.scale, lanes_);
  }
  LV Zeros(size_t slot, LV header) {
    LV address = HeaderAddress(slot, header, formats::kPanelColumns * DTypeSize(scheme_.scale), 1);
    llvm::Type* bytes = llvm::FixedVectorType::get(e_.b().getInt8Ty(), lanes_);
    return e_.b().CreateZExt(e_.b().CreateAlignedLoad(bytes, address, llvm::Align(1)), WordsType());
  }

  std::vector<LV> SlotsInTurn(LV g, const std::vector<LV>& carried) {
    std::vector<LV> next(carried.size());
    for (size_t s = 0; s < slots_; ++s) {
      QuantisedTile one = tile_;
      one.b_panels = {tile_.b_panels[s]};
      one.b_columns = {tile_.b_columns[s]};
      std::vector<LV> sums;
      for (size_t i = s; i < carried.size(); i += slots_) sums.push_back(carried[i]);
      if (s > 0) g = e_.Disguised(g);  // LLVM would keep all of the rows for the next slot
      sums = TileEmitter(e_, one).Block(g, sums);
      // Nor are products of this slot left for later.
      for (size_t r = 0; r < sums.size(); ++r) next[r * slots_ + s] = e_.Disguised(sums[r]);
    }
    return next;
  }

  std::vector<LV> Block(LV g, const std::vector<LV>& carried) {
    LV header = InHeader(g);
    LV block = InBlock(g, header);
    const int64_t row_bytes = product_.widened() ? kBlock * 4 : PreparedBlockBytes(e_.target());
    LV in_row = e_.b().CreateMul(g, e_.I64(row_bytes));
    std::vector<LV> a;
    for (LV row : tile_.a_rows) a.push_back(e_.Offset(row, in_row));
    const bool unrolled = UnrollsBlocks(e_.target(), product_);
    if (!unrolled) Prefetch(header, block, 0, 1);
    zeros_.clear();
    std::vector<LV> sums = product_.one_sum() ? carried : Begin(a, header);
    std::vector<LV> panels;
    for (size_t s = 0; s < slots_; ++s) {
      panels.push_back(
          e_.Offset(e_.Offset(tile_.b_panels[s], block), tile_.b_columns[s] * kNeighbours));
    }
    const int64_t loads = LoadsOfBlock(product_);
    if (unrolled) {
      for (int64_t load = 0; load < loads; ++load) {
        // LLVM would load the weights of more steps ahead than it has registers for.
        if (tile_.slots_in_turn && load == loads / 2) panels[0] = e_.Disguised(panels[0]);
        Prefetch(header, block, load, loads);
        if (tile_.next.step != nullptr) tile_.next.Prefetch(e_, e_.AddMul(e_.I64(load), g, loads));
        Load(a, panels, e_.I64(load), sums);
      }
    } else {  // LLVM would move the loads of all steps, or sums of pairs, to the front: spills
      sums = e_.ForCarry(e_.I64(0), e_.I64(loads), 1, sums,
                         [&](LV load, const std::vector<LV>& so_far) {
                           std::vector<LV> next = so_far;
                           Load(a, panels, load, next);
                           return next;
                         });
    }
    return product_.one_sum() ? sums : Scaled(header, a, sums, carried);
  }

  // What the sums of a block begin with.
  std::vector<LV> Begin(const std::vector<LV>& a, LV header) {
    std::vector<LV> sums(a.size() * slots_);
    if (product_.widened()) {
      for (LV& sum : sums) sum = e_.Splat(0, lanes_);
      for (size_t s = 0; s < slots_ && shifted(); ++s) zeros_.push_back(WidenedZeros(s, header));
      return sums;
    }
    for (size_t s = 0; s < slots_; ++s) {
      LV zeros = shifted() ? Zeros(s, header) : nullptr;
      for (size_t r = 0; r < a.size(); ++r) {
        LV bias = Splat(Scalar(e_.Offset(a[r], quantised::BiasAt(e_.target()))));
        // The sum of 32 integers fits 16 bits, and the upper half of a zero is 0.
        sums[r * slots_ + s] = zeros == nullptr ? bias : quantised::PairProducts(e_, zeros, bias);
      }
    }
    return sums;
  }

  int PerLoad() const { return 8 / scheme_.bits; }  // steps that one load of b serves

  void Load(const std::vector<LV>& a, const std::vector<LV>& panels, LV load,
            std::vector<LV>& sums) {
    constexpr int64_t kBytes = formats::kPanelColumns * kNeighbours;
    std::vector<LV> words(slots_);
    for (size_t s = 0; s < slots_; ++s) {
      words[s] = Words(e_.Offset(panels[s], e_.b().CreateMul(load, e_.I64(kBytes))));
    }
    if (PartsInTurn()) {
      sums = e_.ForCarry(e_.I64(0), e_.I64(PerLoad()), 1, sums,
                         [&](LV part, const std::vector<LV>& so_far) {
                           std::vector<LV> next = so_far;
                           LoadedStep(a, load, words, part, next);
                           return next;
                         });
      return;
    }
    for (int part = 0; part < PerLoad(); ++part) LoadedStep(a, load, words, e_.I64(part), sums);
  }

  // Where registers are few and every operand needs one, the parts of a load side by side would
  // need more than there are.
  bool PartsInTurn() const {
    return e_.target().vector_registers == 16 && e_.target().vector_bits == 128 && PerLoad() > 1;
  }

  void LoadedStep(const std::vector<LV>& a, LV load, const std::vector<LV>& words, LV part,
                  std::vector<LV>& sums) {
    const int64_t size = product_.widened() ? 4 : quantised::IntegerBytes(e_.target());
    LV step = e_.b().CreateAdd(e_.b().CreateMul(load, e_.I64(PerLoad())), part);
    LV in_row = e_.b().CreateMul(step, e_.I64(kNeighbours * size));
    if (product_.widened()) return WidenedStep(a, in_row, words, part, sums);
    std::vector<LV> b(slots_);
    for (size_t s = 0; s < slots_; ++s) b[s] = Part(words[s], part);
    Step(a, in_row, b, sums);
  }

  // Four levels of 4 bits of each column, in bytes.
  LV Levels(LV words, LV part) { return And(ShiftedBy(words, part, 0), 0x0f0f0f0fu); }

  // Words of which the part's levels are the lowest bits of each byte, and byte `j` the lowest.
  LV ShiftedBy(LV words, LV part, int j) {
    LV bits = e_.b().CreateTrunc(e_.AddMul(e_.I64(8 * j), part, 4), e_.b().getInt32Ty());
    return e_.b().CreateLShr(words, Splat(bits));
  }

  // Bytes of the table, each with `add` added, at the places that the bytes of `levels` name.
  LV LookUp(LV levels, int add) {
    uint8_t table[16];
    for (int i = 0; i < 16; ++i) table[i] = static_cast<uint8_t>(kQuantiseTable[i] + add);
    return quantised::LookUpBytes(e_, table, levels);
  }

  // The bytes of one step, as the target multiplies them.
  LV Part(LV words, LV part) {
    if (quantised::SignedWeights(e_.target(), scheme_)) return SignedBytes(0, words, part);
    if (scheme_.bits == 8) return words;
    LV levels = Levels(words, part);
    return table() ? LookUp(levels, scheme_.zero_point()) : levels;
  }

  // `in_row`: of the step's integers in each row of a.
  void Step(const std::vector<LV>& a, LV in_row, const std::vector<LV>& b, std::vector<LV>& sums) {
    const size_t rows = tile_.a_rows.size();
    if (e_.target().integer_dot != IntegerDot::kPairs) {
      for (size_t r = 0; r < rows; ++r) {
        LV x = Splat(Scalar(e_.Offset(a[r], in_row)));
        for (size_t s = 0; s < slots_; ++s) {
          LV& sum = sums[r * slots_ + s];
          sum = quantised::DotBytes(e_, sum, b[s], x);
        }
      }
      return;
    }
    for (int half = 0; half < 2; ++half) {
      std::vector<LV> wide(slots_);
      for (size_t s = 0; s < slots_; ++s) {
        wide[s] = And(half == 0 ? b[s] : e_.b().CreateLShr(b[s], 8), 0x00ff00ffu);
      }
      for (size_t r = 0; r < rows; ++r) {
        LV x = Splat(Scalar(e_.Offset(e_.Offset(a[r], in_row), half * 4)));
        for (size_t s = 0; s < slots_; ++s) {
          LV& sum = sums[r * slots_ + s];
          sum = e_.b().CreateAdd(sum, quantised::PairProducts(e_, wide[s], x));
        }
      }
    }
  }

  // --- rows of f32

  bool LooksUpFloats() const { return e_.target().vector_bits == 512 && scheme_.bits == 4; }

  // As WidenedStep subtracts them: floats where floats are looked up, else each in four bytes.
  LV WidenedZeros(size_t slot, LV header) {
    LV zeros = Zeros(slot, header);
    if (LooksUpFloats()) return e_.b().CreateUIToFP(zeros, e_.FloatType(lanes_));
    return e_.b().CreateMul(zeros, llvm::ConstantInt::get(WordsType(), 0x01010101u));
  }

  // Four bytes with signs.
  LV SignedBytes(size_t slot, LV words, LV part) {
    llvm::IRBuilder<>& b = e_.b();
    if (scheme_.bits == 8) return quantised::WithSign(e_, words);
    LV levels = Levels(words, part);
    if (table()) return LookUp(levels, 0);
    LV zeros = shifted() ? zeros_[slot] : llvm::ConstantInt::get(WordsType(), 0x08080808u);
    LV bytes =
        b.CreateSub(b.CreateBitCast(levels, BytesType()), b.CreateBitCast(zeros, BytesType()));
    return b.CreateBitCast(bytes, WordsType());
  }

  // Integer `j` of the step as f32.
  LV Float(size_t slot, LV words, LV bytes, LV part, int j) {
    llvm::IRBuilder<>& b = e_.b();
    if (!LooksUpFloats()) {
      LV top = j == 3 ? bytes : b.CreateShl(bytes, 24 - 8 * j);
      return b.CreateSIToFP(b.CreateAShr(top, 24), e_.FloatType(lanes_));
    }
    std::vector<llvm::Constant*> floats;
    for (int i = 0; i < 16; ++i) {
      floats.push_back(llvm::ConstantFP::get(
          b.getFloatTy(), IntegerOf(scheme_, i, shifted() ? 0 : scheme_.zero_point())));
    }
    LV value = b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_permvar_sf_512, {},
                                 {llvm::ConstantVector::get(floats), ShiftedBy(words, part, j)});
    return shifted() ? b.CreateFSub(value, zeros_[slot]) : value;
  }

  void WidenedStep(const std::vector<LV>& a, LV in_row, const std::vector<LV>& words, LV part,
                   std::vector<LV>& sums) {
    std::vector<LV> bytes(slots_);
    for (size_t s = 0; s < slots_ && !LooksUpFloats(); ++s) {
      bytes[s] = SignedBytes(s, words[s], part);
    }
    for (int j = 0; j < kNeighbours; ++j) {
      std::vector<LV> b(slots_);
      for (size_t s = 0; s < slots_; ++s) b[s] = Float(s, words[s], bytes[s], part, j);
      for (size_t r = 0; r < a.size(); ++r) {
        LV x = e_.LoadFloat(e_.Offset(e_.Offset(a[r], in_row), j * 4), DType::kF32, 1);
        LV splat = e_.SplatValue(x, lanes_);
        for (size_t s = 0; s < slots_; ++s) {
          LV& sum = sums[r * slots_ + s];
          sum = e_.Fma(splat, b[s], sum);
        }
      }
    }
  }

  std::vector<LV> Scaled(LV header, const std::vector<LV>& a, const std::vector<LV>& sums,
                         const std::vector<LV>& carried) {
    std::vector<LV> next = carried;
    for (size_t s = 0; s < slots_; ++s) {
      LV scale = Scales(s, header);
      for (size_t r = 0; r < a.size(); ++r) {
        LV& total = next[r * slots_ + s];
        LV sum = sums[r * slots_ + s];
        if (product_.widened()) {
          total = e_.Fma(sum, scale, total);
          continue;
        }
        // In the register of the sum: the product of the scales would need another.
        sum = e_.b().CreateSIToFP(sum, e_.FloatType(lanes_));
        if (product_.rows == QuantisedRows::kByBlock) {
          sum = e_.b().CreateFMul(sum, RowScale(a[r]));
        }
        total = e_.Fma(sum, scale, total);
        // LLVM would have the total in the sum's register, and move all of them back.
        if (tile_.slots_in_turn) total = e_.Disguised(total, sum);
      }
    }
    return next;
  }

  LV RowScale(LV block) {
    LV address = e_.Offset(block, quantised::ScaleAt(e_.target()));
    return e_.SplatValue(e_.LoadFloat(address, DType::kF32, 1), lanes_);
  }

  // After all else, so that registers hold one of these scales at a time.
  void ScaleRows(std::vector<LV>& sums) {
    for (size_t i = 0; i < sums.size(); ++i) {
      sums[i] = e_.b().CreateFMul(sums[i], RowScale(tile_.a_rows[i / slots_]));
    }
  }

  // Slots of one panel lie side by side: the first of them asks for the block, and for the header
  // where each block has one. This is part `part` of `parts` of it: all at once would be more than
  // the processor keeps in flight.
  void Prefetch(LV header, LV block, int64_t part, int64_t parts) {
    if (tile_.prefetch == 0) return;
    constexpr int64_t kLine = 64;
    const bool own = tile_.layout.blocks_per_group == 1;
    const int64_t bytes = own ? tile_.layout.group_bytes() : tile_.layout.block_bytes;
    for (size_t s = 0; s < slots_; ++s) {
      if (tile_.b_columns[s] != 0) continue;
      LV ahead = e_.Offset(e_.Offset(tile_.b_panels[s], own ? header : block), tile_.prefetch);
      const int64_t lines = (bytes + kLine - 1) / kLine;
      for (int64_t line = lines * part / parts; line < lines * (part + 1) / parts; ++line) {
        e_.Prefetch(e_.Offset(ahead, line * kLine));
      }
    }
  }

  Emitter& e_;
  const QuantisedTile& tile_;
  const QuantisedProduct& product_;
  const QuantiseScheme& scheme_;
  const int lanes_;
  const size_t slots_;
  std::vector<LV> zeros_;  // of each slot, where rows are widened and groups shifted
};

}  // namespace

std::vector<LV> EmitQuantisedTile(Emitter& e, const QuantisedTile& tile) {
  return TileEmitter(e, tile).Run();
}

// Two sums for each row and slot, of a block and of all; or one.
TileShape LargestQuantisedTile(const Target& target, const QuantisedProduct& product) {
  const QuantiseScheme& weights = *product.weights;
  const bool plain = IsPlain(product), pairs = target.integer_dot == IntegerDot::kPairs;
  const bool table = weights.grid == QuantiseGrid::kTable;
  if (product.one_sum()) {
    if (target.vector_registers == 16) return {pairs ? 4 : 6, pairs ? 1 : 2};
    return {pairs || target.vector_bits == 128 ? 4 : 6, 4};
  }
  if (target.vector_registers == 16) {
    if (target.vector_bits == 128 && product.widened() && table) return {1, 1};
    const bool bytes = weights.bits == 8;
    return plain && bytes && !pairs ? TileShape{3, 2} : TileShape{plain ? 4 : 2, 1};
  }
  if (pairs) return {plain ? 4 : 3, 2};
  if (target.vector_bits == 128) return {product.widened() ? 3 : 4, 2};
  return {plain ? 6 : 4, 2};
}

TileShape QuantisedTileFor(const Target& target, const QuantisedProduct& product, int rows) {
  const TileShape largest = LargestQuantisedTile(target, product);
  if (rows > largest.rows) return {rows, 2};
  if (target.vector_registers == 16 || product.one_sum()) return {rows, largest.slots};
  if (target.vector_bits == 128) return {rows, rows == 1 && !product.widened() ? 4 : 2};
  const bool dot = target.integer_dot != IntegerDot::kPairs;
  const int wide = dot && IsPlain(product) ? 2 : 1;
  return {rows, rows <= wide ? 4 : 2};
}

bool UnrollsBlocks(const Target& target, const QuantisedProduct& product) {
  const bool pairs = target.integer_dot == IntegerDot::kPairs;
  return target.vector_bits == 512 && IsPlain(product) && !(product.one_sum() && pairs);
}

int64_t LoadsOfBlock(const QuantisedProduct& product) {
  return kBlock / kNeighbours / (8 / product.weights->bits);
}

int RowsOfOneQuantisedTile(const Target& target, const QuantisedProduct& product) {
  const bool bytes = target.integer_dot != IntegerDot::kPairs;
  const bool wide = target.vector_bits == 512 && bytes && IsPlain(product);
  return wide ? 8 : LargestQuantisedTile(target, product).rows;
}

}  // namespace ninfer::codegen
