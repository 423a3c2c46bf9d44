// The compiler is reached through its C interface, as ninfer-run reaches it. Tested by
// tests/bench_test.py.
#include "bench/engine.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/page_table.h"
#include "base/quantise.h"
#include "base/status.h"
#include "bench/machine.h"
#include "plan/reader.h"

namespace ninfer::bench {
namespace {

using Json = nlohmann::json;

// Types of weights alone: what is not stored so keeps the model's types.
bool IsOfWeights(const std::string& type) {
  return type == "f16" || FindWeightScheme(type) != nullptr;
}

std::string OptionsOf(const EngineChoice& choice) {
  Json options = Json::object();
  if (!choice.model.random_weights.empty()) {
    options["random_weights"] = choice.model.random_weights;
    options["random_dtype"] =
        choice.type.empty() || IsOfWeights(choice.type) ? "bf16" : choice.type;
  } else {
    options["model"] = choice.model.path;
  }
  // Eager is f32 unless it is told otherwise, and then it runs the imported graph as it stands.
  if (!choice.type.empty() && (choice.compiled || choice.type != "f32")) {
    options["weights"] = choice.type;
    if (!IsOfWeights(choice.type)) options["activations"] = options["kv_cache"] = choice.type;
  }
  if (!choice.activations.empty()) options["activations"] = choice.activations;
  if (!choice.kv_cache_type.empty()) options["kv_cache"] = choice.kv_cache_type;
  if (!choice.kv_cache) options["disable_passes"] = {"kv-cache"};
  if (choice.threads > 0) options["threads"] = choice.threads;
  if (choice.context > 0) options["context"] = choice.context;
  if (choice.compiled) {
    if (!choice.attention.empty()) options["attention"] = choice.attention;
    if (choice.max_tokens > 0) options["max_tokens"] = choice.max_tokens;
    if (choice.max_sequences > 0) options["max_sequences"] = choice.max_sequences;
    if (choice.max_rows > 0) options["max_rows"] = choice.max_rows;
  }
  return options.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Open(const EngineChoice& choice,
                                                     const runtime::CompilerCallbacks& callbacks) {
  std::unique_ptr<Engine> engine(new Engine());
  engine->cancelled_ = callbacks.cancelled;
  absl::Status status;
  const double start = Seconds();
  engine->host_.Run([&] { status = engine->OpenHere(choice, callbacks); });
  engine->open_seconds_ = Seconds() - start;
  NINFER_RETURN_IF_ERROR(status);
  return engine;
}

Engine::~Engine() {
  host_.Run([this] {
    session_.reset();
    executor_.reset();
    plan_.reset();
  });
}

absl::Status Engine::OpenHere(const EngineChoice& choice,
                              const runtime::CompilerCallbacks& callbacks) {
  NINFER_RETURN_IF_ERROR(choice.compiled ? OpenCompiled(choice, callbacks)
                                         : OpenEager(choice, callbacks));
  session_ = std::make_unique<runtime::Session>(executor_.get(), nullptr);
  return absl::OkStatus();
}

absl::Status Engine::OpenEager(const EngineChoice& choice,
                               const runtime::CompilerCallbacks& callbacks) {
  NINFER_ASSIGN_OR_RETURN(runtime::CompilerLibrary * library, runtime::CompilerLibrary::Open());
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<runtime::EagerEngine> eager,
                          library->OpenEager(OptionsOf(choice), callbacks));
  NINFER_RETURN_IF_ERROR(ReadTokenizer(eager->tokenizer()));
  executor_ = std::move(eager);
  return absl::OkStatus();
}

absl::Status Engine::OpenCompiled(const EngineChoice& choice,
                                  const runtime::CompilerCallbacks& callbacks) {
  auto plan = std::make_shared<plan::LoadedPlan>();
  if (choice.model.random_weights.empty() && !IsDirectory(choice.model.path)) {
    NINFER_ASSIGN_OR_RETURN(*plan, plan::ReadPlan(choice.model.path, {}));
  } else {
    NINFER_ASSIGN_OR_RETURN(runtime::CompilerLibrary * library, runtime::CompilerLibrary::Open());
    NINFER_ASSIGN_OR_RETURN(*plan, library->Compile(OptionsOf(choice), callbacks));
  }
  plan_ = plan;
  NINFER_RETURN_IF_ERROR(ReadTokenizer(plan_->plan.tokenizer));
  runtime::CpuExecutorOptions options;
  options.threads = choice.threads;
  if (!plan_->plan.kv_layers.empty()) {
    const int64_t page_positions = plan_->plan.kv_layers[0].page_positions;
    for (int64_t length : choice.texts) options.total_pages += PagesFor(length, page_positions);
  }
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<runtime::CpuExecutor> executor,
                          runtime::CpuExecutor::Create(plan_, options));
  compiled_ = executor.get();
  executor_ = std::move(executor);
  return absl::OkStatus();
}

absl::Status Engine::ReadTokenizer(const std::string& serialised) {
  if (serialised.empty()) return absl::OkStatus();
  NINFER_ASSIGN_OR_RETURN(tokenizer_, Tokenizer::Deserialize(serialised));
  return absl::OkStatus();
}

int64_t Engine::scratch_bytes() const {
  if (plan_ == nullptr) return executor_->scratch_bytes();
  const plan::Entry& entry = plan_->plan.entries[0];
  uint64_t scratch = 0;
  for (const plan::Launch& launch : entry.launches) {
    scratch = std::max(scratch, plan_->plan.kernels[launch.kernel].scratch_bytes);
  }
  const uint64_t threads = static_cast<uint64_t>(pool()->size());
  return static_cast<int64_t>(entry.arena_bytes + threads * (entry.replica_bytes + scratch));
}

absl::Status Engine::CheckCancelled() const {
  return cancelled_ && cancelled_() ? absl::CancelledError("interrupted") : absl::OkStatus();
}

absl::StatusOr<runtime::Generation> Engine::Generate(const std::vector<int32_t>& prompt,
                                                     int64_t count) {
  runtime::GenerateOptions options;
  options.max_tokens = count;
  options.ignore_eos = true;
  options.cancelled = cancelled_;
  absl::StatusOr<runtime::Generation> result = absl::InternalError("not run");
  host_.Run([&] { result = session_->Generate(prompt, options); });
  NINFER_RETURN_IF_ERROR(CheckCancelled());
  if (result.ok() && static_cast<int64_t>(result->ids.size()) < count) {
    return InvalidArgument("generation: expected ", count, " new tokens, found room for ",
                           result->ids.size());
  }
  return result;
}

}  // namespace ninfer::bench
