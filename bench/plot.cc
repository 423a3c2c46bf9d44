// Tested by tests/bench_plot_test.cc.
#include "bench/plot.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"

namespace ninfer::bench {
namespace {

// Pixels.
constexpr double kPanelWidth = 330, kPanelHeight = 250, kLeft = 74, kRight = 22, kTop = 30;
constexpr double kBottom = 58, kTitle = 56, kLegendLine = 20;
constexpr int kMostColumns = 3;
// Okabe and Ito's colours, which colour-blind readers tell apart, without the yellow.
constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                    "#56b4e9", "#e69f00", "#000000"};

struct Point {
  std::string series;  // "bf16", or "torch eager bf16"
  bool prefill = true, ours = true;
  int64_t tokens = 0, depth = 0, texts = 1;
  std::string weights;
  double rate = 0, limit = 0;
};

enum class Axis { kTexts, kDepth, kWeights };

struct Panel {
  std::string title;
  Axis axis = Axis::kWeights;
  std::vector<std::string> ticks;                       // of x, evenly apart
  std::vector<std::pair<size_t, const Point*>> points;  // by tick
};

std::string Escape(absl::string_view text) {
  return absl::StrReplaceAll(text,
                             {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

std::string Text(double x, double y, absl::string_view anchor, absl::string_view text,
                 absl::string_view more = "") {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>%s</text>\n", x, y,
                         anchor, more, Escape(text));
}

std::string Line(double x1, double y1, double x2, double y2, absl::string_view style) {
  return absl::StrFormat("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2,
                         y2, style);
}

std::vector<Point> PointsOf(const Table& table) {
  std::map<std::string, size_t> at;
  for (size_t i = 0; i < table.columns.size(); ++i) at[table.columns[i].key] = i;
  std::vector<Point> points;
  for (const std::vector<Json>& row : table.rows) {
    const auto cell = [&](const char* key) -> const Json& { return row[at.at(key)]; };
    Point point;
    const std::string engine = cell("engine").get<std::string>();
    point.ours = engine == "ninfer";
    point.weights = cell("weights").get<std::string>();
    point.series = point.ours ? point.weights : absl::StrCat(engine, " ", point.weights);
    point.prefill = cell("test").get<std::string>().rfind("pp", 0) == 0;
    point.tokens = cell("tokens").get<int64_t>();
    point.depth = cell("depth").get<int64_t>();
    point.texts = cell("texts").get<int64_t>();
    point.rate = cell("tokens_per_second").get<double>();
    point.limit = cell("limit_tokens_per_second").get<double>();
    if (point.rate > 0 && point.limit > 0) points.push_back(std::move(point));
  }
  return points;
}

std::string AxisTitle(Axis axis) {
  if (axis == Axis::kTexts) return "texts at a time";
  return axis == Axis::kDepth ? "positions cached before" : "weights";
}

void AddTicks(const std::vector<const Point*>& points, Panel* panel) {
  std::set<int64_t> numbers;
  std::vector<std::string> weights;  // as the table has them
  for (const Point* point : points) {
    numbers.insert(panel->axis == Axis::kTexts ? point->texts : point->depth);
    if (std::find(weights.begin(), weights.end(), point->weights) == weights.end()) {
      weights.push_back(point->weights);
    }
  }
  if (panel->axis == Axis::kWeights) {
    panel->ticks = weights;
  } else {
    for (int64_t number : numbers) panel->ticks.push_back(absl::StrCat(number));
  }
  for (const Point* point : points) {
    const std::string tick =
        panel->axis == Axis::kWeights
            ? point->weights
            : absl::StrCat(panel->axis == Axis::kTexts ? point->texts : point->depth);
    const auto found = std::find(panel->ticks.begin(), panel->ticks.end(), tick);
    panel->points.push_back({static_cast<size_t>(found - panel->ticks.begin()), point});
  }
}

// What the run varied goes along x; where it varied texts and depths, a panel for each depth.
std::vector<Panel> PanelsOf(const std::vector<Point>& points) {
  std::map<bool, std::set<int64_t>> depths, texts;  // of prefill or not
  for (const Point& point : points) {
    depths[point.prefill].insert(point.depth);
    texts[point.prefill].insert(point.texts);
  }
  std::map<std::tuple<bool, int64_t, int64_t>, std::vector<const Point*>> groups;
  for (const Point& point : points) {
    const bool by_texts = texts[point.prefill].size() > 1;
    groups[{!point.prefill, point.tokens, by_texts ? point.depth : 0}].push_back(&point);
  }
  std::vector<Panel> panels;
  for (const auto& [key, group] : groups) {
    const Point& first = *group[0];
    Panel panel;
    panel.axis = texts[first.prefill].size() > 1    ? Axis::kTexts
                 : depths[first.prefill].size() > 1 ? Axis::kDepth
                                                    : Axis::kWeights;
    panel.title = absl::StrCat(first.prefill ? "prefill of " : "decoding, ", first.tokens,
                               first.tokens == 1 ? " token" : " tokens");
    if (panel.axis != Axis::kDepth && first.depth > 0) {
      absl::StrAppend(&panel.title, " behind ", first.depth, " positions");
    }
    if (panel.axis != Axis::kTexts && first.texts > 1) {
      absl::StrAppend(&panel.title, ", ", first.texts, " texts");
    }
    AddTicks(group, &panel);
    panels.push_back(std::move(panel));
  }
  return panels;
}

// Rates on a logarithmic scale between two of 1, 2, 5, 10, ...
class Scale {
 public:
  explicit Scale(const std::vector<Point>& points) {
    double least = points[0].rate, most = points[0].rate;
    for (const Point& point : points) {
      least = std::min({least, point.rate, point.limit});
      most = std::max({most, point.rate, point.limit});
    }
    double power = std::pow(10, std::floor(std::log10(least)) - 1);
    while (ticks_.size() < 2 || ticks_.back() < most) {
      for (double step : {1.0, 2.0, 5.0}) {
        const double tick = step * power;
        while (!ticks_.empty() && ticks_.front() < least && tick <= least) ticks_.clear();
        if (ticks_.size() < 2 || ticks_.back() < most) ticks_.push_back(tick);
      }
      power *= 10;
    }
  }
  const std::vector<double>& ticks() const { return ticks_; }
  double At(double rate) const {  // 0 at the foot, 1 at the top
    return std::log(rate / ticks_.front()) / std::log(ticks_.back() / ticks_.front());
  }

 private:
  std::vector<double> ticks_;
};

class Drawing {
 public:
  Drawing(const Scale& scale, const std::vector<std::string>& series)
      : scale_(scale), series_(series) {}

  // The panel's frame with its upper left corner at (x, y), labels around it.
  std::string Draw(const Panel& panel, double x, double y) const {
    std::string svg =
        Text(x + kPanelWidth / 2, y - 10, "middle", panel.title, " font-weight=\"bold\"");
    for (double tick : scale_.ticks()) {
      const double at = Y(tick, y);
      absl::StrAppend(&svg, Line(x, at, x + kPanelWidth, at, "stroke=\"#dddddd\""),
                      Text(x - 6, at + 4, "end", absl::StrFormat("%g", tick)));
    }
    for (size_t i = 0; i < panel.ticks.size(); ++i) {
      const double at = X(panel, i, x);
      absl::StrAppend(&svg,
                      Line(at, y + kPanelHeight, at, y + kPanelHeight + 5, "stroke=\"black\""),
                      Text(at, y + kPanelHeight + 19, "middle", panel.ticks[i]));
    }
    absl::StrAppendFormat(&svg,
                          "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                          "fill=\"none\" stroke=\"black\"/>\n",
                          x, y, kPanelWidth, kPanelHeight);
    absl::StrAppend(
        &svg, Text(x + kPanelWidth / 2, y + kPanelHeight + 38, "middle", AxisTitle(panel.axis)));
    const double middle = y + kPanelHeight / 2;
    absl::StrAppend(&svg,
                    Text(x - 60, middle, "middle", "tokens a second (logarithmic)",
                         absl::StrFormat(" transform=\"rotate(-90 %.1f %.1f)\"", x - 60, middle)));
    for (size_t i = 0; i < series_.size(); ++i) absl::StrAppend(&svg, Series(panel, i, x, y));
    return svg;
  }

  static const char* Colour(size_t series) { return kColours[series % std::size(kColours)]; }

 private:
  double X(const Panel& panel, size_t tick, double x) const {
    const double count = static_cast<double>(panel.ticks.size());
    return x + kPanelWidth * (static_cast<double>(tick) + 0.5) / count;
  }
  double Y(double rate, double y) const { return y + kPanelHeight * (1 - scale_.At(rate)); }

  // Dots joined by lines; the limits dashed, of our own rows alone, for a peer's are the same.
  std::string Series(const Panel& panel, size_t series, double x, double y) const {
    const char* colour = Colour(series);
    std::string svg, rates, limits;
    for (const auto& [tick, point] : panel.points) {
      if (point->series != series_[series]) continue;
      const double at = X(panel, tick, x);
      absl::StrAppendFormat(&rates, "%.1f,%.1f ", at, Y(point->rate, y));
      absl::StrAppendFormat(&svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n", at,
                            Y(point->rate, y), colour);
      if (!point->ours) continue;
      const double limit = Y(point->limit, y);
      absl::StrAppendFormat(&limits, "%.1f,%.1f ", at, limit);
      absl::StrAppend(&svg, Line(at - 9, limit, at + 9, limit,
                                 absl::StrCat("stroke=\"", colour, "\" stroke-width=\"2\"")));
    }
    if (panel.axis == Axis::kWeights) return svg;
    absl::StrAppendFormat(&svg, "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\"/>\n", rates,
                          colour);
    absl::StrAppendFormat(
        &svg, "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-dasharray=\"5 4\"/>\n",
        limits, colour);
    return svg;
  }

  const Scale& scale_;
  const std::vector<std::string>& series_;
};

// One entry after the other, from the left; a new line where the width ends.
std::string Legend(const std::vector<std::string>& series, double width, double* y) {
  std::string svg;
  double x = kLeft;
  const auto place = [&](const std::string& mark, const std::string& text) {
    const double taken = 40 + 7.2 * static_cast<double>(text.size());
    if (x > kLeft && x + taken > width) {
      x = kLeft;
      *y += kLegendLine;
    }
    absl::StrAppend(&svg, absl::StrFormat("<g transform=\"translate(%.1f %.1f)\">\n", x, *y), mark,
                    Text(26, 4, "start", text), "</g>\n");
    x += taken;
  };
  place("<circle cx=\"10\" cy=\"0\" r=\"4\"/>\n", "measured");
  place(Line(1, 0, 19, 0, "stroke=\"black\" stroke-width=\"2\""), "the machine's limit");
  for (size_t i = 0; i < series.size(); ++i) {
    place(absl::StrFormat("<rect x=\"4\" y=\"-6\" width=\"12\" height=\"12\" fill=\"%s\"/>\n",
                          Drawing::Colour(i)),
          series[i]);
  }
  return svg;
}

}  // namespace

std::string PlotSvg(const Table& table) {
  const std::vector<Point> points = PointsOf(table);
  NINFER_CHECK(!points.empty());
  const std::vector<Panel> panels = PanelsOf(points);
  std::vector<std::string> series;
  for (const Point& point : points) {
    if (std::find(series.begin(), series.end(), point.series) == series.end()) {
      series.push_back(point.series);
    }
  }
  const int count = static_cast<int>(panels.size()), columns = std::min(count, kMostColumns);
  // Room for the title, even above one panel.
  const double width = std::max(columns * (kLeft + kPanelWidth + kRight),
                                2 * kLeft + 9.5 * static_cast<double>(table.title.size()));
  double y = kTitle;
  const std::string legend = Legend(series, width, &y);
  y += kLegendLine;
  const Scale scale(points);
  const Drawing drawing(scale, series);
  std::string drawn;
  for (int i = 0; i < count; ++i) {
    const double x = (i % columns) * (kLeft + kPanelWidth + kRight) + kLeft;
    const double top = y + (i / columns) * (kTop + kPanelHeight + kBottom) + kTop;
    absl::StrAppend(&drawn, drawing.Draw(panels[i], x, top));
  }
  const int rows = (count + columns - 1) / columns;
  const double height = y + rows * (kTop + kPanelHeight + kBottom);
  return absl::StrCat(
      absl::StrFormat("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
                      "viewBox=\"0 0 %.0f %.0f\" font-family=\"sans-serif\" font-size=\"12\">\n",
                      width, height, width, height),
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
      Text(kLeft, 26, "start", table.title, " font-size=\"15\" font-weight=\"bold\""), legend,
      drawn, "</svg>\n");
}

}  // namespace ninfer::bench
