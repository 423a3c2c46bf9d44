#include "tests/support/model_folder.h"

#include <stdlib.h>

#include <cmath>
#include <filesystem>
#include <random>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"

namespace ninfer::testing {
namespace {

using nlohmann::json;

DType DTypeOf(absl::string_view name) {
  if (name == "F32") return DType::kF32;
  if (name == "F16") return DType::kF16;
  NINFER_CHECK(name == "BF16") << std::string(name);
  return DType::kBF16;
}

// Box and Muller's normal variates over an engine whose sequence the standard fixes, so that every
// machine writes the same model.
float Normal(std::mt19937_64& engine) {
  const double u = (static_cast<double>(engine() >> 11) + 0.5) / 9007199254740992.0;
  const double v = static_cast<double>(engine() >> 11) / 9007199254740992.0;
  return static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * M_PI * v));
}

class Writer {
 public:
  explicit Writer(const TinyOptions& options) : options_(options) {}

  void Matrix(const std::string& name, int64_t rows, int64_t columns) {
    Add(name, {rows, columns}, 0.2f, 0.0f);
  }
  void Norm(const std::string& name, int64_t size) { Add(name, {size}, 0.1f, 1.0f); }
  void Bias(const std::string& name, int64_t size) { Add(name, {size}, 0.1f, 0.0f); }
  std::vector<TestTensor> Take() { return std::move(tensors_); }

 private:
  void Add(const std::string& name, std::vector<int64_t> shape, float deviation, float centre) {
    tensors_.push_back(RandomTensor(name, shape, options_.dtype, deviation, centre, options_.seed));
  }
  const TinyOptions& options_;
  std::vector<TestTensor> tensors_;
};

json Header(const std::vector<TestTensor>& tensors) {
  json header = json::object();
  uint64_t offset = 0;
  for (const TestTensor& tensor : tensors) {
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes.size()}}};
    offset += tensor.bytes.size();
  }
  return header;
}

}  // namespace

TestTensor RandomTensor(const std::string& name, const std::vector<int64_t>& shape,
                        absl::string_view dtype, float deviation, float centre, uint64_t seed) {
  int64_t elements = 1;
  for (int64_t size : shape) elements *= size;
  std::mt19937_64 engine(Hash64(name) ^ seed);
  std::vector<float> values(elements);
  for (float& value : values) value = centre + deviation * Normal(engine);
  TestTensor tensor{name, std::string(dtype), shape, ""};
  tensor.bytes.resize(elements * DTypeSize(DTypeOf(dtype)));
  ConvertFromFloat(values.data(), DTypeOf(dtype), tensor.bytes.data(), elements);
  return tensor;
}

std::string RawSafetensors(absl::string_view header, absl::string_view data) {
  std::string file;
  for (int i = 0; i < 8; ++i) file.push_back(static_cast<char>(header.size() >> (8 * i)));
  return absl::StrCat(file, header, data);
}

std::string SafetensorsBytes(const std::vector<TestTensor>& tensors,
                             const std::map<std::string, std::string>& metadata) {
  json header = Header(tensors);
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::string text = header.dump();
  while (text.size() % 8 != 0) text.push_back(' ');
  std::string data;
  for (const TestTensor& tensor : tensors) data += tensor.bytes;
  return RawSafetensors(text, data);
}

