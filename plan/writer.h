// Plan -> bytes, and plan with its weights -> file. Tested by tests/plan_test.cc.
#ifndef NINFER_PLAN_WRITER_H_
#define NINFER_PLAN_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "plan/memory.h"
#include "plan/plan.h"

namespace ninfer::plan {

// Everything but the weights' data and their checksums, as ParseSections reads it: how a plan
// travels in memory. plan.content_digest is not read: the writer makes it.
std::string SerializeSections(const Plan& plan);

// A plan file in the making: whole under its name after Write, or not there, even when the process
// is killed before.
class PlanFile {
 public:
  // An error where the file cannot be made.
  static absl::StatusOr<std::unique_ptr<PlanFile>> Create(const std::string& path);

  // Zeroed memory for the weights, once: the file's own, mapped, so that they are not in memory a
  // second time and the system can put them out. Ordinary memory where the file system knows no
  // files without a name. `sections_bytes` is about what will stand before them: Write moves them
  // when it is wrong.
  absl::StatusOr<std::unique_ptr<Memory>> AllocateWeights(uint64_t bytes, uint64_t sections_bytes);

  // `weights` has plan.weight_bytes bytes. When AllocateWeights gave them they may hold nothing of
  // use afterwards. Checksums are computed by `threads` threads (0: one for each CPU).
  absl::Status Write(const Plan& plan, const uint8_t* weights, int threads = 0);

 private:
  PlanFile(std::string path, std::unique_ptr<AtomicFile> file)
      : path_(std::move(path)), file_(std::move(file)) {}
  absl::Status PutWeights(const uint8_t* weights, uint64_t bytes, uint64_t offset);

  std::string path_;
  std::unique_ptr<AtomicFile> file_;  // made by Write where it must have a name
  const uint8_t* mapped_ = nullptr;   // the weights at mapped_offset_ of the file
  uint64_t mapped_offset_ = 0;
};

// The digest that a file of this plan and these weights has. Takes as long as hashing the weights.
std::string ContentDigestOf(const Plan& plan, const uint8_t* weights, int threads = 0);

// Writes a plan file through a temporary one. `weights` has plan.weight_bytes bytes. Checksums are
// computed by `threads` threads (0: one for each CPU).
absl::Status WritePlan(const Plan& plan, const uint8_t* weights, const std::string& path,
                       int threads = 0);

}  // namespace ninfer::plan

#endif  // NINFER_PLAN_WRITER_H_
