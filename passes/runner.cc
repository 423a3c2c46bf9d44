// The one runner. What surrounds a pass follows the runner of XLS (xls/passes/pass_base.h): skip
// list, stop after the n-th rewrite, timing, numbered dumps, verifier only after a change, the
// pass's number on every error. Unlike there, the check that a reported change is one of the text
// runs in every build, and a comparison with eager can follow every pass.
//
// A pass that was stopped in its middle may leave the graph between two stages; then it is dumped
// and compared, but not verified.
//
// Tested by tests/passes_runner_test.cc, tests/planted_test.cc.
#include "passes/runner.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "passes/diff.h"
#include "passes/rewrite.h"
#include "program/text.h"
#include "program/verifier.h"

namespace ninfer::passes {
namespace {

std::string NamesOf(bool optional_only) {
  std::vector<std::string> names;
  for (const PassEntry& entry : PassEntries()) {
    if (entry.info.optional || !optional_only) names.push_back(entry.info.name);
  }
  return absl::StrJoin(names, ", ");
}

absl::Status CheckKnown(absl::string_view flag, absl::string_view name) {
  if (FindPass(name) != nullptr) return absl::OkStatus();
  return InvalidArgument(flag, ": unknown pass \"", name, "\"; the passes are ", NamesOf(false));
}

// "P" or "P.n".
absl::Status ParseStop(absl::string_view text, std::string* pass, int* rewrite) {
  const size_t dot = text.rfind('.');
  *rewrite = -1;
  *pass = std::string(text.substr(0, dot));
  if (dot == absl::string_view::npos) return CheckKnown("--stop-after", *pass);
  if (!absl::SimpleAtoi(text.substr(dot + 1), rewrite) || *rewrite < 0) {
    return InvalidArgument("--stop-after: expected PASS or PASS.n, found \"", text, "\"");
  }
  return CheckKnown("--stop-after", *pass);
}

void RemoveDeadCode(ir::Module& module) {
  for (const auto& function : module.functions()) function->RemoveDeadNodes();
  module.RemoveUnusedWeights();
}

absl::optional<program::Program> CloneOf(const absl::optional<program::Program>& program) {
  if (!program) return absl::nullopt;
  return program::Clone(*program);
}

// What an earlier run left, which may have had more stages than this one.
void RemoveOlderDumps(const std::string& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const bool numbered = name.size() > 4 && name[3] == '-' &&
                          std::all_of(name.begin(), name.begin() + 3, absl::ascii_isdigit);
    const bool stage = absl::EndsWith(name, ".before.ir") || absl::EndsWith(name, ".after.ir");
    if (numbered && stage) std::filesystem::remove(entry.path(), error);
  }
}

}  // namespace

absl::Status CheckPassOptions(const PassOptions& options) {
  std::vector<std::string> disabled(options.disabled.begin(), options.disabled.end());
  std::sort(disabled.begin(), disabled.end());
  for (const std::string& name : disabled) {
    const PassEntry* entry = FindPass(name);
    if (entry != nullptr && entry->info.optional) continue;
    return InvalidArgument("--disable-pass: ", entry == nullptr ? "unknown pass" : "required pass",
                           " \"", name, "\"; the optional passes are ", NamesOf(true));
  }
  for (const auto* names : {&options.print_before, &options.print_after}) {
    for (const std::string& name : *names) {
      if (name == "all") continue;
      NINFER_RETURN_IF_ERROR(
          CheckKnown(names == &options.print_before ? "--print-before" : "--print-after", name));
    }
  }
  std::string pass;
  int rewrite = 0;
  return options.stop_after.empty() ? absl::OkStatus()
                                    : ParseStop(options.stop_after, &pass, &rewrite);
}

Runner::Runner(ir::Module* module, absl::optional<program::Program>* program,
               const PassOptions& options, absl::Span<const ExtraPass> extras)
    : module_(module),
      program_(program),
      options_(options),
      extras_(extras.begin(), extras.end()) {}

