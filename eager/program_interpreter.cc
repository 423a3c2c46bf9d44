// Launch by launch: operands out of the arena, the body by the graph's evaluator, results into the
// arena. A replicated launch of a step of few rows is evaluated once for each virtual thread, on
// that thread's replicas; a dealt launch once, after its replicated inputs were found equal in all
// replicas. A buffer is poisoned again after its last launch, before the launch's results are
// written, so that a result may take the place of an input.
//
// Shares with target code the program, the packed weights and the layouts; no kernel.
// Tested by tests/program_interpreter_test.cc.
#include "eager/program_interpreter.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/status.h"
#include "eager/arguments.h"
#include "eager/evaluator.h"
#include "eager/program_memory.h"
#include "program/verifier.h"

namespace ninfer::eager {
namespace {

using program::OperandKind;

int HostThreads() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

}  // namespace

struct ProgramInterpreter::State {
  State(const program::Program* p, const uint8_t* w, int thread_count, ProgramMemory m)
      : program(p),
        packed(w),
        threads(thread_count),
        memory(std::move(m)),
        host(HostThreads()),
        evaluator({&host, &workspace}, p->symbols),
        weights(p->weights.size()) {}

  absl::Status RunLaunch(int64_t index, const Step& step, bool few);
  absl::StatusOr<std::vector<Tensor>> Evaluate(const program::Launch& launch, const Step& step,
                                               int thread);
  absl::StatusOr<Slot> OperandOf(const program::Launch& launch, size_t index, const Step& step,
                                 int thread);
  absl::Status CheckReplicas(const program::Launch& launch) const;
  const Tensor& Weight(int index, const ir::Type& type);

  const program::Program* program;
  const uint8_t* packed;
  int threads;  // virtual
  ProgramMemory memory;
  ThreadPool host;
  Workspace workspace;
  Evaluator evaluator;
  std::vector<Tensor> weights;                       // unpacked when first used
  std::vector<std::unique_ptr<LayoutStore>> stores;  // of the launch at hand
};

const Tensor& ProgramInterpreter::State::Weight(int index, const ir::Type& type) {
  Tensor& tensor = weights[index];
  if (tensor.floats != nullptr) return tensor;
  const program::PackedWeight& weight = program->weights[index];
  const formats::PackedShape& shape = weight.shape;
  tensor.dtype = type.dtype;
  for (const ir::Dim& dim : type.shape) tensor.shape.push_back(dim.offset);
  tensor.floats = std::make_shared<std::vector<float>>(shape.n * shape.segments * shape.k);
  const int64_t panels = (shape.n + formats::kPanelColumns - 1) / formats::kPanelColumns;
  host.For(shape.segments * panels, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t segment = i / panels, n0 = i % panels * formats::kPanelColumns;
      formats::UnpackRows(weight.format, shape, segment, n0,
                          std::min(n0 + formats::kPanelColumns, shape.n), packed + weight.offset,
                          tensor.floats->data() + (segment * shape.n + n0) * shape.k);
    }
  });
  return tensor;
}

absl::StatusOr<Slot> ProgramInterpreter::State::OperandOf(const program::Launch& launch,
                                                          size_t index, const Step& step,
                                                          int thread) {
  const program::Kernel& kernel = program->kernels[launch.kernel];
  const program::Operand& operand = launch.operands[index];
  const ir::Type& type = kernel.body->parameters()[index]->type();
  Slot slot;
  switch (operand.kind) {
    case OperandKind::kWeight:
      slot.tensor = Weight(operand.index, type);
      return slot;
    case OperandKind::kArgument:
      slot.tensor = step.arguments[operand.index];
      return slot;
    case OperandKind::kKv:
      stores.push_back(std::make_unique<LayoutStore>(
          program->kv[operand.index].layout, memory.Pool(operand.index), memory.kv_pages()));
      slot.kv = stores.back().get();
      return slot;
    case OperandKind::kBuffer:
      break;
  }
  const program::Buffer& buffer = program->buffers[operand.index];
  if (buffer.kv.has_value()) {
    stores.push_back(std::make_unique<LayoutStore>(
        *buffer.kv, memory.Address(operand.index, thread), buffer.bytes / buffer.kv->page_bytes()));
    slot.kv = stores.back().get();
  } else if (!kernel.params[index].written) {
    NINFER_ASSIGN_OR_RETURN(slot.tensor, memory.Read(operand.index, type, thread, &workspace));
  }
  return slot;
}

absl::StatusOr<std::vector<Tensor>> ProgramInterpreter::State::Evaluate(
    const program::Launch& launch, const Step& step, int thread) {
  stores.clear();
  std::vector<Slot> operands;
  for (size_t i = 0; i < launch.operands.size(); ++i) {
    NINFER_ASSIGN_OR_RETURN(Slot slot, OperandOf(launch, i, step, thread));
    operands.push_back(std::move(slot));
  }
  evaluator.set_dims(step.dims);
  const program::Kernel& kernel = program->kernels[launch.kernel];
  NINFER_ASSIGN_OR_RETURN(std::vector<Slot> results,
                          evaluator.Run(*kernel.body, operands, nullptr));
  for (const auto& store : stores) {
    if (store->read_poison()) {
      return InvalidArgument("a position of the KV cache is read and holds no value");
    }
  }
  std::vector<Tensor> tensors;
  for (Slot& result : results) {
    if (result.kv == nullptr) tensors.push_back(std::move(result.tensor));
  }
  return tensors;
}

