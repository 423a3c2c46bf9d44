// Tested by tests/bench_report_test.cc.
#include "bench/report.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"

namespace ninfer::bench {
namespace {

std::string Dump(const Json& value, int indent = -1) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string CellText(const Json& value, int decimals) {
  if (value.is_null()) return "";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return absl::StrFormat("%.*f", decimals, value.get<double>());
  return Dump(value);
}

std::string Markdown(const Table& table) {
  std::vector<size_t> shown;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    if (!table.columns[i].title.empty()) shown.push_back(i);
  }
  std::vector<std::vector<std::string>> lines(1);
  std::vector<bool> numbers(shown.size(), true);
  for (size_t i : shown) lines[0].push_back(table.columns[i].title);
  for (const std::vector<Json>& row : table.rows) {
    std::vector<std::string> line;
    for (size_t k = 0; k < shown.size(); ++k) {
      const Json& value = row[shown[k]];
      if (!value.is_number() && !value.is_null()) numbers[k] = false;
      line.push_back(absl::StrReplaceAll(CellText(value, table.columns[shown[k]].decimals),
                                         {{"|", "\\|"}, {"\n", " "}}));
    }
    lines.push_back(std::move(line));
  }
  std::vector<size_t> widths(shown.size(), 3);
  for (const auto& line : lines) {
    for (size_t k = 0; k < line.size(); ++k) widths[k] = std::max(widths[k], line[k].size());
  }
  std::string text = absl::StrCat("**", table.title, "**\n\n");
  for (size_t i = 0; i < lines.size(); ++i) {
    for (size_t k = 0; k < shown.size(); ++k) {
      const std::string padding(widths[k] - lines[i][k].size(), ' ');
      absl::StrAppend(&text, k == 0 ? "| " : " | ", numbers[k] ? padding : "", lines[i][k],
                      numbers[k] ? "" : padding);
    }
    absl::StrAppend(&text, " |\n");
    if (i > 0) continue;
    for (size_t k = 0; k < shown.size(); ++k) {
      const std::string dashes(widths[k] - 1, '-');
      absl::StrAppend(&text, k == 0 ? "| " : " | ", dashes, numbers[k] ? ":" : "-");
    }
    absl::StrAppend(&text, " |\n");
  }
  if (!table.notes.empty()) absl::StrAppend(&text, "\n", absl::StrJoin(table.notes, "\n"), "\n");
  return text;
}

std::string CsvCell(const Json& value) {
  const std::string text = value.is_null()     ? ""
                           : value.is_string() ? value.get<std::string>()
                                               : Dump(value);
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::string Csv(const Table& table) {
  std::vector<std::string> keys = {"table"};
  for (const Column& column : table.columns) keys.push_back(column.key);
  std::string text = absl::StrCat(absl::StrJoin(keys, ","), "\n");
  for (const std::vector<Json>& row : table.rows) {
    std::vector<std::string> cells = {CsvCell(table.title)};
    for (const Json& value : row) cells.push_back(CsvCell(value));
    absl::StrAppend(&text, absl::StrJoin(cells, ","), "\n");
  }
  return text;
}

Json ToJson(const Table& table) {
  Json rows = Json::array();
  for (const std::vector<Json>& row : table.rows) {
    Json object = Json::object();
    for (size_t i = 0; i < row.size(); ++i) object[table.columns[i].key] = row[i];
    rows.push_back(std::move(object));
  }
  return Json{{"title", table.title}, {"rows", std::move(rows)}, {"notes", table.notes}};
}

}  // namespace

absl::StatusOr<Format> FormatFromName(absl::string_view name) {
  if (name == "md") return Format::kMarkdown;
  if (name == "csv") return Format::kCsv;
  if (name == "json") return Format::kJson;
  return InvalidArgument("--output: expected md, csv or json, found '", name, "'");
}

std::string Write(const std::vector<Table>& tables, Format format) {
  if (format == Format::kJson) {
    Json list = Json::array();
    for (const Table& table : tables) list.push_back(ToJson(table));
    return Dump(list, 2) + "\n";
  }
  std::vector<std::string> texts;
  for (const Table& table : tables) {
    texts.push_back(format == Format::kCsv ? Csv(table) : Markdown(table));
  }
  return absl::StrJoin(texts, "\n");
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

double StandardDeviation(const std::vector<double>& values) {
  if (values.size() < 2) return 0;
  const double mean = Mean(values);
  double sum = 0;
  for (double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

}  // namespace ninfer::bench
