// What a plan says of CUDA cards: that its numbers can be launched, and that every launch has a
// function. Tested by tests/plan_validate_test.cc.
#include "base/file.h"
#include "base/status.h"
#include "plan/validate.h"

namespace ninfer::plan {
namespace {

constexpr int64_t kMaxDim = (int64_t{1} << 31) - 1;
constexpr uint64_t kAlignment = 64;
constexpr uint32_t kMostThreads = 1024;

absl::Status Expected(absl::string_view context, absl::string_view what, absl::string_view expected,
                      absl::string_view found) {
  return InvalidArgument(context, what, ": expected ", expected, ", found ", found);
}

absl::Status CheckPlaces(const Plan& plan, absl::string_view context) {
  const Cards& cards = *plan.cards;
  if (cards.weights_offset % (uint64_t{2} << 20) != 0 || cards.weights_offset > plan.weight_bytes ||
      cards.weight_bytes != plan.weight_bytes - cards.weights_offset) {
    return Expected(
        context, "weights",
        absl::StrCat("the end of ", plan.weight_bytes, " bytes, from a multiple of 2 MiB"),
        absl::StrCat(cards.weight_bytes, " bytes at offset ", cards.weights_offset));
  }
  if (cards.weights.size() != plan.weights.size() ||
      cards.page_bytes.size() != plan.kv_layers.size()) {
    return Expected(context, "weights and layers",
                    absl::StrCat(plan.weights.size(), " and ", plan.kv_layers.size()),
                    absl::StrCat(cards.weights.size(), " and ", cards.page_bytes.size()));
  }
  for (size_t i = 0; i < cards.weights.size(); ++i) {
    const Cards::Place& place = cards.weights[i];
    if (!InBounds(place.offset, place.bytes, cards.weight_bytes) ||
        place.offset % kAlignment != 0) {
      return Expected(context, plan.weights[i].name,
                      absl::StrCat("an offset that 64 divides, and an end within ",
                                   cards.weight_bytes, " bytes"),
                      absl::StrCat(place.bytes, " bytes at offset ", place.offset));
    }
  }
  for (const int64_t bytes : cards.page_bytes) {
    if (bytes < 1 || bytes > int64_t{1} << 40 || bytes % kAlignment != 0) {
      return Expected(context, "page bytes", "a number that 64 divides", absl::StrCat(bytes));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckFunction(const Plan& plan, const CardFunction& function,
                           absl::string_view context) {
  const auto symbols = static_cast<int64_t>(plan.symbols.size());
  const auto is_symbol = [symbols](int32_t symbol) { return symbol >= -1 && symbol < symbols; };
  const std::string what = absl::StrCat("function ", function.name);
  if (function.kernel >= plan.kernels.size() || !is_symbol(function.rows_symbol)) {
    return Expected(
        context, what,
        absl::StrCat("a kernel below ", plan.kernels.size(), " and a symbol below ", symbols),
        absl::StrCat(function.kernel, " and ", function.rows_symbol));
  }
  if (function.threads < 1 || function.threads > kMostThreads || function.grid.size() != 2) {
    return Expected(context, what, "1 to 1024 threads in a grid of 2 dimensions",
                    absl::StrCat(function.threads, " in ", function.grid.size()));
  }
  for (const CardFunction::Grid& grid : function.grid) {
    if (grid.factor < 0 || grid.factor > kMaxDim || grid.block < 1 || grid.block > kMaxDim ||
        !is_symbol(grid.symbol)) {
      return Expected(context, what, "a grid of whole blocks",
                      absl::StrCat(grid.factor, " times symbol ", grid.symbol, " by ", grid.block));
    }
  }
  return absl::OkStatus();
}

// The functions of a kernel stand together; one of them takes any number of rows.
absl::Status CheckLaunches(const Plan& plan, absl::string_view context) {
  std::vector<bool> takes_all(plan.kernels.size(), false);
  for (const CardFunction& function : plan.cards->functions) {
    const bool always =
        function.rows_symbol < 0 || function.most_rows >= plan.symbols[function.rows_symbol].max;
    if (always) takes_all[function.kernel] = true;
  }
  for (const Entry& entry : plan.entries) {
    for (const Launch& launch : entry.launches) {
      if (launch.kernel < takes_all.size() && takes_all[launch.kernel]) continue;
      return Expected(context, absl::StrCat("launches of ", entry.name),
                      "a function for any number of rows of each kernel",
                      absl::StrCat("none of kernel ", launch.kernel));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckCards(const Plan& plan, absl::string_view file) {
  const std::string context = absl::StrCat(file, ": section cards: ");
  NINFER_RETURN_IF_ERROR(CheckPlaces(plan, context));
  for (const CardFunction& function : plan.cards->functions) {
    NINFER_RETURN_IF_ERROR(CheckFunction(plan, function, context));
  }
  NINFER_RETURN_IF_ERROR(CheckLaunches(plan, context));
  for (const CardImage& image : plan.cards->images) {
    if (!image.bytes.empty()) continue;
    return Expected(context, image.architecture, "code", "none");
  }
  return absl::OkStatus();
}

}  // namespace ninfer::plan
