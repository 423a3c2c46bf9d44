// The flags of ninfer-run for conversations, and the request that they make.
// Tested by tests/chat_test.py.
#ifndef NINFER_TOOLS_COMMON_CHAT_FLAGS_H_
#define NINFER_TOOLS_COMMON_CHAT_FLAGS_H_

#include "absl/status/statusor.h"
#include "runtime/chat.h"
#include "runtime/model.h"
#include "tools/common/run_flags.h"

namespace ninfer::tools {

void AddChatFlags(CLI::App* app, RunFlags* flags);

// Refuses flags of conversations that contradict each other or stand alone.
absl::Status CheckChatFlags(const RunFlags& flags);

// Whether the prompt is a conversation's.
inline bool IsChat(const RunFlags& flags) { return flags.chat || !flags.messages.empty(); }

// The messages, tools and variables of the flags. For --messages the text asks for an answer, or
// ends with the last message where that is the assistant's own.
absl::StatusOr<ChatRequest> ChatRequestOf(const RunFlags& flags);

// The template of the flags or of the model.
absl::StatusOr<std::unique_ptr<runtime::Chat>> ChatOf(const RunFlags& flags,
                                                      const runtime::Model& model,
                                                      const ChatRequest& request);

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_COMMON_CHAT_FLAGS_H_
