#include "text/jinja/template.h"

#include "text/jinja/evaluator.h"
#include "text/jinja/parser.h"
#include "text/unicode.h"

namespace ninfer {
namespace jinja {

std::unique_ptr<const Template> Template::Parse(absl::string_view source, Error* error) {
  *error = Error();
  if (!IsValidUtf8(source)) {
    *error = {kSyntaxError, "the template is not UTF-8", 1};
    return nullptr;
  }
  std::unique_ptr<Template> made(new Template);
  if (!jinja::Parse(source, &made->tree_, error)) return nullptr;
  return made;
}

Rendered Template::Render(const nlohmann::ordered_json& variables, const std::tm& now,
                          const Limits& limits) const {
  Run run(limits);
  run.now = now;
  Evaluator evaluator(run);
  Scope* globals = run.Make<Scope>();
  for (const auto& [name, value] : variables.items()) {
    globals->Set(name, FromJson(run, value));
  }
  if (!run.failed()) evaluator.Render(tree_.root, globals);
  Rendered rendered;
  if (run.failed()) {
    rendered.error = std::move(run.error);
  } else {
    rendered.text = std::move(evaluator.output);
    rendered.generation = std::move(evaluator.generation);
  }
  return rendered;
}

}  // namespace jinja
}  // namespace ninfer
