// Jinja templates as Hugging Face transformers runs them: an immutable sandbox with trim_blocks,
// lstrip_blocks, loop controls, {% generation %} and its own tojson, raise_exception and
// strftime_now. What Python would raise, or what goes over a limit, is an error with its line.
// Tested by tests/text_chat_template_test.cc.
#ifndef NINFER_TEXT_JINJA_TEMPLATE_H_
#define NINFER_TEXT_JINJA_TEMPLATE_H_

#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "text/jinja/ast.h"
#include "text/jinja/run.h"

namespace ninfer {
namespace jinja {

struct Rendered {
  Error error;  // then the rest is empty
  std::string text;
  std::vector<std::pair<size_t, size_t>> generation;  // first byte of `text`, length
};

// Immutable, and safe to use from several threads.
class Template {
 public:
  // Null with `error` set where the text is no template.
  static std::unique_ptr<const Template> Parse(absl::string_view source, Error* error);

  // `variables`: an object. `now`: what strftime_now sees.
  Rendered Render(const nlohmann::ordered_json& variables, const std::tm& now,
                  const Limits& limits = Limits()) const;

 private:
  Template() = default;
  Tree tree_;
};

}  // namespace jinja
}  // namespace ninfer

#endif  // NINFER_TEXT_JINJA_TEMPLATE_H_
