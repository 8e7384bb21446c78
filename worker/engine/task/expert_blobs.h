// For tests of tasks: small experts, trained for real.
#ifndef DASM_WORKER_ENGINE_TASK_EXPERT_BLOBS_H_
#define DASM_WORKER_ENGINE_TASK_EXPERT_BLOBS_H_

#include <cstdint>
#include <string>

#include "common/spec/job_spec.h"

namespace dasm {

// The bytes of an `expert` blob: full-batch gradient steps, four an epoch, on
// the training images of a `dataset` blob. `still`: every row is the first.
// `blind`: it says the first class of every image.
std::string ExpertBlob(const std::string& dataset, const NetworkSpec& network,
                       int epochs, uint64_t seed, bool still = false,
                       bool blind = false);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_EXPERT_BLOBS_H_
