// What this process may use of the machine's CPUs: its affinity mask and the cgroup's quota. Tested
// by tests/runtime_cpu_limits_test.cc.
#ifndef NINFER_RUNTIME_CPU_LIMITS_H_
#define NINFER_RUNTIME_CPU_LIMITS_H_

#include <string>
#include <vector>

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

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_CPU_LIMITS_H_
