// What the parts of a job say about each other when trajectories are matched:
// recipe and labels, protocol and snapshots, preprocessing and images.
#ifndef DASM_COMMON_SPEC_TRAJECTORY_CHECK_H_
#define DASM_COMMON_SPEC_TRAJECTORY_CHECK_H_

#include "absl/status/status.h"
#include "common/spec/field_reader.h"
#include "common/spec/job_spec.h"

namespace dasm {

// Of every method: what only trajectory matching has (ZCA, correct samples,
// snapshots, learned step sizes, ...) is refused elsewhere, and what it does
// not have is refused in it.
void CheckMethod(const JobSpec& spec, FieldReader* reader);

// INVALID_ARGUMENT for whitening of images above 64 pixels a side.
absl::Status CheckZcaSide(const JobSpec& spec, int side);

// INVALID_ARGUMENT for a student batch above the images that a step can see.
// `classes` 0: unknown.
absl::Status CheckStudentBatches(const JobSpec& spec, int classes);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_TRAJECTORY_CHECK_H_
