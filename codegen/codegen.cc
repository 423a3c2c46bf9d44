// All kernels of a program, compiled on several threads and linked in the program's order, so that
// the image does not depend on the number of threads. Tested by tests/codegen_test.cc.
#include "codegen/codegen.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/status.h"
#include "codegen/compile.h"
#include "program/text.h"

namespace ninfer::codegen {

absl::Status CheckGenerator() { return absl::OkStatus(); }

absl::StatusOr<CodeImage> GenerateCode(const program::Program& program, const Target& target,
                                       const CodegenOptions& options) {
  const size_t count = program.kernels.size();
  std::vector<int> lines(count, 0);
  if (options.lines) lines = program::KernelLines(program::Print(program));
  std::vector<absl::StatusOr<KernelObject>> objects(count, absl::InternalError("not compiled"));
  std::atomic<size_t> next{0}, done{0};
  std::atomic<bool> stopped{false};
  const auto work = [&](bool reports) {
    for (size_t i = next++; i < count && !stopped; i = next++) {
      objects[i] = CompileKernel(program, program.kernels[i], target, lines[i], options);
      const double share = static_cast<double>(++done) / static_cast<double>(count);
      if (reports && options.progress && !options.progress(share)) stopped = true;
    }
  };
  std::vector<std::thread> threads;
  const size_t helpers = std::min<size_t>(std::max(options.threads, 1), count);
  for (size_t i = 1; i < helpers; ++i) threads.emplace_back(work, false);
  work(true);
  for (std::thread& thread : threads) thread.join();
  if (stopped) return absl::CancelledError("cancelled");
  std::vector<KernelObject> compiled;
  for (absl::StatusOr<KernelObject>& object : objects) {
    if (!object.ok()) return object.status();
    compiled.push_back(std::move(*object));
  }
  CodeImage image;
  image.target = target;
  NINFER_RETURN_IF_ERROR(LinkObjects(compiled, &image));
  return image;
}

}  // namespace ninfer::codegen
