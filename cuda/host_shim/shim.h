// Generated CUDA C++ as plain C++: what the hardware gives, under the same names. A block's threads
// are fibers on one thread of the host, each running until it meets a barrier; a barrier that not
// all threads meet ends the process with a line, as do threads of a warp that meet different ones.
// Shared memory is filled with NaN before every block. Blocks run one after the other.
//
// Included before the generated source, and by nothing else.
// Tested by tests/cuda_shim_test.cc.
#ifndef NINFER_CUDA_HOST_SHIM_SHIM_H_
#define NINFER_CUDA_HOST_SHIM_SHIM_H_

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __launch_bounds__(threads, blocks)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static __attribute__((section("ninfer_shared")))

// Of the linker: where shared memory begins and ends. The first lies there for sources without any.
__shared__ __attribute__((used)) char shim_some_shared[16];
extern "C" char __start_ninfer_shared[], __stop_ninfer_shared[];

namespace shim {

constexpr int kLanes = 32;
constexpr size_t kStackBytes = 64 << 10;

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

struct Barrier {
  int members = 0, arrived = 0;
  unsigned meetings = 0;
};

// What the lanes of a warp show each other, alternately, so that no lane overwrites what another
// still reads.
struct Warp {
  Barrier barrier;
  uint64_t values[2][kLanes][3];
};

struct Fiber {
  Index index;
  jmp_buf context;
  ucontext_t first;
  bool started = false, done = true;
  const unsigned* waits_on = nullptr;  // runs again when this is no longer `seen`
  unsigned seen = 0;
};

struct State {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Barrier block;
  Index block_index;
  Fiber* current = nullptr;
  jmp_buf scheduler;
  const std::function<void()>* body = nullptr;
};
inline State state;

inline Warp& CurrentWarp() { return state.warps[state.current->index.x / kLanes]; }
inline int CurrentLane() { return static_cast<int>(state.current->index.x % kLanes); }

inline void Yield() {
  if (_setjmp(state.current->context) == 0) _longjmp(state.scheduler, 1);
}

inline void Meet(Barrier& barrier) {
  if (++barrier.arrived == barrier.members) {
    barrier.arrived = 0;
    ++barrier.meetings;
    return;
  }
  state.current->waits_on = &barrier.meetings;
  state.current->seen = barrier.meetings;
  Yield();
}

inline void FiberMain() {
  for (;;) {
    (*state.body)();
    state.current->done = true;
    Yield();
  }
}

inline void Resume(Fiber& fiber) {
  state.current = &fiber;
  if (_setjmp(state.scheduler) != 0) return;
  if (fiber.started) _longjmp(fiber.context, 1);
  fiber.started = true;
  setcontext(&fiber.first);
}

inline void Prepare(size_t threads) {
  if (state.fibers.size() == threads) return;
  // Contexts hold addresses: only whole sets are kept.
  for (Fiber& fiber : state.fibers) munmap(fiber.first.uc_stack.ss_sp, kStackBytes);
  state.fibers = std::vector<Fiber>(threads);
  for (size_t i = 0; i < threads; ++i) {
    Fiber& fiber = state.fibers[i];
    fiber.index.x = static_cast<unsigned>(i);
    getcontext(&fiber.first);
    fiber.first.uc_stack.ss_sp =
        mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fiber.first.uc_stack.ss_size = kStackBytes;
    fiber.first.uc_link = nullptr;
    makecontext(&fiber.first, FiberMain, 0);
  }
}

inline void RunBlock(size_t threads) {
  for (char* at = __start_ninfer_shared; at + 4 <= __stop_ninfer_shared; at += 4) {
    const uint32_t nan = 0x7fde7fde;
    std::memcpy(at, &nan, 4);
  }
  state.warps.assign((threads + kLanes - 1) / kLanes, Warp());
  for (size_t i = 0; i < threads; ++i) ++state.warps[i / kLanes].barrier.members;
  state.block = Barrier{static_cast<int>(threads), 0, 0};
  for (Fiber& fiber : state.fibers) fiber.done = false, fiber.waits_on = nullptr;
  size_t left = threads;
  while (left > 0) {
    bool moved = false;
    for (Fiber& fiber : state.fibers) {
      if (fiber.done || (fiber.waits_on != nullptr && *fiber.waits_on == fiber.seen)) continue;
      fiber.waits_on = nullptr;
      moved = true;
      Resume(fiber);
      left -= fiber.done ? 1 : 0;
    }
    if (moved) continue;
    std::fprintf(
        stderr,
        "cuda shim: block (%u, %u): a barrier that %zu threads wait at and others never meet\n",
        state.block_index.x, state.block_index.y, left);
    std::abort();
  }
}

template <typename T>
T ValueAt(const void* address) {
  T value;
  std::memcpy(&value, address, sizeof(T));
  return value;
}

// `arguments` as cuLaunchKernel takes them: where each value lies.
template <typename... P, size_t... I>
void CallWith(void (*kernel)(P...), void* const* arguments, std::index_sequence<I...>) {
  kernel(ValueAt<P>(arguments[I])...);
}

template <typename... P>
constexpr int ArgumentsOf(void (*)(P...)) {
  return sizeof...(P);
}

template <typename... P>
void Launch(void (*kernel)(P...), void* const* arguments, const int64_t* grid, int64_t threads) {
  const std::function<void()> body = [=] {
    CallWith(kernel, arguments, std::index_sequence_for<P...>());
  };
  state.body = &body;
  Prepare(static_cast<size_t>(threads));
  for (int64_t y = 0; y < grid[1]; ++y) {
    for (int64_t x = 0; x < grid[0]; ++x) {
      state.block_index = {static_cast<unsigned>(x), static_cast<unsigned>(y), 0};
      RunBlock(static_cast<size_t>(threads));
    }
  }
}

template <typename T>
T FromLane(T value, int lane) {
  Warp& warp = CurrentWarp();
  uint64_t(&slots)[kLanes][3] = warp.values[warp.barrier.meetings & 1];
  std::memcpy(slots[CurrentLane()], &value, sizeof(T));
  Meet(warp.barrier);
  T result;
  std::memcpy(&result, slots[lane], sizeof(T));
  return result;
}

}  // namespace shim

