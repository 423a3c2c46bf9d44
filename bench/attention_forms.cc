// A plan for each length and form: scratch is planned for the longest text, so only a plan made for
// a length shows what that length takes. Tested by tests/bench_test.py.
#include "bench/attention_forms.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "bench/machine.h"
#include "runtime/kv_pages.h"

namespace ninfer::bench {
namespace {

constexpr int64_t kWidth = 32;  // of the layer around the heads
constexpr const char* kForms[] = {"naive", "efficient", "flash"};

std::string Configuration(const AttentionShape& shape, int64_t context) {
  const Json config = {{"architectures", {"LlamaForCausalLM"}},
                       {"model_type", "llama"},
                       {"vocab_size", 256},
                       {"hidden_size", kWidth},
                       {"intermediate_size", kWidth},
                       {"num_hidden_layers", 1},
                       {"num_attention_heads", shape.heads},
                       {"num_key_value_heads", shape.kv_heads},
                       {"head_dim", shape.head_dim},
                       {"max_position_embeddings", context},
                       {"rms_norm_eps", 1e-5},
                       {"hidden_act", "silu"},
                       {"tie_word_embeddings", true},
                       {"bos_token_id", 0},
                       {"eos_token_id", 0}};
  return config.dump();
}

// A file that lives as long as this.
class TemporaryFile {
 public:
  static absl::StatusOr<TemporaryFile> Create(const std::string& contents) {
    std::error_code error;
    const std::filesystem::path folder = std::filesystem::temp_directory_path(error);
    if (error) return InvalidArgument("temporary folder: ", error.message());
    TemporaryFile file((folder / absl::StrCat("ninfer-bench-", getpid(), ".json")).string());
    NINFER_RETURN_IF_ERROR(WriteFile(file.path_, contents));
    return file;
  }
  TemporaryFile(TemporaryFile&& other) : path_(std::exchange(other.path_, std::string())) {}
  ~TemporaryFile() {
    if (!path_.empty()) unlink(path_.c_str());
  }
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// The whole text in one step, logits of every row. Returns the seconds.
absl::StatusOr<double> RunOnce(Engine* engine, int64_t length, std::vector<float>* logits) {
  std::vector<int32_t> tokens(length), positions(length), rows(length);
  std::vector<int32_t> rope_len(length, static_cast<int32_t>(length));
  for (int64_t i = 0; i < length; ++i) tokens[i] = static_cast<int32_t>(i * 7919 % 256);
  std::iota(positions.begin(), positions.end(), 0);
  std::iota(rows.begin(), rows.end(), 0);
  const int32_t bounds[2] = {0, static_cast<int32_t>(length)};
  const int32_t cached = 0;
  NINFER_RETURN_IF_ERROR(engine->CheckCancelled());
  absl::Status status;
  double seconds = 0;
  engine->Run([&] {
    runtime::Executor* executor = engine->executor();
    runtime::KvPages pages(executor);
    runtime::HeldPages held;
    status = pages.Reserve(0, length, &held);
    if (!status.ok()) return;
    const std::vector<int32_t> table = runtime::PageTable(executor->limits(), {&held});
    logits->resize(length * executor->metadata().vocab_size);
    runtime::StepInput input;
    input.tokens = tokens;
    input.positions = positions;
    input.seq_bounds = bounds;
    input.cached_lens = absl::MakeConstSpan(&cached, 1);
    input.page_table = table;
    input.rows = rows;
    input.rope_len = rope_len;
    // Once to wake the threads, which sleep while other engines run.
    status = executor->Step(input, logits->data());
    if (!status.ok()) return;
    const double start = Seconds();
    status = executor->Step(input, logits->data());
    seconds = Seconds() - start;
  });
  NINFER_RETURN_IF_ERROR(status);
  return seconds;
}

struct Form {
  std::unique_ptr<Engine> engine;
  std::vector<float> logits;
  std::vector<double> seconds;
};

// Largest difference from `reference` as a part of its largest element.
double Difference(const std::vector<float>& reference, const std::vector<float>& found) {
  double most = 0, largest = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(reference[i]) - found[i]));
    largest = std::max(largest, std::abs(static_cast<double>(reference[i])));
  }
  return most / std::max(largest, 1e-30);
}

