// See lines.h.
// Tested by tests/codegen_lines_test.cc.
#include "codegen/lines.h"

#include "llvm/DebugInfo/DWARF/DWARFContext.h"
#include "llvm/IR/DebugInfoMetadata.h"
#include "llvm/Object/ObjectFile.h"
#include "program/body.h"

namespace ninfer::codegen {

LineMarker::LineMarker(const program::Kernel& kernel, int first_line, llvm::Module* module)
    : first_line_(first_line), builder_(*module) {
  if (first_line == 0) return;
  // As program/text.h says: a line for the function, then one for each node.
  int line = first_line;
  for (const auto& node : kernel.body->nodes()) lines_[node.get()] = ++line;
  module->addModuleFlag(llvm::Module::Warning, "Debug Info Version", llvm::DEBUG_METADATA_VERSION);
  module->addModuleFlag(llvm::Module::Warning, "Dwarf Version", 4);
  file_ = builder_.createFile("program.ir", "");
  builder_.createCompileUnit(llvm::dwarf::DW_LANG_C, file_, "ninfer", /*isOptimized=*/true, "", 0,
                             "", llvm::DICompileUnit::LineTablesOnly);
}

void LineMarker::AddFunction(llvm::Function* function, const ir::Node* node) {
  if (first_line_ == 0) return;
  llvm::DISubroutineType* type =
      builder_.createSubroutineType(builder_.getOrCreateTypeArray(std::nullopt));
  function->setSubprogram(builder_.createFunction(
      file_, function->getName(), function->getName(), file_, first_line_, type, LineOf(node),
      llvm::DINode::FlagZero,
      llvm::DISubprogram::SPFlagDefinition | llvm::DISubprogram::SPFlagOptimized));
}

int LineMarker::LineOf(const ir::Node* node) const {
  return node == nullptr ? first_line_ : lines_.at(node);
}

llvm::DebugLoc LineMarker::At(const llvm::Function* function, const ir::Node* node) const {
  if (first_line_ == 0) return llvm::DebugLoc();
  return llvm::DILocation::get(function->getContext(), LineOf(node), 0, function->getSubprogram());
}

void LineMarker::Finish() {
  if (first_line_ != 0) builder_.finalize();
}

const ir::Node* AnchorOf(const program::Kernel& kernel) {
  for (const ir::Op op :
       {ir::Op::kLinear, ir::Op::kGroupedLinear, ir::Op::kTopK, ir::Op::kArgmax, ir::Op::kArgmaxOf,
        ir::Op::kPagedAttention, ir::Op::kKvAppend, ir::Op::kScratchPages}) {
    if (const ir::Node* node = program::FindNode(*kernel.body, op)) return node;
  }
  return nullptr;
}

std::vector<CodeLine> ReadLines(const std::string& object, const std::string& symbol) {
  auto file = llvm::object::ObjectFile::createObjectFile(
      llvm::MemoryBufferRef(llvm::StringRef(object.data(), object.size()), symbol));
  if (!file) {
    llvm::consumeError(file.takeError());
    return {};
  }
  uint64_t start = 0;
  for (const llvm::object::SymbolRef& found : (*file)->symbols()) {
    llvm::Expected<llvm::StringRef> name = found.getName();
    llvm::Expected<uint64_t> value = found.getValue();
    if (name && value && *name == symbol) start = *value;
    llvm::consumeError(name.takeError());
    llvm::consumeError(value.takeError());
  }
  std::vector<CodeLine> lines;
  const std::unique_ptr<llvm::DWARFContext> context = llvm::DWARFContext::create(**file);
  for (const auto& unit : context->compile_units()) {
    const llvm::DWARFDebugLine::LineTable* table = context->getLineTableForUnit(unit.get());
    if (table == nullptr) continue;
    for (const llvm::DWARFDebugLine::Row& row : table->Rows) {
      // Line 0 is code that LLVM could give to no single place: it goes with what is before it.
      if (row.EndSequence || row.Line == 0 || row.Address.Address < start) continue;
      const CodeLine line = {static_cast<uint32_t>(row.Address.Address - start), row.Line};
      if (!lines.empty() && lines.back().offset == line.offset) lines.pop_back();
      if (lines.empty() || lines.back().line != line.line) lines.push_back(line);
    }
  }
  return lines;
}

}  // namespace ninfer::codegen
