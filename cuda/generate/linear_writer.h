// Inside cuda/generate: the writer of the linear family. Its functions for few rows stand in
// linear.cc, that for many rows in linear_many.cc.
// Tested by tests/cuda_shim_test.cc.
#ifndef NINFER_CUDA_GENERATE_LINEAR_WRITER_H_
#define NINFER_CUDA_GENERATE_LINEAR_WRITER_H_

#include <cstdint>
#include <functional>
#include <string>

#include "cuda/generate/kernel_writer.h"
#include "cuda/generate/row_writer.h"
#include "cuda/generate/weights.h"
#include "program/body.h"
#include "program/columns.h"

namespace ninfer::cuda {

class LinearWriter {
 public:
  explicit LinearWriter(KernelWriter& w)
      : w_(w),
        linear_(*program::LinearOf(w.body())),
        grouped_(w.kernel().family == program::Family::kGroupedLinear),
        weight_(linear_.operand(1)),
        format_(formats::InfoOf(w.ParameterInfo(weight_).format)),
        quantised_(program::InputQuantiser(linear_) != nullptr),
        by_row_(
            quantised_ &&
            FindQuantiseScheme(program::InputQuantiser(linear_)->attr_string("scheme"))->group ==
                0),
        x_(*program::ResolveColumns(program::LinearInput(linear_))) {
    const int64_t segments = w.ParameterInfo(weight_).segments;
    const auto& shape = weight_->type().shape;
    n_ = shape[shape.size() - 2].offset / (grouped_ ? 1 : segments);
    tiles_ = TilesOf(format_.format, {n_, shape.back().offset, segments});
    x_dtype_ = x_.root->type().dtype;
  }

  absl::Status Run();

 private:
  static constexpr int kThreads = 256, kWarps = kThreads / kWarpLanes;  // of a block

  // Segments that a block's sums are kept of: those of one result.
  int64_t segments() const { return grouped_ ? 1 : tiles_.segments; }
  const ir::Dim& rows() const { return linear_.result()->type().shape[0]; }

  void Constant(const char* name, int64_t value) {
    w_.text().Line("constexpr int ", name, " = ", value, ";");
  }
  // A function for steps of up to `most_rows`, in blocks of `rows`.
  void Few(const std::string& variant, int rows, int64_t most_rows);
  // Blocks at a time on a multiprocessor: as many as leave registers for the sums of all rows and
  // the weights under way.
  int FewBlocks(int rows) const {
    const bool integers = format_.scheme != nullptr;
    if (rows == 1) return integers && segments() > 1 ? 2 : 3;
    return integers || segments() > 1 ? 1 : 2;
  }
  // Loads of each row of weights that are under way at a time.
  int64_t FewLoads(int rows) const {
    const bool integers = format_.scheme != nullptr;
    if (rows > 1) return integers ? 1 : 2;
    return segments() > 1 || (format_.dtype == DType::kF32 && !integers) ? 2 : 4;
  }
  // The scales of `rows` rows of x that are rounded whole, into shared memory; `x` is the text of
  // an element of row r at k, `there` says whether there is such a row.
  void RowScales(const std::string& rows, const std::string& there, const std::string& x);
  // The integer of $x, where `there`, and its scale.
  std::string RoundedText(const std::string& there) const;
  void FewShape(int rows, int64_t split);
  void FewPlace();
  void FewLoop();
  void FewEpilogue(int64_t split);
  void Many();
  void ManyFma();
  void ManyMma();
  // Whether the largest of each 32 columns is found, too; then a block has whole stretches of 32.
  bool FindsParts() const { return program::FindNode(w_.body(), ir::Op::kMaxParts) != nullptr; }
  // The largest of each 32 of the block's `columns` from the one of text `first` on, for `rows`
  // rows from row0 on, whose results stand in shared memory, `stored`, by `warps` warps.
  void Parts(const std::string& stored, const std::string& first, const std::string& rows,
             int64_t columns, int warps);
  // Results at (row, n), each a column of the segments; `sum` gives the text of a segment's sum.
  // Of the result whose parts are found a copy goes to shared memory, to the element of text
  // `stored`.
  void Epilogue(RowWriter& rows, const std::function<std::string(int64_t segment)>& sum,
                const std::string& stored);
  std::string XRow(const std::string& row) const {
    return absl::StrCat(w_.Name(x_.root), "[",
                        ElementText(row, w_.RowStride(x_.root), absl::StrCat(x_.offset)));
  }

  KernelWriter& w_;
  const ir::Node& linear_;
  const bool grouped_;
  const ir::Value* weight_;
  const formats::FormatInfo& format_;
  const bool quantised_;  // x, in the kernel
  const bool by_row_;     // with one scale a row; else for each block of 32
  const program::ColumnRange x_;
  int64_t n_ = 0;
  TileLayout tiles_;
  DType x_dtype_;
};

}  // namespace ninfer::cuda

#endif  // NINFER_CUDA_GENERATE_LINEAR_WRITER_H_
