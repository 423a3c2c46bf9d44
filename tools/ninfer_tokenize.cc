// ninfer-tokenize: text to token ids and back with the tokenizer of a model folder or a plan, and a
// hash over the ids of a corpus to compare with other programs. Tested by tests/tokenize_test.py.
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "plan/reader.h"
#include "text/tokenizer.h"
#include "tools/common/program.h"

namespace ninfer::tools {
namespace {

struct Flags {
  std::string model;
  std::optional<std::string> text, decode;
  std::string file, certify;
  bool no_special_tokens = false, plain = false, skip_special = false, json = false;
};

void Print(absl::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

std::string Dump(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Open(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return InvalidArgument(path, ": expected a plan or a model folder, found nothing");
  }
  if (S_ISDIR(info.st_mode)) {
    NINFER_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, Tokenizer::FromFolder(path));
    if (tokenizer == nullptr) {
      return InvalidArgument(path, ": expected the files of a tokenizer, found none");
    }
    return tokenizer;
  }
  plan::ReadOptions options;
  options.verify = false;  // of the weights, which are not used
  options.weights_memory = plan::WeightsMemory::kMap;
  NINFER_ASSIGN_OR_RETURN(const plan::LoadedPlan loaded, plan::ReadPlan(path, options));
  if (loaded.plan.tokenizer.empty()) {
    return InvalidArgument(path, ": expected a plan with a tokenizer, found one without");
  }
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
      Tokenizer::Deserialize(loaded.plan.tokenizer);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), path);
  return tokenizer;
}

absl::StatusOr<std::string> TextOf(const Flags& flags) {
  if (!flags.file.empty()) return ReadFile(flags.file);
  if (flags.text.has_value()) return *flags.text;
  if (isatty(STDIN_FILENO)) {
    return InvalidArgument("expected a text, --file or a piped input, found none");
  }
  constexpr size_t kMost = size_t{1} << 31;  // as of a file
  std::string text;
  char buffer[1 << 16];
  for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), stdin)) > 0;) {
    text.append(buffer, n);
    if (text.size() <= kMost) continue;
    return InvalidArgument("standard input: expected at most ", kMost, " bytes, found more");
  }
  if (std::ferror(stdin)) return InvalidArgument("standard input: cannot read: ", strerror(errno));
  return text;
}

std::vector<int32_t> Encode(const Flags& flags, const Tokenizer& tokenizer,
                            absl::string_view text) {
  return tokenizer.Encode(text, !flags.no_special_tokens, !flags.plain);
}

// Position, id and piece, the piece as JSON writes a string, so that blanks and line ends show.
void PrintTable(const Tokenizer& tokenizer, absl::Span<const int32_t> ids) {
  size_t width = 2;
  for (const int32_t id : ids) width = std::max(width, absl::StrCat(id).size());
  for (size_t i = 0; i < ids.size(); ++i) {
    Print(absl::StrFormat("%*d  %*d  %s%s\n", static_cast<int>(absl::StrCat(ids.size()).size()), i,
                          static_cast<int>(width), ids[i], Dump(tokenizer.IdToPiece(ids[i])),
                          tokenizer.IsSpecial(ids[i]) ? "  special" : ""));
  }
}

absl::Status RunEncode(const Flags& flags, const Tokenizer& tokenizer) {
  NINFER_ASSIGN_OR_RETURN(const std::string text, TextOf(flags));
  const std::vector<int32_t> ids = Encode(flags, tokenizer, text);
  if (!flags.json) {
    PrintTable(tokenizer, ids);
    return absl::OkStatus();
  }
  nlohmann::json pieces = nlohmann::json::array();
  for (const int32_t id : ids) pieces.push_back(tokenizer.IdToPiece(id));
  Print(Dump({{"ids", ids}, {"pieces", pieces}}) + "\n");
  return absl::OkStatus();
}

// Ids between blanks, commas or brackets, so that a printed list can be given back.
absl::Status RunDecode(const Flags& flags, const Tokenizer& tokenizer) {
  std::vector<int32_t> ids;
  for (const absl::string_view word :
       absl::StrSplit(*flags.decode, absl::ByAnyChar(" ,[]\t\n\r"), absl::SkipEmpty())) {
    int32_t id = 0;
    if (!absl::SimpleAtoi(word, &id)) {
      return InvalidArgument("--decode: expected token ids, found '", word, "'");
    }
    if (id < 0 || id >= tokenizer.vocab_size()) {
      return InvalidArgument("--decode: expected ids from 0 to ", tokenizer.vocab_size() - 1,
                             ", found ", id);
    }
    ids.push_back(id);
  }
  const std::string text = tokenizer.Decode(ids, flags.skip_special);
  Print((flags.json ? Dump({{"text", text}}) : text) + "\n");
  return absl::OkStatus();
}

// XXH3 of 128 bits over the ids as little-endian numbers of 32 bits; docs/tokenizers.md has the
// line of Python that computes the same.
absl::Status RunCertify(const Flags& flags, const Tokenizer& tokenizer) {
  NINFER_ASSIGN_OR_RETURN(const std::string text, ReadFile(flags.certify));
  const auto start = std::chrono::steady_clock::now();
  const std::vector<int32_t> ids = Encode(flags, tokenizer, text);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const std::string hash = Hash128Hex(ids.data(), ids.size() * sizeof(ids[0]));
  if (flags.json) {
    Print(Dump({{"hash", hash},
                {"ids", ids.size()},
                {"bytes", text.size()},
                {"seconds", seconds.count()}}) +
          "\n");
  } else {
    Print(absl::StrFormat("%s  %d ids of %d bytes\n", hash, ids.size(), text.size()));
  }
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  const int given = flags.text.has_value() + flags.decode.has_value() + !flags.file.empty() +
                    !flags.certify.empty();
  if (given > 1) {
    return InvalidArgument("expected one of a text, --file, --decode and --certify, found ", given);
  }
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Open(flags.model));
  if (!flags.certify.empty()) return RunCertify(flags, *tokenizer);
  return flags.decode.has_value() ? RunDecode(flags, *tokenizer) : RunEncode(flags, *tokenizer);
}

void AddFlags(CLI::App* app, Flags* flags) {
  app->add_option("model", flags->model, "A model folder or a plan")->required();
  app->add_option("text", flags->text, "The text; else --file, else standard input");
  app->add_option("--file", flags->file, "Encode the text of this file");
  app->add_option("--decode", flags->decode, "Token ids to turn into text");
  app->add_option("--certify", flags->certify,
                  "Print a hash over the ids of this file (docs/tokenizers.md)");
  app->add_flag("--no-special-tokens", flags->no_special_tokens,
                "Leave out what the tokenizer puts around a text (BOS, EOS)");
  app->add_flag("--plain", flags->plain, "Special tokens in the text are ordinary text");
  app->add_flag("--skip-special-tokens", flags->skip_special,
                "Leave special tokens out of --decode");
  app->add_flag("--json", flags->json, "Print JSON");
}

}  // namespace
}  // namespace ninfer::tools

int main(int argc, char** argv) {
  CLI::App app("Turns text into token ids, and back.", "ninfer-tokenize");
  ninfer::tools::Flags flags;
  ninfer::tools::AddFlags(&app, &flags);
  const auto run = [&flags] { return ninfer::tools::Run(flags); };
  return ninfer::tools::RunProgram(app, argc, argv, run, {"--decode"});
}
