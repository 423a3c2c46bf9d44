// The decoder that Llama and its close relatives share: RMS norm, rotary embedding, grouped-query
// attention, gated MLP. A relative's file reads its own configuration and calls BuildLlamaDecoder.
// Tested by tests/frontend_test.cc.
#ifndef NINFER_FRONTEND_ARCH_LLAMA_H_
#define NINFER_FRONTEND_ARCH_LLAMA_H_

#include <cstdint>

#include "absl/status/status.h"
#include "frontend/arch/common.h"

namespace ninfer::frontend {

// Where relatives differ.
struct LlamaVariant {
  bool qkv_bias = false;
  bool output_bias = false;
  bool mlp_bias = false;
  int64_t default_context = 2048;
  // num_key_value_heads where the key is absent; 0 means as many as there are heads, as null does.
  int64_t default_kv_heads = 0;
};

absl::Status BuildLlamaDecoder(ModelBuilder& m, const LlamaVariant& variant);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_ARCH_LLAMA_H_
