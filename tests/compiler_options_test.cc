// The compiler's options as JSON: every key, what each refuses, and what `auto` becomes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compiler/options.h"
#include "nlohmann/json.hpp"
#include "tests/support/model_folder.h"

namespace ninfer::compiler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string ErrorOf(const std::string& json, Caller caller = Caller::kCompile) {
  const auto options = ParseOptions(json, caller);
  return options.ok() ? "none" : std::string(options.status().message());
}

TEST(CompilerOptions, EveryKeyReachesItsField) {
  const auto options = ParseOptions(
      R"({"model": "m", "targets": ["zen4", "native"], "weights": "f16", "activations": "f32",
          "kv_cache": "bf16", "attention": "naive", "context": 1, "max_tokens": 2,
          "max_sequences": 3, "max_rows": 4, "disable_passes": ["cse"],
          "verify_each": true, "verbose": true, "dump_ir": "a", "dump_llvm": "b", "dump_asm": "c",
          "dump_cuda": "d", "dump_ptx": "e",
          "print_before": ["x"], "print_after": ["y", "z"], "print_changed": "diff", "threads": 5,
          "default_prompt": "p"})",
      Caller::kCompile);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->model, "m");
  EXPECT_THAT(options->targets, ElementsAre("zen4", "native"));
  EXPECT_EQ(options->weights, "f16");
  EXPECT_EQ(options->activations, "f32");
  EXPECT_EQ(options->kv_cache, "bf16");
  EXPECT_EQ(options->attention, "naive");
  EXPECT_EQ(options->context, 1);
  EXPECT_EQ(options->max_tokens, 2);
  EXPECT_EQ(options->max_sequences, 3);
  EXPECT_EQ(options->max_rows, 4);
  EXPECT_THAT(options->disable_passes, ElementsAre("cse"));
  const auto stopped = ParseOptions(R"({"model": "m", "stop_after": "cse.2"})", Caller::kCompile);
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_EQ(stopped->stop_after, "cse.2");
  EXPECT_TRUE(options->verify_each && options->verbose);
  EXPECT_EQ(options->dump_ir + options->dump_llvm + options->dump_asm, "abc");
  EXPECT_EQ(options->dump_cuda + options->dump_ptx, "de");
  EXPECT_THAT(options->print_before, ElementsAre("x"));
  EXPECT_THAT(options->print_after, ElementsAre("y", "z"));
  EXPECT_EQ(options->print_changed, "diff");
  EXPECT_EQ(options->threads, 5);
  EXPECT_EQ(options->default_prompt, "p");
  const auto random = ParseOptions(
      R"({"random_weights": "r", "random_seed": 6, "random_dtype": "f32"})", Caller::kCompile);
  ASSERT_TRUE(random.ok()) << random.status();
  EXPECT_EQ(random->random_seed, 6);
  EXPECT_EQ(random->random_dtype, "f32");
  EXPECT_EQ(ErrorOf(R"({"model": "m", "random_dtype": "foo"})"),
            "--random-dtype: expected --random-weights, found none");
}

TEST(CompilerOptions, EachCallKnowsItsOwnKeysOnly) {
  EXPECT_EQ(ErrorOf(R"({"model": "m", "kv_pages": 3})"),
            "--kv-pages: of no use when a plan is compiled");
  EXPECT_EQ(ErrorOf(R"({"model": "m", "kv_pages": 3, "dump_tensors": "x"})", Caller::kEager),
            "none");
  EXPECT_EQ(ErrorOf(R"({"model": "m", "targets": []})", Caller::kEager),
            "--target: of no use with the eager engine");
  EXPECT_EQ(ErrorOf(R"({"model": "m"})", Caller::kGenerateCode),
            "--model: of no use when code alone is generated");
  EXPECT_EQ(
      ErrorOf(R"({"targets": ["zen4"], "threads": 1, "verbose": true})", Caller::kGenerateCode),
      "none");
}

