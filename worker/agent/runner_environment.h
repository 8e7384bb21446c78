// The environment every runner starts with. It is part of the numerics class:
// the same bits are promised only under the same pins.
#ifndef DASM_WORKER_AGENT_RUNNER_ENVIRONMENT_H_
#define DASM_WORKER_AGENT_RUNNER_ENVIRONMENT_H_

#include <string>
#include <vector>

namespace dasm {

// "NAME=value" lines: `inherited` with the pinned variables replaced. Threads
// are ranks, never OpenMP's; the instruction set is AVX2 where the CPU has it;
// malloc uses huge pages (a tunable is read at process start).
std::vector<std::string> RunnerEnvironment(
    const std::vector<std::string>& inherited, bool cpu_has_avx2);

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_RUNNER_ENVIRONMENT_H_
