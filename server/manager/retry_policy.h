// What becomes of an action whose attempt ended without a result: the budgets
// of the failure taxonomy (docs/architecture.md). A pure function.
#ifndef DASM_SERVER_MANAGER_RETRY_POLICY_H_
#define DASM_SERVER_MANAGER_RETRY_POLICY_H_

#include "absl/time/time.h"
#include "common/base/error.h"

namespace dasm {

struct RetryDecision {
  bool retry = false;
  bool counts = true;  // against the budget of its class
  absl::Duration back_off = absl::ZeroDuration();
  bool elsewhere = false;  // on another worker, where there is one
};

// `failures`: attempts that ended with this class since the last newer
// checkpoint, without this one.
RetryDecision DecideRetry(FailureClass failure, int failures);

}  // namespace dasm

#endif  // DASM_SERVER_MANAGER_RETRY_POLICY_H_
