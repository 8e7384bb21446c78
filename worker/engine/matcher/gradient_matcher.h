// How a class's stored pixels should move so that its synthetic images induce
// in a network the gradient that its real images do (Zhao et al. 2021; Kim et
// al. 2022, eq. 4).
//
// Shapes: real [R, C, H, W] normalised, stored [n, C, H, W] in [0, 1]; all of
//   one class. Any floating dtype; device and dtype are those of the
//   parameters.
// Cost: gradients are asked for the matched parameters only, and only the
//   synthetic side keeps a graph.
// Errors: a mismatch of shapes throws c10::Error.
// Threads: immutable.
#ifndef DASM_WORKER_ENGINE_MATCHER_GRADIENT_MATCHER_H_
#define DASM_WORKER_ENGINE_MATCHER_GRADIENT_MATCHER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/spec/job_spec.h"
#include "worker/engine/augmentation/augmentation.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/network/network.h"
#include "worker/engine/parameterization/multi_formation.h"

namespace dasm {

// One class's share of a matching step. Borrows.
struct ClassBatch {
  int64_t label = 0;
  at::Tensor real;
  at::Tensor stored;
  // Which of the n f^2 decoded images take part; empty: all.
  absl::Span<const int64_t> decoded;
  // Shared by all images of both sides.
  const AugmentationDraw* augmentation = nullptr;
};

struct ClassMatch {
  double distance = 0;
  at::Tensor gradient;  // of the distance, [n, C, H, W] like `stored`
};

class GradientMatcher {
 public:
  struct Options {
    Distance distance = Distance::kMse;
    Layers layers = Layers::kConvolutions;
    MultiFormation formation{1};
    Normalization normalization;
  };
  // Borrows `network`.
  GradientMatcher(const Network* network, Options options);

  // `parameters` [P]. BatchNorm uses the statistics of each side's batch.
  ClassMatch Match(const at::Tensor& parameters, const ClassBatch& batch) const;

 private:
  // The mean cross-entropy's gradient w.r.t. the matched ones of `slices`.
  std::vector<at::Tensor> ParameterGradient(
      const std::vector<at::Tensor>& slices, const at::Tensor& images,
      int64_t label, bool create_graph) const;

  const Network* const network_;
  const Options options_;
  std::vector<bool> matched_;  // by tensor of the layout
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_MATCHER_GRADIENT_MATCHER_H_
