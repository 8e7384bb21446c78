// What the tasks of trajectory matching read beside the data set.
#ifndef DASM_WORKER_ENGINE_TASK_TRAJECTORY_INPUTS_H_
#define DASM_WORKER_ENGINE_TASK_TRAJECTORY_INPUTS_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"
#include "worker/engine/labels/label_logits.h"
#include "worker/engine/sampler/class_sampler.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

// `spec` with the start epochs of the input "range", where there is one. DATA,
// naming the path, for a file without them or with an empty range.
absl::StatusOr<TrajectoryMatchingSpec> WithRange(
    const TrajectoryMatchingSpec& spec, const TaskFiles& files);

// Epochs that an expert must have to be matched as `spec` says.
int NeededEpochs(const TrajectoryMatchingSpec& spec);

// Inputs expert.1 ..; at least one. DATA as ExpertFile::Open.
absl::StatusOr<Experts> OpenExperts(const TaskFiles& files,
                                    const NetworkIdentity& network,
                                    const ImageData& data, int epochs);
// Input "probe"; null without.
absl::StatusOr<std::unique_ptr<ExpertFile>> OpenProbe(
    const TaskFiles& files, const NetworkIdentity& network,
    const ImageData& data, int epochs);

// Of the process or, on a device, of its allocator.
int64_t PeakMemoryBytes(at::Device device);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_TRAJECTORY_INPUTS_H_
