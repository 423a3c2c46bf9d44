// The module of a text that a test holds, which must be right.
#ifndef NINFER_TESTS_SUPPORT_PARSE_MODULE_H_
#define NINFER_TESTS_SUPPORT_PARSE_MODULE_H_

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "ir/text.h"
#include "ir/verifier.h"

namespace ninfer {

inline ir::Module ParseModule(const std::string& text) {
  auto module = ir::Parse(text, "test.ir");
  EXPECT_TRUE(module.ok()) << module.status();
  const absl::Status status = ir::Verify(*module);
  EXPECT_TRUE(status.ok()) << status;
  return *std::move(module);
}

}  // namespace ninfer

#endif  // NINFER_TESTS_SUPPORT_PARSE_MODULE_H_
