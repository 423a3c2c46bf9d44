// The cached plan's name changes with whatever changes the plan, and with nothing else.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/match.h"
#include "base/file.h"
#include "runtime/plan_cache.h"

namespace ninfer::runtime {
namespace {

class PlanCacheTest : public testing::Test {
 protected:
  PlanCacheTest() : tmp_(JoinPath(GetEnv("TEST_TMPDIR", ::testing::TempDir()), "cache-test")) {
    old_cache_ = GetEnv("XDG_CACHE_HOME");
    setenv("XDG_CACHE_HOME", "/xdg", 1);
    Put("m/config.json", "{}");
    Put("m/model.safetensors", std::string(3 << 20, 'w'));
    Put("m/README.md", "hello");
    Put("lib.so", "code");
    unlink(JoinPath(tmp_, "m/tokenizer.json").c_str());
  }
  ~PlanCacheTest() override { setenv("XDG_CACHE_HOME", old_cache_.c_str(), 1); }
  void Put(const std::string& name, const std::string& text) {
    ASSERT_TRUE(MakeParentFolders(JoinPath(tmp_, name)).ok());
    ASSERT_TRUE(WriteFile(JoinPath(tmp_, name), text).ok());
  }
  std::string Path(const std::string& options = "{}") {
    const auto path = CachedPlanPath(JoinPath(tmp_, "m"), options, JoinPath(tmp_, "lib.so"), 2);
    EXPECT_TRUE(path.ok()) << path.status();
    return path.value_or("");
  }
  std::string tmp_, old_cache_;
};

TEST_F(PlanCacheTest, ThePathLiesInTheCacheFolderAndNamesTheModel) {
  EXPECT_TRUE(absl::StartsWith(Path(), "/xdg/ninfer/m-")) << Path();
  EXPECT_TRUE(absl::EndsWith(Path(), ".plan"));
}

TEST_F(PlanCacheTest, APathDoesNotDependOnHowTheFolderIsSpelled) {
  const std::string path = Path();
  for (const char* spelling : {"m/", "./m", "m/.", "m/../m"}) {
    const auto other = CachedPlanPath(JoinPath(tmp_, spelling), "{}", JoinPath(tmp_, "lib.so"), 2);
    ASSERT_TRUE(other.ok()) << other.status();
    EXPECT_EQ(*other, path) << spelling;
  }
}

TEST_F(PlanCacheTest, EqualContentHasOnePathAndOtherContentAnother) {
  const std::string path = Path();
  EXPECT_EQ(Path(), path);
  EXPECT_NE(Path("{\"weights\":\"bf16\"}"), path);
  std::string weights(3 << 20, 'w');
  weights[2000000] = 'x';
  Put("m/model.safetensors", weights);
  EXPECT_NE(Path(), path);
  Put("m/model.safetensors", std::string(3 << 20, 'w'));
  EXPECT_EQ(Path(), path);
  Put("m/tokenizer.json", "{}");
  EXPECT_NE(Path(), path);
}

// An index may give shards any name, and so may a tokenizer its ranks.
TEST_F(PlanCacheTest, AnyFileOfTheFolderDecidesAndItsChatTemplatesDo) {
  for (const char* name :
       {"m/weights-1.st", "m/qwen.tiktoken", "m/additional_chat_templates/tool_use.jinja"}) {
    Put(name, "one");
    const std::string path = Path();
    Put(name, "two");
    EXPECT_NE(Path(), path) << name;
  }
  const std::string path = Path();
  Put("m/onnx/model.onnx", "elsewhere");
  EXPECT_EQ(Path(), path);
}

TEST_F(PlanCacheTest, TheNameOfALongFolderIsCutToFitAFileName) {
  for (const std::string& letter : {std::string("x"), std::string("\xC3\xBC")}) {
    std::string name;
    while (name.size() + letter.size() <= 250) name += letter;
    Put(name + "/config.json", "{}");
    const std::string path = CachedPlanPath(JoinPath(tmp_, name), "{}", "", 1).value();
    const std::string file = path.substr(path.rfind('/') + 1);
    EXPECT_LE(file.size(), 200u);
    EXPECT_TRUE(absl::StartsWith(file, letter + letter));
    EXPECT_TRUE(absl::StartsWith(file.substr(file.rfind(letter) + letter.size()), "-"));
    EXPECT_TRUE(WriteFile(JoinPath(tmp_, file), "").ok());
  }
}

TEST_F(PlanCacheTest, AnotherCompilerHasAnotherPath) {
  const std::string path = Path();
  Put("lib.so", "longer code");
  EXPECT_NE(Path(), path);
}

TEST_F(PlanCacheTest, AnotherCpuHasAnotherPath) {
  const std::string path = Path();
  setenv("NINFER_HIDE_CPU_FEATURES", "sse2,asimd", 1);
  EXPECT_NE(Path(), path);
  unsetenv("NINFER_HIDE_CPU_FEATURES");
}

TEST_F(PlanCacheTest, TheFolderFollowsTheXdgSpecification) {
  EXPECT_EQ(CacheFolder(), "/xdg/ninfer");
  const std::string home = GetEnv("HOME");
  setenv("HOME", "/h", 1);
  setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_EQ(CacheFolder(), "/h/.cache/ninfer");
  unsetenv("HOME");
  EXPECT_EQ(CacheFolder(), "");
  setenv("HOME", home.c_str(), 1);
}

TEST_F(PlanCacheTest, AFolderThatCannotBeReadOrMadeIsNamed) {
  EXPECT_EQ(CachedPlanPath("/nowhere", "{}", "").status().message(),
            "/nowhere: cannot open: No such file or directory");
  EXPECT_EQ(MakeParentFolders("/dev/null/x/y").message(),
            "/dev/null: cannot make the folder: File exists");
}

}  // namespace
}  // namespace ninfer::runtime
