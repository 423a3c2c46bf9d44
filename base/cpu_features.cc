// The CPU's features: from CPUID and XGETBV by way of the compiler's library on x86, from the
// auxiliary vector on AArch64 (getauxval(3)). Tested by tests/base_machine_test.cc.
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include <string>

#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/machine.h"

namespace ninfer {

absl::flat_hash_set<std::string> CpuFeatures() {
  absl::flat_hash_set<std::string> features;
#if defined(__x86_64__)
  // The compiler wants literals, and has names of its own.
#define NINFER_FEATURE(name, compilers) \
  if (__builtin_cpu_supports(compilers)) features.insert(name)
  NINFER_FEATURE("sse2", "sse2");
  NINFER_FEATURE("avx2", "avx2");
  NINFER_FEATURE("fma", "fma");
  NINFER_FEATURE("bmi1", "bmi");
  NINFER_FEATURE("bmi2", "bmi2");
  NINFER_FEATURE("f16c", "f16c");
  NINFER_FEATURE("avx_vnni", "avxvnni");
  NINFER_FEATURE("avx512f", "avx512f");
  NINFER_FEATURE("avx512bw", "avx512bw");
  NINFER_FEATURE("avx512cd", "avx512cd");
  NINFER_FEATURE("avx512dq", "avx512dq");
  NINFER_FEATURE("avx512vl", "avx512vl");
  NINFER_FEATURE("avx512_vnni", "avx512vnni");
  NINFER_FEATURE("avx512_bf16", "avx512bf16");
  NINFER_FEATURE("avx512_fp16", "avx512fp16");
#undef NINFER_FEATURE
#elif defined(__aarch64__)
  const unsigned long supported = getauxval(AT_HWCAP);
  if (supported & HWCAP_ASIMD) features.insert("asimd");
  if (supported & HWCAP_ASIMDDP) features.insert("asimddp");
#endif
  const std::string hidden = GetEnv("NINFER_HIDE_CPU_FEATURES");
  for (absl::string_view flag : absl::StrSplit(hidden, ',', absl::SkipEmpty())) {
    features.erase(flag);
  }
  return features;
}

}  // namespace ninfer