absl::Status AddLength(const AttentionOptions& options, int64_t length,
                       const runtime::CompilerCallbacks& callbacks, CpuWait* cpu_wait,
                       Table* table) {
  options.progress->Begin(
      absl::StrCat(options.type, " forms of attention at ", length, " positions"));
  NINFER_ASSIGN_OR_RETURN(const TemporaryFile config,
                          TemporaryFile::Create(Configuration(options.shape, length)));
  std::vector<Form> forms(std::size(kForms));
  for (size_t i = 0; i < forms.size(); ++i) {
    EngineChoice choice;
    choice.model.random_weights = config.path();
    choice.type = options.type;
    choice.attention = kForms[i];
    choice.threads = options.threads;
    choice.context = choice.max_tokens = choice.max_rows = length;
    choice.max_sequences = 1;
    NINFER_ASSIGN_OR_RETURN(forms[i].engine, Engine::Open(choice, callbacks));
    NINFER_RETURN_IF_ERROR(RunOnce(forms[i].engine.get(), length, &forms[i].logits).status());
  }
  const CpuWait begin = CpuWaitSoFar();
  for (int round = 0; round < options.repetitions; ++round) {
    for (Form& form : forms) {
      NINFER_ASSIGN_OR_RETURN(const double seconds,
                              RunOnce(form.engine.get(), length, &form.logits));
      form.seconds.push_back(seconds);
    }
  }
  *cpu_wait += CpuWaitSince(begin);
  std::vector<Json> row = {length};
  for (const Form& form : forms) row.push_back(1e3 * Median(form.seconds));
  for (const Form& form : forms) {
    row.push_back(static_cast<double>(form.engine->scratch_bytes()) / 1024);
  }
  double difference = 0;
  for (const Form& form : forms) {
    difference = std::max(difference, Difference(forms[0].logits, form.logits));
  }
  row.push_back(absl::StrFormat("%.1e", difference));
  table->rows.push_back(std::move(row));
  options.progress->End(absl::StrFormat("%.3f ms as flash", 1e3 * Median(forms.back().seconds)));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Table> CompareAttentionForms(const AttentionOptions& options,
                                            const std::string& label,
                                            const runtime::CompilerCallbacks& callbacks) {
  Table table;
  table.title = absl::StrFormat("%s: attention of %d query and %d KV heads of %d, %s, one layer",
                                label, options.shape.heads, options.shape.kv_heads,
                                options.shape.head_dim, options.type);
  table.columns = {
      {"positions", "positions"},          {"naive_ms", "naive ms", 3},
      {"efficient_ms", "efficient ms", 3}, {"flash_ms", "flash ms", 3},
      {"naive_kib", "naive KiB", 0},       {"efficient_kib", "efficient KiB", 0},
      {"flash_kib", "flash KiB", 0},       {"largest_difference", "largest difference"}};
  CpuWait cpu_wait;
  for (int64_t length : options.lengths) {
    NINFER_RETURN_IF_ERROR(Annotate(AddLength(options, length, callbacks, &cpu_wait, &table),
                                    absl::StrCat("attention at ", length, " positions")));
  }
  table.notes = {
      "Peak scratch of the step, all threads together: naive holds all scores, efficient "
      "those of a chunk of rows, flash none. The difference is that of the logits from "
      "naive's, as a part of the largest."};
  if (cpu_wait.disturbed()) {
    table.notes.push_back(
        "Threads waited for a CPU meanwhile: the times are longer than the code takes.");
  }
  return table;
}

}  // namespace ninfer::bench
