// A plan in memory: what plan.bin holds, as plain structs. plan/FORMAT.md documents the bytes.
// Tested by tests/plan_test.cc.
#ifndef NINFER_PLAN_PLAN_H_
#define NINFER_PLAN_PLAN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "base/dtype.h"

namespace ninfer::plan {

struct Metadata {
  std::string model_name, architecture;
  int64_t vocab_size = 0, context_length = 0, parameters = 0;
  absl::optional<int32_t> bos_id, pad_id;
  std::vector<int32_t> eos_ids;
  absl::optional<bool> do_sample;
  absl::optional<double> temperature, top_p, min_p, repetition_penalty;
  absl::optional<int64_t> top_k, max_new_tokens;
  std::string chat_template, default_prompt;
  // Chat templates beside the default one, and the tokens that templates see: name and text.
  std::vector<std::pair<std::string, std::string>> more_chat_templates, special_tokens;
  std::string weights_dtype, activations_dtype, kv_dtype;  // "bf16"
  bool has_kv_cache = true;
  bool logits_for_wanted_rows = true;  // false when every row's logits are made
  bool random_weights = false;
  // Rotary frequencies depend on the length of the text: a prefix of one text is not one of
  // another.
  bool rope_by_length = false;
  // A text that grows beyond this many positions is computed again; 0: none is.
  int64_t rope_crossing = 0;
};

struct Plan;

// How the model sees pictures: what it makes of their patches, and how pictures become patches, as
// the model's preprocessor_config.json names it.
struct Vision {
  int64_t patch_size = 1, channels = 3;
  int64_t grid = 1;          // positions on a side
  int64_t scale_factor = 1;  // patches on a side that become one row
  int64_t columns = 1;       // of the rows that take the place of embeddings
  int32_t image_token_id = 0;
  bool has_processor = false;  // the rest is of use only then
  bool do_resize = true, do_image_splitting = true, do_rescale = true, do_normalize = true;
  int64_t longest_edge = 1, max_image_size = 1;
  double rescale_factor = 1;
  std::vector<double> image_mean, image_std;  // [channels]
  std::string image_token, fake_image_token, global_image_token;
  // @vision compiled: a plan with an entry "vision", whose weights lie in the same data. Null where
  // there is no code (the eager engine).
  std::shared_ptr<const Plan> function;
};

struct Symbol {
  std::string name;
  int64_t min = 1, max = 1;
};

// Geometry of one layer's cache.
struct KvLayer {
  DType dtype = DType::kF32;
  int64_t heads = 0, head_dim = 0, page_positions = 64, page_bytes = 0;
  int64_t window = 0;  // positions that a row sees, its own among them; 0: all before it
};

struct Weight {
  std::string name, format;
  int64_t n = 0, k = 0, segments = 1;
  uint64_t offset = 0, bytes = 0;  // in the weights data
  int64_t segments_read = 0;       // by one row: the experts that it chooses; 0: all
};

struct Buffer {
  std::string name, type;  // "f32[T,576]"
  int64_t ld = 0;
  bool replicated = false;
  uint64_t offset = 0, bytes = 0;  // in the arena, or in a thread's replica block
  int32_t first_launch = 0, last_launch = 0;
};

enum class OperandKind : uint8_t { kBuffer, kWeight, kArgument, kKv };
struct Operand {
  OperandKind kind = OperandKind::kBuffer;
  uint32_t index = 0;
};

enum class Barrier : uint8_t { kNone, kMany, kAlways, kPrefill, kManyOrPrefill };
struct Launch {
  uint32_t kernel = 0;
  Barrier barrier = Barrier::kAlways;
  bool replicated = false;
  // Work units: factor * ceil(dims[symbol] / block); symbol -1: factor alone.
  int64_t factor = 1;
  int32_t symbol = -1;
  int64_t block = 1;
  std::vector<Operand> operands;
  std::string provenance;
};

struct Entry {
  std::string name;                    // "step"
  std::vector<std::string> arguments;  // "tokens", "positions", ... in operand order
  int32_t output = -1;                 // buffer index of the logits
  int32_t argmax = -1;                 // of the ids of the largest, i32[R]; -1: nobody finds them
  int64_t few_rows = 8;
  uint64_t arena_bytes = 0, replica_bytes = 0, arena_lower_bound = 0;
  std::vector<Launch> launches;
};

struct Kernel {
  std::string name, family;
  uint64_t scratch_bytes = 0;
};

// From `offset` on, code that is there for `line` (from 1) of Plan::program_text.
struct CodeLine {
  uint32_t offset = 0, line = 0;
};

struct KernelSymbol {
  std::string name;
  uint64_t offset = 0, size = 0;
  int64_t stack_bytes = 0;
  std::vector<CodeLine> lines;  // by offset from the kernel's first instruction
};

// Code for one target; `kernels` in the order of Plan::kernels.
struct CodeImage {
  std::string target, cpu;
  std::vector<std::string> required_features;  // as in /proc/cpuinfo
  std::string bytes;
  uint64_t executable_bytes = 0;
  std::vector<KernelSymbol> kernels;
};

// A function of the CUDA source. A launch of `kernel` is this function where dims[rows_symbol] is
// at most `most_rows` (always, with symbol -1), and no function of the kernel before it took it.
struct CardFunction {
  std::string name;
  uint32_t kernel = 0;
  int32_t rows_symbol = -1;
  int64_t most_rows = INT64_MAX;
  // Blocks along x and y, as a launch's work units are counted.
  struct Grid {
    int64_t factor = 1;
    int32_t symbol = -1;
    int64_t block = 1;
  };
  std::vector<Grid> grid;  // two
  uint32_t threads = 0;    // of a block
};

// All functions for one architecture: code (a cubin), or PTX, which the driver makes code of.
struct CardImage {
  std::string architecture;  // "sm_90"
  uint32_t capability = 0;   // 90
  bool ptx = false;
  std::string bytes;
};

// What a plan has for CUDA cards, beside what it has for CPUs or in place of that.
struct Cards {
  // Where the packed weights begin in the weights' data; what stands before them is the CPU's, and
  // there is none where CPUs have no code.
  uint64_t weights_offset = 0, weight_bytes = 0;
  struct Place {
    uint64_t offset = 0, bytes = 0;  // from weights_offset on
  };
  std::vector<Place> weights;           // by Plan::weights
  std::vector<int64_t> page_bytes;      // by Plan::kv_layers
  std::vector<CardFunction> functions;  // by kernel, then by most_rows
  std::vector<CardImage> images;
  std::string source;  // CUDA C++
};

// What rounding does to a linear by itself: |difference of outputs| / |output|, Euclidean, on what
// it is given in the graph without rounding.
struct LinearError {
  std::string name, weight, input;  // the types: "int4_g32", "int8_g32_f32"
  double error = 0;
};

// Predictions of the plan against those of the imported graph in f32.
struct Quality {
  std::string origin;  // of the texts
  int64_t tokens = 0, argmax_flips = 0;
  double kl_divergence = 0;  // a token, in nats
  double reference_perplexity = 0, perplexity = 0;
  std::vector<LinearError> linears;
};

struct Evidence {
  std::vector<int32_t> calibration_ids;
  double max_error = 0, kl_divergence = 0;  // of the compiled logits, against the imported graph's
  int64_t argmax_flips = 0;
  double code_error = 0, bound = 0;  // against the graph whose types are settled, and its bound
  std::string compared;              // "imported graph in f32 against the plan on zen4"
  uint64_t logits_digest = 0;
  absl::optional<Quality> quality;  // when it was asked for
};

struct PassLog {
  std::string name;
  double seconds = 0;
  int64_t rewrites = 0, ops_before = 0, ops_after = 0, bytes_before = 0, bytes_after = 0;
  bool skipped = false;
};

struct Provenance {
  std::string compiler_version, options, source;
  std::vector<PassLog> passes;
};

struct Plan {
  // Not inline: of so many parts each place that copies, moves or drops a plan would be kilobytes.
  Plan();
  ~Plan();
  Plan(const Plan&);
  Plan(Plan&&) noexcept;
  Plan& operator=(const Plan&);
  Plan& operator=(Plan&&) noexcept;

