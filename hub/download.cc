// See the header. What is asked and what headers mean: huggingface_hub/file_download.py.
// Tested by tests/hub_test.py.
#include "hub/download.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"
#include "hub/digest.h"

namespace ninfer::hub {
namespace {

constexpr int kMaxRedirects = 8;
constexpr int kMaxTries = 5;                // without a byte more
constexpr useconds_t kFirstWait = 100'000;  // microseconds; doubled at each try
constexpr uint64_t kMaxErrorBytes = 1 << 20;

// W/"abc" and "abc" are abc.
std::string NormalEtag(absl::string_view etag) {
  absl::ConsumePrefix(&etag, "W/");
  absl::ConsumePrefix(&etag, "\"");
  absl::ConsumeSuffix(&etag, "\"");
  return std::string(etag);
}

// An ETag becomes the name of a file.
bool IsFileName(const std::string& etag) {
  return !etag.empty() && etag.size() < 200 && etag.front() != '.' &&
         std::all_of(etag.begin(), etag.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' ||
                  c == '.';
         });
}

int64_t SizeOf(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? static_cast<int64_t>(info.st_size) : 0;
}

bool MayComeBack(const absl::Status& status) { return absl::IsUnavailable(status); }

// A file that is added to, closed at the end.
class Appender {
 public:
  explicit Appender(std::string path)
      : path_(std::move(path)),
        fd_(open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)),
        opened_(fd_ >= 0 ? absl::OkStatus() : Error()) {}
  ~Appender() {
    if (fd_ >= 0) close(fd_);
  }
  Appender(const Appender&) = delete;
  Appender& operator=(const Appender&) = delete;

  // Whether the file could be opened: one that could not is not to be written to.
  const absl::Status& opened() const { return opened_; }
  absl::Status Write(absl::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return Error();
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }
  absl::Status Clear() { return ftruncate(fd_, 0) == 0 ? absl::OkStatus() : Error(); }

 private:
  absl::Status Error() const { return InvalidArgument(path_, ": cannot write: ", strerror(errno)); }
  std::string path_;
  int fd_;
  absl::Status opened_;
};

}  // namespace

absl::Status StatusOfAnswer(const ModelName& name, const Settings& settings,
                            const std::string& what, const HttpResponse& response) {
  const std::string code = response.Header("x-error-code");
  const std::string message = response.Header("x-error-message");
  const absl::string_view token =
      settings.token.empty() ? "without a token" : "with the token that is set";
  const std::string page = absl::StrCat(settings.endpoint, "/", name.repository);
  if (code == "GatedRepo" || (response.status == 403 && code.empty())) {
    return InvalidArgument(name.text, ": expected access to a gated model, found none ", token,
                           ": ask for it at ", page, " and set HF_TOKEN");
  }
  if (code == "RevisionNotFound") {
    return InvalidArgument(name.text, ": expected a branch, tag or commit ", name.revision,
                           ", found none in ", name.repository);
  }
  if (code == "EntryNotFound") {
    return InvalidArgument(name.text, ": expected ", what, ", found no such file");
  }
  if (response.status == 401 && absl::StrContains(message, "Invalid credentials")) {
    return InvalidArgument(name.text, ": expected a valid token in HF_TOKEN, found one that ",
                           settings.endpoint, " refuses");
  }
  if (code == "RepoNotFound" || response.status == 401 || response.status == 404) {
    return InvalidArgument(name.text, ": expected a model at ", page,
                           ", found none, or a private one, ", token);
  }
  const std::string text =
      absl::StrCat(name.text, ": expected ", what, " from ", settings.endpoint, ", found status ",
                   response.status, message.empty() ? "" : ": ", message);
  if (response.status >= 500 || response.status == 429) return absl::UnavailableError(text);
  return InvalidArgument(text);
}

// A token goes to the endpoint and nowhere else.
HttpRequest Downloader::Request(const std::string& url) const {
  HttpRequest request;
  request.url = url;
  if (SameOrigin(url, settings_.endpoint)) request.token = settings_.token;
  request.timeout = settings_.timeout;
  request.limit = kMaxErrorBytes;
  request.cancelled = callbacks_.cancelled;
  return request;
}

