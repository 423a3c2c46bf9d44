#include "tests/support/kernel_harness.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "eager/evaluator.h"
#include "eager/program_memory.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "program/body.h"
#include "program/scratch.h"
#include "tests/support/emulator.h"
#include "tests/support/guarded_memory.h"
#include "tests/support/kernel_operands.h"
#include "tests/tier.h"

namespace ninfer {
namespace {

constexpr char kOracle[] = "oracle";

std::string DescribeEngines(absl::Span<const Engine> engines) {
  std::vector<std::string> lines;
  for (const Engine& engine : engines) {
    lines.push_back(absl::StrCat(
        engine.name, ": ", engine.skipped.empty() ? "ran" : "skipped (" + engine.skipped + ")"));
  }
  return absl::StrJoin(lines, ", ");
}

bool SameNumber(float found, float expected, double bound) {
  if (std::isnan(expected)) return std::isnan(found);
  if (std::isinf(expected) || std::isnan(found)) return found == expected;
  return std::abs(double{found} - double{expected}) <= bound;
}

}  // namespace

// Mapped here, or in an emulator.
struct KernelHarness::Code {
  Code(codegen::CodeImage i, bool emulated) : image(std::move(i)) {
    if (emulated) {
      emulator = std::make_unique<Emulator>(image);
    } else {
      mapped = std::make_unique<MappedCode>(image);
    }
  }
  RunOutcome Run(int kernel, const std::vector<std::unique_ptr<GuardedMemory>>& memory,
                 const std::vector<int32_t>& dims, const std::vector<int64_t>& bounds) const {
    const uint64_t offset = image.kernels[kernel].offset;
    if (emulator != nullptr) return emulator->Run(offset, memory, dims, bounds, eager::kPoison);
    return RunWatched(mapped->At(offset), memory, dims, bounds);
  }

