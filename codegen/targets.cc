// The CPU targets: rows of targets.def, and the host's own. Code is generated for the row's LLVM
// cpu restricted to the row's features, so that a plan made on one machine runs on every machine
// that has the flags the row lists. Tested by tests/codegen_test.cc.
#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/machine.h"
#include "base/status.h"
#include "codegen/codegen.h"

namespace ninfer::codegen {
namespace {

struct Row {
  absl::string_view name;
  Architecture architecture;
  absl::string_view cpu;
  int vector_bits;
  bool bf16_dot;
  absl::string_view flags;
};

constexpr Row kRows[] = {
#define TARGET(name, architecture, cpu, vector_bits, bf16_dot, flags) \
  {name, Architecture::architecture, cpu, vector_bits, bf16_dot, flags},
#include "codegen/targets.def"
};

// LLVM spells a few features other than /proc/cpuinfo does.
std::string LlvmFeature(absl::string_view flag) {
  if (flag == "bmi1") return "+bmi";
  if (flag == "avx512_bf16") return "+avx512bf16";
  if (flag == "avx512_vnni") return "+avx512vnni";
  if (flag == "avx512_fp16") return "+avx512fp16";
  if (flag == "avx_vnni") return "+avxvnni";
  if (flag == "asimd") return "+neon";
  if (flag == "asimddp") return "+dotprod";
  return absl::StrCat("+", flag);
}

Target FromRow(const Row& row) {
  Target target;
  target.name = std::string(row.name);
  target.architecture = row.architecture;
  const bool arm = row.architecture == Architecture::kAArch64;
  target.triple = arm ? "aarch64-unknown-linux-gnu" : "x86_64-unknown-linux-gnu";
  // The row's cpu only tunes: it has features that the row's flags do not promise.
  target.cpu = arm ? "generic" : "x86-64";
  target.tune = std::string(row.cpu);
  target.required_features = absl::StrSplit(row.flags, ' ');
  std::vector<std::string> features;
  for (const std::string& flag : target.required_features) features.push_back(LlvmFeature(flag));
  if (row.vector_bits == 512) features.push_back("-prefer-256-bit");
  target.features = absl::StrJoin(features, ",");
  const auto has = [&](absl::string_view flag) {
    return absl::c_linear_search(target.required_features, flag);
  };
  target.vector_bits = row.vector_bits;
  target.vector_registers = arm || row.vector_bits == 512 ? 32 : 16;
  target.fma = arm || has("fma");
  target.f16 = arm || has("f16c");
  target.rounds = arm || has("avx2");
  target.avx512_bf16 = has("avx512_bf16");
  target.bf16_dot = row.bf16_dot;
  if (has("avx512_vnni") || has("avx_vnni")) target.integer_dot = IntegerDot::kUnsignedBySigned;
  if (has("asimddp")) target.integer_dot = IntegerDot::kSignedBySigned;
  return target;
}

}  // namespace

absl::StatusOr<Target> FindTarget(absl::string_view name) {
  if (name == "native") {
    const absl::flat_hash_set<std::string> host = CpuFeatures();
    for (const Row& row : kRows) {
      Target target = FromRow(row);
      bool all = true;
      for (const std::string& flag : target.required_features) all = all && host.contains(flag);
      if (all) return target;
    }
    return InvalidArgument("--target=native: expected one of ", absl::StrJoin(ListTargets(), ", "),
                           " to fit this CPU, found none that does");
  }
  for (const Row& row : kRows) {
    if (row.name == name) return FromRow(row);
  }
  return InvalidArgument("--target: expected native, ", absl::StrJoin(ListTargets(), ", "),
                         " or a card of --list-targets, found '", name, "'");
}

std::vector<std::string> ListTargets() {
  std::vector<std::string> names;
  for (const Row& row : kRows) names.emplace_back(row.name);
  return names;
}

}  // namespace ninfer::codegen
