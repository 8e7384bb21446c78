// The two kinds of task that read a user's files and compute nothing:
// prepare_dataset and import_set (common/spec/task_parameters.h has their blobs
// and summaries). Torch-free; one thread.
#ifndef DASM_WORKER_RUNNER_PREPARE_PREPARE_TASK_H_
#define DASM_WORKER_RUNNER_PREPARE_PREPARE_TASK_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/dataset/reader.h"
#include "common/spec/task_parameters.h"

namespace dasm {

// Both check the digests in `files` before and after reading, write `output`
// atomically and return the summary as JSON. The same files and parameters give
// the same bytes.
//   FAILED_PRECONDITION (DATA)  a file changed since the job was submitted, or
//     is damaged; names it
//   INVALID_ARGUMENT            parameters or roles that do not fit together
//   RESOURCE_EXHAUSTED, UNAVAILABLE (STORAGE)  `output` could not be written

absl::StatusOr<std::string> RunPrepareDataset(
    const PrepareDatasetParameters& parameters,
    const std::vector<ResolvedFile>& files, const std::string& output);

// From `files` (roles as for ReadArraySet), or from the set `source` (a
// synthetic.safetensors) when that is not empty. `dataset` is the prepared data
// set that the set is for.
//
// Arrays are sorted by class (stable), as one segment. In space `normalized` a
// pixel is x * std + mean of the data set, computed in double and rounded to
// float once: it is not clamped, since published DC sets leave [0, 1] and their
// accuracy depends on it. In space `pixel` values must lie in [0, 1]. A set
// keeps its values, order and segments.
//   FAILED_PRECONDITION (DATA), beside the above: images of another shape than
//     the data set's, a label that it has not, another factor than the set was
//     made with
// Summary "images_per_class": the most images of a class. "stored_bytes": those
// of the images as fp32.
absl::StatusOr<std::string> RunImportSet(const ImportSetParameters& parameters,
                                         const std::vector<ResolvedFile>& files,
                                         const std::string& source,
                                         const std::string& dataset,
                                         const std::string& output);

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_PREPARE_PREPARE_TASK_H_
