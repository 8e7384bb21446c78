#include "worker/engine/task/expert_blobs.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <memory>
#include <numeric>
#include <vector>

#include "common/artifact/safetensors.h"
#include "common/base/file_system.h"
#include "common/base/logging.h"
#include "common/base/temporary_directory.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/dataset/tensor_view.h"
#include "worker/engine/network/network.h"
#include "worker/engine/teacher/expert_file.h"

namespace dasm {
namespace {

constexpr int kStepsAnEpoch = 4;
constexpr double kRate = 0.3;

}  // namespace

std::string ExpertBlob(const std::string& dataset, const NetworkSpec& spec,
                       int epochs, uint64_t seed, bool still, bool blind) {
  const auto folder = *TemporaryDirectory::Create();
  const std::string path = folder->path() + "/dataset";
  DASM_CHECK(WriteFileAtomically(LocalFileSystem(), path, dataset).ok());
  const std::unique_ptr<ImageData> data = *ImageData::Open(path);
  const std::unique_ptr<Network> network =
      *MakeNetwork(spec, data->shape(), data->classes());
  std::vector<int64_t> all(data->train().size());
  std::iota(all.begin(), all.end(), int64_t{0});
  const at::Tensor images = data->train().Normalised(all);
  const at::Tensor labels = data->train().Labels(all);

  at::Tensor theta = network->Initialize(RandomStream(seed, "expert"));
  at::Tensor buffers = network->InitialBuffers();
  if (blind) {
    const std::vector<at::Tensor> slices = network->Slice(theta);
    slices[slices.size() - 2].zero_();
    slices.back().zero_();
    slices.back()[0].fill_(1);
  }
  std::vector<at::Tensor> rows = {theta.clone()};
  std::vector<at::Tensor> buffer_rows = {buffers.clone()};
  for (int e = 0; e < epochs; ++e) {
    for (int k = 0; k < kStepsAnEpoch && !still && !blind; ++k) {
      const at::Tensor leaf = theta.detach().clone().requires_grad_();
      const at::Tensor loss =
          at::cross_entropy_loss(network->Forward(network->Slice(leaf), images,
                                                  BufferMode::kTrain, buffers),
                                 labels);
      theta = theta - kRate * torch::autograd::grad({loss}, {leaf})[0];
    }
    // A blind one moves without learning.
    if (blind) network->Slice(theta)[0].mul_(1.01);
    rows.push_back(theta.clone());
    buffer_rows.push_back(buffers.clone());
  }
  const at::Tensor trajectory = at::stack(rows);
  const at::Tensor statistics = at::stack(buffer_rows);
  std::map<std::string, TensorView> tensors = {
      {"trajectory", ViewOf(trajectory)}};
  if (statistics.numel() > 0) tensors["buffers"] = ViewOf(statistics);
  return SerializeSafetensors(tensors, ExpertMetadata(spec, epochs, *data));
}

}  // namespace dasm
