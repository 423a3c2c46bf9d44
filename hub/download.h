// One file from the hub into the cache: what the hub says of it, and its bytes, resumed where an
// earlier download broke off and verified before they get their name.
// Tested by tests/hub_test.py.
#ifndef NINFER_HUB_DOWNLOAD_H_
#define NINFER_HUB_DOWNLOAD_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "hub/cache.h"
#include "hub/http.h"
#include "hub/name.h"
#include "hub/settings.h"

namespace ninfer::hub {

struct Callbacks {
  std::function<void(const std::string& line)> log;
  std::function<void(const std::string& phase, double done_of_one)> progress;
  std::function<bool()> cancelled;
};

// The words for an answer that is not the one asked for. `what` is the file or listing.
absl::Status StatusOfAnswer(const ModelName& name, const Settings& settings,
                            const std::string& what, const HttpResponse& response);

class Downloader {
 public:
  Downloader(const ModelName& name, const Settings& settings, const Callbacks& callbacks)
      : name_(name),
        settings_(settings),
        callbacks_(callbacks),
        cache_(settings.cache, name.repository) {}

  // GET of an address below the endpoint, with redirects on the same host.
  absl::StatusOr<std::string> GetText(const std::string& path, const std::string& what,
                                      uint64_t limit);
  // The file as snapshots/COMMIT/FILE of the cache; `phase` names it on the bar.
  absl::Status Fetch(const std::string& commit, const std::string& file, const std::string& phase);

 private:
  struct Remote {
    std::string url;  // where the bytes are
    std::string etag;
    int64_t size = -1;  // -1: not said
  };

  HttpRequest Request(const std::string& url) const;
  absl::StatusOr<HttpResponse> SendFollowing(HttpRequest request);
  absl::StatusOr<Remote> Head(const std::string& commit, const std::string& file);
  absl::Status Transfer(Remote remote, const std::string& commit, const std::string& file,
                        const std::string& phase, const std::string& path);
  absl::Status TransferOnce(const Remote& remote, const std::string& phase,
                            const std::string& path);
  absl::Status CheckBlob(const Remote& remote, const std::string& file, const std::string& path);
  bool Cancelled() const { return callbacks_.cancelled && callbacks_.cancelled(); }

  ModelName name_;
  Settings settings_;
  Callbacks callbacks_;
  RepositoryCache cache_;
  HttpClient http_;
};

}  // namespace ninfer::hub

#endif  // NINFER_HUB_DOWNLOAD_H_
