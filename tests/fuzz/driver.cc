// A main() for fuzz targets (LLVMFuzzerTestOneInput) that any compiler builds: it runs the given
// files and the files of the given folders, then seeded mutations of them, and takes libFuzzer's
// flags of the same names. The same seed makes the same inputs on every machine. Unlike libFuzzer
// it measures no coverage: it keeps a parser honest in every run of the tests; tools/fuzz is the
// place for hours.
//
// A file that ends in .offender is text: lines of `# date: reason`, then the input with C escapes
// (\n, \\, \x00) and its line breaks ignored. Tested by tests/fuzz_driver_test.py.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

// UBSan's own library knows no death callback beside ASan's; an abort reaches the handler below.
extern "C" const char* __ubsan_default_options() { return "abort_on_error=1:print_stacktrace=1"; }

namespace {

struct Options {
  uint64_t runs = 0;
  uint64_t seed = 1;
  uint64_t max_len = 1 << 20;
  uint64_t max_total_time = 0;  // seconds; 0: no limit
  uint64_t timeout = 20;        // seconds for one input
  std::string artifact_prefix;
  std::vector<std::string> paths;
};

// The input that is running, for the handlers below: they may not allocate.
const uint8_t* current_data = nullptr;
size_t current_size = 0;
char artifact_path[1024];

void WriteArtifact() {
  const int fd = open(artifact_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  size_t done = 0;
  while (fd >= 0 && done < current_size) {
    const ssize_t count = write(fd, current_data + done, current_size - done);
    if (count <= 0) break;
    done += static_cast<size_t>(count);
  }
  if (fd >= 0) close(fd);
  const char text[] = "\nfuzz: the input that failed was written to ";
  ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
  ignored = write(STDERR_FILENO, artifact_path, strlen(artifact_path));
  ignored = write(STDERR_FILENO, "\n", 1);
  (void)ignored;
}

void OnSignal(int number) {
  if (number == SIGALRM) {
    const char text[] = "\nfuzz: one input ran past -timeout\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)ignored;
  }
  WriteArtifact();
  signal(number, SIG_DFL);
  raise(number);
}

void InstallHandlers() {
  static uint8_t stack[1 << 16];  // a stack of its own: the fault may be a stack that ran over
  stack_t alternate = {};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof(stack);
  sigaltstack(&alternate, nullptr);
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_ONSTACK;
  const bool sanitised = __sanitizer_set_death_callback != nullptr;
  if (sanitised) __sanitizer_set_death_callback(WriteArtifact);
  for (int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    if (!sanitised) sigaction(number, &action, nullptr);
  }
  sigaction(SIGABRT, &action, nullptr);
  sigaction(SIGALRM, &action, nullptr);
  if (!sanitised) {  // a lying length must not become an allocation; sanitisers map terabytes of
                     // their own
    const rlimit limit = {uint64_t{4} << 30, uint64_t{4} << 30};
    setrlimit(RLIMIT_AS, &limit);
  }
}

class Xorshift {
 public:
  explicit Xorshift(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du) {
    if (state_ == 0) state_ = 1;
    for (int i = 0; i < 8; ++i) Next();
  }
  uint64_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ * 0x2545f4914f6cdd1du;
  }
  uint64_t Below(uint64_t bound) { return bound == 0 ? 0 : (Next() >> 11) % bound; }

 private:
  uint64_t state_;
};

using Bytes = std::vector<uint8_t>;

// Values at the edges of their types, as text and as bytes.
constexpr const char* kTexts[] = {
    "-1",
    "0",
    "9223372036854775807",
    "18446744073709551615",
    "4294967296",
    "1e999",
    "null",
    "[]",
    "{}",
    "\"\"",
    "\\u0000",
    "\\ud800",
    "[[[[",
    "\xff",
};
constexpr uint64_t kNumbers[] = {
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fffffff,
    0x80000000,
    0xffffffff,
    0x100000000,
    uint64_t{1} << 63,
    ~uint64_t{0},
    ~uint64_t{7},
};

void Insert(Bytes& bytes, uint64_t at, const void* data, uint64_t size) {
  const auto* begin = static_cast<const uint8_t*>(data);
  bytes.insert(bytes.begin() + static_cast<int64_t>(at), begin, begin + size);
}

void Overwrite(Bytes& bytes, uint64_t at, const void* data, uint64_t size) {
  if (at < bytes.size()) std::memcpy(&bytes[at], data, std::min<uint64_t>(size, bytes.size() - at));
}

// Mutations favour the first part of an input: that is where headers are.
uint64_t Position(Xorshift& random, uint64_t size) {
  return random.Below(4) == 0 ? random.Below(size) : random.Below(std::min<uint64_t>(size, 512));
}

void MutateOnce(Bytes& bytes, const std::vector<Bytes>& corpus, Xorshift& random) {
  const uint64_t size = bytes.size();
  const uint64_t at = Position(random, size);
  const uint64_t length = std::min<uint64_t>(1 + random.Below(32), size - at);
  switch (random.Below(9)) {
    case 0:  // flip a bit
      if (size > 0) bytes[at] ^= static_cast<uint8_t>(1u << random.Below(8));
      return;
    case 1:  // set a byte
      if (size > 0) bytes[at] = static_cast<uint8_t>(random.Next());
      return;
    case 2:  // remove a stretch
      bytes.erase(bytes.begin() + static_cast<int64_t>(at),
                  bytes.begin() + static_cast<int64_t>(at + length));
      return;
    case 3: {  // repeat a stretch
      const Bytes copy(bytes.begin() + static_cast<int64_t>(at),
                       bytes.begin() + static_cast<int64_t>(at + length));
      Insert(bytes, at, copy.data(), copy.size());
      return;
    }
    case 4: {  // an edge value as bytes
      const uint64_t value = kNumbers[random.Below(std::size(kNumbers))];
      Overwrite(bytes, at, &value, uint64_t{1} << random.Below(4));
      return;
    }
    case 5: {  // an edge value as text
      const char* text = kTexts[random.Below(std::size(kTexts))];
      if (random.Below(2) == 0) {
        Insert(bytes, at, text, strlen(text));
      } else {
        Overwrite(bytes, at, text, strlen(text));
      }
      return;
    }
    case 6:  // cut
      bytes.resize(random.Below(size + 1));
      return;
    case 7: {  // the end of another input
      const Bytes& other = corpus[random.Below(corpus.size())];
      const uint64_t from = random.Below(other.size() + 1);
      bytes.resize(at);
      Insert(bytes, at, other.data() + from, other.size() - from);
      return;
    }
    default: {  // a digit where a digit was
      for (uint64_t i = at; i < size; ++i) {
        if (bytes[i] >= '0' && bytes[i] <= '9') {
          bytes[i] = static_cast<uint8_t>('0' + random.Below(10));
          return;
        }
      }
    }
  }
}

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "fuzz: %s\n", message.c_str());
  std::exit(2);
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Bytes DecodeOffender(const std::string& path, const std::string& text) {
  size_t i = 0;
  int reasons = 0;
  while (i < text.size() && text[i] == '#') {
    const size_t end = std::min(text.find('\n', i), text.size());
    const std::string line = text.substr(i, end - i);
    // "# 2025-01-31: reason"
    if (line.size() > 14 && line[6] == '-' && line[9] == '-' && line[12] == ':') ++reasons;
    i = end + 1;
  }
  if (reasons == 0)
    Fail(path + ": expected a first line of `# year-month-day: reason`, found none");
  Bytes bytes;
  for (; i < text.size(); ++i) {
    if (text[i] == '\n') continue;
    if (text[i] != '\\') {
      bytes.push_back(static_cast<uint8_t>(text[i]));
      continue;
    }
    const char kind = ++i < text.size() ? text[i] : '?';
    if (kind == 'n' || kind == '\\') {
      bytes.push_back(kind == 'n' ? '\n' : '\\');
    } else if (kind == 'x' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 &&
               HexDigit(text[i + 2]) >= 0) {
      bytes.push_back(static_cast<uint8_t>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2])));
      i += 2;
    } else {
      Fail(path + ": expected \\n, \\\\ or \\x and two digits, found \\" + kind);
    }
  }
  return bytes;
}

