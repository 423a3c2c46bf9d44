// What tests of import share: a model imported and checked, and looks at its graph.
#ifndef NINFER_TESTS_FRONTEND_TEST_UTIL_H_
#define NINFER_TESTS_FRONTEND_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <string>

#include "frontend/frontend.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "tests/support/model_folder.h"

namespace ninfer::frontend {

// The module verifies, its text parses back, and every weight of it can be found with its own type.
// Adds the elements of its weights to `*parameters`.
inline void CheckModule(const ir::Module& module, const ImportedModel& model, int64_t* parameters) {
  const absl::Status verified = ir::Verify(module);
  EXPECT_TRUE(verified.ok()) << verified;
  const std::string text = ir::Print(module);
  const auto parsed = ir::Parse(text, "printed.ir");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(ir::Print(*parsed), text);
  for (const ir::Weight& weight : module.weights()) {
    if (!weight.literal.empty()) continue;
    const auto view = model.weights->Find(weight.value->name());
    ASSERT_TRUE(view.ok()) << view.status();
    EXPECT_EQ(view->dtype, weight.value->type().dtype);
    ASSERT_EQ(view->shape.size(), weight.value->type().shape.size());
    int64_t elements = 1;
    for (size_t i = 0; i < view->shape.size(); ++i) {
      EXPECT_EQ(view->shape[i], weight.value->type().shape[i].offset);
      elements *= view->shape[i];
    }
    EXPECT_EQ(reinterpret_cast<uintptr_t>(view->data) % DTypeSize(view->dtype), 0u);
    *parameters += elements;
  }
  EXPECT_EQ(module.stage(), ir::Stage::kImported);
}

// Both modules of a model that sees.
inline void CheckModel(const ImportedModel& model) {
  int64_t parameters = 0;
  ASSERT_NO_FATAL_FAILURE(CheckModule(model.module, model, &parameters));
  if (model.vision.has_value()) {
    ASSERT_NO_FATAL_FAILURE(CheckModule(*model.vision, model, &parameters));
  }
  EXPECT_EQ(model.info.parameters, parameters);
}

inline ImportedModel Import(const std::string& folder, const ImportOptions& options = {}) {
  auto model = ImportModel(folder, options);
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return ImportedModel{ir::Module("none"), {}, nullptr};
  CheckModel(*model);
  return std::move(model).value();
}

inline ImportedModel Import(const testing::TestModel& model, const ImportOptions& options = {}) {
  testing::TemporaryFolder folder;
  testing::WriteModel(folder.path(), model);
  return Import(folder.path(), options);
}

inline std::string StepText(const ImportedModel& model) {
  return ir::PrintFunction(*model.module.FindFunction("step"), model.module.symbols());
}

inline int CountOps(const ImportedModel& model, ir::Op op) {
  int count = 0;
  for (const auto& node : model.module.FindFunction("step")->nodes()) count += node->op() == op;
  return count;
}

inline const ir::Value* ResultHead(const ImportedModel& model) {
  return model.module.FindFunction("step")->results()[0]->producer()->operand(1);
}

}  // namespace ninfer::frontend

#endif  // NINFER_TESTS_FRONTEND_TEST_UTIL_H_
