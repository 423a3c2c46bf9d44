// The token at a position is always the same, so that every test writes the same keys and values:
// the cache is filled once, and tests run in any order, interleaved with the probes; only what lay
// before a window is computed again. Tested by tests/bench_test.py.
#include "bench/throughput.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "bench/count.h"
#include "runtime/kv_pages.h"
#include "runtime/session.h"

namespace ninfer::bench {
namespace {

constexpr double kPeakSeconds = 0.05;
constexpr int kMostProbes = 4;

struct Test {
  bool prefill = true;
  int64_t tokens = 0, depth = 0;
  StateReport state;
  std::vector<double> rates;                    // tokens a second
  std::vector<std::vector<double>> peer_rates;  // of each engine of the peers
  double limit = 0;                             // tokens a second, the best of the repetitions
  std::string limit_name;
  double last_rate = 0, last_limit = 0;
  std::string last_limit_name;
  std::vector<double> last_peers;

  std::string name() const {
    return absl::StrCat(prefill ? "pp" : "tg", tokens,
                        depth > 0 ? absl::StrCat(" @ d", depth) : "");
  }
};

// One text on the executor, of which any part is computed again and again. Lives on the engine's
// thread.
class Text {
 public:
  Text(Engine* engine, int64_t longest)
      : engine_(engine), executor_(engine->executor()), pages_(executor_) {
    const int64_t vocab = executor_->metadata().vocab_size;
    tokens_.resize(longest);
    for (int64_t i = 0; i < longest; ++i) {
      tokens_[i] = static_cast<int32_t>((i * 7919 + 104729) % vocab);
    }
    positions_.resize(longest);
    std::iota(positions_.begin(), positions_.end(), 0);
    logits_.resize(vocab);
    for (const runtime::KvGroupLimits& group : executor_->limits().kv_groups) {
      windows_ |= group.window > 0;
    }
  }

  // Computes the first `depth` positions. Without windows pages of all are held from here on, and
  // touched.
  absl::Status Begin(int64_t depth) {
    if (windows_) return Prepare(depth);
    const int64_t longest = static_cast<int64_t>(tokens_.size());
    NINFER_RETURN_IF_ERROR(pages_.Reserve(0, longest, &held_));
    NINFER_RETURN_IF_ERROR(Compute(0, std::max<int64_t>(depth, 1)));
    return longest > 1 ? Step(longest - 1, longest) : absl::OkStatus();
  }

  // Makes ready to compute what follows the first `depth` positions: what a window no longer holds
  // is computed again.
  absl::Status Prepare(int64_t depth) {
    if (!windows_) return absl::OkStatus();
    length_ = std::min(length_, depth);
    if (!pages_.Holds(length_, held_)) length_ = 0;
    pages_.Truncate(length_, &held_);
    return Compute(length_, depth);
  }

  // Computes positions [begin, end), as many in one step as it takes; logits of the last one.
  absl::Status Compute(int64_t begin, int64_t end) {
    const int64_t most = executor_->limits().max_tokens;
    for (; begin < end; begin = std::min(end, begin + most)) {
      NINFER_RETURN_IF_ERROR(Step(begin, std::min(end, begin + most)));
    }
    return absl::OkStatus();
  }

  absl::Status Step(int64_t begin, int64_t end) {
    NINFER_RETURN_IF_ERROR(engine_->CheckCancelled());
    NINFER_RETURN_IF_ERROR(pages_.Reserve(begin, end, &held_));
    length_ = end;
    table_ = runtime::PageTable(executor_->limits(), {&held_});
    const int32_t count = static_cast<int32_t>(end - begin);
    const int32_t bounds[2] = {0, count};
    const int32_t cached = static_cast<int32_t>(begin);
    const int32_t row = count - 1;
    lengths_.assign(count, static_cast<int32_t>(end));
    runtime::StepInput input;
    input.tokens = absl::MakeConstSpan(tokens_).subspan(begin, count);
    input.positions = absl::MakeConstSpan(positions_).subspan(begin, count);
    input.seq_bounds = bounds;
    input.cached_lens = absl::MakeConstSpan(&cached, 1);
    input.page_table = table_;
    input.rows = absl::MakeConstSpan(&row, 1);
    input.rope_len = lengths_;
    return executor_->Step(input, logits_.data());
  }

