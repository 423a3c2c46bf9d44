#include "tests/runtime_example.h"

#include <cstring>

#include "plan/reader.h"
#include "plan/writer.h"

// What a compiler would have to emit: no calls, no constants in memory, nothing outside the
// section.
#define TOY_KERNEL                                                                      \
  extern "C" __attribute__((section("toy_kernels"), used, noinline, no_stack_protector, \
                            no_sanitize("address", "undefined", "thread"),              \
                            optimize("O1", "no-tree-loop-distribute-patterns"))) void

// operands: tokens, embedding, hidden. One unit is one token.
TOY_KERNEL ToyEmbed(void* const* operands, const int32_t* dims, int64_t begin, int64_t end, void*) {
  const int32_t* tokens = static_cast<const int32_t*>(operands[0]);
  const float* embedding = static_cast<const float*>(operands[1]);
  float* hidden = static_cast<float*>(operands[2]);
  for (int64_t t = begin; t < end; ++t) {
    for (int64_t c = 0; c < 5; ++c) hidden[t * 32 + c] = embedding[tokens[t] * 5 + c];
  }
}

// operands: hidden, positions, seq_bounds, page_table, pool. One unit is one token.
TOY_KERNEL ToyAppend(void* const* operands, const int32_t* dims, int64_t begin, int64_t end,
                     void*) {
  const float* hidden = static_cast<const float*>(operands[0]);
  const int32_t* positions = static_cast<const int32_t*>(operands[1]);
  const int32_t* bounds = static_cast<const int32_t*>(operands[2]);
  const int32_t* pages = static_cast<const int32_t*>(operands[3]);
  float* pool = static_cast<float*>(operands[4]);
  for (int64_t t = begin; t < end; ++t) {
    int64_t s = 0;
    while (t >= bounds[s + 1]) ++s;
    const int32_t position = positions[t];
    pool[pages[s * dims[3] + position / 64] * 64 + position % 64] = hidden[t * 32];
  }
}

// operands: positions, seq_bounds, page_table, pool, sums. One unit is one token.
TOY_KERNEL ToySum(void* const* operands, const int32_t* dims, int64_t begin, int64_t end,
                  void* scratch) {
  const int32_t* positions = static_cast<const int32_t*>(operands[0]);
  const int32_t* bounds = static_cast<const int32_t*>(operands[1]);
  const int32_t* pages = static_cast<const int32_t*>(operands[2]);
  const float* pool = static_cast<const float*>(operands[3]);
  float* sums = static_cast<float*>(operands[4]);
  float* sum = static_cast<float*>(scratch);
  for (int64_t t = begin; t < end; ++t) {
    int64_t s = 0;
    while (t >= bounds[s + 1]) ++s;
    *sum = 0;
    for (int32_t p = 0; p <= positions[t]; ++p) {
      *sum = *sum + pool[pages[s * dims[3] + p / 64] * 64 + p % 64];
    }
    sums[t] = *sum;
  }
}

// operands: sums, hidden, rows, head, logits. One unit is one column.
TOY_KERNEL ToyHead(void* const* operands, const int32_t* dims, int64_t begin, int64_t end, void*) {
  const float* sums = static_cast<const float*>(operands[0]);
  const float* hidden = static_cast<const float*>(operands[1]);
  const int32_t* rows = static_cast<const int32_t*>(operands[2]);
  const float* head = static_cast<const float*>(operands[3]);
  float* logits = static_cast<float*>(operands[4]);
  for (int64_t c = begin; c < end; ++c) {
    for (int64_t r = 0; r < dims[2]; ++r) {
      logits[r * 32 + c] = sums[rows[r]] * head[c] + hidden[rows[r] * 32 + c];
    }
  }
}

extern const char toy_begin[] __asm__("__start_toy_kernels");
extern const char toy_end[] __asm__("__stop_toy_kernels");

