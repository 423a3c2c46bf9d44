// Tested by tests/runtime_compiler_library_test.cc.
#include "runtime/compiler_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "compiler/ninfer_compiler.h"
#include "plan/reader.h"
#include "plan/writer.h"
#include "runtime/cpu_vision.h"
#include "runtime/step_check.h"

namespace ninfer::runtime {
namespace {

constexpr char kName[] = "libninfer-compiler.so";

// What the callbacks of the C interface are given.
struct Context {
  const CompilerCallbacks* callbacks;
  std::shared_ptr<void> plan;  // of Compile: what keeps the weights
};

const CompilerCallbacks& CallbacksOf(void* context) {
  return *static_cast<const Context*>(context)->callbacks;
}

absl::Status ToStatus(int32_t status, const char* message) {
  if (status == NINFER_OK) return absl::OkStatus();
  const std::string text = message != nullptr && *message != '\0' ? message : "compiler: failed";
  if (status == NINFER_CANCELLED) return absl::CancelledError(text);
  return absl::InvalidArgumentError(text);
}

absl::string_view SectionsOf(const ninfer_result& result) {
  return absl::string_view(reinterpret_cast<const char*>(result.sections), result.sections_size);
}

absl::StatusOr<plan::Plan> ReadSections(const ninfer_result& result, absl::string_view name) {
  NINFER_RETURN_IF_ERROR(ToStatus(result.status, result.message));
  return plan::ParseSections(SectionsOf(result), name);
}

absl::StatusOr<plan::LoadedPlan> PlanOf(const ninfer_result& result, std::shared_ptr<void> owner) {
  return plan::PlanInMemory(SectionsOf(result), "compiled plan", result.weights,
                            result.weights_size, std::move(owner));
}

ninfer_callbacks CCallbacks(Context& context) {
  const CompilerCallbacks& callbacks = *context.callbacks;
  ninfer_callbacks c = {};
  c.context = &context;
  if (callbacks.log) {
    c.log = [](void* context, const char* line) { CallbacksOf(context).log(line); };
  }
  if (callbacks.print) {
    c.print = [](void* context, const char* text) { CallbacksOf(context).print(text); };
  }
  if (callbacks.progress) {
    c.progress = [](void* context, const char* phase, double done) {
      CallbacksOf(context).progress(phase, done);
    };
  }
  if (callbacks.cancelled) {
    c.cancelled = [](void* context) { return CallbacksOf(context).cancelled() ? 1 : 0; };
  }
  if (callbacks.linked) {
    c.linked = [](void* context, const ninfer_result* result) {
      CallbacksOf(context).linked(PlanOf(*result, static_cast<Context*>(context)->plan));
    };
  }
  return c;
}

// `context` outlives the call.
ninfer_request Request(const std::string& options, Context& context) {
  ninfer_request request = {};
  request.interface = NINFER_COMPILER_INTERFACE;
  request.options = options.c_str();
  request.callbacks = CCallbacks(context);
  return request;
}

}  // namespace

// The library's functions by name.
struct CompilerLibrary::Functions {
  void* handle = nullptr;
  decltype(&ninfer_compiler_interface) interface = nullptr;
  decltype(&ninfer_compiler_version) version = nullptr;
  decltype(&ninfer_compile) compile = nullptr;
  decltype(&ninfer_generate_code) generate_code = nullptr;
  decltype(&ninfer_fetch_model) fetch_model = nullptr;
  decltype(&ninfer_release_result) release_result = nullptr;
  decltype(&ninfer_open_eager) open_eager = nullptr;
  decltype(&ninfer_release_eager) release_eager = nullptr;
  decltype(&ninfer_eager_limits) eager_limits = nullptr;
  decltype(&ninfer_eager_step) eager_step = nullptr;
  decltype(&ninfer_eager_see) eager_see = nullptr;
  decltype(&ninfer_eager_clear_page) eager_clear_page = nullptr;
  decltype(&ninfer_eager_bytes_per_token) eager_bytes_per_token = nullptr;
  decltype(&ninfer_eager_cache_bytes) eager_cache_bytes = nullptr;
  decltype(&ninfer_eager_scratch_bytes) eager_scratch_bytes = nullptr;
  decltype(&ninfer_eager_write_dump) eager_write_dump = nullptr;

