// What the tests of text/ share: the cases of the tokenizer zoo and checks of one tokenizer by
// them.
#ifndef NINFER_TESTS_TEXT_TESTING_H_
#define NINFER_TESTS_TEXT_TESTING_H_

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace ninfer {

inline std::string ZooPath(const std::string& name) {
  return JoinPath(NINFER_SOURCE_DIR "/tests/data/tokenizer-zoo", name);
}

inline nlohmann::json ReadJson(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) {
    ADD_FAILURE() << text.status();
    return {};
  }
  return nlohmann::json::parse(*text);
}

// A fresh folder with copies of `files` (pairs of source path and name), for readers of folders.
inline std::string FolderOf(const std::string& name,
                            const std::vector<std::pair<std::string, std::string>>& files) {
  const std::string folder = JoinPath(::testing::TempDir(), name);
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  for (const auto& [source, target] : files) {
    std::filesystem::copy_file(source, JoinPath(folder, target));
  }
  return folder;
}

// A fresh folder with files of the given names and contents.
inline std::string FolderWith(const std::string& name,
                              const std::vector<std::pair<std::string, std::string>>& files) {
  const std::string folder = FolderOf(name, {});
  for (const auto& [file, contents] : files) {
    EXPECT_TRUE(WriteFile(JoinPath(folder, file), contents).ok());
  }
  return folder;
}

using Ids = std::vector<int32_t>;

}  // namespace ninfer

#endif  // NINFER_TESTS_TEXT_TESTING_H_
