// The program's verifier: what no rule accepts is an error, and the first broken rule is reported.
//
// Checked:
// - dimensions: names are words and unique, bounds ordered, not negative and at most 2^40;
// - the sizes of the weights section, the arena and a replica: not negative and at most 2^46;
// - arguments: i32 or rows of f32, unique names; KV states: unique names, heads and head_dim of at
//   least 1, a page of at most 2^46 bytes;
// - weights: one result of @weights for each, of the format's dtype and the shape's size; bytes
//   as the format packs; offsets aligned to 64, inside the section and apart, or all unassigned;
// - kernels: unique names; the body verifies as a graph and is one that its family takes (the
//   list stands at the head of check_body.cc); units and KV layout as the body implies;
// - buffers: unique names; ld and bytes as the type implies, at most 2^46 bytes; offsets aligned
//   to 64;
// - caches: read and written through the page table of their window, and seen no further back;
// - launches: as many operands as parameters, of the kind and type that the parameter has; a
//   buffer is written by one launch and read by later ones only; a replicated launch is rowwise
//   and writes replicated buffers, another launch writes none;
// - the outputs, logits and perhaps ids: buffers that some launch writes, marked, not replicated.
// Not checked: barriers (CheckOrder), what a byte of the arena holds at a read (CheckBuffers),
// lifetimes.
//
// Tested by tests/program_verifier_test.cc.
#include "program/verifier.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "base/page_table.h"
#include "base/status.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "program/body.h"

namespace ninfer::program {
namespace {

constexpr int64_t kMaxBound = int64_t{1} << 40;
constexpr int64_t kMaxBytes = int64_t{1} << 46;
constexpr int64_t kAlignment = 64;

// Rows of a weight: of all experts where there are several.
int64_t RowsOf(const ir::Type& type) {
  if (type.rank() == 1) return 1;
  return type.shape[0].offset * (type.rank() == 3 ? type.shape[1].offset : 1);
}

// Whether a page takes at most kMaxBytes: no offset in it can then overflow.
bool PageFits(const KvLayout& layout) {
  return layout.head_dim <= kMaxBytes / KvLayout::kPagePositions / 32 &&
         layout.heads <= kMaxBytes / layout.head_bytes();
}

class ProgramVerifier {
 public:
  explicit ProgramVerifier(const Program& program) : p_(program) {}

  absl::Status Verify() {
    NINFER_RETURN_IF_ERROR(VerifySymbols());
    NINFER_RETURN_IF_ERROR(VerifySizes());
    NINFER_RETURN_IF_ERROR(VerifyArguments());
    NINFER_RETURN_IF_ERROR(VerifyWeights());
    for (const Kernel& kernel : p_.kernels) {
      if (!names_.insert(absl::StrCat("kernel ", kernel.name)).second) {
        return InvalidArgument("kernel ", kernel.name, ": expected a name of its own");
      }
      const absl::Status status = VerifyKernel(kernel);
      if (!status.ok()) return Annotate(status, absl::StrCat("kernel ", kernel.name));
    }
    for (const Buffer& buffer : p_.buffers) {
      const absl::Status status = VerifyBuffer(buffer);
      if (!status.ok()) return Annotate(status, absl::StrCat("buffer %", buffer.name));
    }
    written_.assign(p_.buffers.size(), false);
    for (size_t i = 0; i < p_.launches.size(); ++i) {
      const absl::Status status = VerifyLaunch(p_.launches[i]);
      if (!status.ok()) return Annotate(status, absl::StrCat("launch ", i));
    }
    return VerifyOutput();
  }

 private:
  std::string Text(const ir::Type& type) const { return TypeToString(type, p_.symbols); }

  absl::Status VerifySymbols();
  absl::Status VerifySizes() const;
  absl::Status VerifyArguments();
  absl::Status VerifyWeights();
  absl::Status VerifyWeight(const PackedWeight& weight) const;
  absl::Status VerifyPlacement() const;
  absl::Status VerifyKernel(const Kernel& kernel) const;
  absl::Status VerifyBuffer(const Buffer& buffer);
  absl::Status VerifyLaunch(const Launch& launch);
  absl::Status VerifyOperand(const Kernel& kernel, size_t index, const Operand& operand);
  absl::Status VerifyCaches(const Kernel& kernel, const Launch& launch) const;
  absl::Status VerifyShared(int output) const;
  absl::Status VerifyOutput() const;