  template <typename T>
  absl::Status Find(const std::string& path, const char* name, T* function) {
    *function = reinterpret_cast<T>(dlsym(handle, name));
    if (*function != nullptr) return absl::OkStatus();
    return InvalidArgument(path, ": expected the function ", name, ", found none");
  }
  absl::Status FindAll(const std::string& path);
};

absl::Status CompilerLibrary::Functions::FindAll(const std::string& path) {
  NINFER_RETURN_IF_ERROR(Find(path, "ninfer_compiler_interface", &interface));
  if (const uint32_t found = interface(); found != NINFER_COMPILER_INTERFACE) {
    return InvalidArgument(path, ": expected compiler interface ", NINFER_COMPILER_INTERFACE,
                           ", found ", found);
  }
  NINFER_RETURN_IF_ERROR(Find(path, "ninfer_compiler_version", &version));
  NINFER_RETURN_IF_ERROR(Find(path, "ninfer_compile", &compile));
  NINFER_RETURN_IF_ERROR(Find(path, "ninfer_generate_code", &generate_code));
  NINFER_RETURN_IF_ERROR(Find(path, "ninfer_fetch_model", &fetch_model));
  NINFER_RETURN_IF_ERROR(Find(path, "ninfer_release_result", &release_result));
  NINFER_RETURN_IF_ERROR(Find(path, "ninfer_open_eager", &open_eager));
  NINFER_RETURN_IF_ERROR(Find(path, "ninfer_release_eager", &release_eager));
  NINFER_RETURN_IF_ERROR(Find(path, "ninfer_eager_limits", &eager_limits));
  NINFER_RETURN_IF_ERROR(Find(path, "ninfer_eager_step", &eager_step));
  NINFER_RETURN_IF_ERROR(Find(path, "ninfer_eager_see", &eager_see));
  NINFER_RETURN_IF_ERROR(Find(path, "ninfer_eager_clear_page", &eager_clear_page));
  NINFER_RETURN_IF_ERROR(Find(path, "ninfer_eager_bytes_per_token", &eager_bytes_per_token));
  NINFER_RETURN_IF_ERROR(Find(path, "ninfer_eager_cache_bytes", &eager_cache_bytes));
  NINFER_RETURN_IF_ERROR(Find(path, "ninfer_eager_scratch_bytes", &eager_scratch_bytes));
  return Find(path, "ninfer_eager_write_dump", &eager_write_dump);
}

// The C functions of an eager executor as an Executor.
class CompilerLibrary::Eager : public EagerEngine {
 public:
  Eager(const Functions* functions, ninfer_eager* eager, plan::Plan sections)
      : functions_(functions), eager_(eager), sections_(std::move(sections)) {
    ninfer_limits limits = {};
    functions_->eager_limits(eager_, &limits);
    limits_.max_tokens = limits.max_tokens;
    limits_.max_sequences = limits.max_sequences;
    limits_.max_rows = limits.max_rows;
    limits_.pages_per_sequence = limits.pages_per_sequence;
    limits_.page_positions = limits.page_positions;
    for (int64_t i = 0; i < limits.kv_group_count; ++i) {
      const ninfer_kv_group& group = limits.kv_groups[i];
      limits_.kv_groups.push_back({group.window, group.total_pages, group.pages_held});
    }
    limits_.context_length = limits.context_length;
    limits_.has_kv_cache = limits.has_kv_cache != 0;
    limits_.picture_columns = limits.picture_columns;
    checker_ = std::make_unique<StepChecker>(limits_, sections_.metadata.vocab_size);
  }
  ~Eager() override { functions_->release_eager(eager_); }

