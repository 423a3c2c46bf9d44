#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "tests/support/random_graph.h"

namespace ninfer::ir {
namespace {

// --- round trips: one test a file ---

class TextFile : public testing::TestWithParam<std::string> {};

std::vector<std::string> TextFiles() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(NINFER_SOURCE_DIR "/tests/ir/text")) {
    names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST_P(TextFile, ReadsAndPrintsByteForByteAndVerifies) {
  const std::string path = absl::StrCat(NINFER_SOURCE_DIR "/tests/ir/text/", GetParam(), ".ir");
  const absl::StatusOr<std::string> text = ReadFile(path);
  ASSERT_TRUE(text.ok()) << text.status();
  const absl::StatusOr<Module> module = Parse(*text, path);
  ASSERT_TRUE(module.ok()) << module.status();
  EXPECT_EQ(Print(*module), *text);
  EXPECT_EQ(Print(module->Clone()), *text);
  const absl::Status verified = Verify(*module);
  EXPECT_TRUE(verified.ok()) << verified;
}

INSTANTIATE_TEST_SUITE_P(Ir, TextFile, testing::ValuesIn(TextFiles()),
                         [](const auto& info) { return info.param; });

TEST(IrText, FiveHundredRandomGraphsReadBack) {
  int64_t nodes = 0;
  for (uint64_t seed = 0; seed < 500; ++seed) {
    const RandomGraph graph = MakeRandomGraph(seed);
    const std::string text = Print(graph.module);
    const absl::StatusOr<Module> again = Parse(text, "random.ir");
    ASSERT_TRUE(again.ok()) << again.status() << "\n" << text;
    ASSERT_EQ(Print(*again), text);
    const absl::Status verified = Verify(*again);
    ASSERT_TRUE(verified.ok()) << verified << "\n" << text;
    nodes += graph.module.functions()[0]->nodes().size();
  }
  EXPECT_GT(nodes, 500 * 30);
}

TEST(IrText, EqualSeedsGiveEqualTextsAndOtherSeedsOthers) {
  EXPECT_EQ(Print(MakeRandomGraph(7).module), Print(MakeRandomGraph(7).module));
  EXPECT_NE(Print(MakeRandomGraph(7).module), Print(MakeRandomGraph(8).module));
}

TEST(IrText, UnnamedResultsAreNumberedInOrderWhateverTheirNumbersWere) {
  const absl::StatusOr<Module> module = Parse(
      "module \"m\" stage imported\n"
      "func @f(%x: f32[3]) {\n"
      "%9=neg %x:f32[3]// here\n\n"
      "  // a comment of its own line\n"
      "  %5 = add %9, %9 {} : f32[3]\n"
      "return %5 }",
      "m.ir");
  ASSERT_TRUE(module.ok()) << module.status();
  EXPECT_EQ(Print(*module),
            "module \"m\" stage imported\n"
            "\n"
            "func @f(%x: f32[3]) {\n"
            "  %0 = neg %x : f32[3]  // here\n"
            "  %1 = add %0, %0 : f32[3]\n"
            "  return %1\n"
            "}\n");
  const Node& node = *module->functions()[0]->nodes()[0];
  EXPECT_EQ(node.result()->provenance(), "here");
  EXPECT_EQ(node.line(), 3);
  EXPECT_EQ(PrintNode(node, module->symbols()), "%_ = neg %x : f32[3]");
  EXPECT_EQ(PrintNode(*module->functions()[0], *module->functions()[0]->nodes()[1], {}),
            "%1 = add %0, %0 : f32[3]");
}

TEST(IrText, AttributesPrintInTheRowsOrderAndWithTheirKind) {
  const absl::StatusOr<Module> module = Parse(
      "module \"m\" stage imported\n"
      "func @f(%x: f32[3]) {\n"
      "  %0 = slice %x {end = 2, begin = 1, axis = 0} : f32[1]\n"
      "  %1 = constant {value = 2} : f32[]\n"
      "  return %0, %1\n"
      "}",
      "m.ir");
  ASSERT_TRUE(module.ok()) << module.status();
  const auto nodes = module->functions()[0]->nodes();
  EXPECT_EQ(PrintNode(*nodes[0], {}), "%_ = slice %x {axis = 0, begin = 1, end = 2} : f32[1]");
  EXPECT_EQ(nodes[1]->attr_float("value"), 2.0);
  EXPECT_EQ(PrintNode(*nodes[1], {}), "%_ = constant {value = 2} : f32[]");
}

TEST(IrText, ElementsThatAreNoNumbersReadBack) {
  constexpr char kText[] = R"(module "m" stage imported
weight @w : f32[4] = [nan, -nan, inf, -inf]

func @step() {
  return @w
}
)";
  const absl::StatusOr<Module> module = Parse(kText, "m.ir");
  ASSERT_TRUE(module.ok()) << module.status();
  EXPECT_EQ(Print(*module), kText);
}

TEST(IrText, AProvenanceOfSeveralLinesPrintsAsOne) {
  Module module("m");
  Function* function = module.AddFunction("f");
  Value* x = function->AddParameter("x", {});
  Node* node = function->Insert(Op::kNeg, {x}, {Type{}}, {});
  node->result()->set_provenance(" a\nb ");
  function->results().push_back(node->result());
  EXPECT_EQ(PrintFunction(*function, {}, 2),
            "  func @f(%x: f32[]) {\n"
            "    %0 = neg %x : f32[]  // a b\n"
            "    return %0\n"
            "  }");
}

TEST(IrText, AFunctionByItselfSaysHowMuchItRead) {
  const std::vector<Symbol> symbols = {{"T", 1, 8}};
  const std::string function =
      "func @kernel(%x: f32[T]) {\n"
      "  %0 = neg %x : f32[T]\n"
      "  return %0\n"
      "}";
  size_t consumed = 0;
  const auto parsed = ParseFunction(function + "\nlaunch ?", "p.txt", 40, symbols, &consumed);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(consumed, function.size());
  EXPECT_EQ(PrintFunction(**parsed, symbols), function);
  EXPECT_EQ((*parsed)->nodes()[0]->line(), 41);
  EXPECT_EQ(ParseFunction("func @k() {\n return @w }", "p.txt", 40, symbols, &consumed)
                .status()
                .message(),
            "p.txt:41: expected a weight declared above, found @w");
}

// --- errors ---

struct ErrorCase {
  const char* text;  // after "module "m" stage imported\n", which is line 1
  const char* message;
};

void PrintTo(const ErrorCase& error, std::ostream* out) { *out << error.message; }

class TextError : public testing::TestWithParam<ErrorCase> {};

TEST_P(TextError, NamesLineExpectedAndFound) {
  const std::string text = absl::StrCat("module \"m\" stage imported\n", GetParam().text);
  EXPECT_EQ(std::string(Parse(text, "m.ir").status().message()), GetParam().message);
}

const ErrorCase kErrors[] = {
    {"dims", "m.ir:2: expected dim, weight or func, found dims"},
    {"dim 3 in [1, 2]", "m.ir:2: expected a dimension's name, found 3"},
    {"dim T in [1, 2]\ndim T in [1, 2]",
     "m.ir:3: expected a dimension not declared above, found T"},
    {"dim T of", "m.ir:2: expected 'in', found of"},
    {"dim T in [x", "m.ir:2: expected a lower bound, found x"},
    {"dim T in [1, 99999999999999999999]",
     "m.ir:2: expected an upper bound, found 99999999999999999999"},
    {"weight w", "m.ir:2: expected a weight's name, found w"},
    {"weight @w : f32[1]\nweight @w : f32[1]",
     "m.ir:3: expected a weight not declared above, found @w"},
    {"weight @w : f33[1]", "m.ir:2: expected a type such as f32[T,576], found f33"},
    {"weight @w : f32[T]", "m.ir:2: expected a size or a declared dimension, found T"},
    {"weight @w : f32[1.5]", "m.ir:2: expected a size, found 1.5"},
    {"weight @w : f32[1,1,1,1,1,1,1,1,1]", "m.ir:2: expected at most 8 dimensions, found 1"},
    {"weight @w : kv f32", "m.ir:2: expected '<', found f32"},
    {"weight @w : f32[2] = [1]", "m.ir:2: weight @w: expected 2 elements, found 1"},
    {"weight @w : f16[1] = [1]", "m.ir:2: expected no data for a weight not f32[n], found ="},
    {"weight @w : f32[1] = [x]", "m.ir:2: expected a number, found x"},
    {"weight @w : f32[1] = [1e99]", "m.ir:2: expected a number, found 1e99"},
    {"weight @\"w : f32[1]", "m.ir:2: expected a weight's name, found @\\\"w : f32[1]"},
    {"func f", "m.ir:2: expected a function's name, found f"},
    {"func @f() { return }\nfunc @f() { return }",
     "m.ir:3: expected a function not defined above, found @f"},
    {"func @f(%0: f32[]) {", "m.ir:2: expected a parameter's name, found %0"},
    {"func @f(%x: f32[],\n%x: f32[]) {", "m.ir:3: expected a name not defined above, found %x"},
    {"func @f(x", "m.ir:2: expected a parameter's name, found x"},
    {"func @f() {", "m.ir:2: expected a statement or return, found the end of the text"},
    {"func @f() {\n neg", "m.ir:3: expected a statement or return, found neg"},
    {"func @f() {\n %0 = nag", "m.ir:3: expected an op, found nag"},
    {"func @f() {\n %0 = neg %x : f32[]", "m.ir:3: expected a value defined above, found %x"},
    {"func @f() {\n %0 = neg %1 : f32[]\n %1 = neg %0 : f32[]\n return %0 }",
     "m.ir:3: expected a value defined above, found %1"},
    {"func @f() {\n %0 = neg @x : f32[]", "m.ir:3: expected a weight declared above, found @x"},
    {"func @f(%x: f32[]) {\n %0 = neg %x, 3", "m.ir:3: expected a value or a weight, found 3"},
    {"func @f(%x: f32[]) {\n %0 = neg %x f32[]", "m.ir:3: expected ':', found f32"},
    {"func @f(%x: f32[]) {\n %x = neg %x : f32[]",
     "m.ir:3: expected a name not defined above, found %x"},
    {"func @f(%x: f32[]) {\n %0 = neg %x : f32[]\n %0 = neg %x : f32[]",
     "m.ir:4: expected a name not defined above, found %0"},
    {"func @f(%x: f32[]) {\n %0, %1 = neg %x : f32[]", "m.ir:3: expected 2 result types, found 1"},
    {"func @f(%x: f32[]) {\n %0 = neg %x {a = 1, a = 2}",
     "m.ir:3: expected an attribute not given before, found a"},
    {"func @f(%x: f32[]) {\n %0 = neg %x {a = b}",
     "m.ir:3: expected an attribute's value, found b"},
    {"func @f(%x: f32[]) {\n %0 = neg %x {a = [1, b]}", "m.ir:3: expected an integer, found b"},
    {"func @f(%x: f32[]) {\n %0 = constant {value = \"}", "m.ir:3: expected a number, found \\\"}"},
    {"func @f(%x: f32[]) {\n %0 = fused %x", "m.ir:3: expected '(', found %x"},
    {"func @f(%x: f32[]) {\n %0 = fused(%a = %x) {\n %1 = neg %x : f32[]\n return %1 } : f32[]",
     "m.ir:4: expected an attribute's name, found %1"},
    {"func @f(%x: f32[]) {\n %0 = fused(%a = %x) {} {\n %1 = neg %x : f32[]\n return %1 } : f32[]",
     "m.ir:4: expected a value defined above, found %x"},
    {"func @f(%x: f32[]) {\n return \x01", "m.ir:3: expected '}', found \\x01"},
};

INSTANTIATE_TEST_SUITE_P(Ir, TextError, testing::ValuesIn(kErrors));

TEST(IrText, AHeaderIsNeeded) {
  EXPECT_EQ(Parse("", "m.ir").status().message(),
            "m.ir:1: expected 'module', found the end of the text");
  EXPECT_EQ(Parse("module m", "m.ir").status().message(),
            "m.ir:1: expected the module's name in quotes, found m");
  EXPECT_EQ(Parse("module \"m\" stage late", "m.ir").status().message(),
            "m.ir:1: expected one of the stages imported, optimised, attention, fused, found late");
}

TEST(IrText, DeepNestingIsRefused) {
  std::string text = "module \"m\" stage fused\nfunc @f(%x: f32[]) {\n";
  for (int i = 0; i < 100000; ++i) absl::StrAppend(&text, "%0 = fused(%x = %x) {} {\n");
  EXPECT_EQ(Parse(text, "m.ir").status().message(),
            "m.ir:7: expected regions at most 4 deep, found (");
}

TEST(IrText, ATextCutAnywhereIsRefusedInOneLine) {
  const absl::StatusOr<std::string> text = ReadFile(NINFER_SOURCE_DIR "/tests/ir/text/fused.ir");
  ASSERT_TRUE(text.ok()) << text.status();
  const size_t last = text->rfind("func");
  for (size_t size = 0; size + 2 < text->size(); ++size) {
    const absl::StatusOr<Module> module = Parse(text->substr(0, size), "cut.ir");
    if (module.ok()) {
      EXPECT_LE(size, last) << "a function without its end was taken";
      continue;
    }
    EXPECT_EQ(module.status().message().find('\n'), absl::string_view::npos);
    EXPECT_EQ(module.status().message().substr(0, 7), "cut.ir:");
  }
}

}  // namespace
}  // namespace ninfer::ir
