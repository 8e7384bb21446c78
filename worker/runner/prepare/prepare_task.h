// The kinds of task that read a user's files and compute nothing:
// prepare_dataset, import_set and import_scores (common/spec/task_parameters.h
// has their blobs and summaries). Torch-free; one thread.
#ifndef DASM_WORKER_RUNNER_PREPARE_PREPARE_TASK_H_
#define DASM_WORKER_RUNNER_PREPARE_PREPARE_TASK_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/dataset/reader.h"
#include "common/spec/task_parameters.h"

namespace dasm {

// All check the digests in `files` before and after reading, write `output`
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
// accuracy depends on it; for a whitened data set it is taken as it is, as a
// set in preprocessed space. In space `pixel` values must lie in [0, 1]. A set
// keeps its values, order, segments, space, soft labels and step sizes.
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

// The file of role "scores" as a ranking of the training images of `dataset`:
// floats [N], higher is harder, or integers [classes, n], each row the numbers
// of a class's images from easy to hard (their scores are then their places).
//   FAILED_PRECONDITION (DATA), beside the above: another shape than the
//     training images need, or numbers that are not those of the class, once
//     each
// Summary: {"images", "rule"}.
absl::StatusOr<std::string> RunImportScores(
    const ImportScoresParameters& parameters,
    const std::vector<ResolvedFile>& files, const std::string& dataset,
    const std::string& output);

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_PREPARE_PREPARE_TASK_H_
