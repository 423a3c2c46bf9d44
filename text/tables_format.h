// The layout that text/tables_build.cc writes and text/tables.cc reads. Bump kTablesVersion with
// any change, the hash functions included.
#ifndef NINFER_TEXT_TABLES_FORMAT_H_
#define NINFER_TEXT_TABLES_FORMAT_H_

#include <bit>
#include <cstdint>

namespace ninfer {

static_assert(std::endian::native == std::endian::little, "the tables are read in place");

constexpr uint32_t kTablesMagic = 0x4B4F544E;  // "NTOK"
constexpr uint32_t kTablesVersion = 2;

enum TablesSection {
  kOffsetsSection,
  kPoolSection,
  kFlagsSection,
  kSlotsSection,
  kMergesSection,
  kRanksSection,
  kScoresSection,
  kTrieFirstSection,
  kTrieLabelsSection,
  kTrieValuesSection,
  kProgramSection,
  kSectionCount,
};

struct TablesHeader {
  uint32_t magic;
  uint32_t version;
  uint32_t model_flags;
  uint32_t vocab_size;
  uint32_t kind;  // ModelKind
  uint32_t reserved;
  uint64_t size;  // of the whole block
  struct Section {
    uint64_t offset;
    uint64_t count;  // of elements
  } sections[kSectionCount];
};
static_assert(sizeof(TablesHeader) == 32 + 16 * kSectionCount);

// Least bytes of a step and of an added token in the program section.
constexpr uint32_t kStepBytes = 24;
constexpr uint32_t kAddedBytes = 16;
constexpr uint32_t kTemplateBytes = 12;

inline uint64_t MergeHash(uint32_t left, uint32_t right) {
  const uint64_t h = (uint64_t{left} << 32 | right) * 0x9E3779B97F4A7C15u;
  return h >> 32 ^ h;
}

}  // namespace ninfer

#endif  // NINFER_TEXT_TABLES_FORMAT_H_
