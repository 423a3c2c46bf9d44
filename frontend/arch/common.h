// What the families' files are written with: a builder that claims weights by their checkpoint
// names and spells out the parts that families share. Errors are sticky, as in ir::Builder; a
// family checks ok() once a layer and returns status(). Tested by tests/frontend_test.cc.
#ifndef NINFER_FRONTEND_ARCH_COMMON_H_
#define NINFER_FRONTEND_ARCH_COMMON_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "frontend/arch/rope.h"
#include "frontend/config.h"
#include "frontend/frontend.h"
#include "frontend/tensors.h"
#include "ir/builder.h"

namespace ninfer::frontend {

// Bounds on sizes in a configuration, far above any model, so that products stay inside 64 bits and
// a lying file costs no time.
inline constexpr int64_t kMaxSize = int64_t{1} << 24;
inline constexpr int64_t kMaxLayers = 1024;
inline constexpr int64_t kMaxVocabulary = INT32_MAX;
// Positions are f32 where rotary angles are computed: beyond this they would no longer be exact.
inline constexpr int64_t kMaxContext = int64_t{1} << 24;
// Upper bound of S as imported. Symbols' bounds belong to the module: later stages may change them.
inline constexpr int64_t kMaxSequences = 4;

// cos and sin of every row's angles, [T, n], computed once for the step; they turn the first 2 n
// columns of a head. Style: "half" pairs (i, i + n), "pairs" (2i, 2i + 1).
struct Rotary {
  ir::Value* cos = nullptr;
  ir::Value* sin = nullptr;
  absl::string_view style = "half";
};

// Attention with linear biases (Press et al., 2022): scale * slope of the head * position of the
// key. With `round_to_bf16`, slopes and products are rounded, as Falcon does.
struct Alibi {
  std::vector<float> slopes;  // [heads]
  double scale = 1.0;
  bool round_to_bf16 = false;
};

struct AttentionShape {
  int64_t heads = 1;
  int64_t kv_heads = 1;
  int64_t head_dim = 1;
  double scale = 1.0;  // on the scores; 1 leaves them
  int64_t window = 0;  // positions that a row sees, itself included; 0: all
  double softcap = 0;  // c tanh(scores / c); 0: none
  const Alibi* alibi = nullptr;
};

// The slopes of `heads` heads as BLOOM and Falcon take them, for a power of two and otherwise.
std::vector<float> AlibiSlopes(int64_t heads);

class ModelBuilder {
 public:
  // Everything is borrowed. The prefix of tensor names is set by Begin or UsePrefix.
  ModelBuilder(ConfigReader* config, TensorSource* tensors, int64_t context_override,
               ir::Module* module, ModelInfo* info, absl::string_view function = "step");

  ConfigReader& config() { return *config_; }
  ir::Builder& ops() { return ops_; }

  // Declares symbols and the step's parameters. Tensor names of the family begin with `prefix`
  // ("model.") or with nothing, whichever the checkpoint has. `context_key` is the key that gives
  // the model's context length; a learned table of positions cannot be exceeded, rotary embedding
  // can.
  enum class Positions { kLearned, kRotary };
  void Begin(absl::string_view prefix, int64_t vocab_size, absl::string_view context_key,
             int64_t context_length, Positions positions);
  // Default ids of the family's configuration class, for keys that are absent.
  void SetDefaultIds(absl::optional<int32_t> bos, absl::optional<int32_t> eos);
  void SetDefaultEnds(std::vector<int32_t> eos) { info_->eos_ids = std::move(eos); }
  // Texts that grow past this many positions are computed again: see ModelInfo.
  void SetRopeCrossing(int64_t positions) { info_->rope_crossing = positions; }
  // What is imported is the language model of one that sees.
  void LeaveOutPictures() { info_->pictures_left_out = true; }
  // The step's result.
  void Finish(ir::Value* logits);

  // Later nodes come from `name` under the prefix: "layers.3.self_attn".
  void Scope(absl::string_view name);

  // A weight by its name under the prefix, "layers.3.mlp.up_proj.weight".
  ir::Value* Weight(absl::string_view name, std::vector<int64_t> shape);
  // f32 constants of the module by their name, made when first asked for.
  ir::Value* Literal(absl::string_view name, std::vector<float> elements);
  ir::Value* Filled(absl::string_view name, int64_t size, float value);  // "ones", "zeros"
  // Whether the checkpoint stores a tensor of this name under the prefix.
  bool Has(absl::string_view name) const { return tensors_->Has(absl::StrCat(prefix_, name)); }
  bool HasWhole(absl::string_view name) const { return tensors_->Has(name); }  // without it
  // As f32, the type of activations: a constant expression.
  ir::Value* AsF32(ir::Value* weight);
  // The embedding table and the head, [vocab, hidden]. The head's name has no prefix. Tied, either
  // name may be stored; a stored head that differs from the embedding is used all the same.
  struct Tables {
    ir::Value* embedding;
    ir::Value* head;
  };
  Tables EmbeddingAndHead(absl::string_view embedding, absl::string_view head, int64_t vocab_size,
                          int64_t hidden, bool tied);

