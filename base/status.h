// Errors. absl::Status is for what a user can cause; its message is one line that names the file,
// the tensor or node, what was expected and what was found. NINFER_CHECK is for what cannot happen.
// Tested by tests/base_test.cc.
#ifndef NINFER_BASE_STATUS_H_
#define NINFER_BASE_STATUS_H_

#include <sstream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace ninfer {

// User errors: `InvalidArgument("config.json: ", key, ": expected a number, found ", found)`.
template <typename... Args>
absl::Status InvalidArgument(const Args&... args) {
  return absl::InvalidArgumentError(absl::StrCat(args...));
}

// Prefixes the message of a failed status with "context: "; passes OK through.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

namespace internal {

// Collects the message of a failed check and ends the process when it goes out of scope.
class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition);
  [[noreturn]] ~CheckFailure();
  std::ostream& stream() { return stream_; }

 private:
  std::ostringstream stream_;
};

struct Voidify {
  void operator&(std::ostream&) {}
};

}  // namespace internal
}  // namespace ninfer

#define NINFER_CHECK(condition)                 \
  (condition) ? (void)0                         \
              : ::ninfer::internal::Voidify() & \
                    ::ninfer::internal::CheckFailure(__FILE__, __LINE__, #condition).stream()

#define NINFER_CONCAT_INNER(a, b) a##b
#define NINFER_CONCAT(a, b) NINFER_CONCAT_INNER(a, b)

#define NINFER_RETURN_IF_ERROR(expr)                 \
  do {                                               \
    absl::Status ninfer_status_ = (expr);            \
    if (!ninfer_status_.ok()) return ninfer_status_; \
  } while (false)

#define NINFER_ASSIGN_OR_RETURN_IMPL(var, lhs, expr) \
  auto var = (expr);                                 \
  if (!var.ok()) return std::move(var).status();     \
  lhs = std::move(var).value()

#define NINFER_ASSIGN_OR_RETURN(lhs, expr) \
  NINFER_ASSIGN_OR_RETURN_IMPL(NINFER_CONCAT(ninfer_or_, __LINE__), lhs, expr)

#endif  // NINFER_BASE_STATUS_H_
