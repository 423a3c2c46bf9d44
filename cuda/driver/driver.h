// NVIDIA's driver, opened when it is there: nothing of CUDA is linked. Tested by
// tests/cuda_driver_test.cc.
#ifndef NINFER_CUDA_DRIVER_DRIVER_H_
#define NINFER_CUDA_DRIVER_DRIVER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ninfer::cuda {

struct Card {
  int ordinal = 0;
  std::string name;                  // "NVIDIA H200"
  int capability = 0;                // 90
  uint64_t memory = 0;               // bytes, in all
  uint64_t free = 0;                 // when it was asked
  std::string device() const;        // "cuda:0"
  std::string architecture() const;  // "sm_90"
};

class Driver {
 public:
  // Once for the process: the file that NINFER_CUDA_DRIVER names, else libcuda.so.1. An error where
  // there is none, or it finds no card that it can use.
  static absl::StatusOr<const Driver*> Open();

#define FUNCTION(name, symbol, ...) int (*name)(__VA_ARGS__) = nullptr;
#include "cuda/driver/functions.def"

  // OK for 0; else "what: CUDA_ERROR_...: text".
  absl::Status Check(int result, absl::string_view what) const;
  // Cards in the driver's order, which CUDA_VISIBLE_DEVICES may change.
  absl::StatusOr<std::vector<Card>> ListCards() const;

 private:
  Driver() = default;
  static absl::StatusOr<std::unique_ptr<const Driver>> Load();
};

// The cards of this machine: Open's driver, asked.
absl::StatusOr<std::vector<Card>> ListCards();

// A card's primary context, of the calling thread while it is used.
class Context {
 public:
  static absl::StatusOr<std::unique_ptr<Context>> Create(const Driver* driver, int ordinal);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const Driver& driver() const { return *driver_; }
  // To be called before any other call by a thread.
  absl::Status MakeCurrent() const;

 private:
  Context(const Driver* driver, int device) : driver_(driver), device_(device) {}
  const Driver* driver_;
  int device_;
  void* context_ = nullptr;
};

// Memory of the card.
class DeviceMemory {
 public:
  static absl::StatusOr<DeviceMemory> Allocate(const Context* context, uint64_t bytes,
                                               absl::string_view what);
  DeviceMemory() = default;
  DeviceMemory(DeviceMemory&& other) noexcept { *this = std::move(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;
  ~DeviceMemory();
  uint64_t address() const { return address_; }
  uint64_t bytes() const { return bytes_; }

 private:
  const Context* context_ = nullptr;
  uint64_t address_ = 0, bytes_ = 0;
};

// Memory of the machine that the card reads and writes by itself.
class PinnedMemory {
 public:
  static absl::StatusOr<PinnedMemory> Allocate(const Context* context, uint64_t bytes,
                                               absl::string_view what);
  PinnedMemory() = default;
  PinnedMemory(PinnedMemory&& other) noexcept { *this = std::move(other); }
  PinnedMemory& operator=(PinnedMemory&& other) noexcept;
  ~PinnedMemory();
  uint8_t* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 private:
  const Context* context_ = nullptr;
  uint8_t* data_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace ninfer::cuda

#endif  // NINFER_CUDA_DRIVER_DRIVER_H_