void Runner::Begin() {
  status_ = CheckPassOptions(options_);
  if (!status_.ok()) return;
  if (!options_.stop_after.empty()) {
    status_ = ParseStop(options_.stop_after, &stop_pass_, &stop_rewrite_);
  }
  if (status_.ok() && !options_.dump_dir.empty()) {
    std::error_code error;
    std::filesystem::create_directories(options_.dump_dir, error);
    if (error) status_ = InvalidArgument(options_.dump_dir, ": ", error.message());
    RemoveOlderDumps(options_.dump_dir);
  }
  if (!status_.ok()) return;
  const bool lowered = program_->has_value();
  status_ = Annotate(lowered ? program::Verify(**program_) : ir::Verify(*module_),
                     "before the first pass");
  if (status_.ok() && !lowered) RemoveDeadCode(*module_);
}

// --- units ---------------------------------------------------------------------------------------

Runner::Unit Runner::UnitOf(const PassEntry& entry) {
  Unit unit{entry.info, entry.level != PassLevel::kLower, nullptr};
  const PassEntry* row = &entry;  // rows live as long as the process
  unit.run = [row](ir::Module& module, absl::optional<program::Program>& program,
                   const PassOptions& options) -> absl::StatusOr<int> {
    if (row->module_pass != nullptr) return row->module_pass(module, options);
    if (row->program_pass != nullptr) return row->program_pass(*program, options);
    NINFER_ASSIGN_OR_RETURN(program, row->lowering_pass(module, options));
    return static_cast<int>(program->launches.size());
  };
  return unit;
}

void Runner::Run(PassId id) { Run(EntryOf(id)); }

void Runner::Run(const PassEntry& entry) {
  RunUnit(UnitOf(entry));
  for (const ExtraPass& extra : extras_) {
    if (extra.after != entry.info.name) continue;
    Unit unit;
    unit.info.name = extra.name;
    unit.run = [&extra](ir::Module& module, absl::optional<program::Program>& program,
                        const PassOptions& options) {
      return program ? extra.run_program(*program, options) : extra.run(module, options);
    };
    RunUnit(unit);
  }
  stopped_ = stopped_ || entry.info.name == stop_pass_;
}

void Runner::Check(absl::Status (*checker)(const program::Program&)) {
  if (!status_.ok() || !complete_ || !program_->has_value()) return;
  const std::string last = records_.empty() ? "" : records_.back().name;
  status_ = Annotate(checker(**program_), absl::StrCat("pass ", number_, " ", last));
}

std::string Runner::Prefix(const Unit& unit) const {
  return absl::StrCat("pass ", number_, " ", unit.info.name);
}

void Runner::RunUnit(const Unit& unit) {
  complete_ = false;
  if (!status_.ok() || stopped_) return;
  ++number_;
  if (rounding_ == Rounding::kSettling) rounding_ = Rounding::kSettled;
  if (unit.info.name == EntryOf(PassId::kSettlePrecision).info.name) {
    rounding_ = Rounding::kSettling;
  }
  PassRecord record;
  record.name = unit.info.name;
  record.number = number_;
  if (options_.disabled.contains(unit.info.name)) {
    record.skipped = true;
    Measure(&record.ops_before, &record.bytes_before);
    Measure(&record.ops_after, &record.bytes_after);
    status_ = WriteIndex(absl::StrFormat("%03d %s (disabled)", number_, unit.info.name));
  } else {
    status_ = RunOnce(unit, record);
  }
  status_ = Annotate(status_, Prefix(unit));
  records_.push_back(std::move(record));
}

// --- one pass ------------------------------------------------------------------------------------