namespace ninfer::runtime {
namespace {

using plan::Barrier;
using plan::OperandKind;
using ToyKernel = void (*)(void* const*, const int32_t*, int64_t, int64_t, void*);

constexpr struct {
  const char* name;
  const char* family;
  ToyKernel function;
} kKernels[] = {{"embed", "rowwise", ToyEmbed},
                {"append", "kv_append", ToyAppend},
                {"sum", "attention", ToySum},
                {"head", "linear", ToyHead}};

// [embedding: vocab x vocab][padding][head: vocab], each at a multiple of 64 bytes.
struct ToyWeights {
  alignas(64) float embedding[kToyVocab * kToyVocab];
  alignas(64) float head[kToyVocab];
};

const ToyWeights& Weights() {
  static const ToyWeights weights = [] {
    ToyWeights w;
    std::memset(&w, 0, sizeof(w));
    for (int i = 0; i < kToyVocab * kToyVocab; ++i) w.embedding[i] = 0.25f * ((i * 7) % 11);
    for (int i = 0; i < kToyVocab; ++i) w.head[i] = 0.5f * ((i * 3) % 5) - 1;
    return w;
  }();
  return weights;
}

plan::CodeImage ToyImage() {
  plan::CodeImage image;
  image.target = "toy";
  image.bytes.assign(toy_begin, toy_end);
  image.bytes.resize((image.bytes.size() + 4095) / 4096 * 4096, '\xcc');
  image.executable_bytes = image.bytes.size();
  for (const auto& kernel : kKernels) {
    const char* address = reinterpret_cast<const char*>(kernel.function);
    const uint32_t line = 10 * static_cast<uint32_t>(image.kernels.size() + 1);
    image.kernels.push_back({std::string(kernel.name) + "__toy",
                             static_cast<uint64_t>(address - toy_begin),
                             16,
                             0,
                             {{0, line}, {2, line + 1}}});
  }
  return image;
}

plan::Launch ToyLaunch(uint32_t kernel, Barrier barrier, std::vector<plan::Operand> operands) {
  plan::Launch launch;
  launch.kernel = kernel;
  launch.barrier = barrier;
  launch.symbol = 0;
  launch.operands = std::move(operands);
  return launch;
}

plan::Entry ToyEntry() {
  plan::Entry entry;
  entry.name = "step";
  entry.arguments = {"tokens", "positions", "seq_bounds", "page_table", "rows"};
  entry.output = 2;
  entry.few_rows = 2;
  entry.arena_bytes = 4096;
  entry.replica_bytes = kToyTokens * kToyStride * 4;
  constexpr auto B = OperandKind::kBuffer;
  constexpr auto W = OperandKind::kWeight;
  constexpr auto A = OperandKind::kArgument;
  constexpr auto K = OperandKind::kKv;
  entry.launches = {ToyLaunch(0, Barrier::kNone, {{A, 0}, {W, 0}, {B, 0}}),
                    ToyLaunch(1, Barrier::kMany, {{B, 0}, {A, 1}, {A, 2}, {A, 3}, {K, 0}}),
                    ToyLaunch(2, Barrier::kPrefill, {{A, 1}, {A, 2}, {A, 3}, {K, 0}, {B, 1}}),
                    ToyLaunch(3, Barrier::kAlways, {{B, 1}, {B, 0}, {A, 4}, {W, 1}, {B, 2}})};
  entry.launches[0].replicated = true;
  entry.launches[3].symbol = -1;
  entry.launches[3].factor = kToyVocab;
  return entry;
}

}  // namespace

std::shared_ptr<plan::LoadedPlan> ToyPlan() {
  auto loaded = std::make_shared<plan::LoadedPlan>();
  plan::Plan& plan = loaded->plan;
  plan.metadata.model_name = "toy";
  plan.metadata.vocab_size = kToyVocab;
  plan.metadata.context_length = kToyContext;
  plan.metadata.eos_ids = {4};
  plan.symbols = {
      {"T", 1, kToyTokens}, {"S", 1, kToySequences}, {"R", 1, kToyRows}, {"G", 1, kToyPages}};
  plan.buffers = {{"hidden", "f32[T,5]", kToyStride, true, 0, kToyTokens * kToyStride * 4, 0, 3},
                  {"sums", "f32[T]", 1, false, 2048, kToyTokens * 4, 2, 3},
                  {"logits", "f32[R,5]", kToyStride, false, 0, kToyRows * kToyStride * 4, 3, 3}};
  plan.kv_layers = {{DType::kF32, 1, 1, 64, 256}};
  plan.weights = {{"embedding", "plain_f32", 5, 5, 1, 0, sizeof(ToyWeights::embedding)},
                  {"head", "plain_f32", 5, 1, 1, offsetof(ToyWeights, head), 20}};
  plan.weight_bytes = sizeof(ToyWeights);
  for (const auto& kernel : kKernels) plan.kernels.push_back({kernel.name, kernel.family, 64});
  plan.entries = {ToyEntry()};
  plan.images = {ToyImage()};
  loaded->weights = reinterpret_cast<const uint8_t*>(&Weights());
  return loaded;
}

std::vector<float> ToyLogits(const std::vector<int32_t>& text) {
  float sum = 0;
  for (int32_t token : text) sum += Weights().embedding[token * kToyVocab];
  std::vector<float> logits;
  for (int64_t c = 0; c < kToyVocab; ++c) {
    logits.push_back(sum * Weights().head[c] + Weights().embedding[text.back() * kToyVocab + c]);
  }
  return logits;
}

}  // namespace ninfer::runtime
