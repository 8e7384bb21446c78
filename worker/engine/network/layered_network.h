// What all networks here have in common: layers in the order of PyTorch's
// parameters(), its default initialisation, several networks as a loop over
// one, and a walk over the layers of a forward.
//
// A subclass adds its layers in its constructor and takes them from a LayerPass
// in the same order. Shapes, numerics, errors, threads: network.h.
#ifndef DASM_WORKER_ENGINE_NETWORK_LAYERED_NETWORK_H_
#define DASM_WORKER_ENGINE_NETWORK_LAYERED_NETWORK_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "worker/engine/network/network.h"

namespace dasm {

constexpr double kNormEps = 1e-5;

// Grey images of 28 pixels, which convolutional networks without a residual pad
// to 32 in their first layer.
bool IsSmallGrey(ImageShape shape);

// In the memory format that oneDNN's convolutions and our norm need no
// reordering of (15 % of a convolution).
at::Tensor ChannelsLast(const at::Tensor& maps);

// 2x2 maximum pooling with stride 2; an odd last row or column is dropped.
at::Tensor MaxPool(const at::Tensor& maps);

struct ConvolutionShape {
  int64_t padding = 1;
  int64_t stride = 1;
  bool biased = true;
};

// One forward of one network. Borrows its arguments.
class LayerPass {
 public:
  // `buffers` may be undefined: then nothing is updated.
  LayerPass(const std::vector<at::Tensor>& slices, Norm norm,
            const ParameterLayout& buffer_layout, BufferMode mode,
            const at::Tensor& buffers)
      : slices_(slices),
        norm_(norm),
        buffer_layout_(buffer_layout),
        mode_(mode),
        buffers_(buffers) {}

  // The next parameter tensor.
  const at::Tensor& Next() { return slices_[next_++]; }

  // With an instance norm, one follows every convolution with a bias.
  at::Tensor Convolve(const at::Tensor& maps, const ConvolutionShape& shape);
  // As the network's norm says; nothing without one. An instance norm is a
  // group norm of one channel a group.
  at::Tensor Normalize(const at::Tensor& maps);
  at::Tensor Linear(const at::Tensor& rows);

 private:
  const std::vector<at::Tensor>& slices_;
  const Norm norm_;
  const ParameterLayout& buffer_layout_;
  const BufferMode mode_;
  const at::Tensor& buffers_;
  size_t next_ = 0;
  size_t next_buffer_ = 0;
};

class LayeredNetwork : public Network {
 public:
  const ParameterLayout& parameters() const final { return parameters_; }
  const ParameterLayout& buffers() const final { return buffers_; }
  ImageShape image_shape() const final { return image_shape_; }
  int classes() const final { return classes_; }
  int64_t features() const final { return features_; }
  at::Tensor Initialize(const RandomStream& stream, uint32_t a,
                        uint32_t b) const final;
  at::Tensor InitialBuffers() const final;
  at::Tensor Forward(const std::vector<at::Tensor>& slices,
                     const at::Tensor& images, BufferMode mode,
                     const at::Tensor& buffers) const final;
  at::Tensor Embed(const std::vector<at::Tensor>& slices,
                   const at::Tensor& images, BufferMode mode,
                   const at::Tensor& buffers) const final;

 protected:
  LayeredNetwork(Norm norm, ImageShape image_shape, int classes)
      : norm_(norm), image_shape_(image_shape), classes_(classes) {}

  Norm norm() const { return norm_; }
  void AddConvolution(const std::string& name, int64_t out, int64_t in,
                      int64_t side, bool biased = true);
  // Nothing without a norm. `name` contains "norm".
  void AddNorm(const std::string& name, int64_t channels);
  void AddLinear(const std::string& name, int64_t out, int64_t in);
  // The last layer.
  void AddClassifier(int64_t features);

  // What the classifier sees: of images [N, C, H, W], [N, features].
  virtual at::Tensor Features(const at::Tensor& images,
                              LayerPass* pass) const = 0;

 private:
  at::Tensor EmbedOne(const std::vector<at::Tensor>& slices,
                      const at::Tensor& images, BufferMode mode,
                      const at::Tensor& buffers) const;
  at::Tensor ForwardOne(const std::vector<at::Tensor>& slices,
                        const at::Tensor& images, BufferMode mode,
                        const at::Tensor& buffers) const;

  const Norm norm_;
  const ImageShape image_shape_;
  const int classes_;
  int64_t features_ = 0;
  ParameterLayout parameters_;
  ParameterLayout buffers_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_NETWORK_LAYERED_NETWORK_H_
