// HTTP requests by libcurl. Redirects are not followed: who asks decides where a token goes.
// Tested by tests/hub_test.py.
#ifndef NINFER_HUB_HTTP_H_
#define NINFER_HUB_HTTP_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ninfer::hub {

struct HttpRequest {
  std::string url;
  bool head = false;
  std::string token;   // sent as a bearer token; empty for none
  uint64_t from = 0;   // asks for the bytes from here on
  int timeout = 10;    // seconds to connect, and seconds without a byte
  uint64_t limit = 0;  // of a body kept in memory; an error above
  // Takes the body of an answer with status 200 or 206 in pieces, after `begin`; an error ends the
  // request. Without it the body is kept.
  std::function<absl::Status(absl::string_view piece)> sink;
  std::function<absl::Status(int status)> begin;
  std::function<bool()> cancelled;
};

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;

  std::string Header(const std::string& name) const;  // empty without one
  bool IsRedirect() const { return status / 100 == 3 && !Header("location").empty(); }
};

class HttpClient {
 public:
  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // UnavailableError when there was no answer or it broke off; what a sink returned; a
  // CancelledError.
  absl::StatusOr<HttpResponse> Send(const HttpRequest& request);

 private:
  void* curl_;
};

// `location` as a Location header means it in an answer of `base`; empty where it is no address.
std::string ResolveUrl(const std::string& base, const std::string& location);
// Whether both have the same scheme, host and port.
bool SameOrigin(const std::string& a, const std::string& b);
// As one component of a path, where a slash becomes "%2F", or as a path.
std::string EscapeUrl(absl::string_view text, bool keep_slashes = false);

}  // namespace ninfer::hub

#endif  // NINFER_HUB_HTTP_H_