  // x [T, hidden] -> logits [T, vocab]; with a bias, NAME.bias, which has no prefix.
  ir::Value* Head(ir::Value* x, ir::Value* table, absl::string_view name, int64_t vocab_size,
                  bool bias);

  // x [T, in] -> [T, out] with NAME.weight [out, in] and, if asked, NAME.bias [out].
  ir::Value* Linear(ir::Value* x, absl::string_view name, int64_t in, int64_t out, bool bias);
  // As Linear with bias, of a weight stored as [in, out] (GPT-2's Conv1D).
  ir::Value* Conv1D(ir::Value* x, absl::string_view name, int64_t in, int64_t out);
  ir::Value* RmsNorm(ir::Value* x, absl::string_view name, int64_t size, double eps);
  ir::Value* LayerNorm(ir::Value* x, absl::string_view name, int64_t size, double eps);
  // The activation that Hugging Face calls by config's value of `key`.
  ir::Value* Activation(ir::Value* x, absl::string_view name);
  // Reads the name of an activation and the epsilon of a norm; what they may not be is an error.
  std::string ReadActivation(absl::string_view key, absl::string_view fallback);
  double ReadEpsilon(absl::string_view key, double fallback);

  // Once for the step; `name` begins the names of its constants.
  Rotary RotaryTables(const Rope& rope, absl::string_view name = "rope");
  // q [T, heads * d], k and v [T, kv_heads * d], or each [T, its heads, d] -> [T, heads * d],
  // spelled out: rotate, scores, scale, soft cap, bias, causal mask, softmax, weighted sum. `layer`
  // names the probabilities.
  ir::Value* Attention(ir::Value* q, ir::Value* k, ir::Value* v, const AttentionShape& shape,
                       const Rotary* rotary, int64_t layer);

  // x [T, hidden] with the rows of pictures where is_picture is 1: two more arguments of the step,
  // pictures f32[T, hidden] and is_picture i32[T].
  ir::Value* WithPictures(ir::Value* x, int64_t hidden);
  // Reads from an object of the configuration from here on.
  void UseConfig(ConfigReader* config) { config_ = config; }
  // A second module, for a function @vision that computes those rows, and its builder, which reads
  // the same checkpoint.
  std::unique_ptr<ModelBuilder> AddVision(ConfigReader* config);
  // Declares symbols and parameters of @vision: T patches of S pictures make R rows. Attention is
  // over each picture's first patches, up to the one that `visible` says.
  struct VisionArguments {
    ir::Value* pixels;     // f32[T, channels * patch * patch]
    ir::Value* patch_ids;  // i32[T], rows of the table of positions
    ir::Value* shuffle;    // i32[R, scale * scale], the patches that make a row
  };
  VisionArguments BeginVision(const VisionInfo& vision);
  // Later names of tensors begin so, whatever the checkpoint has.
  void UsePrefix(absl::string_view prefix) { prefix_ = std::string(prefix); }
  void FinishVision(ir::Value* rows);
  absl::optional<ir::Module> TakeVision() { return std::move(vision_); }
  VisionInfo& vision_info() { return info_->vision; }

  // Names the residual stream after `layer` layers: "hidden.3".
  ir::Value* NameHidden(ir::Value* x, int64_t layer);

  ir::Dim rows() const { return rows_; }  // T
  ir::Value* tokens() const { return tokens_; }
  ir::Value* positions() const { return positions_; }

  bool ok() const { return status_.ok() && config_->ok() && ops_.status().ok(); }
  // The first error: of the configuration, of a tensor, or of the graph.
  absl::Status status() const;

 private:
  ir::Value* ClaimedWeight(const std::string& name, std::vector<int64_t> shape);
  // The frequencies at each row, [n], or [T, n] where they depend on the length of the text.
  ir::Value* RotaryFrequencies(const Rope& rope, absl::string_view name);
  ir::Value* AddBias(ir::Value* y, absl::string_view name, int64_t size);
  ir::Value* AddAlibi(ir::Value* scores, const Alibi& alibi);
  ir::Value* SplitHeads(ir::Value* x, int64_t heads, int64_t head_dim, const Rotary* rotary);

  ConfigReader* config_;
  TensorSource* tensors_;
  int64_t context_override_;
  ir::Module* module_;
  ModelInfo* info_;
  ir::Function* step_;
  ir::Builder ops_;
  std::string prefix_;
  ir::Dim rows_;  // T
  ir::Value* tokens_ = nullptr;
  ir::Value* positions_ = nullptr;
  ir::Value* seq_bounds_ = nullptr;
  absl::optional<ir::Module> vision_;
  absl::Status status_;
};

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_ARCH_COMMON_H_
