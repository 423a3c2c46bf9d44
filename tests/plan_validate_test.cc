// What a plan's sections say about each other is checked when the plan is read, and by value for
// the arena: each spoilt plan here must be refused, with the reason.
#include <gtest/gtest.h>

#include <functional>

#include "plan/reader.h"
#include "plan/validate.h"
#include "plan/writer.h"
#include "tests/plan_example.h"

namespace ninfer::plan {
namespace {

std::string MessageOf(const std::function<void(Plan&)>& spoil) {
  Plan plan = ExamplePlan();
  spoil(plan);
  return std::string(ParseSections(SerializeSections(plan), "p").status().message());
}

TEST(PlanValidate, TheExampleIsValid) {
  EXPECT_EQ(MessageOf([](Plan&) {}), "");
}

TEST(PlanValidate, MetadataIsBounded) {
  EXPECT_EQ(MessageOf([](Plan& p) { p.metadata.rope_crossing = -1; }),
            "p: section metadata: rope crossing: expected 0 to 2147483647, found -1");
  EXPECT_EQ(MessageOf([](Plan& p) { p.metadata.vocab_size = 0; }),
            "p: section metadata: vocabulary: expected 1 to 2147483647, found 0");
  EXPECT_EQ(MessageOf([](Plan& p) { p.metadata.context_length = -1; }),
            "p: section metadata: context length: expected 1 to 2147483647, found -1");
  EXPECT_EQ(MessageOf([](Plan& p) { p.metadata.eos_ids = {4}; }),
            "p: section metadata: end id: expected 0 to 3, found 4");
  EXPECT_EQ(MessageOf([](Plan& p) { p.metadata.bos_id = -1; }),
            "p: section metadata: first id: expected 0 to 3, found -1");
}

TEST(PlanValidate, HowAModelSeesIsBounded) {
  const auto message = [](const std::function<void(Vision&)>& change) {
    return MessageOf([&](Plan& plan) {
      plan = ExamplePlanThatSees();
      change(*plan.vision);
    });
  };
  EXPECT_EQ(message([](Vision&) {}), "");
  const std::string vision = "p: section vision: ";
  EXPECT_EQ(message([](Vision& v) { v.patch_size = 0; }),
            vision + "patch size: expected 1 to 16384, found 0");
  EXPECT_EQ(message([](Vision& v) { v.scale_factor = 5; }),
            vision + "scale factor: expected 1 to 4, found 5");
  EXPECT_EQ(message([](Vision& v) { v.scale_factor = 3; }),
            vision + "expected whole rows of 3 by 3 patches, found a grid of 4 and frames of 8");
  EXPECT_EQ(message([](Vision& v) { v.image_token_id = 4; }),
            vision + "image token: expected 0 to 3, found 4");
  EXPECT_EQ(message([](Vision& v) { v.longest_edge = 0; }),
            vision + "longest edge: expected 1 to 1048576, found 0");
  EXPECT_EQ(message([](Vision& v) { v.max_image_size = 9; }),
            vision + "largest frame: expected 1 to 8, found 9");
  EXPECT_EQ(message([](Vision& v) { v.image_mean.pop_back(); }),
            vision + "mean and deviation: expected three numbers each, found 2 and 3");
  EXPECT_EQ(message([](Vision& v) { v.image_std[1] = 0; }),
            vision + "deviation: expected numbers other than 0, found 0");
}

TEST(PlanValidate, TablesAreBounded) {
  EXPECT_EQ(MessageOf([](Plan& p) { p.symbols[0].min = 3; }),
            "p: section symbols: T: min: expected 0 to 2, found 3");
  EXPECT_EQ(MessageOf([](Plan& p) { p.kv_layers[0].page_bytes = 100; }),
            "p: section kv geometry: layer 0: page bytes: expected a number that 64 divides, "
            "found 100");
  EXPECT_EQ(MessageOf([](Plan& p) { p.kv_layers[0].heads = 0; }),
            "p: section kv geometry: layer 0: heads: expected 1 to 1048576, found 0");
  EXPECT_EQ(MessageOf([](Plan& p) { p.kv_layers[0].window = -1; }),
            "p: section kv geometry: layer 0: window: expected 0 to 2147483647, found -1");
  EXPECT_EQ(MessageOf([](Plan& p) { p.weights[1].offset = 128; }),
            "p: section weights: head: expected to end within 128 bytes, found 64 bytes at offset "
            "128");
  EXPECT_EQ(MessageOf([](Plan& p) { p.weights[1].offset = 32; }),
            "p: section weights: head: expected an offset that 64 divides, found 32");
  EXPECT_EQ(MessageOf([](Plan& p) { p.kernels[0].scratch_bytes = ~uint64_t{0}; }),
            "p: section kernels: embedding: scratch bytes: expected 0 to 1099511627776, found "
            "18446744073709551615");
}

TEST(PlanValidate, ACacheIsReadThroughThePageTableOfItsWindow) {
  const std::string launch = "p: section entries: step: launch 0: layer 0: expected ";
  EXPECT_EQ(MessageOf([](Plan& p) { p.kv_layers[0].window = 0; }),
            launch + "page_table as page table, found page_table.48");
  EXPECT_EQ(MessageOf([](Plan& p) { p.entries[0].arguments[2] = "page_table"; }),
            launch + "page_table.48 as page table, found page_table");
  EXPECT_EQ(MessageOf([](Plan& p) { p.entries[0].launches[0].operands.pop_back(); }),
            launch + "page_table.48 as page table, found none");
  EXPECT_EQ(MessageOf([](Plan& p) {
              p.entries[0].arguments.push_back("page_table");
              p.entries[0].launches[0].operands.push_back({OperandKind::kArgument, 3});
            }),
            launch + "page_table.48 as page table, found page_table");
}

TEST(PlanValidate, CodeLiesWithinItsImage) {
  EXPECT_EQ(MessageOf([](Plan& p) { p.images[0].bytes.resize(100); }),
            "p: section code: zen4: bytes: expected a number that 4096 divides, found 100");
  EXPECT_EQ(MessageOf([](Plan& p) { p.images[0].executable_bytes = 8192; }),
            "p: section code: zen4: executable bytes: expected a number up to 4096 that 4096 "
            "divides, found 8192");
  EXPECT_EQ(MessageOf([](Plan& p) { p.images[0].kernels[1].offset = 4096; }),
            "p: section code: zen4: kernel head: expected within 4096 bytes, found 9 bytes at "
            "offset 4096");
  EXPECT_EQ(MessageOf([](Plan& p) { p.images[0].kernels[1].lines[1].offset = 9; }),
            "p: section kernel lines: head: expected lines from 1 at rising offsets below 9, found "
            "line 5 at offset 9");
  EXPECT_EQ(MessageOf([](Plan& p) { p.images[0].kernels[1].lines[1].offset = 0; }),
            "p: section kernel lines: head: expected lines from 1 at rising offsets below 9, found "
            "line 5 at offset 0");
  EXPECT_EQ(MessageOf([](Plan& p) { p.images[0].kernels[1].lines[0].line = 0; }),
            "p: section kernel lines: head: expected lines from 1 at rising offsets below 9, found "
            "line 0 at offset 0");
  EXPECT_EQ(MessageOf([](Plan& p) { p.images[0].kernels.pop_back(); }),
            "p: section code: zen4: kernels: expected 2, found 1");
}

TEST(PlanValidate, LaunchesNameWhatExists) {
  EXPECT_EQ(MessageOf([](Plan& p) { p.entries[0].launches[0].kernel = 2; }),
            "p: section entries: step: launch 0: kernel: expected below 2, found 2");
  EXPECT_EQ(MessageOf([](Plan& p) { p.entries[0].launches[1].symbol = 2; }),
            "p: section entries: step: launch 1: symbol: expected -1 to 1, found 2");
  EXPECT_EQ(MessageOf([](Plan& p) { p.entries[0].launches[1].block = 0; }),
            "p: section entries: step: launch 1: block: expected 1 to 2147483647, found 0");
  EXPECT_EQ(MessageOf([](Plan& p) {
              p.entries[0].launches[1].operands[0] = {OperandKind::kArgument, 3};
            }),
            "p: section entries: step: launch 1: operand of kind 2: expected below 3, found 3");
  EXPECT_EQ(MessageOf([](Plan& p) { p.entries[0].output = 2; }),
            "p: section entries: step: output: expected 0 to 1, found 2");
  EXPECT_EQ(MessageOf([](Plan& p) { p.entries[0].argmax = 2; }),
            "p: section entries: step: argmax: expected -1 to 1, found 2");
  EXPECT_EQ(MessageOf([](Plan& p) {
              p.entries[0].arguments = {"tokens", "tokens"};
            }),
            "p: section entries: step: argument tokens: expected once, found twice");
}

TEST(PlanValidate, ABufferLiesWithinItsPartOfTheArena) {
  EXPECT_EQ(MessageOf([](Plan& p) { p.entries[0].replica_bytes = 128; }),
            "p: section buffers: launch 0 of step: buffer hidden: expected to end within 128 "
            "bytes, found 256 bytes at offset 0");
  EXPECT_EQ(MessageOf([](Plan& p) { p.buffers[1].offset = 64; }),
            "p: section buffers: launch 1 of step: buffer logits: expected to end within 256 "
            "bytes, found 256 bytes at offset 64");
}

TEST(PlanValidate, WhatIsForCardsIsBounded) {
  const auto message = [](const std::function<void(Plan&)>& change) {
    return MessageOf([&](Plan& plan) {
      plan = ExamplePlanForCards();
      change(plan);
    });
  };
  EXPECT_EQ(message([](Plan&) {}), "");
  const std::string cards = "p: section cards: ";
  EXPECT_EQ(message([](Plan& p) { p.cards->weight_bytes = 64; }),
            cards +
                "weights: expected the end of 128 bytes, from a multiple of 2 MiB, found 64 "
                "bytes at offset 0");
  EXPECT_EQ(message([](Plan& p) { p.cards->weights.pop_back(); }),
            cards + "weights and layers: expected 2 and 1, found 1 and 1");
  EXPECT_EQ(message([](Plan& p) { p.cards->weights[1].bytes = 65; }),
            cards +
                "head: expected an offset that 64 divides, and an end within 128 bytes, found "
                "65 bytes at offset 64");
  EXPECT_EQ(message([](Plan& p) { p.cards->page_bytes[0] = 100; }),
            cards + "page bytes: expected a number that 64 divides, found 100");
  EXPECT_EQ(message([](Plan& p) { p.cards->functions[0].kernel = 2; }),
            cards +
                "function embedding_rows: expected a kernel below 2 and a symbol below 2, "
                "found 2 and 0");
  EXPECT_EQ(message([](Plan& p) { p.cards->functions[0].threads = 2048; }),
            cards +
                "function embedding_rows: expected 1 to 1024 threads in a grid of 2 "
                "dimensions, found 2048 in 2");
  EXPECT_EQ(message([](Plan& p) { p.cards->functions[0].grid[0].block = 0; }),
            cards +
                "function embedding_rows: expected a grid of whole blocks, found 1 times "
                "symbol 0 by 0");
  EXPECT_EQ(message([](Plan& p) { p.cards->functions.pop_back(); }),
            cards +
                "launches of step: expected a function for any number of rows of each kernel, "
                "found none of kernel 1");
  EXPECT_EQ(message([](Plan& p) { p.cards->images[0].bytes.clear(); }),
            cards + "sm_90: expected code, found none");
  EXPECT_EQ(message([](Plan& p) { p.weights[0].bytes = 64; }),
            "p: section weights: embed: expected to end within 0 bytes, found 64 bytes at offset "
            "0");
}

TEST(PlanValidate, ABufferIsUsedWithinItsLife) {
  EXPECT_EQ(MessageOf([](Plan& p) { p.buffers[0].last_launch = 0; }),
            "p: section buffers: launch 1 of step: buffer hidden: expected a life that holds this "
            "launch, found 0 to 0");
}

// Three launches: a -> b -> c, where `place` says at which offsets the buffers lie.
Plan Chain(uint64_t a, uint64_t b, uint64_t c) {
  Plan plan = ExamplePlan();
  plan.buffers = {{"a", "f32[T,4]", 16, false, a, 64, 0, 2},
                  {"b", "f32[T,4]", 16, false, b, 64, 1, 2},
                  {"c", "f32[R,4]", 16, false, c, 64, 2, 2}};
  Entry& entry = plan.entries[0];
  entry.output = 2;
  entry.launches = {
      ExampleLaunch(0, Barrier::kAlways, {{OperandKind::kBuffer, 0}}),
      ExampleLaunch(0, Barrier::kAlways, {{OperandKind::kBuffer, 0}, {OperandKind::kBuffer, 1}}),
      ExampleLaunch(
          0, Barrier::kAlways,
          {{OperandKind::kBuffer, 0}, {OperandKind::kBuffer, 1}, {OperandKind::kBuffer, 2}})};
  return plan;
}

TEST(PlanValidate, BuffersMayShareBytesOneAfterTheOther) {
  EXPECT_TRUE(Validate(Chain(0, 64, 128), "p").ok());
  // c takes a's place in the launch that reads a: in-place reuse.
  EXPECT_TRUE(Validate(Chain(0, 64, 0), "p").ok());
}

TEST(PlanValidate, AValueThatIsOverwrittenBeforeItIsReadIsFound) {
  EXPECT_EQ(Validate(Chain(0, 0, 64), "p").message(),
            "p: section buffers: launch 2 of step: buffer a: expected to be read before it is "
            "overwritten, found another buffer in its bytes");
}

TEST(PlanValidate, TwoResultsOfOneLaunchMayNotShareBytes) {
  Plan plan = Chain(0, 64, 128);
  plan.buffers.push_back({"d", "f32[T,4]", 16, false, 128, 64, 2, 2});
  plan.entries[0].launches[2].operands.push_back({OperandKind::kBuffer, 3});
  EXPECT_EQ(Validate(plan, "p").message(),
            "p: section buffers: launch 2 of step: buffer c: expected bytes of its own, found "
            "another result in them");
}

TEST(PlanValidate, TheOutputIsWholeAtTheEnd) {
  Plan plan = Chain(0, 64, 128);
  plan.entries[0].output = 1;
  plan.buffers[2].offset = 64;
  EXPECT_EQ(Validate(plan, "p").message(),
            "p: section buffers: step: output b: expected to be whole after the last launch, found "
            "it is not");
}

TEST(PlanValidate, TheIdsOfTheLargestLogitsAreWholeAtTheEnd) {
  Plan plan = Chain(0, 64, 128);
  plan.entries[0].argmax = 1;
  EXPECT_TRUE(Validate(plan, "p").ok());
  plan.buffers[2].offset = 64;
  EXPECT_EQ(Validate(plan, "p").message(),
            "p: section buffers: step: output b: expected to be whole after the last launch, found "
            "it is not");
}

TEST(PlanValidate, AReplicaAndTheArenaAreDifferentBytes) {
  Plan plan = Chain(0, 0, 64);
  plan.buffers[1].replicated = true;
  EXPECT_TRUE(Validate(plan, "p").ok());
}

}  // namespace
}  // namespace ninfer::plan
