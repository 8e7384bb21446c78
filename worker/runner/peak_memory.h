// What this process needed of the host.
#ifndef DASM_WORKER_RUNNER_PEAK_MEMORY_H_
#define DASM_WORKER_RUNNER_PEAK_MEMORY_H_

#include <cstdint>

namespace dasm {

// The most that was resident since the program started, in bytes; 0 when the
// kernel does not say. Unlike getrusage's it is not that of the process which
// forked this one. Never throws.
int64_t PeakHostBytes();

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_PEAK_MEMORY_H_
