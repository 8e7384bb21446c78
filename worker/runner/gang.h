// The ranks of this process as Collectives: threads that meet in memory, and,
// where the task file names several ranks, processes that meet over the
// network.
#ifndef DASM_WORKER_RUNNER_GANG_H_
#define DASM_WORKER_RUNNER_GANG_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "dasm/worker/v1/runner_service.pb.h"
#include "worker/collective/collective.h"
#include "worker/collective/process_gang.h"
#include "worker/runner/agent_channel.h"

namespace dasm {

struct Gang {
  // Null in a gang of one process.
  std::unique_ptr<ProcessGang> network;
  // One a local thread, in rank order.
  std::vector<std::unique_ptr<Collective>> ranks;
};

// Listens, tells the agent where, waits for the other processes, and joins
// them. Class PREEMPTED when the agent asks for an end meanwhile, COLLECTIVE
// when it cannot listen or a process does not come.
absl::StatusOr<Gang> FormGang(const worker::v1::TaskFile& task,
                              AgentChannel* agent);

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_GANG_H_
