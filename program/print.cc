// The program as text: dimensions, arguments, weight expressions, packed weights, kernels, buffers,
// launches. A function of the program alone, so that its hash tells programs apart.
// Tested by tests/program_text_test.cc.
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "ir/lexer.h"
#include "ir/text.h"
#include "program/text.h"
#include "program/text_words.h"

namespace ninfer::program {
namespace {

using ir::NameText;

class ProgramPrinter {
 public:
  explicit ProgramPrinter(const Program& program) : p_(program) {}

  std::string Print() {
    absl::StrAppend(&text_, "program ", ir::Quote(p_.name), " few_rows ", p_.few_rows, "\n");
    for (const ir::Symbol& symbol : p_.symbols) {
      absl::StrAppend(&text_, "dim ", symbol.name, " in [", symbol.min, ", ", symbol.max, "]\n");
    }
    for (const Argument& argument : p_.arguments) {
      absl::StrAppend(&text_, "argument ", NameText('%', argument.name), " : ", Type(argument.type),
                      "\n");
    }
    for (const KvState& kv : p_.kv) {
      absl::StrAppend(&text_, "kv ", NameText('%', kv.name), " : kv<", DTypeName(kv.layout.dtype),
                      ">[", kv.layout.heads, ",", kv.layout.head_dim, "]");
      if (kv.window > 0) absl::StrAppend(&text_, " window ", kv.window);
      text_.push_back('\n');
    }
    PrintWeights();
    for (const Kernel& kernel : p_.kernels) PrintKernel(kernel);
    PrintBuffers();
    for (size_t i = 0; i < p_.launches.size(); ++i) PrintLaunch(i);
    return std::move(text_);
  }

 private:
  std::string Type(const ir::Type& type) const { return TypeToString(type, p_.symbols); }

  void PrintWeights();
  void PrintKernel(const Kernel& kernel);
  void PrintBuffers();
  void PrintLaunch(size_t index);
  std::string OperandText(const Operand& operand) const;

  const Program& p_;
  std::string text_;
};

void ProgramPrinter::PrintWeights() {
  if (p_.weights_module == nullptr) return;
  absl::StrAppend(&text_, "\n", kBeginExpressions, "\n", ir::Print(*p_.weights_module),
                  kEndExpressions, "\n\nweights ", p_.weight_bytes, "\n");
  for (const PackedWeight& weight : p_.weights) {
    absl::StrAppend(&text_, "weight ", NameText('@', weight.name), " : ",
                    formats::InfoOf(weight.format).name, " n ", weight.shape.n, " k ",
                    weight.shape.k);
    if (weight.shape.segments != 1) absl::StrAppend(&text_, " segments ", weight.shape.segments);
    absl::StrAppend(&text_, " bytes ", weight.bytes);
    if (weight.offset >= 0) absl::StrAppend(&text_, " at ", weight.offset);
    text_.push_back('\n');
  }
}

void ProgramPrinter::PrintKernel(const Kernel& kernel) {
  absl::StrAppend(&text_, "\nkernel ", NameText('@', kernel.name), " family ",
                  FamilyName(kernel.family), " units ", kernel.units.factor);
  if (kernel.units.symbol >= 0) {
    absl::StrAppend(&text_, " per ", p_.symbols[kernel.units.symbol].name);
    if (kernel.units.block != 1) absl::StrAppend(&text_, " by ", kernel.units.block);
  }
  absl::StrAppend(&text_, " scratch ", kernel.scratch_bytes, "\nparams ");
  for (size_t i = 0; i < kernel.params.size(); ++i) {
    const KernelParam& param = kernel.params[i];
    absl::StrAppend(&text_, i == 0 ? "" : ", ", OperandKindName(param.kind));
    if (param.kind == OperandKind::kWeight) {
      absl::StrAppend(&text_, " ", formats::InfoOf(param.format).name);
      if (param.segments != 1) absl::StrAppend(&text_, " segments ", param.segments);
    }
    if (param.written) absl::StrAppend(&text_, " written");
  }
  absl::StrAppend(&text_, "\n", PrintFunction(*kernel.body, p_.symbols), "\n");
}

void ProgramPrinter::PrintBuffers() {
  absl::StrAppend(&text_, "\narena ", p_.arena_bytes, " replica ", p_.replica_bytes,
                  " lower_bound ", p_.arena_lower_bound, "\n");
  for (const Buffer& buffer : p_.buffers) {
    absl::StrAppend(&text_, "buffer ", NameText('%', buffer.name), " : ", Type(buffer.type), " ld ",
                    buffer.ld, " bytes ", buffer.bytes);
    if (buffer.replicated) absl::StrAppend(&text_, " replicated");
    if (buffer.is_output) absl::StrAppend(&text_, " output");
    if (buffer.first_launch >= 0) {
      absl::StrAppend(&text_, " live ", buffer.first_launch, " to ", buffer.last_launch);
    }
    if (buffer.offset >= 0) absl::StrAppend(&text_, " at ", buffer.offset);
    text_.push_back('\n');
  }
  text_.push_back('\n');
}

std::string ProgramPrinter::OperandText(const Operand& operand) const {
  switch (operand.kind) {
    case OperandKind::kBuffer:
      return NameText('%', p_.buffers[operand.index].name);
    case OperandKind::kWeight:
      return NameText('@', p_.weights[operand.index].name);
    case OperandKind::kArgument:
      return absl::StrCat("argument ", NameText('%', p_.arguments[operand.index].name));
    case OperandKind::kKv:
      return absl::StrCat("kv ", NameText('%', p_.kv[operand.index].name));
  }
  return "";
}

void ProgramPrinter::PrintLaunch(size_t index) {
  const Launch& launch = p_.launches[index];
  absl::StrAppend(&text_, "launch ", index, " ", NameText('@', p_.kernels[launch.kernel].name),
                  "(");
  for (size_t i = 0; i < launch.operands.size(); ++i) {
    absl::StrAppend(&text_, i == 0 ? "" : ", ", OperandText(launch.operands[i]));
  }
  absl::StrAppend(&text_, ") barrier ", BarrierName(launch.barrier),
                  launch.replicated ? " replicated" : "", ir::CommentText(launch.provenance), "\n");
}

}  // namespace

absl::string_view OperandKindName(OperandKind kind) {
  constexpr absl::string_view kNames[] = {"buffer", "weight", "argument", "kv"};
  return kNames[static_cast<int>(kind)];
}

absl::string_view BarrierName(Barrier barrier) {
  constexpr absl::string_view kNames[] = {"none", "many", "prefill", "many_or_prefill", "always"};
  return kNames[static_cast<int>(barrier)];
}

std::string Print(const Program& program) { return ProgramPrinter(program).Print(); }

std::vector<int> KernelLines(absl::string_view text) {
  std::vector<int> lines;
  bool in_kernel = false;  // its function is the next; @weights belongs to none
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (absl::StartsWith(line, "kernel @")) in_kernel = true;
    if (!in_kernel || !absl::StartsWith(line, "func @")) continue;
    lines.push_back(number);
    in_kernel = false;
  }
  return lines;
}

}  // namespace ninfer::program
