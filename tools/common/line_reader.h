// Lines that a person types, with editing and history (libedit) on a terminal, and as they are
// from a pipe. Tested by tests/chat_test.py.
#ifndef NINFER_TOOLS_COMMON_LINE_READER_H_
#define NINFER_TOOLS_COMMON_LINE_READER_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace ninfer::tools {

class LineReader {
 public:
  explicit LineReader(absl::string_view prompt);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  enum class Result { kLine, kInterrupted, kEnd };
  // A line without its end; kInterrupted after Ctrl-C.
  Result Read(std::string* line);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_COMMON_LINE_READER_H_
