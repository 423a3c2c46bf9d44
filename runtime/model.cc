// Tested by tests/runtime_model_test.cc.
#include "runtime/model.h"

#include <sys/stat.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/status.h"
#include "plan/writer.h"
#include "runtime/plan_cache.h"

namespace ninfer::runtime {
namespace {

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

// One way through OpenModel; a class because the steps share the options and the model in the
// making.
class ModelOpener {
 public:
  explicit ModelOpener(const ModelOptions& options)
      : options_(options), path_(options.path), model_(new Model) {}

  absl::StatusOr<std::unique_ptr<Model>> Open() {
    const double start = Seconds();
    NINFER_RETURN_IF_ERROR(OpenByKind());
    NINFER_RETURN_IF_ERROR(ReadTokenizer());
    model_->load_seconds_ = Seconds() - start;
    return std::move(model_);
  }

 private:
  absl::Status OpenByKind() {
    struct stat info;
    if (path_.empty()) return OpenPlanFile(DefaultPlanPath());
    if (absl::StartsWith(path_, "hf:")) NINFER_RETURN_IF_ERROR(FetchFromHub());
    if (stat(path_.c_str(), &info) != 0) {
      return InvalidArgument(path_, ": expected a plan or a model folder, found nothing");
    }
    if (S_ISDIR(info.st_mode)) return options_.eager ? OpenEager() : OpenFolder();
    return OpenPlanFile(path_);
  }

  // The name becomes the path of a folder. Only the compiler's library speaks to the hub.
  absl::Status FetchFromHub() {
    NINFER_ASSIGN_OR_RETURN(CompilerLibrary * library, OpenLibrary());
    NINFER_ASSIGN_OR_RETURN(
        path_, library->FetchModel(nlohmann::json{{"model", path_}}.dump(
                                       -1, ' ', true, nlohmann::json::error_handler_t::replace),
                                   options_.callbacks));
    return absl::OkStatus();
  }

  absl::Status OpenPlanFile(const std::string& path) {
    if (options_.eager) {
      return InvalidArgument(path, ": --engine=eager: expected a model folder, found a plan");
    }
    if (path_.empty() && !FileExists(path)) {
      return InvalidArgument(path,
                             ": the model that ships with ninfer: not found; name a plan or a "
                             "model folder");
    }
    NINFER_ASSIGN_OR_RETURN(plan::LoadedPlan loaded, plan::ReadPlan(path, ReadOptions()));
    return Annotate(Run(std::move(loaded)), path);
  }

  absl::Status OpenEager() {
    if (options_.device_named) {
      return InvalidArgument("--device: expected cpu with --engine=eager, found ",
                             options_.device->name());
    }
    NINFER_ASSIGN_OR_RETURN(CompilerLibrary * library, OpenLibrary());
    nlohmann::json extra = nlohmann::json::object();
    if (!options_.dump_tensors.empty()) extra["dump_tensors"] = options_.dump_tensors;
    if (options_.total_pages > 0) extra["kv_pages"] = options_.total_pages;
    NINFER_ASSIGN_OR_RETURN(const std::string request,
                            CompilerOptions(options_.compiler_options, std::move(extra)));
    NINFER_ASSIGN_OR_RETURN(std::unique_ptr<EagerEngine> engine,
                            library->OpenEager(request, options_.callbacks));
    model_->eager_ = engine.get();
    model_->executor_ = std::move(engine);
    return absl::OkStatus();
  }

  absl::Status OpenFolder() {
    NINFER_ASSIGN_OR_RETURN(const std::string chosen, ChoiceWithDevice());
    NINFER_ASSIGN_OR_RETURN(const std::string request,
                            CompilerOptions(chosen, nlohmann::json::object()));
    const std::string cached = CachePath(chosen);
    if (!cached.empty() && FileExists(cached)) {
      absl::StatusOr<plan::LoadedPlan> loaded = plan::ReadPlan(cached, ReadOptions());
      if (loaded.ok()) {
        if (options_.verbose) Log("plan from the cache: ", cached);
        return Annotate(Run(*std::move(loaded)), cached);
      }
      Log("compiling again: ", loaded.status().message());
    }
    const double start = Seconds();
    NINFER_ASSIGN_OR_RETURN(CompilerLibrary * library, OpenLibrary());
    Compilation::Keep keep;
    if (!cached.empty()) {
      keep = [cached](const plan::LoadedPlan& plan) {
        NINFER_RETURN_IF_ERROR(MakeParentFolders(cached));
        return plan::WritePlan(plan.plan, plan.weights, cached, 1);
      };
    }
    // Before the executor pins this thread: what it starts later inherits its CPU.
    NINFER_ASSIGN_OR_RETURN(model_->compilation_,
                            Compilation::Start(library, request, options_.callbacks, keep));
    Log(absl::StrFormat("compiled in %.2f s", Seconds() - start));
    if (keep) Log("writing the plan to ", cached);
    NINFER_RETURN_IF_ERROR(Run(model_->compilation_->TakeLinked()));
    if (options_.verbose)
      Log(absl::StrFormat("first kernel ready after %.2f s", Seconds() - start));
    return absl::OkStatus();
  }

