// The two checkers accept what the passes make and refuse what was spoilt: a barrier dropped or
// weakened, launches swapped, an offset moved, a replica shared. What they accept after a random
// change still computes the same values, through the interpreter.
#include <gtest/gtest.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "program/text.h"
#include "program/verifier.h"
#include "tests/program_testing.h"

namespace ninfer::program {
namespace {

Program ReadProgram(const std::string& name) {
  const std::string path = absl::StrCat(NINFER_SOURCE_DIR "/tests/program/text/", name, ".kp");
  auto program = Parse(ReadFile(path).value(), path);
  EXPECT_TRUE(program.ok()) << program.status();
  return std::move(*program);
}

int IndexOf(const Program& program, absl::string_view name) {
  for (size_t i = 0; i < program.buffers.size(); ++i) {
    if (program.buffers[i].name == name) return static_cast<int>(i);
  }
  ADD_FAILURE() << "no buffer " << name;
  return 0;
}

absl::Status CheckAll(const Program& program) {
  NINFER_RETURN_IF_ERROR(Verify(program));
  NINFER_RETURN_IF_ERROR(CheckOrder(program));
  return CheckBuffers(program);
}

// Programs that reached the end of the pipeline.
std::vector<std::unique_ptr<testing::RandomProgram>> RandomPrograms(uint64_t seeds) {
  std::vector<std::unique_ptr<testing::RandomProgram>> programs;
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    auto program = testing::MakeRandomProgram(seed);
    if (program != nullptr) programs.push_back(std::move(program));
  }
  return programs;
}

// --- what the passes make ---

TEST(Checkers, AcceptWhatThePassesMake) {
  for (const char* name : {"layer", "whole", "awkward"}) {
    EXPECT_TRUE(CheckAll(ReadProgram(name)).ok()) << CheckAll(ReadProgram(name));
  }
  const auto programs = RandomPrograms(300);
  EXPECT_GT(programs.size(), 100u);
  for (const auto& random : programs) {
    ASSERT_TRUE(CheckAll(random->result.program).ok()) << CheckAll(random->result.program);
  }
}

TEST(Checkers, AProgramFreshFromLoweringIsInOrder) {
  const Program program = ReadProgram("tied");  // no offsets: every buffer is an island
  EXPECT_TRUE(CheckOrder(program).ok()) << CheckOrder(program);
  EXPECT_EQ(std::string(CheckBuffers(program).message()),
            "buffer %h: expected 8192 aligned bytes inside 0, found offset -1");
}

// --- order ---

TEST(CheckOrder, NamesTheTwoLaunchesOfAMissingBarrier) {
  Program program = ReadProgram("layer");
  program.launches[4].barrier = Barrier::kNone;
  EXPECT_EQ(
      std::string(CheckOrder(program).message()),
      "launch 4 attention_flash_bf16__2x1x4: expected a barrier behind launch 3 in steps of few "
      "rows, several of a sequence, since it reads %kv.0 where that writes %kv.0, found none");
  program = ReadProgram("layer");
  program.launches[2].barrier = Barrier::kNone;
  EXPECT_EQ(
      std::string(CheckOrder(program).message()),
      "launch 2 linear_bf16_bf16__16x8: expected a barrier behind launch 1 in steps of many rows, "
      "since it reads %x0 where that writes %x0, found none");
}

TEST(CheckOrder, SeesThatANewValueTakesAPlaceThatIsStillRead) {
  Program program = ReadProgram("layer");
  // %y is read by launch 5, which writes %h1; moved there, the two meet without a barrier between.
  program.buffers[IndexOf(program, "logits")].offset =
      program.buffers[IndexOf(program, "h2")].offset;
  program.launches[9].barrier = Barrier::kNone;
  program.launches[10].barrier = Barrier::kNone;
  EXPECT_FALSE(CheckOrder(program).ok());
}

// Stands in fewer kinds of steps.
bool IsWeaker(Barrier weaker, Barrier barrier) {
  int fewer = 0;
  for (const StepKind& step : kStepKinds) {
    if (Stands(weaker, step) && !Stands(barrier, step)) return false;
    fewer += Stands(barrier, step) && !Stands(weaker, step) ? 1 : 0;
  }
  return fewer > 0;
}

TEST(CheckOrder, EveryBarrierIsNeededAndMissedWhenItIsDropped) {
  std::vector<Program> programs;
  programs.push_back(ReadProgram("layer"));
  for (auto& random : RandomPrograms(150)) programs.push_back(std::move(random->result.program));
  int dropped = 0;
  for (const Program& good : programs) {
    for (size_t l = 0; l < good.launches.size(); ++l) {
      for (Barrier weaker :
           {Barrier::kNone, Barrier::kMany, Barrier::kPrefill, Barrier::kManyOrPrefill}) {
        if (!IsWeaker(weaker, good.launches[l].barrier)) continue;
        Program bad = Clone(good);
        bad.launches[l].barrier = weaker;
        ASSERT_FALSE(CheckOrder(bad).ok()) << "launch " << l << "\n" << Print(bad);
        ++dropped;
      }
    }
  }
  EXPECT_GT(dropped, 1000);
}

TEST(CheckOrder, RefusesALaunchThatRepeatsItselfIntoSharedMemory) {
  Program program = ReadProgram("layer");
  program.launches[1].replicated = false;
  EXPECT_EQ(std::string(CheckOrder(program).message()),
            "launch 1 rmsnorm_f32_bf16__8: expected to write no replica, found operand 2");
  program = ReadProgram("layer");
  program.launches[2].replicated = true;
  EXPECT_EQ(std::string(CheckOrder(program).message()),
            "launch 2 linear_bf16_bf16__16x8: expected to write replicas alone, found operand 2");
}

TEST(CheckOrder, RowsOfOneThreadNeedNoBarrierButAGatherDoes) {
  Program program =
      ReadProgram("awkward");  // rowwise launches behind each other, none with a barrier
  for (Launch& launch : program.launches) launch.replicated = false;
  for (Buffer& buffer : program.buffers) buffer.replicated = false;
  int64_t end = 0;
  for (Buffer& buffer : program.buffers) {
    buffer.offset = end;
    end += (buffer.bytes + 63) / 64 * 64;
  }
  program.arena_bytes = end;
  EXPECT_TRUE(CheckOrder(program).ok()) << CheckOrder(program);
  EXPECT_TRUE(CheckBuffers(program).ok()) << CheckBuffers(program);

  program = ReadProgram("layer");
  program.launches[9].replicated = false;
  program.buffers[IndexOf(program, "x2")].replicated = false;
  program.launches[9].barrier = Barrier::kNone;  // gathers rows of %h2, which launch 8 writes
  EXPECT_FALSE(CheckOrder(program).ok());
}

// --- buffers ---

TEST(CheckBuffers, NamesTheValueThatIsThereInsteadOfTheOneWanted) {
  Program program = ReadProgram("layer");
  program.buffers[IndexOf(program, "m")].offset = program.buffers[IndexOf(program, "h1")].offset;
  EXPECT_EQ(std::string(CheckBuffers(program).message()),
            "launch 8 linear_bf16_bf16_add__8x12: expected %h1 at byte 0 of the arena, found %m");
}

TEST(CheckBuffers, ALinearsInputIsNoPlaceForItsResult) {
  Program program = ReadProgram("layer");
  Buffer& h2 = program.buffers[IndexOf(program, "h2")];
  h2.offset = 4096;  // beside %h1 and over %m, which the same launch reads as rows
  EXPECT_EQ(
      std::string(CheckBuffers(program).message()),
      "launch 8 linear_bf16_bf16_add__8x12: expected %h2 apart from %m, found both at bytes 4096 "
      "and 8192");
}

TEST(CheckBuffers, TheOutputMustBeThereInTheEnd) {
  Program program = ReadProgram("layer");
  program.output = IndexOf(program, "h2");
  program.buffers[IndexOf(program, "logits")].offset = 0;
  EXPECT_EQ(std::string(CheckBuffers(program).message()),
            "the end of the step: expected %h2 at byte 0 of the arena, found %logits");
}

TEST(CheckBuffers, TheIdsMustBeThereInTheEnd) {
  Program program = ReadProgram("layer");
  program.argmax = IndexOf(program, "h2");
  program.buffers[IndexOf(program, "logits")].offset = 0;
  EXPECT_EQ(std::string(CheckBuffers(program).message()),
            "the end of the step: expected %h2 at byte 0 of the arena, found %logits");
}

TEST(CheckBuffers, ABufferMustLieInsideItsBlock) {
  Program program = ReadProgram("layer");
  program.arena_bytes = 64;
  EXPECT_EQ(std::string(CheckBuffers(program).message()),
            "buffer %qkv: expected 4096 aligned bytes inside 64, found offset 0");
}

TEST(CheckBuffers, AValueHalfOverwrittenIsGone) {
  Program program = ReadProgram("layer");
  program.buffers[IndexOf(program, "y")].offset = 2048;
  program.buffers[IndexOf(program, "qkv")].offset = 4096;
  EXPECT_FALSE(CheckBuffers(program).ok());
}

// --- random changes ---

// Walks the launches with one owner for each 64 bytes: slow, and blind to what may be done in
// place.
bool EveryReadFindsItsValue(const Program& program) {
  std::vector<int> arena(program.arena_bytes / 64 + 1, -1),
      replica(program.replica_bytes / 64 + 1, -1);
  const auto space = [&](const Buffer& b) -> std::vector<int>& {
    return b.replicated ? replica : arena;
  };
  for (const Launch& launch : program.launches) {
    const Kernel& kernel = program.kernels[launch.kernel];
    for (const bool writes : {false, true}) {
      for (size_t i = 0; i < launch.operands.size(); ++i) {
        if (launch.operands[i].kind != OperandKind::kBuffer || kernel.params[i].written != writes)
          continue;
        const Buffer& buffer = program.buffers[launch.operands[i].index];
        for (int64_t at = buffer.offset; at < buffer.offset + buffer.bytes; at += 64) {
          int& owner = space(buffer)[at / 64];
          if (!writes && owner != launch.operands[i].index) return false;
          if (writes) owner = launch.operands[i].index;
        }
      }
    }
  }
  for (const int index : {program.output, program.argmax}) {
    if (index < 0) continue;
    const Buffer& output = program.buffers[index];
    for (int64_t at = output.offset; at < output.offset + output.bytes; at += 64) {
      if (space(output)[at / 64] != index) return false;
    }
  }
  return true;
}

TEST(Checkers, MovedOffsetsAreRefusedUnlessEveryReadStillFindsItsValue) {
  int refused = 0, accepted = 0, lost = 0;
  std::mt19937 random(1);
  for (const auto& made : RandomPrograms(120)) {
    const Program& good = made->result.program;
    for (int round = 0; round < 20; ++round) {
      Program bad = Clone(good);
      Buffer& moved = bad.buffers[random() % bad.buffers.size()];
      const int64_t size = moved.replicated ? bad.replica_bytes : bad.arena_bytes;
      if (moved.bytes > size) continue;
      moved.offset = static_cast<int64_t>(random() % ((size - moved.bytes) / 64 + 1)) * 64;
      const bool checked = CheckAll(bad).ok();
      const bool found = EveryReadFindsItsValue(bad);
      lost += found ? 0 : 1;
      ASSERT_FALSE(checked && !found) << Print(bad);
      checked ? ++accepted : ++refused;
      if (!checked || round > 2) continue;
      const eager::StepArguments texts = testing::WholeTexts({11, 3}, made->vocab);
      const auto expected = testing::RunProgram(good, *made->weights, 2, texts);
      const auto values = testing::RunProgram(bad, *made->weights, 2, texts);
      ASSERT_TRUE(expected.ok() && values.ok()) << expected.status() << values.status();
      ASSERT_EQ(*expected, *values);
    }
  }
  EXPECT_GT(refused, 500);
  EXPECT_GT(lost, 200);
  EXPECT_GT(accepted, 100);
}

TEST(Checkers, SwappedLaunchesAreRefusedUnlessNeitherNeedsTheOther) {
  int refused = 0;
  for (const auto& made : RandomPrograms(150)) {
    const Program& good = made->result.program;
    for (size_t l = 0; l + 1 < good.launches.size(); ++l) {
      Program bad = Clone(good);
      std::swap(bad.launches[l], bad.launches[l + 1]);
      bool needed = false;  // the second reads what the first writes
      const Launch& first = good.launches[l];
      const Launch& second = good.launches[l + 1];
      for (size_t i = 0; i < first.operands.size(); ++i) {
        for (size_t j = 0; j < second.operands.size(); ++j) {
          needed |= first.operands[i].kind == OperandKind::kBuffer &&
                    first.operands[i] == second.operands[j] &&
                    good.kernels[first.kernel].params[i].written;
        }
      }
      const bool checked = CheckAll(bad).ok();
      ASSERT_FALSE(needed && checked) << "launches " << l << "\n" << Print(bad);
      refused += checked ? 0 : 1;
    }
  }
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace ninfer::program
