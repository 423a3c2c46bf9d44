// Fuzzes the plan reader. The first byte of an input chooses: the bytes as they are; the bytes with
// checksums made right, so that what lies behind them is reached; the bytes as one section; or the
// bytes as edits of an example, with checksums made right.
#include <cstdint>
#include <string>

#include "base/file.h"
#include "base/hash.h"
#include "plan/codec.h"
#include "plan/container.h"
#include "plan/reader.h"
#include "plan/sections.h"
#include "plan/validate.h"
#include "plan/writer.h"
#include "tests/plan_example.h"

namespace {

using ninfer::plan::GetLittleEndian;
using ninfer::plan::PutLittleEndian;

constexpr uint64_t kHeader = ninfer::plan::kHeaderBytes;
constexpr uint64_t kRow = ninfer::plan::kRowBytes;

// Sizes stay as they are; offsets, checksums, digest and file size become what they should be.
std::string Reseal(std::string bytes) {
  if (bytes.size() < kHeader) return bytes;
  ninfer::plan::Container container;
  const uint64_t count = GetLittleEndian(&bytes[24], 4) % 32;
  for (uint64_t i = 0; i < count && kHeader + (i + 1) * kRow <= bytes.size(); ++i) {
    const char* row = &bytes[kHeader + i * kRow];
    container.rows.push_back({static_cast<uint32_t>(GetLittleEndian(row, 4)),
                              static_cast<uint16_t>(GetLittleEndian(row + 4, 2)),
                              static_cast<uint16_t>(GetLittleEndian(row + 6, 2)), 0,
                              GetLittleEndian(row + 16, 8) % (bytes.size() + 1), 0});
  }
  LayOut(&container);
  if (container.file_size > 1 << 22) return bytes;
  bytes.resize(container.file_size);
  for (ninfer::plan::SectionRow& row : container.rows) {
    row.checksum = ninfer::Hash64(&bytes[row.offset], row.size);
  }
  LayOut(&container);
  const std::string header = SerializeContainer(container);
  return header + bytes.substr(header.size());
}

void Parse(const std::string& bytes) {
  const absl::StatusOr<ninfer::plan::Plan> plan = ninfer::plan::ParseSections(bytes, "fuzz");
  // What was accepted can be written again, and is then accepted again.
  if (plan.ok() && !ninfer::plan::ParseSections(SerializeSections(*plan), "again").ok()) {
    __builtin_trap();
  }
}

// `bytes` with a few edits from the input: the first byte says how many, then three bytes are one
// edit, a place and what to put there.
std::string Edit(std::string bytes, const std::string& edits) {
  const size_t end = 1 + 3 * (edits.empty() ? 0 : static_cast<uint8_t>(edits[0]) % 8);
  for (size_t i = 1; i < end && i + 3 <= edits.size() && !bytes.empty(); i += 3) {
    bytes[GetLittleEndian(&edits[i], 2) % bytes.size()] = edits[i + 2];
  }
  return bytes;
}

void DecodeOne(ninfer::plan::Section section, const std::string& bytes) {
  ninfer::plan::Contents contents;
  const int version = ninfer::plan::FindSection(static_cast<uint32_t>(section))->version;
  if (DecodeSection(section, version, bytes, "fuzz", &contents, nullptr).ok()) {
    Validate(contents.plan, "fuzz").IgnoreError();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto& example = *new ninfer::plan::Contents{ninfer::plan::ExamplePlan(), {}};
  static const auto& that_sees = *new ninfer::plan::Contents{
      ninfer::plan::ExamplePlanThatSees(), SerializeSections(ninfer::plan::ExamplePlan())};
  static const auto& for_cards =
      *new ninfer::plan::Contents{ninfer::plan::ExamplePlanForCards(), {}};
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  Parse(bytes);
  Parse(Reseal(bytes));
  Parse(Reseal(Edit(SerializeSections(example.plan), bytes)));
  Parse(Reseal(Edit(SerializeSections(that_sees.plan), bytes)));
  Parse(Reseal(Edit(SerializeSections(for_cards.plan), bytes)));
  for (const ninfer::plan::SectionInfo& info : ninfer::plan::ListSections()) {
    if (info.section == ninfer::plan::Section::kWeightData) continue;
    DecodeOne(info.section, bytes);
    const bool cards = info.section == ninfer::plan::Section::kCards;
    DecodeOne(info.section,
              Edit(EncodeSection(info.section, cards ? for_cards : that_sees), bytes));
  }
  return 0;
}
