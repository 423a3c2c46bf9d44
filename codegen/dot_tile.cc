// The register tile that linears and attention share. Every accumulator is summed in the order of k
// alone, whatever the number of rows and slots, so that a row's result never depends on its
// neighbours.
//
// Measured on Zen 4: 6 rows x 4 vectors of 512 bits reach 98% of VDPBF16PS's peak and leave
// registers for the weights; 12 x 2 spill. Pairs that are widened in the tile cost less in more
// rows: two operations to 8 products, where 5 x 4 have two to 5. Tested by tests/codegen_test.cc.
#include "base/status.h"
#include "codegen/emitter.h"
#include "codegen/quantised_ops.h"
#include "llvm/IR/IntrinsicsX86.h"

namespace ninfer::codegen {
namespace {

LV Low(Emitter& e, LV words) {
  return e.b().CreateBitCast(e.b().CreateShl(words, 16), e.FloatType(e.lanes()));
}
LV High(Emitter& e, LV words) {
  LV masked = e.b().CreateAnd(words, llvm::ConstantInt::get(words->getType(), 0xffff0000u));
  return e.b().CreateBitCast(masked, e.FloatType(e.lanes()));
}
LV Words(Emitter& e, LV address) {
  llvm::Type* words = llvm::FixedVectorType::get(e.b().getInt32Ty(), e.lanes());
  return e.b().CreateAlignedLoad(words, address, llvm::Align(4));
}

// Unrolled steps of k: enough to hide the loop's own instructions. With 16 registers one: LLVM
// moves the loads of all unrolled steps to the front, and spills them. So it does with what it adds
// up of several steps' pairs before it adds that to the sums.
int64_t UnrolledSteps(const Target& target, DotMode mode, size_t sums) {
  if (target.vector_bits < 512) return 1;
  if (mode == DotMode::kInt8) return target.integer_dot == IntegerDot::kPairs ? 1 : 2;
  return sums < 16 ? 4 : 2;
}

class TileEmitter {
 public:
  TileEmitter(Emitter& e, const DotTile& tile) : e_(e), tile_(tile), lanes_(e.lanes()) {}

  std::vector<LV> Run() {
    const int64_t step = DotStep(tile_.mode);
    const int64_t whole = tile_.k / step;
    const int64_t unroll =
        UnrolledSteps(e_.target(), tile_.mode, tile_.a_rows.size() * tile_.b_slots.size());
    const int64_t unrolled = whole / unroll * unroll;
    std::vector<LV> acc = tile_.sums.empty() ? Begin() : tile_.sums;
    if (unrolled > 0) {
      acc = e_.ForCarry(e_.I64(0), e_.I64(unrolled), unroll, acc,
                        [&](LV i, const std::vector<LV>& carried) {
                          std::vector<LV> next = carried;
                          if (tile_.next_rows > 0) PrefetchNext(i);
                          for (int64_t u = 0; u < unroll; ++u) Step(i, u, step, next);
                          return next;
                        });
    }
    for (int64_t i = unrolled; i < whole; ++i) Step(e_.I64(0), i, step, acc);
    if (whole * step < tile_.k) HalfStep(whole, acc);
    return SplitsWords() ? Joined(acc) : acc;
  }

 private:
  llvm::Type* WordsType() { return llvm::FixedVectorType::get(e_.b().getInt32Ty(), lanes_); }

  // The address of a[row][step * (i + u) + element]; `bytes` is one step's size in a.
  LV AAddress(size_t row, LV i, int64_t u, int64_t element, int64_t bytes) {
    const int64_t size = DTypeSize(tile_.a_dtype);
    LV address = e_.Offset(tile_.a_rows[row], e_.b().CreateMul(i, e_.I64(bytes)));
    return e_.Offset(address, u * bytes + element * size);
  }

  // The f32 value of a[row][step * (i + u) + element], in every lane.
  LV ABroadcast(size_t row, LV i, int64_t u, int64_t step, int64_t element) {
    const int64_t bytes = step * DTypeSize(tile_.a_dtype);
    LV address = AAddress(row, i, u, element, bytes);
    return e_.SplatValue(e_.LoadFloat(address, tile_.a_dtype, 1), lanes_);
  }

