// The eager interpreter behind the runtime's executor interface: what `--engine=eager` runs. The
// graph is the imported one with a cache (unless kv-cache is disabled) and with logits for the rows
// asked for; its arithmetic is f32 unless reduced precision is asked for by name. Tested by
// tests/compiler_eager_test.cc.
#ifndef NINFER_COMPILER_EAGER_EXECUTOR_H_
#define NINFER_COMPILER_EAGER_EXECUTOR_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "compiler/options.h"
#include "eager/eager.h"
#include "plan/kv_groups.h"
#include "runtime/executor.h"
#include "runtime/step_check.h"
#include "runtime/tensor_dump.h"

namespace ninfer::compiler {

class EagerExecutor : public runtime::Executor {
 public:
  static absl::StatusOr<std::unique_ptr<EagerExecutor>> Create(const Options& options,
                                                               const Callbacks& callbacks);

  const plan::Metadata& metadata() const override { return plan_.metadata; }
  const runtime::ExecutorLimits& limits() const override { return limits_; }
  void ClearPage(int group, int32_t page) override;
  absl::Status Step(const runtime::StepInput& input, float* logits) override;
  const plan::Vision* vision() const override {
    return plan_.vision.has_value() ? &*plan_.vision : nullptr;
  }
  absl::Status See(const runtime::VisionInput& input, float* rows) override;
  int64_t BytesPerToken(int64_t cached) const override;
  int64_t CacheBytes(int64_t positions) const override;
  int64_t scratch_bytes() const override { return interpreter_->peak_scratch_bytes(); }
  std::string description() const override;

  // Metadata and tokenizer, as a plan without code.
  const plan::Plan& plan() const { return plan_; }
  absl::Status WriteDump(const std::string& path) const;

 private:
  EagerExecutor() : module_("") {}
  absl::Status OpenVision(ir::Module module, std::shared_ptr<const ir::WeightSource> weights,
                          const std::vector<std::string>& passes,
                          const passes::PassOptions& choice);
  void ReadLimits(const Options& options);
  void ReadKvGroups(int64_t total_pages);
  bool HasRowsOfStep(const ir::Type& type) const;
  std::string NameOf(const ir::Node& node, const ir::Value& value);
  bool DumpMatches(const ir::Function& function);
  void MakePages(const runtime::StepInput& input);
  void Record(const ir::Node& node, absl::Span<const eager::Tensor> results);

  plan::Plan plan_;
  runtime::ExecutorLimits limits_;
  ir::Module module_;
  std::unique_ptr<eager::Interpreter> interpreter_;
  std::unique_ptr<ir::Module> vision_module_;  // of a model that sees
  std::unique_ptr<eager::Interpreter> vision_;
  std::unique_ptr<runtime::StepChecker> checker_;
  std::unique_ptr<runtime::TensorDump> dump_;
  std::map<std::string, int> seen_;  // names of the step that is being dumped
  std::vector<eager::KvPool> pools_;
  std::vector<plan::KvGroup> kv_groups_;  // as limits_.kv_groups
  int64_t weight_bytes_ = 0;
  int threads_ = 1;
};

}  // namespace ninfer::compiler

#endif  // NINFER_COMPILER_EAGER_EXECUTOR_H_
