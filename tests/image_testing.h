// Pictures and goldens that lie beside them.
#ifndef NINFER_TESTS_IMAGE_TESTING_H_
#define NINFER_TESTS_IMAGE_TESTING_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "base/file.h"
#include "frontend/checkpoint.h"
#include "tests/test_data.h"

namespace ninfer {

inline std::unique_ptr<frontend::Checkpoint> ImageGoldens(const std::string& folder) {
  auto golden = frontend::Checkpoint::OpenFile(JoinPath(folder, "golden.safetensors"));
  EXPECT_TRUE(golden.ok()) << golden.status();
  return golden.ok() ? *std::move(golden) : nullptr;
}

inline std::string ImageBytes(const std::string& folder, const std::string& name) {
  auto bytes = ReadFile(JoinPath(folder, name));
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.ok() ? *std::move(bytes) : std::string();
}

// The project's own folder of this name, and all of the test data whose names begin with it.
inline std::vector<std::string> ImageFolders(const std::string& name) {
  std::vector<std::string> folders;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(TestDataPath("goldens"), error)) {
    const std::string folder = entry.path().string();
    if (absl::StartsWith(entry.path().filename().string(), name)) folders.push_back(folder);
  }
  std::sort(folders.begin(), folders.end());
  folders.insert(folders.begin(), NINFER_SOURCE_DIR "/tests/data/" + name);
  return folders;
}

}  // namespace ninfer

#endif  // NINFER_TESTS_IMAGE_TESTING_H_
