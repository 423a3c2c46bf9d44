// Argmax: the step also gives the id of each row's largest logit, as its last result. Lower lets
// the head's kernel find it panel by panel, while the logits are in the nearest cache: greedy
// decoding then takes four bytes a row from the step, where it would read the whole vocabulary.
//
// Proves: logits unchanged (those of a small head on a card but for the order of its sums); ids are
// the arg-max of the logits that stand beside them.
// Order: behind last-rows, which says of which rows logits are given, and behind precision, so that
// ids are those of the logits as they come out; before fuse, which closes the head's region.
//
// Tested by tests/passes_golden_test.cc (tests/passes/argmax.ir), tests/argmax_test.cc.
#include "base/status.h"
#include "ir/builder.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ninfer::passes {

absl::StatusOr<int> FindArgmax(ir::Module& module, const PassOptions& options) {
  Rewrites rewrites(options);
  ir::Function* step = module.FindFunction("step");
  if (step == nullptr || step->results().empty()) return 0;
  const ir::Value* wanted = step->FindParameter("rows");
  ir::Value* logits = step->results()[0];
  const ir::Type& type = logits->type();
  const bool rows = wanted != nullptr && !type.is_kv && type.dtype == DType::kF32 &&
                    type.rank() == 2 && type.shape[0] == wanted->type().shape[0] &&
                    type.shape[1].is_static() && logits->producer() != nullptr;
  if (!rows || step->results().back()->type().dtype == DType::kI32) return 0;
  if (!rewrites.Next()) return 0;
  ir::Builder builder(&module, step);
  builder.set_provenance(logits->provenance());
  ir::Value* ids = builder.Make(ir::Op::kArgmax, {logits});
  NINFER_RETURN_IF_ERROR(builder.status());
  ids->set_name("argmax");
  step->results().push_back(ids);
  return rewrites.made();
}

}  // namespace ninfer::passes
