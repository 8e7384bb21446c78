// Predictions of what each task needs, for `explain` and for placing tasks.
//
// With F the FLOPs of a forward pass (network_cost.h) and B the batch:
//   training step     3 F a image: forward, input and weight gradients
//   matching, real    3 F a image
//   matching, synth.  7 F a decoded image: forward, gradient, and the
//                     derivative of the gradient with respect to pixels only;
//                     10 F when micro_batch cuts the class, which takes a first
//                     pass without that derivative
//   testing, scoring  F
//   expert            3 F a image, with GSAM 6 F
//   student step      12 F a image: 3 F forward, 9 F for the adjoint, which
//                     computes the step again; full graph 9 F; TESLA 10 F, its
//                     way back being that of matching, synth.
// Memory = the runner itself + the data set (bytes) + parameters and their
// companions + half of what the largest phase would keep with stock operators +
// what the allocator holds back: as much again, at most 100 MiB.
// There an image keeps 1.36 times its activations in a training step and 2.8
// times on the synthetic side (counted: 2.9 and 6.0 MiB for ConvNet-3 of width
// 128 at 32 pixels). The rest is measured, on the CPU: a runner has 140 MiB,
// and 170 once it computes networks. Distilling Fashion-MNIST at IPC 10, fp32,
// it has 390 MiB above the data set with one rank and 502 with two, so that a
// rank keeps 112 of 240; at width 64 it has 262, at 16 pixels 170
// (tests/system/memory_test.cc).
// A student keeps, beside one group of images, the N parameter vectors of its
// path and a vector for each of its groups; the way back takes 1.5 times what
// matching keeps of an image. The full graph keeps all N b images instead.
// Snapshots count twice: they are in every checkpoint, which is copied while it
// is written. Experts are mapped and count as two rows. ZCA: nine matrices in
// double (measured), a chunk of images. Reduced bytes: scaling_model.h, at the
// ranks that the job asks for.
#ifndef DASM_SERVER_PLANNER_TASK_COST_H_
#define DASM_SERVER_PLANNER_TASK_COST_H_

#include <cstdint>
#include <vector>

#include "common/spec/task_parameters.h"
#include "server/planner/network_cost.h"
#include "server/planner/planner.h"

namespace dasm {

int64_t StepsPerEpoch(int64_t images, int batch);
// Passes over a set: recipes dc and trajectory make one more than they say.
int PassesOf(const TrainingRecipe& recipe, int epochs);

// Decoded synthetic images of a class in a step.
int64_t SyntheticPerClass(const DistillSegmentParameters& parameters);
// Images of a class in one kernel call: micro_batch, or all of them.
int EffectiveMicroBatch(const DistillSegmentParameters& parameters);
// Images of a student's step: all, or the spec's.
int64_t StudentBatch(const MatchTrajectoriesParameters& parameters,
                     int classes);
// Images of a student in one kernel call: micro_batch or train_group.
int EffectiveMicroBatch(const MatchTrajectoriesParameters& parameters,
                        int classes);
// Images of an expert's batch in one kernel call.
int EffectiveTrainGroup(const TrainExpertsParameters& parameters);
// Of an image-step, in forward passes.
struct StudentFlops {
  double forward = 0;
  double backward = 0;
};
StudentFlops StudentFlopsOf(Estimator estimator);
bool HasSoftLabels(const TrajectoryMatchingSpec& matching);
// FLOPs of the losses at so many start epochs of a held-out expert.
double ProbeFlops(const MatchTrajectoriesParameters& parameters,
                  const ResolvedDataset& dataset, int start_epochs);
// Of the sets that a run keeps beside its end, two a snapshot with a moving
// average: every checkpoint after they were taken holds them.
int64_t SnapshotBytes(const MatchTrajectoriesParameters& parameters,
                      const ResolvedDataset& dataset);
// Of one expert's file.
int64_t ExpertBytes(const NetworkSpec& network, int epochs,
                    const ResolvedDataset& dataset);
// FLOPs of matching one class in one network.
double MatchFlops(const DistillSegmentParameters& parameters,
                  const NetworkCost& network);

// `input_images`: stored images that the task reads or writes as sets; `parts`:
// decoded images of each segment that a network is trained on, where that
// matters and is known.
TaskCost CostOf(const TaskParameters& parameters,
                const ResolvedDataset& dataset, int64_t input_images,
                const std::vector<int64_t>& parts = {});

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_TASK_COST_H_
