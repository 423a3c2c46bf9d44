// Running the pipeline with wrong rewrites planted between its passes, under the comparisons that
// --verify-each lends.
#ifndef NINFER_TESTS_PLANTED_TESTING_H_
#define NINFER_TESTS_PLANTED_TESTING_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "compiler/compile.h"
#include "frontend/frontend.h"
#include "passes/pipeline.h"
#include "tests/support/model_folder.h"

namespace ninfer::passes {

inline compiler::Source Import(const testing::TestModel& contents) {
  testing::TemporaryFolder folder;
  testing::WriteModel(folder.path(), contents);
  compiler::Source source{frontend::ImportedModel{ir::Module(""), {}, nullptr}, "", false};
  auto imported = frontend::ImportModel(folder.path(), {});
  EXPECT_TRUE(imported.ok()) << imported.status();
  if (imported.ok()) source.model = *std::move(imported);
  return source;
}

// Longer than a page.
inline compiler::Source Llama() { return Import(testing::TinyLlama({.context = 128})); }
inline compiler::Source Gpt2() { return Import(testing::TinyGpt2({.context = 128})); }

// Random weights of the shape that a config.json describes.
inline compiler::Source Shape(const char* config) {
  testing::TemporaryFolder folder;
  const std::string path = folder.File("shape.json");
  EXPECT_TRUE(WriteFile(path, config).ok());
  compiler::Options options;
  options.random_weights = path;
  auto source = compiler::OpenSource(options);
  EXPECT_TRUE(source.ok()) << source.status();
  return source.ok() ? *std::move(source) : Llama();
}

inline PassOptions Verifying(const compiler::Source& source, PassOptions options = {}) {
  const compiler::Texts texts =
      compiler::VerifyTexts("", source.model.info.vocab_size, source.model.info.context_length);
  const absl::Status lent = compiler::LendComparisons(source, texts, 2, &options);
  EXPECT_TRUE(lent.ok()) << lent;
  return options;
}

// What the run with the planted pass says; the run without it must succeed.
inline std::string MessageWith(const compiler::Source& source, const ExtraPass& planted,
                               const PassOptions& choice = {}) {
  const PassOptions options = Verifying(source, choice);
  const auto clean = RunPipelineWith(source.model.module.Clone(), options, {});
  EXPECT_TRUE(clean.ok()) << clean.status();
  const auto result = RunPipelineWith(source.model.module.Clone(), options, {planted});
  EXPECT_FALSE(result.ok()) << planted.name << " was not caught";
  return std::string(result.status().message());
}

}  // namespace ninfer::passes

#endif  // NINFER_TESTS_PLANTED_TESTING_H_
