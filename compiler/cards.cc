// See cards.h.
// Tested by tests/cuda_driver_test.cc and tests/compile_flags_test.cc.
#include "compiler/cards.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"
#include "compiler/compile.h"
#include "cuda/driver/driver.h"
#include "cuda/generate/generate.h"
#include "cuda/generate/kv_layout.h"
#include "cuda/generate/weights.h"
#include "plan/container.h"

namespace ninfer::compiler {
namespace {

plan::CardFunction::Grid GridOf(const program::Units& units) {
  return {units.factor, units.symbol, units.block};
}

// The newest row whose code this machine's first card runs.
absl::StatusOr<cuda::Architecture> NativeArchitecture() {
  NINFER_ASSIGN_OR_RETURN(const std::vector<cuda::Card> cards, cuda::ListCards());
  if (cards.empty()) return InvalidArgument("--target=cuda:native: expected a card, found none");
  const cuda::Architecture* found = nullptr;
  for (const cuda::Architecture& row : cuda::ListArchitectures()) {
    const int capability = cards[0].capability;
    if (row.capability / 10 == capability / 10 && row.capability <= capability) found = &row;
  }
  if (found != nullptr) return *found;
  return InvalidArgument("--target=cuda:native: ", cards[0].name, ": no code is made for ",
                         cards[0].architecture());
}

}  // namespace

bool IsCardTarget(absl::string_view target) {
  return target == "cuda" || absl::StartsWith(target, "cuda:");
}

absl::StatusOr<std::vector<cuda::Architecture>> CardArchitectures(
    const std::vector<std::string>& targets) {
  std::vector<cuda::Architecture> found;
  for (const std::string& target : targets) {
    if (target == "cuda") {
      int generation = 0;
      for (const cuda::Architecture& row : cuda::ListArchitectures()) {
        if (row.capability / 10 != generation) found.push_back(row);
        generation = row.capability / 10;
      }
    } else if (target == "cuda:native") {
      NINFER_ASSIGN_OR_RETURN(const cuda::Architecture native, NativeArchitecture());
      found.push_back(native);
    } else if (IsCardTarget(target)) {
      const auto row = cuda::FindArchitecture(absl::StripPrefix(target, "cuda:"));
      NINFER_RETURN_IF_ERROR(Annotate(row.status(), "--target"));
      found.push_back(*row);
    }
  }
  const auto older = [](const auto& a, const auto& b) { return a.capability < b.capability; };
  const auto same = [](const auto& a, const auto& b) { return a.capability == b.capability; };
  std::sort(found.begin(), found.end(), older);
  found.erase(std::unique(found.begin(), found.end(), same), found.end());
  return found;
}

void PlaceCards(const program::Program& program, bool alone, plan::Plan* plan) {
  plan::Cards& cards = plan->cards.emplace();
  const cuda::WeightPlaces places = cuda::PlaceWeights(program);
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const program::PackedWeight& weight = program.weights[i];
    cards.weights.push_back({static_cast<uint64_t>(places.offsets[i]),
                             static_cast<uint64_t>(cuda::CardBytes(weight.format, weight.shape))});
  }
  for (const program::KvState& kv : program.kv) {
    cards.page_bytes.push_back(cuda::KvPage(kv.layout).bytes());
  }
  if (alone) {
    plan->weight_bytes = 0;
    for (plan::Weight& weight : plan->weights) weight.offset = weight.bytes = 0;
  }
  cards.weights_offset = plan::RoundUp(plan->weight_bytes, plan::kWeightAlignment);
  cards.weight_bytes = static_cast<uint64_t>(places.bytes);
  plan->weight_bytes = cards.weights_offset + cards.weight_bytes;
}

absl::Status GenerateCards(const program::Program& program,
                           const std::vector<cuda::Architecture>& architectures,
                           const std::function<bool(double done)>& progress, plan::Plan* plan) {
  plan::Cards& cards = *plan->cards;
  NINFER_ASSIGN_OR_RETURN(const cuda::Source source, cuda::Generate(program));
  for (const cuda::DeviceKernel& kernel : source.kernels) {
    cards.functions.push_back({kernel.name,
                               static_cast<uint32_t>(kernel.kernel),
                               kernel.rows_symbol,
                               kernel.most_rows,
                               {GridOf(kernel.grid[0]), GridOf(kernel.grid[1])},
                               static_cast<uint32_t>(kernel.threads)});
  }
  cards.source = source.text;
  NINFER_ASSIGN_OR_RETURN(const cuda::Nvrtc* nvrtc, cuda::Nvrtc::Open());
  for (size_t i = 0; i < architectures.size(); ++i) {
    const cuda::Architecture& row = architectures[i];
    if (!progress(static_cast<double>(i) / static_cast<double>(architectures.size()))) {
      return absl::CancelledError("cancelled");
    }
    NINFER_ASSIGN_OR_RETURN(cuda::CardCode code, nvrtc->Compile(source, row));
    const auto capability = static_cast<uint32_t>(row.capability);
    cards.images.push_back({std::string(row.name), capability, false, std::move(code.cubin)});
    if (i + 1 == architectures.size() && !code.ptx.empty()) {
      cards.images.push_back({std::string(row.name), capability, true, std::move(code.ptx)});
    }
  }
  return absl::OkStatus();
}

absl::Status DumpCuda(const program::Program& program, const Options& options) {
  if (options.dump_cuda.empty() && options.dump_ptx.empty()) return absl::OkStatus();
  NINFER_ASSIGN_OR_RETURN(const cuda::Source source, cuda::Generate(program));
  if (!options.dump_cuda.empty()) {
    NINFER_RETURN_IF_ERROR(WriteFile(JoinPath(options.dump_cuda, "kernels.cu"),
                                     absl::StrCat(cuda::Intrinsics(), source.text)));
  }
  if (options.dump_ptx.empty()) return absl::OkStatus();
  NINFER_ASSIGN_OR_RETURN(const cuda::Nvrtc* nvrtc, cuda::Nvrtc::Open());
  const cuda::Architecture& oldest = cuda::ListArchitectures().front();
  NINFER_ASSIGN_OR_RETURN(const cuda::CardCode code, nvrtc->Compile(source, oldest));
  const std::string name = absl::StrCat("kernels.", oldest.name, ".ptx");
  return WriteFile(JoinPath(options.dump_ptx, name), code.ptx);
}

}  // namespace ninfer::compiler
