// A gang of processes inside one test process: several ProcessGangs that reach
// each other over unix sockets.
#ifndef DASM_WORKER_COLLECTIVE_PROCESS_GANG_FOR_TESTS_H_
#define DASM_WORKER_COLLECTIVE_PROCESS_GANG_FOR_TESTS_H_

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/temporary_directory.h"
#include "worker/collective/process_gang.h"

namespace dasm {

inline std::string TestGangSecret() { return std::string(32, 's'); }

// Before Join: one ProcessGang for each element of `threads`.
struct ListeningGang {
  std::unique_ptr<TemporaryDirectory> folder;
  std::vector<std::unique_ptr<ProcessGang>> processes;
  std::vector<ProcessGang::Member> members;

  explicit ListeningGang(const std::vector<int>& threads)
      : folder(*TemporaryDirectory::Create()) {
    for (size_t p = 0; p < threads.size(); ++p) {
      auto gang =
          ProcessGang::Listen(absl::StrCat("unix:", folder->path(), "/", p));
      DASM_CHECK(gang.ok());
      members.push_back({(*gang)->endpoint(), threads[p]});
      processes.push_back(*std::move(gang));
    }
  }

  // Joins all processes at once; the results in process order.
  using Joined = absl::StatusOr<std::vector<std::unique_ptr<Collective>>>;
  std::vector<Joined> JoinAll(const std::vector<ProcessGang::Options>& options,
                              const std::vector<std::string>& secrets) {
    std::vector<Joined> joined(processes.size());
    std::vector<std::thread> joining;
    for (size_t p = 0; p < processes.size(); ++p) {
      joining.emplace_back([&, p] {
        joined[p] = processes[p]->Join(static_cast<int>(p), members, secrets[p],
                                       options[p]);
      });
    }
    for (std::thread& thread : joining) thread.join();
    return joined;
  }
};

// Every rank of a joined gang, in rank order.
struct JoinedGang {
  ListeningGang listening;
  std::vector<std::unique_ptr<Collective>> ranks;

  JoinedGang(const std::vector<int>& threads,
             const std::vector<ProcessGang::Options>& options)
      : listening(threads) {
    auto joined = listening.JoinAll(
        options, std::vector<std::string>(threads.size(), TestGangSecret()));
    for (auto& process : joined) {
      DASM_CHECK(process.ok());
      for (auto& rank : *process) ranks.push_back(std::move(rank));
    }
  }
  JoinedGang(const std::vector<int>& threads,
             const ProcessGang::Options& options)
      : JoinedGang(threads,
                   std::vector<ProcessGang::Options>(threads.size(), options)) {
  }
};

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_PROCESS_GANG_FOR_TESTS_H_
