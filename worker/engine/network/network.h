// Networks as pure functions of one flat parameter vector, so that experts,
// masks, optimisers and all-reduce are vector operations.
//
// Shapes: N images, C channels, H x W pixels, K networks side by side, P
//   parameters, B buffer values (BatchNorm statistics). Forward and Embed take
//   either one network (slices of a [P] vector, images [N, C, H, W]) or K
//   (slices of [K, P], images [K, N, C, H, W], buffers [K, B]); results have
//   the leading K where the images have it. K networks at once give the bits
//   of K calls, for two images or more: a matrix-vector product's bits depend
//   on the alignment of the matrix.
// Units: images are normalised (mean 0, standard deviation 1 per channel).
// Numerics: any floating dtype; device and dtype are those of the inputs.
//   Differentiable twice.
// Errors: shapes are the caller's duty; a mismatch throws c10::Error.
// Threads: const methods are thread-safe.
#ifndef DASM_WORKER_ENGINE_NETWORK_NETWORK_H_
#define DASM_WORKER_ENGINE_NETWORK_NETWORK_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/random_stream.h"
#include "common/spec/job_spec.h"
#include "worker/engine/network/parameter_layout.h"

namespace dasm {

struct ImageShape {
  int channels = 0;
  int height = 0;
  int width = 0;
  int64_t elements() const { return int64_t{channels} * height * width; }
  bool operator==(const ImageShape&) const = default;
};

enum class BufferMode {
  // Statistics of the batch; the running ones in `buffers` are updated in place
  // with momentum 0.1 (where `buffers` is defined).
  kTrain,
  // The running statistics in `buffers`.
  kEval,
};

class Network {
 public:
  virtual ~Network() = default;

  // The order of PyTorch's parameters(): layer after layer, weight then bias;
  // fc.w, fc.b last. Of a residual block the shortcut comes last.
  virtual const ParameterLayout& parameters() const = 0;
  // Empty unless the norm is batch: running mean and variance of each norm.
  virtual const ParameterLayout& buffers() const = 0;
  virtual ImageShape image_shape() const = 0;
  virtual int classes() const = 0;
  // Length of an embedding.
  virtual int64_t features() const = 0;

  // A fresh [P] fp32 vector on the host: weights and biases of convolutions and
  // the classifier uniform in +-1/sqrt(fan in) (PyTorch's defaults), norms 1
  // and 0. Tensor t of the layout draws from stream.At(a, b, t).
  virtual at::Tensor Initialize(const RandomStream& stream, uint32_t a = 0,
                                uint32_t b = 0) const = 0;
  // A fresh [B] fp32 vector on the host: mean 0, variance 1.
  virtual at::Tensor InitialBuffers() const = 0;

  // The tensors of the layout as views of `flat`, [P] or [K, P].
  std::vector<at::Tensor> Slice(const at::Tensor& flat) const;

  // Logits [N, classes]. `buffers` may be undefined without BatchNorm.
  virtual at::Tensor Forward(const std::vector<at::Tensor>& slices,
                             const at::Tensor& images, BufferMode mode,
                             const at::Tensor& buffers = {}) const = 0;
  // What the classifier sees, flattened: [N, features].
  virtual at::Tensor Embed(const std::vector<at::Tensor>& slices,
                           const at::Tensor& images, BufferMode mode,
                           const at::Tensor& buffers = {}) const = 0;
};

// INVALID_ARGUMENT (field "network...") for an unknown name, a norm that the
// network does not have, or an image size or depth that it does not allow.
absl::StatusOr<std::unique_ptr<Network>> MakeNetwork(const NetworkSpec& spec,
                                                     ImageShape image_shape,
                                                     int classes);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_NETWORK_NETWORK_H_
