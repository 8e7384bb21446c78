#include "worker/engine/augmentation/dc_mnist_augmentation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "worker/engine/augmentation/cubic_spline.h"

namespace dasm {
namespace {

constexpr int kPadding = 4;
constexpr double kScale = 0.2;
constexpr int kDegrees = 45;

// One channel of one image.
struct Channel {
  const float* in;
  float* out;
  int height;
  int width;
};

void Crop(const Channel& channel, const DcMnistDraw::Image& draw, float fill) {
  for (int y = 0; y < channel.height; ++y) {
    const int from_y = y + draw.top - kPadding;
    for (int x = 0; x < channel.width; ++x) {
      const int from_x = x + draw.left - kPadding;
      const bool inside = from_y >= 0 && from_y < channel.height &&
                          from_x >= 0 && from_x < channel.width;
      channel.out[y * channel.width + x] =
          inside ? channel.in[from_y * channel.width + from_x] : fill;
    }
  }
}

// Nearest resize to draw.height x draw.width in the middle of a canvas that
// holds both sizes, then its middle.
void Scale(const Channel& channel, const DcMnistDraw::Image& draw) {
  const int canvas =
      std::max({draw.height, draw.width, channel.height, channel.width});
  const int shift_y =
      (canvas - channel.height) / 2 - (canvas - draw.height) / 2;
  const int shift_x = (canvas - channel.width) / 2 - (canvas - draw.width) / 2;
  // Torch's nearest: floor(i * (float)(in / out)).
  const float step_y = static_cast<float>(channel.height) / draw.height;
  const float step_x = static_cast<float>(channel.width) / draw.width;
  for (int y = 0; y < channel.height; ++y) {
    const int v = y + shift_y;
    for (int x = 0; x < channel.width; ++x) {
      const int u = x + shift_x;
      float& out = channel.out[y * channel.width + x];
      out = 0;
      if (v < 0 || v >= draw.height || u < 0 || u >= draw.width) continue;
      const int from_y =
          std::min(static_cast<int>(v * step_y), channel.height - 1);
      const int from_x =
          std::min(static_cast<int>(u * step_x), channel.width - 1);
      out = channel.in[from_y * channel.width + from_x];
    }
  }
}

void Rotate(const Channel& channel, const DcMnistDraw::Image& draw,
            float fill) {
  Plane plane;
  plane.height = channel.height;
  plane.width = channel.width;
  plane.pixels.assign(channel.in, channel.in + channel.height * channel.width);
  const Plane turned = RotateBySpline(plane, draw.degrees, fill);
  const int top = (turned.height - channel.height) / 2;
  const int left = (turned.width - channel.width) / 2;
  for (int y = 0; y < channel.height; ++y) {
    for (int x = 0; x < channel.width; ++x) {
      channel.out[y * channel.width + x] = static_cast<float>(
          turned.pixels[(y + top) * turned.width + x + left]);
    }
  }
}

}  // namespace

DcMnistDraw DcMnistDraw::Select(absl::Span<const int64_t> positions) const {
  DcMnistDraw selected;
  for (int64_t position : positions) {
    selected.images.push_back(images[position]);
  }
  return selected;
}

DcMnistDraw DrawDcMnist(const RandomStream& stream, uint32_t a, uint32_t b,
                        int64_t batch, ImageShape shape) {
  DcMnistDraw draw;
  draw.images.resize(batch);
  for (int64_t i = 0; i < batch; ++i) {
    RandomSequence draws = stream.At(a, b, static_cast<uint32_t>(1 + i));
    DcMnistDraw::Image& image = draw.images[i];
    image.operation = static_cast<DcMnistDraw::Operation>(draws.Below(3));
    image.top = static_cast<int>(draws.Below(2 * kPadding));
    image.left = static_cast<int>(draws.Below(2 * kPadding));
    image.height =
        static_cast<int>(draws.Uniform(1 - kScale, 1 + kScale) * shape.height);
    image.width =
        static_cast<int>(draws.Uniform(1 - kScale, 1 + kScale) * shape.width);
    image.degrees = static_cast<int>(draws.Below(2 * kDegrees)) - kDegrees;
  }
  return draw;
}

std::vector<float> ChannelMeans(const at::Tensor& images) {
  std::vector<float> means;
  for (int64_t c = 0; c < images.size(1); ++c) {
    means.push_back(images.select(1, c).mean().item<float>());
  }
  return means;
}

at::Tensor ApplyDcMnist(const at::Tensor& images, const DcMnistDraw& draw,
                        const std::vector<float>& channel_means) {
  const at::Tensor in = images.contiguous();
  at::Tensor out = at::empty_like(in);
  const float* from = in.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  const int channels = static_cast<int>(in.size(1));
  const int height = static_cast<int>(in.size(2));
  const int width = static_cast<int>(in.size(3));
  const float fill =
      std::accumulate(channel_means.begin(), channel_means.end(), 0.0f) /
      static_cast<float>(channels);
  for (int64_t i = 0; i < in.size(0); ++i) {
    const DcMnistDraw::Image& image = draw.images[i];
    for (int c = 0; c < channels; ++c) {
      const int64_t offset = (i * channels + c) * height * width;
      const Channel channel = {from + offset, to + offset, height, width};
      switch (image.operation) {
        case DcMnistDraw::Operation::kCrop:
          Crop(channel, image, channel_means[c]);
          break;
        case DcMnistDraw::Operation::kScale:
          Scale(channel, image);
          break;
        case DcMnistDraw::Operation::kRotate:
          Rotate(channel, image, fill);
          break;
      }
    }
  }
  return out;
}

}  // namespace dasm
