// Differentiable augmentation in two flavours (Zhao & Bilen 2021, DSA; Kim et
// al. 2022, IDC), split into a draw of parameters on the host and a pure,
// differentiable function of images and parameters.
//
//   kDsa  one operation of the list a call, drawn for the whole batch
//   kIdc  every listed one of flip, color, one of {crop, scale, rotate} (drawn
//         for the whole batch), cutout, in this order
//
// Parameters are per image, or shared by any number of images (Siamese). Those
// of an image depend on its position in the batch only: a part of a batch
// augmented alone gives the bits it has in the whole.
//
// Shapes: images [N, C, H, W], normalised, float or double, any device and
//   memory format; what comes from outside the picture is 0, the mean colour.
//   Augmented images are channels-last, their gradient is dense [N, C, H, W].
#ifndef DASM_WORKER_ENGINE_AUGMENTATION_AUGMENTATION_H_
#define DASM_WORKER_ENGINE_AUGMENTATION_AUGMENTATION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "common/base/random_stream.h"
#include "common/spec/job_spec.h"
#include "worker/engine/network/network.h"

namespace dasm {

enum class AugmentationFlavour { kDsa, kIdc };

struct AugmentationOptions {
  AugmentationFlavour flavour = AugmentationFlavour::kIdc;
  // Each at most once; the order is without effect. Empty: the identity.
  std::vector<Augmentation> operations;
  // Of scale and rotate: what the corners of the sampling grid mean. False for
  // DC, DSA and IDC, true for the trajectory family (MTT).
  bool align_corners = false;
};

// Which operators augment a batch.
struct AugmentationPlan {
  // Applied in this order: flip, color, one of {crop, scale, rotate}, cutout,
  // as many of them as there are.
  std::vector<Augmentation> operations;
  bool align_corners = false;

  // Part of the key of a recorded step (step_graph.h).
  std::string Key() const;
};

// What to do with a batch. Tensors are [n] on one device, n = 1 (shared by all
// images) or the batch; float64 and int64, so that one draw serves every dtype.
struct AugmentationDraw : AugmentationPlan {
  at::Tensor flip;        // int64, 1: mirrored left to right
  at::Tensor brightness;  // added, [-0.5, 0.5)
  at::Tensor saturation;  // factor around the pixel's channel mean, [0, 2)
  at::Tensor contrast;    // factor around the image's mean, [0.5, 1.5)
  at::Tensor shift_y;     // int64; output row y shows input row y + shift_y
  at::Tensor shift_x;     // int64
  at::Tensor cutout_y;    // int64, centre row of the square
  at::Tensor cutout_x;    // int64
  at::Tensor scale_y;     // factor of the sampling coordinates, [1/1.2, 1.2);
                          // not 0
  at::Tensor scale_x;
  at::Tensor angle;  // radians, +-15 degrees

  int64_t size() const { return flip.size(0); }
  // The draw for these positions of the batch; itself where shared.
  AugmentationDraw Select(absl::Span<const int64_t> positions) const;
  // All of the tensors in one, float64 [11, n]: an input of a recorded step.
  at::Tensor Parameters() const;
};

// Parameters per image: the operation from stream.At(a, b, 0), image i's
// parameters from stream.At(a, b, 1 + i).
AugmentationDraw DrawAugmentation(const AugmentationOptions& options,
                                  const RandomStream& stream, uint32_t a,
                                  uint32_t b, int64_t batch, ImageShape shape);

// One operation and one set of parameters for every image, from
// stream.At(a, b, c): Siamese augmentation of real and synthetic images.
AugmentationDraw DrawSharedAugmentation(const AugmentationOptions& options,
                                        const RandomStream& stream, uint32_t a,
                                        uint32_t b, uint32_t c,
                                        ImageShape shape);

// Pure, one operator (augment_images.h); differentiable w.r.t. `images` any
// number of times. `draw.size()` is 1 or images.size(0).
at::Tensor ApplyAugmentation(const at::Tensor& images,
                             const AugmentationDraw& draw);
// The same with the Parameters() of a draw, or some columns of them, on the
// device of `images`.
at::Tensor ApplyAugmentation(const at::Tensor& images,
                             const AugmentationPlan& plan,
                             const at::Tensor& parameters);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_AUGMENTATION_AUGMENTATION_H_
