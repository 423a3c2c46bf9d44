// Each argument of a step that lies outside the limits is refused by name.
#include <gtest/gtest.h>

#include <functional>

#include "runtime/step_check.h"

namespace ninfer::runtime {
namespace {

struct Arguments {
  std::vector<int32_t> tokens = {1, 2, 3, 4, 5}, positions = {64, 65, 66, 0, 1};
  std::vector<int32_t> seq_bounds = {0, 3, 5}, cached_lens = {64, 0};
  std::vector<int32_t> page_table = {6, 1, 0, 3, 0, 0}, rows = {2, 4},
                       rope_len = {65, 66, 67, 2, 2};
};

ExecutorLimits Limits() {
  ExecutorLimits limits;
  limits.max_tokens = 8;
  limits.max_sequences = 2;
  limits.max_rows = 3;
  limits.pages_per_sequence = 3;
  limits.kv_groups = {{0, 8, 3}};
  limits.context_length = 180;
  return limits;
}

std::string MessageOf(const std::function<void(Arguments&)>& spoil,
                      const ExecutorLimits& limits = Limits()) {
  Arguments a;
  spoil(a);
  StepChecker checker(limits, 100);
  const StepInput input = {a.tokens,     a.positions, a.seq_bounds, a.cached_lens,
                           a.page_table, a.rows,      a.rope_len};
  return std::string(checker.Check(input).message());
}

TEST(StepCheck, AStepWithinTheLimitsPasses) {
  EXPECT_EQ(MessageOf([](Arguments&) {}), "");
}

TEST(StepCheck, SizesAreChecked) {
  EXPECT_EQ(MessageOf([](Arguments& a) { a.tokens.clear(); }),
            "step: tokens: expected 1 to 8, found 0");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.tokens.resize(9); }),
            "step: tokens: expected 1 to 8, found 9");
  EXPECT_EQ(MessageOf([](Arguments& a) {
              a.seq_bounds = {0, 1, 2, 5};
            }),
            "step: sequences: expected 1 to 2, found 3");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.seq_bounds.clear(); }),
            "step: sequences: expected 1 to 2, found -1");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.positions.pop_back(); }),
            "step: positions: expected 5 values, found 4");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.rope_len.clear(); }),
            "step: rope_len: expected 5 values, found 0");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.cached_lens.pop_back(); }),
            "step: cached_lens: expected 2 values, found 1");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.page_table.pop_back(); }),
            "step: page_table: expected 6 values, found 5");
}

TEST(StepCheck, ValuesAreChecked) {
  EXPECT_EQ(MessageOf([](Arguments& a) { a.tokens[0] = 100; }),
            "step: token: expected 0 to 99, found 100");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.tokens[0] = -1; }),
            "step: token: expected 0 to 99, found -1");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.positions[4] = 2; }),
            "step: position: expected 1 to 1, found 2");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.rope_len[0] = 181; }),
            "step: rope_len: expected 1 to 180, found 181");
}

TEST(StepCheck, RowsAscendAndExist) {
  EXPECT_EQ(MessageOf([](Arguments& a) { a.rows = {}; }),
            "step: rows wanted: expected 1 to 3, found 0");
  EXPECT_EQ(MessageOf([](Arguments& a) {
              a.rows = {0, 1, 2, 3};
            }),
            "step: rows wanted: expected 1 to 3, found 4");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.rows = {5}; }),
            "step: row wanted: expected 0 to 4, found 5");
  EXPECT_EQ(MessageOf([](Arguments& a) {
              a.rows = {2, 2};
            }),
            "step: row wanted: expected 3 to 4, found 2");
}