Bytes ReadSeed(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file && !file.eof()) Fail(path + ": cannot read");
  if (path.ends_with(".offender")) return DecodeOffender(path, text);
  return Bytes(text.begin(), text.end());
}

// The files named and the files in the folders named, in the order of their names.
std::vector<std::string> ListSeeds(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    std::vector<std::string> inside;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
      if (entry.is_regular_file()) inside.push_back(entry.path().string());
    }
    std::sort(inside.begin(), inside.end());
    files.insert(files.end(), inside.begin(), inside.end());
  }
  return files;
}

void RunOne(const Options& options, const Bytes& bytes, const std::string& name) {
  // A copy of exactly the input's size, so that a read past its end is a read past an allocation.
  uint8_t* data = static_cast<uint8_t*>(std::malloc(std::max<size_t>(bytes.size(), 1)));
  if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
  current_data = data;
  current_size = bytes.size();
  std::snprintf(artifact_path, sizeof(artifact_path), "%scrash-%s", options.artifact_prefix.c_str(),
                name.c_str());
  alarm(static_cast<unsigned>(options.timeout));
  LLVMFuzzerTestOneInput(data, bytes.size());
  alarm(0);
  std::free(data);
}

Options ParseFlags(int argc, char** argv) {
  Options options;
  const struct {
    const char* name;
    uint64_t* value;
  } numbers[] = {{"-runs=", &options.runs},
                 {"-seed=", &options.seed},
                 {"-max_len=", &options.max_len},
                 {"-max_total_time=", &options.max_total_time},
                 {"-timeout=", &options.timeout}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.empty() || argument[0] != '-') {
      options.paths.push_back(argument);
      continue;
    }
    bool known = false;
    for (const auto& number : numbers) {
      if (!argument.starts_with(number.name)) continue;
      const std::string value = argument.substr(strlen(number.name));
      if (value.empty() || value.find_first_not_of("0123456789") != std::string::npos) {
        Fail(argument + ": expected a number");
      }
      *number.value = std::strtoull(value.c_str(), nullptr, 10);
      known = true;
    }
    if (argument.starts_with("-artifact_prefix=")) {
      options.artifact_prefix = argument.substr(strlen("-artifact_prefix="));
      known = true;
    }
    if (!known) Fail(argument + ": unknown flag");
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  Options options = ParseFlags(argc, argv);
  // A folder of offenders need not exist; a file that was named must.
  std::erase_if(options.paths, [](const std::string& path) {
    return path.find("/offenders/") != std::string::npos && !std::filesystem::exists(path);
  });
  for (const std::string& path : options.paths) {
    if (!std::filesystem::exists(path)) Fail(path + ": not found");
  }
  InstallHandlers();

  std::vector<Bytes> corpus;
  for (const std::string& path : ListSeeds(options.paths)) {
    Bytes bytes = ReadSeed(path);
    if (bytes.size() > options.max_len) bytes.resize(options.max_len);
    RunOne(options, bytes, std::filesystem::path(path).filename().string());
    corpus.push_back(std::move(bytes));
  }
  const size_t seeds = corpus.size();
  if (corpus.empty()) corpus.emplace_back();

  const auto start = std::chrono::steady_clock::now();
  uint64_t run = 0;
  const bool timed = options.max_total_time > 0;
  for (; options.runs > 0 ? run < options.runs : timed; ++run) {
    if (timed &&
        std::chrono::steady_clock::now() - start >= std::chrono::seconds(options.max_total_time)) {
      break;
    }
    Xorshift random(options.seed * 0x100000001b3u + run);  // each run stands alone
    Bytes bytes = corpus[random.Below(corpus.size())];
    for (uint64_t left = 1 + random.Below(5); left > 0; --left) MutateOnce(bytes, corpus, random);
    if (bytes.size() > options.max_len) bytes.resize(options.max_len);
    RunOne(options, bytes, "seed" + std::to_string(options.seed) + "-run" + std::to_string(run));
  }
  std::printf("%zu seeds and %llu mutations passed\n", seeds, static_cast<unsigned long long>(run));
  return 0;
}
