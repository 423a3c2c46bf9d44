// Stop strings are found wherever the pieces of a text are cut.
#include <gtest/gtest.h>

#include "runtime/stop_strings.h"

namespace ninfer::runtime {
namespace {

// What is shown of `text` in pieces of `size`.
std::string Shown(const std::vector<std::string>& stops, const std::string& text, size_t size,
                  bool* stopped) {
  StopStrings strings(stops);
  std::string shown;
  for (size_t at = 0; at < text.size(); at += size) shown += strings.Append(text.substr(at, size));
  shown += strings.Finish();
  *stopped = strings.stopped();
  return shown;
}

TEST(StopStrings, AreFoundHoweverTheTextIsCut) {
  for (size_t size = 1; size < 20; ++size) {
    bool stopped;
    EXPECT_EQ(Shown({"END"}, "the END of it", size, &stopped), "the ");
    EXPECT_TRUE(stopped);
    EXPECT_EQ(Shown({"aab"}, "aaaaab", size, &stopped), "aaa");
    EXPECT_TRUE(stopped);
    EXPECT_EQ(Shown({"END"}, "EN EN E", size, &stopped), "EN EN E");
    EXPECT_FALSE(stopped);
  }
}

TEST(StopStrings, TheEarliestOfSeveralCounts) {
  bool stopped;
  EXPECT_EQ(Shown({"late", "soon"}, "not soon, late", 100, &stopped), "not ");
  EXPECT_EQ(Shown({"late", "oo"}, "not soon, late", 1, &stopped), "not s");
}

TEST(StopStrings, OnlyWhatMayBeginOneIsHeldBack) {
  StopStrings strings({"stop"});
  EXPECT_EQ(strings.Append("go on s"), "go on ");
  EXPECT_EQ(strings.Append("t"), "");
  EXPECT_EQ(strings.Append("art"), "start");
  EXPECT_FALSE(strings.stopped());
}

TEST(StopStrings, EmptyOnesAreLeftOut) {
  bool stopped;
  EXPECT_EQ(Shown({""}, "text", 2, &stopped), "text");
  EXPECT_FALSE(stopped);
  EXPECT_EQ(Shown({}, "text", 2, &stopped), "text");
}

TEST(StopStrings, NothingIsShownAfterTheStop) {
  StopStrings strings({"."});
  EXPECT_EQ(strings.Append("a.b"), "a");
  EXPECT_EQ(strings.Append("c"), "");
  EXPECT_EQ(strings.Finish(), "");
}

}  // namespace
}  // namespace ninfer::runtime
