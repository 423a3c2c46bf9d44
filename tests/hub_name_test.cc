// Names of models on the hub: taken apart, or refused.
#include <gtest/gtest.h>

#include "hub/name.h"

namespace ninfer::hub {
namespace {

TEST(ModelName, IsTakenApart) {
  const auto plain = ParseModelName("hf:HuggingFaceTB/SmolLM2-135M-Instruct");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->repository, "HuggingFaceTB/SmolLM2-135M-Instruct");
  EXPECT_EQ(plain->revision, "main");
  const auto revision = ParseModelName("hf:gpt2@refs/pr/12");
  ASSERT_TRUE(revision.ok()) << revision.status();
  EXPECT_EQ(revision->repository, "gpt2");
  EXPECT_EQ(revision->revision, "refs/pr/12");
}

TEST(ModelName, WhatLeavesTheCacheIsRefused) {
  for (const char* name : {"hf:..", "hf:a/..", "hf:../a", "hf:/a", "hf:a/", "hf:a/b/c", "hf:a--b/c",
                           "hf:.a/b", "hf:a/b.git", "hf:a\n/b", "hf:a%2Fb/c", "hf:-a/b"}) {
    EXPECT_FALSE(ParseModelName(name).ok()) << name;
  }
  for (const char* name : {"hf:a/b@", "hf:a/b@..", "hf:a/b@x/../y", "hf:a/b@/x", "hf:a/b@x/",
                           "hf:a/b@x y", "hf:a/b@x@y"}) {
    EXPECT_FALSE(ParseModelName(name).ok()) << name;
  }
}

TEST(ModelName, APathIsNotAName) {
  EXPECT_TRUE(IsModelName("hf:a/b"));
  EXPECT_FALSE(IsModelName("models/hf:a"));
  EXPECT_FALSE(IsModelName("hf"));
}

TEST(ModelName, ACommitHasFortyDigits) {
  EXPECT_TRUE(IsCommit(std::string(40, 'a')));
  EXPECT_FALSE(IsCommit(std::string(39, 'a')));
  EXPECT_FALSE(IsCommit(std::string(40, 'g')));
}

}  // namespace
}  // namespace ninfer::hub
