// For tests: the same call on every rank of a gang of threads.
#ifndef DASM_WORKER_ENGINE_TRAINER_GANG_FOR_TESTS_H_
#define DASM_WORKER_ENGINE_TRAINER_GANG_FOR_TESTS_H_

#include <functional>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "worker/collective/thread_collective.h"

namespace dasm {

// Calls `body(rank's collective)` in a thread a rank; returns when all are
// done.
inline void RunGang(int ranks, const std::function<void(Collective*)>& body) {
  auto gang = *ThreadGang::Create(ranks, absl::Seconds(60));
  std::vector<std::thread> threads;
  for (auto& collective : gang) {
    threads.emplace_back([&body, &collective] { body(collective.get()); });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TRAINER_GANG_FOR_TESTS_H_
