// The ranks of this process as Collectives: threads that meet in memory, and,
// where the task file names several ranks, processes that meet over the
// network, or, where each has a device, by the collective of its plug-in.
#ifndef DASM_WORKER_RUNNER_GANG_H_
#define DASM_WORKER_RUNNER_GANG_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "dasm/worker/v1/runner_service.pb.h"
#include "worker/collective/collective.h"
#include "worker/collective/process_gang.h"
#include "worker/runner/agent_channel.h"

namespace dasm {

// How the ranks of devices meet; of the plug-in that was opened for the task.
struct DeviceGang {
  struct Request {
    std::string device;  // "cuda:0"
    int rank = 0;
    int ranks = 1;
    std::string id;
    bool ordered = true;
    absl::Duration deadline;  // to join, and at least for each call
    // Called with the cause when the device does not give a broken gang back:
    // must end the process.
    std::function<void(const absl::Status& cause)> on_stuck;
  };
  // Rank 0's, as secret as the gang's secret.
  std::function<absl::StatusOr<std::string>()> new_id;
  std::function<absl::StatusOr<std::unique_ptr<Collective>>(const Request&)>
      join;
};

struct Gang {
  // Null in a gang of one process. In one of devices nobody joins it: its
  // endpoint is only where the rank is found.
  std::unique_ptr<ProcessGang> network;
  // One a local thread, in rank order.
  std::vector<std::unique_ptr<Collective>> ranks;
  bool of_devices = false;
};

// Listens, tells the agent where, waits for the other processes, and joins
// them; by `devices`, where it has functions, when the task has a device. Class
// PREEMPTED when the agent asks for an end meanwhile, COLLECTIVE when it cannot
// listen or a process does not come, SPEC, on every rank, when some ranks
// compute on another kind of device than others.
absl::StatusOr<Gang> FormGang(
    const worker::v1::TaskFile& task, AgentChannel* agent,
    const DeviceGang& devices = {},
    const std::function<void(const absl::Status& cause)>& on_stuck = {});

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_GANG_H_
