// DC's own augmentation of grey digits (Zhao et al. 2021), which its MNIST
// evaluation needs: each image is shifted, resized or rotated.
//
//   crop    pad 4 with the channel mean of the batch, offset 0 .. 7 an axis
//   scale   height and width each int(U(0.8, 1.2) * side), nearest, centred,
//           zero fill
//   rotate  integer angle in [-45, 44] degrees, cubic spline, filled with the
//           mean of the channel means, enlarged, then cropped at the centre
//
// Not differentiable; computed on the host in fp32 (splines in fp64).
#ifndef DASM_WORKER_ENGINE_AUGMENTATION_DC_MNIST_AUGMENTATION_H_
#define DASM_WORKER_ENGINE_AUGMENTATION_DC_MNIST_AUGMENTATION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/base/random_stream.h"
#include "worker/engine/network/network.h"

namespace dasm {

struct DcMnistDraw {
  enum class Operation { kCrop, kScale, kRotate };
  struct Image {
    Operation operation = Operation::kCrop;
    int top = 0;  // crop: offsets into the padded image
    int left = 0;
    int height = 0;  // scale: new size
    int width = 0;
    int degrees = 0;  // rotate
  };
  std::vector<Image> images;

  DcMnistDraw Select(absl::Span<const int64_t> positions) const;
};

// Image i's draw comes from stream.At(a, b, 1 + i).
DcMnistDraw DrawDcMnist(const RandomStream& stream, uint32_t a, uint32_t b,
                        int64_t batch, ImageShape shape);

// The mean of each channel over a whole batch [N, C, H, W]: the fill values,
// taken before a batch is cut into slices.
std::vector<float> ChannelMeans(const at::Tensor& images);

// `images` [n, C, H, W] fp32 on the host, one draw each.
at::Tensor ApplyDcMnist(const at::Tensor& images, const DcMnistDraw& draw,
                        const std::vector<float>& channel_means);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_AUGMENTATION_DC_MNIST_AUGMENTATION_H_
