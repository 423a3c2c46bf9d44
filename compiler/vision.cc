// See vision.h.
// Tested by tests/vision_test.cc.
#include "compiler/vision.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/machine.h"
#include "base/status.h"
#include "compiler/run_plan.h"
#include "eager/program_interpreter.h"
#include "ir/text.h"
#include "passes/passes.h"
#include "passes/weight_types.h"
#include "plan/memory.h"
#include "program/text.h"
#include "runtime/cpu_executor.h"

namespace ninfer::compiler {
namespace {

// In [-1, 1), the same on every machine.
float RandomNumber(uint64_t i) {
  return static_cast<float>(Hash64(&i, sizeof(i)) >> 40) / static_cast<float>(1 << 23) - 1;
}

absl::Status LendVisionComparisons(const Source& source, int threads,
                                   passes::PassOptions* options) {
  const ir::Module& imported = *source.model.vision;
  const std::shared_ptr<const ir::WeightSource> weights = source.model.weights;
  const eager::StepArguments frame = ComparisonFrame(source.model.info.vision);
  NINFER_ASSIGN_OR_RETURN(std::vector<float> reference,
                          SeeWithGraph(imported, weights, frame, threads));
  ComparedRows rows;
  rows.columns = source.model.info.vision.columns;
  rows.plural = "rows";
  rows.place = [](int64_t row, int64_t column) {
    return absl::StrCat("row ", row, " of a picture, column ", column);
  };
  rows.of_graph = [=](const ir::Module& module) {
    return SeeWithGraph(module, weights, frame, threads);
  };
  rows.of_program = [=](const program::Program& program) {
    return SeeWithProgram(program, *weights, frame, threads);
  };
  LendComparisons(imported, std::move(reference), std::move(rows), options);
  return absl::OkStatus();
}

// By rule: whether it chooses the type of some weight that precision stores.
std::vector<bool> RulesThatHold(const ir::Module& module, const passes::PassOptions& options) {
  std::vector<bool> hold(options.weight_rules.size());
  for (const auto& node : module.entry()->nodes()) {
    const bool reads = node->op() == ir::Op::kLinear || node->op() == ir::Op::kGroupedLinear ||
                       node->op() == ir::Op::kEmbedding;
    if (!reads || !ir::IsConstant(node->operand(1))) continue;
    const int rule = passes::WeightTypeOf(options, node->operand(1)).rule;
    if (rule >= 0) hold[rule] = true;
  }
  return hold;
}

// A function's plan is a plan: it says what its rows are where another says what its logits are.
void FillVisionMetadata(const Source& source, const passes::PassOptions& choice,
                        plan::Metadata* out) {
  const frontend::ModelInfo& info = source.model.info;
  out->model_name = info.name;
  out->architecture = absl::StrCat(info.architecture, ".vision");
  out->vocab_size = info.vision.columns;
  out->context_length = info.vision.grid * info.vision.grid;
  out->weights_dtype = choice.weights_name();
  out->activations_dtype = choice.activations_name();
  out->kv_dtype = choice.activations_name();
  out->has_kv_cache = false;
  out->random_weights = source.random;
}

}  // namespace

absl::optional<plan::Vision> VisionOf(const frontend::ModelInfo& info) {
  const frontend::VisionInfo& from = info.vision;
  if (from.patch_size == 0) return absl::nullopt;
  plan::Vision out;
  out.patch_size = from.patch_size;
  out.channels = from.channels;
  out.grid = from.grid;
  out.scale_factor = from.scale_factor;
  out.columns = from.columns;
  out.image_token_id = from.image_token_id;
  out.has_processor = from.has_processor;
  out.do_resize = from.do_resize;
  out.do_image_splitting = from.do_image_splitting;
  out.do_rescale = from.do_rescale;
  out.do_normalize = from.do_normalize;
  out.longest_edge = from.longest_edge;
  out.max_image_size = from.max_image_size;
  out.rescale_factor = from.rescale_factor;
  out.image_mean.assign(from.image_mean.begin(), from.image_mean.end());
  out.image_std.assign(from.image_std.begin(), from.image_std.end());
  out.image_token = from.image_token;
  out.fake_image_token = from.fake_image_token;
  out.global_image_token = from.global_image_token;
  return out;
}

eager::StepArguments VisionArguments(const runtime::VisionInput& input) {
  eager::StepArguments arguments;
  arguments.pixels.assign(input.pixels.begin(), input.pixels.end());
  arguments.patch_ids.assign(input.patch_ids.begin(), input.patch_ids.end());
  arguments.visible.assign(input.visible.begin(), input.visible.end());
  arguments.shuffle.assign(input.shuffle.begin(), input.shuffle.end());
  return arguments;
}

absl::StatusOr<std::vector<float>> SeeWithGraph(const ir::Module& module,
                                                std::shared_ptr<const ir::WeightSource> weights,
                                                const eager::StepArguments& frame, int threads,
                                                const eager::Observer* observer) {
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<eager::Interpreter> interpreter,
                          eager::Interpreter::Create(&module, std::move(weights), threads,
                                                     eager::WeightCopies::kStreamed));
  NINFER_ASSIGN_OR_RETURN(const std::vector<eager::Tensor> results,
                          interpreter->Run(frame, nullptr, observer));
  return *results[0].floats;
}

