// A picture of a stored set: a row a class, all its stored images side by side.
#ifndef DASM_WORKER_ENGINE_TASK_IMAGE_GRID_H_
#define DASM_WORKER_ENGINE_TASK_IMAGE_GRID_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "worker/engine/dataset/set_data.h"

namespace dasm {

// Pixels of any range for a picture (as MTT's, Cazenavette et al. 2022):
// clipped to 2.5 standard deviations around the mean of all, then each image
// stretched to [0, 1].
at::Tensor StretchForDisplay(const at::Tensor& pixels);

struct ImageGrid {
  int64_t width = 0;
  int64_t height = 0;
  int channels = 0;             // 1 or 3
  std::vector<uint8_t> pixels;  // [height, width, channels]
};

// Every pixel becomes a square, so that images are at least ~64 pixels high
// (less where a row would be wider than 8192), with white lines between. With
// other than three channels the first is shown. What would make the picture
// larger than 65535 pixels in a direction is left out.
ImageGrid DrawGrid(const SetData& set, int classes);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_IMAGE_GRID_H_
