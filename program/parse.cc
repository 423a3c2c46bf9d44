// The program's text read back: items in any order that declares a name before its use, weight
// expressions and kernel bodies through the parser of level 1. It refuses what the structs cannot hold
// (unknown names, a name declared twice); sizes, types and order are the verifier's.
// Tested by tests/program_text_test.cc, tests/fuzz/program_text_fuzz.cc.
#include <algorithm>
#include <charconv>
#include <limits>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "base/status.h"
#include "ir/lexer.h"
#include "ir/text.h"
#include "program/body.h"
#include "program/text.h"
#include "program/text_words.h"

namespace ninfer::program {
namespace {

using ir::Token;
using ir::TokenKind;

constexpr int kMaxRank = 8;

// The embedded texts are read by another parser, so the lexer is made anew behind each.
class ProgramParser {
 public:
  ProgramParser(absl::string_view text, absl::string_view file)
      : text_(text), file_(file), lexer_(text, 1) {
    Advance();
  }

  absl::StatusOr<Program> Parse();

 private:
  void Advance() {
    token_ = lexer_.Next();
    token_.end += base_;
  }
  // Goes on at `position`, knowing that `known`, before it, lies on `line`.
  void Restart(size_t position, size_t known, int line) {
    base_ = position;
    const auto lines = std::count(text_.begin() + known, text_.begin() + position, '\n');
    lexer_ = ir::Lexer(text_.substr(position), line + static_cast<int>(lines));
    Advance();
  }
  size_t Begin() const { return token_.end - token_.text.size(); }  // offset of the token

  absl::Status Error(absl::string_view expected) const;
  bool Is(absl::string_view text) const {
    return token_.text == text && token_.kind != TokenKind::kString;
  }
  bool Accept(absl::string_view text) {
    if (!Is(text)) return false;
    Advance();
    return true;
  }
  absl::Status Expect(absl::string_view text) {
    return Accept(text) ? absl::OkStatus() : Error(absl::StrCat("'", text, "'"));
  }
  absl::StatusOr<std::string> Name(TokenKind kind, absl::string_view what);
  absl::StatusOr<int64_t> Int(absl::string_view what);
  absl::StatusOr<int64_t> Field(absl::string_view word);  // "ld 576"
  absl::StatusOr<int> Index(absl::string_view what);
  absl::StatusOr<int> Symbol();
  absl::StatusOr<ir::Dim> Dim();
  absl::StatusOr<ir::Type> Type();
  absl::StatusOr<formats::Format> Format();

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
  absl::StatusOr<int> Find(absl::string_view space, absl::string_view name,
                           absl::string_view what) const;
  absl::Status Declare(absl::string_view space, const std::string& name, size_t index);

