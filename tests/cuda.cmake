# Programs through their generated CUDA C++ on the host: it is compiled as the tests run.
add_library(ninfer_shim_program STATIC support/shim_program.cc support/kernel_operands.cc)
target_compile_definitions(ninfer_shim_program PRIVATE NINFER_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                           NINFER_CXX_COMPILER="${CMAKE_CXX_COMPILER}")
target_link_libraries(ninfer_shim_program PUBLIC ninfer_flags ninfer_test_support
                      ninfer_cuda_host_shim ninfer_eager GTest::gtest)

ninfer_test(cuda_weights_test SOURCES cuda_weights_test.cc DEPS cuda_generate)
ninfer_test(cuda_host_shim_test SOURCES cuda_host_shim_test.cc DEPS cuda_host_shim LABELS release)
if(TARGET cuda_host_shim_test)
  target_compile_definitions(cuda_host_shim_test PRIVATE NINFER_CXX_COMPILER="${CMAKE_CXX_COMPILER}")
endif()
ninfer_test(cuda_shim_test SOURCES cuda_shim_test.cc DEPS shim_program passes frontend LABELS release FULL)
ninfer_test(cuda_nvrtc_test SOURCES cuda_nvrtc_test.cc DEPS cuda_generate passes frontend FULL)
# Plans for cards through the real programs, and their executor, on the stand-ins for driver and NVRTC.
ninfer_script_test(cuda_run_test cuda_run_test.py LABELS release)
ninfer_script_test(portable_test portable_test.py LABELS full)
ninfer_test(cuda_goldens_test SOURCES cuda_goldens_test.cc DEPS compiler runtime eager frontend image test_support
            PROGRAMS ninfer-shim-cuda ninfer-shim-nvrtc LABELS release FULL)
ninfer_test(cuda_driver_test SOURCES cuda_driver_test.cc DEPS compiler runtime eager frontend image test_support
            PROGRAMS ninfer-shim-cuda ninfer-shim-nvrtc LABELS release)