 private:
  Engine* engine_;
  runtime::Executor* executor_;
  runtime::KvPages pages_;
  runtime::HeldPages held_;
  bool windows_ = false;
  int64_t length_ = 0;  // of the text that was computed last
  std::vector<int32_t> tokens_, positions_, table_, lengths_;
  std::vector<float> logits_;
};

absl::Status CheckRoom(const runtime::ExecutorLimits& limits, int64_t longest) {
  if (!limits.has_kv_cache) {
    return InvalidArgument("-p, -n: expected a plan with a KV cache, found one without");
  }
  const int64_t room = runtime::LongestText(limits);
  if (longest > room) {
    return InvalidArgument("-p, -n, -d: expected texts of at most ", room,
                           " positions, the context's length, found ", longest);
  }
  return absl::OkStatus();
}

// The most prefill tokens a second that the vector units allow, now; the best of what was asked.
void MeasurePeak(Engine* engine, const StepCost& cost, ProductTypes types, Test* test) {
  const std::vector<MatrixPeak> peaks = MeasureMatrixPeaks(engine->pool(), types, kPeakSeconds);
  const MatrixPeak& best =
      *std::max_element(peaks.begin(), peaks.end(), [](const MatrixPeak& a, const MatrixPeak& b) {
        return a.operations_per_second < b.operations_per_second;
      });
  const double limit = best.operations_per_second * static_cast<double>(test->tokens) /
                       cost.Prefill(test->tokens, test->depth);
  if (limit <= test->last_limit) return;
  test->last_limit = limit;
  std::vector<std::string> names;
  for (const MatrixPeak& peak : peaks) {
    names.push_back(
        absl::StrFormat("%s %.0f GFLOP/s", peak.name, peak.operations_per_second / 1e9));
  }
  test->last_limit_name = absl::StrJoin(names, ", ");
}

// The same of decoded tokens and the memory.
void MeasureReads(Engine* engine, ReadProbe* reads, Test* test) {
  const int64_t bytes = engine->executor()->BytesPerToken(test->depth + test->tokens / 2);
  const double limit = reads->PassesPerSecond(bytes);
  if (limit <= test->last_limit) return;
  test->last_limit = limit;
  test->last_limit_name =
      absl::StrFormat("read %.1f GB/s", test->last_limit * static_cast<double>(bytes) / 1e9);
}

// One repetition of one test with its probe. Runs on the engine's thread.
absl::Status MeasureOnce(Engine* engine, const StepCost& cost, Text* text, ReadProbe* reads,
                         ProductTypes types, Test* test) {
  NINFER_RETURN_IF_ERROR(text->Prepare(test->depth));
  const double start = Seconds();
  if (test->prefill) {
    NINFER_RETURN_IF_ERROR(text->Compute(test->depth, test->depth + test->tokens));
  } else {
    for (int64_t i = 0; i < test->tokens; ++i) {
      NINFER_RETURN_IF_ERROR(text->Step(test->depth + i, test->depth + i + 1));
    }
  }
  test->last_rate = static_cast<double>(test->tokens) / (Seconds() - start);
  // Faster than the limit: the probe was disturbed, and is asked again.
  test->last_limit = 0;
  for (int i = 0; i < kMostProbes; ++i) {
    if (test->prefill) {
      MeasurePeak(engine, cost, types, test);
    } else {
      MeasureReads(engine, reads, test);
    }
    if (test->last_rate <= kMostShare * test->last_limit) break;
    NINFER_RETURN_IF_ERROR(engine->CheckCancelled());
  }
  return absl::OkStatus();
}

// The same of every peer.
absl::Status MeasurePeers(PeerSet* peers, Test* test) {
  if (peers == nullptr) return absl::OkStatus();
  NINFER_ASSIGN_OR_RETURN(
      test->last_peers,
      peers->Measure({test->name(), test->prefill, test->tokens, test->depth, /*batch=*/1}));
  return absl::OkStatus();
}

void Keep(Test* test) {
  test->rates.push_back(test->last_rate);
  test->peer_rates.resize(test->last_peers.size());
  for (size_t i = 0; i < test->last_peers.size(); ++i) {
    if (test->last_peers[i] > 0) test->peer_rates[i].push_back(test->last_peers[i]);
  }
  if (test->last_limit > test->limit) {
    test->limit = test->last_limit;
    test->limit_name = test->last_limit_name;
  }
}

std::vector<Test> TestsOf(const ThroughputOptions& options) {
  std::vector<Test> tests;
  for (int64_t depth : options.depths) {
    for (int64_t tokens : options.prefill) tests.push_back({true, tokens, depth});
    for (int64_t tokens : options.decode) tests.push_back({false, tokens, depth});
  }
  return tests;
}

// Every test once in each round, so that a drift of the machine meets all of them alike.
absl::Status MeasureAll(Engine* engine, const StepCost& cost, const ThroughputOptions& options,
                        StateProbe* state, Text* text, ReadProbe* reads, std::vector<Test>* tests) {
  ProductTypes types;
  types.bf16 = absl::EndsWith(engine->executor()->metadata().activations_dtype, "bf16");
  types.int8 = absl::StartsWith(engine->executor()->metadata().activations_dtype, "int8");
  for (Test& test : *tests) {  // code compiled, settings chosen, pages touched
    NINFER_RETURN_IF_ERROR(MeasurePeers(options.peers, &test));
  }
  for (int round = 0; round < options.repetitions; ++round) {
    for (Test& test : *tests) {
      options.progress->Begin(absl::StrCat(test.name(), ", round ", round + 1));
      absl::Status status;
      const auto measure = [&]() -> absl::Status {
        engine->Run([&] { status = MeasureOnce(engine, cost, text, reads, types, &test); });
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

Table TableOf(const std::string& label, Engine* engine, const StepCost& cost, const PeerSet* peers,
              const std::vector<Test>& tests) {
  const plan::Metadata& metadata = engine->executor()->metadata();
  Table table;
  table.title = absl::StrCat(label, metadata.random_weights ? ", random weights" : "", ", ",
                             engine->executor()->description());
  table.columns = {{"engine", "engine"},
                   {"weights", "weights"},
                   {"activations", "activations"},
                   {"kv_cache", "cache"},
                   {"test", "test"},
                   {"tokens", ""},
                   {"depth", ""},
                   {"tokens_per_second", "tok/s", 1},
                   {"deviation", "±", 1},
                   {"limit_tokens_per_second", "limit", 1},
                   {"share_percent", "share %", 1},
                   {"ratio_to_engine", "ours/theirs", 2},
                   {"limit", "limit is"},
                   {"state", "state"},
                   {"barrier_ns", "", 0},
                   {"repeats", ""},
                   {"bytes_per_token", ""},
                   {"operations", ""},
                   {"samples", ""}};
  bool disturbed = false;
  for (const Test& test : tests) {
    const double mean = Mean(test.rates);
    const std::string state = test.state.Shown(mean / test.limit);
    disturbed |= state == kDisturbed;
    Json bytes, operations;
    if (test.prefill) {
      operations = cost.Prefill(test.tokens, test.depth);
    } else {
      bytes = engine->executor()->BytesPerToken(test.depth + test.tokens / 2);
    }
    table.rows.push_back({"ninfer", metadata.weights_dtype, metadata.activations_dtype,
                          metadata.kv_dtype, test.name(), test.tokens, test.depth, mean,
                          StandardDeviation(test.rates), test.limit, 100 * mean / test.limit,
                          nullptr, test.limit_name, state, test.state.barrier_nanoseconds,
                          test.state.repeats, bytes, operations, test.rates});
    for (size_t i = 0; i < test.peer_rates.size(); ++i) {
      const std::vector<double>& rates = test.peer_rates[i];
      if (rates.empty()) continue;
      const double peer = Mean(rates);
      const PeerEngine& engine = peers->engines()[i];
      table.rows.push_back({engine.name, engine.weights, engine.activations, engine.kv_cache,
                            test.name(), test.tokens, test.depth, peer, StandardDeviation(rates),
                            test.limit, 100 * peer / test.limit, mean / peer, test.limit_name,
                            state, test.state.barrier_nanoseconds, test.state.repeats, bytes,
                            operations, rates});
    }
  }
  table.notes = {
      "Limits: decoding, the bytes of a step read by the same threads; prefill, the "
      "operations of its products at the best of the vector peaks named. States: S, C "
      "by the barrier of two threads; mixed where the label would not stay."};
  if (disturbed) table.notes.push_back(kDisturbedNote);
  if (peers != nullptr) {
    for (std::string& note : peers->Notes()) table.notes.push_back(std::move(note));
  }
  return table;
}

}  // namespace

int RowsOfThroughput(const ThroughputOptions& options) {
  return options.repetitions * static_cast<int>(TestsOf(options).size());
}

absl::StatusOr<Table> MeasureThroughput(Engine* engine, const std::string& label,
                                        const ThroughputOptions& options, StateProbe* state) {
  std::vector<Test> tests = TestsOf(options);
  int64_t longest = 1, deepest = 0;
  int64_t most_bytes = 64;
  for (const Test& test : tests) {
    longest = std::max(longest, test.depth + test.tokens);
    deepest = std::max(deepest, test.depth);
    most_bytes =
        std::max(most_bytes, engine->executor()->BytesPerToken(test.depth + test.tokens / 2));
  }
  NINFER_RETURN_IF_ERROR(CheckRoom(engine->executor()->limits(), longest));
  NINFER_ASSIGN_OR_RETURN(const StepCost cost, CountStep(engine->plan()->plan.imported_graph_text));
  NINFER_ASSIGN_OR_RETURN(ReadProbe reads, ReadProbe::Create(engine->pool(), most_bytes));
  Text text(engine, longest);
  absl::Status status;
  engine->Run([&] { status = text.Begin(deepest); });
  NINFER_RETURN_IF_ERROR(status);
  NINFER_RETURN_IF_ERROR(MeasureAll(engine, cost, options, state, &text, &reads, &tests));
  return TableOf(label, engine, cost, options.peers, tests);
}

}  // namespace ninfer::bench