  const plan::Metadata& metadata() const override { return sections_.metadata; }
  const ExecutorLimits& limits() const override { return limits_; }
  const std::string& tokenizer() const override { return sections_.tokenizer; }
  void ClearPage(int group, int32_t page) override {
    functions_->eager_clear_page(eager_, group, page);
  }
  int64_t BytesPerToken(int64_t cached) const override {
    return functions_->eager_bytes_per_token(eager_, cached);
  }
  int64_t CacheBytes(int64_t positions) const override {
    return functions_->eager_cache_bytes(eager_, positions);
  }
  int64_t scratch_bytes() const override { return functions_->eager_scratch_bytes(eager_); }
  std::string description() const override { return "eager"; }

  absl::Status Step(const StepInput& input, float* logits) override {
    NINFER_RETURN_IF_ERROR(checker_->Check(input));
    ninfer_step step = {};
    step.tokens = input.tokens.data();
    step.positions = input.positions.data();
    step.rope_len = input.rope_len.data();
    step.seq_bounds = input.seq_bounds.data();
    step.cached_lens = input.cached_lens.data();
    step.page_table = input.page_table.data();
    step.rows = input.rows.data();
    step.token_count = static_cast<int64_t>(input.tokens.size());
    step.sequence_count = static_cast<int64_t>(input.cached_lens.size());
    step.pages_per_sequence = limits_.pages_per_sequence;
    step.row_count = static_cast<int64_t>(input.rows.size());
    step.kv_group_count = static_cast<int64_t>(limits_.kv_groups.size());
    step.pictures = input.pictures.empty() ? nullptr : input.pictures.data();
    step.is_picture = input.is_picture.empty() ? nullptr : input.is_picture.data();
    const char* message = "";
    const int32_t status = functions_->eager_step(eager_, &step, logits, &message);
    return ToStatus(status, message);
  }
  const plan::Vision* vision() const override {
    return sections_.vision.has_value() ? &*sections_.vision : nullptr;
  }
  absl::Status See(const VisionInput& input, float* rows) override {
    if (vision() == nullptr) return Executor::See(input, rows);
    NINFER_RETURN_IF_ERROR(CheckVisionInput(input, *vision()));
    ninfer_frame frame = {};
    frame.pixels = input.pixels.data();
    frame.patch_ids = input.patch_ids.data();
    frame.visible = input.visible.data();
    frame.shuffle = input.shuffle.data();
    frame.patch_count = static_cast<int64_t>(input.patch_ids.size());
    frame.pixel_count = static_cast<int64_t>(input.pixels.size());
    const char* message = "";
    const int32_t status = functions_->eager_see(eager_, &frame, rows, &message);
    return ToStatus(status, message);
  }
  absl::Status WriteDump(const std::string& path) override {
    const char* message = "";
    const int32_t status = functions_->eager_write_dump(eager_, path.c_str(), &message);
    return ToStatus(status, message);
  }

