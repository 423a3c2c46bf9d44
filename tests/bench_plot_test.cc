// What the picture of a throughput table shows.
#include <gtest/gtest.h>

#include <regex>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "bench/plot.h"

namespace ninfer::bench {
namespace {

Table Empty() {
  Table table;
  table.title = "a <model>";
  for (const char* key : {"engine", "weights", "test", "tokens", "depth", "texts",
                          "tokens_per_second", "limit_tokens_per_second"}) {
    table.columns.push_back({key, ""});
  }
  return table;
}

void Add(const char* engine, const char* weights, bool prefill, int depth, int texts, double rate,
         double limit, Table* table) {
  table->rows.push_back(
      {engine, weights, prefill ? "pp512" : "tg64", prefill ? 512 : 64, depth, texts, rate, limit});
}

size_t Count(const std::string& svg, const std::string& pattern) {
  const std::regex regex(pattern);
  return std::distance(std::sregex_iterator(svg.begin(), svg.end(), regex), {});
}

TEST(PlotTest, TextsAtATimeGoAlongXWithAPanelForEachDepth) {
  Table table = Empty();
  for (int depth : {0, 2048}) {
    for (int texts : {1, 8, 32}) {
      for (const char* weights : {"bf16", "int8_g32"}) {
        Add("ninfer", weights, false, depth, texts, 100 * texts, 200 * texts, &table);
      }
    }
  }
  const std::string svg = PlotSvg(table);
  EXPECT_EQ(Count(svg, "texts at a time"), 2);
  EXPECT_TRUE(absl::StrContains(svg, ">decoding, 64 tokens<"));
  EXPECT_TRUE(absl::StrContains(svg, ">decoding, 64 tokens behind 2048 positions<"));
  EXPECT_EQ(Count(svg, "<circle"), 12 + 1);                     // and one in the legend
  EXPECT_EQ(Count(svg, "stroke-width=\"2\""), 12 + 1);          // the limits
  EXPECT_EQ(Count(svg, "stroke-dasharray"), 4);                 // two types in two panels
  EXPECT_EQ(Count(svg, "text-anchor=\"start\">int8_g32<"), 1);  // the legend
  EXPECT_EQ(Count(svg, ">32</text>"), 2);                       // the labels of x
}

TEST(PlotTest, DepthsGoAlongXWhereTextsDoNotVary) {
  Table table = Empty();
  for (int depth : {0, 512}) {
    Add("ninfer", "bf16", true, depth, 1, 1000, 2000, &table);
    Add("ninfer", "bf16", false, depth, 4, 100, 200, &table);
  }
  const std::string svg = PlotSvg(table);
  EXPECT_EQ(Count(svg, "positions cached before"), 2);
  EXPECT_TRUE(absl::StrContains(svg, ">prefill of 512 tokens<"));
  EXPECT_TRUE(absl::StrContains(svg, ">decoding, 64 tokens, 4 texts<"));
}

TEST(PlotTest, TypesGoAlongXWhereNothingElseVaries) {
  Table table = Empty();
  Add("ninfer", "bf16", true, 0, 1, 1000, 2000, &table);
  Add("ninfer", "int4_g32", true, 0, 1, 2000, 4000, &table);
  const std::string svg = PlotSvg(table);
  EXPECT_EQ(Count(svg, ">weights</text>"), 1);
  EXPECT_EQ(Count(svg, "text-anchor=\"middle\">int4_g32<"), 1);
}

TEST(PlotTest, AHigherRateIsHigherAndALimitAboveIt) {
  Table table = Empty();
  Add("ninfer", "bf16", false, 0, 1, 100, 200, &table);
  Add("ninfer", "bf16", false, 0, 2, 150, 900, &table);
  const std::string svg = PlotSvg(table);
  std::vector<double> rates;
  const std::regex circle("<circle cx=\"[0-9.]+\" cy=\"([0-9.]+)\" r=\"4\" fill");
  for (auto it = std::sregex_iterator(svg.begin(), svg.end(), circle); it != std::sregex_iterator();
       ++it) {
    rates.push_back(std::stod((*it)[1]));
  }
  ASSERT_EQ(rates.size(), 2);
  EXPECT_GT(rates[0], rates[1]);  // y goes down
  std::smatch found;
  const std::regex limit("<line x1=\"[0-9.]+\" y1=\"([0-9.]+)\"[^>]*stroke-width=\"2\"");
  const std::string panel = svg.substr(svg.find("<rect x="));
  ASSERT_TRUE(std::regex_search(panel, found, limit));
  EXPECT_LT(std::stod(found[1]), rates[0]);
}

TEST(PlotTest, APeerHasItsOwnSeriesAndNoLimitOfItsOwn) {
  Table table = Empty();
  Add("ninfer", "bf16", false, 0, 1, 100, 200, &table);
  Add("torch eager", "bf16", false, 0, 1, 50, 200, &table);
  const std::string svg = PlotSvg(table);
  EXPECT_TRUE(absl::StrContains(svg, ">torch eager bf16<"));
  EXPECT_EQ(Count(svg, "stroke-width=\"2\""), 1 + 1);
}

TEST(PlotTest, TextIsEscaped) {
  Table table = Empty();
  Add("ninfer", "bf16", false, 0, 1, 100, 200, &table);
  const std::string svg = PlotSvg(table);
  EXPECT_TRUE(absl::StrContains(svg, "a &lt;model&gt;"));
  EXPECT_FALSE(absl::StrContains(svg, "<model>"));
}

}  // namespace
}  // namespace ninfer::bench
