// dasmctl's exit codes: few, documented, and what scripts branch on.
#ifndef DASM_CLIENT_COMMAND_EXIT_CODE_H_
#define DASM_CLIENT_COMMAND_EXIT_CODE_H_

#include "absl/status/status.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

enum ExitCode {
  kExitOk = 0,
  kExitError = 1,  // anything not below
  kExitUsage = 2,  // command line or spec
  kExitNotFound = 3,
  kExitUnauthorized = 4,
  kExitRefused = 5,      // precondition, quota, conflict
  kExitUnreachable = 6,  // no server, or no answer in time
  kExitJobFailed = 10,   // a waited-for job
  kExitJobCancelled = 11,
  kExitTimeout = 124,  // wait --timeout
  kExitInterrupted = 130,
};

int ExitCodeOf(const absl::Status& status);
// Of a job that has ended.
int ExitCodeOf(v1::Job::State state);

}  // namespace dasm

#endif  // DASM_CLIENT_COMMAND_EXIT_CODE_H_
