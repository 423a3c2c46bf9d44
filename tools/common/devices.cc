#include "tools/common/devices.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/types/optional.h"
#include "base/status.h"
#include "cuda/driver/cuda_executor.h"
#include "runtime/cpu_limits.h"

namespace ninfer::tools {
namespace {

constexpr double kGibi = 1 << 30;

// Asks for the driver only once a plan has code for cards, which takes a while.
class CudaDevice : public runtime::Device {
 public:
  explicit CudaDevice(int ordinal) : ordinal_(ordinal) {}
  std::string name() const override { return absl::StrCat("cuda:", ordinal_); }
  absl::StatusOr<std::string> target() const override {
    NINFER_ASSIGN_OR_RETURN(const cuda::Card card, FindCard());
    return absl::StrCat("cuda:", card.architecture());
  }
  bool Runs(const plan::Plan& plan) const override {
    return plan.cards.has_value() && Why(plan).empty();
  }
  std::string Missing(const plan::Plan& plan) const override { return Why(plan); }
  absl::StatusOr<std::unique_ptr<runtime::Executor>> Open(
      std::shared_ptr<const plan::LoadedPlan> plan, int64_t total_pages,
      const std::function<void(double)>& progress) override {
    NINFER_ASSIGN_OR_RETURN(const cuda::Driver* driver, cuda::Driver::Open());
    NINFER_ASSIGN_OR_RETURN(const cuda::Card card, FindCard());
    return cuda::CudaExecutor::Create(std::move(plan), driver, card, {total_pages, progress});
  }

 private:
  const absl::StatusOr<cuda::Card>& FindCard() const {
    if (!found_.has_value()) {
      const absl::StatusOr<std::vector<cuda::Card>> cards = cuda::ListCards();
      if (!cards.ok()) {
        found_.emplace(cards.status());
      } else if (ordinal_ < static_cast<int>(cards->size())) {
        found_.emplace((*cards)[ordinal_]);
      } else {
        found_.emplace(InvalidArgument(name(), ": expected one of this machine's cards, of which ",
                                       "the driver finds ", cards->size()));
      }
    }
    return *found_;
  }
  // Empty when the card runs the plan.
  std::string Why(const plan::Plan& plan) const {
    const absl::StatusOr<cuda::Card>& card = FindCard();
    if (!card.ok()) return std::string(card.status().message());
    if (cuda::ChooseImage(plan, card->capability) != nullptr) return "";
    return cuda::MissingImage(plan, *card);
  }

  int ordinal_;
  mutable absl::optional<absl::StatusOr<cuda::Card>> found_;
};

}  // namespace

absl::Status ChooseDevice(const std::string& flag, runtime::ModelOptions* options) {
  if (flag == "cpu") return absl::OkStatus();
  int ordinal = 0;
  options->device_named = flag != "auto";
  const bool number = absl::StartsWith(flag, "cuda:") &&
                      absl::SimpleAtoi(absl::StripPrefix(flag, "cuda:"), &ordinal) && ordinal >= 0;
  if (options->device_named && flag != "cuda" && !number) {
    return InvalidArgument("--device: expected auto, cpu, cuda or cuda:N, found \"", flag, "\"");
  }
  options->device = std::make_shared<CudaDevice>(ordinal);
  return absl::OkStatus();
}

std::string ListDevices() {
  std::string text =
      absl::StrFormat("cpu     %d threads\n", runtime::DefaultThreads(runtime::ReadCpuLimits()));
  const absl::StatusOr<std::vector<cuda::Card>> cards = cuda::ListCards();
  if (!cards.ok()) return absl::StrCat(text, "cuda    none: ", cards.status().message(), "\n");
  for (const cuda::Card& card : *cards) {
    absl::StrAppendFormat(&text, "%-7s %s, %s, %.1f GiB, %.1f of them free\n", card.device(),
                          card.name, card.architecture(), card.memory / kGibi, card.free / kGibi);
  }
  if (cards->empty()) absl::StrAppend(&text, "cuda    none: the driver finds no card\n");
  return text;
}

}  // namespace ninfer::tools
