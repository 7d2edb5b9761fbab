# SPDX-License-Identifier: Apache-2.0
# Compiler flags shared by every target, and the two functions that declare a part and its tests.

add_library(nextscale_flags INTERFACE)
target_include_directories(nextscale_flags INTERFACE
  ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
target_compile_options(nextscale_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  -Wno-sign-conversion -Werror)
if(NEXTSCALE_SANITIZE)
  target_compile_options(nextscale_flags INTERFACE
    -fsanitize=${NEXTSCALE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(nextscale_flags INTERFACE -fsanitize=${NEXTSCALE_SANITIZE})
endif()

# nextscale_part(NAME sources... DEPS targets...): one layer of the tree as a static library.
function(nextscale_part name)
  cmake_parse_arguments(PART "" "" "DEPS" ${ARGN})
  add_library(nextscale_${name} STATIC ${PART_UNPARSED_ARGUMENTS})
  target_link_libraries(nextscale_${name} PUBLIC nextscale_flags ${PART_DEPS})
endfunction()

# How the sanitizers treat every test: a refused allocation is an answer, as without them.
set(NEXTSCALE_SANITIZER_OPTIONS
  "ASAN_OPTIONS=allocator_may_return_null=1"
  "TSAN_OPTIONS=allocator_may_return_null=1 suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp"
  "UBSAN_OPTIONS=print_stacktrace=1")

# A GoogleTest program that is no test by itself.
function(nextscale_test_program name)
  cmake_parse_arguments(TEST "" "" "DEPS" ${ARGN})
  add_executable(${name} ${TEST_UNPARSED_ARGUMENTS})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE nextscale_flags ${TEST_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE
    NEXTSCALE_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data")
endfunction()

# nextscale_test(NAME sources... DEPS targets... LABELS labels...): one GoogleTest program.
function(nextscale_test name)
  cmake_parse_arguments(TEST "" "" "DEPS;LABELS" ${ARGN})
  nextscale_test_program(${name} ${TEST_UNPARSED_ARGUMENTS} DEPS ${TEST_DEPS})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${TEST_LABELS}" TIMEOUT 1800
    ENVIRONMENT "${NEXTSCALE_SANITIZER_OPTIONS}")
endfunction()

# nextscale_golden_test(FAMILY NAME sources... DEPS targets...): a program whose tests are called
# FAMILY/<case>.<check>. Each case folder that exists when ctest runs becomes a test of its own.
function(nextscale_golden_test family name)
  cmake_parse_arguments(TEST "" "" "DEPS" ${ARGN})
  nextscale_test_program(${name} ${TEST_UNPARSED_ARGUMENTS} DEPS ${TEST_DEPS})
  set(script ${CMAKE_CURRENT_BINARY_DIR}/${name}_cases.cmake)
  file(GENERATE OUTPUT ${script} CONTENT "\
set(golden_family ${family})
set(golden_program $<TARGET_FILE:${name}>)
set(golden_default ${PROJECT_SOURCE_DIR}/tests/data)
set(golden_environment [==[${NEXTSCALE_SANITIZER_OPTIONS}]==])
include(${PROJECT_SOURCE_DIR}/cmake/golden_cases.cmake)
")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${script})
endfunction()

# nextscale_fuzz(NAME source DEPS targets...): one libFuzzer program.
function(nextscale_fuzz name source)
  cmake_parse_arguments(FUZZ "" "" "DEPS" ${ARGN})
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE nextscale_flags ${FUZZ_DEPS})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
endfunction()
