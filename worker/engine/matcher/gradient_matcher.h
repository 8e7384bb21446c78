// How a class's stored pixels should move so that its synthetic images induce
// in a network the gradient that its real images do (Zhao et al. 2021; Kim et
// al. 2022, eq. 4).
//
// Shapes: real [R, C, H, W] normalised, stored [n, C, H, W] in [0, 1]; all of
//   one class. Any floating dtype; device and dtype are those of the
//   parameters.
// Cost: gradients are asked for the matched parameters only, and only the
//   synthetic side keeps a graph. Nothing is read back from a device; Match is
//   one recorded step (step_graph.h), and so is a part of MatchInParts.
// Errors: a mismatch of shapes throws c10::Error.
// Threads: immutable.
#ifndef DASM_WORKER_ENGINE_MATCHER_GRADIENT_MATCHER_H_
#define DASM_WORKER_ENGINE_MATCHER_GRADIENT_MATCHER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/spec/job_spec.h"
#include "worker/engine/augmentation/augmentation.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/device/step_graph.h"
#include "worker/engine/network/network.h"
#include "worker/engine/parameterization/multi_formation.h"
#include "worker/engine/shard/shard_runner.h"

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

// Overwritten by the next step of the graph.
struct ClassMatch {
  at::Tensor distance;  // []
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
  // Borrows `network` and `graph` (null: steps are called).
  GradientMatcher(const Network* network, Options options,
                  StepGraph* graph = nullptr);

  // `parameters` [P]. BatchNorm uses the statistics of each side's batch.
  ClassMatch Match(const at::Tensor& parameters, const ClassBatch& batch) const;

  // The same in memory of `micro_batch` images, shared among ranks. Both sides
  // are cut into parts of that many, part k is shard k. Pass 1 adds up the
  // gradients of both sides; the distance and its derivative v with respect to
  // the synthetic one follow from the sums, on every rank; pass 2 computes each
  // part's gradient again, with a graph, and backpropagates <gradient, v> to
  // its pixels. Exact but for rounding, for any distance; not for BatchNorm.
  // Bytes: all-reduces of 2 M floats (M matched parameters) and of the pixels.
  // Errors: those of the collective.
  absl::StatusOr<ClassMatch> MatchInParts(const at::Tensor& parameters,
                                          const ClassBatch& batch,
                                          int64_t micro_batch,
                                          const ShardRunner& runner) const;

  // Floats of all matched parameters.
  int64_t matched_size() const { return matched_size_; }

 private:
  // Leaves; the matched ones require gradients.
  std::vector<at::Tensor> Leaves(const at::Tensor& parameters) const;
  // The gradient w.r.t. the matched ones of `slices` of these images' share of
  // the mean cross-entropy of `whole` images, all of the class `label` [1].
  std::vector<at::Tensor> ParameterGradient(
      const std::vector<at::Tensor>& slices, const at::Tensor& images,
      const at::Tensor& label, int64_t whole, bool create_graph) const;
  // The inputs of steps at these images of the synthetic side (empty: all).
  StepGraph::Tensors Inputs(const at::Tensor& parameters,
                            const ClassBatch& batch,
                            absl::Span<const int64_t> decoded) const;
  // The images that `inputs` tell of, decoded of `stored`, normalised and
  // augmented.
  at::Tensor SyntheticImages(const AugmentationPlan& augmentation,
                             const StepGraph::Tensors& inputs,
                             const at::Tensor& stored) const;
  // Calls `step`, a member below, with `more` and `inputs` as a recorded one.
  template <typename Step, typename... More>
  StepGraph::Tensors Run(absl::string_view name, const ClassBatch& batch,
                         const StepGraph::Tensors& inputs, Step step,
                         More... more) const;

  // Steps. Gradient by the stored pixels, distance.
  StepGraph::Tensors MatchStep(const AugmentationPlan& augmentation,
                               const StepGraph::Tensors& in) const;
  // One row: the gradient of real images, those of the last input...
  StepGraph::Tensors RealStep(const AugmentationPlan& augmentation,
                              const StepGraph::Tensors& in,
                              int64_t whole) const;
  // ... of synthetic ones...
  StepGraph::Tensors SyntheticStep(const AugmentationPlan& augmentation,
                                   const StepGraph::Tensors& in,
                                   int64_t whole) const;
  // ... and the derivative by the stored pixels of its product with the last
  // input, a vector of all matched parameters.
  StepGraph::Tensors ProductStep(const AugmentationPlan& augmentation,
                                 const StepGraph::Tensors& in,
                                 int64_t whole) const;

  const Network* const network_;
  const Options options_;
  std::vector<bool> matched_;  // by tensor of the layout
  int64_t matched_size_ = 0;
  StepGraph* const graph_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_MATCHER_GRADIENT_MATCHER_H_
