# Helpers of the build: a room, a test, a fuzz target.

find_package(absl REQUIRED)
find_package(GTest REQUIRED)
find_package(Threads REQUIRED)
find_path(NLOHMANN_JSON_INCLUDE nlohmann/json.hpp REQUIRED)
find_path(CLI11_INCLUDE CLI/CLI.hpp REQUIRED)

add_library(ninfer_flags INTERFACE)
target_include_directories(ninfer_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(ninfer_flags INTERFACE -Wall -Wextra -Werror -Wno-unused-parameter
                       -Wno-missing-field-initializers -Wno-maybe-uninitialized)

# Most of a file's compile time is its headers. With precompiled ones rooms' files take a third to a half of the time,
# tests three quarters; ccache, which cannot keep such files, is then not asked. Presets of developers leave it off, so that a header that a file
# needs and does not include is found.
option(NINFER_PRECOMPILED_HEADERS "Precompile the headers that most files include" OFF)
if(NINFER_PRECOMPILED_HEADERS)
  # GCC 12 then warns, wrongly, of what it inlines of std::string.
  target_compile_options(ninfer_flags INTERFACE -Wno-array-bounds -Wno-stringop-overflow
                         -Wno-stringop-overread -Wno-restrict)
endif()
set(NINFER_COMMON_HEADERS <algorithm> <cstdint> <functional> <memory> <sstream> <string> <utility> <vector>
    <absl/container/flat_hash_map.h> <absl/container/flat_hash_set.h> <absl/status/statusor.h>
    <absl/strings/str_cat.h> <absl/types/span.h> <nlohmann/json.hpp>)

# The first target of a KIND, all of whose targets are compiled with the same flags, makes them for the others.
function(ninfer_precompile target kind)
  if(NOT NINFER_PRECOMPILED_HEADERS)
    return()
  endif()
  get_property(owner GLOBAL PROPERTY NINFER_PRECOMPILED_${kind})
  if(owner)
    target_precompile_headers(${target} REUSE_FROM ${owner})
  else()
    set_property(GLOBAL PROPERTY NINFER_PRECOMPILED_${kind} ${target})
    target_include_directories(${target} SYSTEM PRIVATE ${NLOHMANN_JSON_INCLUDE})
    target_precompile_headers(${target} PRIVATE ${NINFER_COMMON_HEADERS} ${ARGN})
  endif()
endfunction()

# ninfer_room(NAME [DEPS room...] [LIBS library...] [ONLY file...] [EXCEPT file...] [HEADERS header...]
# [OWN_FLAGS]): every .cc below the folder, or those that are named, becomes the static library ninfer_NAME. Exceptions
# are off in the rooms; programs may use them (CLI11 does). HEADERS are what most of its files include besides the
# common ones; with OWN_FLAGS, flags beside those of other rooms, none are precompiled.
function(ninfer_room name)
  cmake_parse_arguments(arg "OWN_FLAGS" "" "DEPS;LIBS;ONLY;EXCEPT;HEADERS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  if(arg_ONLY)
    set(sources ${arg_ONLY})
  endif()
  foreach(file ${arg_EXCEPT})
    list(REMOVE_ITEM sources ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  endforeach()
  if(NOT sources)
    message(WARNING "room ${name} left out: it has no .cc file")
    return()
  endif()
  add_library(ninfer_${name} STATIC ${sources})
  target_compile_options(ninfer_${name} PRIVATE -fno-exceptions)
  target_link_libraries(ninfer_${name} PUBLIC ninfer_flags)
  foreach(dep ${arg_DEPS})
    target_link_libraries(ninfer_${name} PUBLIC ninfer_${dep})
  endforeach()
  target_link_libraries(ninfer_${name} PUBLIC ${arg_LIBS})
  set(kind ROOM)
  if(arg_HEADERS)
    set(kind ROOM_${name})
  endif()
  if(NOT arg_OWN_FLAGS)
    ninfer_precompile(ninfer_${name} ${kind} ${arg_HEADERS})
  endif()
endfunction()

# Whether the rooms (arg_DEPS) and files (arg_SOURCES) of a test are there.
set(NINFER_INCOMPLETE WARNING CACHE STRING "What a test with a room or file missing is: an ERROR, or left out with a WARNING")
function(ninfer_complete result name)
  set(missing)
  foreach(dep ${arg_DEPS})
    if(NOT TARGET ninfer_${dep})
      list(APPEND missing "room ${dep}")
    endif()
  endforeach()
  foreach(source ${arg_SOURCES})
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${source})
      list(APPEND missing "${source}")
    endif()
  endforeach()
  if(missing)
    string(REPLACE "ERROR" "FATAL_ERROR" mode ${NINFER_INCOMPLETE})
    message(${mode} "${name}: not found: ${missing}")
    set(${result} FALSE PARENT_SCOPE)
  else()
    set(${result} TRUE PARENT_SCOPE)
  endif()
endfunction()

# The largest tests are linked in a tenth of the time where gold is at hand.
find_program(GOLD ld.gold)
function(ninfer_link_fast target)
  if(GOLD)
    target_link_options(${target} PRIVATE -fuse-ld=gold)
  endif()
endfunction()

# Folders that tests may write to, all of them inside the build folder.
set(NINFER_TEST_RESULTS ${CMAKE_BINARY_DIR}/test-results)
set(NINFER_TEST_TMP ${CMAKE_BINARY_DIR}/tmp)
set(NINFER_TEST_CACHE ${CMAKE_BINARY_DIR}/cache)

# What every test has in common: where it may write, and where gtest leaves the results of each case.
function(ninfer_test_properties name)
  cmake_parse_arguments(arg "SERIAL" "" "LABELS" ${ARGN})
  file(MAKE_DIRECTORY ${NINFER_TEST_TMP}/${name})
  set(environment TMPDIR=${NINFER_TEST_TMP}/${name} TEST_TMPDIR=${NINFER_TEST_TMP}/${name}
      XDG_CACHE_HOME=${NINFER_TEST_CACHE} GTEST_OUTPUT=xml:${NINFER_TEST_RESULTS}/${name}.xml)
  set(timeout 900)
  if("full" IN_LIST arg_LABELS)
    set(timeout 5400)
    set_tests_properties(${name} PROPERTIES COST 1000) # first, or one is left to run alone
  endif()
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "${environment}" SKIP_RETURN_CODE 77
                       TIMEOUT ${timeout} LABELS "${arg_LABELS}" RUN_SERIAL ${arg_SERIAL})
endfunction()

# ninfer_test(NAME SOURCES... DEPS room... [LIBS library...] [LABELS full] [SERIAL]
# [FULL [SHARDS n]]): one gtest program, one ctest entry. SERIAL is for a test that measures time or
# needs the machine to itself. With FULL there is a second entry in the full tier, X_full_test for
# X_test, whose environment says so (tests/tier.h) and which does all that X_test does: that has the
# label `part`. With SHARDS it is n entries, X_full_1_test and so on, so that each keeps within its
# time. Programs that the test runs are named in PROGRAMS. Labels: `full` is left out of the quick
# tier, `part` out of the full tier's release build, `release` runs in the release build alone, not
# under the sanitisers. Of the others `threads` alone run under ThreadSanitizer: tests of what
# several threads share, built by the target threads-tests.
add_custom_target(threads-tests)
function(ninfer_test name)
  cmake_parse_arguments(arg "SERIAL;FULL" "SHARDS" "SOURCES;DEPS;LIBS;LABELS;PROGRAMS" ${ARGN})
  ninfer_complete(complete ${name})
  if(NOT complete)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  # What takes a test's time is the rooms' code: its own is compiled faster than it would be optimised.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  target_compile_definitions(${name} PRIVATE NINFER_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                             NINFER_BINARY_DIR="${CMAKE_BINARY_DIR}")
  foreach(dep ${arg_DEPS})
    target_link_libraries(${name} PRIVATE ninfer_${dep})
  endforeach()
  target_link_libraries(${name} PRIVATE ninfer_flags ${arg_LIBS} GTest::gtest GTest::gmock
                        GTest::gtest_main)
  ninfer_link_fast(${name})
  ninfer_precompile(${name} TEST <fstream> <gmock/gmock.h> <gtest/gtest.h>)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(arg_PROGRAMS)
    add_dependencies(${name} ${arg_PROGRAMS})
  endif()
  if("threads" IN_LIST arg_LABELS)
    add_dependencies(threads-tests ${name})
  endif()
  add_test(NAME ${name} COMMAND ${name})
  if(arg_SERIAL)
    set(serial SERIAL)
  endif()
  if(arg_FULL)
    list(APPEND arg_LABELS part)
  endif()
  ninfer_test_properties(${name} ${serial} LABELS ${arg_LABELS})
  if(arg_FULL)
    if(NOT arg_SHARDS)
      set(arg_SHARDS 1)
    endif()
    foreach(shard RANGE 1 ${arg_SHARDS})
      if(arg_SHARDS GREATER 1)
        set(which _${shard})
      endif()
      string(REGEX REPLACE "_test$" "_full${which}_test" full ${name})
      add_test(NAME ${full} COMMAND ${name})
      ninfer_test_properties(${full} LABELS full)
      math(EXPR index "${shard} - 1")
      set_property(TEST ${full} APPEND PROPERTY ENVIRONMENT NINFER_FULL_TIER=1
                   GTEST_TOTAL_SHARDS=${arg_SHARDS} GTEST_SHARD_INDEX=${index})
    endforeach()
  endif()
endfunction()

# ninfer_script_test(NAME SCRIPT [LABELS full|release|threads]): a Python script as a ctest
# entry; it leaves with status 77 to be counted as skipped.
function(ninfer_script_test name script)
  cmake_parse_arguments(arg "" "" "LABELS" ${ARGN})
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  add_test(NAME ${name} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/${script}
           --bin ${CMAKE_BINARY_DIR}/bin)
  ninfer_test_properties(${name} LABELS ${arg_LABELS})
endfunction()

# With -DNINFER_LIBFUZZER=ON, under clang, fuzz targets use libFuzzer and everything is built with its
# coverage; without it they use the driver of tests/fuzz/driver.cc, which any compiler builds.
option(NINFER_LIBFUZZER "Build fuzz targets with clang's libFuzzer" OFF)
if(NINFER_LIBFUZZER)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "NINFER_LIBFUZZER needs clang, found ${CMAKE_CXX_COMPILER_ID}")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
  add_link_options(-fsanitize=address,undefined)
  target_compile_options(ninfer_flags INTERFACE -Wno-error)
