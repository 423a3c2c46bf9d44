// A Hugging Face model folder becomes a graph and its weights. Nothing after this room reads
// config.json: what later stages need is in ModelInfo.
// Tested by tests/frontend_test.cc.
#ifndef NINFER_FRONTEND_FRONTEND_H_
#define NINFER_FRONTEND_FRONTEND_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "ir/module.h"
#include "ir/weights.h"

namespace ninfer::frontend {

// How a model sees pictures; patch_size 0: it does not. What stands in preprocessor_config.json,
// and the defaults of its class, are those of Idefics3 (transformers' SmolVLMImageProcessor).
struct VisionInfo {
  int64_t patch_size = 0, channels = 0;
  int64_t grid = 0;          // positions on a side: pixels of a picture over those of a patch
  int64_t scale_factor = 0;  // patches on a side that become one row
  int64_t columns = 0;       // of the rows that take the place of embeddings
  int32_t image_token_id = 0;
  // Whether the folder says how pictures are to be processed; the rest is of use only then.
  bool has_processor = false;
  bool do_resize = true, do_image_splitting = true, do_rescale = true, do_normalize = true;
  int64_t longest_edge = 4 * 364, max_image_size = 364;
  double rescale_factor = 1.0 / 255;
  std::array<double, 3> image_mean = {0.5, 0.5, 0.5}, image_std = {0.5, 0.5, 0.5};
  std::string image_token = "<image>", fake_image_token = "<fake_token_around_image>",
              global_image_token = "<global-img>";
};

// What generation needs to know of a model beside its graph.
struct ModelInfo {
  std::string name;          // the folder's last component
  std::string architecture;  // "llama", "gpt2": the row of archs.def
  int64_t vocab_size = 0;
  int64_t context_length = 0;   // max_position_embeddings, n_positions, or what was asked for
  int64_t trained_context = 0;  // what the model's configuration says
  bool rope_by_length = false;  // @step takes rope_len: frequencies depend on the text's length
  // Once a text grows beyond this many positions, all of it is computed again, because it takes
  // other rotary frequencies from its start on (longrope); 0: never.
  int64_t rope_crossing = 0;
  absl::optional<int32_t> bos_id;
  std::vector<int32_t> eos_ids;  // of generation_config.json, else of config.json
  absl::optional<int32_t> pad_id;
  // Defaults of generation_config.json; absent keys stay unset.
  absl::optional<bool> do_sample;
  absl::optional<double> temperature;
  absl::optional<double> top_p, min_p, repetition_penalty;
  absl::optional<int64_t> top_k, max_new_tokens;
  std::string default_prompt;  // of generation_config.json, ninfer's own key, or empty
  // Of generation_config.json, what would change the text and is not done: "num_beams = 4".
  std::vector<std::string> not_generated_with;
  // Most frequent dtype of the stored weights: decides `--weights=auto`.
  DType stored_dtype = DType::kF32;
  int64_t parameters = 0;  // elements of all claimed tensors, tied ones once
  VisionInfo vision;
  bool pictures_left_out = false;  // a model that sees, of which the language model alone is here
};

struct ImportedModel {
  ir::Module module;
  ModelInfo info;
  std::shared_ptr<const ir::WeightSource> weights;
  // Of a model that sees: @vision, patches of pictures to rows that take the place of embeddings.
  absl::optional<ir::Module> vision = absl::nullopt;
};

struct ImportOptions {
  // Longest context to compile for; 0 means the model's own.
  int64_t context_length = 0;
  // What errors call the configuration of random weights.
  std::string config_file = "config.json";
};

// Errors name the file, the key or tensor, what was expected and what was found.
absl::StatusOr<ImportedModel> ImportModel(const std::string& folder, const ImportOptions& options);

// A model of the given configuration (the text of a config.json) with seeded random weights of
// `dtype` that exist only in memory: for `ninfer-bench --random-weights`. Equal seeds give equal
// bytes.
absl::StatusOr<ImportedModel> ImportRandomModel(const std::string& name,
                                                absl::string_view config_json, DType dtype,
                                                uint64_t seed, const ImportOptions& options);

// The rows of archs.def: names as in config.json's "architectures".
std::vector<std::string> ListArchitectures();

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_FRONTEND_H_
