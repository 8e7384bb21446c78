# Finds what the CUDA plug-in is built with. No enable_language(CUDA): one file
# needs nvcc, and a machine without one must still configure.
#
#   DASM_WITH_CUDA   AUTO (default): build the plug-in where everything is
#                    there, say what is missing where not; ON: fail then; OFF
#   DASM_CUDA_ROOT   the toolkit; default $CUDA_HOME or /usr/local/cuda
# Defines DASM_HAS_CUDA, the target dasm_cuda_headers, and for the libraries
# DasmTorch_torch_cuda, DasmTorch_c10_cuda, DasmTorch_torch and DASM_CUDART.
set(DASM_WITH_CUDA AUTO CACHE STRING "Build the CUDA plug-in: AUTO, ON or OFF")
set_property(CACHE DASM_WITH_CUDA PROPERTY STRINGS AUTO ON OFF)
set(DASM_HAS_CUDA FALSE)
if(NOT DASM_WITH_WORKER OR DASM_WITH_CUDA STREQUAL "OFF")
  return()
endif()

set(root $ENV{CUDA_HOME})
if(NOT root)
  set(root /usr/local/cuda)
endif()
set(DASM_CUDA_ROOT ${root} CACHE PATH "The CUDA toolkit")
find_program(DASM_NVCC nvcc HINTS ${DASM_CUDA_ROOT}/bin)
find_path(DASM_CUDA_INCLUDE cuda_runtime_api.h HINTS ${DASM_CUDA_ROOT}/include NO_DEFAULT_PATH)
find_path(DASM_NCCL_INCLUDE nccl.h HINTS ${DASM_CUDA_ROOT}/include)
find_library(DASM_CUDART cudart HINTS ${DASM_CUDA_ROOT}/lib64 NO_DEFAULT_PATH)
set(missing "")
foreach(name DASM_NVCC DASM_CUDA_INCLUDE DASM_NCCL_INCLUDE DASM_CUDART)
  if(NOT ${name})
    list(APPEND missing ${name})
  endif()
endforeach()
foreach(name torch_cuda c10_cuda torch)
  find_library(DasmTorch_${name} ${name} HINTS ${DASM_TORCH_ROOT}/lib NO_DEFAULT_PATH)
  if(NOT DasmTorch_${name})
    list(APPEND missing lib${name}.so)
  endif()
endforeach()
if(DASM_NVCC)
  # Torch's own: another runtime in the same process is asking for trouble.
  file(STRINGS ${DASM_TORCH_ROOT}/version.py line REGEX "^cuda")
  string(REGEX MATCH "[0-9]+\\.[0-9]+" wanted "${line}")
  execute_process(COMMAND ${DASM_NVCC} --version OUTPUT_VARIABLE said ERROR_QUIET)
  string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" said "${said}")
  if(NOT CMAKE_MATCH_1 STREQUAL wanted)
    list(APPEND missing "nvcc ${wanted} (found ${CMAKE_MATCH_1})")
  endif()
endif()
if(missing)
  string(REPLACE ";" ", " missing "${missing}")
  if(DASM_WITH_CUDA STREQUAL "ON")
    message(FATAL_ERROR "DASM_WITH_CUDA=ON, but these were not found: ${missing}")
  endif()
  message(STATUS "CUDA plug-in: left out, not found: ${missing}")
  return()
endif()
message(STATUS "CUDA plug-in: ${DASM_NVCC}, NCCL of ${DASM_NCCL_INCLUDE}")
set(DASM_HAS_CUDA TRUE)

add_library(dasm_cuda_headers INTERFACE)
target_include_directories(dasm_cuda_headers SYSTEM INTERFACE
  ${DASM_CUDA_INCLUDE} ${DASM_NCCL_INCLUDE})

# dasm_cuda_object(VARIABLE SOURCE): an object of SOURCE for every architecture
# that is named here, its path in VARIABLE. No torch in these files: nvcc reads
# its headers for a minute.
function(dasm_cuda_object variable source)
  get_filename_component(name ${source} NAME_WE)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.cu.o)
  # Without contraction, as on the host: the bits are those of the formulas.
  add_custom_command(OUTPUT ${object}
    COMMAND ${DASM_NVCC} -std=c++20 -O3 --fmad=false -I${PROJECT_SOURCE_DIR}
      -Xcompiler=-fPIC,-Wall -ccbin ${CMAKE_CXX_COMPILER}
      -gencode arch=compute_80,code=sm_80
      -gencode arch=compute_90,code=sm_90
      -gencode arch=compute_90,code=compute_90
      -MD -MF ${object}.d -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${source}
    DEPFILE ${object}.d
    COMMENT "nvcc ${source}" VERBATIM)
  set(${variable} ${object} PARENT_SCOPE)
endfunction()
