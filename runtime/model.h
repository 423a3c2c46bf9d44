// A model ready to run, from whatever names it: a plan file; a model folder (or a model of the
// hub), compiled in this process or taken from the cache of plans; a model folder under the eager
// interpreter; or nothing, which is the model that ships with the program. Tested by
// tests/runtime_model_test.cc and tests/run_test.py.
#ifndef NINFER_RUNTIME_MODEL_H_
#define NINFER_RUNTIME_MODEL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "plan/reader.h"
#include "runtime/compilation.h"
#include "runtime/compiler_library.h"
#include "runtime/cpu_executor.h"
#include "runtime/device.h"
#include "runtime/executor.h"
#include "text/tokenizer.h"

namespace ninfer::runtime {

struct ModelOptions {
  std::string path;  // or hf:org/name[@revision]; empty: the model that ships with the program
  bool eager = false;
  // Where to run; null: on the CPU. A device that the user did not name runs the plans that have
  // code for it.
  std::shared_ptr<Device> device;
  bool device_named = false;
  int threads = 0;
  int64_t total_pages = 0;  // of the cache; 0: one text as long as the context
  bool perf_map = false;
  bool cache = true;     // keep and use compiled plans of folders
  bool verbose = false;  // log more
  plan::ReadOptions read;
  std::string compiler_options;  // a JSON object: further keys for the compiler; empty for none
  std::string dump_tensors;      // a regular expression; empty for none
  CompilerCallbacks callbacks;   // called from a second thread too; `cancelled` until Finish
};

class Model {
 public:
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  Executor* executor() const { return executor_.get(); }
  const Tokenizer* tokenizer() const { return tokenizer_.get(); }  // null: ids only
  // Null for an eager model.
  const plan::LoadedPlan* plan() const { return plan_.get(); }
  ThreadPool* pool() const { return compiled_ != nullptr ? compiled_->pool() : nullptr; }
  double load_seconds() const { return load_seconds_; }

  // A folder's model runs before its plan is finished. Waits for the plan's evidence, which plan()
  // has from now on, and until it is kept; an error where the code turned out not to do what its
  // graph says. Without it that is waited for when the model goes.
  absl::Status Finish();

  // Writes what `dump_tensors` matched.
  absl::Status WriteDump(const std::string& path);

 private:
  friend absl::StatusOr<std::unique_ptr<Model>> OpenModel(const ModelOptions& options);
  friend class ModelOpener;
  Model() = default;

  std::shared_ptr<const plan::LoadedPlan> plan_;
  std::unique_ptr<TensorDump> dump_;
  std::unique_ptr<Executor> executor_;
  CpuExecutor* compiled_ = nullptr;  // executor_, when it is one
  EagerEngine* eager_ = nullptr;     // executor_, when it is one
  std::unique_ptr<Tokenizer> tokenizer_;
  double load_seconds_ = 0;
  std::unique_ptr<Compilation> compilation_;  // of a folder that had no plan in the cache
};

absl::StatusOr<std::unique_ptr<Model>> OpenModel(const ModelOptions& options);

// The plan that ships with the program: beside it, in ../share/ninfer/default-plan.bin.
std::string DefaultPlanPath();

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_MODEL_H_
