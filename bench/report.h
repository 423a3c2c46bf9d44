// Tables of results, written as Markdown, CSV or JSON. Tested by tests/bench_report_test.cc.
#ifndef NINFER_BENCH_REPORT_H_
#define NINFER_BENCH_REPORT_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ninfer::bench {

using Json = nlohmann::json;

struct Column {
  std::string key;    // in CSV and JSON: "tokens_per_second"
  std::string title;  // in Markdown; empty: not shown there
  int decimals = 2;
};

struct Table {
  std::string title;
  std::vector<Column> columns;
  std::vector<std::vector<Json>> rows;  // null where a cell has nothing to say
  std::vector<std::string> notes;
};

enum class Format { kMarkdown, kCsv, kJson };
absl::StatusOr<Format> FormatFromName(absl::string_view name);

// JSON is one array of {"title", "rows": [{key: value}], "notes"}; CSV has a line of keys and, in a
// first column, the table's title; notes are left to the other two.
std::string Write(const std::vector<Table>& tables, Format format);

// The value of the middle, or the mean of both; 0 of nothing.
double Median(std::vector<double> values);
double Mean(const std::vector<double>& values);
double StandardDeviation(const std::vector<double>& values);  // of a sample; 0 of fewer than two

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_REPORT_H_
