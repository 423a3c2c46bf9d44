// The hashes by which the hub names files: SHA-256 of large ones, git's blob hash of others.
// Tested by tests/hub_test.py.
#ifndef NINFER_HUB_DIGEST_H_
#define NINFER_HUB_DIGEST_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace ninfer::hub {

// Whether an ETag is a hash that FileDigest can compute.
bool IsDigest(const std::string& etag);

// The file's hash of the kind of `etag` (64 or 40 digits), in hexadecimal.
absl::StatusOr<std::string> FileDigest(const std::string& path, const std::string& etag,
                                       const std::function<bool()>& cancelled);

}  // namespace ninfer::hub

#endif  // NINFER_HUB_DIGEST_H_
