// The probe reads what it should, and reports a speed that a machine can have.
#include <gtest/gtest.h>

#include "plan/memory.h"
#include "runtime/bandwidth.h"

namespace ninfer::runtime {
namespace {

TEST(Bandwidth, IsPositiveAndBelowTheImpossible) {
  for (int threads : {1, 2}) {
    ThreadPool pool(threads);
    auto memory = plan::Memory::Allocate(32 << 20, "probe");
    ASSERT_TRUE(memory.ok());
    const double rate = MeasureReadBandwidth(&pool, (*memory)->data(), (*memory)->bytes(), 0.02);
    EXPECT_GT(rate, 1e7);
    EXPECT_LT(rate, 1e14);
  }
}

TEST(Bandwidth, SmallAndEmptyReadsAreFine) {
  ThreadPool pool(2);
  alignas(64) char bytes[640] = {};
  EXPECT_GE(ReadOnce(&pool, bytes, 640), 0);
  EXPECT_GE(ReadOnce(&pool, bytes, 0), 0);
}

}  // namespace
}  // namespace ninfer::runtime
