// The CPU targets: rows of targets.def, and the host's own. Code is generated for the row's LLVM
// cpu restricted to the row's features, so that a plan made on one machine runs on every machine
// that has the flags the row lists. Tested by tests/codegen_test.cc.
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/machine.h"
#include "base/status.h"
#include "codegen/codegen.h"

namespace ninfer::codegen {
namespace {

struct Row {
  absl::string_view name, cpu;
  int vector_bits;
  bool bf16, bf16_dot, vnni;
  absl::string_view flags;
};

constexpr Row kRows[] = {
#define TARGET(name, cpu, vector_bits, bf16, bf16_dot, vnni, flags) \
  {name, cpu, vector_bits, bf16, bf16_dot, vnni, flags},
#include "codegen/targets.def"
};

// LLVM spells a few features other than /proc/cpuinfo does.
std::string LlvmFeature(absl::string_view flag) {
  if (flag == "bmi1") return "+bmi";
  if (flag == "avx512_bf16") return "+avx512bf16";
  if (flag == "avx512_vnni") return "+avx512vnni";
  if (flag == "avx512_fp16") return "+avx512fp16";
  return absl::StrCat("+", flag);
}

Target FromRow(const Row& row) {
  Target target;
  target.name = std::string(row.name);
  target.triple = "x86_64-unknown-linux-gnu";
  // The row's cpu only tunes; what may be used stands in the feature list.
  target.cpu = std::string(row.cpu);
  target.required_features = absl::StrSplit(row.flags, ' ');
  std::vector<std::string> features;
  for (const std::string& flag : target.required_features) features.push_back(LlvmFeature(flag));
  if (row.vector_bits == 512) features.push_back("-prefer-256-bit");
  target.features = absl::StrJoin(features, ",");
  target.vector_bits = row.vector_bits;
  target.avx512 = row.vector_bits == 512;
  target.avx512_bf16 = row.bf16;
  target.bf16_dot = row.bf16_dot;
  target.vnni = row.vnni;
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
    return InvalidArgument(
        "--target=native: expected a CPU with avx2, fma and f16c, found none of the targets ",
        absl::StrJoin(ListTargets(), ", "), " to fit this CPU");
  }
  for (const Row& row : kRows) {
    if (row.name == name) return FromRow(row);
  }
  return InvalidArgument("--target: expected native, ", absl::StrJoin(ListTargets(), ", "),
                         ", found '", name, "'");
}

std::vector<std::string> ListTargets() {
  std::vector<std::string> names;
  for (const Row& row : kRows) names.emplace_back(row.name);
  return names;
}

}  // namespace ninfer::codegen
