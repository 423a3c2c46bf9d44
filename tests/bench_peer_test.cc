// The talk with a peer, by a shell in its place.
#include <gtest/gtest.h>

#include "bench/peer.h"

namespace ninfer::bench {
namespace {

using Json = nlohmann::json;

absl::StatusOr<std::unique_ptr<Peer>> Shell(const std::string& script) {
  return Peer::Start("peer", {"/bin/sh", "-c", script});
}

TEST(PeerTest, AnswersALineForALine) {
  auto peer = Shell("while read line; do echo '{\"seconds\": 1.5}'; done");
  ASSERT_TRUE(peer.ok()) << peer.status();
  for (int i = 0; i < 2; ++i) {
    const absl::StatusOr<Json> answer = (*peer)->Ask({{"op", "load"}});
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ((*peer)->Number(*answer, "seconds").value(), 1.5);
    EXPECT_EQ((*peer)->Number(*answer, "ttft").status().message(),
              "peer: expected a number \"ttft\" in its answer");
  }
}

TEST(PeerTest, SeesTheRequest) {
  auto peer = Shell("read line; echo \"$line\"");
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ((*peer)->Ask({{"op", "load"}}).value(), Json({{"op", "load"}}));
}

TEST(PeerTest, AnErrorIsItsOwnMessage) {
  auto peer = Shell("read line; echo '{\"error\": \"no memory\"}'");
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ((*peer)->Ask({{"op", "load"}}).status().message(), "peer: no memory");
}

TEST(PeerTest, RefusesWhatIsNoObject) {
  auto peer = Shell("read line; echo 'hello'");
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ((*peer)->Ask({{"op", "load"}}).status().message(),
            "peer: expected a JSON object, found hello");
}

TEST(PeerTest, NoticesThatItHasEnded) {
  auto peer = Shell("read line; exit 3");
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ((*peer)->Ask({{"op", "load"}}).status().message(),
            "peer: expected an answer, found that it has ended");
}

TEST(PeerTest, WaitsNoLongerThanItIsTold) {
  auto peer = Shell("read line; read another");  // silent until its input ends
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ((*peer)->Ask({{"op", "load"}}, 0.05).status().message(),
            "peer: expected an answer within 0.05 s, found none");
}

TEST(PeerTest, RefusesAProgramThatIsNotThere) {
  EXPECT_EQ(Peer::Start("peer", {"/no/such/program"}).status().message(),
            "peer: /no/such/program: expected a program, found: No such file or directory");
}

TEST(PeerTest, SaysHowToInstallTorch) {
  EXPECT_EQ(Peer::StartTorch("peers-that-are-not-there", "torch").status().message(),
            "--peer=torch: expected PyTorch in peers-that-are-not-there/torch, found none "
            "(bench/peers/install.sh installs it)");
}

}  // namespace
}  // namespace ninfer::bench
