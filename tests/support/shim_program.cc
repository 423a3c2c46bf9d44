#include "tests/support/shim_program.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/status.h"
#include "cuda/generate/kv_layout.h"
#include "cuda/generate/weights.h"
#include "eager/arguments.h"
#include "eager/program_interpreter.h"
#include "eager/program_memory.h"
#include "tests/support/kernel_operands.h"

namespace ninfer {
namespace {

// Aligned for 16-byte loads: the vectors' own memory is.
void Poison(std::vector<uint8_t>& bytes) {
  const uint16_t poison = eager::kPoison;
  for (size_t i = 0; i + 2 <= bytes.size(); i += 2) std::memcpy(bytes.data() + i, &poison, 2);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ShimProgram>> ShimProgram::Create(const program::Program* program,
                                                                 const ir::WeightSource& weights,
                                                                 int64_t kv_pages,
                                                                 const std::string& name) {
  auto shim = std::unique_ptr<ShimProgram>(new ShimProgram);
  shim->program_ = program;
  shim->kv_pages_ = kv_pages;
  NINFER_ASSIGN_OR_RETURN(cuda::Source source, cuda::Generate(*program));
  NINFER_ASSIGN_OR_RETURN(shim->module_,
                          cuda::HostModule::Compile(std::move(source), NINFER_CXX_COMPILER,
                                                    NINFER_SOURCE_DIR, testing::TempDir(), name));
  const cuda::WeightPlaces places = cuda::PlaceWeights(*program);
  shim->weight_offsets_ = places.offsets;
  shim->weights_.resize(places.bytes);
  NINFER_RETURN_IF_ERROR(eager::EvaluateWeights(
      *program, weights, 1, [](int64_t) {},
      [&](const program::PackedWeight& weight, int64_t segment, int64_t n0, int64_t n1,
          const float* rows) {
        const int64_t at = places.offsets[&weight - program->weights.data()];
        cuda::PackCardRows(weight.format, weight.shape, segment, n0, n1, rows,
                           shim->weights_.data() + at);
      }));
  shim->arena_.resize(program->arena_bytes + program->replica_bytes);
  for (const program::KvState& state : program->kv) {
    shim->pools_.emplace_back(kv_pages * cuda::KvPage(state.layout).bytes());
    Poison(shim->pools_.back());
  }
  return shim;
}

uint8_t* ShimProgram::BufferAt(int index) {
  const program::Buffer& buffer = program_->buffers[index];
  return arena_.data() + (buffer.replicated ? program_->arena_bytes : 0) + buffer.offset;
}

absl::StatusOr<eager::Tensor> ShimProgram::Run(const eager::StepArguments& arguments) {
  std::vector<eager::NamedType> names;
  for (const program::Argument& argument : program_->arguments) {
    names.push_back({argument.name, argument.type});
  }
  NINFER_ASSIGN_OR_RETURN(eager::Step step,
                          eager::ResolveStep(arguments, names, program_->symbols, kv_pages_));
  for (size_t i = 0; i < step.dims.size(); ++i) {
    if (step.dims[i] < 0) step.dims[i] = program_->symbols[i].max;
  }
  const std::vector<int32_t> dims(step.dims.begin(), step.dims.end());
  std::vector<std::vector<uint8_t>> given;
  for (size_t i = 0; i < names.size(); ++i) {
    const ir::Type& type = names[i].type;
    const Extent extent = ExtentOf(type, step.dims, type.dtype == DType::kI32);
    given.emplace_back(extent.bytes(type.dtype));
    Poison(given.back());
    Store(step.arguments[i], type, extent, given.back().data());
  }
  Poison(arena_);
  for (const program::Launch& launch : program_->launches) {
    std::vector<void*> operands;
    for (const program::Operand& operand : launch.operands) {
      switch (operand.kind) {
        case program::OperandKind::kBuffer:
          operands.push_back(BufferAt(operand.index));
          break;
        case program::OperandKind::kWeight:
          operands.push_back(weights_.data() + weight_offsets_[operand.index]);
          break;
        case program::OperandKind::kArgument:
          operands.push_back(given[operand.index].data());
          break;
        case program::OperandKind::kKv:
          operands.push_back(pools_[operand.index].data());
          break;
      }
    }
    module_->Launch(launch.kernel, operands, dims);
  }
  dims_ = step.dims;
  const program::Buffer& output = program_->buffers[program_->output];
  return Load(output.type, step.dims, ExtentOf(output.type, step.dims, false),
              BufferAt(program_->output));
}

eager::Tensor ShimProgram::Argmax() {
  if (program_->argmax < 0) return eager::Tensor();
  const ir::Type& type = program_->buffers[program_->argmax].type;
  return Load(type, dims_, ExtentOf(type, dims_, false), BufferAt(program_->argmax));
}

}  // namespace ninfer
