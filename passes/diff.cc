// A line diff: equal ends are cut off, the shortest edit script of the rest is found by Myers'
// greedy search (An O(ND) Difference Algorithm, 1986), and hunks are printed with lines of context.
// Past kMaxEdits edits the middle is shown as replaced whole: such a diff is read as two texts
// anyway.
//
// Tested by tests/passes_runner_test.cc.
#include "passes/diff.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace ninfer::passes {
namespace {

constexpr int kMaxEdits = 3000;

using Lines = std::vector<absl::string_view>;

// A line of the diff: ' ' kept, '-' of before, '+' of after.
struct Edit {
  char kind;
  absl::string_view line;
};

Lines SplitLines(absl::string_view text) {
  Lines lines = absl::StrSplit(text, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

// Furthest x reached on each diagonal after each number of edits; none when there are too many.
std::vector<std::vector<int>> Search(const Lines& a, const Lines& b) {
  const int n = static_cast<int>(a.size()), m = static_cast<int>(b.size());
  const int limit = std::min(n + m, kMaxEdits);
  std::vector<int> furthest(2 * limit + 3, 0);
  const int centre = limit + 1;
  std::vector<std::vector<int>> trace;
  for (int d = 0; d <= limit; ++d) {
    for (int k = -d; k <= d; k += 2) {
      const bool down = k == -d || (k != d && furthest[centre + k - 1] < furthest[centre + k + 1]);
      int x = down ? furthest[centre + k + 1] : furthest[centre + k - 1] + 1;
      while (x < n && x - k < m && a[x] == b[x - k]) ++x;
      furthest[centre + k] = x;
      if (x < n || x - k < m) continue;
      trace.emplace_back(furthest.begin() + centre - d, furthest.begin() + centre + d + 1);
      return trace;
    }
    trace.emplace_back(furthest.begin() + centre - d, furthest.begin() + centre + d + 1);
  }
  return {};
}

std::vector<Edit> Replaced(const Lines& a, const Lines& b) {
  std::vector<Edit> edits;
  for (absl::string_view line : a) edits.push_back({'-', line});
  for (absl::string_view line : b) edits.push_back({'+', line});
  return edits;
}

std::vector<Edit> ShortestEdits(const Lines& a, const Lines& b) {
  const std::vector<std::vector<int>> trace = Search(a, b);
  if (trace.empty()) return Replaced(a, b);
  std::vector<Edit> edits;
  int x = static_cast<int>(a.size()), y = static_cast<int>(b.size());
  for (int d = static_cast<int>(trace.size()) - 1; d > 0; --d) {
    const std::vector<int>& before = trace[d - 1];  // of diagonals -(d-1) .. d-1
    const auto at = [&](int k) { return k < -(d - 1) || k > d - 1 ? -1 : before[k + d - 1]; };
    const int k = x - y;
    const bool down = k == -d || (k != d && at(k - 1) < at(k + 1));
    const int from_x = down ? at(k + 1) : at(k - 1);
    const int from_y = from_x - (down ? k + 1 : k - 1);
    for (; x > from_x && y > from_y; --x, --y) edits.push_back({' ', a[x - 1]});
    edits.push_back(down ? Edit{'+', b[y - 1]} : Edit{'-', a[x - 1]});
    x = from_x;
    y = from_y;
  }
  for (; x > 0; --x) edits.push_back({' ', a[x - 1]});
  std::reverse(edits.begin(), edits.end());
  return edits;
}

// All edits, the equal ends of the texts included.
std::vector<Edit> EditsOf(Lines a, Lines b) {
  size_t head = 0;
  while (head < a.size() && head < b.size() && a[head] == b[head]) ++head;
  size_t tail = 0;
  while (tail < a.size() - head && tail < b.size() - head &&
         a[a.size() - 1 - tail] == b[b.size() - 1 - tail]) {
    ++tail;
  }
  std::vector<Edit> edits;
  for (size_t i = 0; i < head; ++i) edits.push_back({' ', a[i]});
  for (const Edit& edit : ShortestEdits(Lines(a.begin() + head, a.end() - tail),
                                        Lines(b.begin() + head, b.end() - tail))) {
    edits.push_back(edit);
  }
  for (size_t i = a.size() - tail; i < a.size(); ++i) edits.push_back({' ', a[i]});
  return edits;
}

}  // namespace

std::string UnifiedDiff(absl::string_view before, absl::string_view after,
                        absl::string_view before_name, absl::string_view after_name, int context) {
  if (before == after) return "";
  const std::vector<Edit> edits = EditsOf(SplitLines(before), SplitLines(after));
  std::string text = absl::StrCat("--- ", before_name, "\n+++ ", after_name, "\n");
  int line_a = 1, line_b = 1;  // of edits[i]
  for (size_t i = 0; i < edits.size();) {
    size_t change = i;
    while (change < edits.size() && edits[change].kind == ' ') ++change;
    if (change == edits.size()) break;
    const size_t begin = std::max(i, change - std::min<size_t>(change, context));
    size_t end = change;  // past the hunk: where `2 * context` equal lines follow, or none are left
    for (size_t j = change, equal = 0; j < edits.size() && equal <= 2u * context; ++j) {
      equal = edits[j].kind == ' ' ? equal + 1 : 0;
      if (equal == 0) end = j + 1;
    }
    end = std::min(edits.size(), end + context);
    line_a += static_cast<int>(begin - i);
    line_b += static_cast<int>(begin - i);
    int count_a = 0, count_b = 0;
    std::string hunk;
    for (size_t j = begin; j < end; ++j) {
      count_a += edits[j].kind != '+';
      count_b += edits[j].kind != '-';
      absl::StrAppend(&hunk, absl::string_view(&edits[j].kind, 1), edits[j].line, "\n");
    }
    absl::StrAppend(&text, "@@ -", line_a, ",", count_a, " +", line_b, ",", count_b, " @@\n", hunk);
    line_a += count_a;
    line_b += count_b;
    i = end;
  }
  return text;
}

}  // namespace ninfer::passes
