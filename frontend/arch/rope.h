// Rotary position embedding (Su et al., 2021): the frequencies as transformers computes them, in
// f32 and in its order of operations (modeling_rope_utils.py). Tested by tests/frontend_test.cc.
#ifndef NINFER_FRONTEND_ARCH_ROPE_H_
#define NINFER_FRONTEND_ARCH_ROPE_H_

#include <cstdint>
#include <vector>

#include "frontend/config.h"

namespace ninfer::frontend {

// Reads rope_theta and rope_scaling, or transformers 5's rope_parameters; head_dim / 2 frequencies.
// Types default, linear and llama3; another one is an error in the reader's status.
std::vector<float> ReadRopeFrequencies(ConfigReader& config, double default_theta,
                                       int64_t head_dim);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_ARCH_ROPE_H_