  // Empty when there is no place for a cache, or it is not wanted.
  std::string CachePath(const std::string& compiler_options) {
    if (!options_.cache) return "";
    absl::StatusOr<std::string> path =
        CachedPlanPath(path_, compiler_options, FindCompilerLibrary(), options_.threads);
    if (path.ok()) return *std::move(path);
    Log("the plan will not be kept: ", path.status().message());
    return "";
  }

  // The compiler's options, which for a device that the user named make code for it unless they
  // name targets of their own.
  absl::StatusOr<std::string> ChoiceWithDevice() {
    if (!options_.device_named) return options_.compiler_options;
    NINFER_ASSIGN_OR_RETURN(nlohmann::json chosen, ParseCompilerOptions(options_.compiler_options));
    if (chosen.contains("targets")) return options_.compiler_options;
    const absl::StatusOr<std::string> target = options_.device->target();
    NINFER_RETURN_IF_ERROR(Annotate(target.status(), "--device"));
    chosen["targets"] = {*target};
    return chosen.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  }

  // Whether the plan runs on the device, or must because the user named it.
  bool OnDevice(const plan::Plan& plan) const {
    return options_.device != nullptr && (options_.device_named || options_.device->Runs(plan));
  }

  absl::Status Run(plan::LoadedPlan loaded) {
    if (!OnDevice(loaded.plan)) NINFER_RETURN_IF_ERROR(MakeCodeRunnable(&loaded));
    return RunShared(std::make_shared<const plan::LoadedPlan>(std::move(loaded)));
  }

  absl::Status RunOnDevice(std::shared_ptr<const plan::LoadedPlan> loaded) {
    Device& device = *options_.device;
    if (!device.Runs(loaded->plan))
      return InvalidArgument("--device: ", device.Missing(loaded->plan));
    if (!options_.dump_tensors.empty()) {
      return InvalidArgument("--dump-tensors: expected --device=cpu, found ", device.name());
    }
    model_->plan_ = loaded;
    const auto progress = [this](double done) {
      if (options_.callbacks.progress) options_.callbacks.progress("load weights", done);
    };
    NINFER_ASSIGN_OR_RETURN(model_->executor_,
                            device.Open(std::move(loaded), options_.total_pages, progress));
    return absl::OkStatus();
  }

  absl::Status RunShared(std::shared_ptr<const plan::LoadedPlan> loaded) {
    if (OnDevice(loaded->plan)) return RunOnDevice(std::move(loaded));
    CpuExecutorOptions options;
    options.threads = options_.threads;
    options.total_pages = options_.total_pages;
    options.perf_map = options_.perf_map;
    if (!options_.dump_tensors.empty()) {
      NINFER_ASSIGN_OR_RETURN(model_->dump_, TensorDump::Create(options_.dump_tensors));
      options.dump = model_->dump_.get();
    }
    model_->plan_ = std::move(loaded);
    NINFER_ASSIGN_OR_RETURN(std::unique_ptr<CpuExecutor> executor,
                            CpuExecutor::Create(model_->plan_, options));
    model_->compiled_ = executor.get();
    model_->executor_ = std::move(executor);
    return absl::OkStatus();
  }