TEST(CompilerOptions, WhatIsNoOptionOrHasTheWrongTypeIsRefusedByName) {
  EXPECT_EQ(ErrorOf("{"), "options: expected a JSON object");
  EXPECT_EQ(ErrorOf("[1]"), "options: expected a JSON object");
  EXPECT_EQ(ErrorOf(R"({"model": "m", "zap": 1})"), "option zap: no such option here");
  EXPECT_EQ(ErrorOf(R"({"model": 1})"), "--model: expected a string, found number");
  EXPECT_EQ(ErrorOf(R"({"model": "m", "context": "1"})"),
            "--context: expected a whole number, found string");
  EXPECT_EQ(ErrorOf(R"({"model": "m", "context": 1.5})"),
            "--context: expected a whole number, found number");
  EXPECT_EQ(ErrorOf(R"({"model": "m", "max_rows": -1})"),
            "--max-rows: expected 0 to 2147483647, found -1");
  EXPECT_EQ(ErrorOf(R"({"model": "m", "max_rows": 18446744073709551615})"),
            "--max-rows: expected 0 to 2147483647, found 18446744073709551615");
  EXPECT_EQ(ErrorOf(R"({"model": "m", "verify_each": 1})"),
            "--verify-each: expected true or false, found number");
  EXPECT_EQ(ErrorOf(R"({"model": "m", "targets": "zen4"})"),
            "--target: expected a list of names, found string");
  EXPECT_EQ(ErrorOf(R"({"model": "m", "targets": [1]})"),
            "--target: expected a list of names, found number");
  EXPECT_EQ(ErrorOf(R"({"model": "m", "threads": -1})"), "--threads: expected 0 to 4096, found -1");
  EXPECT_EQ(ErrorOf(R"({"model": "m", "print_changed": "x"})"),
            "--print-changed: expected diff, found 'x'");
}

TEST(CompilerOptions, ThereIsOneSource) {
  EXPECT_EQ(ErrorOf("{}"),
            "expected one of a model folder, --from-ir and --random-weights, found none");
  EXPECT_EQ(ErrorOf(R"({"model": "m", "random_weights": "x"})"),
            "expected one of a model folder, --from-ir and --random-weights, found several");
  EXPECT_EQ(ErrorOf(R"({"from_ir": "m"})"),
            "--from-ir and --weights-from: expected both, found one");
  EXPECT_EQ(ErrorOf(R"({"model": "m", "weights_from": "x"})"),
            "--from-ir and --weights-from: expected both, found one");
}

// --- what a source makes of them -----------------------------------------------------------------

struct Resolved {
  absl::StatusOr<passes::PassOptions> options = absl::UnknownError("");
  std::string explanation;
};

Resolved Resolve(const std::string& stored, nlohmann::json json) {
  testing::TemporaryFolder folder;
  testing::WriteModel(folder.path(), testing::TinyLlama({.dtype = stored}));
  json["model"] = folder.path();
  Resolved resolved;
  const auto options = ParseOptions(json.dump(), Caller::kCompile);
  EXPECT_TRUE(options.ok()) << options.status();
  const auto source = OpenSource(*options);
  EXPECT_TRUE(source.ok()) << source.status();
  resolved.options = PassOptionsFor(*options, *source, &resolved.explanation);
  return resolved;
}

