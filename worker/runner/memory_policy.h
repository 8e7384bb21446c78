// How the runner's allocator treats memory: it keeps what it freed. By default
// glibc hands every large activation back to the kernel and faults it in again,
// which costs more than the arithmetic on small machines.
#ifndef DASM_WORKER_RUNNER_MEMORY_POLICY_H_
#define DASM_WORKER_RUNNER_MEMORY_POLICY_H_

namespace dasm {

// Before the first large allocation, on the main thread. All threads share one
// arena, so that what one rank freed serves another. Huge pages are the
// agent's part: that tunable is read at process start.
void SetMemoryPolicy();

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_MEMORY_POLICY_H_
