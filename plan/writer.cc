#include "plan/writer.h"

#include <utility>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "plan/blocks.h"
#include "plan/container.h"
#include "plan/sections.h"

namespace ninfer::plan {
namespace {

struct Serialized {
  Container container;
  std::vector<std::string> sections;  // one for each row; the weights' data is empty here
};

void AddSection(const SectionInfo& info, std::string bytes, Serialized* result) {
  SectionRow row;
  row.type = static_cast<uint32_t>(info.section);
  row.version = info.version;
  row.flags = info.must_understand ? kMustUnderstand : 0;
  row.size = bytes.size();
  row.checksum = Hash64(bytes);
  result->container.rows.push_back(row);
  result->sections.push_back(std::move(bytes));
}

// With weights, the checksums' section and a row for the data, whose checksum is that of the list.
Serialized Serialize(const Contents& contents, bool with_weights) {
  Serialized result;
  for (const SectionInfo& info : ListSections()) {
    if (info.section == Section::kWeightData) {
      if (!with_weights) continue;
      const uint64_t checksum = result.container.rows.back().checksum;
      AddSection(info, "", &result);
      result.container.rows.back().size = contents.plan.weight_bytes;
      result.container.rows.back().checksum = checksum;
    } else if (info.section != Section::kWeightChecksums || with_weights) {
      AddSection(info, EncodeSection(info.section, contents), &result);
    }
  }
  LayOut(&result.container);
  return result;
}

// Contents by reference would have to copy a plan; a plan is megabytes of text and code at most.
Contents MakeContents(const Plan& plan) {
  Contents contents;
  contents.plan = plan;
  return contents;
}

}  // namespace

std::string SerializeSections(const Plan& plan) {
  const Serialized serialized = Serialize(MakeContents(plan), /*with_weights=*/false);
  std::string bytes = SerializeContainer(serialized.container);
  for (size_t i = 0; i < serialized.sections.size(); ++i) {
    bytes.resize(serialized.container.rows[i].offset);
    bytes += serialized.sections[i];
  }
  return bytes;
}

absl::Status WritePlan(const Plan& plan, const uint8_t* weights, const std::string& path,
                       int threads) {
  Contents contents = MakeContents(plan);
  contents.weight_checksums.block_bytes = kChecksumBlock;
  std::vector<uint64_t>& checksums = contents.weight_checksums.checksums;
  checksums.resize((plan.weight_bytes + kChecksumBlock - 1) / kChecksumBlock);
  ForEachBlock(plan.weight_bytes, kChecksumBlock, threads,
               [&](uint64_t block, uint64_t offset, uint64_t size) {
                 checksums[block] = Hash64(weights + offset, size);
                 return true;
               });
  const Serialized serialized = Serialize(contents, /*with_weights=*/true);
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  const std::string header = SerializeContainer(serialized.container);
  NINFER_RETURN_IF_ERROR(file->Append(header.data(), header.size()));
  for (size_t i = 0; i < serialized.sections.size(); ++i) {
    const SectionRow& row = serialized.container.rows[i];
    NINFER_RETURN_IF_ERROR(file->PadTo(row.offset));
    const bool is_weights = row.type == static_cast<uint32_t>(Section::kWeightData);
    const void* data =
        is_weights ? static_cast<const void*>(weights) : serialized.sections[i].data();
    NINFER_RETURN_IF_ERROR(file->Append(data, row.size));
  }
  return file->Commit();
}

}  // namespace ninfer::plan
