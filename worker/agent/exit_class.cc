#include "worker/agent/exit_class.h"

#include <signal.h>
#include <string.h>

#include "absl/strings/str_cat.h"
#include "worker/runner/exit_code.h"

namespace dasm {

FailureClass ClassOfExit(const RunnerExit& exit, bool out_of_memory) {
  if (exit.signal == 0) {
    return FailureOfExitCode(exit.code).value_or(FailureClass::kInternal);
  }
  if (exit.signal != SIGKILL) return FailureClass::kInternal;
  return out_of_memory ? FailureClass::kOomHost : FailureClass::kNodeLost;
}

std::string Describe(const RunnerExit& exit) {
  if (exit.signal == 0) return absl::StrCat("exit code ", exit.code);
  return absl::StrCat("signal ", exit.signal, " (", strsignal(exit.signal),
                      ")");
}

}  // namespace dasm
