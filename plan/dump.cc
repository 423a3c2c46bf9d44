#include "plan/dump.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "plan/codec.h"
#include "plan/decode.h"

namespace ninfer::plan {
namespace {

// Header and table, read a second time with names: container.cc checks them, this only shows them.
std::vector<Field> HeaderFields(absl::string_view bytes, const Container& container) {
  std::vector<Field> fields;
  uint64_t at = 0;
  const auto number = [&](const std::string& name, int size) {
    const std::string type = absl::StrCat("u", size * 8);
    fields.push_back({at, static_cast<uint64_t>(size), type, name,
                      absl::StrCat(GetLittleEndian(&bytes[at], size))});
    at += size;
  };
  fields.push_back({0, 8, "bytes", "magic", "\"\\x89NINFER\\n\""});
  at = 8;
  number("byte order", 4);
  number("version to read", 2);
  number("version to write", 2);
  number("file size", 8);
  number("section count", 4);
  number("reserved", 4);
  fields.push_back({at, 16, "bytes", "content digest", container.content_digest});
  at += 16;
  number("reserved", 8);
  number("checksum", 8);
  for (size_t i = 0; i < container.rows.size(); ++i) {
    const std::string prefix = absl::StrCat("sections[", i, "].");
    number(prefix + "type", 4);
    number(prefix + "version", 2);
    number(prefix + "flags", 2);
    number(prefix + "offset", 8);
    number(prefix + "size", 8);
    number(prefix + "checksum", 8);
  }
  return fields;
}

void AppendFields(const std::vector<Field>& fields, uint64_t base, std::string* text) {
  for (const Field& field : fields) {
    absl::StrAppendFormat(text, "%8d %6d  %-5s %s = %s\n", base + field.offset, field.size,
                          field.type, field.name, field.value);
  }
}

}  // namespace

absl::StatusOr<PlanDump> DumpPlan(absl::string_view bytes, uint64_t file_size,
                                  absl::string_view name) {
  PlanDump dump;
  NINFER_ASSIGN_OR_RETURN(dump.container, ParseContainer(bytes, file_size, name));
  std::vector<std::vector<Field>> fields;
  NINFER_ASSIGN_OR_RETURN(const Contents contents,
                          DecodeSections(bytes, dump.container, name, &fields));
  dump.header = HeaderFields(bytes, dump.container);
  for (size_t i = 0; i < dump.container.rows.size(); ++i) {
    const SectionRow& row = dump.container.rows[i];
    const SectionInfo* info = FindSection(row.type);
    dump.sections.push_back(
        {row,
         info != nullptr ? std::string(info->name) : absl::StrCat("of unknown type ", row.type),
         std::move(fields[i])});
  }
  return dump;
}

std::string FormatDump(const PlanDump& dump) {
  std::string text = "  offset   size  type  name = value\nheader\n";
  AppendFields(dump.header, 0, &text);
  for (const SectionDump& section : dump.sections) {
    absl::StrAppendFormat(
        &text, "section %s, version %d, %s\n", section.name, section.row.version,
        (section.row.flags & kMustUnderstand) != 0 ? "must be understood" : "may be skipped");
    AppendFields(section.fields, section.row.offset, &text);
    if (section.fields.empty()) {
      absl::StrAppendFormat(&text, "%8d %6d  bytes\n", section.row.offset, section.row.size);
    }
  }
  return text;
}

}  // namespace ninfer::plan
