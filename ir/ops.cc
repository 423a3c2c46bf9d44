// The op table at run time: one OpInfo a row of ops.def, its attribute column parsed once.
// Tested by tests/ir_module_test.cc.
#include <cstring>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "ir/module.h"

namespace ninfer::ir {
namespace {

struct FormatRow {
  absl::string_view name;
  int min_operands;
  int max_operands;
};

constexpr FormatRow kFormats[] = {
#define FORMAT(name, min_operands, max_operands) {#name, min_operands, max_operands},
#include "ir/ops.def"
};

struct OpRow {
  Op op;
  absl::string_view name;
  absl::string_view format;
  OpClass op_class;
  absl::string_view stages;
  absl::string_view attributes;
  absl::string_view mathematics;
};

constexpr OpRow kOps[] = {
#define OP(enumerator, text, format, op_class, shape_rule, stages, attributes, mathematics) \
  {Op::k##enumerator, text, #format, OpClass::k##op_class, stages, attributes, mathematics},
#include "ir/ops.def"
};

struct KindRow {
  AttrKind kind;
  absl::string_view name;
};

constexpr KindRow kKinds[] = {
    {AttrKind::kInt, "int"},   {AttrKind::kFloat, "float"}, {AttrKind::kString, "string"},
    {AttrKind::kInts, "ints"}, {AttrKind::kBool, "bool"},
};

struct StageRow {
  Stage stage;
  char letter;
  absl::string_view name;
};

constexpr StageRow kStages[] = {
    {Stage::kImported, 'I', "imported"},
    {Stage::kOptimised, 'G', "optimised"},
    {Stage::kAttention, 'A', "attention"},
    {Stage::kFused, 'F', "fused"},
};

struct ClassRow {
  OpClass op_class;
  absl::string_view name;
};

constexpr ClassRow kClasses[] = {
    {OpClass::kElementwise, "elementwise"},
    {OpClass::kCast, "cast"},
    {OpClass::kQuantise, "quantise"},
    {OpClass::kReduce, "reduce"},
    {OpClass::kMatmul, "matmul"},
    {OpClass::kGroupedMatmul, "grouped matmul"},
    {OpClass::kTopK, "top-k"},
    {OpClass::kGather, "gather"},
    {OpClass::kView, "view"},
    {OpClass::kAttention, "attention"},
    {OpClass::kState, "state"},
    {OpClass::kRegion, "region"},
};

std::vector<AttrSpec> ParseAttributes(absl::string_view column) {
  std::vector<AttrSpec> specs;
  for (absl::string_view item : absl::StrSplit(column, ',', absl::SkipEmpty())) {
    const size_t colon = item.find(':');
    NINFER_CHECK(colon != absl::string_view::npos) << "attribute column: " << std::string(item);
    absl::string_view kind_name = item.substr(colon + 1);
    AttrSpec spec{std::string(item.substr(0, colon)), AttrKind::kInt, false};
    if (!kind_name.empty() && kind_name.back() == '?') {
      spec.optional = true;
      kind_name.remove_suffix(1);
    }
    bool known = false;
    for (const KindRow& row : kKinds) {
      if (row.name != kind_name) continue;
      spec.kind = row.kind;
      known = true;
    }
    NINFER_CHECK(known) << "attribute column: " << std::string(item);
    specs.push_back(std::move(spec));
  }
  return specs;
}

const std::vector<OpInfo>& Table() {
  static const auto* table = [] {
    auto* result = new std::vector<OpInfo>;
    for (const OpRow& row : kOps) {
      const FormatRow* format = nullptr;
      for (const FormatRow& candidate : kFormats) {
        if (candidate.name == row.format) format = &candidate;
      }
      NINFER_CHECK(format != nullptr) << "format of " << std::string(row.name);
      result->push_back({row.op, row.name, format->min_operands, format->max_operands, row.op_class,
                         row.stages, ParseAttributes(row.attributes), row.mathematics});
    }
    return result;
  }();
  return *table;
}

}  // namespace

const OpInfo& InfoOf(Op op) { return Table()[static_cast<size_t>(op)]; }

absl::Span<const OpInfo> AllOps() { return Table(); }

absl::optional<Op> OpFromName(absl::string_view name) {
  static const auto* by_name = [] {
    auto* map = new absl::flat_hash_map<absl::string_view, Op>;
    for (const OpRow& row : kOps) map->emplace(row.name, row.op);
    return map;
  }();
  const auto it = by_name->find(name);
  if (it == by_name->end()) return absl::nullopt;
  return it->second;
}

char StageLetter(Stage stage) { return kStages[static_cast<int>(stage)].letter; }

absl::string_view StageName(Stage stage) { return kStages[static_cast<int>(stage)].name; }

absl::optional<Stage> StageFromName(absl::string_view name) {
  for (const StageRow& row : kStages) {
    if (row.name == name) return row.stage;
  }
  return absl::nullopt;
}

absl::string_view OpClassName(OpClass op_class) {
  return kClasses[static_cast<int>(op_class)].name;
}

absl::string_view AttrKindName(AttrKind kind) { return kKinds[static_cast<int>(kind)].name; }

}  // namespace ninfer::ir
