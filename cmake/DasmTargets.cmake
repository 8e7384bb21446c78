# dasm_library, dasm_binary and dasm_test: the only ways a target is made.

add_library(dasm_options INTERFACE)
target_include_directories(dasm_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(dasm_options INTERFACE
  -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers
  -Werror=switch -Werror=return-type -Werror=unused-result)
if(DASM_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES Clang)
    message(FATAL_ERROR "DASM_FUZZ needs clang's libFuzzer: configure with the preset fuzz")
  endif()
  # All of our code counts for coverage.
  set(DASM_SANITIZE fuzzer-no-link,address,undefined)
endif()
if(DASM_UNITY)
  # Looks at the file named to the compiler, which includes all others.
  target_compile_options(dasm_options INTERFACE -Wno-subobject-linkage)
endif()
if(DASM_SANITIZE)
  target_compile_options(dasm_options INTERFACE -fsanitize=${DASM_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(dasm_options INTERFACE -fsanitize=${DASM_SANITIZE})
endif()
if(DASM_SANITIZE MATCHES thread)
  # Headers of packages lay out other structs when they see this macro, but the
  # packages were built without it.
  target_compile_options(dasm_options INTERFACE -U__SANITIZE_THREAD__)
  add_library(dasm_tsan_locks OBJECT ${PROJECT_SOURCE_DIR}/tests/support/tsan_locks.cc)
  target_link_libraries(dasm_tsan_locks PRIVATE dasm_options absl::synchronization ${CMAKE_DL_LIBS})
endif()
target_compile_definitions(dasm_options INTERFACE DASM_VERSION="${PROJECT_VERSION}"
  SPDLOG_COMPILED_LIB SPDLOG_FMT_EXTERNAL)

if(DASM_WITH_WORKER)
  add_library(dasm_torch INTERFACE)
  add_library(dasm::torch ALIAS dasm_torch)
  target_link_libraries(dasm_torch INTERFACE dasm_options dasmtorch::torch_cpu)
  # Abseil's -pthread reaches most targets; a header precompiled without it
  # would not be used by them.
  target_compile_options(dasm_torch INTERFACE -pthread)
  target_compile_definitions(dasm_torch INTERFACE DASM_TORCH_VERSION="${DasmTorch_VERSION}")
  # The headers of torch cost 13 s a file; precompiled once they cost 3.
  file(WRITE ${PROJECT_BINARY_DIR}/torch_pch.cc "// Intentionally empty: owns the precompiled torch headers.\n")
  add_library(dasm_torch_pch OBJECT ${PROJECT_BINARY_DIR}/torch_pch.cc)
  target_link_libraries(dasm_torch_pch PUBLIC dasm::torch)
  set(torch_headers
    <ATen/ATen.h> <torch/csrc/autograd/autograd.h> <torch/csrc/autograd/custom_function.h>)
  target_precompile_headers(dasm_torch_pch PRIVATE ${torch_headers})
endif()

if(BUILD_TESTING)
  # What nearly every test includes: 3 s a file, once.
  add_library(dasm_test_options INTERFACE)
  target_link_libraries(dasm_test_options INTERFACE dasm_options GTest::gmock GTest::gtest_main)
  # Optimising test code doubles the time of a build and tests nothing more;
  # looking for undefined behaviour in it costs as much again.
  target_compile_options(dasm_test_options INTERFACE -O0 -pthread)
  if(DASM_SANITIZE MATCHES undefined)
    target_compile_options(dasm_test_options INTERFACE -fno-sanitize=undefined)
  endif()
  file(WRITE ${PROJECT_BINARY_DIR}/test_pch.cc "// Intentionally empty: owns the precompiled headers of tests.\n")
  add_library(dasm_test_pch OBJECT ${PROJECT_BINARY_DIR}/test_pch.cc)
  target_link_libraries(dasm_test_pch PRIVATE dasm_options dasm_test_options absl::statusor absl::str_format nlohmann_json::nlohmann_json)
  target_compile_options(dasm_test_pch PRIVATE -fPIE)
  target_precompile_headers(dasm_test_pch PRIVATE
    <map> <memory> <string> <vector> <gmock/gmock.h> <gtest/gtest.h>
    <absl/status/statusor.h> <absl/strings/str_cat.h> <nlohmann/json.hpp>)
  if(DASM_WITH_WORKER)
    # A precompiled header is used at its own level of optimisation alone.
    file(WRITE ${PROJECT_BINARY_DIR}/torch_test_pch.cc "// Intentionally empty: owns the precompiled headers of torch's tests.\n")
    add_library(dasm_torch_test_pch OBJECT ${PROJECT_BINARY_DIR}/torch_test_pch.cc)
    target_link_libraries(dasm_torch_test_pch PRIVATE dasm::torch dasm_test_options)
    target_precompile_headers(dasm_torch_test_pch PRIVATE
      ${torch_headers} <gmock/gmock.h> <gtest/gtest.h>)
  endif()
endif()

# dasm_library(NAME [TORCH] HDRS ... SRCS ... DEPS ...)
# A static library for one folder, alias dasm::NAME.
function(dasm_library name)
  cmake_parse_arguments(arg "TORCH" "" "HDRS;SRCS;DEPS" ${ARGN})
  if(arg_SRCS)
    add_library(dasm_${name} STATIC ${arg_SRCS})
    set_target_properties(dasm_${name} PROPERTIES UNITY_BUILD ${DASM_UNITY} UNITY_BUILD_BATCH_SIZE 0)
    set(scope PUBLIC)
  else()
    add_library(dasm_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  add_library(dasm::${name} ALIAS dasm_${name})
  target_link_libraries(dasm_${name} ${scope} dasm_options ${arg_DEPS})
  target_sources(dasm_${name} ${scope} FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${arg_HDRS})
  set_target_properties(dasm_${name} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
  if(arg_TORCH)
    target_link_libraries(dasm_${name} ${scope} dasm::torch)
    if(arg_SRCS)
      target_precompile_headers(dasm_${name} REUSE_FROM dasm_torch_pch)
    endif()
  endif()
endfunction()

# dasm_binary(NAME [TORCH] SRCS ... DEPS ...): an installed executable.
function(dasm_binary name)
  cmake_parse_arguments(arg "TORCH" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${arg_SRCS})
  target_link_libraries(${name} PRIVATE dasm_options ${arg_DEPS} $<TARGET_NAME_IF_EXISTS:dasm_tsan_locks>)
  if(arg_TORCH)
    target_link_libraries(${name} PRIVATE dasm::torch)
    # As the precompiled header; -fPIE would make it useless.
    target_compile_options(${name} PRIVATE -fPIC)
    target_precompile_headers(${name} REUSE_FROM dasm_torch_pch)
  endif()
  install(TARGETS ${name})
endfunction()

# dasm_test(NAME [TORCH] SRCS ... DEPS ... [LABELS ...] [ENV VAR=VALUE])
# A GoogleTest executable whose cases appear in ctest one by one.
function(dasm_test name)
  if(NOT BUILD_TESTING)
    return()
  endif()
  cmake_parse_arguments(arg "TORCH" "ENV" "SRCS;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${arg_SRCS})
  target_link_libraries(${name} PRIVATE dasm_options dasm_test_options ${arg_DEPS}
    $<TARGET_NAME_IF_EXISTS:dasm_tsan_locks>)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test_bin
    UNITY_BUILD ${DASM_UNITY} UNITY_BUILD_BATCH_SIZE 0)
  if(arg_TORCH)
    target_link_libraries(${name} PRIVATE dasm::torch)
    # As the precompiled header; -fPIE would make it useless.
    target_compile_options(${name} PRIVATE -fPIC)
    target_precompile_headers(${name} REUSE_FROM dasm_torch_test_pch)
  else()
    target_precompile_headers(${name} REUSE_FROM dasm_test_pch)
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  # The preset asan builds and runs these; a name still builds one here.
  if(NOT DASM_TORCH_FREE_TESTS AND NOT arg_TORCH AND NOT "system" IN_LIST arg_LABELS)
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL ON)
    return()
  endif()
  # Test discovery takes a list apart, so each property has one value.
  set(environment ENVIRONMENT OMP_NUM_THREADS=1)
  if(arg_ENV)
    string(REGEX REPLACE "^([^=]+)=" "\\1=set:" modification "${arg_ENV}")
    list(APPEND environment ENVIRONMENT_MODIFICATION ${modification})
  endif()
  gtest_discover_tests(${name} TEST_PREFIX ${name}. DISCOVERY_TIMEOUT 120
    PROPERTIES LABELS "${arg_LABELS}" TIMEOUT 300 ${environment})
endfunction()
