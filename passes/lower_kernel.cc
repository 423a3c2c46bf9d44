// Kernels from regions: canonical bodies, so that equal regions of thirty layers share one kernel,
// and names made of what the body is: family, dtypes of weights and activations, ops, sizes. A name
// never says which model the kernel came from.
// Tested by tests/program_passes_test.cc (tests/program/passes/lower.kp),
// tests/program_planner_test.cc.
#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/page_table.h"
#include "base/status.h"
#include "ir/text.h"
#include "passes/lower_internal.h"
#include "program/body.h"

namespace ninfer::passes::lowering {
namespace {

using ir::Op;
using ir::OpClass;
using program::Family;
using program::Kernel;
using program::KernelParam;
using program::OperandKind;

constexpr size_t kMaxWords = 5;

absl::string_view NameStem(const ir::Value& parameter, const KernelParam& param, bool output) {
  if (parameter.type().is_kv) return "kv";
  if (output) return "y";
  switch (param.kind) {
    case OperandKind::kWeight:
      return "w";
    case OperandKind::kArgument:  // layers of another window share kernels that do not see it
      if (PageTableWindow(parameter.name()).has_value()) return "page_table";
      return parameter.name();
    default:
      return "x";
  }
}

// Names by role and order, so that bodies that do the same print the same.
void NameCanonically(Kernel& kernel, size_t inputs) {
  absl::flat_hash_set<std::string> taken;
  const auto parameters = kernel.body->parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    const std::string stem(NameStem(*parameters[i], kernel.params[i], i >= inputs));
    std::string name = stem;
    for (int n = 1; !taken.insert(name).second; ++n) name = absl::StrCat(stem, n);
    parameters[i]->set_name(std::move(name));
    parameters[i]->set_provenance("");
  }
  for (const auto& node : kernel.body->nodes()) {
    node->set_line(0);
    for (int i = 0; i < node->num_results(); ++i) {
      node->result(i)->set_name("");
      node->result(i)->set_provenance("");
    }
  }
}

// --- names ---------------------------------------------------------------------------------------

std::string Words(const Kernel& kernel) {
  std::vector<std::string> words;
  for (const auto& node : kernel.body->nodes()) {
    const OpClass op_class = node->info().op_class;
    const bool silent = op_class == OpClass::kView || op_class == OpClass::kCast ||
                        op_class == OpClass::kState || op_class == OpClass::kAttention ||
                        op_class == OpClass::kQuantise || node->op() == Op::kConstant ||
                        node->op() == Op::kMaxParts || node->op() == Op::kLinear ||
                        node->op() == Op::kGroupedLinear;
    if (silent) continue;
    absl::string_view name = node->info().name;
    if (node->op() == Op::kArgmaxParts) absl::ConsumeSuffix(&name, "_parts");
    std::string word = absl::StrReplaceAll(name, {{"_", ""}});
    if (words.empty() || words.back() != word) words.push_back(std::move(word));
  }
  if (words.size() > kMaxWords) {
    words.resize(kMaxWords);
    words.push_back("etc");
  }
  return absl::StrJoin(words, "_");
}

std::string Sizes(const ir::Type& type, int first) {
  std::vector<std::string> sizes;
  for (int i = first; i < type.rank(); ++i) {
    if (type.shape[i].is_static()) sizes.push_back(absl::StrCat(type.shape[i].offset));
  }
  return sizes.empty() ? "1" : absl::StrJoin(sizes, "x");
}

std::string WithWords(absl::string_view stem, absl::string_view words) {
  return words.empty() ? std::string(stem) : absl::StrCat(stem, "_", words);
}

// The dtype of the activations that come in, or of the step's argument when none do.
absl::string_view InputDType(const Kernel& kernel) {
  const auto parameters = kernel.body->parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    const ir::Type& type = parameters[i]->type();
    const bool activations = kernel.params[i].kind == OperandKind::kBuffer &&
                             !kernel.params[i].written && IsFloat(type.dtype) && !type.is_kv;
    if (activations) return DTypeName(type.dtype);
  }
  return DTypeName(parameters[0]->type().dtype);
}

std::string RowwiseName(const Kernel& kernel) {
  std::string words = Words(kernel);
  const ir::Type& result = kernel.body->results()[0]->type();
  absl::string_view from = InputDType(kernel);
  std::string sizes = Sizes(result, 1);
  const ir::Node* embedding = program::FindNode(*kernel.body, Op::kEmbedding);
  if (embedding != nullptr) {
    from = DTypeName(embedding->operand(1)->type().dtype);
    sizes = Sizes(embedding->operand(1)->type(), 0);
  }
  if (words.empty()) words = from == DTypeName(result.dtype) ? "copy" : "cast";
  return absl::StrCat(words, "_", from, "_", DTypeName(result.dtype), "__", sizes);
}

