// Predictions of what each task needs, for `explain` and for placing tasks.
//
// With F the FLOPs of a forward pass (network_cost.h) and B the batch:
//   training step     3 F a image: forward, input and weight gradients
//   matching, real    3 F a image
//   matching, synth.  7 F a decoded image: forward, gradient, and the
//                     derivative of the gradient with respect to pixels only
//   testing, scoring  F
// Memory = the runner itself + the data set (bytes) + parameters and their
// companions + what the largest phase keeps at once, where an image keeps 1.36
// times its activations in a training step and 2.8 times on the synthetic side
// (measured: 2.9 and 6.0 MiB for ConvNet-3 of width 128 at 32 pixels).
// Reduced bytes: pixel gradients of one pass and the parameter gradients of its
// network steps, in fp32.
#ifndef DASM_SERVER_PLANNER_TASK_COST_H_
#define DASM_SERVER_PLANNER_TASK_COST_H_

#include <cstdint>

#include "common/spec/task_parameters.h"
#include "server/planner/planner.h"

namespace dasm {

// `input_images`: stored images that the task reads or writes as sets.
TaskCost CostOf(const TaskParameters& parameters,
                const ResolvedDataset& dataset, int64_t input_images);

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_TASK_COST_H_
