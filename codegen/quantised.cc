// Tested by tests/codegen_quantised_test.cc.
#include "codegen/quantised.h"

#include "base/status.h"
#include "formats/formats.h"
#include "llvm/IR/IntrinsicsX86.h"

namespace ninfer::codegen {
namespace {

constexpr int64_t kGroup = 32;
constexpr int64_t kNeighbours = 4;

int64_t IntegerBytes(const Target& target) { return target.vnni ? 1 : 2; }
int64_t ScaleAt(const Target& target) { return kGroup * IntegerBytes(target); }
int64_t BiasAt(const Target& target) { return ScaleAt(target) + 4; }

// --- rows ----------------------------------------------------------------------------------------

class RowPreparer {
 public:
  RowPreparer(Emitter& e, const QuantiseScheme& weights) : e_(e), weights_(weights) {}

  void Group(LV source, DType dtype, LV target) {
    const int lanes = e_.lanes();
    std::vector<LV> x;
    LV largest = nullptr;
    for (int64_t i = 0; i < kGroup; i += lanes) {
      x.push_back(e_.LoadFloat(e_.Offset(source, i * DTypeSize(dtype)), dtype, lanes));
      LV size = e_.b().CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x.back());
      largest = largest == nullptr ? size : e_.Max(largest, size);
    }
    llvm::IRBuilder<>& b = e_.b();
    LV scale = b.CreateFDiv(e_.ReduceMax(largest, lanes), e_.Splat(127.0, 1));
    LV zero = e_.Splat(0, 1);
    LV normal = b.CreateFCmpOGE(scale, e_.Splat(kSmallestQuantiseScale, 1));
    scale = b.CreateSelect(normal, scale, zero);
    LV inverse = b.CreateSelect(normal, b.CreateFDiv(e_.Splat(1, 1), scale), zero);
    LV sum = nullptr;
    for (size_t i = 0; i < x.size(); ++i) {
      LV integers = Round(x[i], inverse, lanes);
      sum = sum == nullptr ? integers : b.CreateAdd(sum, integers);
      Store(integers, target, static_cast<int64_t>(i) * lanes, lanes);
    }
    StoreScalar(scale, e_.Offset(target, ScaleAt(e_.target())));
    LV bias = b.CreateMul(b.CreateAddReduce(sum), b.getInt32(-weights_.zero_point()));
    StoreScalar(bias, e_.Offset(target, BiasAt(e_.target())));
  }

 private:
  LV Round(LV x, LV inverse, int lanes) {
    llvm::IRBuilder<>& b = e_.b();
    LV scaled = b.CreateFMul(x, e_.SplatValue(inverse, lanes));
    // Of NaN, which does not compare, the second operand is left.
    LV lowest = e_.Splat(-127, lanes), highest = e_.Splat(127, lanes);
    scaled = b.CreateSelect(b.CreateFCmpOGT(scaled, lowest), scaled, lowest);
    scaled = b.CreateSelect(b.CreateFCmpOLT(scaled, highest), scaled, highest);
    scaled = b.CreateUnaryIntrinsic(llvm::Intrinsic::nearbyint, scaled);
    return b.CreateFPToSI(scaled, llvm::FixedVectorType::get(b.getInt32Ty(), lanes));
  }

  void Store(LV integers, LV target, int64_t at, int lanes) {
    llvm::IRBuilder<>& b = e_.b();
    const int64_t size = IntegerBytes(e_.target());
    llvm::Type* narrow = size == 1 ? b.getInt8Ty() : b.getInt16Ty();
    LV values = b.CreateTrunc(integers, llvm::FixedVectorType::get(narrow, lanes));
    if (size == 2) {
      std::vector<int> order;
      for (int i = 0; i < lanes; i += kNeighbours) {
        for (int k : {0, 2, 1, 3}) order.push_back(i + k);
      }
      values = b.CreateShuffleVector(values, order);
    }
    b.CreateAlignedStore(values, e_.Offset(target, at * size), llvm::Align(4));
  }

  void StoreScalar(LV value, LV address) {
    e_.b().CreateAlignedStore(value, address, llvm::Align(4));
  }

  Emitter& e_;
  const QuantiseScheme& weights_;
};

// --- tile ----------------------------------------------------------------------------------------

class TileEmitter {
 public:
  TileEmitter(Emitter& e, const QuantisedTile& tile)
      : e_(e), tile_(tile), lanes_(e.lanes()), slots_(tile.b_slots.size()) {}

