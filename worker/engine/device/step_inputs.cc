#include "worker/engine/device/step_inputs.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace dasm {

std::string RecordKey(const std::string& key,
                      const std::vector<at::Tensor>& inputs) {
  std::string record = key;
  for (const at::Tensor& input : inputs) {
    absl::StrAppend(&record, " ", c10::toString(input.scalar_type()), "[",
                    absl::StrJoin(input.sizes(), ","), "]");
  }
  return record;
}

at::Tensor Upload(const at::Tensor& tensor, at::Device device) {
  if (tensor.device() == device) return tensor;
  return tensor.to(tensor.options().device(device), /*non_blocking=*/true);
}

at::Tensor UploadIndices(absl::Span<const int64_t> indices, at::Device device) {
  const at::Tensor host =
      at::empty({static_cast<int64_t>(indices.size())}, at::kLong);
  std::copy(indices.begin(), indices.end(), host.mutable_data_ptr<int64_t>());
  return Upload(host, device);
}

}  // namespace dasm
