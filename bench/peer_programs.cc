// Tested by tests/bench_peer_test.cc and tests/bench_peers_test.py.
#include "bench/peer_programs.h"

#include <sys/wait.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"

namespace ninfer::bench {
namespace {

struct Program {
  const char* name;
  const char* folder;  // where it is installed
  const char* script;
  const char* argument;  // of the script; null: none
};

constexpr Program kPrograms[] = {
    {"llama.cpp", "llama.cpp", "llama_cpp_peer.py", nullptr},
    {"openvino", "openvino", "openvino_peer.py", nullptr},
    {"onnxruntime", "onnxruntime", "onnxruntime_peer.py", nullptr},
    {"vllm", "vllm", "vllm_peer.py", nullptr},
    {"torch", "torch", "torch_peer.py", "torch_models"},
    {"transformers", "torch", "torch_peer.py", "transformers_models"},
};
constexpr const char* kSources[] = {"llama.cpp", "ik"};  // what llama_source_peer.py can build

const Program* FindProgram(absl::string_view name) {
  for (const Program& program : kPrograms) {
    if (program.name == name) return &program;
  }
  return nullptr;
}

// Where a choice is installed. A build from source never takes the place of PyPI's.
std::string HomeOf(const PeerChoice& choice, const PeerFolders& folders) {
  const std::string name =
      choice.source.empty() ? FindProgram(choice.name)->folder : choice.name + "-source";
  return JoinPath(folders.installed, name);
}

// As a word of a shell's line.
std::string Quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

}  // namespace

std::vector<std::string> PeerNames() {
  std::vector<std::string> names;
  for (const Program& program : kPrograms) names.push_back(program.name);
  return names;
}

absl::StatusOr<std::vector<PeerChoice>> ChoosePeers(const std::vector<std::string>& names,
                                                    const std::vector<std::string>& sources) {
  std::vector<PeerChoice> choices;
  for (const std::string& name : names) {
    if (name == "all") {
      for (const std::string& each : PeerNames()) choices.push_back({each, ""});
    } else if (FindProgram(name) != nullptr) {
      choices.push_back({name, ""});
    } else {
      return InvalidArgument("--peers: expected ", absl::StrJoin(PeerNames(), ", "), ", found '",
                             name, "'");
    }
  }
  for (const std::string& source : sources) {
    const std::vector<std::string> parts = absl::StrSplit(source, absl::MaxSplits('=', 1));
    const bool known = std::count(std::begin(kSources), std::end(kSources), parts[0]) > 0;
    if (!known || parts.size() != 2) {
      return InvalidArgument("--peer-source: expected ik=FOLDER or llama.cpp=FOLDER, found '",
                             source, "'");
    }
    if (!FileExists(JoinPath(parts[1], "CMakeLists.txt"))) {
      return InvalidArgument("--peer-source: expected a source folder with CMakeLists.txt, found '",
                             parts[1], "'");
    }
    const auto same = std::find_if(choices.begin(), choices.end(),
                                   [&](const PeerChoice& c) { return c.name == parts[0]; });
    if (same != choices.end()) choices.erase(same);
    choices.insert(choices.begin(), {parts[0], parts[1]});
  }
  return choices;
}

bool IsInstalled(const PeerChoice& choice, const PeerFolders& folders) {
  return FileExists(JoinPath(HomeOf(choice, folders), "installed"));
}

absl::Status Install(const PeerChoice& choice, const PeerFolders& folders) {
  const std::string script = JoinPath(folders.scripts, "install.sh");
  if (!FileExists(script)) {
    return InvalidArgument(choice.name, ": expected ", script, ", found none");
  }
  const std::string what =
      choice.source.empty() ? choice.name : absl::StrCat(choice.name, "=", choice.source);
  const std::string command =
      absl::StrCat("exec bash ", Quoted(script), " ", Quoted(folders.installed), " ", Quoted(what),
                   " 2>&1 </dev/null");
  std::FILE* output = popen(command.c_str(), "r");
  if (output == nullptr) return absl::InternalError(absl::StrCat(choice.name, ": popen failed"));
  std::string line, last;
  char buffer[4096];
  while (std::fgets(buffer, sizeof(buffer), output) != nullptr) {
    line = std::string(absl::StripAsciiWhitespace(buffer));
    if (!line.empty()) last = line;
  }
  const int status = pclose(output);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return InvalidArgument(last.empty() ? absl::StrCat(choice.name, ": could not be installed")
                                      : last);
}

absl::StatusOr<std::unique_ptr<Peer>> StartPeer(const PeerChoice& choice,
                                                const PeerFolders& folders) {
  const std::string home = HomeOf(choice, folders);
  const std::string python = JoinPath(home, "bin/python3");
  if (!FileExists(python)) {
    return InvalidArgument(choice.name, ": expected an engine in ", home,
                           ", found none (bench/peers/install.sh installs it)");
  }
  std::vector<std::string> command = {"/usr/bin/env", "GLIBC_TUNABLES=glibc.malloc.hugetlb=1",
                                      python, "-B"};  // huge pages, as ours have
  if (choice.source.empty()) {
    const Program* program = FindProgram(choice.name);
    command.push_back(JoinPath(folders.scripts, program->script));
    if (program->argument != nullptr) command.push_back(program->argument);
  } else {
    command.push_back(JoinPath(folders.scripts, "llama_source_peer.py"));
    command.push_back(JoinPath(home, "build"));
  }
  return Peer::Start(choice.name, command);
}

}  // namespace ninfer::bench
