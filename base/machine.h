// What the machine grants this process: instruction set extensions, and memory.
// Tested by tests/base_machine_test.cc.
#ifndef NINFER_BASE_MACHINE_H_
#define NINFER_BASE_MACHINE_H_

#include <cstdint>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ninfer {

// What both the CPU and the system support of what code is generated for, by the names that
// /proc/cpuinfo has for it. The CPU itself is asked: an emulator shows the file of the machine that
// it runs on. Without those of the environment variable NINFER_HIDE_CPU_FEATURES (a list with
// commas): so that what happens on a lesser CPU can be seen on this one.
absl::flat_hash_set<std::string> CpuFeatures();

// Bytes that this process could have at most: memory and swap of the machine, or less where a limit
// of the process (setrlimit(2)) or of its own cgroup says so. What others use is not counted, so
// that more is certain to fail and less may. `root` stands before /proc and /sys, for tests.
uint64_t MemoryLimit(const std::string& root = "");

// Refuses what can never fit: "what: expected at most ... bytes of memory, found ...".
absl::Status CheckFitsMemory(absl::string_view what, uint64_t bytes);

// Refuses where the limit on addresses (ulimit -v) leaves fewer than `bytes`: for libraries that do
// not survive the want of them.
absl::Status CheckAddressesLeft(absl::string_view what, uint64_t bytes);

// From now on an allocation or a thread that cannot be had ends the process with one line on
// standard error and exit status 2: it is the user's model or limits that ask for more than there
// is. Each copy of the C++ library has its own such state, so programs and the compiler's shared
// library both call this.
void EndWhenOutOfMemory();

}  // namespace ninfer

#endif  // NINFER_BASE_MACHINE_H_