TEST(CompilerOptions, AutoFollowsWhatIsStored) {
  EXPECT_EQ(Resolve("F32", nlohmann::json::object()).explanation,
            "stored f32: weights f32, activations f32, cache f32");
  EXPECT_EQ(Resolve("BF16", nlohmann::json::object()).explanation,
            "stored bf16: weights bf16, activations bf16, cache bf16");
  EXPECT_EQ(Resolve("F16", nlohmann::json::object()).explanation,
            "stored f16: weights f16, activations f32, cache f32");
  EXPECT_EQ(Resolve("F32", {{"weights", "bf16"}}).explanation,
            "stored f32: weights bf16, activations bf16, cache bf16");
  EXPECT_EQ(Resolve("BF16", {{"activations", "f32"}}).explanation,
            "stored bf16: weights bf16, activations f32, cache f32");
  EXPECT_EQ(Resolve("BF16", {{"kv_cache", "f32"}}).explanation,
            "stored bf16: weights bf16, activations bf16, cache f32");
  EXPECT_EQ(Resolve("BF16", {{"kv_cache", "int8"}}).explanation,
            "stored bf16: weights bf16, activations bf16, cache int8");
  EXPECT_EQ(Resolve("BF16", {{"weights", "int8"}}).explanation,
            "stored bf16: weights int8_g32, activations int8 into linears, else bf16, cache bf16");
  EXPECT_EQ(Resolve("F32", {{"weights", "int4"}}).explanation,
            "stored f32: weights int4_g32, activations int8 into linears, else f32, cache f32");
  EXPECT_EQ(Resolve("BF16", {{"weights", "nu4"}, {"activations", "bf16"}}).explanation,
            "stored bf16: weights nu4_g32, activations bf16, cache bf16");
  EXPECT_EQ(Resolve("F32", {{"weights", "int4a:128"}, {"activations", "int8"}}).explanation,
            "stored f32: weights int4a_g128, activations int8 into linears, else f32, cache f32");
  EXPECT_EQ(
      Resolve("F32", {{"weights", "int8:channel"}, {"activations", "int8:row"}}).explanation,
      "stored f32: weights int8_channel, activations int8:row into linears, else f32, cache f32");
}

TEST(CompilerOptions, TypesOfSomeWeightsComeFromFlagsOrAFileAndTheLastHolds) {
  testing::TemporaryFolder folder;
  const std::string path = folder.File("types.json");
  testing::WriteText(path, R"({"*.z_proj": "int8:channel", "*.a_proj": "bf16"})");
  const Resolved resolved =
      Resolve("F32", {{"weights", "int4"}, {"weights_for", {"lm_head=int8", path, "*x=*=f32"}}});
  ASSERT_TRUE(resolved.options.ok()) << resolved.options.status();
  EXPECT_EQ(resolved.options->weights_name(),
            "int4_g32; lm_head=int8_g32; *.z_proj=int8_channel; *.a_proj=bf16; *x=*=f32");
  EXPECT_EQ(resolved.options->CoarsestScheme()->name, "int4_g32");
}

TEST(CompilerOptions, BoundsAreCutToTheContext) {
  const Resolved resolved =
      Resolve("F32", {{"max_tokens", 1000}, {"max_rows", 2000}, {"context", 48}});
  ASSERT_TRUE(resolved.options.ok()) << resolved.options.status();
  EXPECT_EQ(resolved.options->context_length, 48);
  EXPECT_EQ(resolved.options->max_tokens, 48);
  EXPECT_EQ(resolved.options->max_rows, 48);
}

TEST(CompilerOptions, ValuesOutsideTheirListAreRefused) {
  const auto error = [](const nlohmann::json& json) {
    const Resolved resolved = Resolve("F32", json);
    return std::string(resolved.options.status().message());
  };
  EXPECT_EQ(error({{"weights", "f8"}}),
            "--weights: expected auto, f32, bf16, f16, int8, int8:channel, int4, int4:128, int4a, "
            "int4a:128, nu4, found 'f8'");
  EXPECT_THAT(error({{"weights_for", {"lm_head=int3"}}}),
              HasSubstr("--weights-for: lm_head: expected f32, bf16, f16, int8"));
  EXPECT_THAT(error({{"weights_for", {"/nowhere"}}}), HasSubstr("/nowhere"));
  EXPECT_EQ(error({{"activations", "f16"}}),
            "--activations: expected auto, f32, bf16, int8, int8:row, found 'f16'");
  EXPECT_EQ(error({{"activations", "int8"}}),
            "--activations: expected f32 or bf16 beside weights that are no integers, found int8");
  EXPECT_EQ(error({{"kv_cache", ""}}), "--kv-cache: expected auto, f32, bf16, int8, found ''");
  EXPECT_EQ(error({{"attention", "x"}}),
            "--attention: expected naive, efficient, flash, found 'x'");
  EXPECT_THAT(error({{"disable_passes", {"lower"}}}), HasSubstr("required pass \"lower\""));
  EXPECT_THAT(error({{"stop_after", "zap"}}), HasSubstr("--stop-after: unknown pass \"zap\""));
}

}  // namespace
}  // namespace ninfer::compiler
