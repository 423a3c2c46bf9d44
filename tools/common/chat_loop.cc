#include "tools/common/chat_loop.h"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/optional.h"
#include "base/file.h"
#include "base/status.h"
#include "text/unicode.h"
#include "tools/common/chat_flags.h"
#include "tools/common/line_reader.h"
#include "tools/common/run_report.h"
#include "tools/common/terminal.h"

namespace ninfer::tools {
namespace {

constexpr char kHelp[] =
    "/reset       begin again\n"
    "/save FILE   write the conversation as JSON; --messages reads it\n"
    "/stats       tell the speed of the last answer\n"
    "/help        list the commands\n"
    "/quit        end (as Ctrl-D does); Ctrl-C ends an answer\n";

void Say(absl::string_view text) {
  std::fputs(Printable(text).c_str(), stderr);
  std::fflush(stderr);
}

class Conversation {
 public:
  Conversation(const runtime::Model& model, std::unique_ptr<runtime::Chat> chat,
               ChatRequest request, runtime::GenerateOptions options, std::vector<NamedPath> inputs,
               bool models_limit)
      : model_(model),
        chat_(std::move(chat)),
        parts_(chat_->WantsParts()),
        first_(InForm(std::move(request.messages))),
        request_(std::move(request)),
        options_(std::move(options)),
        session_(model.executor(), model.tokenizer()),
        inputs_(std::move(inputs)),
        models_limit_(models_limit) {
    request_.messages = first_;
    options_.keep_cache = true;
    options_.cancelled = [] { return Interrupted(); };
    options_.on_prompt_text = nullptr;
    options_.on_text = [](absl::string_view text) {
      std::fwrite(text.data(), 1, text.size(), stdout);
      std::fflush(stdout);
    };
  }

  // A failed answer takes its question back.
  absl::Status Answer(const std::string& question) {
    Add("user", RepairUtf8(question));
    ForgetInterrupt();
    absl::StatusOr<runtime::Generation> answer = Generate();
    std::fputs("\n", stdout);
    std::fflush(stdout);
    if (!answer.ok()) {
      request_.messages.erase(request_.messages.size() - 1);
      return answer.status();
    }
    Add("assistant", answer->text);
    last_ = *std::move(answer);
    if (last_->finish == runtime::FinishReason::kContext) {
      Say("(the conversation is full; /reset begins again)\n");
    } else if (models_limit_ && last_->finish == runtime::FinishReason::kMaxTokens) {
      Say(absl::StrFormat("(cut at %d tokens; --max-tokens asks for another number)\n",
                          last_->ids.size()));
    }
    return absl::OkStatus();
  }

  // False to end.
  bool Command(absl::string_view line) {
    const size_t blank = std::min(line.find(' '), line.size());
    const absl::string_view command = line.substr(0, blank);
    const std::string argument(absl::StripAsciiWhitespace(line.substr(blank)));
    if (command == "/quit") return false;
    if (command == "/reset") {
      request_.messages = first_;
      last_.reset();
      Say("begun again\n");
    } else if (command == "/save") {
      Save(argument);
    } else if (command == "/stats") {
      Say(last_.has_value() ? Stats() : "no answer yet\n");
    } else {
      Say(command == "/help" ? kHelp
                             : absl::StrCat("no command ", command, "; /help lists them\n"));
    }
    return true;
  }

 private:
  // Contents as the template takes them.
  nlohmann::ordered_json InForm(nlohmann::ordered_json messages) const {
    for (nlohmann::ordered_json& message : messages) {
      if (!parts_ || !message.is_object() || !message.contains("content")) continue;
      nlohmann::ordered_json& content = message["content"];
      if (content.is_string()) content = runtime::PartsOf(content.get<std::string>());
    }
    return messages;
  }
  void Add(const char* role, const std::string& text) {
    nlohmann::ordered_json message = {{"role", role}, {"content", text}};
    for (nlohmann::ordered_json& each : InForm(nlohmann::ordered_json::array({message}))) {
      request_.messages.push_back(std::move(each));
    }
  }