  LV BAddress(size_t slot, LV i, int64_t u) {
    LV address = e_.Offset(tile_.b_slots[slot], e_.b().CreateMul(i, e_.I64(tile_.b_stride)));
    return e_.Offset(address, u * tile_.b_stride);
  }

  LV BWords(size_t slot, LV i, int64_t u) { return Words(e_, BAddress(slot, i, u)); }

  LV Dot(LV acc, LV a_words, LV b_words) {
    llvm::Type* pairs = llvm::FixedVectorType::get(e_.b().getBFloatTy(), lanes_ * 2);
    return e_.b().CreateIntrinsic(
        llvm::Intrinsic::x86_avx512bf16_dpbf16ps_512, {},
        {acc, e_.b().CreateBitCast(a_words, pairs), e_.b().CreateBitCast(b_words, pairs)});
  }

  void MulAdd(size_t row, const std::vector<LV>& b, LV a, std::vector<LV>& acc) {
    for (size_t s = 0; s < b.size(); ++s) {
      LV& sum = acc[row * b.size() + s];
      sum = e_.Fma(a, b[s], sum);
    }
  }

  // --- integers

  // Products of bytes take words as two bytes, whose sums are apart until the end.
  bool SplitsWords() const {
    return tile_.mode == DotMode::kInt8 && e_.target().integer_dot != IntegerDot::kPairs;
  }

  // What the sums begin with; of split words those of the upper bytes, then of the lower, by slot.
  std::vector<LV> Begin() {
    const size_t slots = tile_.b_slots.size();
    if (tile_.mode != DotMode::kInt8) {
      return std::vector<LV>(tile_.a_rows.size() * slots, e_.Splat(0, lanes_));
    }
    std::vector<LV> acc;
    for (LV start : tile_.a_starts) {
      LV sum = e_.b().CreateVectorSplat(lanes_, e_.LoadI32(start));
      for (size_t s = 0; s < slots; ++s) {
        if (SplitsWords()) acc.push_back(llvm::Constant::getNullValue(WordsType()));
        acc.push_back(sum);
      }
    }
    return acc;
  }

  std::vector<LV> Joined(const std::vector<LV>& acc) {
    std::vector<LV> sums;
    for (size_t i = 0; i < acc.size(); i += 2) {
      sums.push_back(e_.b().CreateAdd(e_.b().CreateShl(acc[i], 8), acc[i + 1]));
    }
    return sums;
  }

  // Four bytes of a row, in every lane.
  LV AWord(size_t row, LV i, int64_t u, int64_t byte) {
    LV address = e_.Offset(AAddress(row, i, u, 0, 8), byte);
    return e_.b().CreateVectorSplat(lanes_, e_.LoadI32(address));
  }

  void IntegerStep(LV i, int64_t u, std::vector<LV>& acc) {
    const size_t slots = tile_.b_slots.size();
    std::vector<LV> words(slots);
    for (size_t s = 0; s < slots; ++s) words[s] = BWords(s, i, u);
    if (!SplitsWords()) return WidenedStep(i, u, words, acc);
    if (e_.target().integer_dot == IntegerDot::kSignedBySigned) {
      for (LV& word : words) word = quantised::WithSign(e_, word);
    }
    for (size_t r = 0; r < tile_.a_rows.size(); ++r) {
      for (const int lower : {0, 1}) {
        LV a = AWord(r, i, u, 4 * lower);
        for (size_t s = 0; s < slots; ++s) {
          LV& sum = acc[2 * (r * slots + s) + lower];
          sum = quantised::DotBytes(e_, sum, words[s], a);
        }
      }
    }
  }

  // Bytes 0 and 2 of every word, then 1 and 3, as pairs of i16.
  void WidenedStep(LV i, int64_t u, const std::vector<LV>& words, std::vector<LV>& acc) {
    llvm::IRBuilder<>& b = e_.b();
    const size_t slots = tile_.b_slots.size();
    llvm::Type* pairs = llvm::FixedVectorType::get(b.getInt16Ty(), lanes_ * 2);
    std::vector<LV> wide(slots);
    for (const bool odd : {false, true}) {
      for (size_t s = 0; s < slots; ++s) {
        LV bytes = b.CreateBitCast(words[s], pairs);
        wide[s] =
            odd ? b.CreateLShr(bytes, 8) : b.CreateAnd(bytes, llvm::ConstantInt::get(pairs, 0xff));
      }
      for (size_t r = 0; r < tile_.a_rows.size(); ++r) {
        LV a = AWord(r, i, u, odd ? 4 : 0);
        for (size_t s = 0; s < slots; ++s) {
          LV& sum = acc[r * slots + s];
          sum = b.CreateAdd(sum, quantised::PairProducts(e_, wide[s], a));
        }
      }
    }
  }

