foreach(test cpu_limits step_check kv_pages stop_strings sampling tensor_dump plan_cache pictures)
  ninfer_test(runtime_${test}_test SOURCES runtime_${test}_test.cc DEPS runtime)
endforeach()
foreach(test thread_pool session bandwidth)
  ninfer_test(runtime_${test}_test SOURCES runtime_${test}_test.cc DEPS runtime LABELS threads)
endforeach()
foreach(test cpu_executor cpu_image model)
  ninfer_test(runtime_${test}_test SOURCES runtime_${test}_test.cc runtime_example.cc DEPS runtime
              LABELS threads)
endforeach()

# A compiler library whose answers the test knows, and one that is of another version.
foreach(library fake old)
  add_library(ninfer-${library}-compiler SHARED fake_compiler.cc runtime_example.cc)
  # As the tests are: the example's machine code is compared.
  target_compile_options(ninfer-${library}-compiler PRIVATE $<$<CONFIG:Release>:-O1>)
  target_link_libraries(ninfer-${library}-compiler PRIVATE ninfer_runtime)
endforeach()
target_compile_definitions(ninfer-old-compiler PRIVATE FAKE_INTERFACE=999)
ninfer_test(runtime_compiler_library_test
            SOURCES runtime_compiler_library_test.cc runtime_example.cc DEPS runtime
            PROGRAMS ninfer-fake-compiler ninfer-old-compiler LABELS threads)
target_compile_definitions(runtime_compiler_library_test PRIVATE
                           FAKE_COMPILER="$<TARGET_FILE:ninfer-fake-compiler>"
                           FAKE_OLD_COMPILER="$<TARGET_FILE:ninfer-old-compiler>")
ninfer_test(runtime_compilation_test SOURCES runtime_compilation_test.cc runtime_example.cc DEPS runtime
            PROGRAMS ninfer-fake-compiler LABELS threads)
target_compile_definitions(runtime_compilation_test PRIVATE
                           FAKE_COMPILER="$<TARGET_FILE:ninfer-fake-compiler>")

ninfer_script_test(run_test run_test.py LABELS threads)
ninfer_script_test(chat_test chat_test.py LABELS threads)
ninfer_script_test(vision_run_test vision_run_test.py LABELS threads)
ninfer_script_test(inspect_test inspect_test.py)
