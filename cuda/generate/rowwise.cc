// The families whose work unit is a row: a block for each. Norms, rope, embeddings, gathers and
// elementwise arithmetic; keys and values into their pages; the choice of experts and of the
// largest column; and the page table of a scratch cache.
// Tested by tests/cuda_shim_test.cc.
#include <algorithm>

#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "cuda/generate/kernel_writer.h"
#include "cuda/generate/kv_layout.h"
#include "cuda/generate/row_writer.h"
#include "program/body.h"
#include "program/columns.h"

namespace ninfer::cuda {
namespace {

using program::RowColumns;

// Four columns to a thread, where there are enough.
int ThreadsFor(int64_t columns) {
  const int64_t threads = (columns + 4 * kWarpLanes - 1) / (4 * kWarpLanes) * kWarpLanes;
  return static_cast<int>(std::clamp<int64_t>(threads, 64, 512));
}

// What is stored need not be rounded before.
const ir::Value* BeforeLastCast(const ir::Value* value) {
  const ir::Node* last = value->producer();
  const bool casts = last != nullptr && last->op() == ir::Op::kCast &&
                     last->operand(0)->type().dtype == DType::kF32;
  return casts ? last->operand(0) : value;
}

void BeginRow(KernelWriter& w, const ir::Dim& rows, DeviceKernel& device) {
  device.grid[0] = {1, rows.symbol, 1};
  w.text().Line("const int row = blockIdx.x;");
  w.text().Line("if (row >= ", w.DimText(rows), ") return;");
}

// Column d of a head's key (part 1) or value (part 2) at `slot`.
std::string CacheElement(const KvPage& page, int part, const std::string& head,
                         const std::string& d) {
  const int64_t chunk = page.chunk();
  const std::string place =
      part == 2    ? absl::StrCat("slot * ", page.head_dim, " + ", d)
      : chunk == 1 ? absl::StrCat(Times(d, KvPage::kPositions), " + slot")
                   : absl::StrCat(Times(Over(d, chunk), KvPage::kPositions * chunk), " + ",
                                  Times("slot", chunk), " + ", Modulo(d, chunk));
  return absl::StrCat(part == 1 ? "keys[" : "values[", Times(head, page.head()), " + ", place, "]");
}

// A warp rounds a head's row with one scale.
void AppendIntegers(KernelWriter& w, RowWriter& rows, const KvPage& page, int part,
                    const ir::Value* value, int threads) {
  Text& text = w.text();
  const std::string h = w.NewName("h"), d = w.NewName("d");
  const std::string column = absl::StrCat("(", Times(h, page.head_dim), " + ", d, ")");
  const auto columns = [&](const std::function<void(const std::string& x)>& body) {
    text.Open("for (int ", d, " = threadIdx.x % 32; ", d, " < ", page.head_dim, "; ", d, " += 32)");
    const RowWriter::Scope scope(rows);
    body(rows.Evaluate(value, "row", column));
    text.Close();
  };
  text.Open("for (int ", h, " = threadIdx.x / 32; ", h, " < ", page.heads, "; ", h,
            " += ", threads / kWarpLanes, ")");
  text.Line("float most = 0.0f;");
  columns([&](const std::string& x) { text.Line("most = fmaxf(most, fabsf(", x, "));"); });
  text.Line("const float scale = ScaleOfMost(WarpMax(most), 127.0f);");
  columns([&](const std::string& x) {
    text.Line(CacheElement(page, part, h, d), " = (signed char)RoundToScale(", x,
              ", scale, 127.0f);");
  });
  text.Line("float* scales = (float*)(keys + ", Times(h, page.head()), " + ", 2 * page.part(),
            ");");
  text.Line("if (threadIdx.x % 32 == 0) scales[", (part - 1) * KvPage::kPositions,
            " + slot] = scale;");
  text.Close();
}

}  // namespace

absl::Status WriteRowwise(KernelWriter& w) {
  const std::vector<ir::Value*>& results = w.body().results();
  int64_t most = 1;
  for (const ir::Value* result : results) most = std::max(most, RowColumns(result->type()));
  const int threads = ThreadsFor(most);
  w.Head();
  DeviceKernel& device = w.Begin("rows", threads, 2);
  RowWriter rows(w, threads);
  rows.DeclareShared({results.begin(), results.end()});
  BeginRow(w, results[0]->type().shape[0], device);
  for (const ir::Value* result : results) rows.PrepareRow(result, "row");
  for (size_t i = 0; i < results.size(); ++i) {
    const ir::Type& type = results[i]->type();
    const int64_t columns = RowColumns(type);
    rows.ForColumns(columns, [&](const std::string& c) {
      const std::string y = rows.Evaluate(BeforeLastCast(results[i]), "row", c);
      const std::string stride = absl::StrCat(program::LeadingDimension(columns));
      w.text().Line(w.OutputName(static_cast<int>(i)), "[", ElementText("row", stride, c),
                    "] = ", StoredText(type.dtype, y), ";");
    });
  }
  w.End();
  return absl::OkStatus();
}

absl::Status WriteKvAppend(KernelWriter& w) {
  const ir::Node& append = *w.body().results()[0]->producer();
  const KvPage page(w.kernel().kv);
  const int64_t columns = page.heads * page.head_dim;
  const int threads = ThreadsFor(columns);
  w.Head();
  DeviceKernel& device = w.Begin("rows", threads, 2);
  RowWriter rows(w, threads);
  rows.DeclareShared({append.operand(1), append.operand(2)});
  BeginRow(w, append.operand(1)->type().shape[0], device);
  Text& text = w.text();
  const std::string bounds = w.Name(append.operand(4));
  text.Line("const int sequence = SequenceOf(", bounds, ", ", w.SymbolText("S"), ", row);");
  if (append.attr_bool("from_start", false)) {
    text.Line("const int position = row - ", bounds, "[sequence];");
  } else {
    text.Line("const int position = ", w.Name(append.operand(3)), "[row];");
  }
  text.Line("const int page = ", w.Name(append.operand(5)), "[(size_t)sequence * ",
            w.SymbolText("G"), " + position / ", KvPage::kPositions, "];");
  text.Line("const int slot = position % ", KvPage::kPositions, ";");
  const std::string type = TypeName(w.kernel().kv.dtype);
  text.Line(type, "* keys = ", w.Name(append.operand(0)), " + (size_t)page * ", page.elements(),
            ";");
  text.Line(type, "* values = keys + ", page.part(), ";");
  for (int part = 1; part <= 2; ++part) {
    const ir::Value* value = append.operand(part);
    rows.PrepareRow(value, "row");
    if (page.integers) {
      AppendIntegers(w, rows, page, part, value, threads);
      continue;
    }
    rows.ForColumns(columns, [&](const std::string& c) {
      const std::string y = rows.Evaluate(BeforeLastCast(value), "row", c);
      const std::string head = Over(c, page.head_dim), d = Modulo(c, page.head_dim);
      text.Line(CacheElement(page, part, head, d), " = ", StoredText(w.kernel().kv.dtype, y), ";");
    });
  }
  w.End();
  return absl::OkStatus();
}

absl::Status WritePages(KernelWriter& w) {
  const ir::Node& node = *w.body().results()[0]->producer();
  w.Head();
  w.Begin("one", kWarpLanes, 1);
  Text& text = w.text();
  const std::string width = w.DimText(node.result()->type().shape[1]);
  const std::string bounds = w.Name(node.operand(0));
  text.Line("if (threadIdx.x != 0) return;");
  text.Line("int page = 0;");
  text.Open("for (int s = 0; s < ", w.SymbolText("S"), "; ++s)");
  text.Line("const int length = ", bounds, "[s + 1] - ", bounds, "[s];");
  text.Open("for (int i = 0; i < ", width, " && ", KvPage::kPositions, " * i < length; ++i)");
  text.Line(w.OutputName(0), "[(size_t)s * ", width, " + i] = page++;");
  text.Close();
  text.Close();
  w.End();
  return absl::OkStatus();
}

// Each column counts how many come before it, and where fewer than k do, that is its place.
absl::Status WriteRouting(KernelWriter& w) {
  const ir::Node& top = *program::FindNode(w.body(), ir::Op::kTopK);
  const absl::optional<program::ColumnRange> x = program::ResolveColumns(top.operand(0));
  NINFER_CHECK(x.has_value()) << w.kernel().name;
  const int64_t columns = RowColumns(top.operand(0)->type()), chosen = top.attr_int("k");
  w.Head();
  DeviceKernel& device = w.Begin("rows", kWarpLanes, 8);
  BeginRow(w, top.result()->type().shape[0], device);
  Text& text = w.text();
  const std::string input = absl::StrCat(
      w.Name(x->root), " + ", ElementText("row", w.RowStride(x->root), absl::StrCat(x->offset)));
  text.Line("const ", TypeName(x->root->type().dtype), "* from = ", input, ";");
  text.Line("int* chosen = ", w.OutputName(0), " + ",
            ElementText("row", absl::StrCat(program::LeadingDimension(chosen)), "0"), ";");
  text.Line(
      "// Of NaN nothing is larger: the places that are left empty then hold columns that "
      "exist.");
  text.Line("for (int j = threadIdx.x; j < ", chosen, "; j += 32) chosen[j] = j;");
  text.Line("__syncwarp();");
  text.Open("for (int i = threadIdx.x; i < ", columns, "; i += 32)");
  text.Line("const float own = Widen(from[i]);");
  text.Line("int before = 0;");
  text.Open("for (int j = 0; j < ", columns, "; ++j)");
  text.Line("const float other = Widen(from[j]);");
  text.Line("before += other > own || (other == own && j < i);");
  text.Close();
  text.Line("if (before < ", chosen, ") chosen[before] = i;");
  text.Close();
  w.End();
  return absl::OkStatus();
}

// Each thread looks at columns of its own, then each warp at its threads', and one at the warps'.
absl::Status WriteArgmax(KernelWriter& w) {
  constexpr int kThreads = 256, kWarps = kThreads / kWarpLanes;
  const ir::Node& node = *w.body().results()[0]->producer();
  const auto row_of = [&](const ir::Value* operand) {
    const absl::optional<program::ColumnRange> x = program::ResolveColumns(operand);
    NINFER_CHECK(x.has_value()) << w.kernel().name;
    return absl::StrCat(w.Name(x->root), " + ",
                        ElementText("row", w.RowStride(x->root), absl::StrCat(x->offset)));
  };
  w.Head();
  DeviceKernel& device = w.Begin("rows", kThreads, 2);
  BeginRow(w, node.result()->type().shape[0], device);
  const bool of_parts = node.op() == ir::Op::kArgmaxOf;
  w.text().Lines(absl::StrReplaceAll(
      R"(
__shared__ float values[$warps];
__shared__ int columns[$warps];
const float* from = $from;
float value = -kInfinity;
int column = 0x7fffffff;
for (int i = threadIdx.x; i < $columns; i += $threads) {
  if (from[i] > value) value = from[i], column = i;
}
Largest largest = WarpLargest(value, column);
if (threadIdx.x % 32 == 0) {
  values[threadIdx.x / 32] = largest.value;
  columns[threadIdx.x / 32] = largest.column;
}
__syncthreads();
if (threadIdx.x >= 32) return;
const int warp = threadIdx.x % $warps;
largest = WarpLargest(values[warp], columns[warp]);
if (threadIdx.x == 0) {
  $y[row] = largest.value == -kInfinity ? -1 : $id;
})",
      {{"$warps", absl::StrCat(kWarps)},
       {"$threads", absl::StrCat(kThreads)},
       {"$columns", absl::StrCat(RowColumns(node.operand(0)->type()))},
       {"$from", row_of(node.operand(0))},
       {"$y", w.OutputName(0)},
       {"$id", of_parts ? absl::StrCat("(", row_of(node.operand(1)), ")[largest.column]")
                        : std::string("largest.column")}}));
  w.End();
  return absl::OkStatus();
}

}  // namespace ninfer::cuda
