// Another engine in a program of its own, asked for one measurement after another over a pair of
// sockets: a JSON object a line each way (bench/peers/protocol.py). Between questions it is
// stopped, so that no thread of it spins beside what is measured. Tested by
// tests/bench_peer_test.cc.
#ifndef NINFER_BENCH_PEER_H_
#define NINFER_BENCH_PEER_H_

#include <sys/types.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ninfer::bench {

class Peer {
 public:
  // Starts the program; `name` begins messages.
  static absl::StatusOr<std::unique_ptr<Peer>> Start(const std::string& name,
                                                     const std::vector<std::string>& command);
  ~Peer();  // ends it
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  const std::string& name() const { return name_; }

  // Waits for the answer, `seconds` at most. An answer that has an "error" is one. A peer whose
  // answer did not come is ended, and asked no more.
  absl::StatusOr<nlohmann::json> Ask(const nlohmann::json& request, double seconds = 900);
  // A number that the answer must have.
  absl::StatusOr<double> Number(const nlohmann::json& answer, const char* key) const;

 private:
  Peer(std::string name, pid_t process, int socket)
      : name_(std::move(name)), process_(process), socket_(socket) {}
  absl::StatusOr<std::string> ReadLine(double seconds);

  std::string name_;
  pid_t process_;
  int socket_;
  std::string received_;
};

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_PEER_H_
