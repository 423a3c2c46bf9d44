// The talk with peers, by shells in their place.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "bench/peer.h"
#include "bench/peer_programs.h"
#include "bench/peer_set.h"

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

TEST(PeerTest, AnAnswerThatComesTooLateIsNotTakenForTheNext) {
  auto peer =
      Shell("read line; sleep 0.2; echo '{\"late\": 1}'; while read line; do echo '{}'; done");
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_FALSE((*peer)->Ask({{"op", "load"}}, 0.05).ok());
  usleep(400000);
  EXPECT_EQ((*peer)->Ask({{"op", "load"}}).status().message(),
            "peer: expected a listener, found that it has ended");
}

TEST(PeerTest, RefusesAProgramThatIsNotThere) {
  EXPECT_EQ(Peer::Start("peer", {"/no/such/program"}).status().message(),
            "peer: /no/such/program: expected a program, found: No such file or directory");
}

// The state of a process as Linux tells it: 'S' sleeps, 'T' is stopped.
char StateOf(int process) {
  std::ifstream file(absl::StrCat("/proc/", process, "/stat"));
  std::string number, name;
  char state = '?';
  file >> number >> name >> state;
  return state;
}

TEST(PeerTest, StandsStillBetweenQuestions) {
  auto peer = Shell("while read line; do echo \"{\\\"process\\\": $$}\"; done");
  ASSERT_TRUE(peer.ok()) << peer.status();
  for (int i = 0; i < 2; ++i) {
    const absl::StatusOr<Json> answer = (*peer)->Ask({{"op", "load"}});
    ASSERT_TRUE(answer.ok()) << answer.status();
    const int process = static_cast<int>((*peer)->Number(*answer, "process").value());
    for (int k = 0; k < 500 && StateOf(process) != 'T'; ++k) usleep(10000);
    EXPECT_EQ(StateOf(process), 'T');
  }
}

// ---- several at once

// Answers to load with `load`, to prefill and decode with `rest`.
std::unique_ptr<Peer> Fake(const std::string& name, const std::string& load,
                           const std::string& rest) {
  auto peer = Peer::Start(name, {"/bin/sh", "-c",
                                 absl::StrCat("while read line; do case $line in *load*) echo '",
                                              load, "';; *) echo '", rest, "';; esac; done")});
  return peer.ok() ? *std::move(peer) : nullptr;
}

constexpr char kLoaded[] =
    R"({"version": "engine 1.2", "weights": "Q4", "activations": "q8", "kv_cache": "f16", "bits": 4.5,)"
    R"( "settings": "pinned"})";
const PeerShape kShape = {"{\"vocab_size\": 7}", "int4", 2, 16, "cache"};
const PeerQuestion kPrefill = {"pp8", true, 8, 0, 1};
const PeerQuestion kBatch = {"tg4 b3", false, 4, 0, 3};

TEST(PeerSetTest, RatesCountTheTokensOfAllTexts) {
  PeerSet set({});
  set.Add(Fake("one", kLoaded, R"({"seconds": 0.5})"));
  set.Add(Fake("two", R"({"compiled": true})", R"({"seconds": 2})"));
  ASSERT_TRUE(set.Load(kShape).ok());
  ASSERT_EQ(set.engines().size(), 3);  // "two" has two forms
  EXPECT_EQ(set.engines()[0].name, "one");
  EXPECT_EQ(set.engines()[0].weights, "Q4");
  EXPECT_EQ(set.engines()[0].bits, 4.5);
  EXPECT_EQ(set.engines()[1].bits, 0);
  EXPECT_EQ(set.engines()[1].name, "two eager");
  EXPECT_EQ(set.engines()[2].name, "two compiled");
  EXPECT_EQ(set.Measure(kPrefill).value(), (std::vector<double>{16, 4, 4}));
  EXPECT_EQ(set.Measure(kBatch).value(), (std::vector<double>{24, 6, 6}));
}

TEST(PeerSetTest, AsksForTheShapeAndTheMeasurement) {
  PeerSet set({});
  auto echo =
      Peer::Start("echo", {"/bin/sh", "-c",
                           "read line; case $line in "
                           "*'\"weights\":\"int4\"'*) echo '{}';; *) exit 1;; esac; "
                           "read line; case $line in "
                           "*'\"batch\":3'*'\"depth\":0'*'\"op\":\"decode\"'*'\"tokens\":4'*) "
                           "echo '{\"seconds\": 1}';; esac"});
  ASSERT_TRUE(echo.ok()) << echo.status();
  set.Add(*std::move(echo));
  ASSERT_TRUE(set.Load(kShape).ok());
  EXPECT_EQ(set.Measure(kBatch).value(), std::vector<double>{12});
}

TEST(PeerSetTest, NotesTellVersionBitsAndTheSettingsThatWereBest) {
  PeerSet set({});
  set.Add(Fake("one", kLoaded, R"({"seconds": 1, "setting": "flash"})"));
  ASSERT_TRUE(set.Load(kShape).ok());
  ASSERT_TRUE(set.Measure(kPrefill).ok());
  ASSERT_TRUE(set.Measure(kBatch).ok());
  EXPECT_EQ(set.Notes(), std::vector<std::string>{
                             "one: engine 1.2, Q4 weights of 4.50 bits overall, pinned; fastest "
                             "with flash (pp8, tg4 b3)."});
}

