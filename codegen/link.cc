// Links objects with JITLink into one position-independent image. The memory manager decides the
// layout: every object's code goes, 64-byte aligned, into the executable part of a slab, its
// constants into the read-only part behind it. Addresses are relative to an arbitrary base: only
// differences survive, which a pass over the graph's edges asserts, and an unresolved symbol fails
// the link. Tested by tests/codegen_test.cc.
#include <algorithm>
#include <optional>

#include "base/status.h"
#include "codegen/compile.h"
#include "llvm/ExecutionEngine/JITLink/JITLink.h"
#include "llvm/ExecutionEngine/JITLink/aarch64.h"
#include "llvm/ExecutionEngine/JITLink/x86_64.h"
#include "llvm/ExecutionEngine/Orc/Shared/MemoryFlags.h"

namespace ninfer::codegen {
namespace {

namespace jl = llvm::jitlink;

constexpr uint64_t kBase = 0x100000000;  // where the image pretends to lie while it is linked
constexpr uint64_t kPage = 4096;
constexpr uint64_t kAlign = 64;

uint64_t RoundUp(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

bool IsExecutable(llvm::orc::MemProt protection) {
  return (static_cast<int>(protection) & static_cast<int>(llvm::orc::MemProt::Exec)) != 0;
}

// Debug information, which is read from the object and is no part of the image.
bool IsLeftOut(const jl::Section& section) {
  return section.getMemLifetime() == llvm::orc::MemLifetime::NoAlloc;
}

struct Slab {
  std::vector<char> bytes;
  uint64_t executable_size = 0;  // page-rounded; the read-only part begins here
  uint64_t next_executable = 0, next_read_only = 0;
};

class SlabAllocation : public jl::JITLinkMemoryManager::InFlightAlloc {
 public:
  void abandon(OnAbandonedFunction done) override { done(llvm::Error::success()); }
  void finalize(OnFinalizedFunction done) override {
    done(jl::JITLinkMemoryManager::FinalizedAlloc(llvm::orc::ExecutorAddr(kBase)));
  }
};

// Places each graph's segments at the next free place of its part of the slab.
class SlabMemoryManager : public jl::JITLinkMemoryManager {
 public:
  explicit SlabMemoryManager(Slab* slab) : slab_(slab) {}

  void allocate(const jl::JITLinkDylib*, jl::LinkGraph& graph, OnAllocatedFunction done) override {
    jl::BasicLayout layout(graph);
    for (auto& [group, segment] : layout.segments()) {
      const bool code = IsExecutable(group.getMemProt());
      uint64_t& next = code ? slab_->next_executable : slab_->next_read_only;
      const uint64_t at = next;
      next = RoundUp(at + segment.ContentSize + segment.ZeroFillSize, kAlign);
      NINFER_CHECK(next <= (code ? slab_->executable_size : slab_->bytes.size()));
      segment.Addr = llvm::orc::ExecutorAddr(kBase + at);
      segment.WorkingMem = slab_->bytes.data() + at;
    }
    if (llvm::Error error = layout.apply()) {
      done(std::move(error));
      return;
    }
    done(std::make_unique<SlabAllocation>());
  }

  void deallocate(std::vector<FinalizedAlloc> allocations, OnDeallocatedFunction done) override {
    for (FinalizedAlloc& allocation : allocations) allocation.release();
    done(llvm::Error::success());
  }

 private:
  Slab* slab_;
};

// Pages of AArch64's relocations are of 4096 bytes, as the image's are.
bool IsRelative(const jl::LinkGraph& graph, const jl::Edge& edge) {
  if (!edge.isRelocation()) return true;
  if (graph.getTargetTriple().isAArch64()) {
    switch (edge.getKind()) {
      case jl::aarch64::Branch26PCRel:
      case jl::aarch64::Page21:
      case jl::aarch64::PageOffset12:
      case jl::aarch64::Delta32:
      case jl::aarch64::Delta64:
      case jl::aarch64::NegDelta32:
        return true;
      default:
        return false;
    }
  }
  switch (edge.getKind()) {
    case jl::x86_64::Delta32:
    case jl::x86_64::NegDelta32:
    case jl::x86_64::Delta64:
    case jl::x86_64::PCRel32:
    case jl::x86_64::BranchPCRel32:
      return true;
    default:
      return false;
  }
}

llvm::Error RefuseAbsoluteEdges(jl::LinkGraph& graph) {
  for (jl::Block* block : graph.blocks()) {
    if (IsLeftOut(block->getSection())) continue;
    for (const jl::Edge& edge : block->edges()) {
      if (IsRelative(graph, edge)) continue;
      return llvm::make_error<llvm::StringError>(
          std::string("expected relative relocations only, found ") +
              graph.getEdgeKindName(edge.getKind()),
          llvm::inconvertibleErrorCode());
    }
  }
  return llvm::Error::success();
}

class Context : public jl::JITLinkContext {
 public:
  // JITLink owns and deletes the context; what it found stays in `code` and `status`.
  Context(SlabMemoryManager* memory, std::string symbol, KernelCode* code, absl::Status* status)
      : JITLinkContext(nullptr),
        memory_(memory),
        symbol_(std::move(symbol)),
        code_(code),
        status_(status) {}

  jl::JITLinkMemoryManager& getMemoryManager() override { return *memory_; }
  void notifyFailed(llvm::Error error) override {
    *status_ = absl::InternalError(
        absl::StrCat("kernel ", symbol_, ": cannot link: ", llvm::toString(std::move(error))));
  }
  void lookup(const LookupMap& symbols,
              std::unique_ptr<jl::JITLinkAsyncLookupContinuation> done) override {
    std::string names;
    for (const auto& symbol : symbols) absl::StrAppend(&names, " ", symbol.first.str());
    done->run(llvm::make_error<llvm::StringError>("expected no external symbols, found" + names,
                                                  llvm::inconvertibleErrorCode()));
  }
  llvm::Error notifyResolved(jl::LinkGraph& graph) override {
    for (jl::Symbol* symbol : graph.defined_symbols()) {
      if (!symbol->hasName() || symbol->getName().str() != symbol_) continue;
      code_->name = symbol_;
      code_->offset = symbol->getAddress().getValue() - kBase;
      // The kernel's own helper functions lie behind it in the same block.
      code_->size = symbol->getBlock().getSize() - symbol->getOffset();
    }
    return llvm::Error::success();
  }
  void notifyFinalized(jl::JITLinkMemoryManager::FinalizedAlloc allocation) override {
    allocation.release();
  }
  llvm::Error modifyPassConfig(jl::LinkGraph&, jl::PassConfiguration& config) override {
    config.PrePrunePasses.push_back(jl::markAllSymbolsLive);
    config.PreFixupPasses.push_back(RefuseAbsoluteEdges);
    return llvm::Error::success();
  }

 private:
  SlabMemoryManager* memory_;
  std::string symbol_;
  KernelCode* code_;
  absl::Status* status_;
};

absl::StatusOr<std::unique_ptr<jl::LinkGraph>> MakeGraph(const KernelObject& object) {
  auto graph = jl::createLinkGraphFromObject(llvm::MemoryBufferRef(
      llvm::StringRef(object.object.data(), object.object.size()), object.symbol));
  if (!graph) {
    return absl::InternalError(absl::StrCat("kernel ", object.symbol,
                                            ": cannot link: ", llvm::toString(graph.takeError())));
  }
  return std::move(*graph);
}

}  // namespace

absl::Status LinkObjects(const std::vector<KernelObject>& objects, CodeImage* image) {
  // First how much of each part there is, so that the parts' places are known before any is linked.
  std::vector<std::unique_ptr<jl::LinkGraph>> graphs;
  Slab slab;
  uint64_t read_only = 0;
  for (const KernelObject& object : objects) {
    NINFER_ASSIGN_OR_RETURN(std::unique_ptr<jl::LinkGraph> graph, MakeGraph(object));
    for (jl::Section& section : graph->sections()) {
      if (IsLeftOut(section)) continue;
      for (jl::Block* block : section.blocks()) {
        (IsExecutable(section.getMemProt()) ? slab.executable_size : read_only) +=
            RoundUp(block->getSize(), kAlign) + std::max<uint64_t>(kAlign, block->getAlignment());
      }
    }
    // For an undefined symbol, which is refused once all have a place, JITLink makes an entry of a
    // table and a stub.
    for ([[maybe_unused]] jl::Symbol* symbol : graph->external_symbols()) {
      slab.executable_size += kAlign;
      read_only += kAlign;
    }
    graphs.push_back(std::move(graph));
  }
  slab.executable_size = RoundUp(slab.executable_size, kPage);
  slab.next_read_only = slab.executable_size;
  slab.bytes.resize(slab.executable_size + RoundUp(read_only, kPage));
  SlabMemoryManager memory(&slab);
  for (size_t i = 0; i < objects.size(); ++i) {
    KernelCode code;
    absl::Status status;
    // No lookup is asynchronous, so the link is done when the call returns.
    jl::link(std::move(graphs[i]),
             std::make_unique<Context>(&memory, objects[i].symbol, &code, &status));
    NINFER_RETURN_IF_ERROR(status);
    NINFER_CHECK(!code.name.empty()) << objects[i].symbol;
    code.stack_bytes = objects[i].stack_bytes;
    code.llvm_instructions = objects[i].llvm_instructions;
    code.lines = objects[i].lines;
    image->kernels.push_back(code);
  }
  image->executable_bytes = slab.executable_size;
  image->bytes.assign(slab.bytes.begin(), slab.bytes.end());
  return absl::OkStatus();
}

}  // namespace ninfer::codegen
