// See the header.
// Tested by tests/hub_test.py.
#include "hub/digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include "absl/strings/escaping.h"
#include "base/file.h"
#include "base/status.h"

namespace ninfer::hub {
namespace {

constexpr size_t kSha256Digits = 64;
constexpr size_t kSha1Digits = 40;
constexpr uint64_t kPiece = uint64_t{1} << 24;

}  // namespace

bool IsDigest(const std::string& etag) {
  if (etag.size() != kSha256Digits && etag.size() != kSha1Digits) return false;
  return std::all_of(etag.begin(), etag.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

absl::StatusOr<std::string> FileDigest(const std::string& path, const std::string& etag,
                                       const std::function<bool()>& cancelled) {
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  const bool git = etag.size() == kSha1Digits;
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(),
                                                                   EVP_MD_CTX_free);
  bool good = context != nullptr &&
              EVP_DigestInit_ex(context.get(), git ? EVP_sha1() : EVP_sha256(), nullptr) == 1;
  // git hashes a header before the bytes; its end is a zero byte.
  const std::string header = absl::StrCat("blob ", file->size());
  if (good && git) good = EVP_DigestUpdate(context.get(), header.c_str(), header.size() + 1) == 1;
  for (uint64_t at = 0; good && at < file->size(); at += kPiece) {
    if (cancelled && cancelled()) return absl::CancelledError("interrupted");
    const uint64_t size = std::min(kPiece, file->size() - at);
    good = EVP_DigestUpdate(context.get(), file->data() + at, size) == 1;
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  good = good && EVP_DigestFinal_ex(context.get(), digest, &size) == 1;
  NINFER_CHECK(good) << "libcrypto";
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest), size));
}

}  // namespace ninfer::hub