absl::StatusOr<HttpResponse> Downloader::SendFollowing(HttpRequest request) {
  for (int i = 0; i < kMaxRedirects; ++i) {
    NINFER_ASSIGN_OR_RETURN(HttpResponse response, http_.Send(request));
    if (!response.IsRedirect()) return response;
    request.url = ResolveUrl(request.url, response.Header("location"));
    request.token = Request(request.url).token;
  }
  return InvalidArgument(name_.text, ": expected at most ", kMaxRedirects,
                         " redirects, found more");
}

absl::StatusOr<std::string> Downloader::GetText(const std::string& path, const std::string& what,
                                                uint64_t limit) {
  HttpRequest request = Request(absl::StrCat(settings_.endpoint, path));
  request.limit = limit;
  NINFER_ASSIGN_OR_RETURN(HttpResponse response, SendFollowing(std::move(request)));
  if (response.status != 200) return StatusOfAnswer(name_, settings_, what, response);
  return std::move(response.body);
}

absl::StatusOr<Downloader::Remote> Downloader::Head(const std::string& commit,
                                                    const std::string& file) {
  HttpRequest request = Request(absl::StrCat(settings_.endpoint, "/", name_.repository, "/resolve/",
                                             commit, "/", EscapeUrl(file, /*keep_slashes=*/true)));
  request.head = true;
  for (int i = 0; i < kMaxRedirects; ++i) {
    NINFER_ASSIGN_OR_RETURN(const HttpResponse response, http_.Send(request));
    Remote remote;
    remote.url = request.url;
    const std::string linked = response.Header("x-linked-etag");
    if (response.IsRedirect()) {
      remote.url = ResolveUrl(request.url, response.Header("location"));
      if (linked.empty()) {  // the model has another name now, or the file another address
        request.url = remote.url;
        request.token = Request(request.url).token;
        continue;
      }
    } else if (response.status != 200) {
      return StatusOfAnswer(name_, settings_, file, response);
    }
    remote.etag = NormalEtag(linked.empty() ? response.Header("etag") : linked);
    if (!IsFileName(remote.etag)) {
      return InvalidArgument(name_.text, ": ", file, ": expected an ETag from ", settings_.endpoint,
                             ", found ", remote.etag.empty() ? "none" : remote.etag);
    }
    std::string size = response.Header("x-linked-size");
    if (size.empty() && !response.IsRedirect()) size = response.Header("content-length");
    if (!absl::SimpleAtoi(size, &remote.size) || remote.size < 0) remote.size = -1;
    return remote;
  }
  return InvalidArgument(name_.text, ": ", file, ": expected at most ", kMaxRedirects,
                         " redirects, found more");
}

absl::Status Downloader::TransferOnce(const Remote& remote, const std::string& phase,
                                      const std::string& path) {
  const auto from = static_cast<uint64_t>(SizeOf(path));
  HttpRequest request = Request(remote.url);
  request.from = from;
  Appender out(path);
  auto have = static_cast<double>(from);
  request.begin = [&](int status) {
    if (status == 206 || from == 0) return absl::OkStatus();
    have = 0;  // the server does not do parts: from the beginning
    return out.Clear();
  };
  request.sink = [&](absl::string_view piece) {
    have += static_cast<double>(piece.size());
    if (remote.size >= 0 && have > static_cast<double>(remote.size)) {
      return InvalidArgument(name_.text, ": ", phase, ": expected ", remote.size,
                             " bytes, found more");
    }
    if (callbacks_.progress && remote.size > 0) {
      callbacks_.progress(phase, have / static_cast<double>(remote.size));
    }
    return out.Write(piece);
  };
  NINFER_RETURN_IF_ERROR(out.opened());
  NINFER_ASSIGN_OR_RETURN(const HttpResponse response, SendFollowing(std::move(request)));
  if (response.status == 416) {  // what is here is not a beginning of it
    NINFER_RETURN_IF_ERROR(out.Clear());
    return absl::UnavailableError("a part was refused");
  }
  if (response.status / 100 == 4 && !SameOrigin(remote.url, settings_.endpoint)) {
    // Addresses of the hub's other hosts are signed, and live for some time only.
    return absl::UnavailableError(absl::StrCat("found status ", response.status, " there"));
  }
  if (response.status != 200 && response.status != 206) {
    return StatusOfAnswer(name_, settings_, phase, response);
  }
  return absl::OkStatus();
}

