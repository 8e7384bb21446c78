// The ConvNet of dataset distillation (Gidaris & Komodakis 2018 as used by
// Zhao et al. 2021): `depth` blocks of 3x3 convolution, norm, ReLU and 2x2
// average pooling, then one linear layer.
//
// The instance norm is a group norm of one channel a group, with affine
// parameters and eps 1e-5. Grey images of 28 pixels are padded to 32 by the
// first convolution (padding 3).
#ifndef DASM_WORKER_ENGINE_NETWORK_CONVNET_H_
#define DASM_WORKER_ENGINE_NETWORK_CONVNET_H_

#include <vector>

#include "worker/engine/network/network.h"

namespace dasm {

class ConvNet final : public Network {
 public:
  // `spec` and `image_shape` were checked by MakeNetwork.
  ConvNet(const NetworkSpec& spec, ImageShape image_shape, int classes);

  // The side of the first block's map for an image side.
  static int FirstBlockSize(ImageShape image_shape, int side);

  const ParameterLayout& parameters() const override { return parameters_; }
  const ParameterLayout& buffers() const override { return buffers_; }
  ImageShape image_shape() const override { return image_shape_; }
  int classes() const override { return classes_; }
  int64_t features() const override { return features_; }
  at::Tensor Initialize(const RandomStream& stream, uint32_t a,
                        uint32_t b) const override;
  at::Tensor InitialBuffers() const override;
  at::Tensor Forward(const std::vector<at::Tensor>& slices,
                     const at::Tensor& images, BufferMode mode,
                     const at::Tensor& buffers) const override;
  at::Tensor Embed(const std::vector<at::Tensor>& slices,
                   const at::Tensor& images, BufferMode mode,
                   const at::Tensor& buffers) const override;

 private:
  at::Tensor EmbedOne(const std::vector<at::Tensor>& slices,
                      const at::Tensor& images, BufferMode mode,
                      const at::Tensor& buffers) const;
  at::Tensor ForwardOne(const std::vector<at::Tensor>& slices,
                        const at::Tensor& images, BufferMode mode,
                        const at::Tensor& buffers) const;
  // What follows the convolution of a block.
  at::Tensor NormReluAndPool(const at::Tensor& maps, int block,
                             const std::vector<at::Tensor>& slices,
                             BufferMode mode, const at::Tensor& buffers) const;

  const NetworkSpec spec_;
  const ImageShape image_shape_;
  const int classes_;
  const int64_t first_padding_;
  int64_t features_ = 0;
  ParameterLayout parameters_;
  ParameterLayout buffers_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_NETWORK_CONVNET_H_
