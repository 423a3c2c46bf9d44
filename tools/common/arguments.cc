#include "tools/common/arguments.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace ninfer::tools {
namespace {

// Where the value begins in "--flag=value" and "-f=value", with its '='.
size_t FindEquals(const std::string& argument) {
  if (absl::StartsWith(argument, "--")) return argument.find('=');
  return argument.size() > 2 && argument[2] == '=' ? 2 : std::string::npos;
}

// What a flag's type takes, and the first of its values that is none.
absl::Status WrongValue(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const bool whole = absl::StartsWith(type, "INT") || absl::StartsWith(type, "UINT");
  for (const std::string& value : option.results()) {
    int64_t number = 0;
    double real = 0;
    if (whole && absl::SimpleAtoi(value, &number)) {
      if (number >= INT32_MIN && number <= INT32_MAX) continue;
      return InvalidArgument(option.get_name(), ": expected ", INT32_MIN, " to ", INT32_MAX,
                             ", found ", number);
    }
    if (!whole && absl::SimpleAtod(value, &real)) continue;
    const char* expected = whole                             ? "a whole number"
                           : absl::StartsWith(type, "FLOAT") ? "a number"
                                                             : "true or false";
    return InvalidArgument(option.get_name(), ": expected ", expected, ", found '", value, "'");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Explain(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError)) {
    return InvalidArgument("expected arguments that --help lists, found ",
                           absl::StrJoin(app.remaining(), " "));
  }
  const absl::string_view message = error.what();
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name();
    if (option->get_required() && option->count() == 0) {
      return InvalidArgument(name, ": expected a value, found none");
    }
    switch (static_cast<CLI::ExitCodes>(error.get_exit_code())) {
      case CLI::ExitCodes::ConversionError:
        if (absl::StartsWith(message, absl::StrCat("Could not convert: ", name, " = "))) {
          NINFER_RETURN_IF_ERROR(WrongValue(*option));
        }
        break;
      case CLI::ExitCodes::ArgumentMismatch:
        if (absl::StartsWith(message, name + ": ")) {
          return InvalidArgument(name, ": expected one value, found ", option->count());
        }
        break;
      default:
        break;
    }
  }
  return InvalidArgument(message);  // of a check: in order already
}

CLI::Validator Between(int64_t least, int64_t most) {
  const auto check = [least, most](const std::string& text) -> std::string {
    int64_t value = 0;
    const bool number = absl::SimpleAtoi(text, &value);
    if (number && value >= least && value <= most) return "";
    const char* quote = number ? "" : "'";
    return absl::StrCat("expected ", least, " to ", most, ", found ", quote, text, quote);
  };
  return CLI::Validator(check, absl::StrCat("[", least, " to ", most, "]"));
}

CLI::Validator OneOf(const std::vector<std::string>& words) {
  std::vector<std::string> first(words.begin(), words.end() - 1);
  const std::string list = absl::StrCat(absl::StrJoin(first, ", "), " or ", words.back());
  const auto check = [words, list](const std::string& text) -> std::string {
    if (std::find(words.begin(), words.end(), text) != words.end()) return "";
    return absl::StrCat("expected ", words.size() == 1 ? words[0] : list, ", found '", text, "'");
  };
  return CLI::Validator(check, absl::StrCat("{", absl::StrJoin(words, ","), "}"));
}

absl::StatusOr<std::vector<std::string>> SplitValues(const CLI::App& app, int argc,
                                                     const char* const* argv,
                                                     const std::set<std::string>& may_be_empty) {
  std::vector<std::string> out;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--") {
      out.insert(out.end(), argv + i, argv + argc);
      break;
    }
    const size_t equals = FindEquals(argument);
    const std::string flag = argument.substr(0, equals);
    const CLI::Option* option =
        absl::StartsWith(flag, "-") ? app.get_option_no_throw(flag) : nullptr;
    const bool joined = equals != std::string::npos;
    const bool takes_value = option != nullptr && option->get_items_expected_min() > 0;
    if (option == nullptr || (!takes_value && !joined)) {
      out.push_back(argument);
      continue;
    }
    const bool missing = !joined && i + 1 == argc;
    const std::string value = joined ? argument.substr(equals + 1) : missing ? "" : argv[++i];
    if (missing || (value.empty() && may_be_empty.count(flag) == 0)) {
      return InvalidArgument(flag, ": expected a value, found none");
    }
    const char delimiter = option->get_delimiter();
    const std::vector<std::string> values = absl::StrSplit(value, delimiter);
    if (delimiter != 0 && std::find(values.begin(), values.end(), "") != values.end()) {
      return InvalidArgument(flag, ": expected values separated by commas, found '", value, "'");
    }
    if (takes_value) {
      out.insert(out.end(), {flag, value});
    } else {
      out.push_back(argument);
    }
  }
  return out;
}

}  // namespace ninfer::tools
