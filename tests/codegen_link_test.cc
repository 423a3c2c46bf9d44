// Objects that may not be linked: calls of what no kernel defines, absolute addresses, no object at
// all.
#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "codegen/compile.h"

namespace ninfer {
namespace {

using codegen::CodeImage;
using codegen::KernelObject;

// A relocatable ELF file whose function `kernel` has one relocation at byte `offset` of `code`,
// against itself or an undefined symbol.
std::string MakeObject(const std::string& code, uint64_t offset, uint32_t type, int64_t addend,
                       const std::string& external) {
  std::string strings = std::string("\0kernel\0", 8) + external + '\0';
  const std::string names("\0.text\0.rela.text\0.symtab\0.strtab\0.shstrtab\0", 44);
  Elf64_Sym symbols[3] = {};
  symbols[1].st_name = 1;
  symbols[1].st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
  symbols[1].st_shndx = 1;
  symbols[1].st_size = code.size();
  symbols[2].st_name = 8;
  symbols[2].st_info = ELF64_ST_INFO(STB_GLOBAL, STT_NOTYPE);
  Elf64_Rela relocation = {offset, ELF64_R_INFO(external.empty() ? 1 : 2, type), addend};
  std::string contents[6];
  contents[1] = code;
  contents[2].assign(reinterpret_cast<const char*>(&relocation), sizeof(relocation));
  contents[3].assign(reinterpret_cast<const char*>(symbols),
                     sizeof(Elf64_Sym) * (external.empty() ? 2 : 3));
  contents[4] = strings;
  contents[5] = names;
  const uint32_t types[] = {SHT_NULL, SHT_PROGBITS, SHT_RELA, SHT_SYMTAB, SHT_STRTAB, SHT_STRTAB};
  const uint32_t name_offsets[] = {0, 1, 7, 18, 26, 34};
  Elf64_Shdr headers[6] = {};
  std::string file(sizeof(Elf64_Ehdr), '\0');
  for (int i = 1; i < 6; ++i) {
    file.resize((file.size() + 15) / 16 * 16);
    headers[i].sh_name = name_offsets[i];
    headers[i].sh_type = types[i];
    headers[i].sh_offset = file.size();
    headers[i].sh_size = contents[i].size();
    headers[i].sh_addralign = 16;
    file += contents[i];
  }
  headers[1].sh_flags = SHF_ALLOC | SHF_EXECINSTR;
  headers[2].sh_link = 3;
  headers[2].sh_info = 1;
  headers[2].sh_entsize = sizeof(Elf64_Rela);
  headers[3].sh_link = 4;
  headers[3].sh_info = 1;
  headers[3].sh_entsize = sizeof(Elf64_Sym);
  file.resize((file.size() + 15) / 16 * 16);
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_REL;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_shoff = file.size();
  header.e_ehsize = sizeof(header);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 6;
  header.e_shstrndx = 5;
  file.append(reinterpret_cast<const char*>(headers), sizeof(headers));
  std::memcpy(file.data(), &header, sizeof(header));
  return file;
}

std::string LinkError(const std::string& object, CodeImage* image) {
  KernelObject kernel;
  kernel.symbol = "kernel";
  kernel.object = object;
  return std::string(codegen::LinkObjects({kernel}, image).message());
}

const std::string kCall("\xe8\0\0\0\0\xc3", 6);                      // call ?; ret
const std::string kLoadAddress("\x48\xb8\0\0\0\0\0\0\0\0\xc3", 11);  // movabs ?, %rax; ret

TEST(CodegenLink, TakesACallInsideTheObject) {
  CodeImage image;
  ASSERT_EQ(LinkError(MakeObject(kCall, 1, R_X86_64_PLT32, -4, ""), &image), "");
  ASSERT_EQ(image.kernels.size(), 1u);
  EXPECT_EQ(image.kernels[0].name, "kernel");
  EXPECT_EQ(image.kernels[0].size, kCall.size());
  // The call's target is its own function: five bytes back from its end.
  EXPECT_EQ(image.bytes.substr(image.kernels[0].offset, 6),
            std::string("\xe8\xfb\xff\xff\xff\xc3", 6));
}

TEST(CodegenLink, RefusesSymbolsOfOtherObjects) {
  CodeImage image;
  for (const uint32_t type : {R_X86_64_PLT32, R_X86_64_PC32, R_X86_64_GOTPCREL}) {
    EXPECT_EQ(LinkError(MakeObject(kCall, 1, type, -4, "memset"), &image),
              "kernel kernel: cannot link: expected no external symbols, found memset");
  }
  EXPECT_TRUE(image.bytes.empty());
}

TEST(CodegenLink, RefusesAbsoluteAddresses) {
  CodeImage image;
  EXPECT_EQ(LinkError(MakeObject(kLoadAddress, 2, R_X86_64_64, 0, ""), &image),
            "kernel kernel: cannot link: expected relative relocations only, found Pointer64");
}

TEST(CodegenLink, RefusesWhatIsNoObject) {
  CodeImage image;
  EXPECT_THAT(LinkError("no object", &image), testing::StartsWith("kernel kernel: cannot link: "));
}

}  // namespace
}  // namespace ninfer