absl::Status Runner::RunOnce(const Unit& unit, PassRecord& record) {
  const std::string before = Text();
  Measure(&record.ops_before, &record.bytes_before);
  const bool print_before =
      options_.print_before.contains(unit.info.name) || options_.print_before.contains("all");
  if (print_before && options_.print) {
    options_.print(absl::StrCat("// before ", Prefix(unit), "\n", before));
  }
  NINFER_RETURN_IF_ERROR(
      Dump(absl::StrFormat("%03d-%s.before.ir", number_, unit.info.name), before));
  ir::Numbering numbering;
  if (options_.print_changed_diff) numbering = ir::NumberingOf(*module_);
  absl::optional<Graph> copy;
  if (Comparing()) copy.emplace(module_->Clone(), CloneOf(*program_));

  const bool was_program = program_->has_value();
  NINFER_ASSIGN_OR_RETURN(const bool complete, Rewrite(unit, before, record));
  const bool changed = record.rewrites > 0 || was_program != program_->has_value();
  if (changed && !program_->has_value()) RemoveDeadCode(*module_);
  const std::string after = Text();
  Measure(&record.ops_after, &record.bytes_after);
  NINFER_RETURN_IF_ERROR(Dump(absl::StrFormat("%03d-%s.after.ir", number_, unit.info.name), after));
  NINFER_RETURN_IF_ERROR(WriteIndex(absl::StrFormat(
      "%03d %s %s", number_, unit.info.name,
      changed ? absl::StrCat(record.rewrites, record.rewrites == 1 ? " rewrite" : " rewrites")
              : "(unchanged)")));
  PrintChanges(unit, before, after, numbering);
  complete_ = complete;
  if (!changed) return absl::OkStatus();
  if (complete) {
    NINFER_RETURN_IF_ERROR(program_->has_value() ? program::Verify(**program_)
                                                 : ir::Verify(*module_));
  }
  return copy ? Compare(unit, *copy, record) : absl::OkStatus();
}

// Runs the pass and checks its count. True when nothing stopped it before its end.
absl::StatusOr<bool> Runner::Rewrite(const Unit& unit, const std::string& before,
                                     PassRecord& record) {
  const int limit = unit.info.name == stop_pass_ ? stop_rewrite_ : -1;
  bool complete = true;
  int asked = 0;
  PassOptions options = options_;
  options.may_rewrite = [&] {
    if (limit < 0 || asked < limit) return ++asked, true;
    return complete = false;
  };
  const bool was_program = program_->has_value();
  const auto start = std::chrono::steady_clock::now();
  absl::StatusOr<int> rewrites = unit.run(*module_, *program_, options);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  record.seconds = elapsed.count();
  NINFER_RETURN_IF_ERROR(rewrites.status());
  record.rewrites = *rewrites;
  if (limit > *rewrites) {
    return InvalidArgument("--stop-after: expected at most ", *rewrites,
                           ", the rewrites that it made, found ", limit);
  }
  if (was_program != program_->has_value()) return complete;  // lowering: another text by nature
  const bool changed = Hash64(before) != Hash64(Text());
  if (changed != (record.rewrites > 0)) {
    return absl::InternalError(absl::StrCat("reports ", record.rewrites, " rewrites, but its text ",
                                            changed ? "changed" : "did not change"));
  }
  return complete;
}

// --- comparison with eager -----------------------------------------------------------------------

bool Runner::Comparing() const {
  return options_.compare_module != nullptr || options_.compare_program != nullptr;
}

absl::StatusOr<Comparison> Runner::CompareWith(
    const ir::Module& module, const absl::optional<program::Program>& program) const {
  if (program) {
    return options_.compare_program ? options_.compare_program(*program) : Comparison{};
  }
  return options_.compare_module ? options_.compare_module(module, rounding_) : Comparison{};
}

absl::Status Runner::Compare(const Unit& unit, const Graph& before, PassRecord& record) const {
  const bool lent = program_->has_value() ? options_.compare_program != nullptr
                                          : options_.compare_module != nullptr;
  if (!lent) return absl::OkStatus();
  const absl::StatusOr<Comparison> found = CompareWith(*module_, *program_);
  std::string message;
  if (found.ok()) {
    record.comparison = *found;
    if (found->max_error <= found->bound) return absl::OkStatus();  // false for a NaN
    message = absl::StrCat("max error ", found->max_error, " exceeds bound ", found->bound, " at ",
                           found->where);
  } else {
    message = std::string(found.status().message());
  }
  const int rewrite = unit.counts ? FirstBadRewrite(unit, before, record.rewrites) : 0;
  if (rewrite > 0) message = absl::StrCat("rewrite ", rewrite, ": ", message);
  return absl::FailedPreconditionError(message);
}