#define threadIdx (shim::state.current->index)
#define blockIdx (shim::state.block_index)

inline void __syncthreads() { shim::Meet(shim::state.block); }
inline void __syncwarp() { shim::Meet(shim::CurrentWarp().barrier); }
inline float __shfl_xor_sync(unsigned, float value, int mask) {
  return shim::FromLane(value, shim::CurrentLane() ^ mask);
}

inline int __shfl_xor_sync(unsigned, int value, int mask) {
  float bits;
  std::memcpy(&bits, &value, 4);
  bits = shim::FromLane(bits, shim::CurrentLane() ^ mask);
  std::memcpy(&value, &bits, 4);
  return value;
}

struct uint4 {
  unsigned x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
inline float __int_as_float(int bits) { return __uint_as_float(static_cast<unsigned>(bits)); }

// Four products of signed bytes and their sum.
inline int __dp4a(int a, int b, int sum) {
  for (int i = 0; i < 4; ++i) {
    sum += static_cast<signed char>(a >> 8 * i) * static_cast<signed char>(b >> 8 * i);
  }
  return sum;
}
// Four of the eight bytes of b and a, chosen by half bytes.
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned places) {
  const uint64_t bytes = uint64_t{b} << 32 | a;
  unsigned y = 0;
  for (int i = 0; i < 4; ++i) {
    y |= static_cast<unsigned>(bytes >> 8 * (places >> 4 * i & 7) & 0xff) << 8 * i;
  }
  return y;
}

// --- what cuda/generate/prelude.cc has in PTX ---

struct bf16 {
  unsigned short bits;
};
struct f16 {
  unsigned short bits;
};

inline bf16 ToBf16(float x) {
  const unsigned bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
  return {static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
inline f16 ToF16(float x) {
  const _Float16 half = static_cast<_Float16>(x);
  f16 y;
  std::memcpy(&y, &half, 2);
  return y;
}
inline float Widen(f16 x) {
  _Float16 half;
  std::memcpy(&half, &x, 2);
  return static_cast<float>(half);
}
inline uint4 LoadWeights(const uint4* p) {
  uint4 v;
  std::memcpy(&v, p, 16);
  return v;
}

// By its definition, each lane from what all lanes hold.
inline void Mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  using shim::kLanes;
  shim::Warp& warp = shim::CurrentWarp();
  uint64_t(&slots)[kLanes][3] = warp.values[warp.barrier.meetings & 1];
  const int lane = shim::CurrentLane();
  std::memcpy(slots[lane], a, 16);
  std::memcpy(&slots[lane][2], b, 8);
  shim::Meet(warp.barrier);
  const auto word = [&](int from, int index) {
    unsigned value;
    std::memcpy(&value, reinterpret_cast<const char*>(slots[from]) + 4 * index, 4);
    return value;
  };
  const auto number = [](unsigned pair, int k) {
    return __uint_as_float(k % 2 == 0 ? pair << 16 : pair & 0xffff0000u);
  };
  for (int e = 0; e < 4; ++e) {
    const int row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
    for (int k = 0; k < 16; ++k) {
      const unsigned left = word(row % 8 * 4 + k % 8 / 2, k / 8 * 2 + row / 8);
      const unsigned right = word(column * 4 + k % 8 / 2, 4 + k / 8);
      c[e] += number(left, k) * number(right, k);
    }
  }
}

// Stands behind the source for each of its kernels.
#define NINFER_SHIM_ENTRY(kernel)                                                               \
  extern "C" void shim_##kernel(void* const* arguments, const int64_t* grid, int64_t threads) { \
    shim::Launch(kernel, arguments, grid, threads);                                             \
  }                                                                                             \
  extern "C" const int shim_arguments_##kernel = shim::ArgumentsOf(kernel);

#endif  // NINFER_CUDA_HOST_SHIM_SHIM_H_
