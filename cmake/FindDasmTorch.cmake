# Finds LibTorch in the pip wheel (or wherever DASM_TORCH_ROOT points) without
# importing it and without find_package(Torch), which demands a CUDA compiler.
#
#   DASM_TORCH_ROOT   the `torch` folder of a site-packages tree; default: the
#                     wheel that scripts/setup put into <source>/.deps/python
# Defines dasmtorch::torch_cpu and DasmTorch_VERSION.
set(DASM_TORCH_ROOT "${PROJECT_SOURCE_DIR}/.deps/python/torch" CACHE PATH
    "The torch folder of the wheel")
if(EXISTS /usr/include/torch)
  message(FATAL_ERROR "Debian's libtorch-dev is installed: its headers would "
          "shadow the wheel's. Remove it (apt-get remove libtorch-dev).")
endif()
find_path(DasmTorch_INCLUDE torch/csrc/autograd/autograd.h
          HINTS ${DASM_TORCH_ROOT}/include NO_DEFAULT_PATH)
foreach(name torch_cpu c10)
  find_library(DasmTorch_${name} ${name} HINTS ${DASM_TORCH_ROOT}/lib NO_DEFAULT_PATH)
endforeach()
if(EXISTS ${DASM_TORCH_ROOT}/version.py)
  file(STRINGS ${DASM_TORCH_ROOT}/version.py line REGEX "^__version__")
  string(REGEX REPLACE ".*'([^']+)'.*" "\\1" DasmTorch_VERSION "${line}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(DasmTorch
  REQUIRED_VARS DasmTorch_INCLUDE DasmTorch_torch_cpu DasmTorch_c10
  VERSION_VAR DasmTorch_VERSION
  REASON_FAILURE_MESSAGE "run scripts/setup, set DASM_TORCH_ROOT, or configure with -DDASM_WITH_WORKER=OFF")
if(DasmTorch_FOUND AND NOT TARGET dasmtorch::torch_cpu)
  foreach(name torch_cpu c10)
    add_library(dasmtorch::${name} SHARED IMPORTED GLOBAL)
    set_target_properties(dasmtorch::${name} PROPERTIES
      IMPORTED_LOCATION ${DasmTorch_${name}} IMPORTED_NO_SONAME FALSE)
  endforeach()
  # Behind every other folder: the wheel carries google/protobuf headers of
  # another version, and Debian's must win.
  target_compile_options(dasmtorch::torch_cpu INTERFACE
    "SHELL:-idirafter ${DasmTorch_INCLUDE}"
    "SHELL:-idirafter ${DasmTorch_INCLUDE}/torch/csrc/api/include")
  target_link_libraries(dasmtorch::torch_cpu INTERFACE dasmtorch::c10)
endif()
