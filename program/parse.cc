// The program's text read back: items in any order that declares a name before its use, weight
// expressions and kernel bodies through the parser of level 1. It refuses what the structs cannot
// hold (unknown names, a name declared twice); sizes, types and order are the verifier's.
// Tested by tests/program_text_test.cc, tests/fuzz/program_text_fuzz.cc.
#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "base/status.h"
#include "ir/term_parser.h"
#include "ir/text.h"
#include "program/body.h"
#include "program/text.h"
#include "program/text_words.h"

namespace ninfer::program {
namespace {

using ir::Token;
using ir::TokenKind;

std::string WithArticle(absl::string_view noun) {
  return absl::StrCat(noun[0] == 'a' ? "an " : "a ", noun);
}

class ProgramParser : private ir::TermParser {
 public:
  ProgramParser(absl::string_view text, absl::string_view file) : TermParser(text, file, 1) {}

  absl::StatusOr<Program> Parse();

 private:
  absl::Status ParseDimension();
  absl::Status ParseArgument();
  absl::Status ParseKv();
  absl::Status ParseExpressions();
  absl::Status ParseWeight();
  absl::Status ParseKernel();
  absl::Status ParseParams(Kernel& kernel);
  absl::Status ParseBody(Kernel& kernel);
  absl::Status ParseBuffer();
  absl::Status ParseLaunch();
  absl::StatusOr<Operand> ParseOperand();
  absl::StatusOr<formats::Format> ParseFormat();
  absl::StatusOr<int> Find(absl::string_view space, absl::string_view name,
                           absl::string_view what) const;
  absl::Status Declare(absl::string_view space, const std::string& name, size_t index);