  // A CPU without the features that the plan's code needs gets fresh code from the kernel program.
  absl::Status MakeCodeRunnable(plan::LoadedPlan* loaded) {
    if (loaded->plan.images.empty() && loaded->plan.cards.has_value()) {
      return InvalidArgument("the plan has code for CUDA cards alone; ",
                             options_.device != nullptr ? options_.device->Missing(loaded->plan)
                                                        : "found --device=cpu");
    }
    const absl::flat_hash_set<std::string> features = CpuFeatures();
    if (ChooseImage(loaded->plan, features) != nullptr) return absl::OkStatus();
    const std::string missing = MissingFeatures(loaded->plan, features);
    if (loaded->plan.program_text.empty()) {
      return InvalidArgument(missing, "; the plan has no kernel program to make other code from");
    }
    absl::StatusOr<CompilerLibrary*> library = CompilerLibrary::Open();
    if (!library.ok()) return InvalidArgument(missing, "; ", library.status().message());
    Log(missing, "; generating code anew");
    NINFER_ASSIGN_OR_RETURN(
        plan::Plan made,
        (*library)->GenerateCode(loaded->plan, nlohmann::json{{"targets", {"native"}}}.dump(),
                                 options_.callbacks));
    if (made.weight_bytes != loaded->plan.weight_bytes) {
      return absl::InternalError("generated code: expected the plan's own weights");
    }
    loaded->plan = std::move(made);
    if (ChooseImage(loaded->plan, features) != nullptr) return absl::OkStatus();
    return InvalidArgument(MissingFeatures(loaded->plan, features));
  }

  absl::StatusOr<CompilerLibrary*> OpenLibrary() {
    absl::StatusOr<CompilerLibrary*> library = CompilerLibrary::Open();
    if (library.ok()) return library;
    return InvalidArgument(path_,
                           ": a model folder needs the compiler: ", library.status().message());
  }

  absl::StatusOr<nlohmann::json> ParseCompilerOptions(const std::string& text) {
    nlohmann::json options = text.empty()
                                 ? nlohmann::json::object()
                                 : nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (options.is_object()) return options;
    return InvalidArgument("compiler options: expected a JSON object, found ", text);
  }

  absl::StatusOr<std::string> CompilerOptions(const std::string& text, nlohmann::json extra) {
    NINFER_ASSIGN_OR_RETURN(nlohmann::json request, ParseCompilerOptions(text));
    request["model"] = path_;
    if (options_.threads > 0) request["threads"] = options_.threads;
    if (options_.verbose && !options_.eager) request["verbose"] = true;
    request.update(extra);
    return request.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  }

  plan::ReadOptions ReadOptions() const {
    plan::ReadOptions read = options_.read;
    if (read.threads == 0) {
      read.threads = options_.threads > 0 ? options_.threads : DefaultThreads(ReadCpuLimits());
    }
    read.weights_for = [this](const plan::Plan& plan) {
      const bool cards = OnDevice(plan) || plan.images.empty();
      return cards ? plan::WeightsFor::kCards : plan::WeightsFor::kCpu;
    };
    return read;
  }

  absl::Status ReadTokenizer() {
    const std::string& tables =
        model_->eager_ != nullptr ? model_->eager_->tokenizer() : model_->plan_->plan.tokenizer;
    if (tables.empty()) return absl::OkStatus();
    absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Deserialize(tables);
    NINFER_RETURN_IF_ERROR(Annotate(tokenizer.status(), path_));
    model_->tokenizer_ = *std::move(tokenizer);
    return absl::OkStatus();
  }

  template <typename... Args>
  void Log(const Args&... args) {
    if (options_.callbacks.log) options_.callbacks.log(absl::StrCat(args...));
  }

  const ModelOptions& options_;
  std::string path_;  // of the file or folder; empty: the model that ships with the program
  std::unique_ptr<Model> model_;
};

absl::Status Model::Finish() {
  if (compilation_ == nullptr) return absl::OkStatus();
  const auto plan = compilation_->Finish();
  if (absl::IsCancelled(plan.status())) return absl::OkStatus();
  NINFER_RETURN_IF_ERROR(plan.status());
  plan_ = *plan;
  return absl::OkStatus();
}

absl::Status Model::WriteDump(const std::string& path) {
  if (eager_ != nullptr) return eager_->WriteDump(path);
  if (dump_ == nullptr) return InvalidArgument("--dump-to: expected --dump-tensors, found none");
  return dump_->Write(path);
}

absl::StatusOr<std::unique_ptr<Model>> OpenModel(const ModelOptions& options) {
  return ModelOpener(options).Open();
}

std::string DefaultPlanPath() {
  return JoinPath(ProgramFolder(), "../share/ninfer/default-plan.bin");
}

}  // namespace ninfer::runtime