// The first rewrite whose result is wrong, by bisection: the pass runs again on copies of what it
// found, with fewer and fewer rewrites. Where errors cancel out it is a wrong one, if not the
// first.
int Runner::FirstBadRewrite(const Unit& unit, const Graph& before, int made) const {
  const auto is_bad = [&](int limit) {
    ir::Module module = before.first.Clone();
    absl::optional<program::Program> program = CloneOf(before.second);
    PassOptions options = options_;
    int asked = 0;
    options.may_rewrite = [&] { return asked < limit && ++asked > 0; };
    if (!unit.run(module, program, options).ok()) return true;
    const absl::StatusOr<Comparison> found = CompareWith(module, program);
    return !found.ok() || !(found->max_error <= found->bound);
  };
  int good = 0, bad = made;
  while (bad - good > 1) {
    const int middle = good + (bad - good) / 2;
    (is_bad(middle) ? bad : good) = middle;
  }
  return bad;
}

// --- texts ---------------------------------------------------------------------------------------

std::string Runner::Text() const {
  return program_->has_value() ? program::Print(**program_) : ir::Print(*module_);
}

void Runner::Measure(int64_t* ops, int64_t* bytes) const {
  *ops = 0;
  *bytes = 0;
  if (program_->has_value()) {
    *ops = static_cast<int64_t>((*program_)->launches.size());
    // Once they are planned, buffers share places.
    *bytes = (*program_)->arena_bytes + (*program_)->replica_bytes;
    if (*bytes > 0) return;
    for (const program::Buffer& buffer : (*program_)->buffers) *bytes += buffer.bytes;
    return;
  }
  for (const auto& function : module_->functions()) {
    const absl::flat_hash_set<const ir::Value*> constants = ConstantValues(*function);
    for (const auto& node : function->nodes()) {
      if (constants.contains(node->result())) continue;
      ++*ops;
      if (node->info().op_class == ir::OpClass::kView) continue;
      for (int i = 0; i < node->num_results(); ++i) {
        const ir::Type& type = node->result(i)->type();
        if (!type.is_kv) *bytes += ir::MaxBytes(type, module_->symbols());
      }
    }
  }
}

absl::Status Runner::Dump(const std::string& name, const std::string& text) const {
  if (options_.dump_dir.empty()) return absl::OkStatus();
  return WriteFile(JoinPath(options_.dump_dir, name), text);
}

absl::Status Runner::WriteIndex(const std::string& line) {
  absl::StrAppend(&index_, line, "\n");
  return Dump("index.txt", index_);
}

// `numbering` is that of the graph before the pass: in the diff, values keep their numbers.
void Runner::PrintChanges(const Unit& unit, const std::string& before, const std::string& after,
                          const ir::Numbering& numbering) const {
  if (!options_.print) return;
  const std::string& name = unit.info.name;
  if (options_.print_after.contains(name) || options_.print_after.contains("all")) {
    options_.print(absl::StrCat("// after ", Prefix(unit), "\n", after));
  }
  if (!options_.print_changed_diff || before == after) return;
  const std::string compared = program_->has_value() ? after : ir::Print(*module_, numbering);
  options_.print(UnifiedDiff(before, compared, absl::StrCat("before ", Prefix(unit)),
                             absl::StrCat("after ", Prefix(unit))));
}

// --- RunPasses -----------------------------------------------------------------------------------

absl::StatusOr<std::vector<PassRecord>> RunPasses(ir::Module& module,
                                                  const std::vector<std::string>& names,
                                                  const PassOptions& options) {
  for (const std::string& name : names) {
    NINFER_RETURN_IF_ERROR(CheckKnown("--passes", name));
    if (FindPass(name)->level == PassLevel::kModule) continue;
    return InvalidArgument("--passes: \"", name,
                           "\" makes or rewrites a program, expected a pass of graphs");
  }
  absl::optional<program::Program> none;
  Runner runner(&module, &none, options);
  runner.Begin();
  for (const std::string& name : names) runner.Run(*FindPass(name));
  NINFER_RETURN_IF_ERROR(runner.status());
  return runner.TakeRecords();
}

}  // namespace ninfer::passes