 private:
  const Functions* functions_;
  ninfer_eager* eager_;
  plan::Plan sections_;
  ExecutorLimits limits_;
  std::unique_ptr<StepChecker> checker_;
};

CompilerLibrary::CompilerLibrary(std::unique_ptr<Functions> functions)
    : functions_(std::move(functions)) {}

CompilerLibrary::~CompilerLibrary() { dlclose(functions_->handle); }

absl::StatusOr<std::unique_ptr<CompilerLibrary>> CompilerLibrary::OpenFile(
    const std::string& path) {
  auto functions = std::make_unique<Functions>();
  functions->handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (functions->handle == nullptr) {
    const char* reason = dlerror();
    return InvalidArgument(path, ": cannot open the compiler: ", reason != nullptr ? reason : "");
  }
  std::unique_ptr<CompilerLibrary> library(new CompilerLibrary(std::move(functions)));
  NINFER_RETURN_IF_ERROR(library->functions_->FindAll(path));
  return library;
}

absl::StatusOr<CompilerLibrary*> CompilerLibrary::Open() {
  static CompilerLibrary* opened = nullptr;  // LLVM does not like to be unloaded
  if (opened != nullptr) return opened;
  const std::string found = FindCompilerLibrary();
  absl::StatusOr<std::unique_ptr<CompilerLibrary>> library =
      OpenFile(found.empty() ? kName : found);
  if (!library.ok() && found.empty()) {
    return InvalidArgument(kName,
                           ": not found beside the program, in ../lib or on the library path");
  }
  NINFER_RETURN_IF_ERROR(library.status());
  opened = library->release();
  return opened;
}

std::string CompilerLibrary::version() const { return functions_->version(); }

absl::StatusOr<plan::LoadedPlan> CompilerLibrary::Compile(const std::string& options,
                                                          const CompilerCallbacks& callbacks) {
  // Owned by the plan: its weights lie in the compiler's memory.
  auto* result = new ninfer_result{};
  std::shared_ptr<void> owner(result, [release = functions_->release_result](void* pointer) {
    release(static_cast<ninfer_result*>(pointer));
    delete static_cast<ninfer_result*>(pointer);
  });
  Context context{&callbacks, owner};
  const ninfer_request request = Request(options, context);
  functions_->compile(&request, result);
  NINFER_RETURN_IF_ERROR(ToStatus(result->status, result->message));
  return PlanOf(*result, owner);
}

absl::StatusOr<std::string> CompilerLibrary::FetchModel(const std::string& options,
                                                        const CompilerCallbacks& callbacks) {
  Context context{&callbacks, nullptr};
  const ninfer_request request = Request(options, context);
  ninfer_result result = {};
  functions_->fetch_model(&request, &result);
  const absl::Status status = ToStatus(result.status, result.message);
  const std::string folder = result.folder == nullptr ? "" : result.folder;
  functions_->release_result(&result);
  NINFER_RETURN_IF_ERROR(status);
  return folder;
}

absl::StatusOr<plan::Plan> CompilerLibrary::GenerateCode(const plan::Plan& plan,
                                                         const std::string& options,
                                                         const CompilerCallbacks& callbacks) {
  const std::string sections = plan::SerializeSections(plan);
  Context context{&callbacks, nullptr};
  ninfer_request request = Request(options, context);
  request.sections = reinterpret_cast<const uint8_t*>(sections.data());
  request.sections_size = sections.size();
  ninfer_result result = {};
  functions_->generate_code(&request, &result);
  absl::StatusOr<plan::Plan> made = ReadSections(result, "compiled plan");
  functions_->release_result(&result);
  return made;
}

absl::StatusOr<std::unique_ptr<EagerEngine>> CompilerLibrary::OpenEager(
    const std::string& options, const CompilerCallbacks& callbacks) {
  Context context{&callbacks, nullptr};
  const ninfer_request request = Request(options, context);
  ninfer_result result = {};
  functions_->open_eager(&request, &result);
  absl::StatusOr<plan::Plan> sections = ReadSections(result, "eager model");
  ninfer_eager* eager = result.eager;
  functions_->release_result(&result);
  if (!sections.ok()) {
    if (eager != nullptr) functions_->release_eager(eager);
    return sections.status();
  }
  return std::unique_ptr<EagerEngine>(
      std::make_unique<Eager>(functions_.get(), eager, *std::move(sections)));
}

std::string ProgramFolder() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof(path));
  if (size <= 0) return ".";
  const std::string program(path, static_cast<size_t>(size));
  return program.substr(0, program.rfind('/'));
}

std::string FindCompilerLibrary() {
  const std::string folder = ProgramFolder();
  for (const char* place : {"", "../lib"}) {
    const std::string path = JoinPath(*place != '\0' ? JoinPath(folder, place) : folder, kName);
    if (FileExists(path)) return path;
  }
  return "";
}

}  // namespace ninfer::runtime
