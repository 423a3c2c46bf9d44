# The harness brings LLVM along, so that it is a library beside what the other rooms' tests share.
add_library(ninfer_kernel_harness STATIC support/kernel_harness.cc support/kernel_operands.cc
            support/mapped_code.cc support/emulator.cc)
target_compile_definitions(ninfer_kernel_harness PRIVATE NINFER_BINARY_DIR="${CMAKE_BINARY_DIR}")
target_link_libraries(ninfer_kernel_harness PUBLIC ninfer_flags ninfer_test_support ninfer_codegen
                      ninfer_eager GTest::gtest)

# Kernels for AArch64 run under qemu, in a program of their own.
find_program(NINFER_AARCH64_CXX aarch64-linux-gnu-g++)
if(NINFER_AARCH64_CXX)
  set(runner ${CMAKE_BINARY_DIR}/tests/emulated_runner_aarch64)
  set(sources ${CMAKE_CURRENT_SOURCE_DIR}/support/emulated_runner.cc
              ${CMAKE_CURRENT_SOURCE_DIR}/support/guarded_memory.cc)
  add_custom_command(
    OUTPUT ${runner}
    COMMAND ${NINFER_AARCH64_CXX} -std=c++20 -O1 -static -I${CMAKE_SOURCE_DIR} ${sources} -o ${runner}
    DEPENDS ${sources} ${CMAKE_CURRENT_SOURCE_DIR}/support/guarded_memory.h
            ${CMAKE_CURRENT_SOURCE_DIR}/support/emulator_protocol.h)
  add_custom_target(ninfer_emulated_runner DEPENDS ${runner})
  add_dependencies(ninfer_kernel_harness ninfer_emulated_runner)
endif()

# `release`: where most time goes into generated code, which no sanitiser sees.
ninfer_test(codegen_test SOURCES codegen_test.cc DEPS kernel_harness FULL)
ninfer_test(codegen_rowwise_test SOURCES codegen_rowwise_test.cc DEPS kernel_harness FULL)
ninfer_test(codegen_linear_test SOURCES codegen_linear_test.cc DEPS kernel_harness FULL LABELS release)
ninfer_test(codegen_quantised_test SOURCES codegen_quantised_test.cc DEPS kernel_harness FULL LABELS release)
ninfer_test(codegen_heads_test SOURCES codegen_heads_test.cc DEPS kernel_harness FULL)
ninfer_test(codegen_argmax_test SOURCES codegen_argmax_test.cc DEPS kernel_harness)
ninfer_test(codegen_experts_test SOURCES codegen_experts_test.cc DEPS kernel_harness FULL LABELS release)
ninfer_test(codegen_attention_test SOURCES codegen_attention_test.cc DEPS kernel_harness FULL LABELS release)
ninfer_test(codegen_kv_test SOURCES codegen_kv_test.cc DEPS kernel_harness FULL)
ninfer_test(codegen_lines_test SOURCES codegen_lines_test.cc DEPS kernel_harness)
ninfer_test(codegen_link_test SOURCES codegen_link_test.cc DEPS codegen)
ninfer_test(codegen_image_test SOURCES codegen_image_test.cc DEPS kernel_harness passes frontend FULL
            LABELS release)
ninfer_test(codegen_random_test SOURCES codegen_random_test.cc DEPS kernel_harness passes FULL)
