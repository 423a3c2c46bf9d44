// Tested by tests/bench_peer_test.cc.
#include "bench/peer_set.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace ninfer::bench {
namespace {

using Json = nlohmann::json;

constexpr double kLoadSeconds = 3600;  // files are written and converted the first time

std::string Text(const Json& answer, const char* key) {
  const auto found = answer.find(key);
  return found != answer.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string Describe(const Json& answer) {
  std::vector<std::string> parts;
  if (!Text(answer, "version").empty()) parts.push_back(Text(answer, "version"));
  const auto bits = answer.find("bits");
  if (bits != answer.end() && bits->is_number()) {
    parts.push_back(absl::StrFormat("%s weights of %.2f bits overall", Text(answer, "weights"),
                                    bits->get<double>()));
  }
  if (!Text(answer, "settings").empty()) parts.push_back(Text(answer, "settings"));
  return absl::StrJoin(parts, ", ");
}

}  // namespace

void PeerSet::Add(std::unique_ptr<Peer> peer) {
  members_.emplace_back();
  members_.back().peer = std::move(peer);
}

absl::Status PeerSet::Cancelled() const {
  return cancelled_ && cancelled_() ? absl::CancelledError("interrupted") : absl::OkStatus();
}

absl::Status PeerSet::Load(const PeerShape& shape) {
  engines_.clear();
  failures_.clear();
  for (size_t i = 0; i < members_.size(); ++i) {
    members_[i].settings.clear();
    members_[i].failed.clear();
    members_[i].description.clear();
    const absl::Status status = LoadMember(shape, i);
    NINFER_RETURN_IF_ERROR(Cancelled());
    if (absl::IsCancelled(status)) return status;
    if (!status.ok()) failures_.push_back(std::string(status.message()));
  }
  return absl::OkStatus();
}

absl::Status PeerSet::LoadMember(const PeerShape& shape, size_t index) {
  Member& member = members_[index];
  NINFER_ASSIGN_OR_RETURN(
      const Json answer,
      member.peer->Ask({{"op", "load"},
                        {"config", Json::parse(shape.config_json, nullptr, false)},
                        {"weights", shape.weights},
                        {"threads", shape.threads},
                        {"context", shape.context},
                        {"cache", shape.cache_folder}},
                       kLoadSeconds));
  member.description = Describe(answer);
  PeerEngine engine;
  engine.peer = index;
  engine.name = member.peer->name();
  engine.weights = Text(answer, "weights");
  engine.activations = Text(answer, "activations");
  engine.kv_cache = Text(answer, "kv_cache");
  const auto bits = answer.find("bits");
  if (bits != answer.end() && bits->is_number()) engine.bits = bits->get<double>();
  const auto compiled = answer.find("compiled");
  if (compiled == answer.end() || *compiled != true) {
    engines_.push_back(engine);
    return absl::OkStatus();
  }
  for (const bool form : {false, true}) {
    engine.compiled = form;
    engine.name = absl::StrCat(member.peer->name(), form ? " compiled" : " eager");
    engines_.push_back(engine);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<double>> PeerSet::Measure(const PeerQuestion& question) {
  std::vector<double> rates;
  for (const PeerEngine& engine : engines_) {
    Member& member = members_[engine.peer];
    rates.push_back(0);
    if (absl::c_linear_search(member.failed, question.name)) continue;
    const absl::StatusOr<double> seconds = MeasureEngine(engine, question);
    NINFER_RETURN_IF_ERROR(Cancelled());
    if (absl::IsCancelled(seconds.status())) return seconds.status();
    if (seconds.ok()) {
      rates.back() = static_cast<double>(question.tokens * question.batch) / *seconds;
      continue;
    }
    member.failed.push_back(question.name);
    failures_.push_back(absl::StrCat(seconds.status().message(), " (", question.name, ")"));
  }
  return rates;
}

absl::StatusOr<double> PeerSet::MeasureEngine(const PeerEngine& engine,
                                              const PeerQuestion& question) {
  Member& member = members_[engine.peer];
  NINFER_ASSIGN_OR_RETURN(const Json answer,
                          member.peer->Ask({{"op", question.prefill ? "prefill" : "decode"},
                                            {"compiled", engine.compiled},
                                            {"tokens", question.tokens},
                                            {"depth", question.depth},
                                            {"batch", question.batch}}));
  NINFER_ASSIGN_OR_RETURN(const double seconds, member.peer->Number(answer, "seconds"));
  if (!(seconds > 0)) {
    return InvalidArgument(member.peer->name(), ": expected more than 0 seconds, found ", seconds);
  }
  const std::string setting = Text(answer, "setting");
  if (!setting.empty()) {
    std::vector<std::string>& tests = member.settings[setting];
    if (!absl::c_linear_search(tests, question.name)) tests.push_back(question.name);
  }
  return seconds;
}

std::vector<std::string> PeerSet::Notes() const {
  std::vector<std::string> notes;
  for (const Member& member : members_) {
    if (member.description.empty()) continue;
    std::vector<std::string> settings;
    for (const auto& [setting, tests] : member.settings) {
      settings.push_back(absl::StrCat(setting, " (", absl::StrJoin(tests, ", "), ")"));
    }
    const std::string best =
        settings.empty() ? "" : absl::StrCat("; fastest with ", absl::StrJoin(settings, ", "));
    notes.push_back(absl::StrCat(member.peer->name(), ": ", member.description, best, "."));
  }
  for (const auto* lines : {&standing_notes_, &failures_}) {
    for (const std::string& line : *lines) notes.push_back(absl::StrCat("Not measured: ", line));
  }
  return notes;
}

}  // namespace ninfer::bench
