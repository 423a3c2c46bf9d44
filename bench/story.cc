// Engines are opened one after another, so that the memory of one is there for the next; within a
// cell, repetitions go round prompts and peer. Tested by tests/bench_story_test.cc.
#include "bench/story.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/hash.h"
#include "base/status.h"

namespace ninfer::bench {
namespace {

constexpr int64_t kPage = 64;
constexpr int64_t kIdsWithoutTokenizer = 4;
constexpr int kMostProbes = 4;
constexpr int64_t kPromptRoom = 60;  // tokens that a prompt's text may have

// What one engine did on one prompt.
struct Cell {
  std::string engine;
  bool compiled = false, kv_cache = false, peer = false;
  std::vector<double> seconds, first_token_seconds;
  int64_t scratch_bytes = -1;
  double open_seconds = 0;
  double read_limit = 0, decode_rate = 0;  // tokens a second behind the first; 0: not measured
  StateReport state;
  std::vector<int32_t> ids;
};

struct Story {
  std::string prompt;
  std::vector<int32_t> prompt_ids;
  int64_t asked_tokens = 0, new_tokens = 0, context = 0;
  std::vector<Cell> cells;
};

// Of a text, or ids of no meaning where there is no tokenizer. A new token has room behind them.
absl::StatusOr<std::vector<int32_t>> PromptIds(const Engine& engine, const std::string& text,
                                               int64_t context) {
  const int64_t vocab = engine.executor()->metadata().vocab_size;
  const int64_t most = std::min(kPromptRoom, context - 1);
  if (most < 1) return InvalidArgument("context: expected at least 2 positions, found ", context);
  std::vector<int32_t> ids;
  if (engine.tokenizer() == nullptr) {
    for (int64_t i = 1; i <= std::min(kIdsWithoutTokenizer, most); ++i) {
      ids.push_back(static_cast<int32_t>(i * 7919 % vocab));
    }
    return ids;
  }
  ids = engine.tokenizer()->Encode(text, /*add_special_tokens=*/true);
  if (ids.empty() || static_cast<int64_t>(ids.size()) > most) {
    return InvalidArgument("prompt '", text, "': expected 1 to ", most, " tokens, found ",
                           ids.size());
  }
  return ids;
}

std::string CellName(const Cell& cell) {
  return absl::StrCat(cell.engine, cell.kv_cache ? " with cache" : " without cache");
}

double Rate(const Story& story, const Cell& cell) {
  return static_cast<double>(story.new_tokens) / Median(cell.seconds);
}

// The share of the read limit; 0 where it was not measured.
double ShareOf(const Cell& cell) {
  return cell.read_limit > 0 ? cell.decode_rate / cell.read_limit : 0;
}

// --- measuring

// One repetition of ours on one prompt, with the read probe where there is a limit to compare with.
absl::Status MeasureOurs(Engine* engine, const Story& story, Cell* cell) {
  absl::StatusOr<runtime::Generation> result = engine->Generate(story.prompt_ids, story.new_tokens);
  NINFER_RETURN_IF_ERROR(Annotate(result.status(), CellName(*cell)));
  const runtime::Generation& generation = *result;
  const runtime::GenerationStats& stats = generation.stats;
  cell->seconds.push_back(stats.first_token_seconds + stats.decode_seconds);
  cell->first_token_seconds.push_back(stats.first_token_seconds);
  if (!cell->ids.empty() && cell->ids != generation.ids) {
    return absl::InternalError(absl::StrCat(CellName(*cell), ": expected the same ids each time"));
  }
  cell->ids = generation.ids;
  cell->scratch_bytes = engine->scratch_bytes();
  if (engine->pool() == nullptr || !cell->kv_cache || stats.decode_steps == 0) {
    return absl::OkStatus();
  }
  cell->decode_rate = std::max(cell->decode_rate, stats.decode_rate());
  absl::Status status;
  engine->Run([&] {
    const int64_t bytes = static_cast<int64_t>(stats.bytes_per_token());
    absl::StatusOr<ReadProbe> probe = ReadProbe::Create(engine->pool(), bytes);
    status = probe.status();
    // Faster than the limit: the probe was disturbed, and is asked again.
    for (int i = 0; status.ok() && i < kMostProbes; ++i) {
      cell->read_limit = std::max(cell->read_limit, probe->PassesPerSecond(bytes));
      if (cell->decode_rate <= kMostShare * cell->read_limit) break;
      status = engine->CheckCancelled();
    }
  });
  return status;
}

absl::Status MeasurePeer(Peer* peer, const Story& story, Cell* cell) {
  NINFER_ASSIGN_OR_RETURN(const Json answer, peer->Ask({{"op", "generate"},
                                                        {"compiled", cell->compiled},
                                                        {"cache", cell->kv_cache},
                                                        {"prompt", story.prompt_ids},
                                                        {"new", story.new_tokens}}));
  NINFER_ASSIGN_OR_RETURN(const double seconds, peer->Number(answer, "seconds"));
  NINFER_ASSIGN_OR_RETURN(const double first_token, peer->Number(answer, "ttft"));
  NINFER_ASSIGN_OR_RETURN(const double first_compile, peer->Number(answer, "first_compile"));
  cell->seconds.push_back(seconds);
  cell->first_token_seconds.push_back(first_token);
  cell->open_seconds = std::max(cell->open_seconds, first_compile);
  cell->ids.clear();
  for (const Json& id : answer.value("ids", Json::array())) {
    if (id.is_number_integer()) cell->ids.push_back(id.get<int32_t>());
  }
  return absl::OkStatus();
}

// Drops what the last repetition added.
void Drop(size_t kept, Cell* cell) {
  cell->seconds.resize(kept);
  cell->first_token_seconds.resize(kept);
}

absl::Status Repeat(int repetitions, StateProbe* state, Cell* cell,
                    absl::FunctionRef<absl::Status()> measure) {
  size_t kept = cell->seconds.size();
  const auto measure_one = [&] {
    Drop(kept, cell);
    return measure();
  };
  NINFER_ASSIGN_OR_RETURN(const StateReport report,
                          MeasureInOneState(
                              repetitions, [&] { return state->Nanoseconds(); }, measure_one,
                              [&] { kept = cell->seconds.size(); }));
  Drop(kept, cell);
  cell->state.Add(report);
  return absl::OkStatus();
}

// One row of every table, and the peer's beside it.
absl::Status MeasureCell(const StoryOptions& options, Engine* engine, bool compiled, bool kv_cache,
                         StateProbe* state, std::vector<Story>* stories) {
  double first_compile = 0;  // the peer's, in whichever story it comes
  for (Story& story : *stories) {
    Cell ours;
    ours.engine = compiled ? "ninfer compiled" : "ninfer eager";
    ours.compiled = compiled;
    ours.kv_cache = kv_cache;
    ours.open_seconds = compiled ? engine->open_seconds() : 0;
    Cell theirs = ours;
    theirs.engine = compiled ? "compiled" : "eager";
    theirs.peer = true;
    if (options.peer != nullptr) {
      theirs.engine = absl::StrCat(options.peer->name(), " ", theirs.engine);
    }
    theirs.open_seconds = first_compile;
    options.progress->Begin(absl::StrCat(options.type, " ", CellName(ours), ", ", story.new_tokens,
                                         story.new_tokens == 1 ? " token" : " tokens"));
    // Warm: pages touched, threads awake, the peer's code compiled.
    NINFER_RETURN_IF_ERROR(Annotate(
        engine->Generate(story.prompt_ids, std::min<int64_t>(story.new_tokens, 4)).status(),
        CellName(ours)));
    if (options.peer != nullptr) {
      Story warm = story;
      warm.new_tokens = std::min<int64_t>(story.new_tokens, 4);
      NINFER_RETURN_IF_ERROR(MeasurePeer(options.peer, warm, &theirs));
      Drop(0, &theirs);
      first_compile = theirs.open_seconds;
    }
    for (int i = 0; i < options.repetitions; ++i) {
      NINFER_RETURN_IF_ERROR(
          Repeat(1, state, &ours, [&] { return MeasureOurs(engine, story, &ours); }));
      if (options.peer == nullptr) continue;
      NINFER_RETURN_IF_ERROR(
          Repeat(1, state, &theirs, [&] { return MeasurePeer(options.peer, story, &theirs); }));
    }
    options.progress->End(absl::StrFormat("%.1f tok/s", Rate(story, ours)));
    story.cells.push_back(std::move(ours));
    if (options.peer != nullptr) story.cells.push_back(std::move(theirs));
  }
  return absl::OkStatus();
}

// --- telling

const Cell* Find(const Story& story, bool peer, bool compiled, bool kv_cache) {
  for (const Cell& cell : story.cells) {
    if (cell.peer == peer && cell.compiled == compiled && cell.kv_cache == kv_cache) return &cell;
  }
  return nullptr;
}

std::vector<Json> RowOf(const Story& story, const Cell& cell) {
  Json scratch, share, open;
  const std::string digest = absl::StrFormat(
      "%08x", static_cast<uint32_t>(Hash64(cell.ids.data(), cell.ids.size() * sizeof(int32_t))));
  if (cell.scratch_bytes >= 0) scratch = static_cast<double>(cell.scratch_bytes) / (1 << 20);
  if (cell.read_limit > 0) share = 100 * ShareOf(cell);
  if (cell.compiled) open = cell.open_seconds;
  const Cell& base = story.cells[0];
  return {cell.engine,
          cell.kv_cache ? "yes" : "no",
          Median(cell.seconds),
          Rate(story, cell),
          Rate(story, cell) / Rate(story, base),
          1e3 * Median(cell.first_token_seconds),
          scratch,
          share,
          open,
          digest,
          cell.state.Shown(ShareOf(cell)),
          cell.state.barrier_nanoseconds,
          cell.state.repeats,
          cell.seconds};
}

void AddHeadline(const Story& story, Table* table) {
  const Cell* ours = Find(story, false, true, true);
  const Cell* theirs = Find(story, true, false, false);
  if (ours == nullptr || theirs == nullptr) return;
  const auto against = [&](const Cell* a, const Cell* b) {
    return Rate(story, *a) / Rate(story, *b);
  };
  const Cell* best = theirs;
  for (const Cell& cell : story.cells) {
    if (cell.peer && Rate(story, cell) > Rate(story, *best)) best = &cell;
  }
  table->notes.push_back(absl::StrFormat(
      "Compiled with cache against PyTorch: %.2fx its eager without cache (the headline), %.2fx "
      "its eager with cache, %.2fx its best (%s). Our eager without cache: %.2fx PyTorch's.",
      against(ours, theirs), against(ours, Find(story, true, false, true)), against(ours, best),
      CellName(*best), against(Find(story, false, false, false), theirs)));
}

std::string CompareCells(const Story& story, bool peer) {
  std::vector<std::string> names;
  std::vector<std::vector<int32_t>> ids;
  for (const Cell& cell : story.cells) {
    if (cell.peer != peer) continue;
    names.push_back(CellName(cell));
    ids.push_back(cell.ids);
  }
  return CompareIds(names, ids);
}

Table TableOf(const StoryOptions& options, const std::string& label, const Story& story) {
  Table table;
  table.title =
      absl::StrFormat("%s, %s weights and activations: %s (%d tokens), %d new tokens", label,
                      options.type, story.prompt, story.prompt_ids.size(), story.new_tokens);
  table.columns = {{"engine", "engine"},
                   {"kv_cache", "cache"},
                   {"seconds", "seconds", 3},
                   {"tokens_per_second", "tok/s", 1},
                   {"ratio", "ratio", 2},
                   {"first_token_ms", "TTFT ms", 1},
                   {"scratch_mib", "scratch MiB", 2},
                   {"read_limit_share_percent", "read limit %", 1},
                   {"compile_seconds", "compile s", 1},
                   {"ids_digest", "ids"},
                   {"state", "state"},
                   {"barrier_ns", "", 0},
                   {"repeats", ""},
                   {"samples", ""}};
  for (const Cell& cell : story.cells) table.rows.push_back(RowOf(story, cell));
  table.notes.push_back(absl::StrCat("Ids of ninfer's engines: ", CompareCells(story, false), "."));
  if (options.peer != nullptr) {
    table.notes.push_back(absl::StrCat(
        "Ids of the peer's, whose random weights are its own: ", CompareCells(story, true), "."));
  }
  AddHeadline(story, &table);
  if (story.new_tokens < story.asked_tokens) {
    table.notes.push_back(
        absl::StrFormat("%d new tokens were asked for: the model's context is %d.",
                        story.asked_tokens, story.context));
  }
  table.notes.push_back(absl::StrFormat(
      "Scratch: what a compiled plan sets aside for texts of %d tokens; the most that eager used.",
      story.context));
  const bool disturbed = absl::c_any_of(
      story.cells, [](const Cell& cell) { return cell.state.Shown(ShareOf(cell)) == kDisturbed; });
  if (disturbed) table.notes.push_back(kDisturbedNote);
  return table;
}

absl::Status LoadPeer(const StoryOptions& options, int64_t context) {
  if (options.peer == nullptr) return absl::OkStatus();
  const int threads =
      options.threads > 0 ? options.threads : runtime::DefaultThreads(runtime::ReadCpuLimits());
  const Json config = Json::parse(options.peer_config, nullptr, false);
  return options.peer
      ->Ask({{"op", "load"},
             {"config", config},
             {"weights", options.type},
             {"threads", threads},
             {"context", context}})
      .status();
}

// What all four plan for: the longest text, or as much of it as the model has positions for.
int64_t ContextOf(const StoryOptions& options, const Engine& engine) {
  int64_t longest = 1;
  for (const StoryPrompt& prompt : options.prompts) longest = std::max(longest, prompt.new_tokens);
  const int64_t wanted = (kPromptRoom + longest + kPage - 1) / kPage * kPage;
  return std::min(wanted, engine.executor()->limits().context_length);
}

absl::StatusOr<std::vector<Story>> StoriesOf(const StoryOptions& options, const Engine& engine,
                                             int64_t context) {
  std::vector<Story> stories;
  for (const StoryPrompt& prompt : options.prompts) {
    Story story;
    story.context = context;
    NINFER_ASSIGN_OR_RETURN(story.prompt_ids, PromptIds(engine, prompt.text, context));
    story.asked_tokens = prompt.new_tokens;
    story.new_tokens =
        std::min(prompt.new_tokens, context - static_cast<int64_t>(story.prompt_ids.size()));
    story.prompt = engine.tokenizer() != nullptr ? absl::StrCat("\"", prompt.text, "\"")
                                                 : std::string("fixed ids");
    stories.push_back(std::move(story));
  }
  return stories;
}

}  // namespace

std::string CompareIds(const std::vector<std::string>& names,
                       const std::vector<std::vector<int32_t>>& ids) {
  for (size_t i = 1; i < ids.size(); ++i) {
    const size_t length = std::min(ids[0].size(), ids[i].size());
    for (size_t k = 0; k < length; ++k) {
      if (ids[0][k] == ids[i][k]) continue;
      return absl::StrCat("they differ first at new token ", k + 1, ": ", ids[0][k], " (", names[0],
                          ") and ", ids[i][k], " (", names[i], ")");
    }
    if (ids[0].size() != ids[i].size()) {
      return absl::StrCat("they differ in number: ", ids[0].size(), " (", names[0], ") and ",
                          ids[i].size(), " (", names[i], ")");
    }
  }
  return "equal";
}

absl::StatusOr<std::vector<Table>> TellStory(const StoryOptions& options, const std::string& label,
                                             const runtime::CompilerCallbacks& callbacks,
                                             StateProbe* state) {
  std::vector<Story> stories;
  EngineChoice choice;
  choice.model = options.model;
  choice.type = options.type;
  choice.threads = options.threads;
  choice.max_sequences = 1;
  choice.max_rows = 1;
  std::string whole_label = label;
  for (const bool compiled : {false, true}) {
    for (const bool kv_cache : {false, true}) {
      choice.compiled = compiled;
      choice.kv_cache = kv_cache;
      NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                              Engine::Open(choice, callbacks));
      if (stories.empty()) {
        const bool random = engine->executor()->metadata().random_weights;
        whole_label = absl::StrCat(label, random ? " with random weights" : "");
        // Eager without a cache, the first, plans nothing, and says how long the model's texts may
        // be.
        choice.context = ContextOf(options, *engine);
        NINFER_ASSIGN_OR_RETURN(stories, StoriesOf(options, *engine, choice.context));
        NINFER_RETURN_IF_ERROR(LoadPeer(options, choice.context));
      }
      NINFER_RETURN_IF_ERROR(
          MeasureCell(options, engine.get(), compiled, kv_cache, state, &stories));
    }
  }
  std::vector<Table> tables;
  for (const Story& story : stories) tables.push_back(TableOf(options, whole_label, story));
  return tables;
}

}  // namespace ninfer::bench
