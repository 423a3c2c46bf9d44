// A conversation in the terminal. Tested by tests/chat_test.py.
#ifndef NINFER_TOOLS_COMMON_CHAT_LOOP_H_
#define NINFER_TOOLS_COMMON_CHAT_LOOP_H_

#include "absl/status/status.h"
#include "runtime/model.h"
#include "runtime/session.h"
#include "tools/common/run_flags.h"

namespace ninfer::tools {

// Reads lines and writes answers until the input ends or /quit. Earlier turns stay in the cache: a
// turn costs what is new in it. Ctrl-C ends an answer, which stays in the conversation as far as it
// came. A message that has no answer, as when the conversation fills the context, is one line and
// leaves the conversation as it was; from a pipe the end is then an error. `options` needs no
// callbacks.
absl::Status ChatLoop(const RunFlags& flags, const runtime::Model& model,
                      runtime::GenerateOptions options);

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_COMMON_CHAT_LOOP_H_
