// Tested by tests/bench_test.py.
#include "bench/throughput.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "bench/speed.h"

namespace ninfer::bench {
namespace {

constexpr int kMostProbes = 4;

struct Test {
  Work work;
  WorkCost cost;
  StateReport state;
  std::vector<double> rates;                    // tokens a second, of all texts
  std::vector<std::vector<double>> peer_rates;  // of each engine of the peers
  MachineSpeed speed;                           // the best of the repetitions
  double last_rate = 0;
  MachineSpeed last_speed;
  std::vector<double> last_peers;

  double LimitRate(const MachineSpeed& found) const {
    return static_cast<double>(work.all_tokens()) /
           LimitOf(cost.bytes, cost.operations, found).seconds;
  }
  double step_bytes() const { return cost.bytes / static_cast<double>(cost.steps); }
};

// One repetition of one test with its probe. Runs on the engine's thread.
absl::Status MeasureOnce(Engine* engine, Texts* texts, SpeedProbe* probe, Test* test) {
  const Work& work = test->work;
  NINFER_RETURN_IF_ERROR(texts->Prepare(work.texts, work.depth, work.end()));
  const double start = Seconds();
  NINFER_RETURN_IF_ERROR(Compute(work, texts, [] {}));
  test->last_rate = static_cast<double>(work.all_tokens()) / (Seconds() - start);
  // Faster than the limit: the probe was disturbed, and is asked again.
  test->last_speed = {};
  for (int i = 0; i < kMostProbes; ++i) {
    test->last_speed.TakeBest(probe->Measure(test->step_bytes()));
    if (test->last_rate <= kMostShare * test->LimitRate(test->last_speed)) break;
    NINFER_RETURN_IF_ERROR(engine->CheckCancelled());
  }
  return absl::OkStatus();
}

// The same of every peer.
absl::Status MeasurePeers(PeerSet* peers, Test* test) {
  if (peers == nullptr) return absl::OkStatus();
  const Work& work = test->work;
  NINFER_ASSIGN_OR_RETURN(test->last_peers, peers->Measure({work.name(), work.prefill, work.tokens,
                                                            work.depth, work.texts}));
  return absl::OkStatus();
}

void Keep(Test* test) {
  test->rates.push_back(test->last_rate);
  test->peer_rates.resize(test->last_peers.size());
  for (size_t i = 0; i < test->last_peers.size(); ++i) {
    if (test->last_peers[i] > 0) test->peer_rates[i].push_back(test->last_peers[i]);
  }
  test->speed.TakeBest(test->last_speed);
}

// Every test once in each round, so that a drift of the machine meets all of them alike.
absl::Status MeasureAll(Engine* engine, const ThroughputOptions& options, StateProbe* state,
                        Texts* texts, SpeedProbe* probe, std::vector<Test>* tests) {
  const std::string& weights = engine->executor()->metadata().weights_dtype;
  for (Test& test : *tests) {  // code compiled, settings chosen, pages touched
    NINFER_RETURN_IF_ERROR(MeasurePeers(options.peers, &test));
  }
  for (int round = 0; round < options.repetitions; ++round) {
    for (Test& test : *tests) {
      options.progress->Begin(absl::StrCat(weights, " ", test.work.name(), ", round ", round + 1));
      absl::Status status;
      const auto measure = [&]() -> absl::Status {
        engine->Run([&] { status = MeasureOnce(engine, texts, probe, &test); });
        NINFER_RETURN_IF_ERROR(status);
        return MeasurePeers(options.peers, &test);
      };
      NINFER_ASSIGN_OR_RETURN(const StateReport report, MeasureInOneState(
                                                            1, [&] { return state->Nanoseconds(); },
                                                            measure, [&] { Keep(&test); }));
      test.state.Add(report);
      options.progress->End(absl::StrFormat("%.1f tok/s", test.rates.back()));
    }
  }
  return absl::OkStatus();
}

// Of the whole plan: scales, norms and padding count, a table that is stored once counts once.
Json BitsPerWeight(const plan::Plan& plan) {
  if (plan.metadata.parameters == 0) return nullptr;
  return 8 * static_cast<double>(plan.weight_bytes) / static_cast<double>(plan.metadata.parameters);
}

// One row: `types` are weights, bits a weight, activations, cache; `ratio` is null in our own.
std::vector<Json> RowOf(const std::string& engine, const std::vector<Json>& types, const Test& test,
                        const std::vector<double>& rates, const Json& ratio,
                        const std::string& state) {
  const Work& work = test.work;
  const double mean = Mean(rates), limit = test.LimitRate(test.speed);
  const bool reads = LimitOf(test.cost.bytes, test.cost.operations, test.speed).reads;
  const double operations = test.cost.operations / static_cast<double>(work.all_tokens());
  std::vector<Json> row = {engine};
  row.insert(row.end(), types.begin(), types.end());
  const std::vector<Json> rest = {work.name(),
                                  work.tokens,
                                  work.depth,
                                  work.texts,
                                  mean,
                                  StandardDeviation(rates),
                                  limit,
                                  100 * mean / limit,
                                  100 * mean * operations / test.speed.operations_per_second,
                                  ratio,
                                  reads ? test.speed.reads() : test.speed.peak,
                                  test.speed.peaks,
                                  state,
                                  test.state.barrier_nanoseconds,
                                  test.state.repeats,
                                  test.cost.bytes / static_cast<double>(work.all_tokens()),
                                  test.cost.operations,
                                  rates};
  row.insert(row.end(), rest.begin(), rest.end());
  return row;
}

void AddRows(const Engine& engine, const PeerSet* peers, const std::vector<Test>& tests,
             Table* table) {
  const plan::Metadata& metadata = engine.executor()->metadata();
  const std::vector<Json> types = {metadata.weights_dtype, BitsPerWeight(engine.plan()->plan),
                                   metadata.activations_dtype, metadata.kv_dtype};
  bool disturbed = false;
  for (const Test& test : tests) {
    const double mean = Mean(test.rates);
    const std::string state = test.state.Shown(mean / test.LimitRate(test.speed));
    disturbed |= state == kDisturbed;
    table->rows.push_back(RowOf("ninfer", types, test, test.rates, nullptr, state));
    for (size_t i = 0; i < test.peer_rates.size(); ++i) {
      const std::vector<double>& rates = test.peer_rates[i];
      if (rates.empty()) continue;
      const PeerEngine& peer = peers->engines()[i];
      const Json bits = peer.bits > 0 ? Json(peer.bits) : Json();
      table->rows.push_back(RowOf(peer.name, {peer.weights, bits, peer.activations, peer.kv_cache},
                                  test, rates, mean / Mean(rates), state));
    }
  }
  if (disturbed && !absl::c_linear_search(table->notes, kDisturbedNote)) {
    table->notes.push_back(kDisturbedNote);
  }
  if (peers == nullptr) return;
  for (std::string& note : peers->Notes()) table->notes.push_back(std::move(note));
}

}  // namespace

int RowsOfThroughput(const ThroughputOptions& options) {
  return options.repetitions * static_cast<int>(options.works.Works().size());
}

Table ThroughputTable(const std::string& label, const Engine& engine) {
  Table table;
  table.title = absl::StrCat(
      label, engine.executor()->metadata().random_weights ? ", random weights, " : ", ",
      engine.executor()->description());
  table.columns = {{"engine", "engine"},
                   {"weights", "weights"},
                   {"bits_per_weight", "bits", 2},
                   {"activations", "activations"},
                   {"kv_cache", "cache"},
                   {"test", "test"},
                   {"tokens", ""},
                   {"depth", ""},
                   {"texts", ""},
                   {"tokens_per_second", "tok/s", 1},
                   {"deviation", "±", 1},
                   {"limit_tokens_per_second", "limit", 1},
                   {"share_percent", "share %", 1},
                   {"matrix_share_percent", "matrix %", 1},
                   {"ratio_to_engine", "ours/theirs", 2},
                   {"limit", "limit is"},
                   {"matrix_peaks", ""},
                   {"state", "state"},
                   {"barrier_ns", "", 0},
                   {"repeats", ""},
                   {"bytes_per_token", ""},
                   {"operations", ""},
                   {"samples", ""}};
  table.notes = {
      "tok/s: of all texts together. Limit: the bytes of the test's steps (weights once in each, "
      "the cache of every text) read by the same threads, or its products at the fastest vector "
      "instruction's peak, whichever is slower; matrix %: the share of that peak. States: S, C by "
      "the barrier of two threads; mixed where the label would not stay."};
  return table;
}

absl::Status MeasureThroughput(Engine* engine, const ThroughputOptions& options, StateProbe* state,
                               Table* table) {
  NINFER_ASSIGN_OR_RETURN(const StepCost cost, CountStep(engine->plan()->plan.imported_graph_text));
  std::vector<Test> tests;
  double most_bytes = 0;
  for (const Work& work : options.works.Works()) {
    tests.emplace_back();
    tests.back().work = work;
    tests.back().cost = CostOf(work, *engine->executor(), cost);
    most_bytes = std::max(most_bytes, tests.back().step_bytes());
  }
  NINFER_ASSIGN_OR_RETURN(SpeedProbe probe, SpeedProbe::Create(engine, most_bytes));
  Texts texts(engine, static_cast<int64_t>(options.works.TextLengths().size()));
  NINFER_RETURN_IF_ERROR(MeasureAll(engine, options, state, &texts, &probe, &tests));
  AddRows(*engine, options.peers, tests, table);
  return absl::OkStatus();
}

}  // namespace ninfer::bench