else()
  add_library(ninfer_fuzz_driver STATIC ${CMAKE_SOURCE_DIR}/tests/fuzz/driver.cc)
  target_link_libraries(ninfer_fuzz_driver PRIVATE ninfer_flags)
endif()

# ninfer_fuzz(NAME SOURCES... DEPS room... [LIBS library...] [SEEDS file-or-folder...] [RUNS n]): the
# program build/fuzz/NAME and a short ctest entry that runs the seeds, the saved offenders of
# tests/fuzz/offenders/NAME, and n (2,000) seeded mutations of them.
function(ninfer_fuzz name)
  cmake_parse_arguments(arg "" "RUNS" "SOURCES;DEPS;LIBS;SEEDS" ${ARGN})
  ninfer_complete(complete ${name})
  if(NOT complete)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  foreach(dep ${arg_DEPS})
    target_link_libraries(${name} PRIVATE ninfer_${dep})
  endforeach()
  target_link_libraries(${name} PRIVATE ninfer_flags ${arg_LIBS})
  ninfer_link_fast(${name})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  set(seeds)
  foreach(seed ${arg_SEEDS})
    get_filename_component(path ${seed} ABSOLUTE)
    list(APPEND seeds ${path})
  endforeach()
  list(APPEND seeds ${CMAKE_SOURCE_DIR}/tests/fuzz/offenders/${name})
  list(JOIN seeds "\n" lines)
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/fuzz/${name}.seeds CONTENT "${lines}\n")
  if(NINFER_LIBFUZZER)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    return()
  endif()
  target_link_libraries(${name} PRIVATE ninfer_fuzz_driver)
  if(NOT arg_RUNS)
    set(arg_RUNS 2000)
  endif()
  add_test(NAME ${name} COMMAND ${name} -runs=${arg_RUNS} -seed=1 ${seeds})
  ninfer_test_properties(${name} LABELS fuzz)
  set_tests_properties(${name} PROPERTIES WORKING_DIRECTORY ${NINFER_TEST_TMP}/${name})
endfunction()

# The target `programs`: every program and shared library of the given folders, without the tests. They are what
# `cmake --install` copies, in the layout of the build folder: programs look for the library in ../lib.
function(ninfer_programs)
  add_custom_target(programs)
  foreach(folder ${ARGN})
    if(EXISTS ${CMAKE_SOURCE_DIR}/${folder}/CMakeLists.txt)
      get_property(targets DIRECTORY ${CMAKE_SOURCE_DIR}/${folder} PROPERTY BUILDSYSTEM_TARGETS)
      foreach(target ${targets})
        get_target_property(type ${target} TYPE)
        if(type STREQUAL "EXECUTABLE" OR type STREQUAL "SHARED_LIBRARY")
          add_dependencies(programs ${target})
          install(TARGETS ${target} RUNTIME DESTINATION bin LIBRARY DESTINATION lib)
        endif()
      endforeach()
    endif()
  endforeach()
endfunction()
