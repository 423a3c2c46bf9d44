// The engines that can be measured beside ours, and how each is installed: from PyPI into a folder
// of its own, or built from a source that the user has. Tested by tests/bench_peer_test.cc and
// tests/bench_peers_test.py.
#ifndef NINFER_BENCH_PEER_PROGRAMS_H_
#define NINFER_BENCH_PEER_PROGRAMS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "bench/peer.h"

namespace ninfer::bench {

// What is asked for. `name` is one of PeerNames(), or of the kinds of source.
struct PeerChoice {
  std::string name;
  std::string source;  // a folder to build from; empty: from PyPI
};

struct PeerFolders {
  std::string scripts;    // bench/peers/ as the build copies it
  std::string installed;  // NAME/ with each engine, cache/ with its files
};

// All that come from PyPI, the most telling first.
std::vector<std::string> PeerNames();

// From --peers ("all" for each of PeerNames()) and --peer-source=NAME=FOLDER, which takes the place
// of the one from PyPI. Refuses what is not known, naming the flag.
absl::StatusOr<std::vector<PeerChoice>> ChoosePeers(const std::vector<std::string>& names,
                                                    const std::vector<std::string>& sources);

bool IsInstalled(const PeerChoice& choice, const PeerFolders& folders);
// With bench/peers/install.sh, whose one line is the error.
absl::Status Install(const PeerChoice& choice, const PeerFolders& folders);

absl::StatusOr<std::unique_ptr<Peer>> StartPeer(const PeerChoice& choice,
                                                const PeerFolders& folders);

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_PEER_PROGRAMS_H_
