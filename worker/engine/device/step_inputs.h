// Inputs of steps (step_graph.h): how they come to a device, and which record
// they belong to. A device's plug-in compiles this too.
#ifndef DASM_WORKER_ENGINE_DEVICE_STEP_INPUTS_H_
#define DASM_WORKER_ENGINE_DEVICE_STEP_INPUTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace dasm {

// What is recorded once: the key with the shapes and types of the inputs.
std::string RecordKey(const std::string& key,
                      const std::vector<at::Tensor>& inputs);

// `tensor` on `device`. Unlike Tensor::to, the host does not wait until what is
// queued there is done; `tensor` may be changed or freed at once. From host
// memory that is not pinned, as all of ours.
at::Tensor Upload(const at::Tensor& tensor, at::Device device);
// int64 [n].
at::Tensor UploadIndices(absl::Span<const int64_t> indices, at::Device device);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DEVICE_STEP_INPUTS_H_
