// See debug_lines.h. Numbers and layouts are those of the DWARF standard, version 4, sections 6.2
// (lines) and 7.5 (entries).
// Tested by tests/runtime_cpu_image_test.cc.
#include "runtime/debug_lines.h"

namespace ninfer::runtime {
namespace {

// Codes of the abbreviations below.
constexpr char kUnit = 1, kFunction = 2;
// Both tables: a pair (attribute, form) each, and a pair of zeros.
constexpr char kAbbreviations[] =
    "\x01\x11\x01"  // compile unit, with children
    "\x03\x08"      // name: string
    "\x13\x0b"      // language: data1
    "\x10\x17"      // line table: offset in .debug_line
    "\x11\x01"      // low pc: address
    "\x12\x07"      // high pc: data8, from the low pc
    "\0\0"
    "\x02\x2e\x00"  // subprogram, without children
    "\x03\x08"
    "\x11\x01"
    "\x12\x07"
    "\0\0"
    "\0";
constexpr char kLanguageC = 2;

template <typename T>
void Append(T value, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void AppendUnsigned(uint64_t value, std::string* bytes) {  // LEB128
  do {
    const uint8_t low = value & 0x7f;
    value >>= 7;
    Append<uint8_t>(low | (value != 0 ? 0x80 : 0), bytes);
  } while (value != 0);
}

void AppendSigned(int64_t value, std::string* bytes) {  // LEB128
  while (value < -64 || value > 63) {
    Append<uint8_t>(0x80 | (value & 0x7f), bytes);
    value >>= 7;
  }
  Append<uint8_t>(value & 0x7f, bytes);
}

void AppendName(const std::string& name, std::string* bytes) {
  bytes->append(name.c_str(), name.size() + 1);
}

// A unit's length, which counts what follows it.
std::string WithLength(const std::string& content) {
  std::string unit;
  Append(static_cast<uint32_t>(content.size()), &unit);
  return unit + content;
}

// Standard opcodes; an extended one is a zero, its length, and its number.
enum : uint8_t { kCopy = 1, kAdvancePc = 2, kAdvanceLine = 3 };

void AppendSequence(uint64_t start, const CodeName& name, std::string* program) {
  program->append("\0\x09\x02", 3);  // set address
  Append(start + name.offset, program);
  uint64_t offset = 0;
  int64_t line = 1;
  for (const plan::CodeLine& next : name.lines) {
    Append<uint8_t>(kAdvancePc, program);
    AppendUnsigned(next.offset - offset, program);
    Append<uint8_t>(kAdvanceLine, program);
    AppendSigned(int64_t{next.line} - line, program);
    Append<uint8_t>(kCopy, program);
    offset = next.offset;
    line = next.line;
  }
  Append<uint8_t>(kAdvancePc, program);
  AppendUnsigned(name.size - offset, program);
  program->append("\0\x01\x01", 3);  // end of the sequence
}

std::string LineTable(uint64_t start, const std::vector<CodeName>& names) {
  // Least instruction 1, one operation each, rows are statements; special opcodes, which are not
  // used, of base 0 and range 1; operands of the nine standard opcodes; no folders; one file.
  std::string header("\x01\x01\x01\x00\x01\x0a\0\x01\x01\x01\x01\0\0\0\x01\0", 16);
  AppendName(kProgramFile, &header);
  header.append("\0\0\0\0", 4);  // its folder, time and size; no more files
  std::string unit;
  Append(uint16_t{4}, &unit);
  unit += WithLength(header);
  for (const CodeName& name : names) {
    if (!name.lines.empty() && name.size > name.lines.back().offset) {
      AppendSequence(start, name, &unit);
    }
  }
  return WithLength(unit);
}

}  // namespace

DebugSections MakeDebugSections(const void* code, uint64_t bytes,
                                const std::vector<CodeName>& names) {
  const uint64_t start = reinterpret_cast<uintptr_t>(code);
  std::string unit;
  Append(uint16_t{4}, &unit);  // version
  Append(uint32_t{0}, &unit);  // place of the abbreviations
  Append(uint8_t{8}, &unit);   // bytes of an address
  unit += kUnit;
  AppendName(kProgramFile, &unit);
  unit += kLanguageC;
  Append(uint32_t{0}, &unit);
  Append(start, &unit);
  Append(bytes, &unit);
  for (const CodeName& name : names) {
    unit += kFunction;
    AppendName(name.name, &unit);
    Append(start + name.offset, &unit);
    Append(name.size, &unit);
  }
  unit += '\0';  // no more children
  return {WithLength(unit), std::string(kAbbreviations, sizeof(kAbbreviations) - 1),
          LineTable(start, names)};
}

}  // namespace ninfer::runtime
