// Wrong rewrites of the kernel program, planted behind the passes that make it. Each must be caught
// and named: by the verifier, by the comparison with the imported graph, or, where one thread after
// the other would still compute the right values, by the checker of order.
#include <algorithm>
#include <functional>

#include "program/body.h"
#include "tests/planted_testing.h"

namespace ninfer::passes {
namespace {

using program::Barrier;
using program::Family;
using program::Launch;
using program::OperandKind;
using program::Program;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Changes the program; false when it found nothing to change.
using Change = std::function<bool(Program&)>;

ExtraPass Plant(const std::string& after, const std::string& name, const Change& change) {
  ExtraPass planted{after, name, nullptr};
  planted.run_program = [change](Program& program, const PassOptions&) -> absl::StatusOr<int> {
    EXPECT_TRUE(change(program)) << "nothing to spoil";
    return 1;
  };
  return planted;
}

void ExpectCaught(const compiler::Source& source, const ExtraPass& planted,
                  const std::string& reason, const PassOptions& choice = {}) {
  EXPECT_THAT(MessageWith(source, planted, choice),
              AllOf(HasSubstr(absl::StrCat(" ", planted.name, ": ")), HasSubstr(reason)));
}

constexpr char kWrongValue[] = " exceeds bound 0.0001 at position ";

Family FamilyOf(const Program& program, const Launch& launch) {
  return program.kernels[launch.kernel].family;
}

// Launches of the family that have this many operands of the kind, in order.
std::vector<Launch*> LaunchesOf(Program& program, Family family) {
  std::vector<Launch*> found;
  for (Launch& launch : program.launches) {
    if (FamilyOf(program, launch) == family) found.push_back(&launch);
  }
  return found;
}

program::Operand* OperandOf(Launch& launch, OperandKind kind) {
  for (program::Operand& operand : launch.operands) {
    if (operand.kind == kind) return &operand;
  }
  return nullptr;
}

// --- weights -------------------------------------------------------------------------------------

TEST(PlantedProgram, PanelOfTheOtherLayer) {
  ExpectCaught(Llama(),
               Plant("lower", "wrong-panel",
                     [](Program& program) {
                       for (Launch* a : LaunchesOf(program, Family::kLinear)) {
                         for (Launch* b : LaunchesOf(program, Family::kLinear)) {
                           if (a == b || a->kernel != b->kernel) continue;
                           *OperandOf(*a, OperandKind::kWeight) =
                               *OperandOf(*b, OperandKind::kWeight);
                           return true;
                         }
                       }
                       return false;
                     }),
               kWrongValue);
}

TEST(PlantedProgram, WeightsThatLieInOnePlace) {
  ExpectCaught(Llama(),
               Plant("layout", "shared-place",
                     [](Program& program) {
                       for (program::PackedWeight& a : program.weights) {
                         for (program::PackedWeight& b : program.weights) {
                           if (&a == &b || a.bytes != b.bytes) continue;
                           a.offset = b.offset;
                           return true;
                         }
                       }
                       return false;
                     }),
               "expected an offset aligned to 64 in ");
}

// --- kernels -------------------------------------------------------------------------------------

TEST(PlantedProgram, EpsilonOfAKernel) {
  ExpectCaught(Llama(),
               Plant("lower", "wrong-epsilon",
                     [](Program& program) {
                       for (program::Kernel& kernel : program.kernels) {
                         for (const auto& node : kernel.body->nodes()) {
                           if (node->op() != ir::Op::kRmsNorm) continue;
                           node->set_attr("eps", 0.01);
                           return true;
                         }
                       }
                       return false;
                     }),
               kWrongValue);
}

TEST(PlantedProgram, ActivationLeftOutOfAKernel) {
  ExpectCaught(Gpt2(),
               Plant("layout", "no-activation",
                     [](Program& program) {
                       for (program::Kernel& kernel : program.kernels) {
                         for (const auto& node : kernel.body->nodes()) {
                           if (node->op() != ir::Op::kGeluTanh) continue;
                           kernel.body->ReplaceAllUses(node->result(), node->operand(0));
                           kernel.body->RemoveDeadNodes();
                           return true;
                         }
                       }
                       return false;
                     }),
               kWrongValue);
}

// --- launches ------------------------------------------------------------------------------------

// The verifier knows which buffer is written when; of the cache it knows nothing.
TEST(PlantedProgram, AttentionLaunchedBeforeItsKeysAreAppended) {
  ExpectCaught(Llama(),
               Plant("schedule", "attention-first",
                     [](Program& program) {
                       auto& launches = program.launches;
                       for (size_t i = 1; i < launches.size(); ++i) {
                         if (FamilyOf(program, launches[i]) != Family::kAttention) continue;
                         for (size_t j = i; j-- > 0;) {
                           if (FamilyOf(program, launches[j]) != Family::kKvAppend) {
                             continue;
                           }
                           std::swap(launches[i], launches[j]);
                           return true;
                         }
                       }
                       return false;
                     }),
               "a position of the KV cache is read and holds no value");
}

TEST(PlantedProgram, LaunchBeforeTheOneThatItReads) {
  ExpectCaught(Llama(),
               Plant("schedule", "too-early",
                     [](Program& program) {
                       auto& launches = program.launches;
                       for (size_t i = 1; i < launches.size(); ++i) {
                         const program::Operand made = launches[i - 1].operands.back();
                         const auto& read = launches[i].operands;
                         if (std::find(read.begin(), read.end(), made) == read.end()) {
                           continue;
                         }
                         std::swap(launches[i - 1], launches[i]);
                         return true;
                       }
                       return false;
                     }),
               "to be written by an earlier launch");
}

TEST(PlantedProgram, CacheOfTheOtherLayer) {
  ExpectCaught(Llama(),
               Plant("lower", "wrong-layer",
                     [](Program& program) {
                       const auto launches = LaunchesOf(program, Family::kAttention);
                       *OperandOf(*launches[1], OperandKind::kKv) =
                           *OperandOf(*launches[0], OperandKind::kKv);
                       return true;
                     }),
               kWrongValue);
}

TEST(PlantedProgram, OperandsOfAResidualFromAnotherPlace) {
  ExpectCaught(Gpt2(),
               Plant("layout", "wrong-input",
                     [](Program& program) {
                       // Of two linears by one kernel, the second reads what the first did.
                       const auto linears = LaunchesOf(program, Family::kLinear);
                       for (Launch* a : linears) {
                         for (Launch* b : linears) {
                           if (a >= b || a->kernel != b->kernel) continue;
                           *OperandOf(*b, OperandKind::kBuffer) =
                               *OperandOf(*a, OperandKind::kBuffer);
                           return true;
                         }
                       }
                       return false;
                     }),
               kWrongValue);
}

// --- barriers ------------------------------------------------------------------------------------

void ExpectWeakerBarrierCaught(const std::string& after, const std::string& name, Barrier from,
                               Barrier to) {
  ExpectCaught(Llama(),
               Plant(after, name,
                     [=](Program& program) {
                       for (Launch& launch : program.launches) {
                         if (launch.barrier != from) continue;
                         launch.barrier = to;
                         return true;
                       }
                       return false;
                     }),
               ": expected a barrier behind launch ");
}

TEST(PlantedProgram, DroppedBarrier) {
  ExpectWeakerBarrierCaught("schedule", "no-barrier", Barrier::kAlways, Barrier::kNone);
}

TEST(PlantedProgram, BarrierThatStandsInLargeStepsAlone) {
  ExpectWeakerBarrierCaught("schedule", "weaker-barrier", Barrier::kAlways, Barrier::kMany);
}

TEST(PlantedProgram, BarrierThatStandsInPrefillAlone) {
  ExpectWeakerBarrierCaught("schedule", "prefill-barrier", Barrier::kAlways, Barrier::kPrefill);
}

TEST(PlantedProgram, AttentionThatDoesNotWaitForAPromptsOtherRows) {
  ExpectWeakerBarrierCaught("schedule", "no-prefill-barrier", Barrier::kManyOrPrefill,
                            Barrier::kMany);
}

TEST(PlantedProgram, AttentionThatDoesNotWaitForManyRotatedRows) {
  ExpectWeakerBarrierCaught("schedule", "prefill-barrier-alone", Barrier::kManyOrPrefill,
                            Barrier::kPrefill);
}

TEST(PlantedProgram, BarrierDroppedBehindTheLastPass) {
  ExpectWeakerBarrierCaught("plan-buffers", "late-drop", Barrier::kMany, Barrier::kNone);
}

TEST(PlantedProgram, DealtLaunchThatWritesReplicas) {
  ExpectCaught(Llama(),
               Plant("schedule", "dealt",
                     [](Program& program) {
                       for (Launch& launch : program.launches) {
                         if (!launch.replicated) continue;
                         launch.replicated = false;
                         return true;
                       }
                       return false;
                     }),
               "expected to be replicated exactly as the launch is");
}

// --- places in the arena -------------------------------------------------------------------------

bool AliveTogether(const program::Buffer& a, const program::Buffer& b) {
  return a.first_launch < b.last_launch && b.first_launch < a.last_launch;
}

// Two buffers that are alive at once, the first the smaller. `leaves`: in its place the larger
// would end behind the arena.
bool FindPair(Program& program, bool leaves, program::Buffer** small, program::Buffer** large) {
  for (program::Buffer& a : program.buffers) {
    for (program::Buffer& b : program.buffers) {
      if (a.replicated != b.replicated || a.bytes >= b.bytes || !AliveTogether(a, b)) continue;
      const int64_t end = a.replicated ? program.replica_bytes : program.arena_bytes;
      if (leaves && a.offset + b.bytes <= end) continue;
      *small = &a;
      *large = &b;
      return true;
    }
  }
  return false;
}

TEST(PlantedProgram, SwappedOffsets) {
  ExpectCaught(Llama(),
               Plant("plan-buffers", "swapped-offsets",
                     [](Program& program) {
                       program::Buffer *small = nullptr, *large = nullptr;
                       if (!FindPair(program, true, &small, &large)) return false;
                       std::swap(small->offset, large->offset);
                       return true;
                     }),
               "expected an end inside ");
}

TEST(PlantedProgram, OnePlaceForTwoLivingBuffers) {
  ExpectCaught(Gpt2(),
               Plant("plan-buffers", "shared-offset",
                     [](Program& program) {
                       program::Buffer *small = nullptr, *large = nullptr;
                       if (!FindPair(program, false, &small, &large)) return false;
                       small->offset = large->offset;
                       return true;
                     }),
               " is read and holds no value");
}

TEST(PlantedProgram, ArenaThatIsTooSmall) {
  ExpectCaught(Llama(),
               Plant("plan-buffers", "small-arena",
                     [](Program& program) {
                       program.arena_bytes /= 2;
                       return true;
                     }),
               "expected an end inside ");
}

}  // namespace
}  // namespace ninfer::passes
