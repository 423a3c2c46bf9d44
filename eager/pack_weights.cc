// Weights in tasks of some rows of one segment, taken by threads as they come; a task evaluates its
// rows (see EvaluateRows) and hands them over, to be packed.
// Tested by tests/program_interpreter_test.cc.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

#include "base/status.h"
#include "eager/constants.h"
#include "eager/program_interpreter.h"
#include "eager/thread_pool.h"

namespace ninfer::eager {
namespace {

constexpr int64_t kTaskElements = 1 << 18;

struct Task {
  const program::PackedWeight* weight;
  int64_t segment, n0, n1;
};

std::vector<Task> MakeTasks(const program::Program& program) {
  std::vector<Task> tasks;
  for (const program::PackedWeight& weight : program.weights) {
    const int64_t panels =
        kTaskElements / (formats::kPanelColumns * std::max<int64_t>(1, weight.shape.k));
    const int64_t step = std::max<int64_t>(1, panels) * formats::kPanelColumns;
    for (int64_t segment = 0; segment < weight.shape.segments; ++segment) {
      for (int64_t n0 = 0; n0 < weight.shape.n; n0 += step) {
        tasks.push_back({&weight, segment, n0, std::min(n0 + step, weight.shape.n)});
      }
    }
  }
  return tasks;
}

absl::Status CheckWeight(const program::Program& program, const program::PackedWeight& weight) {
  const formats::PackedShape& shape = weight.shape;
  const ir::Type& type = weight.source->type();
  const bool placed = weight.offset >= 0 && weight.bytes <= program.weight_bytes &&
                      weight.offset <= program.weight_bytes - weight.bytes;
  if (!placed || weight.bytes != formats::PackedBytes(weight.format, shape)) {
    return InvalidArgument("weight ", weight.name, ": expected ",
                           formats::PackedBytes(weight.format, shape),
                           " bytes inside the weights section of ", program.weight_bytes,
                           ", found ", weight.bytes, " at ", weight.offset);
  }
  const bool row = type.rank() == 1 && type.shape[0] == ir::Dim::Static(shape.k) && shape.n == 1;
  const bool matrix = type.rank() == 2 &&
                      type.shape[0] == ir::Dim::Static(shape.n * shape.segments) &&
                      type.shape[1] == ir::Dim::Static(shape.k);
  const bool experts = type.rank() == 3 && type.shape[0] == ir::Dim::Static(shape.segments) &&
                       type.shape[1] == ir::Dim::Static(shape.n) &&
                       type.shape[2] == ir::Dim::Static(shape.k);
  if (row || matrix || experts) return absl::OkStatus();
  return InvalidArgument("weight ", weight.name, ": expected [", shape.n * shape.segments, ",",
                         shape.k, "], found ", ir::TypeToString(type, {}));
}

absl::Status RunTask(const program::Program& program, const ir::WeightSource& weights,
                     const Task& task, std::vector<float>& rows, TakeRows take) {
  const program::PackedWeight& weight = *task.weight;
  const formats::PackedShape& shape = weight.shape;
  rows.resize((task.n1 - task.n0) * shape.k);
  const bool vector = weight.source->type().rank() == 1;  // its k elements are rows of one
  const int64_t first = vector ? 0 : task.segment * shape.n + task.n0;
  const int64_t last = vector ? shape.k : task.segment * shape.n + task.n1;
  const absl::Status status =
      EvaluateRows(weight.source, *program.weights_module, weights, first, last, rows.data());
  if (!status.ok()) return Annotate(status, absl::StrCat("weight ", weight.name));
  take(weight, task.segment, task.n0, task.n1, rows.data());
  return absl::OkStatus();
}

}  // namespace

absl::Status PackWeights(const program::Program& program, const ir::WeightSource& weights,
                         int threads, absl::FunctionRef<void(int64_t)> progress, uint8_t* target) {
  return EvaluateWeights(program, weights, threads, progress,
                         [target](const program::PackedWeight& weight, int64_t segment, int64_t n0,
                                  int64_t n1, const float* rows) {
                           formats::PackRows(weight.format, weight.shape, segment, n0, n1, rows,
                                             target + weight.offset);
                         });
}

absl::Status EvaluateWeights(const program::Program& program, const ir::WeightSource& weights,
                             int threads, absl::FunctionRef<void(int64_t)> progress,
                             TakeRows take) {
  for (const program::PackedWeight& weight : program.weights) {
    NINFER_RETURN_IF_ERROR(CheckWeight(program, weight));
  }
  const std::vector<Task> tasks = MakeTasks(program);
  ThreadPool pool(threads);
  std::atomic<size_t> next{0};
  std::atomic<int64_t> done{0};
  std::mutex mutex;
  absl::Status first_error;
  pool.For(pool.threads(), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> rows;
    for (size_t i = next++; i < tasks.size(); i = next++) {
      const Task& task = tasks[i];
      const absl::Status status = RunTask(program, weights, task, rows, take);
      const int64_t share = task.weight->bytes * (task.n1 - task.n0) /
                            (task.weight->shape.n * task.weight->shape.segments);
      const int64_t bytes = done += share;
      if (begin == 0) progress(bytes);  // the caller's thread
      if (status.ok()) continue;
      std::lock_guard<std::mutex> lock(mutex);
      first_error.Update(status);
      next = tasks.size();
    }
  });
  if (first_error.ok()) progress(program.weight_bytes);
  return first_error;
}

}  // namespace ninfer::eager
