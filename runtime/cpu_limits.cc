// Sources: cgroups(7) and the kernel's cgroup-v2.rst (cpu.max) and sched-bwc.rst
// (cpu.cfs_quota_us). Tested by tests/runtime_cpu_limits_test.cc.
#include "runtime/cpu_limits.h"

#include <sched.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file.h"

namespace ninfer::runtime {
namespace {

std::string ReadOrEmpty(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  return text.ok() ? *std::move(text) : std::string();
}

// "200000 100000" is 2 CPUs; "max 100000" and what cannot be read is no limit.
double QuotaOf(absl::string_view quota, absl::string_view period) {
  double numerator = 0, denominator = 0;
  if (!absl::SimpleAtod(quota, &numerator) || !absl::SimpleAtod(period, &denominator)) return 0;
  return numerator > 0 && denominator > 0 ? numerator / denominator : 0;
}

double QuotaOfGroup(const std::string& folder, bool unified) {
  if (unified) {
    const std::vector<std::string> words =
        absl::StrSplit(absl::StripAsciiWhitespace(ReadOrEmpty(JoinPath(folder, "cpu.max"))), ' ');
    return words.size() == 2 ? QuotaOf(words[0], words[1]) : 0;
  }
  return QuotaOf(ReadOrEmpty(JoinPath(folder, "cpu.cfs_quota_us")),
                 ReadOrEmpty(JoinPath(folder, "cpu.cfs_period_us")));
}

// The least quota of the group `path` and the groups above it.
double LeastQuota(const std::string& mount, std::string path, bool unified) {
  double least = 0;
  while (true) {
    const double quota = QuotaOfGroup(mount + path, unified);
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos || path.empty()) return least;
    path.resize(slash);
  }
}

double ReadQuota(const std::string& root) {
  double least = 0;
  const auto note = [&least](double quota) {
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
  };
  // hierarchy:controllers:path; version 2 has hierarchy 0 and no controllers.
  for (absl::string_view line :
       absl::StrSplit(ReadOrEmpty(root + "/proc/self/cgroup"), '\n', absl::SkipEmpty())) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const std::string path = fields[2] == "/" ? "" : fields[2];
    if (fields[1].empty()) {
      note(LeastQuota(root + "/sys/fs/cgroup", path, true));
      note(LeastQuota(root + "/sys/fs/cgroup/unified", path, true));
      continue;
    }
    for (absl::string_view controller : absl::StrSplit(fields[1], ',')) {
      if (controller != "cpu") continue;
      note(LeastQuota(root + "/sys/fs/cgroup/cpu", path, false));
      note(LeastQuota(absl::StrCat(root, "/sys/fs/cgroup/", fields[1]), path, false));
    }
  }
  return least;
}

std::vector<int> AffinityMask() {
  std::vector<int> cpus;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

}  // namespace

CpuLimits ReadCpuLimits(const std::string& root) {
  CpuLimits limits;
  // Read once: a thread pool pins the thread that asks for the next pool.
  static const std::vector<int>& mask = *new std::vector<int>(AffinityMask());
  limits.cpus = mask;
  limits.quota = ReadQuota(root);
  return limits;
}

int DefaultThreads(const CpuLimits& limits) {
  const int cpus = static_cast<int>(limits.cpus.size());
  if (limits.quota <= 0) return cpus;
  return std::clamp(static_cast<int>(std::floor(limits.quota)), 1, cpus);
}

}  // namespace ninfer::runtime