  std::vector<LV> Run() {
    const std::vector<LV> zero(tile_.a_rows.size() * slots_, e_.Splat(0, lanes_));
    return e_.ForCarry(e_.I64(0), e_.I64(tile_.groups), 1, zero,
                       [&](LV g, const std::vector<LV>& carried) { return Group(g, carried); });
  }

 private:
  LV Words(LV address) {
    llvm::Type* words = llvm::FixedVectorType::get(e_.b().getInt32Ty(), lanes_);
    return e_.b().CreateAlignedLoad(words, address, llvm::Align(4));
  }
  LV Scalar(LV address) {
    return e_.b().CreateAlignedLoad(e_.b().getInt32Ty(), address, llvm::Align(4));
  }
  LV Splat(LV scalar) { return e_.b().CreateVectorSplat(lanes_, scalar); }
  LV And(LV words, uint32_t mask) {
    return e_.b().CreateAnd(words, llvm::ConstantInt::get(words->getType(), mask));
  }

  std::vector<LV> Group(LV g, const std::vector<LV>& carried) {
    const size_t rows = tile_.a_rows.size();
    LV in_panel = e_.b().CreateMul(g, e_.I64(tile_.group_bytes));
    LV in_row = e_.b().CreateMul(g, e_.I64(PreparedGroupBytes(e_.target())));
    std::vector<LV> a;
    for (LV row : tile_.a_rows) a.push_back(e_.Offset(row, in_row));
    std::vector<LV> sums(rows * slots_);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t s = 0; s < slots_; ++s) {
        sums[r * slots_ + s] = Splat(Scalar(e_.Offset(a[r], BiasAt(e_.target()))));
      }
    }
    Prefetch(in_panel);
    std::vector<LV> panels;
    for (LV slot : tile_.b_slots) panels.push_back(e_.Offset(slot, in_panel));
    const int64_t loads = kGroup / kNeighbours / PerLoad();
    if (e_.target().avx512) {
      for (int64_t load = 0; load < loads; ++load) Load(a, panels, e_.I64(load), sums);
    } else {  // LLVM would move the loads of all steps to the front, and spill them
      sums = e_.ForCarry(e_.I64(0), e_.I64(loads), 1, sums,
                         [&](LV load, const std::vector<LV>& so_far) {
                           std::vector<LV> next = so_far;
                           Load(a, panels, load, next);
                           return next;
                         });
    }
    return Scaled(in_panel, a, sums, carried);
  }

  int PerLoad() const { return 8 / tile_.weights->bits; }  // steps that one load of b serves

  void Load(const std::vector<LV>& a, const std::vector<LV>& panels, LV load,
            std::vector<LV>& sums) {
    constexpr int64_t kBytes = formats::kPanelColumns * kNeighbours;
    std::vector<LV> words(slots_);
    for (size_t s = 0; s < slots_; ++s) {
      words[s] = Words(e_.Offset(panels[s], e_.b().CreateMul(load, e_.I64(kBytes))));
    }
    const int64_t a_bytes = kNeighbours * IntegerBytes(e_.target());
    for (int part = 0; part < PerLoad(); ++part) {
      std::vector<LV> b(slots_);
      for (size_t s = 0; s < slots_; ++s) b[s] = Part(words[s], part);
      LV step = e_.b().CreateAdd(e_.b().CreateMul(load, e_.I64(PerLoad())), e_.I64(part));
      Step(a, e_.b().CreateMul(step, e_.I64(a_bytes)), b, sums);
    }
  }

  // The unsigned bytes of one step.
  LV Part(LV words, int part) {
    if (tile_.weights->bits == 8) return words;
    return And(part == 0 ? words : e_.b().CreateLShr(words, 4), 0x0f0f0f0fu);
  }

  // `in_row`: of the step's integers in each row of a.
  void Step(const std::vector<LV>& a, LV in_row, const std::vector<LV>& b, std::vector<LV>& sums) {
    const size_t rows = tile_.a_rows.size();
    if (e_.target().vnni) {
      for (size_t r = 0; r < rows; ++r) {
        LV x = Splat(Scalar(e_.Offset(a[r], in_row)));
        for (size_t s = 0; s < slots_; ++s) {
          LV& sum = sums[r * slots_ + s];
          sum =
              e_.b().CreateIntrinsic(llvm::Intrinsic::x86_avx512_vpdpbusd_512, {}, {sum, b[s], x});
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
          sum = e_.b().CreateAdd(sum, PairProducts(wide[s], x));
        }
      }
    }
  }

  LV PairProducts(LV a, LV b) {
    llvm::Type* pairs = llvm::FixedVectorType::get(e_.b().getInt16Ty(), lanes_ * 2);
    const auto intrinsic = e_.target().avx512 ? llvm::Intrinsic::x86_avx512_pmaddw_d_512
                                              : llvm::Intrinsic::x86_avx2_pmadd_wd;
    return e_.b().CreateIntrinsic(intrinsic, {},
                                  {e_.b().CreateBitCast(a, pairs), e_.b().CreateBitCast(b, pairs)});
  }

  std::vector<LV> Scaled(LV in_panel, const std::vector<LV>& a, const std::vector<LV>& sums,
                         const std::vector<LV>& carried) {
    std::vector<LV> next = carried;
    for (size_t s = 0; s < slots_; ++s) {
      LV scale = e_.LoadFloat(e_.Offset(tile_.b_scales[s], in_panel), tile_.weights->scale, lanes_);
      for (size_t r = 0; r < a.size(); ++r) {
        LV x = e_.LoadFloat(e_.Offset(a[r], ScaleAt(e_.target())), DType::kF32, 1);
        LV both = e_.b().CreateFMul(scale, e_.SplatValue(x, lanes_));
        LV sum = e_.b().CreateSIToFP(sums[r * slots_ + s], e_.FloatType(lanes_));
        LV& total = next[r * slots_ + s];
        total = e_.Fma(sum, both, total);
      }
    }
    return next;
  }

  // Slots of one panel lie side by side: the first of them asks for the whole group.
  void Prefetch(LV in_panel) {
    if (tile_.prefetch == 0) return;
    constexpr int64_t kLine = 64;
    const int64_t in_group = formats::kPanelColumns / lanes_;
    for (size_t s = 0; s < slots_; s += in_group) {
      LV ahead = e_.Offset(e_.Offset(tile_.b_scales[s], in_panel), tile_.prefetch);
      for (int64_t at = 0; at < tile_.group_bytes; at += kLine) {
        LV line = e_.Offset(ahead, at);
        e_.b().CreateIntrinsic(llvm::Intrinsic::prefetch, {line->getType()},
                               {line, e_.b().getInt32(0), e_.b().getInt32(3), e_.b().getInt32(1)});
      }
    }
  }

  Emitter& e_;
  const QuantisedTile& tile_;
  const int lanes_;
  const size_t slots_;
};

}  // namespace