TEST(StepCheck, SequencesAreWholeAndFit) {
  EXPECT_EQ(MessageOf([](Arguments& a) { a.seq_bounds[0] = 1; }),
            "step: first sequence bound: expected 0 to 0, found 1");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.seq_bounds[2] = 4; }),
            "step: last sequence bound: expected 5 to 5, found 4");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.seq_bounds[1] = 0; }),
            "step: sequence bound: expected 1 to 5, found 0");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.cached_lens[0] = -1; }),
            "step: cached length: expected 0 to 180, found -1");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.cached_lens[0] = 178; }),
            "step: length of a sequence: expected 1 to 180, found 181");
}

TEST(StepCheck, PagesExistAndAreWrittenInOnePlaceOnly) {
  EXPECT_EQ(MessageOf([](Arguments& a) { a.page_table[1] = 8; }),
            "step: page: expected 0 to 7, found 8");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.page_table[3] = -1; }),
            "step: page: expected 0 to 7, found -1");
  // What is behind the last position is never looked at.
  EXPECT_EQ(MessageOf([](Arguments& a) { a.page_table[2] = 99; }), "");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.page_table[3] = 1; }),
            "step: page 1: expected one place for a page that is written, found two");
  EXPECT_EQ(MessageOf([](Arguments& a) { a.page_table[3] = 6; }),
            "step: page 6: expected one place for a page that is written, found two");
}

TEST(StepCheck, ReadingASharedPageIsAllowed) {
  Arguments a;
  a.cached_lens = {64, 64};
  a.positions = {64, 65, 66, 64, 65};
  a.page_table = {6, 1, 0, 6, 2, 0};
  StepChecker checker(Limits(), 100);
  const StepInput input = {a.tokens,     a.positions, a.seq_bounds, a.cached_lens,
                           a.page_table, a.rows,      a.rope_len};
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(checker.Check(input).ok());
}

// The window of 20 reaches back to position 45 from the first sequence's rows, not to page 0 of the
// second's. The tables of the group follow those of the layers that see all.
TEST(StepCheck, PagesOfAWindowExistWhereARowSeesThem) {
  ExecutorLimits limits = Limits();
  limits.kv_groups.push_back({20, 4, 2});
  const auto message_of = [&](const std::function<void(Arguments&)>& spoil) {
    return MessageOf(
        [&](Arguments& a) {
          a.cached_lens = {64, 130};
          a.positions = {64, 65, 66, 130, 131};
          a.page_table = {6, 1, 0, 3, 2, 5, /*window:*/ 3, 1, -1, -1, 0, 2};
          spoil(a);
        },
        limits);
  };
  EXPECT_EQ(message_of([](Arguments&) {}), "");
  EXPECT_EQ(message_of([](Arguments& a) { a.page_table.resize(6); }),
            "step: page_table: expected 12 values, found 6");
  EXPECT_EQ(message_of([](Arguments& a) { a.page_table[6] = -1; }),
            "step: page: expected 0 to 3, found -1");
  EXPECT_EQ(message_of([](Arguments& a) { a.page_table[11] = 4; }),
            "step: page: expected 0 to 3, found 4");
  EXPECT_EQ(message_of([](Arguments& a) { a.page_table[9] = 99; }), "");
  EXPECT_EQ(message_of([](Arguments& a) { a.page_table[11] = 3; }),
            "step: page 3: expected one place for a page that is written, found two");
  // The same number is another page in another group.
  EXPECT_EQ(message_of([](Arguments& a) { a.page_table[11] = 2; }), "");
}

TEST(StepCheck, WithoutACacheNothingIsCachedAndPagesAreNotAskedFor) {
  ExecutorLimits limits = Limits();
  limits.has_kv_cache = false;
  limits.kv_groups.clear();
  EXPECT_EQ(MessageOf([](Arguments&) {}, limits), "step: cached length: expected 0 to 0, found 64");
  EXPECT_EQ(MessageOf(
                [](Arguments& a) {
                  a.cached_lens[0] = 0;
                  a.positions = {0, 1, 2, 0, 1};
                  a.page_table.clear();
                },
                limits),
            "");
}

}  // namespace
}  // namespace ninfer::runtime
