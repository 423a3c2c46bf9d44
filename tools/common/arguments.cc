#include "tools/common/arguments.h"

#include "absl/strings/match.h"
#include "base/status.h"

namespace ninfer::tools {
namespace {

// Where the value begins in "--flag=value" and "-f=value", with its '='.
size_t FindEquals(const std::string& argument) {
  if (absl::StartsWith(argument, "--")) return argument.find('=');
  return argument.size() > 2 && argument[2] == '=' ? 2 : std::string::npos;
}

}  // namespace

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
    if (takes_value) {
      out.insert(out.end(), {flag, value});
    } else {
      out.push_back(argument);
    }
  }
  return out;
}

}  // namespace ninfer::tools
