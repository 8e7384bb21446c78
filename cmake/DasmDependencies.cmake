# Finds what DASM stands on. Every library comes from Debian 12 but LibTorch,
# which is the pip wheel (FindDasmTorch.cmake). scripts/setup installs them.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PNG REQUIRED)
find_package(JPEG REQUIRED)
find_package(Protobuf REQUIRED)
find_package(absl REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(spdlog REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(SQLiteCpp REQUIRED)
find_package(SQLite3 REQUIRED)
# By pkg-config: without its -D flags header and library disagree on class
# layout.
pkg_check_modules(HTTPLIB REQUIRED IMPORTED_TARGET cpp-httplib)
pkg_check_modules(MATIO REQUIRED IMPORTED_TARGET matio)
if(BUILD_TESTING)
  find_package(GTest REQUIRED)
  find_package(benchmark REQUIRED)
endif()
if(DASM_WITH_WORKER)
  find_package(DasmTorch REQUIRED)
endif()

find_program(DASM_CCACHE ccache)
if(DASM_CCACHE)
  # The sloppiness lets ccache serve files that use the precompiled header, the
  # base folder lets clones share what was compiled one file at a time (files
  # compiled as one are named by absolute paths). In depend mode a file that
  # ccache does not know is not preprocessed before it is compiled; the compiler
  # tells what it read.
  set(launcher ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=true CCACHE_DEPEND=true
      ${DASM_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()
find_program(DASM_MOLD mold)
if(DASM_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# dasm::grpc is the one door to gRPC, Protobuf and Abseil. The static form lets
# a binary run on machines that have none of them and keeps their symbols away
# from other libraries' copies; Debian's CMake targets are shared-only, hence
# the list.
add_library(dasm_grpc INTERFACE)
add_library(dasm::grpc ALIAS dasm_grpc)
if(DASM_STATIC_RPC)
  file(GLOB absl_archives /usr/lib/${CMAKE_CXX_LIBRARY_ARCHITECTURE}/libabsl_*.a)
  set(static_dir /usr/lib/${CMAKE_CXX_LIBRARY_ARCHITECTURE})
  target_link_libraries(dasm_grpc INTERFACE
    "-Wl,--whole-archive" ${static_dir}/libgrpc++_reflection.a "-Wl,--no-whole-archive"
    "-Wl,--start-group"
    ${static_dir}/libgrpc++.a ${static_dir}/libgrpc.a ${static_dir}/libgpr.a
    ${static_dir}/libaddress_sorting.a ${static_dir}/libupb.a ${static_dir}/libprotobuf.a
    ${absl_archives} ${static_dir}/libre2.a ${static_dir}/libcares.a
    "-Wl,--end-group"
    ${static_dir}/libssl.a ${static_dir}/libcrypto.a z dl atomic Threads::Threads)
  target_link_options(dasm_grpc INTERFACE "LINKER:--exclude-libs,ALL")
else()
  target_link_libraries(dasm_grpc INTERFACE
    gRPC::grpc++ gRPC::grpc++_reflection protobuf::libprotobuf
    absl::status absl::statusor absl::strings absl::str_format absl::time
    absl::synchronization absl::flat_hash_map absl::flat_hash_set absl::span
    absl::random_random absl::any_invocable absl::cleanup
    OpenSSL::SSL OpenSSL::Crypto Threads::Threads)
endif()

# Abseil alone, for plug-ins: shared whatever the executables do, because
# Debian's archives cannot go into a shared library. An executable with the
# static ones exports none of them, so the two copies do not meet; a status that
# crosses is of one layout.
add_library(dasm_absl INTERFACE)
target_link_libraries(dasm_absl INTERFACE
  absl::status absl::statusor absl::strings absl::str_format absl::time absl::span
  Threads::Threads)