  Program p_;
  absl::flat_hash_map<std::string, int> names_;
};

absl::Status ProgramParser::Declare(absl::string_view space, const std::string& name,
                                    size_t index) {
  if (names_.emplace(absl::StrCat(space, " ", name), static_cast<int>(index)).second) {
    return absl::OkStatus();
  }
  return InvalidArgument(file(), ":", token().line, ": expected ", WithArticle(space),
                         " not declared above, found ", absl::Utf8SafeCHexEscape(name));
}

absl::StatusOr<int> ProgramParser::Find(absl::string_view space, absl::string_view name,
                                        absl::string_view what) const {
  const auto it = names_.find(absl::StrCat(space, " ", name));
  if (it == names_.end()) return Error(what);
  return it->second;
}

// --- declarations --------------------------------------------------------------------------------

absl::Status ProgramParser::ParseDimension() {
  NINFER_ASSIGN_OR_RETURN(std::string name, ParseName(TokenKind::kWord, "a dimension's name"));
  NINFER_RETURN_IF_ERROR(Declare("dim", name, p_.symbols.size()));
  NINFER_RETURN_IF_ERROR(Expect("in"));
  NINFER_RETURN_IF_ERROR(Expect("["));
  NINFER_ASSIGN_OR_RETURN(const int64_t min, ParseInt("a lower bound"));
  NINFER_RETURN_IF_ERROR(Expect(","));
  NINFER_ASSIGN_OR_RETURN(const int64_t max, ParseInt("an upper bound"));
  p_.symbols.push_back({std::move(name), min, max});
  set_symbols(p_.symbols);
  return Expect("]");
}

absl::Status ProgramParser::ParseArgument() {
  NINFER_ASSIGN_OR_RETURN(std::string name, ParseName(TokenKind::kValue, "an argument's name"));
  NINFER_RETURN_IF_ERROR(Declare("argument", name, p_.arguments.size()));
  NINFER_RETURN_IF_ERROR(Expect(":"));
  NINFER_ASSIGN_OR_RETURN(ir::Type type, ParseType());
  p_.arguments.push_back({std::move(name), std::move(type)});
  return absl::OkStatus();
}

absl::Status ProgramParser::ParseKv() {
  NINFER_ASSIGN_OR_RETURN(std::string name, ParseName(TokenKind::kValue, "a KV state's name"));
  NINFER_RETURN_IF_ERROR(Declare("kv", name, p_.kv.size()));
  NINFER_RETURN_IF_ERROR(Expect(":"));
  const Token first = token();
  NINFER_ASSIGN_OR_RETURN(const ir::Type type, ParseType());
  if (!type.is_kv || type.rank() != 2 || !type.shape[0].is_static() || !type.shape[1].is_static()) {
    return InvalidArgument(file(), ":", first.line, ": expected kv<..>[heads,head_dim], found ",
                           TypeToString(type, p_.symbols));
  }
  int64_t window = 0;
  if (Is("window")) {
    NINFER_ASSIGN_OR_RETURN(window, ParseField("window"));
  }
  p_.kv.push_back(
      {std::move(name), {type.dtype, type.shape[0].offset, type.shape[1].offset}, window});
  return absl::OkStatus();
}

absl::Status ProgramParser::ParseExpressions() {
  const int line = token().line;
  if (!Is("expressions") || p_.weights_module != nullptr) {
    return Error("the weight expressions, once");
  }
  const std::string end = absl::StrCat("\n", kEndExpressions, "\n");
  const size_t first = token().end;
  const size_t last = text().find(end, first);
  if (last == absl::string_view::npos) {
    return InvalidArgument(file(), ":", line, ": expected a line '", kEndExpressions,
                           "' behind, found none");
  }
  // Empty lines in front, so that errors name the line in this text.
  const std::string padded =
      absl::StrCat(std::string(line - 1, '\n'), text().substr(first, last + 1 - first));
  NINFER_ASSIGN_OR_RETURN(ir::Module module, ir::Parse(padded, file()));
  p_.weights_module = std::make_unique<ir::Module>(std::move(module));
  Restart(last + end.size(), first, line);
  return absl::OkStatus();
}

absl::StatusOr<formats::Format> ProgramParser::ParseFormat() {
  const absl::optional<formats::Format> format = formats::FormatFromName(token().text);
  if (!format.has_value()) return Error("a weight format such as panel_bf16");
  Advance();
  return *format;
}

absl::Status ProgramParser::ParseWeight() {
  const ir::Function* function =
      p_.weights_module == nullptr ? nullptr : p_.weights_module->FindFunction("weights");
  if (function == nullptr || p_.weights.size() >= function->results().size()) {
    return Error("no more weights than @weights returns");
  }
  PackedWeight weight;
  NINFER_ASSIGN_OR_RETURN(weight.name, ParseName(TokenKind::kGlobal, "a weight's name"));
  NINFER_RETURN_IF_ERROR(Declare("weight", weight.name, p_.weights.size()));
  NINFER_RETURN_IF_ERROR(Expect(":"));
  NINFER_ASSIGN_OR_RETURN(weight.format, ParseFormat());
  NINFER_ASSIGN_OR_RETURN(weight.shape.n, ParseField("n"));
  NINFER_ASSIGN_OR_RETURN(weight.shape.k, ParseField("k"));
  if (Is("segments")) {
    NINFER_ASSIGN_OR_RETURN(weight.shape.segments, ParseField("segments"));
  }
  NINFER_ASSIGN_OR_RETURN(weight.bytes, ParseField("bytes"));
  if (Is("at")) {
    NINFER_ASSIGN_OR_RETURN(weight.offset, ParseField("at"));
  }
  weight.source = function->results()[p_.weights.size()];
  p_.weights.push_back(std::move(weight));
  return absl::OkStatus();
}

// --- kernels -------------------------------------------------------------------------------------

absl::Status ProgramParser::ParseKernel() {
  Kernel kernel;
  NINFER_ASSIGN_OR_RETURN(kernel.name, ParseName(TokenKind::kGlobal, "a kernel's name"));
  NINFER_RETURN_IF_ERROR(Declare("kernel", kernel.name, p_.kernels.size()));
  NINFER_RETURN_IF_ERROR(Expect("family"));
  const absl::optional<Family> family = FamilyFromName(token().text);
  if (!family.has_value()) return Error("a kernel family such as linear");
  kernel.family = *family;
  Advance();
  NINFER_ASSIGN_OR_RETURN(kernel.units.factor, ParseField("units"));
  if (Accept("per")) {
    NINFER_ASSIGN_OR_RETURN(kernel.units.symbol, ParseSymbol("a declared dimension"));
    if (Is("by")) {
      NINFER_ASSIGN_OR_RETURN(kernel.units.block, ParseField("by"));
    }
  }
  NINFER_ASSIGN_OR_RETURN(kernel.scratch_bytes, ParseField("scratch"));
  NINFER_RETURN_IF_ERROR(ParseParams(kernel));
  NINFER_RETURN_IF_ERROR(ParseBody(kernel));
  p_.kernels.push_back(std::move(kernel));
  return absl::OkStatus();
}

absl::Status ProgramParser::ParseParams(Kernel& kernel) {
  NINFER_RETURN_IF_ERROR(Expect("params"));
  do {
    KernelParam param;
    bool found = false;
    for (OperandKind kind :
         {OperandKind::kBuffer, OperandKind::kWeight, OperandKind::kArgument, OperandKind::kKv}) {
      if (!Is(OperandKindName(kind))) continue;
      param.kind = kind;
      found = true;
    }
    if (!found) return Error("buffer, weight, argument or kv");
    Advance();
    if (param.kind == OperandKind::kWeight) {
      NINFER_ASSIGN_OR_RETURN(param.format, ParseFormat());
      if (Is("segments")) {
        NINFER_ASSIGN_OR_RETURN(param.segments, ParseField("segments"));
      }
    }
    param.written = Accept("written");
    kernel.params.push_back(param);
  } while (Accept(","));
  return absl::OkStatus();
}

absl::Status ProgramParser::ParseBody(Kernel& kernel) {
  if (!Is("func")) return Error("'func'");
  const size_t start = begin();
  const int line = token().line;
  size_t consumed = 0;
  NINFER_ASSIGN_OR_RETURN(
      kernel.body, ir::ParseFunction(text().substr(start), file(), line, p_.symbols, &consumed));
  if (kernel.body->name() != kernel.name) {
    return InvalidArgument(file(), ":", line, ": expected the body of @",
                           absl::Utf8SafeCHexEscape(kernel.name), ", found @",
                           absl::Utf8SafeCHexEscape(kernel.body->name()));
  }
  kernel.kv = KvOf(*kernel.body);
  Restart(start + consumed, start, line);
  return absl::OkStatus();
}

// --- buffers and launches ------------------------------------------------------------------------

absl::Status ProgramParser::ParseBuffer() {
  Buffer buffer;
  NINFER_ASSIGN_OR_RETURN(buffer.name, ParseName(TokenKind::kValue, "a buffer's name"));
  NINFER_RETURN_IF_ERROR(Declare("buffer", buffer.name, p_.buffers.size()));
  NINFER_RETURN_IF_ERROR(Expect(":"));
  NINFER_ASSIGN_OR_RETURN(buffer.type, ParseType());
  if (buffer.type.is_kv && buffer.type.rank() == 2) {
    buffer.kv =
        KvLayout{buffer.type.dtype, buffer.type.shape[0].offset, buffer.type.shape[1].offset};
  }
  NINFER_ASSIGN_OR_RETURN(buffer.ld, ParseField("ld"));
  NINFER_ASSIGN_OR_RETURN(buffer.bytes, ParseField("bytes"));
  buffer.replicated = Accept("replicated");
  buffer.is_output = Accept("output");
  if (buffer.is_output) {
    int& output = buffer.type.dtype == DType::kI32 ? p_.argmax : p_.output;
    if (output >= 0) return Error("one output of logits, and one of ids, as marked above");
    output = static_cast<int>(p_.buffers.size());
  }
  if (Accept("live")) {
    NINFER_ASSIGN_OR_RETURN(buffer.first_launch, ParseIndex("a launch's number"));
    NINFER_RETURN_IF_ERROR(Expect("to"));
    NINFER_ASSIGN_OR_RETURN(buffer.last_launch, ParseIndex("a launch's number"));
  }
  if (Accept("at")) {
    NINFER_ASSIGN_OR_RETURN(buffer.offset, ParseInt("an offset"));
  }
  p_.buffers.push_back(std::move(buffer));
  return absl::OkStatus();
}

absl::StatusOr<Operand> ProgramParser::ParseOperand() {
  Operand operand;
  if (Accept("argument")) operand.kind = OperandKind::kArgument;
  if (operand.kind == OperandKind::kBuffer && Accept("kv")) operand.kind = OperandKind::kKv;
  const bool weight = token().kind == TokenKind::kGlobal && operand.kind == OperandKind::kBuffer;
  if (weight) operand.kind = OperandKind::kWeight;
  const absl::string_view space = OperandKindName(operand.kind);
  const std::string what = absl::StrCat(WithArticle(space), " declared above");
  if (!weight && token().kind != TokenKind::kValue) return Error(what);
  NINFER_ASSIGN_OR_RETURN(operand.index, Find(space, token().name, what));
  Advance();
  return operand;
}

absl::Status ProgramParser::ParseLaunch() {
  if (token().text != absl::StrCat(p_.launches.size())) {
    return Error(absl::StrCat("launch ", p_.launches.size()));
  }
  Advance();
  Launch launch;
  if (token().kind != TokenKind::kGlobal) return Error("a kernel's name");
  NINFER_ASSIGN_OR_RETURN(launch.kernel, Find("kernel", token().name, "a kernel declared above"));
  Advance();
  NINFER_RETURN_IF_ERROR(Expect("("));
  do {
    NINFER_ASSIGN_OR_RETURN(const Operand operand, ParseOperand());
    launch.operands.push_back(operand);
  } while (Accept(","));
  NINFER_RETURN_IF_ERROR(Expect(")"));
  NINFER_RETURN_IF_ERROR(Expect("barrier"));
  bool found = false;
  for (Barrier barrier : {Barrier::kNone, Barrier::kMany, Barrier::kPrefill,
                          Barrier::kManyOrPrefill, Barrier::kAlways}) {
    if (!Is(BarrierName(barrier))) continue;
    launch.barrier = barrier;
    found = true;
  }
  if (!found) return Error("none, many, prefill, many_or_prefill or always");
  Advance();
  launch.replicated = Accept("replicated");
  launch.provenance = std::string(comment());
  p_.launches.push_back(std::move(launch));
  return absl::OkStatus();
}

absl::StatusOr<Program> ProgramParser::Parse() {
  NINFER_RETURN_IF_ERROR(Expect("program"));
  NINFER_ASSIGN_OR_RETURN(p_.name, ParseName(TokenKind::kString, "the program's name in quotes"));
  NINFER_ASSIGN_OR_RETURN(p_.few_rows, ParseField("few_rows"));
  while (token().kind != TokenKind::kEnd) {
    if (Accept("dim")) {
      NINFER_RETURN_IF_ERROR(ParseDimension());
    } else if (Accept("argument")) {
      NINFER_RETURN_IF_ERROR(ParseArgument());
    } else if (Accept("kv")) {
      NINFER_RETURN_IF_ERROR(ParseKv());
    } else if (Accept("begin")) {
      NINFER_RETURN_IF_ERROR(ParseExpressions());
    } else if (Is("weights")) {
      NINFER_ASSIGN_OR_RETURN(p_.weight_bytes, ParseField("weights"));
    } else if (Accept("weight")) {
      NINFER_RETURN_IF_ERROR(ParseWeight());
    } else if (Accept("kernel")) {
      NINFER_RETURN_IF_ERROR(ParseKernel());
    } else if (Is("arena")) {
      NINFER_ASSIGN_OR_RETURN(p_.arena_bytes, ParseField("arena"));
      NINFER_ASSIGN_OR_RETURN(p_.replica_bytes, ParseField("replica"));
      NINFER_ASSIGN_OR_RETURN(p_.arena_lower_bound, ParseField("lower_bound"));
    } else if (Accept("buffer")) {
      NINFER_RETURN_IF_ERROR(ParseBuffer());
    } else if (Accept("launch")) {
      NINFER_RETURN_IF_ERROR(ParseLaunch());
    } else {
      return Error("dim, argument, kv, begin, weights, weight, kernel, arena, buffer or launch");
    }
  }
  return std::move(p_);
}

}  // namespace

absl::StatusOr<Program> Parse(absl::string_view text, absl::string_view file) {
  return ProgramParser(text, file).Parse();
}

}  // namespace ninfer::program
