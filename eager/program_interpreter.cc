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
#include "eager/streamed_constant.h"
#include "program/verifier.h"

namespace ninfer::eager {
namespace {

using program::OperandKind;

// A packed weight, unpacked where it is read.
class Packed : public StreamedConstant {
 public:
  Packed(const program::PackedWeight& weight, const ir::Type& type, const uint8_t* packed,
         Workspace* memory)
      : StreamedConstant(type, type.rank() == 2, memory),
        weight_(weight),
        packed_(packed + weight.offset) {}

  absl::Status ReadRows(int64_t row0, int64_t row1, float* out) const override {
    const formats::PackedShape& packed = weight_.shape;
    if (shape().size() < 2) {  // its elements are columns of one row
      std::vector<float> row(packed.k);
      formats::UnpackRows(weight_.format, packed, 0, 0, 1, packed_, row.data());
      std::copy(row.begin() + row0, row.begin() + row1, out);
      return absl::OkStatus();
    }
    if (shape().size() == 3) {  // a segment for each expert
      for (int64_t segment = row0; segment < row1; ++segment) {
        formats::UnpackRows(weight_.format, packed, segment, 0, packed.n, packed_, out);
        out += packed.n * packed.k;
      }
      return absl::OkStatus();
    }
    std::vector<float> panel(formats::kPanelColumns * packed.k);
    for (int64_t row = row0; row < row1;) {
      const int64_t segment = row / packed.n, n = row % packed.n;
      const int64_t first = n / formats::kPanelColumns * formats::kPanelColumns;
      const int64_t last = std::min(first + formats::kPanelColumns, packed.n);
      const int64_t count = std::min(last - n, row1 - row);
      formats::UnpackRows(weight_.format, packed, segment, first, last, packed_, panel.data());
      out = std::copy_n(panel.data() + (n - first) * packed.k, count * packed.k, out);
      row += count;
    }
    return absl::OkStatus();
  }

  absl::Status ReadTurned(int64_t row0, int64_t row1, int64_t ld, float* out) const override {
    const formats::PackedShape& packed = weight_.shape;
    const int64_t n0 = row0 % packed.n, n1 = n0 + row1 - row0;  // of one segment, as a rule
    const bool panels = formats::InfoOf(weight_.format).is_panel;
    const bool whole = n0 % formats::kPanelColumns == 0 &&
                       (n1 == packed.n || (n1 < packed.n && n1 % formats::kPanelColumns == 0));
    if (!panels || !whole) return StreamedConstant::ReadTurned(row0, row1, ld, out);
    formats::UnpackTurned(weight_.format, packed, row0 / packed.n, n0, n1, packed_, ld, out);
    return absl::OkStatus();
  }

 private:
  const program::PackedWeight& weight_;
  const uint8_t* packed_;
};

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
  Slot Weight(int index, const ir::Type& type);

  const program::Program* program;
  const uint8_t* packed;
  int threads;  // virtual
  ProgramMemory memory;
  ThreadPool host;
  Workspace workspace;
  Workspace weight_copies;
  Evaluator evaluator;
  std::vector<std::shared_ptr<const StreamedConstant>> weights;
  std::vector<std::unique_ptr<LayoutStore>> stores;  // of the launch at hand
};

Slot ProgramInterpreter::State::Weight(int index, const ir::Type& type) {
  Slot slot;
  std::shared_ptr<const StreamedConstant>& constant = weights[index];
  if (constant == nullptr || constant->dtype() != type.dtype) {
    constant =
        std::make_shared<const Packed>(program->weights[index], type, packed, &weight_copies);
  }
  slot.streamed = constant;
  return slot;
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
      return Weight(operand.index, type);
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
  const size_t rows =
      arguments.tokens.empty() ? arguments.patch_ids.size() : arguments.tokens.size();
  const bool few = static_cast<int64_t>(rows) <= program.few_rows;
  for (size_t i = 0; i < program.launches.size(); ++i) {
    const absl::Status status = state_->RunLaunch(static_cast<int64_t>(i), step, few);
    if (status.ok()) continue;
    return Annotate(status, absl::StrCat("launch ", i, " (",
                                         program.kernels[program.launches[i].kernel].name, ")"));
  }
  return state_->memory.Read(program.output, program.buffers[program.output].type, 0,
                             &state_->workspace);
}

absl::StatusOr<Tensor> ProgramInterpreter::Argmax() const {
  const int index = state_->program->argmax;
  if (index < 0) return Tensor();
  return state_->memory.Read(index, state_->program->buffers[index].type, 0, &state_->workspace);
}

}  // namespace ninfer::eager
