// Inside cuda/generate: the writer of the attention family. The flash form stands in attention.cc,
// those that store scores in attention_scores.cc.
// Tested by tests/cuda_shim_test.cc.
#ifndef NINFER_CUDA_GENERATE_ATTENTION_WRITER_H_
#define NINFER_CUDA_GENERATE_ATTENTION_WRITER_H_

#include <cstdint>
#include <string>

#include "cuda/generate/kernel_writer.h"
#include "cuda/generate/kv_layout.h"
#include "cuda/generate/row_writer.h"
#include "program/body.h"

namespace ninfer::cuda {

// A block for each row and KV head, or eight at most of the query heads that share it.
class AttentionWriter {
 public:
  AttentionWriter(KernelWriter& w, const ir::Node& node);
  absl::Status Run();

 private:
  static constexpr int kThreads = 128;
  static constexpr int kWarps = kThreads / kWarpLanes;

  const ir::Dim& rows() const { return node_.result()->type().shape[0]; }
  void Constants();
  void Place();                   // which row and heads the block has, and what they see
  void Queries();                 // the block's, into shared memory
  std::string Table() const;      // of the sequence's page table
  std::string ScoreText() const;  // statements that turn `score` into what the softmax takes
  // Each of the block's results in turn, dealt to its threads: `merge` has statements that give the
  // variables `merged` and `divisor` at head h and element i, whose quotient is the result.
  void Results(const std::string& merge);

  void Flash();
  void Scores();
  void Merge();

  // attention_scores.cc
  void Stored();
  // `score` is the text of head h's score at position $p.
  void StoredScores(const std::string& score);

  KernelWriter& w_;
  const ir::Node& node_;
  const KvPage page_;
  const program::ColumnRange q_;
  int64_t heads_, group_, parts_, most_;
};

}  // namespace ninfer::cuda

#endif  // NINFER_CUDA_GENERATE_ATTENTION_WRITER_H_
