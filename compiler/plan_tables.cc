// A kernel program as the plan's tables: what the runtime needs to launch it, without the graph
// bodies. Tested by tests/compiler_test.cc.
#include <algorithm>

#include "base/status.h"
#include "compiler/compile.h"
#include "ir/module.h"
#include "program/body.h"

namespace ninfer::compiler {
namespace {

plan::OperandKind KindOf(program::OperandKind kind) {
  switch (kind) {
    case program::OperandKind::kBuffer:
      return plan::OperandKind::kBuffer;
    case program::OperandKind::kWeight:
      return plan::OperandKind::kWeight;
    case program::OperandKind::kArgument:
      return plan::OperandKind::kArgument;
    case program::OperandKind::kKv:
      return plan::OperandKind::kKv;
  }
  NINFER_CHECK(false);
  return plan::OperandKind::kBuffer;
}

plan::Barrier BarrierOf(program::Barrier barrier) {
  switch (barrier) {
    case program::Barrier::kNone:
      return plan::Barrier::kNone;
    case program::Barrier::kMany:
      return plan::Barrier::kMany;
    case program::Barrier::kPrefill:
      return plan::Barrier::kPrefill;
    case program::Barrier::kManyOrPrefill:
      return plan::Barrier::kManyOrPrefill;
    case program::Barrier::kAlways:
      return plan::Barrier::kAlways;
  }
  NINFER_CHECK(false);
  return plan::Barrier::kAlways;
}

plan::Launch LaunchOf(const program::Program& program, const program::Launch& launch) {
  const program::Units& units = program.kernels[launch.kernel].units;
  plan::Launch out;
  out.kernel = static_cast<uint32_t>(launch.kernel);
  out.barrier = BarrierOf(launch.barrier);
  out.replicated = launch.replicated;
  out.factor = units.factor;
  out.symbol = units.symbol;
  out.block = units.block;
  for (const program::Operand& operand : launch.operands) {
    out.operands.push_back({KindOf(operand.kind), static_cast<uint32_t>(operand.index)});
  }
  out.provenance = launch.provenance;
  return out;
}

// Of a weight of experts as many as a row chooses; 0: all.
int64_t SegmentsRead(const program::Program& program, const program::PackedWeight& weight) {
  for (const program::Launch& launch : program.launches) {
    const program::Kernel& kernel = program.kernels[launch.kernel];
    if (kernel.family != program::Family::kGroupedLinear) continue;
    const ir::Node& linear = *program::LinearOf(*kernel.body);
    const int index = program::ParameterIndex(*kernel.body, linear.operand(1));
    const program::Operand& operand = launch.operands[index];
    if (&program.weights[operand.index] != &weight) continue;
    return std::min(weight.shape.segments, linear.operand(2)->type().shape[1].offset);
  }
  return 0;
}

}  // namespace

plan::CodeImage ImageOf(const codegen::CodeImage& image) {
  plan::CodeImage out;
  out.target = image.target.name;
  out.cpu = image.target.tune;
  out.required_features = image.target.required_features;
  out.bytes = image.bytes;
  out.executable_bytes = image.executable_bytes;
  for (const codegen::KernelCode& kernel : image.kernels) {
    out.kernels.push_back({kernel.name, kernel.offset, kernel.size, kernel.stack_bytes, {}});
    for (const codegen::CodeLine& line : kernel.lines) {
      out.kernels.back().lines.push_back({line.offset, line.line});
    }
  }
  return out;
}

void FillTables(const program::Program& program, absl::string_view name, plan::Plan* plan) {
  for (const ir::Symbol& symbol : program.symbols) {
    plan->symbols.push_back({symbol.name, symbol.min, symbol.max});
  }
  for (const program::KvState& kv : program.kv) {
    plan->kv_layers.push_back({kv.layout.dtype, kv.layout.heads, kv.layout.head_dim,
                               program::KvLayout::kPagePositions, kv.layout.page_bytes(),
                               kv.window});
  }
  for (const program::PackedWeight& weight : program.weights) {
    plan->weights.push_back({weight.name, std::string(formats::InfoOf(weight.format).name),
                             weight.shape.n, weight.shape.k, weight.shape.segments,
                             static_cast<uint64_t>(weight.offset),
                             static_cast<uint64_t>(weight.bytes), SegmentsRead(program, weight)});
  }
  plan->weight_bytes = static_cast<uint64_t>(program.weight_bytes);
  for (const program::Kernel& kernel : program.kernels) {
    plan->kernels.push_back({kernel.name, std::string(program::FamilyName(kernel.family)),
                             static_cast<uint64_t>(kernel.scratch_bytes)});
  }
  for (const program::Buffer& buffer : program.buffers) {
    plan->buffers.push_back(
        {buffer.name, ir::TypeToString(buffer.type, program.symbols), buffer.ld, buffer.replicated,
         static_cast<uint64_t>(buffer.offset), static_cast<uint64_t>(buffer.bytes),
         static_cast<int32_t>(buffer.first_launch), static_cast<int32_t>(buffer.last_launch)});
  }
  plan::Entry entry;
  entry.name = std::string(name);
  for (const program::Argument& argument : program.arguments) {
    entry.arguments.push_back(argument.name);
  }
  entry.output = program.output;
  entry.argmax = program.argmax;
  entry.few_rows = program.few_rows;
  entry.arena_bytes = static_cast<uint64_t>(program.arena_bytes);
  entry.replica_bytes = static_cast<uint64_t>(program.replica_bytes);
  entry.arena_lower_bound = static_cast<uint64_t>(program.arena_lower_bound);
  for (const program::Launch& launch : program.launches) {
    entry.launches.push_back(LaunchOf(program, launch));
  }
  plan->entries.push_back(std::move(entry));
}

}  // namespace ninfer::compiler
