// The whiten_dataset task: ZCA fitted on the training images and applied to
// every split (worker/engine/dataset/zca.h). Whitened images go to the output
// as they are computed, so that memory is that of the matrices.
#ifndef DASM_WORKER_ENGINE_TASK_WHITEN_DATASET_H_
#define DASM_WORKER_ENGINE_TASK_WHITEN_DATASET_H_

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/task/task.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

// The images' metadata "whitening" names epsilon and the training images. A
// stop ends it between chunks, without a checkpoint. INVALID_ARGUMENT (field
// dataset.preprocessing) above 64 pixels a side; DATA for images that are
// whitened already, or a single one.
absl::StatusOr<TaskOutcome> WhitenDataset(
    const WhitenDatasetParameters& parameters, const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_WHITEN_DATASET_H_