  absl::StatusOr<runtime::Generation> Generate() {
    NINFER_ASSIGN_OR_RETURN(runtime::ChatPrompt prompt, chat_->Prompt(request_));
    prompt.ids = chat_->Encode(prompt.text, /*begins=*/model_.executor()->vision() != nullptr);
    const int64_t most = runtime::LongestText(model_.executor()->limits()) - 1;  // and an answer
    const auto found = static_cast<int64_t>(prompt.ids.size());
    if (found > most) {
      const bool first = request_.messages.size() <= first_.size() + 1;
      return InvalidArgument(first ? "the message is too long" : "the conversation is full",
                             ": expected at most ", Tokens(most), ", found ", found,
                             first ? "" : "; /reset begins again");
    }
    return session_.Generate(prompt.ids, options_);
  }

  std::string Stats() const {
    return absl::StrCat(
        FormatStats(model_, *last_, 0),
        absl::StrFormat("cache     %d of the prompt's %s were there\n", last_->stats.reused_tokens,
                        Tokens(last_->stats.prompt_tokens)));
  }

  void Save(const std::string& path) {
    if (path.empty()) return Say("/save: expected a file, found none\n");
    absl::Status saved = CheckOutputs({{"/save", path}}, inputs_);
    if (saved.ok()) {
      saved = WriteFile(
          path, absl::StrCat(
                    request_.messages.dump(2, ' ', false, nlohmann::json::error_handler_t::replace),
                    "\n"));
    }
    Say(saved.ok() ? absl::StrCat("saved ", path, "\n") : absl::StrCat(saved.message(), "\n"));
  }

  const runtime::Model& model_;
  std::unique_ptr<runtime::Chat> chat_;
  const bool parts_;                    // the template wants contents in parts
  const nlohmann::ordered_json first_;  // the system prompt
  ChatRequest request_;
  runtime::GenerateOptions options_;
  runtime::Session session_;
  const std::vector<NamedPath> inputs_;  // which /save does not write to
  const bool models_limit_;              // on an answer's tokens, where the user gave none
  absl::optional<runtime::Generation> last_;
};

// Someone at a terminal saw what failed; a script looks at the exit status.
absl::Status Ended(int64_t failed) {
  if (failed == 0 || isatty(STDIN_FILENO)) return absl::OkStatus();
  return InvalidArgument("--chat: expected an answer to every message, found ", failed,
                         failed == 1 ? " message" : " messages", " without");
}

}  // namespace

absl::Status ChatLoop(const RunFlags& flags, const runtime::Model& model,
                      runtime::GenerateOptions options) {
  NINFER_ASSIGN_OR_RETURN(ChatRequest request, ChatRequestOf(flags));
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<runtime::Chat> chat, ChatOf(flags, model, request));
  Conversation conversation(model, std::move(chat), std::move(request), std::move(options),
                            InputsOf(flags), /*models_limit=*/flags.max_tokens < 0);
  LineReader reader("> ");
  int64_t failed = 0;
  CatchEveryInterrupt();
  std::string line;
  while (true) {
    ForgetInterrupt();
    const LineReader::Result result = reader.Read(&line);
    if (result == LineReader::Result::kInterrupted) {
      Say("\n(/quit or Ctrl-D ends)\n");
      continue;
    }
    if (result == LineReader::Result::kEnd) {
      if (isatty(STDIN_FILENO)) Say("\n");
      return Ended(failed);
    }
    const absl::string_view text = absl::StripAsciiWhitespace(line);
    if (text.empty()) continue;
    if (absl::StartsWith(text, "/")) {
      if (!conversation.Command(text)) return Ended(failed);
      continue;
    }
    const absl::Status answered = conversation.Answer(std::string(text));
    if (!answered.ok()) {
      ++failed;
      Say(absl::StrCat("ninfer-run: ", answered.message(), "\n"));
    }
    if (std::ferror(stdout)) return InvalidArgument("standard output: cannot write");
  }
}

}  // namespace ninfer::tools
