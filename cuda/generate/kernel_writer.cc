// See kernel_writer.h.
// Tested by tests/cuda_shim_test.cc.
#include "cuda/generate/kernel_writer.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "ir/text.h"
#include "program/body.h"
#include "program/columns.h"

namespace ninfer::cuda {
namespace {

// Names that the texts use themselves, or that C++ keeps.
constexpr const char* kTaken[] = {
    "dims",   "row",     "rows",   "lane",   "warp",   "c",      "i",        "j",         "k",
    "n",      "s",       "t",      "u",      "r",      "head",   "page",     "position",  "sum",
    "sums",   "slot",    "int",    "float",  "bf16",   "f16",    "sequence", "sequences", "partial",
    "group",  "part",    "tile",   "chunk",  "chunks", "stage",  "x_rows",   "w_rows",    "results",
    "keys",   "values",  "from",   "chosen", "before", "own",    "other",    "first",     "last",
    "expert", "pair",    "query",  "scores", "most",   "total",  "output",   "weight",    "width",
    "length", "lanes",   "score",  "next",   "merged", "factor", "at",       "step",      "value",
    "column", "columns", "stored", "largest"};

// Whether `name` says where in the order of the results the value stands, and no more.
bool IsNumber(absl::string_view name) {
  return name.find_first_not_of("0123456789") == absl::string_view::npos;
}

}  // namespace

KernelWriter::KernelWriter(const program::Program& program, int kernel, Source* source)
    : program_(program), index_(kernel), source_(source) {
  for (const char* name : kTaken) uses_[name] = 1;
  for (const auto& parameter : body().parameters()) {
    names_[parameter.get()] = NewName(Identifier(parameter->name()));
  }
  int number = 0;
  for (const auto& node : body().nodes()) {
    for (int i = 0; i < node->num_results(); ++i) {
      const std::string& name = node->result(i)->name();
      names_[node->result(i)] =
          IsNumber(name) ? absl::StrCat("v", number++) : absl::StrCat("v_", Identifier(name));
    }
  }
}

void KernelWriter::Head() {
  text_.Blank();
  const std::string function = ir::PrintFunction(body(), program_.symbols);
  for (absl::string_view line : absl::StrSplit(function, '\n', absl::SkipEmpty())) {
    text_.Line("// ", line);
  }
}

DeviceKernel& KernelWriter::Begin(const std::string& variant, int threads, int blocks) {
  DeviceKernel device;
  device.name = Identifier(absl::StrCat(kernel().name, "__", variant));
  device.kernel = index_;
  device.threads = threads;
  device.blocks = blocks;
  text_.Line("extern \"C\" __global__ void __launch_bounds__(", threads, ", ", blocks, ")");
  text_.Open(Signature(device));
  source_->kernels.push_back(std::move(device));
  return source_->kernels.back();
}

void KernelWriter::End() {
  text_.Close();
  source_->text += text_.str();
  text_ = Text();
}

std::string KernelWriter::Signature(const DeviceKernel& device) const {
  constexpr size_t kColumns = 96;
  std::string text = absl::StrCat(device.name, "(");
  size_t column = text.size();
  const auto add = [&](const std::string& parameter) {
    if (column + parameter.size() > kColumns) {
      absl::StripTrailingAsciiWhitespace(&text);
      text += "\n    ";
      column = 4;
    }
    text += parameter;
    column += parameter.size();
  };
  for (size_t i = 0; i < kernel().params.size(); ++i) {
    const ir::Value* parameter = body().parameters()[i].get();
    const program::KernelParam& param = kernel().params[i];
    // What a launch writes may lie where one of its inputs lies: neither is restricted.
    const bool apart = param.kind == program::OperandKind::kWeight;
    const bool integers = apart && formats::InfoOf(param.format).scheme != nullptr;
    const DType dtype = apart ? formats::InfoOf(param.format).dtype : parameter->type().dtype;
    add(absl::StrCat(param.written ? "" : "const ", integers ? "unsigned char" : TypeName(dtype),
                     "* ", apart ? "__restrict__ " : "", Name(parameter), ", "));
  }
  add("const int* dims)");
  return text;
}

const program::KernelParam& KernelWriter::ParameterInfo(const ir::Value* parameter) const {
  const int index = program::ParameterIndex(body(), parameter);
  NINFER_CHECK(index >= 0) << kernel().name;
  return kernel().params[index];
}

std::string KernelWriter::Name(const ir::Value* parameter) const { return names_.at(parameter); }

std::string KernelWriter::OutputName(int result) const {
  const size_t first = kernel().params.size() - program::NumOutputs(kernel());
  return Name(body().parameters()[first + result].get());
}

std::string KernelWriter::NewName(const ir::Value* value) {
  const std::string name = names_.at(value);
  return NewName(value->is_parameter() ? name + "_at" : name);
}

std::string KernelWriter::NewName(const std::string& base) {
  const int use = uses_[base]++;
  return use == 0 ? base : NewName(absl::StrCat(base, "_", use));
}

std::string KernelWriter::DimText(const ir::Dim& dim) const {
  if (dim.is_static()) return absl::StrCat(dim.offset);
  const std::string symbol = absl::StrCat("dims[", dim.symbol, "]");
  return dim.offset == 0 ? symbol : absl::StrCat("(", symbol, " + ", dim.offset, ")");
}

std::string KernelWriter::SymbolText(absl::string_view symbol) const {
  for (size_t i = 0; i < program_.symbols.size(); ++i) {
    if (program_.symbols[i].name == symbol) return absl::StrCat("dims[", i, "]");
  }
  NINFER_CHECK(false) << "no symbol " << std::string(symbol);
  return "";
}

std::string KernelWriter::RowStride(const ir::Value* parameter) const {
  const ir::Type& type = parameter->type();
  const program::KernelParam& info = ParameterInfo(parameter);
  const bool dense = info.kind == program::OperandKind::kArgument && type.dtype == DType::kI32;
  const int64_t columns = program::RowColumns(type);
  return absl::StrCat(dense ? columns : program::LeadingDimension(columns));
}

}  // namespace ninfer::cuda
