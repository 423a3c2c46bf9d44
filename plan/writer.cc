#include "plan/writer.h"

#include <algorithm>
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
    if (info.section == Section::kVision && !contents.plan.vision.has_value()) continue;
    if (info.section == Section::kCards && !contents.plan.cards.has_value()) continue;
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
  if (plan.vision.has_value() && plan.vision->function != nullptr) {
    contents.vision_function = SerializeSections(*plan.vision->function);
  }
  return contents;
}

Serialized SerializeWithWeights(const Plan& plan, const uint8_t* weights, int threads) {
  Contents contents = MakeContents(plan);
  contents.weight_checksums.block_bytes = kChecksumBlock;
  std::vector<uint64_t>& checksums = contents.weight_checksums.checksums;
  checksums.resize((plan.weight_bytes + kChecksumBlock - 1) / kChecksumBlock);
  ForEachBlock(plan.weight_bytes, kChecksumBlock, threads,
               [&](uint64_t block, uint64_t offset, uint64_t size) {
                 checksums[block] = Hash64(weights + offset, size);
                 return true;
               });
  return Serialize(contents, /*with_weights=*/true);
}

// All but the weights' data.
std::string Join(const Serialized& serialized) {
  std::string bytes = SerializeContainer(serialized.container);
  for (size_t i = 0; i < serialized.sections.size(); ++i) {
    bytes.resize(serialized.container.rows[i].offset);
    bytes += serialized.sections[i];
  }
  return bytes;
}

}  // namespace

std::string SerializeSections(const Plan& plan) {
  return Join(Serialize(MakeContents(plan), /*with_weights=*/false));
}

absl::StatusOr<std::unique_ptr<PlanFile>> PlanFile::Create(const std::string& path) {
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  if (!file->nameless()) file = nullptr;
  return std::unique_ptr<PlanFile>(new PlanFile(path, std::move(file)));
}

absl::StatusOr<std::unique_ptr<Memory>> PlanFile::AllocateWeights(uint64_t bytes,
                                                                  uint64_t sections_bytes) {
  if (file_ == nullptr) return Memory::Allocate(bytes, "the packed weights");
  mapped_offset_ = RoundUp(sections_bytes, kWeightAlignment);
  NINFER_RETURN_IF_ERROR(file_->Reserve(mapped_offset_ + bytes));
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<Memory> memory,
                          Memory::MapShared(file_->fd(), mapped_offset_, bytes, path_));
  mapped_ = memory->data();
  return memory;
}

// Block by block, from the side that no block is moved over one that is still to be moved.
absl::Status PlanFile::PutWeights(const uint8_t* weights, uint64_t bytes, uint64_t offset) {
  if (weights != mapped_) return file_->WriteAt(offset, weights, bytes);
  const uint64_t blocks = (bytes + kChecksumBlock - 1) / kChecksumBlock;
  for (uint64_t i = 0; i < blocks && offset != mapped_offset_; ++i) {
    const uint64_t at = (offset < mapped_offset_ ? i : blocks - 1 - i) * kChecksumBlock;
    NINFER_RETURN_IF_ERROR(
        file_->WriteAt(offset + at, weights + at, std::min(kChecksumBlock, bytes - at)));
  }
  return absl::OkStatus();
}

absl::Status PlanFile::Write(const Plan& plan, const uint8_t* weights, int threads) {
  if (file_ == nullptr) {
    NINFER_ASSIGN_OR_RETURN(file_, AtomicFile::Create(path_));
  }
  const Serialized serialized = SerializeWithWeights(plan, weights, threads);
  const SectionRow& data = serialized.container.rows.back();
  NINFER_CHECK(data.type == static_cast<uint32_t>(Section::kWeightData));
  NINFER_RETURN_IF_ERROR(PutWeights(weights, data.size, data.offset));
  // With the zeros before the weights, where weights may have lain until now.
  std::string front = Join(serialized);
  front.resize(data.offset);
  NINFER_RETURN_IF_ERROR(file_->WriteAt(0, front.data(), front.size()));
  NINFER_RETURN_IF_ERROR(file_->Truncate(serialized.container.file_size));
  return file_->Commit();
}

std::string ContentDigestOf(const Plan& plan, const uint8_t* weights, int threads) {
  return SerializeWithWeights(plan, weights, threads).container.content_digest;
}

absl::Status WritePlan(const Plan& plan, const uint8_t* weights, const std::string& path,
                       int threads) {
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<PlanFile> file, PlanFile::Create(path));
  return file->Write(plan, weights, threads);
}

}  // namespace ninfer::plan
