#include <gtest/gtest.h>

#include "bench/report.h"

namespace ninfer::bench {
namespace {

Table Example() {
  Table table;
  table.title = "a, \"b\"";
  table.columns = {{"name", "name"}, {"rate", "tok/s", 1}, {"samples", ""}, {"count", "count"}};
  table.rows = {{"x|y", 12.345, {1.0, 2.5}, 3}, {"z", nullptr, Json::array(), 40}};
  table.notes = {"A note."};
  return table;
}

TEST(ReportTest, MarkdownLinesUpAndLeavesOutColumnsWithoutTitle) {
  EXPECT_EQ(Write({Example()}, Format::kMarkdown),
            "**a, \"b\"**\n"
            "\n"
            "| name | tok/s | count |\n"
            "| ---- | ----: | ----: |\n"
            "| x\\|y |  12.3 |     3 |\n"
            "| z    |       |    40 |\n"
            "\n"
            "A note.\n");
}

TEST(ReportTest, CsvHasAllColumnsAndQuotesWhatNeedsIt) {
  EXPECT_EQ(Write({Example()}, Format::kCsv),
            "table,name,rate,samples,count\n"
            "\"a, \"\"b\"\"\",x|y,12.345,\"[1.0,2.5]\",3\n"
            "\"a, \"\"b\"\"\",z,,[],40\n");
}

TEST(ReportTest, JsonParsesBack) {
  const Json list = Json::parse(Write({Example(), Example()}, Format::kJson), nullptr, false);
  ASSERT_TRUE(list.is_array());
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0]["title"], "a, \"b\"");
  EXPECT_EQ(list[0]["notes"], Json({"A note."}));
  EXPECT_EQ(list[0]["rows"][0]["rate"], 12.345);
  EXPECT_EQ(list[0]["rows"][0]["samples"], Json({1.0, 2.5}));
  EXPECT_TRUE(list[0]["rows"][1]["rate"].is_null());
}

TEST(ReportTest, RefusesAnUnknownFormat) {
  EXPECT_EQ(FormatFromName("xml").status().message(),
            "--output: expected md, csv or json, found 'xml'");
}

TEST(ReportTest, MedianMeanAndDeviation) {
  EXPECT_EQ(Median({3, 1, 2}), 2);
  EXPECT_EQ(Median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(Median({}), 0);
  EXPECT_EQ(Mean({1, 2, 6}), 3);
  EXPECT_EQ(StandardDeviation({2, 4}), std::sqrt(2.0));
  EXPECT_EQ(StandardDeviation({2}), 0);
}

}  // namespace
}  // namespace ninfer::bench
