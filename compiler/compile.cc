// See compile.h.
// Tested by tests/compiler_test.cc.
#include "compiler/compile.h"

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <thread>

#include "absl/algorithm/container.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "base/version.h"
#include "codegen/codegen.h"
#include "compiler/calibrate.h"
#include "compiler/cards.h"
#include "compiler/error_budget.h"
#include "compiler/quality.h"
#include "compiler/vision.h"
#include "cuda/generate/weights.h"
#include "eager/program_interpreter.h"
#include "ir/text.h"
#include "passes/pass.h"
#include "plan/blocks.h"
#include "program/scratch.h"
#include "program/text.h"
#include "program/verifier.h"
#include "text/tokenizer.h"

namespace ninfer::compiler {
namespace {

constexpr int64_t kEvidenceTokens = 16;

absl::Status MakeFolder(const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return InvalidArgument(path, ": cannot make the folder: ", error.message());
  return absl::OkStatus();
}

absl::Status MakeDumpFolders(const Options& options) {
  for (const std::string* folder : {&options.dump_ir, &options.dump_llvm, &options.dump_asm,
                                    &options.dump_cuda, &options.dump_ptx}) {
    NINFER_RETURN_IF_ERROR(MakeFolder(*folder));
  }
  return absl::OkStatus();
}

// About as many bytes as will stand before the weights in the plan's file; the code is not there
// yet.
uint64_t SectionBytes(const plan::Plan& plan, const program::Program& program, size_t targets) {
  constexpr uint64_t kCodeBytes = 8192;  // of a kernel, constants included
  return plan::SerializeSections(plan).size() +
         plan.weight_bytes / plan::kChecksumBlock * sizeof(uint64_t) +
         program.kernels.size() * targets * kCodeBytes;
}

// Where the weights of @vision begin in the plan's data.
uint64_t VisionWeightsAt(const program::Program& step) {
  constexpr uint64_t kAlignment = 64;
  return (static_cast<uint64_t>(step.weight_bytes) + kAlignment - 1) / kAlignment * kAlignment;
}

// Both plans have all weights for theirs, the step's first.
void PlaceVisionWeights(const program::Program& step, plan::Plan* plan, plan::Plan* vision) {
  const uint64_t base = VisionWeightsAt(step);
  for (plan::Weight& weight : vision->weights) weight.offset += base;
  vision->weight_bytes += base;
  plan->weight_bytes = vision->weight_bytes;
}

// Options whose dumps of @vision lie in a folder of their own.
absl::StatusOr<Options> VisionOptions(Options options) {
  for (std::string* folder :
       {&options.dump_llvm, &options.dump_asm, &options.dump_cuda, &options.dump_ptx}) {
    if (folder->empty()) continue;
    *folder = JoinPath(*folder, "vision");
    NINFER_RETURN_IF_ERROR(MakeFolder(*folder));
  }
  return options;
}

// What the targets ask for.
struct Targets {
  std::vector<std::string> cpus;
  std::vector<cuda::Architecture> cards;
};

absl::StatusOr<Targets> FindTargets(const Options& options) {
  Targets found;
  for (const std::string& target : options.targets) {
    if (IsCardTarget(target)) continue;
    NINFER_RETURN_IF_ERROR(codegen::CheckGenerator());
    NINFER_RETURN_IF_ERROR(codegen::FindTarget(target).status());
    found.cpus.push_back(target);
  }
  NINFER_ASSIGN_OR_RETURN(found.cards, CardArchitectures(options.targets));
  if (!found.cards.empty()) NINFER_RETURN_IF_ERROR(cuda::Nvrtc::Open().status());
  return found;
}

// Packs each weight where the plan has it: for CPUs, for cards, or for both.
absl::Status PackProgram(const program::Program& program, const ir::WeightSource& weights,
                         const plan::Plan& plan, bool cpus, int threads,
                         absl::FunctionRef<void(int64_t)> progress, uint8_t* target) {
  return eager::EvaluateWeights(
      program, weights, threads, progress,
      [&](const program::PackedWeight& weight, int64_t segment, int64_t n0, int64_t n1,
          const float* rows) {
        if (cpus) {
          formats::PackRows(weight.format, weight.shape, segment, n0, n1, rows,
                            target + weight.offset);
        }
        if (!plan.cards.has_value()) return;
        const plan::Cards::Place& place = plan.cards->weights[&weight - program.weights.data()];
        cuda::PackCardRows(weight.format, weight.shape, segment, n0, n1, rows,
                           target + plan.cards->weights_offset + place.offset);
      });
}

// Packs on the calling thread's pool while another thread generates code. `vision` may be null.
absl::Status PackAndGenerate(const program::Program& program, LoweredVision* vision,
                             const Source& source, const Options& options, const Targets& targets,
                             const Callbacks& callbacks, plan::PlanFile* file, Compiled* compiled) {
  const uint64_t before = SectionBytes(compiled->plan, program, options.targets.size());
  const uint64_t bytes = compiled->plan.weight_bytes;
  NINFER_ASSIGN_OR_RETURN(compiled->weights,
                          file != nullptr ? file->AllocateWeights(bytes, before)
                                          : plan::Memory::Allocate(bytes, "the packed weights"));
  const int threads = ThreadsOrDefault(options.threads);
  absl::Status packed;
  std::mutex mutex;  // of the phase that is shown: packing, then what is left of the code
  bool shows_code = false;
  double code_done = 0;
  const auto code_progress = [&](double done) {
    const std::lock_guard<std::mutex> lock(mutex);
    code_done = done;
    if (shows_code) callbacks.Progress("generate code", done);
    return callbacks.CheckCancelled().ok();
  };
  std::thread packer([&] {
    const int64_t of_vision = vision != nullptr ? vision->program.weight_bytes : 0;
    const double total =
        std::max<double>(1, static_cast<double>(of_vision > 0 ? VisionWeightsAt(program) + of_vision
                                                              : program.weight_bytes));
    uint64_t base = 0;
    const auto pack = [&](const program::Program& part) {
      const auto progress = [&](int64_t done) {
        callbacks.Progress("pack weights", static_cast<double>(base + done) / total);
      };
      packed.Update(PackProgram(part, *source.model.weights, compiled->plan, !targets.cpus.empty(),
                                threads, progress, compiled->weights->data() + base));
    };
    pack(program);
    base = VisionWeightsAt(program);
    if (vision != nullptr) pack(vision->program);
    const std::lock_guard<std::mutex> lock(mutex);
    shows_code = true;
    callbacks.Progress("generate code", code_done);
  });
  absl::Status generated =
      GenerateForTargets(program, options, code_progress, &compiled->plan.images);
  if (vision != nullptr && generated.ok()) {
    const absl::StatusOr<Options> own = VisionOptions(options);
    generated = own.ok()
                    ? GenerateForTargets(vision->program, *own, code_progress, &vision->plan.images)
                    : own.status();
  }
  if (generated.ok() && !targets.cards.empty()) {
    generated = GenerateCards(program, targets.cards, code_progress, &compiled->plan);
  }
  packer.join();
  NINFER_RETURN_IF_ERROR(packed);
  return generated;
}

}  // namespace

absl::Status GenerateForTargets(const program::Program& program, const Options& options,
                                const std::function<bool(double done)>& progress,
                                std::vector<plan::CodeImage>* images) {
  codegen::CodegenOptions code;
  code.dump_llvm_dir = options.dump_llvm;
  code.dump_asm_dir = options.dump_asm;
  code.threads = ThreadsOrDefault(options.threads);
  const auto all = static_cast<double>(options.targets.size());
  for (size_t i = 0; i < options.targets.size(); ++i) {
    code.progress = [&, i](double done) { return progress((static_cast<double>(i) + done) / all); };
    if (IsCardTarget(options.targets[i])) continue;
    NINFER_ASSIGN_OR_RETURN(const codegen::Target target, codegen::FindTarget(options.targets[i]));
    // "native" may be another of them by name.
    const bool there = absl::c_any_of(
        *images, [&](const plan::CodeImage& image) { return image.target == target.name; });
    if (there) continue;
    NINFER_ASSIGN_OR_RETURN(const codegen::CodeImage image,
                            codegen::GenerateCode(program, target, code));
    images->push_back(ImageOf(image));
  }
  return DumpCuda(program, options);
}

void LogPasses(absl::Span<const passes::PassRecord> records, absl::string_view prefix,
               plan::Plan* plan) {
  for (const passes::PassRecord& record : records) {
    plan->provenance.passes.push_back({absl::StrCat(prefix, record.name), record.seconds,
                                       record.rewrites, record.ops_before, record.ops_after,
                                       record.bytes_before, record.bytes_after, record.skipped});
  }
}

namespace {

absl::Status ReadTokenizer(const Source& source, const Callbacks& callbacks, plan::Plan* plan) {
  if (source.folder.empty()) return absl::OkStatus();
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer,
                          Tokenizer::FromFolder(source.folder));
  if (tokenizer == nullptr) {
    NINFER_ASSIGN_OR_RETURN(const std::string part, IncompleteTokenizer(source.folder));
    callbacks.Log(absl::StrCat(source.folder, ": no tokenizer", part,
                               ": only ids can go in and out of this plan"));
    return absl::OkStatus();
  }
  const int64_t rows = source.model.info.vocab_size;
  if (tokenizer->vocab_size() > rows) {
    return InvalidArgument(source.folder,
                           ": the tokenizer does not fit the vocabulary: expected ids below ", rows,
                           ", found id ", tokenizer->vocab_size() - 1);
  }
  plan->tokenizer = tokenizer->Serialize();
  return absl::OkStatus();
}

absl::Status SetDefaultPrompt(const Options& options, const Source& source,
                              const Callbacks& callbacks, plan::Plan* plan) {
  const bool asked = !options.default_prompt.empty();
  const std::string& text = asked ? options.default_prompt : source.model.info.default_prompt;
  if (text.empty()) return absl::OkStatus();
  if (plan->tokenizer.empty()) {
    if (!asked) return absl::OkStatus();  // that there is no tokenizer was said
    return InvalidArgument("--default-prompt: expected a model with a tokenizer, found none");
  }
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                          Tokenizer::Deserialize(plan->tokenizer));
  const int64_t tokens = static_cast<int64_t>(tokenizer->Encode(text, true).size());
  const int64_t most = source.model.info.context_length - 1;
  if (tokens >= 1 && tokens <= most) {
    plan->metadata.default_prompt = text;
    return absl::OkStatus();
  }
  const std::string why = absl::StrCat("expected 1 to ", most, " tokens, found ", tokens);
  if (asked) return InvalidArgument("--default-prompt: ", why);
  callbacks.Log(absl::StrCat(JoinPath(source.folder, "generation_config.json"),
                             ": default_prompt left out: ", why));
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadTextFiles(const Options& options, const Source& source, const Callbacks& callbacks,
                           plan::Plan* plan) {
  NINFER_RETURN_IF_ERROR(ReadTokenizer(source, callbacks, plan));
  NINFER_RETURN_IF_ERROR(ReadChat(source, callbacks, plan));
  NINFER_RETURN_IF_ERROR(SetDefaultPrompt(options, source, callbacks, plan));
  if (source.model.info.not_generated_with.empty()) return absl::OkStatus();
  callbacks.Log(absl::StrCat(JoinPath(source.folder, "generation_config.json"), ": ",
                             absl::StrJoin(source.model.info.not_generated_with, ", "),
                             ": not done here, so texts may be other than generate()'s"));
  return absl::OkStatus();
}

void FillMetadata(const Source& source, const passes::PassOptions& options, plan::Plan* plan) {
  const frontend::ModelInfo& info = source.model.info;
  plan::Metadata& out = plan->metadata;
  out.model_name = info.name;
  out.architecture = info.architecture;
  out.vocab_size = info.vocab_size;
  out.context_length = info.context_length;
  out.parameters = info.parameters;
  out.bos_id = info.bos_id;
  out.pad_id = info.pad_id;
  out.eos_ids = info.eos_ids;
  out.do_sample = info.do_sample;
  out.temperature = info.temperature;
  out.top_p = info.top_p;
  out.top_k = info.top_k;
  out.min_p = info.min_p;
  out.repetition_penalty = info.repetition_penalty;
  out.max_new_tokens = info.max_new_tokens;
  out.weights_dtype = options.weights_name();
  out.activations_dtype = options.activations_name();
  out.kv_dtype = options.kv_cache_name();
  out.has_kv_cache = !options.disabled.contains("kv-cache");
  out.random_weights = source.random;
  out.rope_by_length = info.rope_by_length;
  out.rope_crossing = info.rope_crossing;
}

namespace {

// A short text, and the imported graph's logits on it.
struct Reference {
  std::vector<int32_t> ids;
  TextLogits logits;
};

int64_t ReferenceTokens(const frontend::ModelInfo& info, int64_t max_rows) {
  return std::min({kEvidenceTokens, info.context_length, std::max<int64_t>(max_rows, 1)});
}

// Eager runs of the evidence, which end when the user wants no more.
absl::StatusOr<TextLogits> RunUnlessCancelled(const ir::Module& module, const Source& source,
                                              const std::vector<int32_t>& ids,
                                              const Callbacks& callbacks, int threads) {
  const auto check = [&](const ir::Node&, absl::Span<const eager::Tensor>) {
    return callbacks.CheckCancelled();
  };
  const eager::Observer observer(check);
  return RunGraph(module, source.model.weights, Texts{ids}, 0, threads, &observer);
}

absl::StatusOr<Reference> RunReference(const Source& source,
                                       const std::string& serialized_tokenizer, int64_t tokens,
                                       const Callbacks& callbacks, int threads) {
  Reference out;
  out.ids = CalibrationIds(serialized_tokenizer, source.model.info.vocab_size, tokens);
  NINFER_ASSIGN_OR_RETURN(
      out.logits, RunUnlessCancelled(source.model.module, source, out.ids, callbacks, threads));
  NINFER_RETURN_IF_ERROR(CheckReference(out.logits, source));
  return out;
}

// The code against eager of the imported graph and of `lowered`, which it was made from.
absl::Status CompareCode(const Reference& reference, const Source& source,
                         const passes::PassOptions& choice, const ir::Module& lowered,
                         const Callbacks& callbacks, int threads, Compiled* compiled) {
  const ir::Module& imported = source.model.module;
  TextLogits settled = reference.logits;
  if (ChoiceRounds(imported, choice)) {
    NINFER_ASSIGN_OR_RETURN(settled,
                            RunUnlessCancelled(lowered, source, reference.ids, callbacks, threads));
  }
  const LogitsError rounding =
      ErrorOf(settled.values.data(), reference.logits.values.data(),
              static_cast<int64_t>(reference.ids.size()), reference.logits.vocab);
  return GatherEvidence(reference.logits, settled, reference.ids,
                        CodeBound(imported, choice, rounding), threads, compiled);
}

}  // namespace

absl::StatusOr<Compiled> Compile(const Options& options, const Callbacks& callbacks,
                                 plan::PlanFile* file) {
  NINFER_ASSIGN_OR_RETURN(const Targets targets, FindTargets(options));
  NINFER_RETURN_IF_ERROR(MakeDumpFolders(options));
  callbacks.Progress("import", 0);
  NINFER_ASSIGN_OR_RETURN(Source source, OpenSource(options, callbacks));
  if (source.model.vision.has_value() && !targets.cards.empty()) {
    return InvalidArgument("--target: expected CPUs for a model that sees, found cuda");
  }
  std::string explanation;
  NINFER_ASSIGN_OR_RETURN(passes::PassOptions pass_options,
                          PassOptionsFor(options, source, &explanation));
  callbacks.Log(explanation);
  Compiled compiled;
  plan::Plan& plan = compiled.plan;
  NINFER_RETURN_IF_ERROR(ReadTextFiles(options, source, callbacks, &plan));
  passes::PassOptions vision_options;
  if (source.model.vision.has_value()) {
    vision_options = TakeVisionOptions(source.model, &pass_options);
  }
  if (!options.error_budget.empty()) {
    NINFER_RETURN_IF_ERROR(SpendErrorBudget(options, source, callbacks, &pass_options));
  }
  FillMetadata(source, pass_options, &plan);
  if (!options.calibrate.empty()) {
    NINFER_RETURN_IF_ERROR(
        CalibrateAsAsked(options, plan.tokenizer, callbacks, &source, &pass_options));
  }
  plan.imported_graph_text = ir::Print(source.model.module);
  const int threads = ThreadsOrDefault(options.threads);
  const bool any_code = options.stop_after.empty();
  const int64_t reference_tokens = ReferenceTokens(source.model.info, pass_options.max_rows);
  if (any_code || options.verify_each) {
    NINFER_RETURN_IF_ERROR(CheckReferenceFits(source, reference_tokens));
  }
  const auto run_reference = [&]() -> absl::StatusOr<Reference> {
    callbacks.Progress("reference", 0);
    return RunReference(source, plan.tokenizer, reference_tokens, callbacks, threads);
  };
  // Where nobody waits for the code, a model that eager refuses is not packed for nothing.
  const bool code_first = callbacks.linked && !options.verify_each;
  Reference reference;
  if (!code_first && (any_code || options.verify_each)) {
    NINFER_ASSIGN_OR_RETURN(reference, run_reference());
  }
  if (options.verify_each) {
    const Texts texts =
        VerifyTexts(plan.tokenizer, source.model.info.vocab_size, source.model.info.context_length);
    NINFER_RETURN_IF_ERROR(LendComparisons(source, texts, threads, &pass_options));
  }
  pass_options.print = callbacks.print;
  callbacks.Progress("passes", 0);
  absl::StatusOr<passes::PipelineResult> passed =
      passes::RunPipeline(source.model.module.Clone(), pass_options);
  if (!passed.ok() && !options.from_ir.empty()) return Annotate(passed.status(), options.from_ir);
  NINFER_ASSIGN_OR_RETURN(passes::PipelineResult result, std::move(passed));
  LogPasses(result.records, "", &plan);
  compiled.pass_table = passes::PassTable(result.records);
  if (result.lowered && result.program.arena_bytes + result.program.replica_bytes > 0) {
    compiled.pass_table += passes::BuffersLine(result.program);
  }
  plan.final_graph_text = ir::Print(result.module);
  if (result.lowered) plan.program_text = program::Print(result.program);
  absl::optional<LoweredVision> vision;
  if (source.model.vision.has_value()) {
    NINFER_ASSIGN_OR_RETURN(vision, LowerVision(options, source, vision_options, callbacks));
    compiled.pass_table += vision->pass_table;
    LogPasses(vision->records, "vision: ", &plan);
  }
  if (!any_code) return compiled;
  NINFER_RETURN_IF_ERROR(callbacks.CheckCancelled());
  FillTables(result.program, "step", &plan);
  if (!targets.cards.empty()) PlaceCards(result.program, targets.cpus.empty(), &plan);
  if (vision.has_value()) PlaceVisionWeights(result.program, &plan, &vision->plan);
  plan.provenance.compiler_version = kVersion;
  plan.provenance.options = options.text;
  plan.provenance.source = source.folder.empty() ? options.random_weights : source.folder;
  NINFER_RETURN_IF_ERROR(PackAndGenerate(result.program, vision.has_value() ? &*vision : nullptr,
                                         source, options, targets, callbacks, file, &compiled));
  if (plan.cards.has_value() && !targets.cpus.empty()) {
    callbacks.Log(absl::StrCat("weights: ", result.program.weight_bytes, " bytes for CPUs and ",
                               plan.cards->weight_bytes, " for cards"));
  }
  plan.vision = VisionOf(source.model.info);
  if (vision.has_value()) {
    plan.vision->function = std::make_shared<const plan::Plan>(std::move(vision->plan));
  }
  NINFER_RETURN_IF_ERROR(callbacks.CheckCancelled());
  if (code_first) {
    callbacks.linked(compiled);
    NINFER_ASSIGN_OR_RETURN(reference, run_reference());
  }
  callbacks.Progress("evidence", 0);
  NINFER_RETURN_IF_ERROR(
      CompareCode(reference, source, pass_options, result.module, callbacks, threads, &compiled));
  callbacks.Progress("evidence", 1);
  callbacks.Log(EvidenceLine(plan.evidence));
  if (vision.has_value()) {
    NINFER_RETURN_IF_ERROR(
        GatherVisionEvidence(source, vision_options, vision->graph, callbacks, threads, &compiled));
    callbacks.Log(VisionEvidenceLine(plan.vision->function->evidence));
  }
  if (!options.quality.empty()) {
    NINFER_RETURN_IF_ERROR(MeasureQuality(options, source, pass_options, callbacks, &compiled));
  }
  return compiled;
}

absl::Status GenerateImages(const Options& options, const Callbacks& callbacks, plan::Plan* plan) {
  for (const std::string& target : options.targets) {
    if (!IsCardTarget(target)) continue;
    return InvalidArgument("--target: expected a CPU, whose weights the plan has, found ", target);
  }
  NINFER_RETURN_IF_ERROR(MakeDumpFolders(options));
  NINFER_ASSIGN_OR_RETURN(const program::Program program,
                          program::Parse(plan->program_text, "plan: kernel program"));
  // Another version may have divided work otherwise: its code and its barriers belong together.
  absl::Status fits = program::Verify(program);
  if (fits.ok()) fits = program::CheckOrder(program);
  if (fits.ok()) fits = program::CheckBuffers(program);
  NINFER_RETURN_IF_ERROR(
      Annotate(fits, "plan: kernel program (another version's? compile the model anew)"));
  if (program.kernels.size() != plan->kernels.size()) {
    return InvalidArgument("plan: kernel program: expected ", plan->kernels.size(),
                           " kernels, found ", program.kernels.size());
  }
  for (size_t i = 0; i < program.kernels.size(); ++i) {  // of this version's code
    plan->kernels[i].scratch_bytes = program::ScratchBytes(program.kernels[i], program.symbols);
  }
  callbacks.Progress("generate code", 0);
  plan->images.clear();
  const auto progress = [&callbacks](double done) {
    callbacks.Progress("generate code", done);
    return callbacks.CheckCancelled().ok();
  };
  NINFER_RETURN_IF_ERROR(GenerateForTargets(program, options, progress, &plan->images));
  if (!plan->vision.has_value() || plan->vision->function == nullptr) return absl::OkStatus();
  auto function = std::make_shared<plan::Plan>(*plan->vision->function);
  NINFER_ASSIGN_OR_RETURN(const Options own, VisionOptions(options));
  NINFER_RETURN_IF_ERROR(GenerateImages(own, callbacks, function.get()));
  plan->vision->function = std::move(function);
  return absl::OkStatus();
}

}  // namespace ninfer::compiler
