// Lower: the graph becomes a kernel program. Each region of @step is one launch of one kernel;
// equal regions share a kernel; every value that a launch makes is a buffer, every constant
// expression that a launch reads is a packed weight. Nothing is reordered and nothing is placed:
// layout, schedule and plan-buffers follow, and until then every launch waits for the one before
// it.
//
// A graph that fusion did not touch lowers by the same path, one launch an op. Transposes there and
// back are nothing, also where canonicalise did not run. What no family takes is refused by the
// op's name and place.
//
// Proves: the program computes what the graph does (the program interpreter against eager).
// Tested by tests/program_passes_test.cc (tests/program/passes/lower.kp),
// tests/program_planner_test.cc.
#include "absl/strings/strip.h"
#include "base/page_table.h"
#include "base/status.h"
#include "ir/text.h"
#include "passes/lower_internal.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "program/body.h"
#include "program/verifier.h"

namespace ninfer::passes {
namespace lowering {
namespace {

using ir::Op;
using ir::OpClass;
using program::Family;
using program::Kernel;
using program::KernelParam;
using program::Operand;
using program::OperandKind;

constexpr int64_t kMostBytes = int64_t{1} << 46;

class Lowering {
 public:
  Lowering(const ir::Module& module, const ir::Function& step, const PassOptions& options)
      : step_(step), options_(options), weights_(module, step), module_(module) {
    program_.name = module.name();
    program_.symbols = module.symbols();
  }

  absl::StatusOr<program::Program> Run() {
    NINFER_RETURN_IF_ERROR(CheckSizes(step_));
    NINFER_RETURN_IF_ERROR(MapParameters());
    NINFER_RETURN_IF_ERROR(MakeRegions());
    NoteTiedTables();
    // The page table's dimension may have been added: the table of kernels prints types.
    kernels_ = std::make_unique<KernelTable>(program_.symbols);
    for (Region& region : regions_) NINFER_RETURN_IF_ERROR(LowerRegion(region));
    NINFER_RETURN_IF_ERROR(MapResults());
    program_.kernels = kernels_->Finish();
    weights_.Finish(program_);
    NINFER_RETURN_IF_ERROR(program::Verify(program_));
    return std::move(program_);
  }

 private:
  absl::Status CheckSizes(const ir::Function& function) const;
  absl::Status MapParameters();
  absl::Status MakeRegions();
  absl::Status AddAttention(Region region);
  void SplitArgmax(Region& region);
  void NoteTiedTables();
  absl::Status LowerRegion(Region& region);
  absl::StatusOr<KernelParam> InputOf(const Region& region, size_t index, Operand& operand);
  absl::StatusOr<int> WeightOf(const Region& region, size_t index, int64_t& segments);
  void AddOutputs(const Region& region, const Kernel& kernel, program::Launch& launch);
  void AddScores(const Region& region, Kernel& kernel, program::Launch& launch);
  void NoteWindow(const program::Launch& launch);
  int AddBuffer(std::string name, ir::Type type);
  absl::Status MapResults();
  int64_t ContextLength() const;
  Step Names() const { return {step_, program_.symbols}; }

