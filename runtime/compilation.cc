// Tested by tests/runtime_compilation_test.cc.
#include "runtime/compilation.h"

#include <sys/resource.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ninfer::runtime {

absl::StatusOr<std::unique_ptr<Compilation>> Compilation::Start(CompilerLibrary* library,
                                                                const std::string& options,
                                                                const CompilerCallbacks& callbacks,
                                                                Keep keep) {
  std::unique_ptr<Compilation> made(new Compilation);
  made->callbacks_ = callbacks;
  made->thread_ = std::thread([compilation = made.get(), library, options, keep] {
    compilation->Run(library, options, keep);
  });
  made->started_.wait(false);
  NINFER_RETURN_IF_ERROR(made->start_status_);
  return made;
}

Compilation::~Compilation() {
  left_ = true;
  if (thread_.joinable()) thread_.join();
}

absl::StatusOr<std::shared_ptr<const plan::LoadedPlan>> Compilation::Finish() {
  if (thread_.joinable()) thread_.join();
  for (const std::string& line : lines_) callbacks_.log(line);
  lines_.clear();
  return finished_;
}

void Compilation::Run(CompilerLibrary* library, const std::string& options, const Keep& keep) {
  absl::StatusOr<plan::LoadedPlan> plan = library->Compile(options, Wrap());
  if (plan.ok() && linked_ && Cancelled()) plan = absl::CancelledError("cancelled");
  if (plan.ok()) {
    finished_ = std::make_shared<const plan::LoadedPlan>(*std::move(plan));
    const absl::Status kept = keep ? keep(**finished_) : absl::OkStatus();
    if (!kept.ok()) Log(absl::StrCat("the plan was not kept: ", kept.message()));
  } else {
    finished_ = plan.status();
    if (linked_ && absl::IsCancelled(plan.status())) Log("the plan was not kept: cancelled");
  }
  if (linked_) return;
  EndStart(plan.ok() ? absl::InternalError("compiler library: linked nothing") : plan.status());
}

void Compilation::EndStart(absl::Status status) {
  start_status_ = std::move(status);
  started_ = true;
  started_.notify_one();
}

CompilerCallbacks Compilation::Wrap() {
  CompilerCallbacks wrapped = callbacks_;
  wrapped.log = [this](absl::string_view line) { Log(line); };
  wrapped.cancelled = [this] { return Cancelled(); };
  if (callbacks_.progress) {
    wrapped.progress = [this](absl::string_view phase, double done) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!linked_) callbacks_.progress(phase, done);
    };
  }
  wrapped.linked = [this](absl::StatusOr<plan::LoadedPlan> plan) {
    const absl::Status status = plan.status();
    if (plan.ok()) {
      linked_plan_ = *std::move(plan);
    } else {
      left_ = true;
    }
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      linked_ = true;
    }
    // On Linux the priority is the thread's own, and of those that it starts.
    setpriority(PRIO_PROCESS, 0, 19);
    EndStart(status);
  };
  return wrapped;
}

void Compilation::Log(absl::string_view line) {
  if (!callbacks_.log) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (linked_) {
    lines_.emplace_back(line);
  } else {
    callbacks_.log(line);
  }
}

}  // namespace ninfer::runtime