  // Slots lie side by side in a panel, from the start of a cache line on.
  void Prefetch(LV i, int64_t u) {
    constexpr int64_t kLine = 64;
    const int64_t slot_bytes = int64_t{lanes_} * (tile_.mode == DotMode::kF16 ? 2 : 4);
    for (size_t s = 0; s < tile_.b_slots.size(); ++s) {
      if (static_cast<int64_t>(s) * slot_bytes % kLine != 0) continue;
      e_.Prefetch(e_.Offset(BAddress(s, i, u), tile_.prefetch));
    }
  }

  void PrefetchNext(LV i) {
    const int64_t bytes = DotStep(tile_.mode) * DTypeSize(tile_.a_dtype);
    for (size_t r = 0; r < tile_.a_rows.size(); ++r) {
      e_.Prefetch(e_.Offset(AAddress(r, i, 0, 0, bytes), tile_.next_rows));
    }
    if (tile_.next_sums == nullptr) return;
    e_.Prefetch(e_.Offset(tile_.next_sums, e_.b().CreateMul(i, e_.I64(tile_.next_sums_step))));
  }

  void Step(LV i, int64_t u, int64_t step, std::vector<LV>& acc) {
    if (tile_.prefetch > 0) Prefetch(i, u);
    if (tile_.next.step != nullptr) tile_.next.Prefetch(e_, e_.b().CreateAdd(i, e_.I64(u)));
    if (tile_.mode == DotMode::kInt8) return IntegerStep(i, u, acc);
    const size_t slots = tile_.b_slots.size();
    std::vector<LV> b(slots);
    if (tile_.mode == DotMode::kF32 || tile_.mode == DotMode::kF16) {
      const DType dtype = tile_.mode == DotMode::kF32 ? DType::kF32 : DType::kF16;
      for (size_t s = 0; s < slots; ++s) b[s] = e_.LoadFloat(BAddress(s, i, u), dtype, lanes_);
      for (size_t r = 0; r < tile_.a_rows.size(); ++r) {
        MulAdd(r, b, ABroadcast(r, i, u, step, 0), acc);
      }
      return;
    }
    std::vector<LV> words(slots);
    for (size_t s = 0; s < slots; ++s) words[s] = BWords(s, i, u);
    if (tile_.mode == DotMode::kBf16Dot) {
      for (size_t r = 0; r < tile_.a_rows.size(); ++r) {
        LV pair =
            e_.b().CreateAlignedLoad(e_.b().getInt32Ty(), AAddress(r, i, u, 0, 4), llvm::Align(2));
        LV splat = e_.b().CreateVectorSplat(lanes_, pair);
        for (size_t s = 0; s < slots; ++s) {
          acc[r * slots + s] = Dot(acc[r * slots + s], splat, words[s]);
        }
      }
      return;
    }
    for (int element = 0; element < 2; ++element) {
      for (size_t s = 0; s < slots; ++s)
        b[s] = element == 0 ? Low(e_, words[s]) : High(e_, words[s]);
      for (size_t r = 0; r < tile_.a_rows.size(); ++r) {
        MulAdd(r, b, ABroadcast(r, i, u, step, element), acc);
      }
    }
  }