absl::Status Downloader::Transfer(Remote remote, const std::string& commit, const std::string& file,
                                  const std::string& phase, const std::string& path) {
  useconds_t wait = kFirstWait;
  int tries = 0;
  while (remote.size < 0 || SizeOf(path) < remote.size || !FileExists(path)) {
    const int64_t before = SizeOf(path);
    absl::Status status = TransferOnce(remote, phase, path);
    if (status.ok() && (remote.size < 0 || SizeOf(path) == remote.size)) break;
    if (status.ok()) status = absl::UnavailableError("the transfer broke off");
    if (Cancelled()) return absl::CancelledError("interrupted");
    if (!MayComeBack(status)) return status;
    if (SizeOf(path) > before) {
      tries = 0;
      wait = kFirstWait;
    }
    if (++tries >= kMaxTries) {
      return absl::UnavailableError(absl::StrCat(
          name_.text, ": ", file, ": expected ",
          remote.size < 0 ? "all" : absl::StrCat(remote.size), " bytes, found ", SizeOf(path), ": ",
          status.message(), "; they are kept, and the next run goes on from there"));
    }
    usleep(wait);
    wait *= 2;
    const absl::StatusOr<Remote> again = Head(commit, file);
    if (again.ok() && again->etag == remote.etag) remote.url = again->url;
  }
  return absl::OkStatus();
}

absl::Status Downloader::CheckBlob(const Remote& remote, const std::string& file,
                                   const std::string& path) {
  absl::Status status;
  if (remote.size >= 0 && SizeOf(path) != remote.size) {
    status = InvalidArgument(name_.text, ": ", file, ": expected ", remote.size, " bytes, found ",
                             SizeOf(path));
  } else if (IsDigest(remote.etag)) {
    NINFER_ASSIGN_OR_RETURN(const std::string found,
                            FileDigest(path, remote.etag, callbacks_.cancelled));
    if (found != remote.etag) {
      status = InvalidArgument(name_.text, ": ", file, ": expected bytes with hash ", remote.etag,
                               ", found ", found, "; they were thrown away");
    }
  }
  if (!status.ok()) unlink(path.c_str());
  return status;
}

absl::Status Downloader::Fetch(const std::string& commit, const std::string& file,
                               const std::string& phase) {
  if (cache_.Has(commit, file)) return absl::OkStatus();
  NINFER_ASSIGN_OR_RETURN(const Remote remote, Head(commit, file));
  const std::string blob = cache_.Blob(remote.etag);
  NINFER_RETURN_IF_ERROR(MakeFoldersAbove(blob));
  NINFER_ASSIGN_OR_RETURN(const RepositoryCache::Lock lock,
                          cache_.LockBlob(remote.etag, callbacks_.cancelled));
  if (!FileExists(blob)) {
    const std::string incomplete = blob + ".incomplete";
    if (remote.size >= 0 && SizeOf(incomplete) > remote.size) unlink(incomplete.c_str());
    NINFER_RETURN_IF_ERROR(Transfer(remote, commit, file, phase, incomplete));
    NINFER_RETURN_IF_ERROR(CheckBlob(remote, file, incomplete));
    if (rename(incomplete.c_str(), blob.c_str()) != 0) {
      return InvalidArgument(blob, ": cannot make it: ", strerror(errno));
    }
  }
  return cache_.Link(commit, file, remote.etag);
}

}  // namespace ninfer::hub
