// See the header.
// Tested by tests/hub_test.py.
#include "hub/http.h"

#include <curl/curl.h>

#include <mutex>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace ninfer::hub {
namespace {

// One request while libcurl runs it.
struct Transfer {
  const HttpRequest* request;
  HttpResponse response;
  absl::Status status;
  bool begun = false;
};

size_t OnHeader(char* data, size_t size, size_t count, void* context) {
  auto* transfer = static_cast<Transfer*>(context);
  const absl::string_view line(data, size * count);
  const size_t colon = line.find(':');
  if (absl::StartsWith(line, "HTTP/")) {
    transfer->response.headers.clear();  // of an answer before this one ("100 Continue")
  } else if (colon != absl::string_view::npos) {
    transfer->response.headers[absl::AsciiStrToLower(line.substr(0, colon))] =
        std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
  }
  return size * count;
}

size_t OnBody(char* data, size_t size, size_t count, void* context) {
  auto* transfer = static_cast<Transfer*>(context);
  const HttpRequest& request = *transfer->request;
  const absl::string_view piece(data, size * count);
  const auto status = static_cast<int>(transfer->response.status);
  if (!request.sink || (status != 200 && status != 206)) {
    if (transfer->response.body.size() + piece.size() > request.limit) {
      transfer->status =
          InvalidArgument(request.url, ": expected at most ", request.limit, " bytes, found more");
      return 0;
    }
    transfer->response.body.append(piece.data(), piece.size());
    return piece.size();
  }
  if (!transfer->begun && request.begin) transfer->status = request.begin(status);
  transfer->begun = true;
  if (transfer->status.ok()) transfer->status = request.sink(piece);
  return transfer->status.ok() ? piece.size() : 0;
}

int OnProgress(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto* transfer = static_cast<Transfer*>(context);
  if (!transfer->request->cancelled || !transfer->request->cancelled()) return 0;
  transfer->status = absl::CancelledError("interrupted");
  return 1;
}

struct BodyContext {
  Transfer* transfer;
  CURL* curl;
};

// The status is known once the body begins.
size_t OnBodyWithStatus(char* data, size_t size, size_t count, void* context) {
  auto* body = static_cast<BodyContext*>(context);
  long status = 0;
  curl_easy_getinfo(body->curl, CURLINFO_RESPONSE_CODE, &status);
  body->transfer->response.status = static_cast<int>(status);
  return OnBody(data, size, count, body->transfer);
}

std::string UrlPart(CURLU* url, CURLUPart part, unsigned flags) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return "";
  std::string out = text;
  curl_free(text);
  return out;
}

std::string Origin(const std::string& text) {
  CURLU* url = curl_url();
  std::string origin;
  if (curl_url_set(url, CURLUPART_URL, text.c_str(), 0) == CURLUE_OK) {
    origin = absl::StrCat(UrlPart(url, CURLUPART_SCHEME, 0), "://",
                          absl::AsciiStrToLower(UrlPart(url, CURLUPART_HOST, 0)), ":",
                          UrlPart(url, CURLUPART_PORT, CURLU_DEFAULT_PORT));
  }
  curl_url_cleanup(url);
  return origin;
}

}  // namespace

std::string HttpResponse::Header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

HttpClient::HttpClient() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  curl_ = curl_easy_init();
  NINFER_CHECK(curl_ != nullptr) << "libcurl";
}

HttpClient::~HttpClient() { curl_easy_cleanup(static_cast<CURL*>(curl_)); }

absl::StatusOr<HttpResponse> HttpClient::Send(const HttpRequest& request) {
  auto* curl = static_cast<CURL*>(curl_);
  curl_easy_reset(curl);  // the connections stay
  Transfer transfer{&request, {}, absl::OkStatus()};
  BodyContext body{&transfer, curl};
  char error[CURL_ERROR_SIZE] = "";
  curl_slist* headers = curl_slist_append(nullptr, "Accept-Encoding: identity");
  if (!request.token.empty()) {
    headers =
        curl_slist_append(headers, absl::StrCat("Authorization: Bearer ", request.token).c_str());
  }
  const std::string range = absl::StrCat(request.from, "-");
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "ninfer");
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, static_cast<long>(request.timeout));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(request.timeout));
  curl_easy_setopt(curl, CURLOPT_NOBODY, request.head ? 1L : 0L);
  if (request.from > 0) curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBodyWithStatus);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  const CURLcode code = curl_easy_perform(curl);
  curl_slist_free_all(headers);
  NINFER_RETURN_IF_ERROR(transfer.status);
  if (code != CURLE_OK) {
    std::string reason = error[0] != '\0' ? error : curl_easy_strerror(code);
    if (absl::StartsWith(reason, "transfer closed")) reason = "the transfer broke off";
    return absl::UnavailableError(reason);
  }
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  transfer.response.status = static_cast<int>(status);
  return std::move(transfer.response);
}

std::string ResolveUrl(const std::string& base, const std::string& location) {
  CURLU* url = curl_url();
  std::string resolved;
  if (curl_url_set(url, CURLUPART_URL, base.c_str(), 0) == CURLUE_OK &&
      curl_url_set(url, CURLUPART_URL, location.c_str(), 0) == CURLUE_OK) {
    resolved = UrlPart(url, CURLUPART_URL, 0);
  }
  curl_url_cleanup(url);
  return resolved;
}

bool SameOrigin(const std::string& a, const std::string& b) {
  const std::string origin = Origin(a);
  return !origin.empty() && origin == Origin(b);
}

std::string EscapeUrl(absl::string_view text, bool keep_slashes) {
  const absl::string_view kept = keep_slashes ? "-_.~/" : "-_.~";
  std::string out;
  for (char c : text) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains(kept, c)) {
      out.push_back(c);
    } else {
      absl::StrAppendFormat(&out, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace ninfer::hub
