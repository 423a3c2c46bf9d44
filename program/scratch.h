// How much memory of its own a thread needs to run a kernel.
// Tested by tests/program_body_test.cc.
#ifndef NINFER_PROGRAM_SCRATCH_H_
#define NINFER_PROGRAM_SCRATCH_H_

#include <cstdint>

#include "program/program.h"

namespace ninfer::program {

inline constexpr int64_t kLinearTileBytes = 64 << 10;
inline constexpr int64_t kLinearRowBlock = 512;
// Where a linear of half precision has many rows: the sums of a block of them over some of k, 64
// columns wide, and behind those so much of the panels in f32, 256 of k. Between slices sums pass
// through memory, and every tile reads all of a slice again: in quiet minutes slices of 96 reached
// 92% of FMA's rate, of 192 95%, of 512 97%; where neighbours wanted the same caches, none was
// faster than another.
inline constexpr int64_t kLinearSumsBytes = kLinearRowBlock * 64 * 4;
inline constexpr int64_t kLinearSliceBytes = 64 << 10;

// Attention has so many rows, (token, query head) pairs, at hand at once, and their scores for so
// many pages. Work, that of kv_append too, is dealt in parts of so many tokens of one KV head, so
// that a step of a few texts has as much for each thread.
inline constexpr int64_t kAttentionTokens = 16;
inline constexpr int64_t kAttentionParts = 4;
inline constexpr int64_t kAttentionRows = 48;
inline constexpr int64_t kAttentionSpan = 2;
inline constexpr int64_t kAttentionFields = 10;  // numbers kept for each row
// For each row scores, query, weighted values, fields and, of a cache of integers, rounded weights
// of a page; for all of them a page of keys or values in f32 where the cache is bf16.
int64_t AttentionTileBytes(const KvLayout& kv);

// Bytes of a quantised row of a linear's input: for each group of 32 columns the integers, widened
// to 16 bits by targets that multiply no bytes, then scale (f32) and bias (i32).
inline constexpr int64_t kQuantisedGroup = 32;
int64_t QuantisedRowBytes(int64_t columns);

// By family; a multiple of 64.
// - linear: kLinearTileBytes for accumulators; behind them, of weights of half precision,
//   kLinearSumsBytes and kLinearSliceBytes; and behind these, when the input is bf16 or the weight
//   quantised, up to kLinearRowBlock rows of the input, in f32 or quantised;
// - grouped_linear: the same with kLinearRowBlock numbers of rows before those of the input;
// - routing: nothing;
// - rowwise and kv_append: 64 KiB, every value of the body for one row in f32, and for each norm or
//   softmax of single heads two f32 a head; kv_append to a cache of integers a head's row in f32
//   and in i8 behind them;
// - attention: AttentionTileBytes; with form "efficient" also all scores of a unit,
//   kAttentionTokens x heads of a group x the positions that the page table can name; with "naive"
//   the scores lie in the arena;
// - pages: nothing.
int64_t ScratchBytes(const Kernel& kernel, absl::Span<const ir::Symbol> symbols);

// Where these lie, for `node` of the kernel's body; -1 when it reduces whole rows.
int64_t HeadStatisticsAt(const Kernel& kernel, const ir::Node& node);
// And where a head's row is rounded for the cache: f32 [v_columns], then i8.
int64_t CacheRowAt(const Kernel& kernel);

}  // namespace ninfer::program

#endif  // NINFER_PROGRAM_SCRATCH_H_
