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

// Three bytes are one edit: a place and what to put there.
std::string EditExample(const std::string& edits) {
  static const std::string& example =
      *new std::string(SerializeSections(ninfer::plan::ExamplePlan()));
  std::string bytes = example;
  for (size_t i = 0; i + 3 <= edits.size(); i += 3) {
    bytes[GetLittleEndian(&edits[i], 2) % bytes.size()] = edits[i + 2];
  }
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const uint8_t choice = data[0] % 20;
  if (choice == 0) {
    Parse(bytes);
  } else if (choice == 1) {
    Parse(Reseal(bytes));
  } else if (choice == 19) {
    Parse(Reseal(EditExample(bytes)));
  } else if (choice - 1 != static_cast<int>(ninfer::plan::Section::kWeightData)) {
    ninfer::plan::Contents contents;
    const auto section = static_cast<ninfer::plan::Section>(choice - 1);
    if (DecodeSection(section, bytes, "fuzz", &contents, nullptr).ok()) {
      Validate(contents.plan, "fuzz").IgnoreError();
    }
  }
  return 0;
}
