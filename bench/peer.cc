// Tested by tests/bench_peer_test.cc.
#include "bench/peer.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/file.h"
#include "base/status.h"
#include "bench/machine.h"

namespace ninfer::bench {
namespace {

using Json = nlohmann::json;

constexpr size_t kMostAnswerBytes = size_t{1} << 24;

}  // namespace

absl::StatusOr<std::unique_ptr<Peer>> Peer::Start(const std::string& name,
                                                  const std::vector<std::string>& command) {
  if (access(command[0].c_str(), X_OK) != 0) {
    return InvalidArgument(name, ": ", command[0],
                           ": expected a program, found: ", strerror(errno));
  }
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    return absl::InternalError(absl::StrCat(name, ": socketpair: ", strerror(errno)));
  }
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t process = fork();
  if (process == 0) {  // from here on nothing but system calls: other threads may have held locks
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // stopped as it may be
    if (dup2(sockets[1], 0) == 0 && dup2(sockets[1], 1) == 1) execv(arguments[0], arguments.data());
    _exit(127);
  }
  close(sockets[1]);
  if (process < 0) {
    close(sockets[0]);
    return absl::InternalError(absl::StrCat(name, ": fork: ", strerror(errno)));
  }
  return std::unique_ptr<Peer>(new Peer(name, process, sockets[0]));
}

Peer::~Peer() {
  close(socket_);  // the end of its input ends it
  kill(process_, SIGCONT);
  for (int i = 0; i < 100; ++i) {
    if (waitpid(process_, nullptr, WNOHANG) == process_) return;
    usleep(20000);
  }
  kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
}

absl::StatusOr<std::string> Peer::ReadLine(double seconds) {
  const double end = Seconds() + seconds;
  while (true) {
    const size_t newline = received_.find('\n');
    if (newline != std::string::npos) {
      std::string line = received_.substr(0, newline);
      received_.erase(0, newline + 1);
      return line;
    }
    if (received_.size() > kMostAnswerBytes) {
      return InvalidArgument(name_, ": expected an answer of ", kMostAnswerBytes, " bytes at most");
    }
    pollfd descriptor = {socket_, POLLIN, 0};
    const double left = end - Seconds();
    const int ready = left > 0 ? poll(&descriptor, 1, static_cast<int>(left * 1000) + 1) : 0;
    if (ready < 0 && errno == EINTR) return absl::CancelledError("interrupted");
    if (ready < 0) return absl::InternalError(absl::StrCat(name_, ": poll: ", strerror(errno)));
    if (ready == 0) {
      return InvalidArgument(name_, ": expected an answer within ", seconds, " s, found none");
    }
    char buffer[4096];
    const ssize_t count = recv(socket_, buffer, sizeof(buffer), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return InvalidArgument(name_, ": expected an answer, found that it has ended");
    received_.append(buffer, static_cast<size_t>(count));
  }
}

absl::StatusOr<Json> Peer::Ask(const Json& request, double seconds) {
  kill(process_, SIGCONT);
  const std::string line = request.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t count = send(socket_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return InvalidArgument(name_, ": expected a listener, found that it has ended");
    sent += static_cast<size_t>(count);
  }
  const absl::StatusOr<std::string> text = ReadLine(seconds);
  if (!text.ok()) {  // what comes later would be taken for the next question's answer
    kill(process_, SIGKILL);
    shutdown(socket_, SHUT_RDWR);
    return text.status();
  }
  kill(process_, SIGSTOP);
  Json answer = Json::parse(*text, nullptr, false);
  if (!answer.is_object()) return InvalidArgument(name_, ": expected a JSON object, found ", *text);
  const auto error = answer.find("error");
  if (error != answer.end()) {
    return InvalidArgument(name_, ": ", error->is_string() ? error->get<std::string>() : "failed");
  }
  return answer;
}

absl::StatusOr<double> Peer::Number(const Json& answer, const char* key) const {
  const auto found = answer.find(key);
  if (found == answer.end() || !found->is_number()) {
    return InvalidArgument(name_, ": expected a number \"", key, "\" in its answer");
  }
  return found->get<double>();
}

}  // namespace ninfer::bench