  const ir::Function& step_;
  const PassOptions& options_;
  WeightTable weights_;
  const ir::Module& module_;
  program::Program program_;
  std::unique_ptr<KernelTable> kernels_;
  std::vector<Region> regions_;
  absl::flat_hash_map<const ir::Value*, Operand> operands_;  // where values of @step lie
  absl::flat_hash_set<std::string> buffer_names_;
  int page_table_ = -1;
};

// Sizes are computed without looking for overflow from here on.
absl::Status Lowering::CheckSizes(const ir::Function& function) const {
  for (const auto& node : function.nodes()) {
    if (node->body() != nullptr) NINFER_RETURN_IF_ERROR(CheckSizes(*node->body()));
    for (int i = 0; i < node->num_results(); ++i) {
      const ir::Type& type = node->result(i)->type();
      if (ir::MaxBytes(type, program_.symbols) <= kMostBytes) continue;
      return InvalidArgument("lower: `", node->info().name, "`: expected a result of at most ",
                             kMostBytes, " bytes, found ", TypeToString(type, program_.symbols));
    }
  }
  return absl::OkStatus();
}

absl::Status Lowering::MapParameters() {
  for (const auto& parameter : step_.parameters()) {
    const ir::Type& type = parameter->type();
    if (type.is_kv) {
      operands_[parameter.get()] = {OperandKind::kKv, static_cast<int>(program_.kv.size())};
      program_.kv.push_back(
          {parameter->name(), {type.dtype, type.shape[0].offset, type.shape[1].offset}});
      continue;
    }
    const bool rows = type.dtype == DType::kF32 && type.rank() == 2 && type.shape[1].is_static();
    if (type.dtype != DType::kI32 && !rows) {
      return InvalidArgument("lower: @", step_.name(),
                             ": expected parameters of i32, rows of f32 or kv<..>, found %",
                             parameter->name(), ": ", TypeToString(type, program_.symbols));
    }
    operands_[parameter.get()] = {OperandKind::kArgument,
                                  static_cast<int>(program_.arguments.size())};
    program_.arguments.push_back({parameter->name(), type});
  }
  return absl::OkStatus();
}

// Most positions of one text, in whole pages.
int64_t Lowering::ContextLength() const {
  constexpr int64_t kPositions = program::KvLayout::kPagePositions;
  for (const ir::Symbol& symbol : program_.symbols) {
    if (symbol.name == "G") return symbol.max * kPositions;
  }
  return kPositions;
}

int Lowering::AddBuffer(std::string name, ir::Type type) {
  const std::string stem = name.empty() ? "t" : name;
  if (name.empty()) name = absl::StrCat(stem, program_.buffers.size());
  for (int i = 2; !buffer_names_.insert(name).second; ++i) name = absl::StrCat(stem, "/", i);
  program::Buffer buffer;
  buffer.name = std::move(name);
  if (type.is_kv) {
    buffer.kv = program::KvLayout{type.dtype, type.shape[0].offset, type.shape[1].offset};
  } else {
    buffer.ld = program::BufferLd(type);
    buffer.bytes = program::BufferBytes(type, program_.symbols);
  }
  buffer.type = std::move(type);
  program_.buffers.push_back(std::move(buffer));
  return static_cast<int>(program_.buffers.size()) - 1;
}

// --- regions -------------------------------------------------------------------------------------

absl::Status Lowering::MakeRegions() {
  const auto uses = step_.UseCounts();
  absl::flat_hash_set<const ir::Value*> results(step_.results().begin(), step_.results().end());
  for (const auto& node : step_.nodes()) {
    bool used = false, wanted = false;
    for (int i = 0; i < node->num_results(); ++i) {
      used |= uses.contains(node->result(i));
      wanted |= results.contains(node->result(i));
    }
    // Constant expressions become weights, and views, quantised inputs and scalars join their
    // consumers; but a view that @step returns must be stored.
    const bool joins = node->op() == Op::kReshape || node->op() == Op::kSlice ||
                       node->op() == Op::kTranspose || node->op() == Op::kQuantise;
    if (!used || weights_.IsConstant(node->result()) || (joins && !wanted)) continue;
    NINFER_ASSIGN_OR_RETURN(Region region, MakeRegion(*node, Names()));
    NINFER_RETURN_IF_ERROR(PullIn(region, Names()));
    if (region.family == Family::kArgmax) SplitArgmax(region);
    if (HoldsAttention(region)) {
      NINFER_RETURN_IF_ERROR(AddAttention(std::move(region)));
    } else {
      regions_.push_back(std::move(region));
    }
  }
  return absl::OkStatus();
}

absl::Status Lowering::AddAttention(Region region) {
  NINFER_ASSIGN_OR_RETURN(const ir::Type kv, ScratchKvType(region));
  const ir::Value* seq_bounds = SeqBoundsOf(region);
  const ir::Dim bounds = seq_bounds->type().shape[0];
  const ir::Dim sequences{bounds.symbol, bounds.offset - 1};
  const int64_t positions = program::KvLayout::kPagePositions;
  const ir::Node& attention = *program::FindNode(*region.body, Op::kAttention);
  const int64_t tokens = ir::MaxOf(attention.operand(0)->type().shape[0], program_.symbols);
  const int64_t pages = (tokens + positions - 1) / positions;  // of the longest text
  if (page_table_ < 0) {
    int symbol = module_.FindSymbol("G");
    if (symbol < 0) {
      symbol = static_cast<int>(program_.symbols.size());
      program_.symbols.push_back({"G", 1, pages});
    }
    ir::Type table{DType::kI32, {sequences, ir::Dim::Symbolic(symbol)}};
    page_table_ = AddBuffer("page_table", table);
    regions_.push_back(MakePages(seq_bounds, table, page_table_));
  }
  ScratchKv scratch{page_table_, AddBuffer("scratch_kv", kv)};
  program::Buffer& pool = program_.buffers[scratch.pool];
  pool.bytes = (pages + ir::MaxOf(sequences, program_.symbols)) * pool.kv->page_bytes();
  const ir::Type table = program_.buffers[page_table_].type;
  for (Region& part : SplitAttention(std::move(region), scratch, table, kv)) {
    NINFER_RETURN_IF_ERROR(PullIn(part, Names()));
    regions_.push_back(std::move(part));
  }
  return absl::OkStatus();
}

void Lowering::SplitArgmax(Region& region) {
  if (region.body->nodes().size() > 1) return;  // of a view
  for (Region& head : regions_) {
    absl::optional<ArgmaxParts> parts = PartsOf(head, region.sources[0].value);
    if (!parts.has_value()) continue;
    parts->values_buffer = AddBuffer("max_parts", parts->values);
    parts->ids_buffer = AddBuffer("argmax_parts", parts->ids);
    head.own_buffers = {parts->values_buffer, parts->ids_buffer};
    TakeParts(*parts, region);
    return;
  }
}

void Lowering::NoteTiedTables() {
  for (const Region& region : regions_) {
    for (const auto& node : region.body->nodes()) {
      if (node->op() != Op::kLinear || SegmentsOf(*region.body, *node) != 1) continue;
      const int index = program::ParameterIndex(*region.body, node->operand(1));
      if (index >= 0) weights_.NotePanel(region.sources[index].value);
    }
  }
}

// --- kernels and launches ------------------------------------------------------------------------

// A cache's window is that of the page table which it is written through.
void Lowering::NoteWindow(const program::Launch& launch) {
  for (const Operand& state : launch.operands) {
    for (const Operand& table : launch.operands) {
      if (state.kind != OperandKind::kKv || table.kind != OperandKind::kArgument) continue;
      const auto window = PageTableWindow(program_.arguments[table.index].name);
      if (window.has_value()) program_.kv[state.index].window = *window;
    }
  }
}

absl::StatusOr<int> Lowering::WeightOf(const Region& region, size_t index, int64_t& segments) {
  const ir::Value* parameter = region.body->parameters()[index].get();
  const ir::Value* value = region.sources[index].value;
  const ir::Node* linear = nullptr;
  bool table = false;
  for (const auto& node : region.body->nodes()) {
    for (int i = 0; i < static_cast<int>(node->operands().size()); ++i) {
      if (node->operand(i) != parameter) continue;
      const bool multiplies = node->op() == Op::kLinear || node->op() == Op::kGroupedLinear;
      if (multiplies && i == 1) linear = node.get();
      if (node->op() == Op::kEmbedding && i == 1) table = true;
    }
  }
  if (linear != nullptr) {
    segments = linear->op() == Op::kGroupedLinear ? parameter->type().shape[0].offset
                                                  : SegmentsOf(*region.body, *linear);
    return weights_.Panel(value, segments);
  }
  return table ? weights_.Table(value) : weights_.Plain(value);
}

absl::StatusOr<KernelParam> Lowering::InputOf(const Region& region, size_t index,
                                              Operand& operand) {
  KernelParam param;
  const Source& source = region.sources[index];
  const ir::Value* parameter = region.body->parameters()[index].get();
  param.written = region.family == Family::kKvAppend && parameter->type().is_kv;
  if (source.value == nullptr) {
    operand = {OperandKind::kBuffer, source.buffer};
    return param;
  }
  if (weights_.IsConstant(source.value)) {
    NINFER_ASSIGN_OR_RETURN(const int weight, WeightOf(region, index, param.segments));
    operand = {OperandKind::kWeight, weight};
    param.kind = OperandKind::kWeight;
    param.format = weights_.at(weight).format;
    return param;
  }
  const auto it = operands_.find(source.value);
  if (it == operands_.end()) {
    return InvalidArgument("lower: ", region.name, ": expected operands computed before, found %",
                           source.value->name());
  }
  operand = it->second;
  param.kind = operand.kind;
  return param;
}

void Lowering::AddOutputs(const Region& region, const Kernel& kernel, program::Launch& launch) {
  size_t own = 0;
  for (size_t i = 0; i < region.results.size(); ++i) {
    const ir::Type& type = kernel.body->results()[i]->type();
    const ir::Value* value = region.results[i];
    if (type.is_kv) {  // the pool that was appended to
      for (size_t p = 0; value != nullptr && p < kernel.params.size(); ++p) {
        if (kernel.body->parameters()[p]->type().is_kv) operands_[value] = launch.operands[p];
      }
      continue;
    }
    if (value == nullptr) {
      launch.operands.push_back({OperandKind::kBuffer, region.own_buffers[own++]});
      continue;
    }
    operands_[value] = {OperandKind::kBuffer, AddBuffer(value->name(), type)};
    launch.operands.push_back(operands_[value]);
  }
}

// Naive attention stores every probability: its last parameter. Whole pages of positions, since
// kernels write a page's scores at once.
void Lowering::AddScores(const Region& region, Kernel& kernel, program::Launch& launch) {
  const ir::Node* attention = program::FindNode(*kernel.body, Op::kPagedAttention);
  if (attention == nullptr || attention->attr_string("form") != "naive") return;
  const ir::Type& q = attention->operand(0)->type();
  const ir::Type scores{DType::kF32, {q.shape[0], q.shape[1], ir::Dim::Static(ContextLength())}};
  kernel.body->AddParameter("scores", scores);
  KernelParam param;
  param.written = true;
  kernel.params.push_back(param);
  absl::string_view name;
  if (region.results[0] != nullptr) name = region.results[0]->name();
  if (!absl::ConsumeSuffix(&name, kMixedSuffix)) name = "scores";
  launch.operands.push_back({OperandKind::kBuffer, AddBuffer(std::string(name), scores)});
}

absl::Status Lowering::LowerRegion(Region& region) {
  program::Launch launch;
  launch.provenance = region.provenance;
  std::vector<KernelParam> params;
  for (size_t i = 0; i < region.sources.size(); ++i) {
    Operand operand;
    NINFER_ASSIGN_OR_RETURN(KernelParam param, InputOf(region, i, operand));
    if (param.kind == OperandKind::kArgument) {
      region.body->parameters()[i]->set_name(program_.arguments[operand.index].name);
    }
    params.push_back(param);
    launch.operands.push_back(operand);
  }
  Kernel kernel = MakeKernel(region.family, std::move(region.body), std::move(params));
  AddOutputs(region, kernel, launch);
  AddScores(region, kernel, launch);
  const absl::Status taken = program::CheckBody(kernel, program_.symbols);
  if (!taken.ok()) return InvalidArgument("lower: ", region.name, ": ", taken.message());
  if (region.family == Family::kKvAppend) NoteWindow(launch);
  launch.kernel = kernels_->Add(std::move(kernel));
  program_.launches.push_back(std::move(launch));
  return absl::OkStatus();
}

absl::Status Lowering::MapResults() {
  for (const ir::Value* result : step_.results()) {
    const auto it = operands_.find(result);
    if (result->type().is_kv && it != operands_.end()) continue;
    const bool stored = it != operands_.end() && it->second.kind == OperandKind::kBuffer;
    const bool ids = result->producer() != nullptr && result->producer()->op() == Op::kArgmax;
    int& output = ids ? program_.argmax : program_.output;
    if (!stored || output >= 0) {
      return InvalidArgument("lower: @", step_.name(),
                             ": expected one computed result beside the KV states and its argmax, "
                             "found %",
                             result->name(), " too");
    }
    output = it->second.index;
    program_.buffers[it->second.index].is_output = true;
  }
  if (program_.output < 0) {
    return InvalidArgument("lower: @", step_.name(), ": expected a result, found none");
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace lowering

absl::StatusOr<program::Program> Lower(const ir::Module& module, const PassOptions& options) {
  const ir::Function* step = module.entry();
  if (step == nullptr) return InvalidArgument("lower: expected a function @step, found none");
  return lowering::Lowering(module, *step, options).Run();
}

}  // namespace ninfer::passes