  const Program& p_;
  absl::flat_hash_set<std::string> names_;
  std::vector<bool> written_;
};

absl::Status ProgramVerifier::VerifySymbols() {
  for (const ir::Symbol& symbol : p_.symbols) {
    const bool word = !symbol.name.empty() &&
                      std::all_of(symbol.name.begin(), symbol.name.end(), [](unsigned char c) {
                        return absl::ascii_isalnum(c) || c == '_';
                      });
    if (!word || absl::ascii_isdigit(static_cast<unsigned char>(symbol.name[0])) ||
        !names_.insert(absl::StrCat("dim ", symbol.name)).second) {
      return InvalidArgument("dim ", symbol.name, ": expected a word of its own as name");
    }
    if (symbol.min < 0 || symbol.min > symbol.max || symbol.max > kMaxBound) {
      return InvalidArgument("dim ", symbol.name, ": expected ordered bounds in [0, 2^40], found [",
                             symbol.min, ", ", symbol.max, "]");
    }
  }
  if (p_.few_rows < 0) return InvalidArgument("few_rows: expected 0 or more, found ", p_.few_rows);
  return absl::OkStatus();
}

absl::Status ProgramVerifier::VerifySizes() const {
  const std::pair<absl::string_view, int64_t> sizes[] = {{"weights", p_.weight_bytes},
                                                         {"arena", p_.arena_bytes},
                                                         {"replica", p_.replica_bytes},
                                                         {"lower_bound", p_.arena_lower_bound}};
  for (const auto& [what, bytes] : sizes) {
    if (bytes >= 0 && bytes <= kMaxBytes) continue;
    return InvalidArgument(what, ": expected 0 to 2^46 bytes, found ", bytes);
  }
  return absl::OkStatus();
}

absl::Status ProgramVerifier::VerifyArguments() {
  for (const Argument& argument : p_.arguments) {
    if (!names_.insert(absl::StrCat("argument ", argument.name)).second) {
      return InvalidArgument("argument %", argument.name, ": expected a name of its own");
    }
    const ir::Type& type = argument.type;
    const bool rows = type.dtype == DType::kF32 && type.rank() == 2 && type.shape[1].is_static();
    if (type.is_kv || (type.dtype != DType::kI32 && !rows)) {
      return InvalidArgument("argument %", argument.name, ": expected i32 or rows of f32, found ",
                             Text(type));
    }
  }
  for (const KvState& kv : p_.kv) {
    if (!names_.insert(absl::StrCat("argument ", kv.name)).second) {
      return InvalidArgument("kv %", kv.name, ": expected a name of its own");
    }
    const bool holds = IsFloat(kv.layout.dtype) || kv.layout.integers();
    if (!holds || kv.layout.heads < 1 || kv.layout.head_dim < 1) {
      return InvalidArgument("kv %", kv.name,
                             ": expected floats or i8, heads and head_dim of 1 or more");
    }
    if (!PageFits(kv.layout)) {
      return InvalidArgument("kv %", kv.name, ": expected pages of at most 2^46 bytes, found ",
                             kv.layout.heads, " heads of ", kv.layout.head_dim);
    }
    if (kv.window < 0 || kv.window > kMaxBound) {
      return InvalidArgument("kv %", kv.name, ": expected a window in [0, 2^40], found ",
                             kv.window);
    }
  }
  return absl::OkStatus();
}

// --- weights -------------------------------------------------------------------------------------

absl::Status ProgramVerifier::VerifyWeights() {
  const ir::Function* function =
      p_.weights_module == nullptr ? nullptr : p_.weights_module->FindFunction("weights");
  if (function == nullptr) {
    if (p_.weights.empty()) return absl::OkStatus();
    return InvalidArgument("weights: expected their expressions in @weights, found none");
  }
  if (p_.weights_module->functions().size() != 1 || !function->parameters().empty()) {
    return InvalidArgument("weights: expected the function @weights() alone");
  }
  if (function->results().size() != p_.weights.size()) {
    return InvalidArgument("weights: expected ", function->results().size(),
                           " as @weights returns, found ", p_.weights.size());
  }
  if (!p_.weights.empty()) {
    const absl::Status status = ir::Verify(*p_.weights_module);
    if (!status.ok()) return Annotate(status, "weights");
  }
  for (size_t i = 0; i < p_.weights.size(); ++i) {
    const PackedWeight& weight = p_.weights[i];
    absl::Status status = VerifyWeight(weight);
    if (status.ok() && weight.source != function->results()[i]) {
      status = InvalidArgument("expected result ", i, " of @weights as source");
    }
    if (status.ok() && !names_.insert(absl::StrCat("weight ", weight.name)).second) {
      status = InvalidArgument("expected a name of its own");
    }
    if (!status.ok()) return Annotate(status, absl::StrCat("weight @", weight.name));
  }
  return VerifyPlacement();
}

absl::Status ProgramVerifier::VerifyWeight(const PackedWeight& weight) const {
  const formats::FormatInfo& info = formats::InfoOf(weight.format);
  const formats::PackedShape& shape = weight.shape;
  if (weight.source == nullptr) return InvalidArgument("expected a source, found none");
  const ir::Type& type = weight.source->type();
  bool fits = !type.is_kv && (info.scheme != nullptr || type.dtype == info.dtype) && shape.n >= 1 &&
              shape.k >= 1 && shape.segments >= 1 && (info.is_panel || shape.segments == 1) &&
              (type.rank() == 2 || (type.rank() == 1 && !info.is_panel) ||
               (type.rank() == 3 && info.is_panel && type.shape[0].offset == shape.segments));
  for (const ir::Dim& dim : type.shape) fits &= dim.is_static();
  fits = fits && ir::MaxBytes(type, {}) <= kMaxBytes && type.shape.back().offset == shape.k &&
         shape.n <= kMaxBytes && shape.segments <= kMaxBytes / shape.n &&
         RowsOf(type) == shape.n * shape.segments;
  if (!fits) {
    return InvalidArgument("expected ", info.name, " of the size of ", Text(type), ", found n ",
                           shape.n, " k ", shape.k, " segments ", shape.segments);
  }
  const int64_t bytes = formats::PackedBytes(weight.format, shape);
  if (weight.bytes != bytes) {
    return InvalidArgument("expected ", bytes, " bytes, found ", weight.bytes);
  }
  return absl::OkStatus();
}

absl::Status ProgramVerifier::VerifyPlacement() const {
  std::vector<const PackedWeight*> placed;
  for (const PackedWeight& weight : p_.weights) {
    if (weight.offset >= 0) placed.push_back(&weight);
  }
  if (!placed.empty() && placed.size() != p_.weights.size()) {
    return InvalidArgument("weights: expected all or none to have an offset, found ", placed.size(),
                           " of ", p_.weights.size());
  }
  std::sort(placed.begin(), placed.end(),
            [](const PackedWeight* a, const PackedWeight* b) { return a->offset < b->offset; });
  int64_t end = 0;
  for (const PackedWeight* weight : placed) {
    if (weight->offset % kAlignment != 0 || weight->offset < end ||
        weight->bytes > p_.weight_bytes - weight->offset) {
      return InvalidArgument("weight @", weight->name, ": expected an offset aligned to ",
                             kAlignment, " in [", end, ", ", p_.weight_bytes - weight->bytes,
                             "], found ", weight->offset);
    }
    end = weight->offset + weight->bytes;
  }
  return absl::OkStatus();
}

// --- kernels and buffers -------------------------------------------------------------------------

absl::Status ProgramVerifier::VerifyKernel(const Kernel& kernel) const {
  NINFER_RETURN_IF_ERROR(ir::VerifyFunction(*kernel.body, p_.symbols, ir::Stage::kFused));
  NINFER_RETURN_IF_ERROR(CheckBody(kernel, p_.symbols));
  if (!(kernel.kv == KvOf(*kernel.body))) {
    return InvalidArgument("expected the KV layout of the body's pool");
  }
  if (kernel.kv.heads > 0 && !PageFits(kernel.kv)) {
    return InvalidArgument("expected pages of at most 2^46 bytes, found ", kernel.kv.heads,
                           " heads of ", kernel.kv.head_dim);
  }
  const Units units = UnitsOf(kernel);
  if (!(kernel.units == units)) {
    return InvalidArgument("expected units ", units.factor, " of dimension ", units.symbol, " by ",
                           units.block, ", found ", kernel.units.factor, " of dimension ",
                           kernel.units.symbol, " by ", kernel.units.block);
  }
  if (kernel.scratch_bytes < 0 || kernel.scratch_bytes > kMaxBytes) {
    return InvalidArgument("expected scratch of 0 to 2^46 bytes, found ", kernel.scratch_bytes);
  }
  return absl::OkStatus();
}

absl::Status ProgramVerifier::VerifyBuffer(const Buffer& buffer) {
  if (!names_.insert(absl::StrCat("buffer ", buffer.name)).second) {
    return InvalidArgument("expected a name of its own");
  }
  for (const ir::Dim& dim : buffer.type.shape) {
    const bool known = dim.is_static() || static_cast<size_t>(dim.symbol) < p_.symbols.size();
    if (!known || ir::MaxOf(dim, p_.symbols) < 1) {
      return InvalidArgument("expected sizes of 1 or more, found ", Text(buffer.type));
    }
  }
  if (ir::MaxBytes(buffer.type, p_.symbols) > kMaxBytes) {
    return InvalidArgument("expected at most 2^46 bytes, found ", Text(buffer.type));
  }
  if (buffer.type.is_kv) {
    const bool sizes = buffer.type.rank() == 2 && buffer.type.shape[0].is_static() &&
                       buffer.type.shape[1].is_static();
    if (!sizes || !buffer.kv.has_value() || buffer.kv->dtype != buffer.type.dtype ||
        buffer.kv->heads != buffer.type.shape[0].offset ||
        buffer.kv->head_dim != buffer.type.shape[1].offset || buffer.replicated) {
      return InvalidArgument("expected a KV pool kv<..>[heads,head_dim], shared, found ",
                             Text(buffer.type));
    }
    if (buffer.bytes < buffer.kv->page_bytes() || buffer.bytes % buffer.kv->page_bytes() != 0 ||
        buffer.bytes > kMaxBytes) {
      return InvalidArgument("expected whole pages of ", buffer.kv->page_bytes(), " bytes, found ",
                             buffer.bytes);
    }
  } else {
    const int64_t bytes = BufferBytes(buffer.type, p_.symbols);
    if (buffer.kv.has_value() || buffer.ld != BufferLd(buffer.type) || buffer.bytes != bytes) {
      return InvalidArgument("expected ld ", BufferLd(buffer.type), " and ", bytes,
                             " bytes, found ld ", buffer.ld, " and ", buffer.bytes);
    }
  }
  if (buffer.offset < -1 || (buffer.offset >= 0 && buffer.offset % kAlignment != 0)) {
    return InvalidArgument("expected an offset aligned to ", kAlignment, ", found ", buffer.offset);
  }
  return absl::OkStatus();
}

// --- launches ------------------------------------------------------------------------------------

absl::Status ProgramVerifier::VerifyLaunch(const Launch& launch) {
  if (launch.kernel < 0 || static_cast<size_t>(launch.kernel) >= p_.kernels.size()) {
    return InvalidArgument("expected a kernel below ", p_.kernels.size(), ", found ",
                           launch.kernel);
  }
  const Kernel& kernel = p_.kernels[launch.kernel];
  if (launch.operands.size() != kernel.params.size()) {
    return InvalidArgument("expected ", kernel.params.size(), " operands for ", kernel.name,
                           ", found ", launch.operands.size());
  }
  std::vector<int> outputs;
  for (size_t i = 0; i < launch.operands.size(); ++i) {
    const absl::Status status = VerifyOperand(kernel, i, launch.operands[i]);
    if (!status.ok()) {
      return Annotate(status, absl::StrCat("operand %", kernel.body->parameters()[i]->name(),
                                           " of ", kernel.name));
    }
    if (kernel.params[i].written && kernel.params[i].kind == OperandKind::kBuffer) {
      outputs.push_back(launch.operands[i].index);
    }
  }
  for (int index : outputs) {
    const Buffer& buffer = p_.buffers[index];
    if (written_[index]) {
      return InvalidArgument("expected one launch that writes %", buffer.name, ", found another");
    }
    if (buffer.replicated != launch.replicated) {
      return InvalidArgument("%", buffer.name,
                             ": expected to be replicated exactly as the launch is");
    }
    written_[index] = true;
  }
  const bool rowwise = kernel.family == Family::kRowwise;
  if (launch.replicated && !rowwise) {
    return InvalidArgument("expected a replicated launch to be rowwise, found ",
                           FamilyName(kernel.family));
  }
  return VerifyCaches(kernel, launch);
}

// Another table would name pages of another pool, or none where the layer looks.
absl::Status ProgramVerifier::VerifyCaches(const Kernel& kernel, const Launch& launch) const {
  for (const auto& node : kernel.body->nodes()) {
    const bool append = node->op() == ir::Op::kKvAppend;
    if (!append && node->op() != ir::Op::kPagedAttention) continue;
    const int pool = ParameterIndex(*kernel.body, node->operand(append ? 0 : 1));
    const int table = ParameterIndex(*kernel.body, node->operand(append ? 5 : 4));
    if (pool < 0 || launch.operands[pool].kind != OperandKind::kKv) continue;
    const KvState& kv = p_.kv[launch.operands[pool].index];
    const std::string expected = PageTableName(kv.window);
    const bool argument = table >= 0 && launch.operands[table].kind == OperandKind::kArgument;
    if (!argument || p_.arguments[launch.operands[table].index].name != expected) {
      return InvalidArgument("expected %", expected, " as page table of %", kv.name,
                             ", found another operand");
    }
    const int64_t window = append ? kv.window : node->attr_int_or("window", 0);
    if (kv.window > 0 && (window == 0 || window > kv.window)) {
      return InvalidArgument("expected attention over %", kv.name, " to see ", kv.window,
                             " positions at most, found ",
                             window == 0 ? "all" : absl::StrCat(window));
    }
  }
  return absl::OkStatus();
}

absl::Status ProgramVerifier::VerifyOperand(const Kernel& kernel, size_t index,
                                            const Operand& operand) {
  const KernelParam& param = kernel.params[index];
  const ir::Type& type = kernel.body->parameters()[index]->type();
  if (operand.kind != param.kind) {
    return InvalidArgument("expected the parameter's kind of operand, found another");
  }
  const size_t sizes[] = {p_.buffers.size(), p_.weights.size(), p_.arguments.size(), p_.kv.size()};
  const size_t size = sizes[static_cast<int>(operand.kind)];
  if (operand.index < 0 || static_cast<size_t>(operand.index) >= size) {
    return InvalidArgument("expected an index below ", size, ", found ", operand.index);
  }
  ir::Type found;
  switch (operand.kind) {
    case OperandKind::kBuffer:
      found = p_.buffers[operand.index].type;
      if (!param.written && !written_[operand.index]) {
        return InvalidArgument("expected %", p_.buffers[operand.index].name,
                               " to be written by an earlier launch");
      }
      break;
    case OperandKind::kWeight: {
      const PackedWeight& weight = p_.weights[operand.index];
      found = weight.source->type();
      if (formats::InfoOf(weight.format).scheme != nullptr) found.dtype = DType::kF32;
      if (weight.format != param.format || weight.shape.segments != param.segments) {
        return InvalidArgument("expected ", formats::InfoOf(param.format).name, " in ",
                               param.segments, " segments, found ",
                               formats::InfoOf(weight.format).name, " in ", weight.shape.segments);
      }
      break;
    }
    case OperandKind::kArgument:
      found = p_.arguments[operand.index].type;
      break;
    case OperandKind::kKv: {
      const KvLayout& layout = p_.kv[operand.index].layout;
      found = {layout.dtype, {ir::Dim::Static(layout.heads), ir::Dim::Static(layout.head_dim)}};
      found.is_kv = true;
      break;
    }
  }
  if (found != type) return InvalidArgument("expected ", Text(type), ", found ", Text(found));
  return absl::OkStatus();
}

absl::Status ProgramVerifier::VerifyShared(int output) const {
  if (written_[output] && !p_.buffers[output].replicated) return absl::OkStatus();
  return InvalidArgument("output: expected a shared buffer that a launch writes, found %",
                         p_.buffers[output].name);
}

absl::Status ProgramVerifier::VerifyOutput() const {
  if (p_.output < 0 || static_cast<size_t>(p_.output) >= p_.buffers.size()) {
    return InvalidArgument("output: expected a buffer below ", p_.buffers.size(), ", found ",
                           p_.output);
  }
  const Buffer& output = p_.buffers[p_.output];
  NINFER_RETURN_IF_ERROR(VerifyShared(p_.output));
  if (p_.argmax >= 0) {
    if (output.type.rank() != 2) {
      return InvalidArgument("output: expected rows of logits beside ids, found ",
                             Text(output.type));
    }
    const ir::Type ids{DType::kI32, {output.type.shape[0]}};
    if (static_cast<size_t>(p_.argmax) >= p_.buffers.size() || p_.buffers[p_.argmax].type != ids) {
      return InvalidArgument("output: expected ids ", Text(ids), ", found ",
                             static_cast<size_t>(p_.argmax) >= p_.buffers.size()
                                 ? absl::StrCat("buffer ", p_.argmax)
                                 : Text(p_.buffers[p_.argmax].type));
    }
    NINFER_RETURN_IF_ERROR(VerifyShared(p_.argmax));
  }
  for (size_t i = 0; i < p_.buffers.size(); ++i) {
    const bool is_output = static_cast<int>(i) == p_.output || static_cast<int>(i) == p_.argmax;
    if (p_.buffers[i].is_output != is_output) {
      return InvalidArgument("output: expected %", output.name,
                             " and its ids to be marked, found %", p_.buffers[i].name);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Verify(const Program& program) { return ProgramVerifier(program).Verify(); }

}  // namespace ninfer::program
