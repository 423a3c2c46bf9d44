// The older files of byte-level BPE: a JSON object of pieces and ids, and a list of merges, one a
// line.
// Tested by tests/text_json_test.cc.
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "text/tokenizer_json.h"

namespace ninfer {

absl::Status ReadVocabulary(absl::string_view text, absl::string_view name, SpecBuilder* builder) {
  NINFER_ASSIGN_OR_RETURN(const Json json, ParseJsonObject(text, name));
  for (const auto& [piece, id] : json.items()) {
    if (!id.is_number_integer() || (id.is_number_unsigned() && id.get<uint64_t>() > INT64_MAX)) {
      return WrongType(absl::StrCat(name, ": '", piece, "'"), "a whole number", &id);
    }
    NINFER_RETURN_IF_ERROR(Annotate(builder->AddPiece(piece, id.get<int64_t>()), name));
  }
  return absl::OkStatus();
}

absl::Status ReadMerges(absl::string_view text, absl::string_view name, SpecBuilder* builder) {
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || line.substr(0, 8) == "#version") continue;
    const size_t blank = line.find(' ');
    if (blank == absl::string_view::npos || line.find(' ', blank + 1) != absl::string_view::npos) {
      return InvalidArgument(name, ": line ", number, ": expected two pieces and a blank, found '",
                             line, "'");
    }
    NINFER_RETURN_IF_ERROR(
        Annotate(builder->AddMerge(line.substr(0, blank), line.substr(blank + 1)),
                 absl::StrCat(name, ": line ", number)));
  }
  return absl::OkStatus();
}

}  // namespace ninfer