TestTensor* TestModel::Find(absl::string_view name) {
  for (TestTensor& tensor : tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

void TestModel::Remove(absl::string_view name) {
  std::erase_if(tensors, [&](const TestTensor& tensor) { return tensor.name == name; });
}

TestModel TinyLlama(const TinyOptions& options) {
  const TinyOptions& o = options;
  const int64_t head_dim = o.head_dim != 0 ? o.head_dim : o.hidden / o.heads;
  TestModel model;
  model.config = {{"architectures", {"LlamaForCausalLM"}},
                  {"model_type", "llama"},
                  {"vocab_size", o.vocab},
                  {"hidden_size", o.hidden},
                  {"intermediate_size", o.inner},
                  {"num_hidden_layers", o.layers},
                  {"num_attention_heads", o.heads},
                  {"num_key_value_heads", o.kv_heads},
                  {"max_position_embeddings", o.context},
                  {"rms_norm_eps", 1e-5},
                  {"rope_theta", 10000.0},
                  {"tie_word_embeddings", o.tied},
                  {"attention_bias", o.bias},
                  {"mlp_bias", o.bias},
                  {"bos_token_id", 1},
                  {"eos_token_id", 2}};
  if (o.head_dim != 0) model.config["head_dim"] = o.head_dim;
  Writer w(o);
  const std::string prefix = o.prefix == "*" ? "model." : o.prefix;
  const auto linear = [&](const std::string& name, int64_t in, int64_t out) {
    w.Matrix(name + ".weight", out, in);
    if (o.bias) w.Bias(name + ".bias", out);
  };
  w.Matrix(prefix + "embed_tokens.weight", o.vocab, o.hidden);
  for (int64_t i = 0; i < o.layers; ++i) {
    const std::string layer = absl::StrCat(prefix, "layers.", i, ".");
    w.Norm(layer + "input_layernorm.weight", o.hidden);
    linear(layer + "self_attn.q_proj", o.hidden, o.heads * head_dim);
    linear(layer + "self_attn.k_proj", o.hidden, o.kv_heads * head_dim);
    linear(layer + "self_attn.v_proj", o.hidden, o.kv_heads * head_dim);
    linear(layer + "self_attn.o_proj", o.heads * head_dim, o.hidden);
    w.Norm(layer + "post_attention_layernorm.weight", o.hidden);
    linear(layer + "mlp.gate_proj", o.hidden, o.inner);
    linear(layer + "mlp.up_proj", o.hidden, o.inner);
    linear(layer + "mlp.down_proj", o.inner, o.hidden);
  }
  w.Norm(prefix + "norm.weight", o.hidden);
  if (!o.tied) w.Matrix("lm_head.weight", o.vocab, o.hidden);
  model.tensors = w.Take();
  return model;
}

TestModel TinyGpt2(const TinyOptions& options) {
  const TinyOptions& o = options;
  TestModel model;
  model.config = {{"architectures", {"GPT2LMHeadModel"}},
                  {"model_type", "gpt2"},
                  {"vocab_size", o.vocab},
                  {"n_positions", o.context},
                  {"n_embd", o.hidden},
                  {"n_layer", o.layers},
                  {"n_head", o.heads},
                  {"n_inner", o.inner},
                  {"layer_norm_epsilon", 1e-5},
                  {"activation_function", "gelu_new"},
                  {"tie_word_embeddings", o.tied},
                  {"bos_token_id", 1},
                  {"eos_token_id", 2}};
  Writer w(o);
  const std::string prefix = o.prefix == "*" ? "transformer." : o.prefix;
  const auto norm = [&](const std::string& name) {
    w.Norm(name + ".weight", o.hidden);
    w.Bias(name + ".bias", o.hidden);
  };
  const auto conv = [&](const std::string& name, int64_t in, int64_t out) {
    w.Matrix(name + ".weight", in, out);
    w.Bias(name + ".bias", out);
  };
  w.Matrix(prefix + "wte.weight", o.vocab, o.hidden);
  w.Matrix(prefix + "wpe.weight", o.context, o.hidden);
  for (int64_t i = 0; i < o.layers; ++i) {
    const std::string layer = absl::StrCat(prefix, "h.", i, ".");
    norm(layer + "ln_1");
    conv(layer + "attn.c_attn", o.hidden, 3 * o.hidden);
    conv(layer + "attn.c_proj", o.hidden, o.hidden);
    norm(layer + "ln_2");
    conv(layer + "mlp.c_fc", o.hidden, o.inner);
    conv(layer + "mlp.c_proj", o.inner, o.hidden);
  }
  norm(prefix + "ln_f");
  if (!o.tied) w.Matrix("lm_head.weight", o.vocab, o.hidden);
  model.tensors = w.Take();
  return model;
}

void WriteText(const std::string& path, absl::string_view text) {
  const absl::Status status = WriteFile(path, text);
  NINFER_CHECK(status.ok()) << status.ToString();
}

void WriteModel(const std::string& folder, const TestModel& model) {
  WriteText(JoinPath(folder, "config.json"), model.config.dump(2));
  WriteText(JoinPath(folder, "model.safetensors"), SafetensorsBytes(model.tensors));
}

void WriteShardedModel(const std::string& folder, const TestModel& model, int shards) {
  WriteText(JoinPath(folder, "config.json"), model.config.dump(2));
  std::vector<std::vector<TestTensor>> parts(shards);
  json map = json::object();
  const auto name_of = [&](int shard) {
    return absl::StrCat("model-", shard + 1, "-of-", shards, ".safetensors");
  };
  for (size_t i = 0; i < model.tensors.size(); ++i) {
    const int shard = static_cast<int>(i % shards);
    parts[shard].push_back(model.tensors[i]);
    map[model.tensors[i].name] = name_of(shard);
  }
  for (int shard = 0; shard < shards; ++shard) {
    WriteText(JoinPath(folder, name_of(shard)), SafetensorsBytes(parts[shard]));
  }
  WriteText(JoinPath(folder, "model.safetensors.index.json"),
            json({{"metadata", json::object()}, {"weight_map", map}}).dump(2));
}

TemporaryFolder::TemporaryFolder() {
  path_ = JoinPath(GetEnv("TEST_TMPDIR", GetEnv("TMPDIR", "/tmp")), "ninfer-test-XXXXXX");
  NINFER_CHECK(mkdtemp(path_.data()) != nullptr) << path_;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::string TemporaryFolder::File(absl::string_view name) const { return JoinPath(path_, name); }

}  // namespace ninfer::testing
