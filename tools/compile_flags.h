// The flags of ninfer-compile. Those of the compiler become keys of its options, which say what
// each may be. Tested by tests/compile_errors_test.cc, tests/compile_flags_test.cc.
#ifndef NINFER_TOOLS_COMPILE_FLAGS_H_
#define NINFER_TOOLS_COMPILE_FLAGS_H_

#include <CLI/CLI.hpp>
#include <string>

#include "nlohmann/json.hpp"

namespace ninfer::tools {

struct CompileFlags {
  nlohmann::json options = nlohmann::json::object();
  std::string output, quality, calibrate;
  bool quiet = false, verbose = false, architectures = false, passes = false, targets = false;

  std::string OptionsText() const {
    nlohmann::json all = options;
    // A flag by itself reads as "true".
    if (!quality.empty()) all["quality"] = quality == "true" ? "bundled" : quality;
    if (!calibrate.empty()) all["calibrate"] = calibrate == "true" ? "bundled" : calibrate;
    return all.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
};

void AddCompileFlags(CLI::App& app, CompileFlags& flags);

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_COMPILE_FLAGS_H_