absl::Status ProgramInterpreter::State::CheckReplicas(const program::Launch& launch) const {
  const program::Kernel& kernel = program->kernels[launch.kernel];
  for (size_t i = 0; i < launch.operands.size(); ++i) {
    const program::Operand& operand = launch.operands[i];
    if (operand.kind != OperandKind::kBuffer || kernel.params[i].written) continue;
    const program::Buffer& buffer = program->buffers[operand.index];
    for (int thread = 1; buffer.replicated && thread < threads; ++thread) {
      if (memory.SameReplicas(operand.index, 0, thread)) continue;
      return InvalidArgument("buffer %", buffer.name, ": the replica of thread ", thread,
                             " differs from that of thread 0");
    }
  }
  return absl::OkStatus();
}

absl::Status ProgramInterpreter::State::RunLaunch(int64_t index, const Step& step, bool few) {
  const program::Launch& launch = program->launches[index];
  const program::Kernel& kernel = program->kernels[launch.kernel];
  const int copies = launch.replicated && few ? threads : 1;
  if (few && !launch.replicated) NINFER_RETURN_IF_ERROR(CheckReplicas(launch));
  std::vector<std::vector<Tensor>> results;
  for (int thread = 0; thread < copies; ++thread) {
    NINFER_ASSIGN_OR_RETURN(std::vector<Tensor> tensors, Evaluate(launch, step, thread));
    results.push_back(std::move(tensors));
  }
  for (size_t b = 0; b < program->buffers.size(); ++b) {
    const program::Buffer& buffer = program->buffers[b];
    const bool ends = buffer.last_launch == index && buffer.first_launch < index;
    if (ends && !buffer.is_output) memory.Poison(static_cast<int>(b));
  }
  for (int thread = 0; thread < copies; ++thread) {
    size_t next = 0;
    for (size_t i = 0; i < launch.operands.size() && next < results[thread].size(); ++i) {
      const program::Operand& operand = launch.operands[i];
      if (!kernel.params[i].written || operand.kind != OperandKind::kBuffer ||
          program->buffers[operand.index].kv.has_value()) {
        continue;
      }
      NINFER_RETURN_IF_ERROR(memory.Write(operand.index, results[thread][next++], thread));
    }
  }
  return absl::OkStatus();
}

ProgramInterpreter::ProgramInterpreter(std::unique_ptr<State> state) : state_(std::move(state)) {}
ProgramInterpreter::~ProgramInterpreter() = default;

absl::StatusOr<std::unique_ptr<ProgramInterpreter>> ProgramInterpreter::Create(
    const program::Program* program, const uint8_t* packed, int threads, int64_t kv_pages) {
  NINFER_RETURN_IF_ERROR(program::Verify(*program));
  for (const program::PackedWeight& weight : program->weights) {
    if (weight.offset < 0) {
      return InvalidArgument("weight ", weight.name, ": expected an offset, found none");
    }
  }
  NINFER_ASSIGN_OR_RETURN(ProgramMemory memory, ProgramMemory::Create(program, threads, kv_pages));
  return std::unique_ptr<ProgramInterpreter>(
      new ProgramInterpreter(std::make_unique<State>(program, packed, threads, std::move(memory))));
}

absl::StatusOr<Tensor> ProgramInterpreter::Run(const StepArguments& arguments) {
  const program::Program& program = *state_->program;
  std::vector<NamedType> names;
  for (const program::Argument& argument : program.arguments) {
    names.push_back({argument.name, argument.type});
  }
  NINFER_ASSIGN_OR_RETURN(
      Step step, ResolveStep(arguments, names, program.symbols, state_->memory.kv_pages()));
  // What no argument tells is a choice of the plan: the width of a scratch page table.
  for (size_t i = 0; i < step.dims.size(); ++i) {
    if (step.dims[i] < 0) step.dims[i] = program.symbols[i].max;
  }
  state_->memory.BeginStep(step.dims);
  const bool few = static_cast<int64_t>(arguments.tokens.size()) <= program.few_rows;
  for (size_t i = 0; i < program.launches.size(); ++i) {
    const absl::Status status = state_->RunLaunch(static_cast<int64_t>(i), step, few);
    if (status.ok()) continue;
    return Annotate(status, absl::StrCat("launch ", i, " (",
                                         program.kernels[program.launches[i].kernel].name, ")"));
  }
  return state_->memory.Read(program.output, program.buffers[program.output].type, 0,
                             &state_->workspace);
}

}  // namespace ninfer::eager
