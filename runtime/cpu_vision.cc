// Tested by tests/vision_test.cc.
#include "runtime/cpu_vision.h"

#include <algorithm>
#include <cstring>

#include "base/status.h"
#include "plan/kv_groups.h"
#include "runtime/tensor_dump.h"

namespace ninfer::runtime {
namespace {

int64_t PixelsOf(const plan::Vision& vision) {
  return vision.channels * vision.patch_size * vision.patch_size;
}
int64_t JoinedOf(const plan::Vision& vision) { return vision.scale_factor * vision.scale_factor; }

absl::Status ExpectBelow(absl::string_view what, absl::Span<const int32_t> values, int64_t limit) {
  for (int32_t value : values) {
    if (value >= 0 && value < limit) continue;
    return InvalidArgument("picture: ", what, ": expected 0 to ", limit - 1, ", found ", value);
  }
  return absl::OkStatus();
}

// What the buffers of the function were sized for, which may be less than the grid has.
absl::Status ExpectRoom(const plan::Plan& function, absl::string_view symbol,
                        absl::string_view what, int64_t found) {
  const int64_t most = plan::UpperBound(function, symbol, found);
  if (found <= most) return absl::OkStatus();
  return InvalidArgument("picture: expected at most ", most, " ", what, ", found ", found);
}

}  // namespace

absl::Status CheckVisionInput(const VisionInput& input, const plan::Vision& vision) {
  const int64_t patches = static_cast<int64_t>(input.patch_ids.size());
  const int64_t most = vision.grid * vision.grid;
  if (patches < 1 || patches > most || patches % JoinedOf(vision) != 0) {
    return InvalidArgument("picture: expected up to ", most, " patches, a multiple of ",
                           JoinedOf(vision), ", found ", patches);
  }
  const bool sizes = static_cast<int64_t>(input.pixels.size()) == patches * PixelsOf(vision) &&
                     input.visible.size() == input.patch_ids.size() &&
                     input.shuffle.size() == input.patch_ids.size();
  if (!sizes) {
    return InvalidArgument("picture: expected pixels, places and rows of ", patches,
                           " patches, found other numbers of them");
  }
  NINFER_RETURN_IF_ERROR(ExpectBelow("position", input.patch_ids, most));
  NINFER_RETURN_IF_ERROR(ExpectBelow("last patch seen", input.visible, patches));
  return ExpectBelow("patch of a row", input.shuffle, patches);
}

absl::StatusOr<std::unique_ptr<CpuVision>> CpuVision::Create(const plan::Vision& vision,
                                                             const uint8_t* weights,
                                                             ThreadPool* pool, bool perf_map) {
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<CpuFunction> function,
                          CpuFunction::Create(vision.function.get(), weights, "vision", pool));
  std::unique_ptr<CpuVision> out(new CpuVision(vision, std::move(function)));
  NINFER_RETURN_IF_ERROR(out->CheckOutput());
  const int64_t patches = vision.grid * vision.grid;
  const auto length = [&](absl::string_view name) -> int64_t {
    if (name == "pixels") return patches * RowStride(PixelsOf(vision));
    if (name == "patch_ids" || name == "visible" || name == "shuffle") return patches;
    return name == "seq_bounds" ? 2 : -1;
  };
  NINFER_RETURN_IF_ERROR(out->function_->Place(length, {}, perf_map));
  return out;
}

absl::Status CpuVision::CheckOutput() const {
  for (const plan::Symbol& symbol : vision_.function->symbols) {
    const int64_t most = symbol.name == "S" ? 1 : vision_.grid * vision_.grid;
    if (symbol.max <= most) continue;
    return InvalidArgument("plan: vision: symbol ", symbol.name, ": expected at most ", most,
                           ", found ", symbol.max);
  }
  const plan::Buffer& output = function_->output();
  const int64_t rows = vision_.grid * vision_.grid / JoinedOf(vision_);
  const absl::optional<RowType> type = ParseRowType(output.type);
  if (!type.has_value() || type->dtype != DType::kF32 || type->columns() != vision_.columns ||
      output.ld < vision_.columns || output.ld > (int64_t{1} << 31) ||
      static_cast<uint64_t>(rows) * output.ld > output.bytes / sizeof(float)) {
    return InvalidArgument("plan: vision: output: expected ", rows, " rows of ", vision_.columns,
                           " f32, found ", output.type);
  }
  return absl::OkStatus();
}

absl::Status CpuVision::Run(const VisionInput& input, float* rows) {
  NINFER_RETURN_IF_ERROR(CheckVisionInput(input, vision_));
  const int64_t patches = static_cast<int64_t>(input.patch_ids.size());
  const int64_t count = patches / JoinedOf(vision_);
  NINFER_RETURN_IF_ERROR(ExpectRoom(*vision_.function, "T", "patches", patches));
  NINFER_RETURN_IF_ERROR(ExpectRoom(*vision_.function, "R", "rows", count));
  const int64_t pixels = PixelsOf(vision_), stride = RowStride(pixels);
  const auto copy = [this](absl::string_view name, absl::Span<const int32_t> from) {
    int32_t* to = function_->argument(name);
    if (to != nullptr) std::copy(from.begin(), from.end(), to);
  };
  const int32_t bounds[] = {0, static_cast<int32_t>(patches)};
  copy("patch_ids", input.patch_ids);
  copy("visible", input.visible);
  copy("shuffle", input.shuffle);
  copy("seq_bounds", bounds);
  float* to = function_->rows_argument("pixels");
  for (int64_t t = 0; to != nullptr && t < patches; ++t) {
    std::copy_n(input.pixels.begin() + t * pixels, pixels, to + t * stride);
  }
  function_->SetDim("T", patches);
  function_->SetDim("S", 1);
  function_->SetDim("R", count);
  for (const plan::Symbol& symbol : vision_.function->symbols) {
    if (symbol.name == "G") function_->SetDim("G", symbol.max);  // width of the scratch page table
  }
  const uint32_t output = static_cast<uint32_t>(function_->entry().output);
  const int64_t ld = function_->output().ld;
  function_->Run(patches, [&](int thread) {
    if (thread != 0) return;
    const auto* from = reinterpret_cast<const float*>(function_->Result(output, 0));
    for (int64_t r = 0; r < count; ++r) {
      std::memcpy(rows + r * vision_.columns, from + r * ld, vision_.columns * sizeof(float));
    }
  });
  return absl::OkStatus();
}

}  // namespace ninfer::runtime
