// How fast this machine's threads can read memory: the limit of decoding, measured with the pool
// that decodes, each thread on the same part every time. Tested by tests/runtime_bandwidth_test.cc.
#ifndef NINFER_RUNTIME_BANDWIDTH_H_
#define NINFER_RUNTIME_BANDWIDTH_H_

#include <cstdint>

#include "runtime/thread_pool.h"

namespace ninfer::runtime {

// Reads `bytes` at `data` (64 divides its address) once, a contiguous part on each thread; returns
// the seconds that took. The first call also pages in what is not there.
double ReadOnce(ThreadPool* pool, const void* data, uint64_t bytes);

// Bytes per second, the best of as many passes as fit in `seconds` (2 at least).
double MeasureReadBandwidth(ThreadPool* pool, const void* data, uint64_t bytes, double seconds);

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_BANDWIDTH_H_
