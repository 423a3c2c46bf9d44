// A compiler library for tests: the C interface over the toy plan, with answers that the "model"
// option chooses. Built as libninfer-fake-compiler.so; with FAKE_INTERFACE it claims another
// version.
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "compiler/ninfer_compiler.h"
#include "plan/reader.h"
#include "plan/writer.h"
#include "tests/fake_executor.h"
#include "tests/runtime_example.h"

#ifndef FAKE_INTERFACE
#define FAKE_INTERFACE NINFER_COMPILER_INTERFACE
#endif

struct ninfer_plan {
  std::string message, sections;
};
struct ninfer_eager {
  ninfer::runtime::FakeExecutor executor;
  std::string message;
};

namespace {

std::string ModelOf(const ninfer_request* request) {
  const auto options = nlohmann::json::parse(request->options, nullptr, false);
  return options.value("model", "");
}

// True when the answer is a failure.
bool Refuse(const ninfer_request* request, ninfer_result* result) {
  result->plan = new ninfer_plan;
  const std::string model = ModelOf(request);
  if (request->callbacks.log != nullptr)
    request->callbacks.log(request->callbacks.context, "at work");
  if (request->callbacks.progress != nullptr) {
    request->callbacks.progress(request->callbacks.context, "half", 0.5);
  }
  const bool cancelled = request->callbacks.cancelled != nullptr &&
                         request->callbacks.cancelled(request->callbacks.context) != 0;
  if (model == "bad" || cancelled) {
    result->plan->message = cancelled ? "cancelled" : "bad/config.json: expected {, found [";
    result->status = cancelled ? NINFER_CANCELLED : NINFER_BAD_INPUT;
  }
  result->message = result->plan->message.c_str();
  return result->status != NINFER_OK;
}

void SetSections(std::string sections, ninfer_result* result) {
  result->plan->sections = std::move(sections);
  result->sections = reinterpret_cast<const uint8_t*>(result->plan->sections.data());
  result->sections_size = result->plan->sections.size();
}

}  // namespace

extern "C" {

uint32_t ninfer_compiler_interface(void) { return FAKE_INTERFACE; }
const char* ninfer_compiler_version(void) { return "fake"; }

void ninfer_compile(const ninfer_request* request, ninfer_result* result) {
  if (Refuse(request, result)) return;
  const auto toy = ninfer::runtime::ToyPlan();
  SetSections(ModelOf(request) == "garbage" ? "garbage" : SerializeSections(toy->plan), result);
  result->weights = toy->weights;
  result->weights_size = toy->plan.weight_bytes;
  if (request->callbacks.linked != nullptr && ModelOf(request) != "garbage") {
    request->callbacks.linked(request->callbacks.context, result);
  }
  // Evidence of a "slow" model takes until nobody wants it, or far too long.
  bool cancelled = false;
  for (int i = 0; ModelOf(request) == "slow" && !cancelled && i < 2000; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    cancelled = request->callbacks.cancelled(request->callbacks.context) != 0;
  }
  if (cancelled) {
    result->status = NINFER_CANCELLED;
  } else if (ModelOf(request) == "wrong") {
    result->plan->message = "the plan does not agree with its graph";
    result->message = result->plan->message.c_str();
    result->status = NINFER_BAD_INPUT;
  } else if (request->callbacks.log != nullptr) {
    request->callbacks.log(request->callbacks.context, "evidence");
  }
}

void ninfer_fetch_model(const ninfer_request* request, ninfer_result* result) {
  if (Refuse(request, result)) return;
  result->plan->sections = "fetched/" + ModelOf(request);
  result->folder = result->plan->sections.c_str();
}

void ninfer_generate_code(const ninfer_request* request, ninfer_result* result) {
  if (Refuse(request, result)) return;
  const std::string sections(reinterpret_cast<const char*>(request->sections),
                             request->sections_size);
  auto plan = ninfer::plan::ParseSections(sections, "request");
  if (plan.ok()) plan->images = ninfer::runtime::ToyPlan()->plan.images;
  SetSections(SerializeSections(*plan), result);
}

void ninfer_release_result(ninfer_result* result) { delete result->plan; }

void ninfer_open_eager(const ninfer_request* request, ninfer_result* result) {
  if (Refuse(request, result)) return;
  result->eager = new ninfer_eager;
  ninfer::plan::Plan plan;
  plan.metadata = result->eager->executor.metadata();
  SetSections(SerializeSections(plan), result);
}
void ninfer_release_eager(ninfer_eager* eager) { delete eager; }

void ninfer_eager_limits(const ninfer_eager* eager, ninfer_limits* limits) {
  const ninfer::runtime::ExecutorLimits& l = eager->executor.limits();
  static ninfer_kv_group group;
  group = {l.kv_groups[0].window, l.kv_groups[0].total_pages, l.kv_groups[0].pages_held};
  *limits = {l.max_tokens,      l.max_sequences,  l.max_rows, l.pages_per_sequence,
             l.page_positions,  l.context_length, &group,     1,
             l.picture_columns, l.has_kv_cache,   0};
}

int32_t ninfer_eager_step(ninfer_eager* eager, const ninfer_step* step, float* logits,
                          const char** message) {
  const size_t tokens = step->token_count, sequences = step->sequence_count;
  const absl::Status status =
      eager->executor.Step({{step->tokens, tokens},
                            {step->positions, tokens},
                            {step->seq_bounds, sequences + 1},
                            {step->cached_lens, sequences},
                            {step->page_table, sequences * step->pages_per_sequence},
                            {step->rows, static_cast<size_t>(step->row_count)},
                            {step->rope_len, tokens}},
                           logits);
  eager->message = std::string(status.message());
  *message = eager->message.c_str();
  return status.ok() ? NINFER_OK : NINFER_BAD_INPUT;
}
int32_t ninfer_eager_see(ninfer_eager*, const ninfer_frame*, float*, const char** message) {
  *message = "sees nothing";
  return NINFER_BAD_INPUT;
}

void ninfer_eager_clear_page(ninfer_eager* eager, int32_t group, int32_t page) {
  eager->executor.ClearPage(group, page);
}
int64_t ninfer_eager_cache_bytes(const ninfer_eager*, int64_t positions) { return 3 * positions; }
int64_t ninfer_eager_bytes_per_token(const ninfer_eager* eager, int64_t cached) {
  return eager->executor.BytesPerToken(cached);
}
int64_t ninfer_eager_scratch_bytes(const ninfer_eager*) { return 77; }
int32_t ninfer_eager_write_dump(ninfer_eager* eager, const char* path, const char** message) {
  eager->message = std::string(path) + ": nothing to write";
  *message = eager->message.c_str();
  return NINFER_BAD_INPUT;
}

}  // extern "C"
