// XXH3 hashes, from the xxHash library.
#ifndef NINFER_BASE_HASH_H_
#define NINFER_BASE_HASH_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace ninfer {

uint64_t Hash64(const void* data, uint64_t size);
inline uint64_t Hash64(absl::string_view text) { return Hash64(text.data(), text.size()); }

// 128 bits as 32 hexadecimal digits.
std::string Hash128Hex(const void* data, uint64_t size);

}  // namespace ninfer

#endif  // NINFER_BASE_HASH_H_
