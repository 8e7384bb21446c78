// How a runner's exit tells its end where its words did not: one code a class
// of the failure taxonomy, below 128, where shells and container managers put
// the codes of signals. Agent and runner share only this file.
#ifndef DASM_WORKER_RUNNER_EXIT_CODE_H_
#define DASM_WORKER_RUNNER_EXIT_CODE_H_

#include <optional>

#include "common/base/error.h"

namespace dasm {

inline constexpr int kExitUsage = 2;
// The agent's stream ended: nobody is left to report to.
inline constexpr int kExitAgentGone = 63;
// kExitFailureBand + class.
inline constexpr int kExitFailureBand = 64;

inline int ExitCodeOf(FailureClass failure) {
  return kExitFailureBand + static_cast<int>(failure);
}

// Empty for a code outside the band.
inline std::optional<FailureClass> FailureOfExitCode(int code) {
  const int last = ExitCodeOf(FailureClass::kInternal);
  if (code < kExitFailureBand || code > last) return std::nullopt;
  return static_cast<FailureClass>(code - kExitFailureBand);
}

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_EXIT_CODE_H_
