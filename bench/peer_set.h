// Other engines beside ours, each asked in turn for the same measurement of the same shape. One
// that cannot be installed, has no such format or fails leaves a line for the foot of the table,
// and the others go on. Tested by tests/bench_peer_test.cc.
#ifndef NINFER_BENCH_PEER_SET_H_
#define NINFER_BENCH_PEER_SET_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "bench/peer.h"

namespace ninfer::bench {

// The model that all engines are given, with random weights of their own.
struct PeerShape {
  std::string config_json;
  std::string weights;  // as --type has it: "bf16", "int4"
  int threads = 0;
  int64_t context = 0;       // positions of the longest text
  std::string cache_folder;  // for files that engines need
};

struct PeerQuestion {
  std::string name;  // of the test: "pp512"
  bool prefill = true;
  int64_t tokens = 0, depth = 0, batch = 1;
};

// A row beside ours: "torch compiled". Its types are as the engine tells them.
struct PeerEngine {
  std::string name, weights, activations, kv_cache;
  double bits = 0;  // a weight, overall; 0: not told
  size_t peer = 0;  // in the set
  bool compiled = false;
};

class PeerSet {
 public:
  // `cancelled` says that the user wants an end; may be empty.
  explicit PeerSet(std::function<bool()> cancelled) : cancelled_(std::move(cancelled)) {}

  void Add(std::unique_ptr<Peer> peer);
  // A line for each table, as of an engine that is not there.
  void AddNote(std::string note) { standing_notes_.push_back(std::move(note)); }

  // Forgets the model before. Only the user's wish ends it early.
  absl::Status Load(const PeerShape& shape);
  const std::vector<PeerEngine>& engines() const { return engines_; }  // that loaded

  // Tokens a second of each of engines(), of all texts together; 0 where there is no answer. The
  // first time for each question is for warming up: its figures mean nothing.
  absl::StatusOr<std::vector<double>> Measure(const PeerQuestion& question);

  // Of the model that is loaded: what each engine is and how it was set, and what went wrong.
  std::vector<std::string> Notes() const;

 private:
  struct Member {
    std::unique_ptr<Peer> peer;
    std::string description;                                   // "1.2, Q4_0 (5.3 bits a weight)..."
    std::map<std::string, std::vector<std::string>> settings;  // that were best, with their tests
    std::vector<std::string> failed;                           // names of questions
  };
  absl::Status LoadMember(const PeerShape& shape, size_t index);
  absl::StatusOr<double> MeasureEngine(const PeerEngine& engine, const PeerQuestion& question);
  absl::Status Cancelled() const;

  std::function<bool()> cancelled_;
  std::vector<Member> members_;
  std::vector<PeerEngine> engines_;
  std::vector<std::string> standing_notes_, failures_;
};

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_PEER_SET_H_
