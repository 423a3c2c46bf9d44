// The tier that a test runs in: a few cases of each kind in the quick one, all of them in ctest's
// entries X_full_test, which `./test --full` runs too.
#ifndef NINFER_TESTS_TIER_H_
#define NINFER_TESTS_TIER_H_

#include "base/file.h"

namespace ninfer {

inline bool FullTier() { return !GetEnv("NINFER_FULL_TIER").empty(); }

}  // namespace ninfer

#endif  // NINFER_TESTS_TIER_H_
