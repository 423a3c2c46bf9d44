// A model folder's compilation on a thread of its own. What it makes can run as soon as its code is
// linked; behind that, at the lowest priority, evidence is gathered and the plan is kept. Tested by
// tests/runtime_compilation_test.cc and tests/run_test.py.
#ifndef NINFER_RUNTIME_COMPILATION_H_
#define NINFER_RUNTIME_COMPILATION_H_

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "plan/reader.h"
#include "runtime/compiler_library.h"

namespace ninfer::runtime {

class Compilation {
 public:
  // Called with the finished plan on the compilation's thread.
  using Keep = std::function<absl::Status(const plan::LoadedPlan&)>;

  // Returns when the code is linked. `keep` may be null; `library` outlives the compilation.
  static absl::StatusOr<std::unique_ptr<Compilation>> Start(CompilerLibrary* library,
                                                            const std::string& options,
                                                            const CompilerCallbacks& callbacks,
                                                            Keep keep);
  ~Compilation();  // where Finish was not called, what is not done yet is left
  Compilation(const Compilation&) = delete;
  Compilation& operator=(const Compilation&) = delete;

  // The plan without its evidence. To be taken once.
  plan::LoadedPlan TakeLinked() { return std::move(linked_plan_); }

  // Waits until the plan is kept, and gives it, evidence and all, or says why there is none. What
  // the compiler had to say behind linking is logged here, where no text is being printed.
  absl::StatusOr<std::shared_ptr<const plan::LoadedPlan>> Finish();

 private:
  Compilation() = default;
  void Run(CompilerLibrary* library, const std::string& options, const Keep& keep);
  void Log(absl::string_view line);
  void EndStart(absl::Status status);
  CompilerCallbacks Wrap();
  bool Cancelled() const { return left_ || (callbacks_.cancelled && callbacks_.cancelled()); }

  CompilerCallbacks callbacks_;
  std::atomic<bool> started_{false}, left_{false};
  absl::Status start_status_;  // set before started_
  plan::LoadedPlan linked_plan_;
  absl::StatusOr<std::shared_ptr<const plan::LoadedPlan>> finished_;
  std::mutex mutex_;  // of the next two
  bool linked_ = false;
  std::vector<std::string> lines_;
  std::thread thread_;
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_COMPILATION_H_
