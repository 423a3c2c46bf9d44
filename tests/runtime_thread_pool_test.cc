// The pool and its barrier: every thread runs every job, nothing passes the barrier early, and
// threads that outnumber the CPUs still arrive. Run under ThreadSanitizer by the tsan preset.
#include <gtest/gtest.h>

#include <chrono>
#include <numeric>

#include "runtime/thread_pool.h"

namespace ninfer::runtime {
namespace {

TEST(ThreadPool, EveryThreadRunsEveryJobOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    std::vector<int> runs(threads);  // not atomic: each thread has its own
    for (int job = 0; job < 200; ++job) pool.Run([&](int thread) { ++runs[thread]; });
    EXPECT_EQ(runs, std::vector<int>(threads, 200));
  }
}

TEST(ThreadPool, TheCallerIsThreadZero) {
  ThreadPool pool(3);
  const std::thread::id caller = std::this_thread::get_id();
  std::thread::id zero;
  pool.Run([&](int thread) {
    if (thread == 0) zero = std::this_thread::get_id();
  });
  EXPECT_EQ(zero, caller);
}

// Each thread writes its number, meets, and reads everyone's: plain memory, so that a barrier that
// does not order it is found by ThreadSanitizer, and one that lets a thread through early by the
// values.
TEST(ThreadPool, MeetingOrdersWhatThreadsWrote) {
  for (int threads : {2, 3, 5}) {
    ThreadPool pool(threads);
    std::vector<int64_t> cells(threads);
    std::vector<int64_t> wrong(threads);
    for (int run = 0; run < 20; ++run) {
      pool.Run([&](int thread) {
        for (int round = 0; round < 100; ++round) {
          cells[thread] = run * 1000 + round;
          pool.Meet();
          for (int64_t cell : cells) wrong[thread] += cell != run * 1000 + round;
          pool.Meet();
        }
      });
    }
    EXPECT_EQ(std::accumulate(wrong.begin(), wrong.end(), int64_t{0}), 0);
  }
}

TEST(ThreadPool, ThreadsThatSleptWakeUp) {
  ThreadPool pool(2);
  int runs = 0;
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));  // longer than they spin
    pool.Run([&](int thread) {
      if (thread == 1) ++runs;
    });
  }
  EXPECT_EQ(runs, 5);
}

TEST(ThreadPool, SlowThreadsAreWaitedFor) {
  ThreadPool pool(2);
  bool slow_done = false;
  pool.Run([&](int thread) {
    if (thread == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      slow_done = true;
    }
    pool.Meet();
    EXPECT_TRUE(slow_done);
  });
}

TEST(ThreadPool, MoreThreadsThanCpusDoNotTakeForever) {
  ThreadPool pool(16, CpuLimits{{0}, 1.0});
  int64_t sum = 0;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    pool.Run([&](int thread) {
      pool.Meet();
      if (thread == 15) ++sum;
    });
  }
  EXPECT_EQ(sum, 20);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(ThreadPool, TheCallersCpusAreGivenBack) {
  cpu_set_t before, after;
  sched_getaffinity(0, sizeof(before), &before);
  { ThreadPool pool(1); }
  sched_getaffinity(0, sizeof(after), &after);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

TEST(ThreadPool, ASecondPoolSeesAllCpus) {
  ThreadPool first;
  ThreadPool second;
  EXPECT_EQ(first.size(), second.size());
}

TEST(DealUnits, PartsAreContiguousCompleteAndNearlyEqual) {
  for (int64_t count : {0, 1, 2, 7, 64, 1000}) {
    for (int threads : {1, 2, 3, 16}) {
      int64_t end = 0;
      for (int thread = 0; thread < threads; ++thread) {
        const UnitRange part = DealUnits(count, thread, threads);
        EXPECT_EQ(part.begin, end);
        EXPECT_LE(part.end - part.begin, count / threads + 1);
        end = part.end;
      }
      EXPECT_EQ(end, count);
    }
  }
}

}  // namespace
}  // namespace ninfer::runtime
