// Which line of the program's text (program::Print) each instruction of a kernel is there for: put
// on the LLVM IR as debug locations while it is emitted, read back from the object's line table.
// The code is the same bytes without. Tested by tests/codegen_lines_test.cc.
#ifndef NINFER_CODEGEN_LINES_H_
#define NINFER_CODEGEN_LINES_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "codegen/codegen.h"
#include "llvm/IR/DIBuilder.h"
#include "llvm/IR/Module.h"
#include "program/program.h"

namespace ninfer::codegen {

class LineMarker {
 public:
  // `first_line` is that of the kernel's function in the text; 0: nothing is marked.
  LineMarker(const program::Kernel& kernel, int first_line, llvm::Module* module);

  // `function` begins for `node`: what saves registers and takes arguments is there for it.
  void AddFunction(llvm::Function* function, const ir::Node* node);
  // The place of what is emitted for `node` (null: for the kernel as a whole) into `function`.
  llvm::DebugLoc At(const llvm::Function* function, const ir::Node* node) const;
  void Finish();

 private:
  int LineOf(const ir::Node* node) const;

  absl::flat_hash_map<const ir::Node*, int> lines_;
  int first_line_;
  llvm::DIBuilder builder_;
  llvm::DIFile* file_ = nullptr;
};

// The node that a kernel of one anchor is named after, a linear say; null in the rowwise family.
const ir::Node* AnchorOf(const program::Kernel& kernel);

// The object's line table from the symbol on, offsets counted from there; empty when it has none.
std::vector<CodeLine> ReadLines(const std::string& object, const std::string& symbol);

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_LINES_H_
