// Names, sizes and copies of programs.
// Tested by tests/program_test.cc.
#include "program/program.h"

#include "absl/container/flat_hash_map.h"
#include "base/status.h"

namespace ninfer::program {
namespace {

constexpr absl::string_view kFamilyNames[] = {
#define FAMILY(enumerator, text, units, body) text,
#include "program/families.def"
};

// PackedWeight::source points at a result of @weights: the same result of the copied module.
std::vector<PackedWeight> CloneWeights(const Program& from, const ir::Module& to) {
  std::vector<PackedWeight> weights = from.weights;
  if (weights.empty()) return weights;
  const auto& old_results = from.weights_module->FindFunction("weights")->results();
  const auto& new_results = to.FindFunction("weights")->results();
  absl::flat_hash_map<const ir::Value*, const ir::Value*> map;
  for (size_t i = 0; i < old_results.size(); ++i) map[old_results[i]] = new_results[i];
  for (PackedWeight& weight : weights) {
    const auto it = map.find(weight.source);
    NINFER_CHECK(it != map.end()) << "weight " << weight.name << " is no result of @weights";
    weight.source = it->second;
  }
  return weights;
}

Kernel CloneKernel(const Kernel& kernel) {
  Kernel copy;
  copy.name = kernel.name;
  copy.family = kernel.family;
  absl::flat_hash_map<const ir::Value*, ir::Value*> values;
  copy.body = ir::CloneFunction(*kernel.body, kernel.body->name(), values);
  copy.params = kernel.params;
  copy.kv = kernel.kv;
  copy.units = kernel.units;
  copy.scratch_bytes = kernel.scratch_bytes;
  return copy;
}

}  // namespace

absl::string_view FamilyName(Family family) { return kFamilyNames[static_cast<int>(family)]; }

absl::optional<Family> FamilyFromName(absl::string_view name) {
  int index = 0;
  for (absl::string_view row : kFamilyNames) {
    if (row == name) return static_cast<Family>(index);
    ++index;
  }
  return absl::nullopt;
}

int64_t Columns(const ir::Type& type) {
  int64_t columns = 1;
  for (int i = 1; i < type.rank(); ++i) {
    NINFER_CHECK(type.shape[i].is_static()) << "axis " << i << " of a buffer must be static";
    columns *= type.shape[i].offset;
  }
  return columns;
}

bool Stands(Barrier barrier, StepKind step) {
  switch (barrier) {
    case Barrier::kNone:
      return false;
    case Barrier::kMany:
      return !step.few;
    case Barrier::kPrefill:
      return step.prefill;
    case Barrier::kManyOrPrefill:
      return !step.few || step.prefill;
    case Barrier::kAlways:
      return true;
  }
  return true;
}

Program Clone(const Program& program) {
  Program copy;
  copy.name = program.name;
  copy.symbols = program.symbols;
  copy.arguments = program.arguments;
  copy.kv = program.kv;
  if (program.weights_module != nullptr) {
    copy.weights_module = std::make_unique<ir::Module>(program.weights_module->Clone());
    copy.weights = CloneWeights(program, *copy.weights_module);
  }
  copy.weight_bytes = program.weight_bytes;
  for (const Kernel& kernel : program.kernels) copy.kernels.push_back(CloneKernel(kernel));
  copy.buffers = program.buffers;
  copy.launches = program.launches;
  copy.output = program.output;
  copy.argmax = program.argmax;
  copy.few_rows = program.few_rows;
  copy.arena_bytes = program.arena_bytes;
  copy.replica_bytes = program.replica_bytes;
  copy.arena_lower_bound = program.arena_lower_bound;
  return copy;
}

}  // namespace ninfer::program
