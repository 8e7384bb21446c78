#include "tests/bench/bench_process.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "worker/agent/runner_environment.h"
#include "worker/runner/memory_policy.h"

namespace dasm::bench {

void RunLikeARunner(char** argv) {
  if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    std::vector<std::string> inherited;
    for (char** line = environ; *line != nullptr; ++line) {
      inherited.emplace_back(*line);
    }
    std::vector<std::string> lines =
        RunnerEnvironment(inherited, BestInstructionSet());
    std::vector<char*> environment;
    for (std::string& line : lines) environment.push_back(line.data());
    environment.push_back(nullptr);
    execve("/proc/self/exe", argv, environment.data());
  }
  SetMemoryPolicy();
}

double Now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

void Require(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << "error: " << status << "\n";
  std::exit(1);
}

}  // namespace dasm::bench
