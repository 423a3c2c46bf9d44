// ninfer_compiler.h over the C++ of this room. Every call ends in a status and one line; nothing is
// thrown across. Tested by tests/compiler_test.cc.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/machine.h"
#include "base/status.h"
#include "base/version.h"
#include "compiler/compile.h"
#include "compiler/eager_executor.h"
#include "compiler/ninfer_compiler.h"
#include "plan/reader.h"
#include "plan/writer.h"

using ninfer::compiler::Callbacks;
using ninfer::compiler::Caller;
using ninfer::compiler::EagerExecutor;
using ninfer::compiler::Options;

// What a result points to, whatever the call.
struct ninfer_plan {
  std::string message, sections, folder;
  ninfer::compiler::Compiled compiled;
};

struct ninfer_eager {
  std::unique_ptr<EagerExecutor> executor;
  std::string message;
  std::vector<ninfer_kv_group> kv_groups;
};

namespace {

Callbacks CallbacksOf(const ninfer_callbacks& from) {
  Callbacks out;
  if (from.log != nullptr) {
    out.log = [from](const std::string& line) { from.log(from.context, line.c_str()); };
  }
  if (from.print != nullptr) {
    out.print = [from](const std::string& text) { from.print(from.context, text.c_str()); };
  }
  if (from.progress != nullptr) {
    out.progress = [from](const char* phase, double done) {
      from.progress(from.context, phase, done);
    };
  }
  if (from.cancelled != nullptr) {
    out.cancelled = [from] { return from.cancelled(from.context) != 0; };
  }
  return out;
}

absl::StatusOr<Options> OptionsOf(const ninfer_request* request, Caller caller) {
  if (request->interface != NINFER_COMPILER_INTERFACE) {
    return ninfer::InvalidArgument("compiler library: expected interface ",
                                   NINFER_COMPILER_INTERFACE, ", found ", request->interface);
  }
  return ninfer::compiler::ParseOptions(request->options == nullptr ? "{}" : request->options,
                                        caller);
}

// One line, whatever stands in the names that it quotes.
std::string MessageOf(const absl::Status& status) {
  std::string message(status.message());
  std::replace(message.begin(), message.end(), '\n', ' ');
  return message;
}

void Finish(const absl::Status& status, ninfer_result* result) {
  result->plan->message = MessageOf(status);
  result->message = result->plan->message.c_str();
  result->sections = reinterpret_cast<const uint8_t*>(result->plan->sections.data());
  result->sections_size = result->plan->sections.size();
  result->status = status.ok()                                     ? NINFER_OK
                   : status.code() == absl::StatusCode::kCancelled ? NINFER_CANCELLED
                                                                   : NINFER_BAD_INPUT;
}

void SetPlan(const ninfer::compiler::Compiled& compiled, ninfer_result* result) {
  result->plan->sections = ninfer::plan::SerializeSections(compiled.plan);
  if (compiled.weights == nullptr) return;
  result->weights = compiled.weights->data();
  result->weights_size = compiled.plan.weight_bytes;
}

absl::Status RunCompile(const ninfer_request* request, ninfer_result* result) {
  NINFER_ASSIGN_OR_RETURN(const Options options, OptionsOf(request, Caller::kCompile));
  Callbacks callbacks = CallbacksOf(request->callbacks);
  if (request->callbacks.linked != nullptr) {
    callbacks.linked = [&](const ninfer::compiler::Compiled& compiled) {
      // They are read behind this call even if it fails.
      result->plan->compiled.weights = compiled.weights;
      ninfer_plan plan;
      ninfer_result linked = {};
      linked.plan = &plan;
      SetPlan(compiled, &linked);
      Finish(absl::OkStatus(), &linked);
      request->callbacks.linked(request->callbacks.context, &linked);
    };
  }
  NINFER_ASSIGN_OR_RETURN(result->plan->compiled, ninfer::compiler::Compile(options, callbacks));
  ninfer::compiler::Compiled& compiled = result->plan->compiled;
  if (options.verbose || options.verify_each) callbacks.Log(compiled.pass_table);
  SetPlan(compiled, result);
  return absl::OkStatus();
}

absl::Status RunGenerate(const ninfer_request* request, ninfer_result* result) {
  NINFER_ASSIGN_OR_RETURN(const Options options, OptionsOf(request, Caller::kGenerateCode));
  const absl::string_view sections(reinterpret_cast<const char*>(request->sections),
                                   request->sections_size);
  NINFER_ASSIGN_OR_RETURN(ninfer::plan::Plan plan, ninfer::plan::ParseSections(sections, "plan"));
  NINFER_RETURN_IF_ERROR(
      ninfer::compiler::GenerateImages(options, CallbacksOf(request->callbacks), &plan));
  result->plan->sections = ninfer::plan::SerializeSections(plan);
  return absl::OkStatus();
}

absl::Status RunFetch(const ninfer_request* request, ninfer_result* result) {
  NINFER_ASSIGN_OR_RETURN(const Options options, OptionsOf(request, Caller::kCompile));
  NINFER_ASSIGN_OR_RETURN(
      result->plan->folder,
      ninfer::compiler::ResolveModel(options.model, CallbacksOf(request->callbacks)));
  result->folder = result->plan->folder.c_str();
  return absl::OkStatus();
}

absl::Status RunOpenEager(const ninfer_request* request, ninfer_result* result) {
  NINFER_ASSIGN_OR_RETURN(const Options options, OptionsOf(request, Caller::kEager));
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<EagerExecutor> executor,
                          EagerExecutor::Create(options, CallbacksOf(request->callbacks)));
  result->plan->sections = ninfer::plan::SerializeSections(executor->plan());
  std::vector<ninfer_kv_group> groups;
  for (const ninfer::runtime::KvGroupLimits& group : executor->limits().kv_groups) {
    groups.push_back({group.window, group.total_pages, group.pages_held});
  }
  result->eager = new ninfer_eager{std::move(executor), "", std::move(groups)};
  return absl::OkStatus();
}