int64_t PreparedGroupBytes(const Target& target) { return BiasAt(target) + 4; }

int64_t PreparedRowBytes(const Target& target, int64_t columns) {
  return (columns + kGroup - 1) / kGroup * PreparedGroupBytes(target);
}

void EmitPrepareRow(Emitter& e, const QuantiseScheme& weights, LV source, DType dtype,
                    int64_t columns, LV target, LV padded) {
  RowPreparer preparer(e, weights);
  const int64_t whole = columns / kGroup, left = columns % kGroup;
  const int64_t size = DTypeSize(dtype), group_bytes = PreparedGroupBytes(e.target());
  e.For(e.I64(0), e.I64(whole), 1, [&](LV g) {
    preparer.Group(e.Offset(source, e.b().CreateMul(g, e.I64(kGroup * size))), dtype,
                   e.Offset(target, e.b().CreateMul(g, e.I64(group_bytes))));
  });
  if (left == 0) return;
  for (int64_t i = 0; i < kGroup; i += e.lanes()) {
    e.StoreFloat(e.Splat(0, e.lanes()), e.Offset(padded, i * 4), DType::kF32, e.lanes());
  }
  e.For(e.I64(0), e.I64(left), 1, [&](LV i) {
    LV from =
        e.Offset(source, e.b().CreateMul(e.b().CreateAdd(i, e.I64(whole * kGroup)), e.I64(size)));
    e.StoreFloat(e.LoadFloat(from, dtype, 1), e.Offset(padded, e.b().CreateMul(i, e.I64(4))),
                 DType::kF32, 1);
  });
  preparer.Group(padded, DType::kF32, e.Offset(target, whole * group_bytes));
}

std::vector<LV> EmitQuantisedTile(Emitter& e, const QuantisedTile& tile) {
  return TileEmitter(e, tile).Run();
}

// Two sums for each row and slot, integers and floats.
TileShape LargestQuantisedTile(const Target& target) {
  if (target.vnni) return {6, 2};
  return target.avx512 ? TileShape{4, 2} : TileShape{4, 1};
}

TileShape QuantisedTileFor(const Target& target, int rows) {
  if (!target.avx512) return {rows, 1};
  return {rows, rows <= (target.vnni ? 2 : 1) ? 4 : 2};
}

}  // namespace ninfer::codegen
