// Third-party models and goldens that tests read but the project does not ship. They lie where the
// environment variable NINFER_TEST_DATA says, else in ../shared/data beside the source folder; a
// test that needs one that is absent is skipped by name:
//
//   NINFER_TEST_DATA_OR_SKIP(model, "models/stories260K-hf");
#ifndef NINFER_TESTS_TEST_DATA_H_
#define NINFER_TESTS_TEST_DATA_H_

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "base/file.h"

namespace ninfer {

inline std::string TestDataPath(const std::string& relative) {
  return JoinPath(GetEnv("NINFER_TEST_DATA", NINFER_SOURCE_DIR "/../shared/data"), relative);
}

inline bool PathExists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

}  // namespace ninfer

#define NINFER_TEST_DATA_OR_SKIP(variable, relative)                                       \
  const std::string variable = ::ninfer::TestDataPath(relative);                           \
  if (!::ninfer::PathExists(variable)) {                                                   \
    GTEST_SKIP() << "test data absent (set NINFER_TEST_DATA to its folder): " << relative; \
  }

#endif  // NINFER_TESTS_TEST_DATA_H_
