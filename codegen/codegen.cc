// All kernels of a program, compiled on several threads and linked in the program's order, so that
// the image does not depend on the number of threads. Tested by tests/codegen_test.cc.
#include "codegen/codegen.h"

#include <atomic>
#include <thread>

#include "base/status.h"
#include "codegen/compile.h"
#include "program/text.h"

namespace ninfer::codegen {

absl::StatusOr<CodeImage> GenerateCode(const program::Program& program, const Target& target,
                                       const CodegenOptions& options) {
  const size_t count = program.kernels.size();
  std::vector<int> lines(count, 0);
  if (options.lines) lines = program::KernelLines(program::Print(program));
  std::vector<absl::StatusOr<KernelObject>> objects(count, absl::InternalError("not compiled"));
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t i = next++; i < count; i = next++) {
      objects[i] = CompileKernel(program, program.kernels[i], target, lines[i], options);
    }
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < options.threads; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
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