int32_t Report(const absl::Status& status, ninfer_eager* eager, const char** message) {
  eager->message = MessageOf(status);
  if (message != nullptr) *message = eager->message.c_str();
  return status.ok() ? NINFER_OK : NINFER_BAD_INPUT;
}

template <typename T>
absl::Span<const T> SpanOf(const T* data, int64_t count) {
  return data == nullptr ? absl::Span<const T>() : absl::Span<const T>(data, count);
}

}  // namespace

extern "C" {

uint32_t ninfer_compiler_interface(void) { return NINFER_COMPILER_INTERFACE; }
const char* ninfer_compiler_version(void) { return ninfer::kVersion; }

void ninfer_compile(const ninfer_request* request, ninfer_result* result) {
  ninfer::EndWhenOutOfMemory();
  result->plan = new ninfer_plan();
  Finish(RunCompile(request, result), result);
}

void ninfer_generate_code(const ninfer_request* request, ninfer_result* result) {
  ninfer::EndWhenOutOfMemory();
  result->plan = new ninfer_plan();
  Finish(RunGenerate(request, result), result);
}

void ninfer_fetch_model(const ninfer_request* request, ninfer_result* result) {
  ninfer::EndWhenOutOfMemory();
  result->plan = new ninfer_plan();
  Finish(RunFetch(request, result), result);
}

void ninfer_open_eager(const ninfer_request* request, ninfer_result* result) {
  ninfer::EndWhenOutOfMemory();
  result->plan = new ninfer_plan();
  Finish(RunOpenEager(request, result), result);
}

void ninfer_release_result(ninfer_result* result) {
  delete result->plan;
  std::memset(result, 0, sizeof(*result));
}

void ninfer_release_eager(ninfer_eager* eager) { delete eager; }

void ninfer_eager_limits(const ninfer_eager* eager, ninfer_limits* limits) {
  const ninfer::runtime::ExecutorLimits& from = eager->executor->limits();
  *limits = {from.max_tokens,
             from.max_sequences,
             from.max_rows,
             from.pages_per_sequence,
             from.page_positions,
             from.context_length,
             eager->kv_groups.data(),
             static_cast<int64_t>(eager->kv_groups.size()),
             from.picture_columns,
             from.has_kv_cache,
             0};
}

int32_t ninfer_eager_step(ninfer_eager* eager, const ninfer_step* step, float* logits,
                          const char** message) {
  ninfer::runtime::StepInput input;
  input.tokens = SpanOf(step->tokens, step->token_count);
  input.positions = SpanOf(step->positions, step->token_count);
  input.rope_len = SpanOf(step->rope_len, step->token_count);
  input.seq_bounds = SpanOf(step->seq_bounds, step->sequence_count + 1);
  input.cached_lens = SpanOf(step->cached_lens, step->sequence_count);
  input.page_table = SpanOf(step->page_table,
                            step->kv_group_count * step->sequence_count * step->pages_per_sequence);
  input.rows = SpanOf(step->rows, step->row_count);
  input.is_picture = SpanOf(step->is_picture, step->token_count);
  input.pictures =
      SpanOf(step->pictures, step->token_count * eager->executor->limits().picture_columns);
  return Report(eager->executor->Step(input, logits), eager, message);
}

int32_t ninfer_eager_see(ninfer_eager* eager, const ninfer_frame* frame, float* rows,
                         const char** message) {
  ninfer::runtime::VisionInput input;
  input.pixels = SpanOf(frame->pixels, frame->pixel_count);
  input.patch_ids = SpanOf(frame->patch_ids, frame->patch_count);
  input.visible = SpanOf(frame->visible, frame->patch_count);
  input.shuffle = SpanOf(frame->shuffle, frame->patch_count);
  return Report(eager->executor->See(input, rows), eager, message);
}

void ninfer_eager_clear_page(ninfer_eager* eager, int32_t group, int32_t page) {
  eager->executor->ClearPage(group, page);
}

int64_t ninfer_eager_bytes_per_token(const ninfer_eager* eager, int64_t cached) {
  return eager->executor->BytesPerToken(cached);
}

int64_t ninfer_eager_cache_bytes(const ninfer_eager* eager, int64_t positions) {
  return eager->executor->CacheBytes(positions);
}

int64_t ninfer_eager_scratch_bytes(const ninfer_eager* eager) {
  return eager->executor->scratch_bytes();
}

int32_t ninfer_eager_write_dump(ninfer_eager* eager, const char* path, const char** message) {
  return Report(eager->executor->WriteDump(path), eager, message);
}

}  // extern "C"
