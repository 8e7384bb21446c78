// NCCL itself: libnccl.so.2, the copy that torch's CUDA library needs and has
// loaded. Opened by name, so that one process never has two.
#ifndef DASM_WORKER_CUDA_NCCL_LIBRARY_H_
#define DASM_WORKER_CUDA_NCCL_LIBRARY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/cuda/nccl_api.h"

namespace dasm {

inline constexpr char kNcclLibrary[] = "libnccl.so.2";

// For communicators of `device`. FAILED_PRECONDITION, naming the library and
// the remedy: it is missing, lacks a function, or is of another version than
// this was built with (major and minor must be equal; its configuration is
// laid out by them).
absl::StatusOr<std::unique_ptr<NcclApi>> OpenNccl(
    int device, const std::string& library = kNcclLibrary);

}  // namespace dasm

#endif  // DASM_WORKER_CUDA_NCCL_LIBRARY_H_
