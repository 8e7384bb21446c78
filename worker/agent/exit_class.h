// What the end of a runner that said nothing means.
#ifndef DASM_WORKER_AGENT_EXIT_CLASS_H_
#define DASM_WORKER_AGENT_EXIT_CLASS_H_

#include <string>

#include "common/base/error.h"
#include "worker/agent/runner_launcher.h"

namespace dasm {

// Of a runner that this agent did not end itself. An exit code of the failure
// taxonomy (worker/runner/exit_code.h) says so itself, and what a process does
// to itself (SIGSEGV, SIGABRT, SIGBUS, SIGFPE, any other code) is INTERNAL:
// another worker gets a try. SIGKILL only ever comes from outside: from the
// kernel for want of memory (OOM_HOST), when it counted one while the runner
// ran (`out_of_memory`), else from an operator, a supervisor or a dying
// container, and then the task was lost with its place: NODE_LOST.
FailureClass ClassOfExit(const RunnerExit& exit, bool out_of_memory);

// "exit code 3", "signal 9 (Killed)".
std::string Describe(const RunnerExit& exit);

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_EXIT_CLASS_H_
