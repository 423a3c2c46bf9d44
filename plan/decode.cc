#include "plan/decode.h"

#include <string>
#include <utility>

#include "base/hash.h"
#include "base/status.h"
#include "plan/validate.h"

namespace ninfer::plan {
namespace {

// Bytes between sections are zero, so that every byte of a file means something.
absl::Status CheckPadding(absl::string_view bytes, const Container& container,
                          absl::string_view name) {
  uint64_t end = container.header_bytes();
  for (const SectionRow& row : container.rows) {
    const absl::string_view padding = bytes.substr(end, row.offset - end);
    const size_t other = padding.find_first_not_of('\0');
    if (other != absl::string_view::npos) {
      return InvalidArgument(name, ": byte ", end + other, " between sections: expected 0, found ",
                             static_cast<uint8_t>(padding[other]));
    }
    end = row.offset + row.size;
  }
  return absl::OkStatus();
}

// A section that may be absent is may-skip in sections.def, or belongs to the weights' data.
absl::Status CheckPresence(const Container& container, absl::string_view name) {
  for (const SectionInfo& info : ListSections()) {
    const bool optional = !info.must_understand || info.section == Section::kWeightChecksums ||
                          info.section == Section::kWeightData ||
                          info.section == Section::kVision || info.section == Section::kCards;
    if (!optional && container.Find(static_cast<uint32_t>(info.section)) == nullptr) {
      return InvalidArgument(name, ": section ", info.name, ": expected, found none");
    }
  }
  return absl::OkStatus();
}

// The plan of @vision, which sees nothing itself.
absl::Status DecodeVisionFunction(absl::string_view name, Contents* contents) {
  const std::string context = absl::StrCat(name, ": section vision: function");
  NINFER_ASSIGN_OR_RETURN(
      const Container container,
      ParseContainer(contents->vision_function, contents->vision_function.size(), context));
  if (container.Find(static_cast<uint32_t>(Section::kVision)) != nullptr) {
    return InvalidArgument(context, ": expected no vision of its own, found one");
  }
  NINFER_ASSIGN_OR_RETURN(Contents function,
                          DecodeSections(contents->vision_function, container, context, nullptr));
  if (function.plan.weight_bytes != contents->plan.weight_bytes) {
    return InvalidArgument(context, ": weight bytes: expected ", contents->plan.weight_bytes,
                           ", found ", function.plan.weight_bytes);
  }
  contents->plan.vision->function = std::make_shared<const Plan>(std::move(function.plan));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Contents> DecodeSections(absl::string_view bytes, const Container& container,
                                        absl::string_view name,
                                        std::vector<std::vector<Field>>* fields) {
  NINFER_RETURN_IF_ERROR(CheckPadding(bytes, container, name));
  NINFER_RETURN_IF_ERROR(CheckPresence(container, name));
  Contents contents;
  for (const SectionRow& row : container.rows) {
    const SectionInfo* info = FindSection(row.type);
    if (fields != nullptr) fields->emplace_back();
    if (info != nullptr && info->section == Section::kWeightData) continue;
    const absl::string_view section = bytes.substr(row.offset, row.size);
    const uint64_t checksum = Hash64(section);
    if (checksum != row.checksum) {
      return InvalidArgument(name, ": section ", info != nullptr ? info->name : "of unknown type",
                             ": expected checksum ", row.checksum, ", found ", checksum);
    }
    // A newer form of a section that may be skipped: CheckRow refused the others.
    if (info == nullptr || row.version > info->version) continue;
    NINFER_RETURN_IF_ERROR(DecodeSection(info->section, row.version, section, name, &contents,
                                         fields != nullptr ? &fields->back() : nullptr));
  }
  contents.plan.content_digest = container.content_digest;
  if (!contents.vision_function.empty()) {
    NINFER_RETURN_IF_ERROR(DecodeVisionFunction(name, &contents));
  }
  NINFER_RETURN_IF_ERROR(Validate(contents.plan, name));
  return contents;
}

}  // namespace ninfer::plan