absl::StatusOr<std::vector<float>> SeeWithProgram(const program::Program& program,
                                                  const ir::WeightSource& weights,
                                                  const eager::StepArguments& frame, int threads) {
  NINFER_ASSIGN_OR_RETURN(const PackedProgram packed,
                          PackedProgram::Create(program, weights, threads, /*pages=*/0));
  NINFER_ASSIGN_OR_RETURN(const eager::Tensor rows, packed.interpreter->Run(frame));
  return *rows.floats;
}

eager::StepArguments ComparisonFrame(const frontend::VisionInfo& vision) {
  constexpr int64_t kSide = 12;  // patches, so that more than a page of them is compared
  const int64_t scale = vision.scale_factor;
  const int64_t squares = std::max<int64_t>(1, std::min(kSide, vision.grid) / scale);
  const int64_t patches = squares * squares * scale * scale;
  eager::StepArguments frame;
  frame.pixels.resize(patches * vision.channels * vision.patch_size * vision.patch_size);
  for (size_t i = 0; i < frame.pixels.size(); ++i) frame.pixels[i] = RandomNumber(i);
  const int64_t seen = std::max<int64_t>(1, patches - scale);
  for (int64_t i = 0; i < patches; ++i) {
    const int64_t id = i < seen ? i % (vision.grid * vision.grid) : 0;
    frame.patch_ids.push_back(static_cast<int32_t>(id));
    frame.visible.push_back(static_cast<int32_t>(seen - 1));
    frame.shuffle.push_back(static_cast<int32_t>(patches - 1 - i));
  }
  return frame;
}

passes::PassOptions TakeVisionOptions(const frontend::ImportedModel& model,
                                      passes::PassOptions* step) {
  passes::PassOptions own = *step;
  const std::vector<bool> in_vision = RulesThatHold(*model.vision, *step);
  const std::vector<bool> in_step = RulesThatHold(model.module, *step);
  own.weight_rules.clear();
  std::vector<passes::WeightRule> left;
  for (size_t i = 0; i < in_step.size(); ++i) {
    if (in_vision[i]) own.weight_rules.push_back(step->weight_rules[i]);
    if (in_step[i] || !in_vision[i]) left.push_back(step->weight_rules[i]);
  }
  step->weight_rules = std::move(left);
  return own;
}