  codegen::CodeImage image;
  std::unique_ptr<MappedCode> mapped;
  std::unique_ptr<Emulator> emulator;
};

std::vector<std::string> TestedTargets() {
  if (FullTier()) return codegen::ListTargets();
  std::string widest = "zen4";  // where none runs, it is generated alone
  for (const char* name : {"x86-64-v4", "zen4", "sapphirerapids"}) {
    if (WhyNotHere(*codegen::FindTarget(name)).empty()) widest = name;
  }
  return {"x86-64", "neoverse-n1", "x86-64-v3", widest};
}

KernelHarness::KernelHarness(std::vector<std::string> targets, int64_t pages) : pages_(pages) {
  program_.name = "harness";
  program_.symbols = {{"T", 1, 2048},
                      {"S", 1, 64},
                      {"R", 1, 512},
                      {"C", 1, int64_t{8} * pages * program::KvLayout::kPagePositions},
                      {"G", 1, pages}};
  engines_.push_back({kOracle, ""});
  if (targets.empty()) targets = TestedTargets();
  for (const std::string& name : targets) {
    const auto target = codegen::FindTarget(name);
    NINFER_CHECK(target.ok()) << target.status().ToString();
    const bool emulated = Emulator::IsFor(*target);
    engines_.push_back({name, emulated ? Emulator::WhyNot() : WhyNotHere(*target)});
  }
}

KernelHarness::~KernelHarness() = default;

int KernelHarness::Add(const KernelSource& source) {
  const std::string text = absl::StrCat("func @", source.name, source.body);
  size_t consumed = 0;
  auto inputs_only = ir::ParseFunction(text, source.name, 1, program_.symbols, &consumed);
  NINFER_CHECK(inputs_only.ok()) << inputs_only.status().ToString() << "\n" << text;
  program::Kernel kernel;
  kernel.name = source.name;
  kernel.family = source.family;
  absl::flat_hash_map<const ir::Value*, ir::Value*> values;
  kernel.body = ir::CloneFunction(**inputs_only, source.name, values);
  for (const auto& parameter : kernel.body->parameters()) {
    program::KernelParam param;
    const auto weight = source.weights.find(parameter->name());
    if (weight != source.weights.end()) {
      param.kind = program::OperandKind::kWeight;
      param.format = weight->second;
      if (formats::InfoOf(param.format).is_panel) param.segments = source.segments;
    } else if (parameter->type().is_kv) {
      param.kind = source.scratch_pool ? program::OperandKind::kBuffer : program::OperandKind::kKv;
      param.written = source.family == program::Family::kKvAppend;
    } else if (parameter->type().dtype == DType::kI32 &&
               source.family != program::Family::kArgmax) {
      param.kind = program::OperandKind::kArgument;
    }
    kernel.params.push_back(param);
  }
  program::KernelParam output;
  output.written = true;
  for (const ir::Value* result : std::vector<ir::Value*>(kernel.body->results())) {
    if (result->type().is_kv) continue;
    kernel.body->AddParameter(absl::StrCat("y", kernel.params.size()), result->type());
    kernel.params.push_back(output);
  }
  const ir::Node* attention = program::FindNode(*kernel.body, ir::Op::kPagedAttention);
  if (attention != nullptr && attention->attr_string("form") == "naive") {
    ir::Type scores = attention->operand(0)->type();
    scores.dtype = DType::kF32;
    scores.shape[2] = ir::Dim::Static(pages_ * program::KvLayout::kPagePositions);
    kernel.body->AddParameter("scores", scores);
    kernel.params.push_back(output);
  }
  return Finish(std::move(kernel), std::move(*inputs_only));
}

int KernelHarness::Add(const program::Program& program, int index) {
  const program::Kernel& from = program.kernels[index];
  program_.symbols = program.symbols;
  program::Kernel kernel;
  kernel.name = absl::StrCat(from.name, "_k", program_.kernels.size());
  kernel.family = from.family;
  kernel.params = from.params;
  absl::flat_hash_map<const ir::Value*, ir::Value*> values, oracle_values;
  kernel.body = ir::CloneFunction(*from.body, kernel.name, values);
  auto inputs_only = ir::CloneFunction(*from.body, kernel.name, oracle_values);
  for (int i = program::NumOutputs(from); i > 0; --i) {
    inputs_only->RemoveParameter(inputs_only->parameters().back().get());
  }
  return Finish(std::move(kernel), std::move(inputs_only));
}

int KernelHarness::Finish(program::Kernel kernel, std::unique_ptr<ir::Function> inputs_only) {
  kernel.kv = program::KvOf(*kernel.body);
  absl::Status status = ir::VerifyFunction(*kernel.body, program_.symbols, ir::Stage::kFused);
  if (status.ok()) status = program::CheckBody(kernel, program_.symbols);
  NINFER_CHECK(status.ok()) << kernel.name << ": " << status.ToString();
  kernel.units = program::UnitsOf(kernel);
  kernel.scratch_bytes = program::ScratchBytes(kernel, program_.symbols);
  program_.kernels.push_back(std::move(kernel));
  oracle_bodies_.push_back(std::move(inputs_only));
  return static_cast<int>(program_.kernels.size()) - 1;
}

void KernelHarness::Compile(const codegen::CodegenOptions& options) {
  for (const Engine& engine : engines_) {
    if (engine.is_oracle() || !engine.skipped.empty()) continue;
    const codegen::Target target = *codegen::FindTarget(engine.name);
    auto image = codegen::GenerateCode(program_, target, options);
    ASSERT_TRUE(image.ok()) << engine.name << ": " << image.status();
    ASSERT_EQ(image->kernels.size(), program_.kernels.size());
    code_[engine.name] = std::make_unique<Code>(std::move(*image), Emulator::IsFor(target));
  }
}

const codegen::CodeImage* KernelHarness::image(const std::string& engine) const {
  const auto it = code_.find(engine);
  return it == code_.end() ? nullptr : &it->second->image;
}

void KernelHarness::Skip(const std::string& name, const std::string& why) {
  for (Engine& engine : engines_) {
    if (engine.name == name) engine.skipped = why;
  }
}

// --- runs ----------------------------------------------------------------------------------------

absl::StatusOr<std::vector<int64_t>> KernelHarness::DimsOf(int index,
                                                           const Operands& operands) const {
  std::vector<int64_t> dims(program_.symbols.size(), -1);
  for (size_t i = 0; i < program_.symbols.size(); ++i) {
    const auto it = operands.dims.find(program_.symbols[i].name);
    if (it != operands.dims.end()) dims[i] = it->second;
  }
  for (const auto& parameter : oracle_bodies_[index]->parameters()) {
    if (parameter->type().is_kv) continue;
    const auto it = operands.tensors.find(parameter->name());
    if (it == operands.tensors.end()) continue;
    NINFER_RETURN_IF_ERROR(eager::BindShape(absl::StrCat("%", parameter->name()), parameter->type(),
                                            it->second.shape, program_.symbols, dims));
  }
  return dims;
}

int64_t KernelHarness::Units(int index, const Operands& operands) const {
  const auto dims = DimsOf(index, operands);
  NINFER_CHECK(dims.ok()) << dims.status().ToString();
  const std::vector<int32_t> values(dims->begin(), dims->end());
  return kernel(index).units.Count(values.data());
}

void KernelHarness::FillRandom(int index, uint64_t seed, Operands* operands) const {
  Random random(seed);
  const auto dims = DimsOf(index, *operands);
  NINFER_CHECK(dims.ok()) << dims.status().ToString();
  for (const auto& parameter : oracle_bodies_[index]->parameters()) {
    const ir::Type& type = parameter->type();
    if (type.is_kv || !IsFloat(type.dtype) || operands->tensors.count(parameter->name()) != 0) {
      continue;
    }
    const std::vector<int64_t> shape = ShapeOf(type, *dims);
    std::vector<float> values(Product(shape, 0));
    for (float& value : values) value = random.Normal();
    const auto& params = kernel(index).params;
    const size_t at =
        static_cast<size_t>(program::ParameterIndex(*oracle_bodies_[index], parameter.get()));
    const QuantiseScheme* scheme = params[at].kind == program::OperandKind::kWeight
                                       ? formats::InfoOf(params[at].format).scheme
                                       : nullptr;
    for (size_t row = 0; scheme != nullptr && row < values.size(); row += shape.back()) {
      // Away from scales that f16 holds with few bits: packing must give the same once more.
      for (int64_t k = 0; k < shape.back(); ++k)
        values[row + k] += std::copysign(0.1f, values[row + k]);
      QuantiseRow(*scheme, &values[row], shape.back(), &values[row]);
    }
    operands->tensors[parameter->name()] =
        Rounded(eager::Tensor::Floats(shape, std::move(values)), type.dtype);
  }
}

absl::StatusOr<KernelRun> KernelHarness::Run(const std::string& engine, int index,
                                             const Operands& operands,
                                             const std::vector<int64_t>& cuts) const {
  for (const auto& parameter : oracle_bodies_[index]->parameters()) {
    const bool given = parameter->type().is_kv ? !operands.pool.empty()
                                               : operands.tensors.count(parameter->name()) != 0;
    if (!given) {
      return InvalidArgument("kernel ", kernel(index).name, ": no operand %", parameter->name());
    }
  }
  if (engine == kOracle) return RunOracle(index, operands);
  std::vector<int64_t> bounds = {0};
  bounds.insert(bounds.end(), cuts.begin(), cuts.end());
  bounds.push_back(Units(index, operands));
  return RunUnits(engine, index, operands, bounds);
}

absl::StatusOr<KernelRun> KernelHarness::RunUnits(const std::string& engine, int index,
                                                  const Operands& operands,
                                                  const std::vector<int64_t>& bounds) const {
  const auto it = code_.find(engine);
  if (it == code_.end()) return InvalidArgument("no code for ", engine);
  auto run = RunCode(*it->second, index, operands, bounds);
  if (run.ok()) return run;
  return Annotate(run.status(), absl::StrCat(engine, ": kernel ", kernel(index).name));
}

absl::StatusOr<KernelRun> KernelHarness::RunOracle(int index, const Operands& operands) const {
  eager::ThreadPool threads(1);
  eager::Workspace workspace;
  eager::Evaluator evaluator({&threads, &workspace}, program_.symbols);
  KernelRun run;
  run.pool = operands.pool;
  const program::KvLayout& kv = kernel(index).kv;
  const int64_t pages =
      run.pool.empty() ? 0 : static_cast<int64_t>(run.pool.size()) / kv.page_bytes();
  eager::LayoutStore store(kv, run.pool.data(), pages);
  std::vector<eager::Slot> slots;
  for (const auto& parameter : oracle_bodies_[index]->parameters()) {
    eager::Slot slot;
    if (parameter->type().is_kv) {
      slot.kv = &store;
    } else {
      slot.tensor = operands.tensors.at(parameter->name());
      slot.tensor.dtype = parameter->type().dtype;
    }
    slots.push_back(std::move(slot));
  }
  NINFER_ASSIGN_OR_RETURN(std::vector<int64_t> dims, DimsOf(index, operands));
  evaluator.set_dims(std::move(dims));
  NINFER_ASSIGN_OR_RETURN(std::vector<eager::Slot> results,
                          evaluator.Run(*oracle_bodies_[index], slots, nullptr));
  for (eager::Slot& result : results) {
    if (result.kv == nullptr) run.results.push_back(std::move(result.tensor));
  }
  return run;
}

// The operands' memory, parameter by parameter; outputs hold nothing.
std::vector<std::unique_ptr<GuardedMemory>> KernelHarness::Place(
    int index, const Operands& operands, absl::Span<const int64_t> dims) const {
  const program::Kernel& kernel = program_.kernels[index];
  std::vector<std::unique_ptr<GuardedMemory>> memory;
  const auto allocate = [&](const std::string& name, size_t bytes) {
    memory.push_back(std::make_unique<GuardedMemory>("%" + name, bytes, eager::kPoison));
    return memory.back()->data();
  };
  for (size_t i = 0; i < kernel.params.size(); ++i) {
    const ir::Value& parameter = *kernel.body->parameters()[i];
    const ir::Type& type = parameter.type();
    const program::KernelParam& param = kernel.params[i];
    const auto tensor = operands.tensors.find(parameter.name());
    if (type.is_kv) {
      uint8_t* pool = allocate(parameter.name(), operands.pool.size());
      std::memcpy(pool, operands.pool.data(), operands.pool.size());
    } else if (param.kind == program::OperandKind::kWeight) {
      const formats::PackedShape shape = PackedShapeOf(type, param.segments);
      Pack(tensor->second, param.format, shape,
           allocate(parameter.name(), formats::PackedBytes(param.format, shape)));
    } else {
      const Extent extent = ExtentOf(type, dims, param.kind == program::OperandKind::kArgument);
      uint8_t* rows = allocate(parameter.name(), extent.bytes(type.dtype));
      if (!param.written) Store(tensor->second, type, extent, rows);
    }
  }
  return memory;
}

absl::StatusOr<KernelRun> KernelHarness::RunCode(const Code& code, int index,
                                                 const Operands& operands,
                                                 const std::vector<int64_t>& bounds) const {
  const program::Kernel& kernel = program_.kernels[index];
  NINFER_ASSIGN_OR_RETURN(const std::vector<int64_t> dims, DimsOf(index, operands));
  auto memory = Place(index, operands, dims);
  std::vector<std::string> before;  // of what the kernel may only read
  for (size_t i = 0; i < memory.size(); ++i) {
    before.push_back(kernel.params[i].written ? "" : memory[i]->Bytes());
  }
  memory.push_back(
      std::make_unique<GuardedMemory>("scratch", kernel.scratch_bytes, eager::kPoison));
  // Symbols that the kernel cannot know have a value that no loop survives.
  std::vector<int32_t> values;
  for (const int64_t dim : dims) values.push_back(dim < 0 ? INT32_MAX : static_cast<int32_t>(dim));
  const RunOutcome outcome = code.Run(index, memory, values, bounds);
  if (outcome.memory >= 0) {
    return absl::OutOfRangeError(absl::StrCat("reads or writes at byte ", outcome.at, " of ",
                                              memory[outcome.memory]->name()));
  }
  if (outcome.signal != 0) {
    return absl::OutOfRangeError(absl::StrCat("stopped by signal ", outcome.signal));
  }
  if (outcome.written_beside >= 0) {
    return absl::OutOfRangeError(
        absl::StrCat("writes beside ", memory[outcome.written_beside]->name()));
  }
  for (size_t i = 0; i < before.size(); ++i) {
    if (!kernel.params[i].written && memory[i]->Bytes() != before[i]) {
      return absl::OutOfRangeError(absl::StrCat("writes to its input ", memory[i]->name()));
    }
  }
  return ReadBack(index, dims, memory);
}

KernelRun KernelHarness::ReadBack(int index, absl::Span<const int64_t> dims,
                                  const std::vector<std::unique_ptr<GuardedMemory>>& memory) const {
  const program::Kernel& kernel = program_.kernels[index];
  KernelRun run;
  size_t next = oracle_bodies_[index]->parameters().size();
  for (const ir::Value* result : kernel.body->results()) {
    if (result->type().is_kv) continue;
    const Extent extent = ExtentOf(result->type(), dims, false);
    run.results.push_back(Load(result->type(), dims, extent, memory[next++]->data()));
  }
  for (size_t i = 0; i < kernel.params.size(); ++i) {
    if (!kernel.body->parameters()[i]->type().is_kv) continue;
    const std::string bytes = memory[i]->Bytes();
    run.pool.assign(bytes.begin(), bytes.end());
  }
  return run;
}

// --- expectations --------------------------------------------------------------------------------

void KernelHarness::ForEachEngine(
    int index, const std::function<void(const std::string& engine)>& check) const {
  int ran = 0;
  for (const Engine& engine : engines_) {
    if (engine.is_oracle() || !engine.skipped.empty()) continue;
    ++ran;
    SCOPED_TRACE(absl::StrCat(engine.name, ": ", kernel(index).name));
    check(engine.name);
  }
  EXPECT_GT(ran, 0) << kernel(index).name
                    << " ran on no engine but the oracle: " << DescribeEngines(engines_);
}

void KernelHarness::ExpectAgree(int index, const Operands& operands, Bound bound,
                                const std::vector<eager::Tensor>* reference) const {
  std::vector<eager::Tensor> expected;
  if (reference == nullptr) {
    auto oracle = Run(kOracle, index, operands);
    ASSERT_TRUE(oracle.ok()) << kernel(index).name << ": " << oracle.status();
    expected = oracle->results;
  } else {
    expected = *reference;
  }
  std::vector<std::vector<double>> bounds;
  for (const eager::Tensor& tensor : expected) {
    bounds.emplace_back();
    if (tensor.floats == nullptr) continue;
    for (const float value : *tensor.floats) {
      bounds.back().push_back(bound.absolute + bound.relative * std::abs(value));
    }
  }
  ExpectWithin(index, operands, expected, bounds);
}

void KernelHarness::ExpectWithin(int index, const Operands& operands,
                                 const std::vector<eager::Tensor>& reference,
                                 const std::vector<std::vector<double>>& bounds) const {
  ForEachEngine(index, [&](const std::string& engine) {
    const auto run = Run(engine, index, operands);
    ASSERT_TRUE(run.ok()) << run.status();
    ASSERT_EQ(run->results.size(), reference.size());
    for (size_t r = 0; r < reference.size(); ++r) {
      ASSERT_EQ(run->results[r].shape, reference[r].shape);
      if (reference[r].ints != nullptr) {
        EXPECT_EQ(*run->results[r].ints, *reference[r].ints);
        continue;
      }
      const std::vector<float>& expected = *reference[r].floats;
      const std::vector<float>& found = *run->results[r].floats;
      const int64_t columns = Product(reference[r].shape, 1);
      int64_t wrong = 0;
      std::string first;
      for (size_t i = 0; i < expected.size(); ++i) {
        if (SameNumber(found[i], expected[i], bounds[r][i])) continue;
        if (wrong++ > 2) continue;
        absl::StrAppend(&first, "\n  row ", static_cast<int64_t>(i) / columns, " column ",
                        static_cast<int64_t>(i) % columns, ": expected ", expected[i], ", found ",
                        found[i], ", bound ", bounds[r][i]);
      }
      EXPECT_EQ(wrong, 0) << "result " << r << ", of " << expected.size() << " elements" << first;
    }
  });
}

void KernelHarness::ExpectUnitsIndependent(int index, const Operands& operands,
                                           uint64_t seed) const {
  const int64_t units = Units(index, operands);
  if (units < 2) return;
  Random random(seed);
  ForEachEngine(index, [&](const std::string& engine) {
    const auto whole = Run(engine, index, operands);
    ASSERT_TRUE(whole.ok()) << whole.status();
    std::vector<std::vector<int64_t>> cuts = {{units / 2}, {random.Between(1, units - 1)}, {}};
    for (int64_t cut = 1; cut < units; cut += random.Between(1, 2)) cuts.back().push_back(cut);
    for (const std::vector<int64_t>& cut : cuts) {
      const auto parts = Run(engine, index, operands, cut);
      ASSERT_TRUE(parts.ok()) << parts.status();
      for (size_t r = 0; r < whole->results.size(); ++r) {
        EXPECT_TRUE(SameBits(whole->results[r], parts->results[r]))
            << "result " << r << ", units cut at " << absl::StrJoin(cut, ", ");
      }
      EXPECT_TRUE(whole->pool == parts->pool) << "units cut at " << absl::StrJoin(cut, ", ");
    }
  });
}

void KernelHarness::ExpectRowsIndependent(int index, const Operands& operands,
                                          const std::string& symbol, int64_t first,
                                          int64_t last) const {
  Operands alone = operands;
  alone.dims.erase(symbol);
  for (const auto& parameter : oracle_bodies_[index]->parameters()) {
    const ir::Type& type = parameter->type();
    if (type.is_kv || type.rank() == 0 || type.shape[0].is_static()) continue;
    if (program_.symbols[type.shape[0].symbol].name != symbol) continue;
    eager::Tensor& tensor = alone.tensors[parameter->name()];
    tensor = SliceRows(tensor, first, last);
  }
  ForEachEngine(index, [&](const std::string& engine) {
    const auto among = Run(engine, index, operands);
    ASSERT_TRUE(among.ok()) << among.status();
    const auto run = Run(engine, index, alone);
    ASSERT_TRUE(run.ok()) << run.status();
    for (size_t r = 0; r < run->results.size(); ++r) {
      EXPECT_TRUE(SameBits(SliceRows(among->results[r], first, last), run->results[r]))
          << "result " << r << ", rows " << first << " to " << last;
    }
  });
}

}  // namespace ninfer