  Metadata metadata;
  std::vector<Symbol> symbols;
  std::vector<Entry> entries;
  std::vector<Buffer> buffers;
  std::vector<KvLayer> kv_layers;
  std::vector<Weight> weights;
  uint64_t weight_bytes = 0;
  std::vector<Kernel> kernels;
  std::vector<CodeImage> images;
  absl::optional<Cards> cards;
  std::string tokenizer;          // text::Tokenizer::Serialize, or empty
  absl::optional<Vision> vision;  // of a model that sees
  std::string program_text, imported_graph_text, final_graph_text;
  Evidence evidence;
  Provenance provenance;
  // 32 hexadecimal digits over all but provenance, set by the writer; of a plan in memory, not over
  // the weights' data (see ContentDigestOf in plan/writer.h).
  std::string content_digest;
};

// The first bytes of the weights' data that are for CPUs.
inline uint64_t CpuWeightBytes(const Plan& plan) {
  return plan.cards.has_value() ? plan.cards->weights_offset : plan.weight_bytes;
}

// A plan and where its weights lie: in a mapped or copied file, or in memory just packed.
// `weights` is aligned to 64 bytes at least and has plan.weight_bytes bytes, of a plan for cards as
// well those before the cards' own. What was not loaded is null.
struct LoadedPlan {
  Plan plan;
  const uint8_t* weights = nullptr;
  const uint8_t* card_weights = nullptr;  // plan.cards->weight_bytes
  std::shared_ptr<void> owner;            // keeps `weights` alive
  std::string weights_memory;             // "mapped", "copied", "in memory"
  bool in_memory = false;        // never a file, so that its digest is of all but the weights' data
  uint64_t huge_page_bytes = 0;  // of the weights, as the kernel granted
};

}  // namespace ninfer::plan

#endif  // NINFER_PLAN_PLAN_H_
