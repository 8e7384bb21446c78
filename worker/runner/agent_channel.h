// A runner's line to its agent: what it tells, and what it is asked.
#ifndef DASM_WORKER_RUNNER_AGENT_CHANNEL_H_
#define DASM_WORKER_RUNNER_AGENT_CHANNEL_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "dasm/worker/v1/runner_service.pb.h"

namespace dasm {

// Thread-safe.
class AgentChannel {
 public:
  virtual ~AgentChannel() = default;
  // In order, without waiting. The queue has no bound: a live agent reads at
  // once, and the end of a dead one is the end of the runner.
  virtual void Send(worker::v1::RunnerMessage message) = 0;
  // Whether the agent asked to write a checkpoint and end.
  virtual bool stop_requested() const = 0;
  // Whether it asked for a checkpoint since the last call.
  virtual bool TakeCheckpointRequest() = 0;
  // Until every process of the gang listens. CANCELLED, class PREEMPTED, when
  // the agent asks for an end before. Once only.
  virtual absl::StatusOr<worker::v1::GangReady> AwaitGang() = 0;
  // Until the agent recorded the finished message.
  virtual void AwaitAcknowledgement() = 0;
};

// What AwaitGang() returns after a request to end.
absl::Status StoppedBeforeGang();

// Attaches with `token`. `on_gone` is called, from another thread, when the
// stream ends before the acknowledgement; it should end the process. FAILED
// connections are ends too.
std::unique_ptr<AgentChannel> ConnectToAgent(const std::string& address,
                                             const std::string& token,
                                             std::function<void()> on_gone);

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_AGENT_CHANNEL_H_
