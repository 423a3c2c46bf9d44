#include "base/hash.h"

#include <xxhash.h>

#include "absl/strings/str_format.h"

namespace ninfer {

uint64_t Hash64(const void* data, uint64_t size) { return XXH3_64bits(data, size); }

std::string Hash128Hex(const void* data, uint64_t size) {
  const XXH128_hash_t hash = XXH3_128bits(data, size);
  return absl::StrFormat("%016x%016x", hash.high64, hash.low64);
}

}  // namespace ninfer
