#include "worker/engine/parameterization/multi_formation.h"

#include <ATen/ATen.h>

#include <vector>

#include "common/base/logging.h"
#include "worker/engine/device/bilinear.h"

namespace dasm {

MultiFormation::MultiFormation(int factor) : factor_(factor) {
  DASM_CHECK(factor >= 1);
}

at::Tensor MultiFormation::Decode(const at::Tensor& stored) const {
  if (factor_ == 1) return stored;
  const int64_t height = stored.size(2);
  const int64_t width = stored.size(3);
  const int64_t tile_height = TileSide(height);
  const int64_t tile_width = TileSide(width);
  at::Tensor padded = stored;
  if (tile_height * factor_ != height || tile_width * factor_ != width) {
    padded = at::constant_pad_nd(
        stored,
        {0, tile_width * factor_ - width, 0, tile_height * factor_ - height},
        0.5);
  }
  std::vector<at::Tensor> tiles;
  tiles.reserve(this->tiles());
  for (int row = 0; row < factor_; ++row) {
    const at::Tensor band = padded.narrow(2, row * tile_height, tile_height);
    for (int column = 0; column < factor_; ++column) {
      tiles.push_back(band.narrow(3, column * tile_width, tile_width));
    }
  }
  return ResizeBilinear(at::cat(tiles), height, width);
}

at::Tensor MultiFormation::DecodeLabels(const at::Tensor& labels) const {
  return labels.repeat({tiles()});
}

}  // namespace dasm
