#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "ir/builder.h"
#include "ir/text.h"
#include "ir/verifier.h"

namespace ninfer::ir {
namespace {

using testing::HasSubstr;

// --- files: several modules each, an error expected on the line that says so, or none ---

struct Expected {
  std::string message;  // empty: the module verifies
  int line = 0;
  std::string line_text;
};

Expected ExpectedOf(absl::string_view text, int first_line) {
  constexpr absl::string_view kMark = "// error: ";
  int number = first_line;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const size_t mark = line.find(kMark);
    if (mark != absl::string_view::npos) {
      return {std::string(line.substr(mark + kMark.size())), number, std::string(line)};
    }
    ++number;
  }
  return {};
}

// The line that a message gives: that of the innermost node, which stands last.
int LineOf(absl::string_view message) {
  const size_t mark = message.rfind("line ");
  if (mark == absl::string_view::npos) return 0;
  absl::string_view digits = message.substr(mark + 5);
  digits = digits.substr(0, digits.find(':'));
  int line = 0;
  return absl::SimpleAtoi(digits, &line) ? line : 0;
}

class VerifierFile : public testing::TestWithParam<std::string> {};

std::vector<std::string> VerifierFiles() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(NINFER_SOURCE_DIR "/tests/ir/verifier")) {
    names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST_P(VerifierFile, SaysWhatTheCommentOnTheLineSays) {
  const std::string path = absl::StrCat(NINFER_SOURCE_DIR "/tests/ir/verifier/", GetParam(), ".ir");
  const absl::StatusOr<std::string> file = ReadFile(path);
  ASSERT_TRUE(file.ok()) << file.status();
  int first_line = 1;
  for (absl::string_view text : absl::StrSplit(*file, "// -----\n")) {
    // Line breaks in front keep the numbers of the lines those of the file.
    const std::string padded = absl::StrCat(std::string(first_line - 1, '\n'), text);
    const Expected expected = ExpectedOf(text, first_line);
    first_line += static_cast<int>(std::count(text.begin(), text.end(), '\n')) + 1;
    const absl::StatusOr<Module> module = Parse(padded, path);
    ASSERT_TRUE(module.ok()) << module.status();
    SCOPED_TRACE(module->name());
    const std::string message(Verify(*module).message());
    if (expected.message.empty()) {
      EXPECT_EQ(message, "");
      continue;
    }
    EXPECT_TRUE(absl::EndsWith(message, expected.message))
        << "expected " << expected.message << "\nfound    " << message;
    EXPECT_FALSE(absl::StrContains(message, "\n"));
    if (LineOf(message) != 0) {
      EXPECT_EQ(LineOf(message), expected.line) << message;
    } else {
      const std::string subject = message.substr(0, message.find(':'));
      EXPECT_THAT(expected.line_text, HasSubstr(subject.substr(subject.find_last_of(" @") + 1)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ir, VerifierFile, testing::ValuesIn(VerifierFiles()),
                         [](const auto& info) { return info.param; });

// --- what no text can say ---

class Verifier : public testing::Test {
 protected:
  Verifier() : module_("m"), function_(module_.AddFunction("f")) {
    x_ = function_->AddParameter("x", {DType::kF32, {Dim::Static(3)}});
  }
  Node* Neg(Value* x) { return function_->Insert(Op::kNeg, {x}, {x->type()}, {}); }
  std::string Message() { return std::string(Verify(module_).message()); }

  Module module_;
  Function* function_;
  Value* x_;
};

TEST_F(Verifier, AMessageNamesFunctionProvenanceNodeExpectedAndFound) {
  Node* node = Neg(x_);
  node->result()->set_type({DType::kF16, {Dim::Static(3)}});
  node->result()->set_provenance("model.layers.3.mlp");
  function_->results().push_back(node->result());
  EXPECT_EQ(Message(),
            "@f: model.layers.3.mlp: %0 = neg %x : f16[3]: result: expected f32[3], found f16[3]");
  node->set_line(12);
  EXPECT_EQ(Message(), "@f: line 12: %0 = neg %x : f16[3]: result: expected f32[3], found f16[3]");
}

TEST_F(Verifier, AUseBeforeTheDefinitionIsRefused) {
  Node* first = Neg(x_);
  Node* second = Neg(first->result());
  function_->results().push_back(second->result());
  EXPECT_EQ(Message(), "");
  function_->MoveBefore(second, first);
  EXPECT_EQ(
      Message(),
      "@f: %0 = neg %1 : f32[3]: operand 1: expected a value defined above, found one defined "
      "below");
}

TEST_F(Verifier, AValueOfAnotherFunctionIsRefused) {
  Value* y = module_.AddFunction("g")->AddParameter("y", x_->type());
  function_->results().push_back(Neg(y)->result());
  EXPECT_EQ(Message(),
            "@f: %0 = neg %y : f32[3]: operand 1: expected a value defined above, found %y of "
            "another function");
}

TEST_F(Verifier, AnOuterValueInARegionIsRefused) {
  module_.set_stage(Stage::kFused);
  auto body = std::make_unique<Function>("body");
  body->AddParameter("a", x_->type());
  Node* inner = body->Insert(Op::kNeg, {x_}, {x_->type()}, {});
  body->results().push_back(inner->result());
  Node* node = function_->InsertFused("elementwise", {x_}, std::move(body));
  function_->results().push_back(node->result());
  EXPECT_EQ(Message(),
            "@f: %0 = fused(%a = %x) {family = \"elementwise\"} {...} : f32[3]: in its body: %0 = "
            "neg %x : f32[3]: operand 1: expected a value defined above, found %x of another "
            "function");
}

TEST_F(Verifier, ARegionsParametersMatchItsOperands) {
  module_.set_stage(Stage::kFused);
  auto body = std::make_unique<Function>("body");
  body->results().push_back(body->AddParameter("a", {DType::kF32, {Dim::Static(4)}}));
  Node* node = function_->InsertFused("x", {x_}, std::move(body));
  function_->results().push_back(node->result());
  EXPECT_THAT(Message(), HasSubstr(": parameter %a: expected f32[3], found f32[4]"));
  node->body()->AddParameter("b", x_->type());
  EXPECT_THAT(Message(), HasSubstr(": expected 1 parameters of the body, found 2"));
  node->set_body(nullptr);
  EXPECT_THAT(Message(), HasSubstr(": expected a body, found none"));
}

TEST_F(Verifier, AWeightOfAnotherModuleIsRefused) {
  Module other("other");
  function_->results().push_back(Neg(other.AddWeight("w", x_->type()))->result());
  EXPECT_THAT(Message(), HasSubstr("operand 1: expected a weight of the module, found @w"));
}

TEST_F(Verifier, AFunctionByItselfNamesNoWeights) {
  Node* node = Neg(module_.AddWeight("w", x_->type()));
  function_->results().push_back(node->result());
  EXPECT_EQ(Message(), "");
  EXPECT_EQ(VerifyFunction(*function_, {}, Stage::kImported).message(),
            "@f: %0 = neg @w : f32[3]: operand 1: expected a parameter here, found @w");
}

TEST_F(Verifier, AMissingOperandIsRefused) {
  Node* node = Neg(x_);
  node->set_operand(0, nullptr);
  function_->results().push_back(node->result());
  EXPECT_THAT(Message(), HasSubstr("operand 1: expected a value, found none"));
}

TEST_F(Verifier, NamesAreUniqueAndParametersNamesNoNumbers) {
  Node* node = Neg(x_);
  node->result()->set_name("x");
  function_->results().push_back(node->result());
  EXPECT_THAT(Message(), HasSubstr(": expected a name not used above, found %x again"));
  node->result()->set_name("");
  function_->AddParameter("x", x_->type());
  EXPECT_EQ(Message(), "@f: expected a name not used above, found %x again");
  x_->set_name("7");
  EXPECT_EQ(Message(), "@f: expected a parameter's name that is no number, found \"7\"");
}

TEST_F(Verifier, ADimensionIsDeclaredAndItsNameAWord) {
  function_->results().push_back(x_);
  x_->set_type({DType::kF32, {Dim::Symbolic(2)}});
  EXPECT_EQ(Message(), "@f: parameter %x: type: expected a declared dimension, found number 2");
  module_.AddSymbol("a b", 1, 2);
  EXPECT_EQ(Message(), "dim a b: expected a word, found \"a b\"");
  module_.symbols()[0].name = "A";
  module_.AddSymbol("B", 1, 2);
  module_.symbols()[1].name = "A";
  EXPECT_EQ(Message(), "dim A: expected a name not used above, found it again");
}

TEST_F(Verifier, ALiteralIsAVectorOfItsElements) {
  function_->results().push_back(x_);
  Value* literal = module_.AddLiteral("l", {1, 2});
  EXPECT_EQ(Message(), "");
  literal->set_type({DType::kF32, {Dim::Static(1), Dim::Static(2)}});
  EXPECT_EQ(Message(), "weight @l: expected the literal's type f32[2], found f32[1,2]");
}

TEST_F(Verifier, AnAttributeGivenTwiceIsRefused) {
  Node* node = function_->Insert(Op::kConstant, {}, {Type{}},
                                 {{"value", AttrValue(1.0)}, {"value", AttrValue(2.0)}});
  function_->results().push_back(node->result());
  EXPECT_THAT(Message(), HasSubstr("attribute value: expected once, found 2 times"));
}

}  // namespace
}  // namespace ninfer::ir
