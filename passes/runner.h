// The one runner, of graph passes and program passes. Around every pass it: skips it when disabled,
// prints and dumps the text before and after, times it, compares the count of rewrites that it
// reports with what the text shows, removes dead code, verifies (only after a change), compares
// with eager (when asked), counts, and puts the pass's number and name before every error. Tested
// by tests/passes_runner_test.cc, tests/planted_test.cc.
#ifndef NINFER_PASSES_RUNNER_H_
#define NINFER_PASSES_RUNNER_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "ir/module.h"
#include "ir/text.h"
#include "passes/pass.h"
#include "passes/passes.h"

namespace ninfer::passes {

enum class PassId : uint8_t {
#define PASS(level, function, ...) k##function,
#include "passes/passes.def"
};

enum class PassLevel : uint8_t { kModule, kLower, kProgram };

// A row of passes.def with its function: the one that its level says, the others null.
struct PassEntry {
  PassInfo info;
  PassLevel level = PassLevel::kModule;
  ModulePass module_pass = nullptr;
  LoweringPass lowering_pass = nullptr;
  ProgramPass program_pass = nullptr;
};
absl::Span<const PassEntry> PassEntries();  // in the order of passes.def
const PassEntry& EntryOf(PassId id);
// Null when there is none of this name.
const PassEntry* FindPass(absl::string_view name);

// docs/passes.md: the rows of passes.def as a table.
std::string PassesMarkdown();

// A pass that is not in passes.def, run after the one named: how tests plant wrong rewrites. It
// rewrites the graph, or the program once there is one. An argument of one run, known to nothing
// else.
struct ExtraPass {
  std::string after;
  std::string name;
  std::function<absl::StatusOr<int>(ir::Module&, const PassOptions&)> run;
  std::function<absl::StatusOr<int>(program::Program&, const PassOptions&)> run_program = nullptr;
};

// Refuses unknown names in the options, and required passes among the disabled.
absl::Status CheckPassOptions(const PassOptions& options);

class Runner {
 public:
  // `module` and `program` are changed in place; the program appears with the lowering.
  Runner(ir::Module* module, absl::optional<program::Program>* program, const PassOptions& options,
         absl::Span<const ExtraPass> extras = {});

  // Checks options and the module, and removes dead code, before the first pass.
  void Begin();
  // One pass. Does nothing after an error, or once the run is to stop.
  void Run(PassId id);
  void Run(const PassEntry& entry);
  // A checker of programs, in every build; its errors carry the last pass's name. Does nothing when
  // the pass before it did not run to its end.
  void Check(absl::Status (*checker)(const program::Program&));

  const absl::Status& status() const { return status_; }
  std::vector<PassRecord> TakeRecords() { return std::move(records_); }

 private:
  // A pass of any level behind one face.
  struct Unit {
    PassInfo info;
    bool counts = true;  // asks before each rewrite, so that fewer of them can be had
    std::function<absl::StatusOr<int>(ir::Module&, absl::optional<program::Program>&,
                                      const PassOptions&)>
        run;
  };
  using Graph = std::pair<ir::Module, absl::optional<program::Program>>;

  static Unit UnitOf(const PassEntry& entry);
  void RunUnit(const Unit& unit);
  absl::Status RunOnce(const Unit& unit, PassRecord& record);
  absl::StatusOr<bool> Rewrite(const Unit& unit, const std::string& before, PassRecord& record);
  absl::Status Compare(const Unit& unit, const Graph& before, PassRecord& record) const;
  int FirstBadRewrite(const Unit& unit, const Graph& before, int made) const;
  bool Comparing() const;
  absl::StatusOr<Comparison> CompareWith(const ir::Module& module,
                                         const absl::optional<program::Program>& program) const;
  absl::Status Dump(const std::string& name, const std::string& text) const;
  absl::Status WriteIndex(const std::string& line);
  void PrintChanges(const Unit& unit, const std::string& before, const std::string& after,
                    const ir::Numbering& numbering) const;
  std::string Text() const;
  void Measure(int64_t* ops, int64_t* bytes) const;
  std::string Prefix(const Unit& unit) const;

  ir::Module* module_;
  absl::optional<program::Program>* program_;
  PassOptions options_;
  std::vector<ExtraPass> extras_;
  std::vector<PassRecord> records_;
  std::string index_;  // of the dump folder
  absl::Status status_;
  bool stopped_ = false;
  bool complete_ = false;  // the last pass ran to its end
  Rounding rounding_ = Rounding::kNone;
  int number_ = 0;  // of the current pass, from 1
  std::string stop_pass_;
  int stop_rewrite_ = -1;  // -1: after all of them
};

}  // namespace ninfer::passes

#endif  // NINFER_PASSES_RUNNER_H_
