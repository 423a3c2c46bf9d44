// One engine to measure: the eager interpreter or compiled code, of a model folder, a plan, or a
// shape with random weights. It lives on a thread of its own, where everything that touches it
// runs. Tested by tests/bench_test.py.
#ifndef NINFER_BENCH_ENGINE_H_
#define NINFER_BENCH_ENGINE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "bench/host.h"
#include "plan/plan.h"
#include "runtime/compiler_library.h"
#include "runtime/cpu_executor.h"
#include "runtime/executor.h"
#include "runtime/session.h"
#include "runtime/thread_pool.h"
#include "text/tokenizer.h"

namespace ninfer::bench {

// What to measure. Exactly one of the two is set.
struct ModelChoice {
  std::string path;            // a model folder, or a plan's file
  std::string random_weights;  // a named shape, or the path of a config.json
};

struct EngineChoice {
  ModelChoice model;
  bool compiled = true;
  bool kv_cache = true;
  // "f32" or "bf16" for weights, activations and cache; another of --weights for weights alone;
  // empty: as stored.
  std::string type;
  // As --activations and --kv-cache of ninfer-compile; empty: what the type says.
  std::string activations, kv_cache_type;
  std::string attention;  // "naive", "efficient", "flash"; empty: the default
  int threads = 0;
  int64_t context = 0, max_tokens = 0, max_sequences = 0, max_rows = 0;  // 0: the default
  // Lengths of the texts that the cache has room for at once; empty: one as long as the context.
  std::vector<int64_t> texts;
};

class Engine {
 public:
  static absl::StatusOr<std::unique_ptr<Engine>> Open(const EngineChoice& choice,
                                                      const runtime::CompilerCallbacks& callbacks);
  ~Engine();

  // Runs `work` on the engine's thread. Executor and pool may be used there alone.
  void Run(absl::FunctionRef<void()> work) { host_.Run(work); }

  runtime::Executor* executor() const { return executor_.get(); }
  runtime::CpuExecutor* compiled() const { return compiled_; }  // null for eager
  // Null for eager.
  runtime::ThreadPool* pool() const { return compiled_ == nullptr ? nullptr : compiled_->pool(); }
  const plan::LoadedPlan* plan() const { return plan_.get(); }  // null for eager
  const Tokenizer* tokenizer() const { return tokenizer_.get(); }
  double open_seconds() const { return open_seconds_; }  // compiling included

  // Arena, replicas and scratch of the threads, as the plan has them or eager has used.
  int64_t scratch_bytes() const;

  // absl::CancelledError once the callbacks say so. For between steps, from any thread.
  absl::Status CheckCancelled() const;

  // The most likely tokens behind the prompt, `count` of them whatever they are.
  absl::StatusOr<runtime::Generation> Generate(const std::vector<int32_t>& prompt, int64_t count);

 private:
  Engine() = default;
  absl::Status OpenHere(const EngineChoice& choice, const runtime::CompilerCallbacks& callbacks);
  absl::Status OpenEager(const EngineChoice& choice, const runtime::CompilerCallbacks& callbacks);
  absl::Status OpenCompiled(const EngineChoice& choice,
                            const runtime::CompilerCallbacks& callbacks);
  absl::Status ReadTokenizer(const std::string& serialised);

  Host host_;
  std::function<bool()> cancelled_;
  std::shared_ptr<const plan::LoadedPlan> plan_;
  std::unique_ptr<runtime::Executor> executor_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<runtime::Session> session_;
  runtime::CpuExecutor* compiled_ = nullptr;  // the executor, when it is one
  double open_seconds_ = 0;
};

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_ENGINE_H_
