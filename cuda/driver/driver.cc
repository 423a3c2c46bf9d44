// See driver.h.
// Tested by tests/cuda_driver_test.cc.
#include "cuda/driver/driver.h"

#include <dlfcn.h>

#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"

namespace ninfer::cuda {
namespace {

constexpr int kCapabilityMajor = 75, kCapabilityMinor = 76;  // CU_DEVICE_ATTRIBUTE_COMPUTE_...

}  // namespace

std::string Card::device() const { return absl::StrCat("cuda:", ordinal); }
std::string Card::architecture() const { return absl::StrCat("sm_", capability); }

absl::StatusOr<std::unique_ptr<const Driver>> Driver::Load() {
  const std::string named = GetEnv("NINFER_CUDA_DRIVER");
  const std::string path = named.empty() ? "libcuda.so.1" : named;
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return InvalidArgument("CUDA: expected NVIDIA's driver, found no ", path);
  }
  auto driver = std::unique_ptr<Driver>(new Driver);
  std::string missing;
  const auto find = [&](const char* symbol, auto& function) {
    void* address = dlsym(library, symbol);
    if (address == nullptr && missing.empty()) missing = symbol;
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(address);
  };
#define FUNCTION(name, symbol, ...) find(symbol, driver->name);
#include "cuda/driver/functions.def"
  if (!missing.empty()) {
    return InvalidArgument("CUDA: ", path,
                           ": expected a driver of CUDA 12 or later, found none of ", missing);
  }
  NINFER_RETURN_IF_ERROR(driver->Check(driver->Init(0), absl::StrCat("CUDA: ", path)));
  return driver;
}

absl::StatusOr<const Driver*> Driver::Open() {
  // Never closed: what it holds lives as long as the process.
  static const auto* opened = new absl::StatusOr<std::unique_ptr<const Driver>>(Load());
  if (!opened->ok()) return opened->status();
  return opened->value().get();
}

absl::Status Driver::Check(int result, absl::string_view what) const {
  if (result == 0) return absl::OkStatus();
  const char *name = nullptr, *text = nullptr;
  GetErrorName(result, &name);
  GetErrorString(result, &text);
  return InvalidArgument(what, ": ", name == nullptr ? absl::StrCat("CUDA error ", result) : name,
                         text == nullptr ? "" : absl::StrCat(": ", text));
}

absl::StatusOr<std::vector<Card>> Driver::ListCards() const {
  int count = 0;
  NINFER_RETURN_IF_ERROR(Check(DeviceGetCount(&count), "CUDA: counting cards"));
  std::vector<Card> cards;
  for (int i = 0; i < count; ++i) {
    Card card;
    card.ordinal = i;
    const std::string what = absl::StrCat(card.device(), ": asking the card");
    int device = 0, major = 0, minor = 0;
    char name[256] = "";
    NINFER_RETURN_IF_ERROR(Check(DeviceGet(&device, i), what));
    NINFER_RETURN_IF_ERROR(Check(DeviceGetName(name, sizeof(name), device), what));
    NINFER_RETURN_IF_ERROR(Check(DeviceGetAttribute(&major, kCapabilityMajor, device), what));
    NINFER_RETURN_IF_ERROR(Check(DeviceGetAttribute(&minor, kCapabilityMinor, device), what));
    card.name = name;
    card.capability = 10 * major + minor;
    NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<Context> context, Context::Create(this, i));
    size_t free = 0, total = 0;
    NINFER_RETURN_IF_ERROR(Check(MemGetInfo(&free, &total), what));
    card.free = free;
    card.memory = total;
    cards.push_back(std::move(card));
  }
  return cards;
}

absl::StatusOr<std::vector<Card>> ListCards() {
  NINFER_ASSIGN_OR_RETURN(const Driver* driver, Driver::Open());
  return driver->ListCards();
}

absl::StatusOr<std::unique_ptr<Context>> Context::Create(const Driver* driver, int ordinal) {
  const std::string what = absl::StrCat("cuda:", ordinal, ": opening the card");
  int device = 0;
  NINFER_RETURN_IF_ERROR(driver->Check(driver->DeviceGet(&device, ordinal), what));
  auto context = std::unique_ptr<Context>(new Context(driver, device));
  NINFER_RETURN_IF_ERROR(driver->Check(driver->PrimaryCtxRetain(&context->context_, device), what));
  NINFER_RETURN_IF_ERROR(context->MakeCurrent());
  return context;
}

Context::~Context() {
  if (context_ != nullptr) driver_->PrimaryCtxRelease(device_);
}

absl::Status Context::MakeCurrent() const {
  return driver_->Check(driver_->CtxSetCurrent(context_), "CUDA: entering the card's context");
}

absl::StatusOr<DeviceMemory> DeviceMemory::Allocate(const Context* context, uint64_t bytes,
                                                    absl::string_view what) {
  const Driver& driver = context->driver();
  DeviceMemory memory;
  memory.context_ = context;
  memory.bytes_ = bytes;
  if (bytes == 0) return memory;
  NINFER_RETURN_IF_ERROR(driver.Check(driver.MemAlloc(&memory.address_, bytes),
                                      absl::StrCat(what, ": ", bytes, " bytes on the card")));
  return memory;
}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(context_, other.context_);
  std::swap(address_, other.address_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

DeviceMemory::~DeviceMemory() {
  if (address_ == 0 || !context_->MakeCurrent().ok()) return;
  context_->driver().MemFree(address_);
}

absl::StatusOr<PinnedMemory> PinnedMemory::Allocate(const Context* context, uint64_t bytes,
                                                    absl::string_view what) {
  const Driver& driver = context->driver();
  PinnedMemory memory;
  memory.context_ = context;
  memory.bytes_ = bytes;
  void* address = nullptr;
  NINFER_RETURN_IF_ERROR(driver.Check(driver.MemAllocHost(&address, bytes),
                                      absl::StrCat(what, ": ", bytes, " bytes of pinned memory")));
  memory.data_ = static_cast<uint8_t*>(address);
  return memory;
}

PinnedMemory& PinnedMemory::operator=(PinnedMemory&& other) noexcept {
  std::swap(context_, other.context_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

PinnedMemory::~PinnedMemory() {
  if (data_ == nullptr || !context_->MakeCurrent().ok()) return;
  context_->driver().MemFreeHost(data_);
}

}  // namespace ninfer::cuda
