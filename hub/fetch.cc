// See the header.
// Tested by tests/hub_test.py.
#include "hub/fetch.h"

#include <set>
#include <vector>

#include "absl/strings/match.h"
#include "base/file.h"
#include "base/status.h"
#include "hub/cache.h"
#include "hub/choose.h"
#include "nlohmann/json.hpp"

namespace ninfer::hub {
namespace {

constexpr uint64_t kMaxListingBytes = uint64_t{1} << 27;
constexpr uint64_t kMaxIndexBytes = uint64_t{1} << 27;

// What the hub says of a revision: its commit, and the files of it.
struct Listing {
  std::string commit;
  std::set<std::string> files;
};

// How the cache says that it has all names of a kind: it marks as absent one that no file has.
std::string MarkOf(const std::string& folder, const std::string& suffix) {
  return JoinPath(folder, absl::StrCat("*", suffix));
}

// Answers from a listing, and keeps what was asked for in vain, and each kind that was asked for.
class ListedNames : public Names {
 public:
  explicit ListedNames(const Listing& listing) : listing_(listing) {}

  bool Has(const std::string& name) override {
    const bool has = listing_.files.count(name) > 0;
    if (!has) absent.insert(name);
    return has;
  }
  std::vector<std::string> Like(const std::string& folder, const std::string& suffix) override {
    kinds.insert(MarkOf(folder, suffix));
    return NamesLike({listing_.files.begin(), listing_.files.end()}, folder, suffix);
  }

  std::set<std::string> absent, kinds;

 private:
  const Listing& listing_;
};

// Answers from a commit in the cache.
class CachedNames : public Names {
 public:
  CachedNames(const RepositoryCache& cache, const std::string& commit)
      : cache_(cache), commit_(commit) {}

  bool Has(const std::string& name) override {
    if (cache_.Has(commit_, name)) return true;
    sure = sure && cache_.IsAbsent(commit_, name);
    return false;
  }
  std::vector<std::string> Like(const std::string& folder, const std::string& suffix) override {
    sure = sure && cache_.IsAbsent(commit_, MarkOf(folder, suffix));
    return NamesLike(cache_.List(commit_, folder), folder, suffix);
  }

  bool sure = true;  // what was not found is known not to exist

 private:
  const RepositoryCache& cache_;
  const std::string& commit_;
};

class Fetcher {
 public:
  Fetcher(const ModelName& name, const Settings& settings, const Callbacks& callbacks)
      : name_(name),
        settings_(settings),
        callbacks_(callbacks),
        cache_(settings.cache, name.repository),
        downloader_(name, settings, callbacks) {}

  absl::StatusOr<std::string> Run() {
    if (settings_.offline) return FromCache("HF_HUB_OFFLINE is set");
    // A commit never changes: what is known of it needs no question.
    if (IsCommit(name_.revision) && IsComplete(name_.revision, /*sure=*/true)) {
      return cache_.Snapshot(name_.revision);
    }
    const absl::StatusOr<Listing> listing = ReadListing();
    if (absl::IsUnavailable(listing.status())) return Unreachable(listing.status());
    NINFER_RETURN_IF_ERROR(listing.status());
    NINFER_RETURN_IF_ERROR(FetchFiles(*listing));
    NINFER_RETURN_IF_ERROR(cache_.WriteReference(name_.revision, listing->commit));
    return cache_.Snapshot(listing->commit);
  }

 private:
  absl::StatusOr<Listing> ReadListing() {
    NINFER_ASSIGN_OR_RETURN(
        const std::string text,
        downloader_.GetText(
            absl::StrCat("/api/models/", name_.repository, "/revision/", EscapeUrl(name_.revision)),
            "the list of files", kMaxListingBytes));
    const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    Listing listing;
    if (json.is_object() && json.contains("sha") && json["sha"].is_string()) {
      listing.commit = json["sha"].get<std::string>();
    }
    if (!IsCommit(listing.commit) || !json.contains("siblings") || !json["siblings"].is_array()) {
      return InvalidArgument(name_.text, ": expected a commit and its files from ",
                             settings_.endpoint, ", found another answer");
    }
    for (const nlohmann::json& file : json["siblings"]) {
      if (file.is_object() && file.contains("rfilename") && file["rfilename"].is_string()) {
        listing.files.insert(file["rfilename"].get<std::string>());
      }
    }
    return listing;
  }

