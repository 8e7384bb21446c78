// Jobs as a busy lab would have them, without planner or workers: for tests and
// benches of what stands on a store.
#ifndef DASM_TESTS_SUPPORT_SYNTHETIC_JOBS_H_
#define DASM_TESTS_SUPPORT_SYNTHETIC_JOBS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "server/store/job_store.h"

namespace dasm {

// Job number `number`: every field is set, the id sorts by number, the create
// time is `number` seconds after a fixed instant. The spec is `spec_bytes` of
// text in place of a serialized JobSpec, so a test that parses it must set its
// own.
JobRecord SyntheticJob(int64_t number, int spec_bytes = 600);

// A task of `job` bound to `action_key` (empty: not yet).
TaskRecord SyntheticTask(const std::string& job, const std::string& id,
                         const std::string& action_key);

ActionRecord SyntheticAction(const std::string& key);

// Commits jobs 0 ... `jobs` - 1 with a task and an event each, in the states
// that a service has after a while: one in 100 QUEUED, one in 100 RUNNING, the
// rest ended, one in 20 of them FAILED. Waits; the first error ends it.
absl::Status FillJobStore(JobStore* store, int64_t jobs);

}  // namespace dasm

#endif  // DASM_TESTS_SUPPORT_SYNTHETIC_JOBS_H_