std::string NameOf(const Kernel& kernel) {
  const ir::Function& body = *kernel.body;
  switch (kernel.family) {
    case Family::kLinear:
    case Family::kGroupedLinear: {
      const ir::Node& linear = *program::LinearOf(body);
      const ir::Type& w = linear.operand(1)->type();
      const KernelParam& param = kernel.params[program::ParameterIndex(body, linear.operand(1))];
      const int64_t segments = param.segments;
      const ir::Node* quantiser = program::InputQuantiser(linear);
      const absl::string_view input =
          quantiser == nullptr ? DTypeName(linear.operand(0)->type().dtype)
          : FindQuantiseScheme(quantiser->attr_string("scheme"))->group == 0 ? "int8_row"
                                                                             : "int8";
      const std::string stem = absl::StrCat(program::FamilyName(kernel.family), "_",
                                            formats::InfoOf(param.format).short_name(), "_", input);
      if (kernel.family == Family::kGroupedLinear) {
        return absl::StrCat(WithWords(stem, Words(kernel)), "__", Sizes(w, 0));
      }
      return absl::StrCat(WithWords(stem, Words(kernel)), "__", w.shape[0].offset / segments, "x",
                          w.shape[1].offset);
    }
    case Family::kRouting: {
      const ir::Node& top = *program::FindNode(body, Op::kTopK);
      return absl::StrCat("routing_", InputDType(kernel), "__", Sizes(top.operand(0)->type(), 1),
                          "x", top.attr_int("k"));
    }
    case Family::kArgmax: {
      const ir::Value& x = *body.results()[0]->producer()->operand(0);
      return absl::StrCat("argmax_", InputDType(kernel), "__", Sizes(x.type(), 1));
    }
    case Family::kRowwise:
      return RowwiseName(kernel);
    case Family::kKvAppend:
      return absl::StrCat(WithWords("kv_append", Words(kernel)), "_", InputDType(kernel), "_",
                          DTypeName(kernel.kv.dtype), "__", kernel.kv.heads, "x",
                          kernel.kv.head_dim);
    case Family::kAttention: {
      const ir::Node& attention = *program::FindNode(body, Op::kPagedAttention);
      std::string stem = absl::StrCat("attention_", attention.attr_string("form"));
      if (attention.find_attr("window") != nullptr) absl::StrAppend(&stem, "_window");
      if (attention.find_attr("softcap") != nullptr) absl::StrAppend(&stem, "_softcap");
      if (attention.find_attr("alibi_scale") != nullptr) absl::StrAppend(&stem, "_alibi");
      return absl::StrCat(stem, "_", DTypeName(kernel.kv.dtype), "__",
                          attention.operand(0)->type().shape[1].offset, "x", kernel.kv.heads, "x",
                          kernel.kv.head_dim);
    }
    case Family::kPages:
      return "pages_i32__1";
  }
  return "kernel";
}

}  // namespace

int64_t SegmentsOf(const ir::Function& body, const ir::Node& linear) {
  const ir::Value* y = linear.result();
  const ir::Dim& width = y->type().shape.back();
  if (!width.is_static() || width.offset % 2 != 0) return 1;
  if (absl::c_linear_search(body.results(), y)) return 1;
  bool first = false, second = false;
  for (const auto& node : body.nodes()) {
    if (!absl::c_linear_search(node->operands(), y)) continue;
    if (node->op() != Op::kSlice || node->attr_int("axis") != y->type().rank() - 1) return 1;
    const int64_t begin = node->attr_int("begin"), end = node->attr_int("end");
    const bool low = begin == 0 && end == width.offset / 2;
    const bool high = begin == width.offset / 2 && end == width.offset;
    if (!low && !high) return 1;
    first |= low;
    second |= high;
  }
  return first && second ? 2 : 1;
}

Kernel MakeKernel(Family family, std::unique_ptr<ir::Function> body,
                  std::vector<KernelParam> inputs) {
  Kernel kernel;
  kernel.family = family;
  kernel.body = std::move(body);
  const size_t num_inputs = inputs.size();
  kernel.params = std::move(inputs);
  for (const ir::Value* result : kernel.body->results()) {
    if (result->type().is_kv) continue;
    kernel.body->AddParameter("y", result->type());
    KernelParam output;
    output.written = true;
    kernel.params.push_back(output);
  }
  NameCanonically(kernel, num_inputs);
  kernel.kv = program::KvOf(*kernel.body);
  return kernel;
}

int KernelTable::Add(Kernel kernel) {
  kernel.units = program::UnitsOf(kernel);
  std::string key = absl::StrCat(program::FamilyName(kernel.family), ";");
  for (const KernelParam& param : kernel.params) {
    absl::StrAppend(&key, static_cast<int>(param.kind), ",", static_cast<int>(param.format), ",",
                    param.segments, ",", param.written, ";");
  }
  absl::StrAppend(&key, PrintFunction(*kernel.body, symbols_));
  const auto [it, added] = index_.emplace(std::move(key), static_cast<int>(kernels_.size()));
  if (!added) return it->second;
  const std::string stem = NameOf(kernel);
  const int number = ++names_[stem];
  kernel.name = number == 1 ? stem : absl::StrCat(stem, "_", number);
  absl::flat_hash_map<const ir::Value*, ir::Value*> values;
  kernel.body = ir::CloneFunction(*kernel.body, kernel.name, values);
  kernels_.push_back(std::move(kernel));
  return it->second;
}

}  // namespace ninfer::passes::lowering
