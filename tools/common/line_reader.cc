#include "tools/common/line_reader.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <unistd.h>
#include <wchar.h>

#include <cstdio>
#include <cstring>

#include "absl/strings/ascii.h"
#include "tools/common/terminal.h"

namespace ninfer::tools {

constexpr int kHistory = 1000;  // lines

struct LineReader::Impl {
  std::string prompt;
  EditLine* edit = nullptr;  // null where standard input is no terminal
  History* history = nullptr;
};

namespace {

char* PromptOf(EditLine* edit) {
  void* data = nullptr;
  el_get(edit, EL_CLIENTDATA, &data);
  return static_cast<std::string*>(data)->data();
}

// One character: 1, 0 at the end, -1 with errno. The library's own reader would sleep through an
// interrupt that comes between its prompt and its read.
int ReadCharacter(EditLine*, wchar_t* character) {
  mbstate_t state = {};
  while (true) {
    if (!WaitForInput()) {
      errno = EINTR;
      return -1;
    }
    char byte = 0;
    const ssize_t count = read(STDIN_FILENO, &byte, 1);
    if (count <= 0) return static_cast<int>(count);
    const size_t used = mbrtowc(character, &byte, 1, &state);
    if (used == static_cast<size_t>(-1)) state = {};  // no such character: left out
    if (used <= 1) return 1;
  }
}

}  // namespace

LineReader::LineReader(absl::string_view prompt) : impl_(std::make_unique<Impl>()) {
  impl_->prompt = std::string(prompt);
  if (!isatty(STDIN_FILENO)) return;
  // Characters of several bytes are moved over as one. Only this category: numbers stay as they
  // are.
  const char* locale = setlocale(LC_CTYPE, "");
  if (locale == nullptr || std::strcmp(locale, "C") == 0) setlocale(LC_CTYPE, "C.UTF-8");
  impl_->edit = el_init("ninfer-run", stdin, stdout, stderr);
  if (impl_->edit == nullptr) return;
  impl_->history = history_init();
  HistEvent event;
  history(impl_->history, &event, H_SETSIZE, kHistory);
  history(impl_->history, &event, H_SETUNIQUE, 1);
  el_set(impl_->edit, EL_CLIENTDATA, &impl_->prompt);
  el_set(impl_->edit, EL_PROMPT, PromptOf);
  el_set(impl_->edit, EL_EDITOR, "emacs");
  el_set(impl_->edit, EL_HIST, history, impl_->history);
  el_set(impl_->edit, EL_GETCFN, ReadCharacter);
}

LineReader::~LineReader() {
  if (impl_->history != nullptr) history_end(impl_->history);
  if (impl_->edit != nullptr) el_end(impl_->edit);
}

LineReader::Result LineReader::Read(std::string* line) {
  line->clear();
  if (impl_->edit == nullptr) {
    for (int c = std::getchar(); c != '\n'; c = std::getchar()) {
      if (c == EOF && Interrupted()) return Result::kInterrupted;
      if (c == EOF) return line->empty() ? Result::kEnd : Result::kLine;
      line->push_back(static_cast<char>(c));
    }
    return Result::kLine;
  }
  int count = 0;
  // Before the prompt: what is typed at once (a Ctrl-D) is else the terminal's and not the
  // editor's.
  el_set(impl_->edit, EL_PREP_TERM, 1);
  const char* text = el_gets(impl_->edit, &count);
  if (text == nullptr) {
    const bool interrupted = count < 0 && errno == EINTR;
    if (interrupted) el_reset(impl_->edit);
    return interrupted || Interrupted() ? Result::kInterrupted : Result::kEnd;
  }
  *line = std::string(text, count);
  while (!line->empty() && (line->back() == '\n' || line->back() == '\r')) line->pop_back();
  if (!absl::StripAsciiWhitespace(*line).empty()) {
    HistEvent event;
    history(impl_->history, &event, H_ENTER, line->c_str());
  }
  return Result::kLine;
}

}  // namespace ninfer::tools
