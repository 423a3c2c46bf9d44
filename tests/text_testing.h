// What the tests of text/ share: the cases of the tokenizer zoo and checks of one tokenizer by
// them.
#ifndef NINFER_TESTS_TEXT_TESTING_H_
#define NINFER_TESTS_TEXT_TESTING_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "tests/test_data.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace ninfer {

// The zoo of the test data where there is one, so that what is added there is tested, else the copy
// that the project ships.
inline std::string ZooPath(const std::string& name) {
  static const std::string* const kZoo = [] {
    const std::string given = TestDataPath("goldens/tokenizer-zoo");
    return new std::string(PathExists(given + "/components.json") ? given
                                                                  : NINFER_SOURCE_DIR
                               "/tests/data/tokenizer-zoo");
  }();
  return JoinPath(*kZoo, name);
}

// The zoo's folders that have cases and this file.
inline std::vector<std::string> ZooNames(const std::string& file) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(ZooPath(""))) {
    const std::string folder = entry.path().string();
    if (FileExists(folder + "/cases.json") && FileExists(JoinPath(folder, file))) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

inline std::string ZooTestName(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) {
    if (!absl::ascii_isalnum(c)) c = '_';
  }
  return name;
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

inline std::string Stream(const Tokenizer& tokenizer, const Ids& ids) {
  IncrementalDetokenizer detokenizer(&tokenizer, false);
  std::string text;
  for (const int32_t id : ids) text += detokenizer.Append(id);
  return text + detokenizer.Finish();
}

// The texts of NAME.inp must give the ids of NAME.out, and come back from them.
inline void CheckGoldens(const std::string& name, const Tokenizer& tokenizer) {
  const std::string path = TestDataPath("goldens/tokenizer-cases/" + name);
  const auto inputs = ReadFile(path + ".inp");
  const auto outputs = ReadFile(path + ".out");
  ASSERT_TRUE(inputs.ok() && outputs.ok());
  const std::vector<std::string> texts = absl::StrSplit(*inputs, "\n__ggml_vocab_test__\n");
  const std::vector<std::string> lines = absl::StrSplit(*outputs, '\n');
  const auto copy = Tokenizer::Deserialize(tokenizer.Serialize());
  ASSERT_TRUE(copy.ok()) << copy.status();
  int cases = 0;
  for (size_t i = 0; i < texts.size() && i < lines.size(); ++i) {
    SCOPED_TRACE(texts[i]);
    Ids expected;
    for (absl::string_view number : absl::StrSplit(lines[i], ' ', absl::SkipEmpty())) {
      expected.push_back(std::stoi(std::string(number)));
    }
    EXPECT_EQ(tokenizer.Encode(texts[i], false), expected);
    EXPECT_EQ((*copy)->Encode(texts[i], false), expected);
    EXPECT_EQ(Stream(tokenizer, expected), tokenizer.Decode(expected, false));
    EXPECT_EQ((*copy)->Decode(expected, false), tokenizer.Decode(expected, false));
    EXPECT_EQ(tokenizer.Decode(expected, false), texts[i]);
    ++cases;
  }
  EXPECT_GT(cases, 40);
}

}  // namespace ninfer

#endif  // NINFER_TESTS_TEXT_TESTING_H_