  // The last element of an odd k in a paired layout: its partner is padding and is not read from a.
  void HalfStep(int64_t at, std::vector<LV>& acc) {
    const size_t slots = tile_.b_slots.size();
    LV zero = e_.I64(0);
    std::vector<LV> words(slots), b(slots);
    for (size_t s = 0; s < slots; ++s) words[s] = BWords(s, zero, at);
    for (size_t s = 0; s < slots; ++s) b[s] = Low(e_, words[s]);
    for (size_t r = 0; r < tile_.a_rows.size(); ++r) {
      if (tile_.mode == DotMode::kBf16Pairs) {
        MulAdd(r, b, ABroadcast(r, zero, at, 2, 0), acc);
        continue;
      }
      LV single = e_.b().CreateAlignedLoad(e_.b().getInt16Ty(), AAddress(r, zero, at, 0, 4),
                                           llvm::Align(2));
      LV splat = e_.b().CreateVectorSplat(lanes_, e_.b().CreateZExt(single, e_.b().getInt32Ty()));
      for (size_t s = 0; s < slots; ++s) {
        acc[r * slots + s] = Dot(acc[r * slots + s], splat, words[s]);
      }
    }
  }

  Emitter& e_;
  const DotTile& tile_;
  const int lanes_;
};

}  // namespace

DotMode DotModeOf(const Target& target, formats::Format format, DType a_dtype) {
  const bool dot = target.bf16_dot && a_dtype == DType::kBF16;
  switch (format) {
    case formats::Format::kPanelF32:
      return DotMode::kF32;
    case formats::Format::kPanelF16:
      return DotMode::kF16;
    case formats::Format::kPanelBF16:
      return dot ? DotMode::kBf16Dot : DotMode::kBf16Pairs;
    default:
      NINFER_CHECK(false) << "a weight that is not in panels of floats";
  }
}

TileShape LargestTile(const Target& target, DotMode mode) {
  const bool pairs = mode == DotMode::kBf16Pairs, wide = target.vector_registers == 32;
  if (mode == DotMode::kInt8) {
    const bool bytes = target.integer_dot != IntegerDot::kPairs;
    return {bytes && target.vector_bits > 128 ? 6 : 4, wide ? 2 : 1};
  }
  if (target.vector_bits == 512) return pairs ? TileShape{8, 2} : TileShape{6, 4};
  if (wide) return {4, 4};
  // Without FMA a product needs a register of its own.
  if (!target.fma) return {pairs ? 3 : 5, 2};
  return {pairs ? 4 : 6, 2};
}

TileShape TileFor(const Target& target, DotMode mode, int rows) {
  const bool pairs = mode == DotMode::kBf16Pairs, wide = target.vector_registers == 32;
  if (mode == DotMode::kInt8) {
    const int slots = wide ? 2 : 1;
    // Of bytes each product has two sums.
    return {rows, target.integer_dot != IntegerDot::kPairs && rows <= 2 ? 2 * slots : slots};
  }
  if (wide) return {rows, rows <= (pairs ? 5 : 6) ? 4 : 2};
  return {rows, rows == 1 || (rows == 2 && !pairs && target.fma) ? 4 : 2};
}

int RowsOfOneTile(const Target& target, DotMode mode) {
  return target.vector_bits == 512 ? 8 : LargestTile(target, mode).rows;
}

std::vector<LV> EmitWeights(Emitter& e, DotMode mode, LV address) {
  if (mode == DotMode::kF32) return {e.LoadFloat(address, DType::kF32, e.lanes())};
  if (mode == DotMode::kF16) return {e.LoadFloat(address, DType::kF16, e.lanes())};
  LV words = Words(e, address);
  return {Low(e, words), High(e, words)};
}

void NextWeights::Prefetch(Emitter& e, LV at) const {
  for (LV part : parts) e.Prefetch(e.Offset(part, e.b().CreateMul(at, step)));
}

NextWeights PartsOfNext(Emitter& e, const std::vector<LV>& slots, LV distance, LV index, LV tiles,
                        int64_t steps, int64_t bytes) {
  llvm::IRBuilder<>& b = e.b();
  LV step = b.CreateUDiv(b.CreateAdd(tiles, e.I64(bytes - 1)), tiles);
  LV part = b.CreateAdd(distance, b.CreateMul(index, b.CreateMul(step, e.I64(steps))));
  NextWeights next{{}, step};
  const auto in_panel = static_cast<size_t>(formats::kPanelColumns / e.lanes());
  for (size_t s = 0; s < slots.size(); s += in_panel) {
    next.parts.push_back(e.Offset(slots[s], part));
  }
  return next;
}

std::vector<LV> EmitDotTile(Emitter& e, const DotTile& tile) { return TileEmitter(e, tile).Run(); }

}  // namespace ninfer::codegen
