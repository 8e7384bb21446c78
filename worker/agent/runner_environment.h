// The environment every runner starts with. It is part of the numerics class:
// the same bits are promised only under the same pins.
#ifndef DASM_WORKER_AGENT_RUNNER_ENVIRONMENT_H_
#define DASM_WORKER_AGENT_RUNNER_ENVIRONMENT_H_

#include <string>
#include <vector>

namespace dasm {

// What kernels may use, to the widest that libraries tell apart. VNNI
// multiplies bytes exactly and nothing else: with it the bits, and the numerics
// class, are those of AVX-512.
enum class InstructionSet { kBaseline, kAvx2, kAvx512, kAvx512Vnni };

// The widest that this CPU has.
InstructionSet BestInstructionSet();

// "NAME=value" lines: `inherited` with the pinned variables replaced. Threads
// are ranks, OpenMP's only for eigenvectors; those wait some microseconds for
// each other before they sleep. Libraries use exactly this instruction set;
// malloc uses huge pages (a tunable is read at process start).
std::vector<std::string> RunnerEnvironment(
    const std::vector<std::string>& inherited, InstructionSet instructions);

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_RUNNER_ENVIRONMENT_H_