  absl::Status FetchFiles(const Listing& listing) {
    ListedNames names(listing);
    const auto choice = ChooseFiles(names);
    NINFER_RETURN_IF_ERROR(Annotate(choice.status(), name_.text));
    for (const std::string& file : names.absent) {
      NINFER_RETURN_IF_ERROR(cache_.MarkAbsent(listing.commit, file));
    }
    std::vector<std::string> files = choice->files;
    if (!choice->index.empty()) {
      NINFER_RETURN_IF_ERROR(Fetch(listing, choice->index, choice->index));
      NINFER_ASSIGN_OR_RETURN(const std::vector<std::string> shards,
                              ReadShards(listing.commit, choice->index));
      files.insert(files.end(), shards.begin(), shards.end());
    }
    for (size_t i = 0; i < files.size(); ++i) {
      NINFER_RETURN_IF_ERROR(
          Fetch(listing, files[i], absl::StrCat(files[i], " (", i + 1, " of ", files.size(), ")")));
    }
    for (const std::string& kind : names.kinds) {
      NINFER_RETURN_IF_ERROR(cache_.MarkAbsent(listing.commit, kind));
    }
    return absl::OkStatus();
  }

  absl::Status Fetch(const Listing& listing, const std::string& file, const std::string& phase) {
    if (listing.files.count(file) == 0) {
      return InvalidArgument(name_.text, ": expected ", file, ", found no such file");
    }
    const absl::Status status = downloader_.Fetch(listing.commit, file, phase);
    if (!absl::IsUnavailable(status)) return status;
    // Already in the words of a download that broke off, or no answer at all.
    if (absl::StartsWith(status.message(), name_.text)) return status;
    return absl::UnavailableError(absl::StrCat(name_.text, ": ", file, ": expected an answer from ",
                                               settings_.endpoint,
                                               ", found none: ", status.message()));
  }

  absl::StatusOr<std::vector<std::string>> ReadShards(const std::string& commit,
                                                      const std::string& index) {
    const std::string path = cache_.File(commit, index);
    NINFER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxIndexBytes));
    return ShardsOf(path, text);
  }

  // Whether the cache has all that a commit needs. `sure`: what it lacks is known not to exist.
  bool IsComplete(const std::string& commit, bool sure) {
    CachedNames names(cache_, commit);
    const auto choice = ChooseFiles(names);
    if (!choice.ok() || (sure && !names.sure)) return false;
    if (choice->index.empty()) return true;
    const auto shards = ReadShards(commit, choice->index);
    if (!shards.ok()) return false;
    for (const std::string& shard : *shards) {
      if (!cache_.Has(commit, shard)) return false;
    }
    return true;
  }

  absl::StatusOr<std::string> FromCache(const std::string& why) {
    const std::string commit =
        IsCommit(name_.revision) ? name_.revision : cache_.ReadReference(name_.revision);
    if (!commit.empty() && IsComplete(commit, /*sure=*/false)) return cache_.Snapshot(commit);
    return InvalidArgument(name_.text, ": expected a complete copy in ", settings_.cache,
                           ", found ", commit.empty() ? "none" : absl::StrCat("a part of ", commit),
                           "; ", why);
  }

  absl::StatusOr<std::string> Unreachable(const absl::Status& status) {
    const std::string why =
        absl::StartsWith(status.message(), name_.text)
            ? std::string(status.message())
            : absl::StrCat(settings_.endpoint, " cannot be reached: ", status.message());
    NINFER_ASSIGN_OR_RETURN(const std::string folder, FromCache(why));
    if (callbacks_.log) callbacks_.log(absl::StrCat(why, "; taking the copy in ", folder));
    return folder;
  }

  ModelName name_;
  Settings settings_;
  Callbacks callbacks_;
  RepositoryCache cache_;
  Downloader downloader_;
};

}  // namespace

absl::StatusOr<std::string> FetchModel(const std::string& text, const Settings& settings,
                                       const Callbacks& callbacks) {
  NINFER_ASSIGN_OR_RETURN(const ModelName name, ParseModelName(text));
  return Fetcher(name, settings, callbacks).Run();
}

}  // namespace ninfer::hub
