// For tests: the same call on every rank of a gang.
#ifndef DASM_WORKER_ENGINE_TRAINER_GANG_FOR_TESTS_H_
#define DASM_WORKER_ENGINE_TRAINER_GANG_FOR_TESTS_H_

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "worker/collective/thread_collective.h"

namespace dasm {

// Calls `body(rank's collective)` in a thread a rank; returns when all are
// done.
inline void RunRanks(const std::vector<std::unique_ptr<Collective>>& gang,
                     const std::function<void(Collective*)>& body) {
  std::vector<std::thread> threads;
  for (const auto& collective : gang) {
    threads.emplace_back([&body, &collective] { body(collective.get()); });
  }
  for (std::thread& thread : threads) thread.join();
}

// On a gang of threads.
inline void RunGang(int ranks, const std::function<void(Collective*)>& body) {
  RunRanks(*ThreadGang::Create(ranks, absl::Minutes(5)), body);
}

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TRAINER_GANG_FOR_TESTS_H_
