// Questions about a kernel's body that lowering, the verifier and the emitters ask alike.
// Tested by tests/program_body_test.cc.
#ifndef NINFER_PROGRAM_BODY_H_
#define NINFER_PROGRAM_BODY_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "program/program.h"

namespace ninfer::program {

// Columns [offset, offset + columns) of each row of `root`, which is no view: a parameter, or the
// result of a node that computes.
struct ColumnRange {
  const ir::Value* root = nullptr;
  int64_t offset = 0;
  int64_t columns = 0;
};

// Follows reshapes that keep the rows and slices that take one stretch of a row's elements. None
// when the value is no such stretch: then it cannot be read as rows of a wider buffer.
absl::optional<ColumnRange> ResolveColumns(const ir::Value* value);

// True for ops whose element depends on the operands' elements at the same place alone.
bool IsPointwise(const ir::Node& node);

// The first node of this op, or null.
const ir::Node* FindNode(const ir::Function& body, ir::Op op);

// The linear or grouped_linear of a body of these families; null when there is none.
const ir::Node* LinearOf(const ir::Function& body);
// What a linear's kernel reads: its first operand, or what this quantises.
const ir::Value* LinearInput(const ir::Node& linear);
// The node that quantises the linear's input; null when none does.
const ir::Node* InputQuantiser(const ir::Node& linear);

// True for max_parts and argmax_parts, which a linear finds of its result, panel by panel.
bool IsParts(const ir::Node& node);

// Index of the parameter, or -1.
int ParameterIndex(const ir::Function& body, const ir::Value* value);

// The parameters that receive results: one for each result but a KV state, and the scores of naive
// attention. They stand last.
int NumOutputs(const Kernel& kernel);

// How the launch's work divides, by family. The body must be one that CheckBody accepts.
Units UnitsOf(const Kernel& kernel);

// The layout of the body's KV pool; all zero when it has none.
KvLayout KvOf(const ir::Function& body);

// Elements from one row of a buffer of this type to the next; 0 where a row's length is a dimension
// of the step, and rows lie side by side.
int64_t BufferLd(const ir::Type& type);
// Bytes at the symbols' upper bounds.
int64_t BufferBytes(const ir::Type& type, absl::Span<const ir::Symbol> symbols);

// True when the row r of every result depends on no other row of parameter `index` than r.
bool ReadsRowByRow(const Kernel& kernel, int index);

// True when the kernel reads each element of parameter `index` before it writes the same element of
// its one output and never after: the two may share their place.
bool MayOverwrite(const Kernel& kernel, int index);

// Checks that the body is one that the kernel's family takes. The message names the node, what the
// family takes and what it found.
absl::Status CheckBody(const Kernel& kernel, absl::Span<const ir::Symbol> symbols);

}  // namespace ninfer::program

#endif  // NINFER_PROGRAM_BODY_H_
