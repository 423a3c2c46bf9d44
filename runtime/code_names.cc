// Tested by tests/runtime_cpu_image_test.cc.
#include "runtime/code_names.h"

#include <elf.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <mutex>

#include "absl/strings/str_cat.h"

// The names and layouts that gdb looks for in every object of a process.
extern "C" {

enum JitAction : uint32_t { kJitNoAction = 0, kJitRegister = 1, kJitUnregister = 2 };

struct jit_code_entry {
  jit_code_entry* next_entry;
  jit_code_entry* prev_entry;
  const char* symfile_addr;
  uint64_t symfile_size;
};

struct jit_descriptor {
  uint32_t version;
  uint32_t action_flag;
  jit_code_entry* relevant_entry;
  jit_code_entry* first_entry;
};

__attribute__((visibility("default")))
jit_descriptor __jit_debug_descriptor = {1, kJitNoAction, nullptr, nullptr};

// gdb sets a breakpoint here; the asm keeps the call and its stores in place.
__attribute__((visibility("default"), noinline)) void __jit_debug_register_code() {
  asm volatile("" ::: "memory");
}

}  // extern "C"

namespace ninfer::runtime {
namespace {

std::mutex& DescriptorMutex() {
  static std::mutex& mutex = *new std::mutex;
  return mutex;
}

template <typename T>
void Append(const T& value, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

#if defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
#else
constexpr uint16_t kMachine = EM_X86_64;
#endif

Elf64_Ehdr ElfHeader(uint64_t section_table, uint16_t sections) {
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_REL;
  header.e_machine = kMachine;
  header.e_version = EV_CURRENT;
  header.e_shoff = section_table;
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = sections;
  header.e_shstrndx = static_cast<uint16_t>(sections - 1);
  return header;
}

// A relocatable object: its header, the sections' contents, the names of sections, their table.
class ObjectWriter {
 public:
  // `header` lacks the name, and the place and size of what has bytes.
  void Add(const char* name, const std::string& content, Elf64_Shdr header) {
    header.sh_name = static_cast<uint32_t>(names_.size());
    names_ += name;
    names_ += '\0';
    if (header.sh_type != SHT_NOBITS) {
      header.sh_offset = sizeof(Elf64_Ehdr) + contents_.size();
      header.sh_size = content.size();
    }
    contents_ += content;
    sections_.push_back(header);
  }

  std::string Finish() {
    Add(".shstrtab", "", {0, SHT_STRTAB, 0, 0, 0, 0, 0, 0, 1, 0});
    sections_.back().sh_size = names_.size();
    contents_ += names_;
    contents_.resize((contents_.size() + 7) / 8 * 8);
    std::string object;
    Append(
        ElfHeader(sizeof(Elf64_Ehdr) + contents_.size(), static_cast<uint16_t>(sections_.size())),
        &object);
    object += contents_;
    for (const Elf64_Shdr& section : sections_) Append(section, &object);
    return object;
  }

 private:
  std::vector<Elf64_Shdr> sections_ = {Elf64_Shdr{}};
  std::string names_ = std::string(1, '\0'), contents_;
};

}  // namespace

void WritePerfMap(const void* code, const std::vector<CodeName>& names) {
  const std::string path = absl::StrCat("/tmp/perf-", getpid(), ".map");
  FILE* file = std::fopen(path.c_str(), "ae");
  if (file == nullptr) return;
  for (const CodeName& name : names) {
    std::fprintf(file, "%lx %lx %s\n", reinterpret_cast<uintptr_t>(code) + name.offset, name.size,
                 name.name.c_str());
  }
  std::fclose(file);
}

std::string MakeSymbolObject(const void* code, uint64_t bytes, const std::vector<CodeName>& names) {
  constexpr uint16_t kText = 1;
  std::string strings(1, '\0'), symbols;
  Append(Elf64_Sym{}, &symbols);
  bool lines = false;
  for (const CodeName& name : names) {
    Elf64_Sym symbol = {};
    symbol.st_name = static_cast<uint32_t>(strings.size());
    symbol.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
    symbol.st_shndx = kText;
    symbol.st_value = name.offset;
    symbol.st_size = name.size;
    Append(symbol, &symbols);
    strings += name.name;
    strings += '\0';
    lines |= !name.lines.empty();
  }
  ObjectWriter object;
  // .text has no bytes in the object: it lies at its address already.
  object.Add(".text", "",
             {0, SHT_NOBITS, SHF_ALLOC | SHF_EXECINSTR, reinterpret_cast<uintptr_t>(code), 0, bytes,
              0, 0, 16, 0});
  object.Add(".symtab", symbols, {0, SHT_SYMTAB, 0, 0, 0, 0, 3, 1, 8, sizeof(Elf64_Sym)});
  object.Add(".strtab", strings, {0, SHT_STRTAB, 0, 0, 0, 0, 0, 0, 1, 0});
  if (lines) {
    const DebugSections debug = MakeDebugSections(code, bytes, names);
    const Elf64_Shdr plain = {0, SHT_PROGBITS, 0, 0, 0, 0, 0, 0, 1, 0};
    object.Add(".debug_info", debug.info, plain);
    object.Add(".debug_abbrev", debug.abbrev, plain);
    object.Add(".debug_line", debug.line, plain);
  }
  return object.Finish();
}

struct GdbRegistration::Entry : jit_code_entry {};

GdbRegistration::GdbRegistration(const void* code, uint64_t bytes,
                                 const std::vector<CodeName>& names)
    : object_(MakeSymbolObject(code, bytes, names)), entry_(std::make_unique<Entry>()) {
  std::lock_guard<std::mutex> lock(DescriptorMutex());
  jit_descriptor& descriptor = __jit_debug_descriptor;
  entry_->symfile_addr = object_.data();
  entry_->symfile_size = object_.size();
  entry_->prev_entry = nullptr;
  entry_->next_entry = descriptor.first_entry;
  if (entry_->next_entry != nullptr) entry_->next_entry->prev_entry = entry_.get();
  descriptor.first_entry = entry_.get();
  descriptor.relevant_entry = entry_.get();
  descriptor.action_flag = kJitRegister;
  __jit_debug_register_code();
}

GdbRegistration::~GdbRegistration() {
  std::lock_guard<std::mutex> lock(DescriptorMutex());
  jit_descriptor& descriptor = __jit_debug_descriptor;
  if (entry_->prev_entry != nullptr) {
    entry_->prev_entry->next_entry = entry_->next_entry;
  } else {
    descriptor.first_entry = entry_->next_entry;
  }
  if (entry_->next_entry != nullptr) entry_->next_entry->prev_entry = entry_->prev_entry;
  descriptor.relevant_entry = entry_.get();
  descriptor.action_flag = kJitUnregister;
  __jit_debug_register_code();
}

}  // namespace ninfer::runtime
