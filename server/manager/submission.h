// From what a user submits to the records of a new job, with everything checked
// that can be checked before anything runs.
#ifndef DASM_SERVER_MANAGER_SUBMISSION_H_
#define DASM_SERVER_MANAGER_SUBMISSION_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/artifact/blob_store.h"
#include "common/dataset/source.h"
#include "common/spec/job_spec_proto.h"
#include "dasm/v1/job.pb.h"
#include "server/job/records.h"
#include "server/planner/planner.h"

namespace dasm {

struct Submission {
  ExpandedSpec expanded;
  TaskGraph graph;
};

//   INVALID_ARGUMENT     a field of the spec (ExpandSpec, PlanJob)
//   FAILED_PRECONDITION  data set, synthetic set or scores missing or wrong
absl::StatusOr<Submission> PrepareSubmission(const v1::JobSpec& given,
                                             const DataRoots& roots,
                                             BlobStore* blobs);

struct NewJob {
  JobRecord job;
  std::vector<TaskRecord> tasks;
};
// With a fresh id; every task WAITING.
NewJob MakeJob(const Submission& submission, const v1::JobSpec& given,
               const std::string& project, const std::string& request_id,
               absl::Time now);

// Of a spec as given, unknown fields included; guards request_id.
std::string SpecDigest(const v1::JobSpec& spec);

}  // namespace dasm

#endif  // DASM_SERVER_MANAGER_SUBMISSION_H_
