// See emitter.h.
// Tested by tests/codegen_test.cc.
#include "codegen/emitter.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/Intrinsics.h"
#include "llvm/IR/IntrinsicsX86.h"

namespace ninfer::codegen {

Emitter::Emitter(const program::Program& program, const program::Kernel& kernel,
                 const Target& target, int first_line, llvm::Module* module,
                 const std::string& symbol)
    : program_(program),
      kernel_(kernel),
      target_(target),
      module_(module),
      builder_(module->getContext()),
      lines_(kernel, first_line, module) {
  llvm::Type* pointer = builder_.getPtrTy();
  llvm::Type* i64 = builder_.getInt64Ty();
  function_ = NewFunction({pointer, pointer, i64, i64, pointer}, symbol,
                          llvm::GlobalValue::ExternalLinkage);
  builder_.SetInsertPoint(llvm::BasicBlock::Create(module->getContext(), "entry", function_));
  operands_ = function_->getArg(0);
  dims_ = function_->getArg(1);
  begin_ = function_->getArg(2);
  end_ = function_->getArg(3);
  scratch_ = function_->getArg(4);
  Mark(AnchorOf(kernel));
  addresses_ = LoadAddresses();
}

void Emitter::Mark(const ir::Node* node) {
  marked_ = node;
  builder_.SetCurrentDebugLocation(lines_.At(function_, node));
}

llvm::Function* Emitter::NewFunction(llvm::ArrayRef<llvm::Type*> parameters,
                                     const std::string& name,
                                     llvm::GlobalValue::LinkageTypes linkage) {
  auto* type = llvm::FunctionType::get(builder_.getVoidTy(), parameters, false);
  auto* function = llvm::Function::Create(type, linkage, name, module_);
  function->addFnAttr(llvm::Attribute::NoUnwind);
  // Notes on the frame, which lines need, keep AArch64's scheduler from moving what surrounds them.
  if (target_.architecture == Architecture::kAArch64) {
    function->setUWTableKind(llvm::UWTableKind::Sync);
  }
  function->addFnAttr("target-cpu", target_.cpu);
  function->addFnAttr("tune-cpu", target_.tune);
  function->addFnAttr("target-features", target_.features);
  function->addFnAttr("no-builtins");
  function->addFnAttr("no-jump-tables", "true");
  if (target_.vector_bits == 512) {
    function->addFnAttr("prefer-vector-width", "512");
    function->addFnAttr("min-legal-vector-width", "512");
  }
  lines_.AddFunction(function, marked_);
  return function;
}

void Emitter::Call(const std::string& name, const std::vector<LV>& arguments,
                   const std::function<void(const std::vector<LV>&)>& body) {
  std::vector<LV> all = {operands_, dims_, scratch_};
  all.insert(all.end(), arguments.begin(), arguments.end());
  llvm::Function* callee = module_->getFunction(name);
  if (callee == nullptr) {
    std::vector<llvm::Type*> types;
    for (LV value : all) types.push_back(value->getType());
    callee = NewFunction(types, name, llvm::GlobalValue::InternalLinkage);
    callee->addFnAttr(llvm::Attribute::NoInline);
    const llvm::IRBuilderBase::InsertPoint caller_point = builder_.saveIP();
    llvm::Function* caller = std::exchange(function_, callee);
    const LV operands = std::exchange(operands_, callee->getArg(0));
    const LV dims = std::exchange(dims_, callee->getArg(1));
    const LV scratch = std::exchange(scratch_, callee->getArg(2));
    builder_.SetInsertPoint(llvm::BasicBlock::Create(module_->getContext(), "entry", callee));
    Mark(marked_);
    {
      const AddressScope scope(*this);
      std::vector<LV> parameters;
      for (size_t i = 3; i < all.size(); ++i) parameters.push_back(callee->getArg(i));
      body(parameters);
    }
    builder_.CreateRetVoid();
    function_ = caller;
    operands_ = operands;
    dims_ = dims;
    scratch_ = scratch;
    builder_.restoreIP(caller_point);
    Mark(marked_);
  }
  builder_.CreateCall(callee, all);
}

std::vector<LV> Emitter::LoadAddresses() {
  std::vector<LV> addresses;
  for (size_t i = 0; i < kernel_.params.size(); ++i) {
    LV slot = Offset(operands_, static_cast<int64_t>(i) * 8);
    addresses.push_back(builder_.CreateLoad(builder_.getPtrTy(), slot));
  }
  return addresses;
}

LV Emitter::ParameterAddress(const ir::Value* parameter) const {
  for (size_t i = 0; i < addresses_.size(); ++i) {
    if (body().parameters()[i].get() == parameter) return addresses_[i];
  }
  NINFER_CHECK(false) << "no such parameter: " << parameter->name();
  return nullptr;
}

const program::KernelParam& Emitter::ParameterInfo(const ir::Value* parameter) const {
  for (size_t i = 0; i < addresses_.size(); ++i) {
    if (body().parameters()[i].get() == parameter) return kernel_.params[i];
  }
  NINFER_CHECK(false) << "no such parameter: " << parameter->name();
  return kernel_.params[0];
}

LV Emitter::OutputAddress(int result) const {
  int seen = 0;
  for (size_t i = 0; i < addresses_.size(); ++i) {
    if (!kernel_.params[i].written || body().parameters()[i]->type().is_kv) continue;
    if (seen++ == result) return addresses_[i];
  }
  NINFER_CHECK(false) << kernel_.name << " has no output " << result;
  return nullptr;
}

LV Emitter::DimValue(const ir::Dim& dim) {
  if (dim.is_static()) return I64(dim.offset);
  LV value = builder_.CreateLoad(builder_.getInt32Ty(), Offset(dims_, int64_t{4} * dim.symbol));
  value = builder_.CreateZExt(value, builder_.getInt64Ty());
  return dim.offset == 0 ? value : builder_.CreateAdd(value, I64(dim.offset));
}

llvm::Type* Emitter::FloatType(int lanes) {
  llvm::Type* scalar = builder_.getFloatTy();
  return lanes == 1 ? scalar : llvm::FixedVectorType::get(scalar, lanes);
}

LV Emitter::Splat(double value, int lanes) {
  return llvm::ConstantFP::get(FloatType(lanes), value);
}

LV Emitter::SplatValue(LV scalar, int lanes) {
  return lanes == 1 ? scalar : builder_.CreateVectorSplat(lanes, scalar);
}

LV Emitter::Offset(LV address, LV bytes) {
  return builder_.CreateGEP(builder_.getInt8Ty(), address, bytes);
}

LV Emitter::AddMul(LV base, LV index, int64_t factor) {
  return builder_.CreateAdd(base, builder_.CreateMul(index, I64(factor)));
}

namespace {

// The emitters have unrolled what is to be: an unrolled tile would be held in more registers than
// there are.
void ForbidUnrolling(llvm::BranchInst* latch) {
  llvm::LLVMContext& context = latch->getContext();
  llvm::Metadata* no =
      llvm::MDNode::get(context, llvm::MDString::get(context, "llvm.loop.unroll.disable"));
  llvm::MDNode* loop = llvm::MDNode::getDistinct(context, {nullptr, no});
  loop->replaceOperandWith(0, loop);
  latch->setMetadata("llvm.loop", loop);
}

}  // namespace

void Emitter::For(LV lo, LV hi, int64_t step, const std::function<void(LV)>& body) {
  ForCarry(lo, hi, step, {}, [&](LV i, const std::vector<LV>&) {
    body(i);
    return std::vector<LV>{};
  });
}

std::vector<LV> Emitter::ForCarry(
    LV lo, LV hi, int64_t step, std::vector<LV> carried,
    const std::function<std::vector<LV>(LV, const std::vector<LV>&)>& body) {
  llvm::LLVMContext& context = module_->getContext();
  llvm::BasicBlock* before = builder_.GetInsertBlock();
  auto* header = llvm::BasicBlock::Create(context, "loop", function_);
  auto* inside = llvm::BasicBlock::Create(context, "body", function_);
  auto* after = llvm::BasicBlock::Create(context, "after", function_);
  builder_.CreateBr(header);
  builder_.SetInsertPoint(header);
  llvm::PHINode* i = builder_.CreatePHI(lo->getType(), 2);
  i->addIncoming(lo, before);
  std::vector<llvm::PHINode*> phis;
  std::vector<LV> current;
  for (LV value : carried) {
    phis.push_back(builder_.CreatePHI(value->getType(), 2));
    phis.back()->addIncoming(value, before);
    current.push_back(phis.back());
  }
  builder_.CreateCondBr(builder_.CreateICmpSLT(i, hi), inside, after);
  builder_.SetInsertPoint(inside);
  const std::vector<LV> next = body(i, current);
  LV next_i = builder_.CreateAdd(i, llvm::ConstantInt::get(lo->getType(), step));
  llvm::BasicBlock* latch = builder_.GetInsertBlock();
  ForbidUnrolling(builder_.CreateBr(header));
  i->addIncoming(next_i, latch);
  for (size_t n = 0; n < phis.size(); ++n) phis[n]->addIncoming(next[n], latch);
  builder_.SetInsertPoint(after);
  return current;
}

void Emitter::If(LV condition, const std::function<void()>& then,
                 const std::function<void()>& otherwise) {
  llvm::LLVMContext& context = module_->getContext();
  auto* yes = llvm::BasicBlock::Create(context, "then", function_);
  auto* no = otherwise ? llvm::BasicBlock::Create(context, "else", function_) : nullptr;
  auto* after = llvm::BasicBlock::Create(context, "endif", function_);
  builder_.CreateCondBr(condition, yes, no != nullptr ? no : after);
  builder_.SetInsertPoint(yes);
  then();
  builder_.CreateBr(after);
  if (no != nullptr) {
    builder_.SetInsertPoint(no);
    otherwise();
    builder_.CreateBr(after);
  }
  builder_.SetInsertPoint(after);
}

void Emitter::ForColumns(int64_t columns, int lanes,
                         const std::function<void(LV column, int lanes)>& body) {
  const int64_t whole = columns / lanes * lanes;
  if (whole == lanes) {
    body(I64(0), lanes);
  } else if (whole > 0) {
    For(I64(0), I64(whole), lanes, [&](LV column) { body(column, lanes); });
  }
  if (whole < columns) {
    For(I64(whole), I64(columns), 1, [&](LV column) { body(column, 1); });
  }
}

LV Emitter::LoadFloat(LV address, DType dtype, int lanes) {
  llvm::IRBuilder<>& b = builder_;
  const llvm::Align align(DTypeSize(dtype));
  if (dtype == DType::kF32) return b.CreateAlignedLoad(FloatType(lanes), address, align);
  llvm::Type* half = b.getInt16Ty();
  llvm::Type* type = lanes == 1 ? half : llvm::FixedVectorType::get(half, lanes);
  LV raw = b.CreateAlignedLoad(type, address, align);
  if (dtype == DType::kF16) return FromF16(raw, lanes);
  NINFER_CHECK(dtype == DType::kBF16) << DTypeName(dtype);
  llvm::Type* wide = b.getInt32Ty();
  if (lanes > 1) wide = llvm::FixedVectorType::get(wide, lanes);
  return b.CreateBitCast(b.CreateShl(b.CreateZExt(raw, wide), 16), FloatType(lanes));
}

LV Emitter::LoadI32(LV address) {
  return builder_.CreateAlignedLoad(builder_.getInt32Ty(), address, llvm::Align(4));
}

LV Emitter::ToBf16(LV value, int lanes) {
  llvm::IRBuilder<>& b = builder_;
  llvm::Type* i16 = b.getInt16Ty();
  if (lanes == 16 && target_.avx512_bf16) {
    LV rounded = b.CreateIntrinsic(llvm::Intrinsic::x86_avx512bf16_cvtneps2bf16_512, {}, {value});
    return b.CreateBitCast(rounded, llvm::FixedVectorType::get(i16, lanes));
  }
  // Round to nearest, ties to even, on the integer; a NaN keeps a bit of its mantissa.
  llvm::Type* i32 = b.getInt32Ty();
  llvm::Type* wide = lanes == 1 ? i32 : llvm::FixedVectorType::get(i32, lanes);
  llvm::Type* narrow = lanes == 1 ? i16 : llvm::FixedVectorType::get(i16, lanes);
  auto constant = [&](uint64_t bits) { return llvm::ConstantInt::get(wide, bits); };
  LV bits = b.CreateBitCast(value, wide);
  LV odd = b.CreateAnd(b.CreateLShr(bits, 16), constant(1));
  LV rounded = b.CreateLShr(b.CreateAdd(b.CreateAdd(bits, odd), constant(0x7fff)), 16);
  LV quiet = b.CreateOr(b.CreateLShr(bits, 16), constant(0x40));
  LV is_nan = b.CreateFCmpUNO(value, value);
  return b.CreateTrunc(b.CreateSelect(is_nan, quiet, rounded), narrow);
}

LV Emitter::RoundTo(LV value, DType dtype, int lanes) {
  llvm::IRBuilder<>& b = builder_;
  if (dtype == DType::kF32) return value;
  if (dtype == DType::kF16) {
    return FromF16(ToF16(value, lanes), lanes);
  }
  llvm::Type* wide = b.getInt32Ty();
  if (lanes > 1) wide = llvm::FixedVectorType::get(wide, lanes);
  return b.CreateBitCast(b.CreateShl(b.CreateZExt(ToBf16(value, lanes), wide), 16),
                         FloatType(lanes));
}

void Emitter::StoreFloat(LV value, LV address, DType dtype, int lanes) {
  const llvm::Align align(DTypeSize(dtype));
  if (dtype == DType::kF32) {
    builder_.CreateAlignedStore(value, address, align);
  } else if (dtype == DType::kBF16) {
    builder_.CreateAlignedStore(ToBf16(value, lanes), address, align);
  } else {
    NINFER_CHECK(dtype == DType::kF16) << DTypeName(dtype);
    builder_.CreateAlignedStore(ToF16(value, lanes), address, align);
  }
}

LV Emitter::Fma(LV a, LV b, LV c) {
  if (!target_.fma) return builder_.CreateFAdd(builder_.CreateFMul(a, b), c);
  return builder_.CreateIntrinsic(llvm::Intrinsic::fma, {a->getType()}, {a, b, c});
}

LV Emitter::Disguised(LV value, LV held) {
  llvm::Type* type = value->getType();
  const char* reg = type->isVectorTy() ? "v" : "r";
  std::string constraints = absl::StrCat("=", reg, ",0");
  std::vector<llvm::Type*> types = {type};
  std::vector<LV> values = {value};
  if (held != nullptr) {
    absl::StrAppend(&constraints, ",", reg);
    types.push_back(held->getType());
    values.push_back(held);
  }
  llvm::FunctionType* function = llvm::FunctionType::get(type, types, /*isVarArg=*/false);
  return builder_.CreateCall(
      function,
      llvm::InlineAsm::get(function, "", constraints + ",~{memory}", /*hasSideEffects=*/true),
      values);
}

void Emitter::Prefetch(LV address) {
  LV read = builder_.getInt32(0), all_levels = builder_.getInt32(3), data = builder_.getInt32(1);
  builder_.CreateIntrinsic(llvm::Intrinsic::prefetch, {address->getType()},
                           {address, read, all_levels, data});
}

LV Emitter::Max(LV a, LV b) { return builder_.CreateSelect(builder_.CreateFCmpOGT(a, b), a, b); }

LV Emitter::Smaller(LV a, LV b) {
  return builder_.CreateSelect(builder_.CreateICmpSLT(a, b), a, b);
}

LV Emitter::Larger(LV a, LV b) { return builder_.CreateSelect(builder_.CreateICmpSGT(a, b), a, b); }

namespace {

// Halves the vector by shuffles until one element is left.
LV ReduceTree(llvm::IRBuilder<>& b, LV vector, int lanes,
              const std::function<LV(LV, LV)>& combine) {
  for (int width = lanes / 2; width >= 1; width /= 2) {
    std::vector<int> low, high;
    for (int i = 0; i < width; ++i) {
      low.push_back(i);
      high.push_back(i + width);
    }
    vector = combine(b.CreateShuffleVector(vector, low), b.CreateShuffleVector(vector, high));
  }
  return lanes == 1 ? vector : b.CreateExtractElement(vector, uint64_t{0});
}

}  // namespace

LV Emitter::ReduceAdd(LV vector, int lanes) {
  return ReduceTree(builder_, vector, lanes, [&](LV a, LV b) { return builder_.CreateFAdd(a, b); });
}

LV Emitter::ReduceMax(LV vector, int lanes) {
  return ReduceTree(builder_, vector, lanes, [&](LV a, LV b) { return Max(a, b); });
}

void Emitter::Finish() {
  builder_.CreateRetVoid();
  lines_.Finish();
}

}  // namespace ninfer::codegen
