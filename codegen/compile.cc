// A kernel's way through LLVM. Nothing is vectorised or unrolled: the emitters have decided both,
// and LLVM's choices would only cost compile time and registers. Tested by tests/codegen_test.cc.
#include "codegen/compile.h"

#include <algorithm>
#include <mutex>

#include "absl/strings/ascii.h"
#include "base/file.h"
#include "base/status.h"
#include "codegen/emitter.h"
#include "codegen/lines.h"
#include "llvm/IR/DebugInfo.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/DataExtractor.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/Cloning.h"

namespace ninfer::codegen {
namespace {

void InitialiseLlvm() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeAllTargetInfos();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeAArch64AsmParser();
    // Constants are memory operands of the instructions that use them; hoisted out of loops they
    // would be held in registers, or spilled. LLVM has no switch for this but its command line.
    const char* arguments[] = {"ninfer", "-disable-machine-licm"};
    llvm::cl::ParseCommandLineOptions(2, arguments, "", &llvm::nulls());
  });
}

absl::StatusOr<std::unique_ptr<llvm::TargetMachine>> MakeMachine(const Target& target) {
  std::string error;
  const llvm::Target* found = llvm::TargetRegistry::lookupTarget(target.triple, error);
  if (found == nullptr) return absl::InternalError(error);
  llvm::TargetOptions options;
  options.EmitStackSizeSection = true;
  std::unique_ptr<llvm::TargetMachine> machine(found->createTargetMachine(
      target.triple, target.cpu, target.features, options, llvm::Reloc::PIC_,
      llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default));
  if (machine == nullptr) return absl::InternalError("LLVM has no target machine");
  return machine;
}

void EmitBody(Emitter& e) {
  switch (e.kernel().family) {
    case program::Family::kLinear:
    case program::Family::kGroupedLinear:
      return EmitLinear(e);
    case program::Family::kRouting:
      return EmitRouting(e);
    case program::Family::kArgmax:
      return EmitArgmax(e);
    case program::Family::kRowwise:
      return EmitRowwise(e);
    case program::Family::kKvAppend:
      return EmitKvAppend(e);
    case program::Family::kAttention:
      return EmitAttention(e);
    case program::Family::kPages:
      return EmitPages(e);
  }
  NINFER_CHECK(false) << e.kernel().name;
}

// What the emitters leave to be done, each once: constant arguments of helper functions, common
// addresses, loops of one turn, what stays the same in a loop, arguments that nothing uses then.
// The default pipeline of O2 takes two to three times as long over tiles of the same length.
constexpr char kPipeline[] =
    "ipsccp,function(early-cse<memssa>,simplifycfg,instcombine<no-verify-fixpoint>,"
    "loop-mssa(loop-rotate,licm),loop(indvars,loop-deletion),early-cse<memssa>,"
    "instcombine<no-verify-fixpoint>,simplifycfg),deadargelim";

absl::Status Optimise(llvm::Module& module, llvm::TargetMachine& machine) {
  llvm::PassBuilder builder(&machine);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  llvm::ModulePassManager passes;
  if (llvm::Error error = builder.parsePassPipeline(passes, kPipeline)) {
    return absl::InternalError(absl::StrCat("LLVM: ", llvm::toString(std::move(error))));
  }
  passes.run(module, modules);
  return absl::OkStatus();
}

// Without line numbers, which a reader of these texts has no use for.
std::unique_ptr<llvm::Module> CloneForDump(const llvm::Module& module) {
  std::unique_ptr<llvm::Module> copy = llvm::CloneModule(module);
  llvm::StripDebugInfo(*copy);
  return copy;
}

std::string ModuleText(const llvm::Module& module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream, nullptr);
  return text;
}

absl::StatusOr<std::string> EmitFile(llvm::Module& module, llvm::TargetMachine& machine,
                                     llvm::CodeGenFileType type) {
  llvm::SmallVector<char, 0> buffer;
  llvm::raw_svector_ostream stream(buffer);
  llvm::legacy::PassManager passes;
  // The emitters' text was verified.
  if (machine.addPassesToEmitFile(passes, stream, nullptr, type, /*DisableVerify=*/true)) {
    return absl::InternalError("LLVM cannot emit this file type");
  }
  passes.run(module);
  return std::string(buffer.data(), buffer.size());
}

// The largest frame of the object's functions, from its .stack_sizes section: for each an address
// and a ULEB128.
int64_t StackBytes(const std::string& object) {
  auto file = llvm::object::ObjectFile::createObjectFile(
      llvm::MemoryBufferRef(llvm::StringRef(object.data(), object.size()), "kernel"));
  if (!file) {
    llvm::consumeError(file.takeError());
    return -1;
  }
  int64_t largest = -1;
  for (const llvm::object::SectionRef& section : (*file)->sections()) {
    auto name = section.getName();
    if (!name || *name != ".stack_sizes") continue;
    auto contents = section.getContents();
    if (!contents) continue;
    llvm::DataExtractor data(*contents, true, 8);
    for (uint64_t offset = 8; offset < contents->size(); offset += 8) {
      largest = std::max(largest, static_cast<int64_t>(data.getULEB128(&offset)));
    }
  }
  return largest;
}

}  // namespace

absl::StatusOr<KernelObject> CompileKernel(const program::Program& program,
                                           const program::Kernel& kernel, const Target& target,
                                           int first_line, const CodegenOptions& options) {
  InitialiseLlvm();
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<llvm::TargetMachine> machine, MakeMachine(target));
  KernelObject result;
  result.symbol = absl::StrCat(kernel.name, "__", target.name);
  for (char& c : result.symbol) {
    if (!absl::ascii_isalnum(c)) c = '_';
  }
  llvm::LLVMContext context;
  llvm::Module module(result.symbol, context);
  module.setTargetTriple(target.triple);
  module.setDataLayout(machine->createDataLayout());
  Emitter emitter(program, kernel, target, first_line, &module, result.symbol);
  EmitBody(emitter);
  std::string problem;
  llvm::raw_string_ostream stream(problem);
  if (llvm::verifyModule(module, &stream)) {
    return absl::InternalError(
        absl::StrCat("kernel ", kernel.name, ": LLVM refuses it: ", problem));
  }
  NINFER_RETURN_IF_ERROR(Optimise(module, *machine));
  for (const llvm::Function& function : module) {
    result.llvm_instructions += function.getInstructionCount();
  }
  if (!options.dump_llvm_dir.empty()) {
    NINFER_RETURN_IF_ERROR(
        WriteFile(JoinPath(options.dump_llvm_dir, absl::StrCat(result.symbol, ".ll")),
                  ModuleText(*CloneForDump(module))));
  }
  if (!options.dump_asm_dir.empty()) {
    // Emission changes the module, so the assembly is made from a copy by a second run.
    std::unique_ptr<llvm::Module> copy = CloneForDump(module);
    NINFER_ASSIGN_OR_RETURN(std::string text,
                            EmitFile(*copy, *machine, llvm::CodeGenFileType::AssemblyFile));
    NINFER_RETURN_IF_ERROR(
        WriteFile(JoinPath(options.dump_asm_dir, absl::StrCat(result.symbol, ".s")), text));
  }
  NINFER_ASSIGN_OR_RETURN(result.object,
                          EmitFile(module, *machine, llvm::CodeGenFileType::ObjectFile));
  result.stack_bytes = StackBytes(result.object);
  if (first_line != 0) result.lines = ReadLines(result.object, result.symbol);
  return result;
}

}  // namespace ninfer::codegen