TEST(PeerSetTest, OneThatFailsLeavesALineAndTheOthersGoOn) {
  PeerSet set({});
  set.AddNote("three: could not be installed");
  set.Add(Fake("one", R"({"error": "no such format"})", "{}"));
  set.Add(Fake("two", "{}", R"({"error": "no such depth"})"));
  set.Add(Fake("four", "{}", R"({"seconds": 1})"));
  ASSERT_TRUE(set.Load(kShape).ok());
  for (int i = 0; i < 2; ++i) {  // a line each, however often
    EXPECT_EQ(set.Measure(kPrefill).value(), (std::vector<double>{0, 8}));
  }
  EXPECT_EQ(set.Notes(), (std::vector<std::string>{"Not measured: three: could not be installed",
                                                   "Not measured: one: no such format",
                                                   "Not measured: two: no such depth (pp8)"}));
}

TEST(PeerSetTest, TheNextModelFindsAllOfThemAgain) {
  PeerSet set({});
  auto once = Peer::Start(
      "once", {"/bin/sh", "-c", "read line; echo '{\"error\": \"no int4\"}'; read line; echo {}"});
  ASSERT_TRUE(once.ok()) << once.status();
  set.Add(*std::move(once));
  ASSERT_TRUE(set.Load(kShape).ok());
  EXPECT_EQ(set.engines().size(), 0);
  ASSERT_TRUE(set.Load(kShape).ok());
  EXPECT_EQ(set.engines().size(), 1);
  EXPECT_EQ(set.Notes(), std::vector<std::string>{});
}

TEST(PeerSetTest, AnInterruptEndsItWithoutALine) {
  bool cancelled = false;
  PeerSet set([&] { return cancelled; });
  set.Add(Fake("one", "{}", R"({"error": "killed"})"));
  ASSERT_TRUE(set.Load(kShape).ok());
  cancelled = true;
  EXPECT_TRUE(absl::IsCancelled(set.Measure(kPrefill).status()));
}

TEST(PeerSetTest, NoTimeAtAllIsNoMeasurement) {
  PeerSet set({});
  set.Add(Fake("one", "{}", R"({"seconds": 0})"));
  ASSERT_TRUE(set.Load(kShape).ok());
  EXPECT_EQ(set.Measure(kPrefill).value(), std::vector<double>{0});
  EXPECT_EQ(set.Notes(), std::vector<std::string>{
                             "Not measured: one: expected more than 0 seconds, found 0 (pp8)"});
}

// ---- which there are

TEST(PeerProgramsTest, AllAreThoseOfPyPI) {
  const auto all = ChoosePeers({"all"}, {});
  ASSERT_TRUE(all.ok()) << all.status();
  std::vector<std::string> names;
  for (const PeerChoice& choice : *all) names.push_back(choice.name);
  EXPECT_EQ(names, PeerNames());
  EXPECT_EQ(names[0], "llama.cpp");
}

TEST(PeerProgramsTest, ASourceTakesThePlaceOfPyPIs) {
  const std::string source = testing::TempDir() + "/llama-source";
  mkdir(source.c_str(), 0755);
  std::ofstream(source + "/CMakeLists.txt") << "project(llama)\n";
  const auto chosen = ChoosePeers({"openvino", "llama.cpp"}, {"llama.cpp=" + source});
  ASSERT_TRUE(chosen.ok()) << chosen.status();
  ASSERT_EQ(chosen->size(), 2);
  EXPECT_EQ((*chosen)[0].name, "llama.cpp");
  EXPECT_EQ((*chosen)[0].source, source);
  EXPECT_EQ((*chosen)[1].name, "openvino");
}

TEST(PeerProgramsTest, RefusesWhatIsUnknown) {
  EXPECT_EQ(ChoosePeers({"jax"}, {}).status().message(),
            "--peers: expected llama.cpp, openvino, onnxruntime, vllm, torch, transformers, found "
            "'jax'");
  EXPECT_EQ(ChoosePeers({}, {"vllm=x"}).status().message(),
            "--peer-source: expected ik=FOLDER or llama.cpp=FOLDER, found 'vllm=x'");
  EXPECT_EQ(ChoosePeers({}, {"ik=/no/such"}).status().message(),
            "--peer-source: expected a source folder with CMakeLists.txt, found '/no/such'");
}

TEST(PeerProgramsTest, SaysWhatInstallsAnEngineThatIsNotThere) {
  const PeerFolders folders = {"scripts-that-are-not-there", "peers-that-are-not-there"};
  EXPECT_FALSE(IsInstalled({"torch", ""}, folders));
  EXPECT_EQ(StartPeer({"transformers", ""}, folders).status().message(),
            "transformers: expected an engine in peers-that-are-not-there/torch, found none "
            "(bench/peers/install.sh installs it)");
  EXPECT_EQ(Install({"torch", ""}, folders).message(),
            "torch: expected scripts-that-are-not-there/install.sh, found none");
}

TEST(PeerProgramsTest, TheInstallersLastLineIsTheError) {
  const std::string scripts = testing::TempDir() + "/it's scripts";  // a quote in the path
  mkdir(scripts.c_str(), 0755);
  std::ofstream(scripts + "/install.sh") << "echo \"$@\"; echo \"no network for $2\" >&2; exit 1\n";
  EXPECT_EQ(Install({"vllm", ""}, {scripts, "folder"}).message(), "no network for vllm");
  std::ofstream(scripts + "/install.sh") << "[ \"$2\" = ik=source ]\n";
  EXPECT_TRUE(Install({"ik", "source"}, {scripts, "folder"}).ok());
}

}  // namespace
}  // namespace ninfer::bench
