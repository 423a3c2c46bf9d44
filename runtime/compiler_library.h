// libninfer-compiler.so, opened when it is needed: a model folder to compile, the eager engine,
// code for another CPU. What crosses is the C interface of compiler/ninfer_compiler.h and nothing
// else. Tested by tests/runtime_compiler_library_test.cc.
#ifndef NINFER_RUNTIME_COMPILER_LIBRARY_H_
#define NINFER_RUNTIME_COMPILER_LIBRARY_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "plan/plan.h"
#include "runtime/executor.h"

namespace ninfer::runtime {

struct CompilerCallbacks {
  std::function<void(absl::string_view line)> log;
  std::function<void(absl::string_view text)> print;
  std::function<void(absl::string_view phase, double done)> progress;  // `done` from 0 to 1
  std::function<bool()> cancelled;
  // Of Compile: the plan without its evidence, as soon as its code can run. It may outlive the
  // call, which goes on to gather evidence.
  std::function<void(absl::StatusOr<plan::LoadedPlan>)> linked;
};

// An executor that can also write the tensors that its options asked for.
class EagerEngine : public Executor {
 public:
  virtual const std::string& tokenizer() const = 0;  // serialised; empty without one
  virtual absl::Status WriteDump(const std::string& path) = 0;
};

class CompilerLibrary {
 public:
  // Beside the program, in ../lib, then where the loader looks. Opened once for the whole process.
  static absl::StatusOr<CompilerLibrary*> Open();
  // Opens this file, for tests.
  static absl::StatusOr<std::unique_ptr<CompilerLibrary>> OpenFile(const std::string& path);
  ~CompilerLibrary();

  std::string version() const;

  // `options` is the JSON text that ninfer_compiler.h describes. Messages are the compiler's own;
  // being cancelled is absl::CancelledError.
  absl::StatusOr<plan::LoadedPlan> Compile(const std::string& options,
                                           const CompilerCallbacks& callbacks);
  // The folder of the model that `options` name, fetched from the hub where it is one of the hub's.
  absl::StatusOr<std::string> FetchModel(const std::string& options,
                                         const CompilerCallbacks& callbacks);
  // The plan with code made anew in place of its own.
  absl::StatusOr<plan::Plan> GenerateCode(const plan::Plan& plan, const std::string& options,
                                          const CompilerCallbacks& callbacks);
  absl::StatusOr<std::unique_ptr<EagerEngine>> OpenEager(const std::string& options,
                                                         const CompilerCallbacks& callbacks);

 private:
  struct Functions;
  class Eager;
  explicit CompilerLibrary(std::unique_ptr<Functions> functions);
  std::unique_ptr<Functions> functions_;
};

// Path of the library that Open would open, without opening it; empty when it is in none of the
// known places.
std::string FindCompilerLibrary();

// The folder of the running program.
std::string ProgramFolder();

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_COMPILER_LIBRARY_H_
