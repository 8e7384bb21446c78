// What the benches of the engine share as processes: they run as a runner does,
// measure by one clock and end with a message.
#ifndef DASM_TESTS_BENCH_BENCH_PROCESS_H_
#define DASM_TESTS_BENCH_BENCH_PROCESS_H_

#include <vector>

#include "absl/status/status.h"

namespace dasm::bench {

// Starts the program again in a runner's environment, and makes its allocator a
// runner's. With OMP_NUM_THREADS set it stays as it was started, for a
// comparison of environments. First in main().
void RunLikeARunner(char** argv);

double Now();  // seconds of the steady clock
// The upper one of two; 0 of none.
double Median(std::vector<double> values);
// Ends the process with a message unless OK.
void Require(const absl::Status& status);

}  // namespace dasm::bench

#endif  // DASM_TESTS_BENCH_BENCH_PROCESS_H_