absl::StatusOr<LoweredVision> LowerVision(const Options& options, const Source& source,
                                          const passes::PassOptions& choice,
                                          const Callbacks& callbacks) {
  passes::PassOptions own = choice;
  own.print = callbacks.print;
  if (!own.dump_dir.empty()) own.dump_dir = JoinPath(own.dump_dir, "vision");
  if (options.verify_each) {
    NINFER_RETURN_IF_ERROR(LendVisionComparisons(source, ThreadsOrDefault(options.threads), &own));
  }
  LoweredVision out;
  out.plan.imported_graph_text = ir::Print(*source.model.vision);
  NINFER_ASSIGN_OR_RETURN(passes::PipelineResult result,
                          passes::RunPipeline(source.model.vision->Clone(), own));
  out.records = std::move(result.records);
  out.pass_table = absl::StrCat("vision:\n", passes::PassTable(out.records));
  out.plan.final_graph_text = ir::Print(result.module);
  if (!result.lowered || !options.stop_after.empty()) return out;
  FillVisionMetadata(source, choice, &out.plan.metadata);
  out.plan.program_text = program::Print(result.program);
  FillTables(result.program, "vision", &out.plan);
  out.program = std::move(result.program);
  out.graph = std::move(result.module);
  return out;
}

std::string VisionEvidenceLine(const plan::Evidence& evidence) {
  if (evidence.logits_digest == 0) return absl::StrCat("vision: ", evidence.compared);
  const bool rounded = evidence.code_error != evidence.max_error;
  return absl::StrCat(
      "vision: max error ", evidence.max_error, " of the largest number",
      rounded ? absl::StrCat(", ", evidence.code_error, " against eager with the same types") : "",
      " (bound ", evidence.bound, "): ", evidence.compared);
}

absl::Status GatherVisionEvidence(const Source& source, const passes::PassOptions& choice,
                                  const ir::Module& settled, const Callbacks& callbacks,
                                  int threads, Compiled* compiled) {
  plan::Plan function = *compiled->plan.vision->function;
  plan::Evidence& evidence = function.evidence;
  const plan::CodeImage* image = runtime::ChooseImage(function, CpuFeatures());
  if (image == nullptr) {
    evidence.compared = absl::StrCat("none, for want of a CPU that runs the code: ",
                                     runtime::MissingFeatures(function, CpuFeatures()));
  } else {
    const eager::StepArguments frame = ComparisonFrame(source.model.info.vision);
    const auto check = [&](const ir::Node&, absl::Span<const eager::Tensor>) {
      return callbacks.CheckCancelled();
    };
    const eager::Observer observer(check);
    const auto see = [&](const ir::Module& graph) {
      return SeeWithGraph(graph, source.model.weights, frame, threads, &observer);
    };
    NINFER_ASSIGN_OR_RETURN(const std::vector<float> reference, see(*source.model.vision));
    std::vector<float> own = reference;  // of the graph that the code was made from
    if (ChoiceRounds(*source.model.vision, choice)) {
      NINFER_ASSIGN_OR_RETURN(own, see(settled));
    }
    NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<runtime::Executor> executor,
                            ExecutorOf(*compiled, FindRunner(compiled->plan), threads));
    std::vector<float> found(reference.size());
    NINFER_RETURN_IF_ERROR(
        executor->See({frame.pixels, frame.patch_ids, frame.visible, frame.shuffle}, found.data()));
    const int64_t columns = source.model.info.vision.columns;
    const int64_t rows = static_cast<int64_t>(found.size()) / columns;
    const LogitsError rounding = ErrorOf(own.data(), reference.data(), rows, columns);
    const LogitsError bound = CodeBound(*source.model.vision, choice, rounding);
    const LogitsError error = ErrorOf(found.data(), own.data(), rows, columns);
    evidence.bound = bound.worst;
    evidence.code_error = error.worst;
    evidence.max_error = ErrorOf(found.data(), reference.data(), rows, columns).worst;
    evidence.compared = absl::StrCat("imported graph, eager in f32, against the code for ",
                                     image->target, ", on a frame of random numbers");
    evidence.logits_digest = Hash64(found.data(), found.size() * sizeof(float));
    if (!error.Within(bound)) {
      return absl::InternalError(absl::StrFormat(
          "the plan's @vision does not agree with the graph that it was made from: expected an "
          "error of at most %.1e of the largest number, and of %.1e in half of the rows, found "
          "%.1e and %.1e; --verify-each names the pass",
          bound.worst, bound.typical, error.worst, error.typical));
    }
  }
  compiled->plan.vision->function = std::make_shared<const plan::Plan>(std::move(function));
  return absl::OkStatus();
}

}  // namespace ninfer::compiler
