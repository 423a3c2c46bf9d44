// What this process may use of the machine: the CPUs of its affinity mask, the cgroup's CPU quota,
// and the instruction set extensions of the CPU. Tested by tests/runtime_cpu_limits_test.cc.
#ifndef NINFER_RUNTIME_CPU_LIMITS_H_
#define NINFER_RUNTIME_CPU_LIMITS_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"

namespace ninfer::runtime {

struct CpuLimits {
  std::vector<int> cpus;  // of the affinity mask, ascending
  double quota = 0;       // CPUs that the cgroup grants; 0 when it grants all
};

// Versions 1 and 2 of cgroups; the least quota from the process's own group up to the root counts.
// `root` stands before /proc and /sys, for tests.
CpuLimits ReadCpuLimits(const std::string& root = "");

// Threads that can run at once: whole CPUs of the quota, at least 1.
int DefaultThreads(const CpuLimits& limits);

// The flags of /proc/cpuinfo, which name what both the CPU and the system support, without those of
// the environment variable NINFER_HIDE_CPU_FEATURES (a list with commas): so that what happens on a
// lesser CPU can be seen on this one.
absl::flat_hash_set<std::string> CpuFeatures();

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_CPU_LIMITS_H_