  absl::string_view text_;
  std::string file_;
  ir::Lexer lexer_;
  Token token_;
  size_t base_ = 0;
  Program p_;
  absl::flat_hash_map<std::string, int> names_;
};

absl::Status ProgramParser::Error(absl::string_view expected) const {
  std::string found(token_.text.substr(0, 60));
  if (token_.kind == TokenKind::kEnd) found = "the end of the text";
  return InvalidArgument(file_, ":", token_.line, ": expected ", expected, ", found ",
                         absl::Utf8SafeCEscape(found));
}

absl::StatusOr<std::string> ProgramParser::Name(TokenKind kind, absl::string_view what) {
  if (token_.kind != kind) return Error(what);
  std::string name = kind == TokenKind::kWord ? std::string(token_.text) : token_.name;
  Advance();
  return name;
}

absl::StatusOr<int64_t> ProgramParser::Int(absl::string_view what) {
  int64_t value = 0;
  const char* end = token_.text.data() + token_.text.size();
  const auto result = std::from_chars(token_.text.data(), end, value);
  if (token_.kind != TokenKind::kNumber || result.ec != std::errc() || result.ptr != end) {
    return Error(what);
  }
  Advance();
  return value;
}

absl::StatusOr<int64_t> ProgramParser::Field(absl::string_view word) {
  NINFER_RETURN_IF_ERROR(Expect(word));
  return Int("an integer");
}

absl::StatusOr<int> ProgramParser::Index(absl::string_view what) {
  const Token token = token_;
  NINFER_ASSIGN_OR_RETURN(const int64_t value, Int(what));
  if (value >= 0 && value <= std::numeric_limits<int>::max()) return static_cast<int>(value);
  return InvalidArgument(file_, ":", token.line, ": expected ", what, ", found ", token.text);
}

absl::StatusOr<int> ProgramParser::Symbol() {
  for (size_t i = 0; i < p_.symbols.size(); ++i) {
    if (token_.kind != TokenKind::kWord || p_.symbols[i].name != token_.text) continue;
    Advance();
    return static_cast<int>(i);
  }
  return Error("a declared dimension");
}

absl::StatusOr<ir::Dim> ProgramParser::Dim() {
  if (token_.kind == TokenKind::kNumber) {
    NINFER_ASSIGN_OR_RETURN(const int64_t size, Int("a size"));
    return ir::Dim::Static(size);
  }
  NINFER_ASSIGN_OR_RETURN(const int symbol, Symbol());
  if (!Is("+") && token_.kind != TokenKind::kNumber) return ir::Dim::Symbolic(symbol);
  Accept("+");
  NINFER_ASSIGN_OR_RETURN(const int64_t offset, Int("an integer"));
  return ir::Dim::Symbolic(symbol, offset);
}

absl::StatusOr<ir::Type> ProgramParser::Type() {
  ir::Type type;
  type.is_kv = Accept("kv");
  if (type.is_kv) NINFER_RETURN_IF_ERROR(Expect("<"));
  const auto dtype = DTypeFromName(token_.text);
  if (!dtype.has_value()) return Error("a type such as f32[T,576]");
  type.dtype = *dtype;
  Advance();
  if (type.is_kv) NINFER_RETURN_IF_ERROR(Expect(">"));
  NINFER_RETURN_IF_ERROR(Expect("["));
  if (Accept("]")) return type;
  do {
    if (type.rank() == kMaxRank) return Error(absl::StrCat("at most ", kMaxRank, " dimensions"));
    NINFER_ASSIGN_OR_RETURN(const ir::Dim dim, Dim());
    type.shape.push_back(dim);
  } while (Accept(","));
  NINFER_RETURN_IF_ERROR(Expect("]"));
  return type;
}

absl::StatusOr<formats::Format> ProgramParser::Format() {
  const absl::optional<formats::Format> format = formats::FormatFromName(token_.text);
  if (!format.has_value()) return Error("a weight format such as panel_bf16");
  Advance();
  return *format;
}

absl::Status ProgramParser::Declare(absl::string_view space, const std::string& name,
                                    size_t index) {
  if (names_.emplace(absl::StrCat(space, " ", name), static_cast<int>(index)).second) {
    return absl::OkStatus();
  }
  return InvalidArgument(file_, ":", token_.line, ": expected a ", space, " not declared above, found ",
                         absl::Utf8SafeCEscape(name));
}

absl::StatusOr<int> ProgramParser::Find(absl::string_view space, absl::string_view name,
                                        absl::string_view what) const {
  const auto it = names_.find(absl::StrCat(space, " ", name));
  if (it == names_.end()) return Error(what);
  return it->second;
}

// --- declarations --------------------------------------------------------------------------------

absl::Status ProgramParser::ParseDimension() {
  NINFER_ASSIGN_OR_RETURN(std::string name, Name(TokenKind::kWord, "a dimension's name"));
  NINFER_RETURN_IF_ERROR(Declare("dim", name, p_.symbols.size()));
  NINFER_RETURN_IF_ERROR(Expect("in"));
  NINFER_RETURN_IF_ERROR(Expect("["));
  NINFER_ASSIGN_OR_RETURN(const int64_t min, Int("a lower bound"));
  NINFER_RETURN_IF_ERROR(Expect(","));
  NINFER_ASSIGN_OR_RETURN(const int64_t max, Int("an upper bound"));
  p_.symbols.push_back({std::move(name), min, max});
  return Expect("]");
}

absl::Status ProgramParser::ParseArgument() {
  NINFER_ASSIGN_OR_RETURN(std::string name, Name(TokenKind::kValue, "an argument's name"));
  NINFER_RETURN_IF_ERROR(Declare("argument", name, p_.arguments.size()));
  NINFER_RETURN_IF_ERROR(Expect(":"));
  NINFER_ASSIGN_OR_RETURN(ir::Type type, Type());
  p_.arguments.push_back({std::move(name), std::move(type)});
  return absl::OkStatus();
}

absl::Status ProgramParser::ParseKv() {
  NINFER_ASSIGN_OR_RETURN(std::string name, Name(TokenKind::kValue, "a KV state's name"));
  NINFER_RETURN_IF_ERROR(Declare("kv", name, p_.kv.size()));
  NINFER_RETURN_IF_ERROR(Expect(":"));
  const Token token = token_;
  NINFER_ASSIGN_OR_RETURN(const ir::Type type, Type());
  if (!type.is_kv || type.rank() != 2 || !type.shape[0].is_static() || !type.shape[1].is_static()) {
    return InvalidArgument(file_, ":", token.line, ": expected kv<..>[heads,head_dim], found ",
                           TypeToString(type, p_.symbols));
  }
  p_.kv.push_back({std::move(name), {type.dtype, type.shape[0].offset, type.shape[1].offset}});
  return absl::OkStatus();
}

absl::Status ProgramParser::ParseExpressions() {
  const int line = token_.line;
  if (!Is("expressions") || p_.weights_module != nullptr) {
    return Error("the weight expressions, once");
  }
  const std::string end = absl::StrCat("\n", kEndExpressions, "\n");
  const size_t first = token_.end;
  const size_t last = text_.find(end, first);
  if (last == absl::string_view::npos) {
    return InvalidArgument(file_, ":", line, ": expected a line '", kEndExpressions,
                           "' behind, found none");
  }
  // Empty lines in front, so that errors name the line in this text.
  const std::string padded =
      absl::StrCat(std::string(line - 1, '\n'), text_.substr(first, last + 1 - first));
  NINFER_ASSIGN_OR_RETURN(ir::Module module, ir::Parse(padded, file_));
  p_.weights_module = std::make_unique<ir::Module>(std::move(module));
  Restart(last + end.size(), first, line);
  return absl::OkStatus();
}

absl::Status ProgramParser::ParseWeight() {
  const ir::Function* function =
      p_.weights_module == nullptr ? nullptr : p_.weights_module->FindFunction("weights");
  if (function == nullptr || p_.weights.size() >= function->results().size()) {
    return Error("no more weights than @weights returns");
  }
  PackedWeight weight;
  NINFER_ASSIGN_OR_RETURN(weight.name, Name(TokenKind::kGlobal, "a weight's name"));
  NINFER_RETURN_IF_ERROR(Declare("weight", weight.name, p_.weights.size()));
  NINFER_RETURN_IF_ERROR(Expect(":"));
  NINFER_ASSIGN_OR_RETURN(weight.format, Format());
  NINFER_ASSIGN_OR_RETURN(weight.shape.n, Field("n"));
  NINFER_ASSIGN_OR_RETURN(weight.shape.k, Field("k"));
  if (Is("segments")) {
    NINFER_ASSIGN_OR_RETURN(weight.shape.segments, Field("segments"));
  }
  NINFER_ASSIGN_OR_RETURN(weight.bytes, Field("bytes"));
  if (Is("at")) {
    NINFER_ASSIGN_OR_RETURN(weight.offset, Field("at"));
  }
  weight.source = function->results()[p_.weights.size()];
  p_.weights.push_back(std::move(weight));
  return absl::OkStatus();
}

// --- kernels -------------------------------------------------------------------------------------

absl::Status ProgramParser::ParseKernel() {
  Kernel kernel;
  NINFER_ASSIGN_OR_RETURN(kernel.name, Name(TokenKind::kGlobal, "a kernel's name"));
  NINFER_RETURN_IF_ERROR(Declare("kernel", kernel.name, p_.kernels.size()));
  NINFER_RETURN_IF_ERROR(Expect("family"));
  const absl::optional<Family> family = FamilyFromName(token_.text);
  if (!family.has_value()) return Error("a kernel family such as linear");
  kernel.family = *family;
  Advance();
  NINFER_ASSIGN_OR_RETURN(kernel.units.factor, Field("units"));
  if (Accept("per")) {
    NINFER_ASSIGN_OR_RETURN(kernel.units.symbol, Symbol());
    if (Is("by")) {
      NINFER_ASSIGN_OR_RETURN(kernel.units.block, Field("by"));
    }
  }
  NINFER_ASSIGN_OR_RETURN(kernel.scratch_bytes, Field("scratch"));
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
    for (OperandKind kind : {OperandKind::kBuffer, OperandKind::kWeight, OperandKind::kArgument,
                             OperandKind::kKv}) {
      if (!Is(OperandKindName(kind))) continue;
      param.kind = kind;
      found = true;
    }
    if (!found) return Error("buffer, weight, argument or kv");
    Advance();
    if (param.kind == OperandKind::kWeight) {
      NINFER_ASSIGN_OR_RETURN(param.format, Format());
      if (Is("segments")) {
        NINFER_ASSIGN_OR_RETURN(param.segments, Field("segments"));
      }
    }
    param.written = Accept("written");
    kernel.params.push_back(param);
  } while (Accept(","));
  return absl::OkStatus();
}

absl::Status ProgramParser::ParseBody(Kernel& kernel) {
  if (!Is("func")) return Error("'func'");
  const size_t begin = Begin();
  const int line = token_.line;
  size_t consumed = 0;
  NINFER_ASSIGN_OR_RETURN(kernel.body, ir::ParseFunction(text_.substr(begin), file_, line,
                                                         p_.symbols, &consumed));
  if (kernel.body->name() != kernel.name) {
    return InvalidArgument(file_, ":", line, ": expected the body of @",
                           absl::Utf8SafeCEscape(kernel.name), ", found @",
                           absl::Utf8SafeCEscape(kernel.body->name()));
  }
  kernel.kv = KvOf(*kernel.body);
  Restart(begin + consumed, begin, line);
  return absl::OkStatus();
}

// --- buffers and launches ------------------------------------------------------------------------

absl::Status ProgramParser::ParseBuffer() {
  Buffer buffer;
  NINFER_ASSIGN_OR_RETURN(buffer.name, Name(TokenKind::kValue, "a buffer's name"));
  NINFER_RETURN_IF_ERROR(Declare("buffer", buffer.name, p_.buffers.size()));
  NINFER_RETURN_IF_ERROR(Expect(":"));
  NINFER_ASSIGN_OR_RETURN(buffer.type, Type());
  if (buffer.type.is_kv && buffer.type.rank() == 2) {
    buffer.kv = KvLayout{buffer.type.dtype, buffer.type.shape[0].offset, buffer.type.shape[1].offset};
  }
  NINFER_ASSIGN_OR_RETURN(buffer.ld, Field("ld"));
  NINFER_ASSIGN_OR_RETURN(buffer.bytes, Field("bytes"));
  buffer.replicated = Accept("replicated");
  buffer.is_output = Accept("output");
  if (buffer.is_output) {
    if (p_.output >= 0) return Error("one output, the buffer marked above");
    p_.output = static_cast<int>(p_.buffers.size());
  }
  if (Accept("live")) {
    NINFER_ASSIGN_OR_RETURN(buffer.first_launch, Index("a launch's number"));
    NINFER_RETURN_IF_ERROR(Expect("to"));
    NINFER_ASSIGN_OR_RETURN(buffer.last_launch, Index("a launch's number"));
  }
  if (Accept("at")) {
    NINFER_ASSIGN_OR_RETURN(buffer.offset, Int("an offset"));
  }
  p_.buffers.push_back(std::move(buffer));
  return absl::OkStatus();
}

absl::StatusOr<Operand> ProgramParser::ParseOperand() {
  Operand operand;
  if (Accept("argument")) operand.kind = OperandKind::kArgument;
  if (operand.kind == OperandKind::kBuffer && Accept("kv")) operand.kind = OperandKind::kKv;
  const bool weight = token_.kind == TokenKind::kGlobal && operand.kind == OperandKind::kBuffer;
  if (weight) operand.kind = OperandKind::kWeight;
  const absl::string_view space = OperandKindName(operand.kind);
  const std::string what = absl::StrCat("a ", space, " declared above");
  if (!weight && token_.kind != TokenKind::kValue) return Error(what);
  NINFER_ASSIGN_OR_RETURN(operand.index, Find(space, token_.name, what));
  Advance();
  return operand;
}

absl::Status ProgramParser::ParseLaunch() {
  if (token_.text != absl::StrCat(p_.launches.size())) {
    return Error(absl::StrCat("launch ", p_.launches.size()));
  }
  Advance();
  Launch launch;
  if (token_.kind != TokenKind::kGlobal) return Error("a kernel's name");
  NINFER_ASSIGN_OR_RETURN(launch.kernel, Find("kernel", token_.name, "a kernel declared above"));
  Advance();
  NINFER_RETURN_IF_ERROR(Expect("("));
  do {
    NINFER_ASSIGN_OR_RETURN(const Operand operand, ParseOperand());
    launch.operands.push_back(operand);
  } while (Accept(","));
  NINFER_RETURN_IF_ERROR(Expect(")"));
  NINFER_RETURN_IF_ERROR(Expect("barrier"));
  bool found = false;
  for (Barrier barrier : {Barrier::kNone, Barrier::kMany, Barrier::kAlways}) {
    if (!Is(BarrierName(barrier))) continue;
    launch.barrier = barrier;
    found = true;
  }
  if (!found) return Error("none, many or always");
  Advance();
  launch.replicated = Accept("replicated");
  launch.provenance = std::string(lexer_.comment());
  p_.launches.push_back(std::move(launch));
  return absl::OkStatus();
}

absl::StatusOr<Program> ProgramParser::Parse() {
  NINFER_RETURN_IF_ERROR(Expect("program"));
  NINFER_ASSIGN_OR_RETURN(p_.name, Name(TokenKind::kString, "the program's name in quotes"));
  NINFER_ASSIGN_OR_RETURN(p_.few_rows, Field("few_rows"));
  while (token_.kind != TokenKind::kEnd) {
    if (Accept("dim")) {
      NINFER_RETURN_IF_ERROR(ParseDimension());
    } else if (Accept("argument")) {
      NINFER_RETURN_IF_ERROR(ParseArgument());
    } else if (Accept("kv")) {
      NINFER_RETURN_IF_ERROR(ParseKv());
    } else if (Accept("begin")) {
      NINFER_RETURN_IF_ERROR(ParseExpressions());
    } else if (Is("weights")) {
      NINFER_ASSIGN_OR_RETURN(p_.weight_bytes, Field("weights"));
    } else if (Accept("weight")) {
      NINFER_RETURN_IF_ERROR(ParseWeight());
    } else if (Accept("kernel")) {
      NINFER_RETURN_IF_ERROR(ParseKernel());
    } else if (Is("arena")) {
      NINFER_ASSIGN_OR_RETURN(p_.arena_bytes, Field("arena"));
      NINFER_ASSIGN_OR_RETURN(p_.replica_bytes, Field("replica"));
      NINFER_ASSIGN_OR_RETURN(p_.arena_lower_bound, Field("lower_bound"));
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
