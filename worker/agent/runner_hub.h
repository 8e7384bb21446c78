// Where runners attach and speak with the attempt that started them.
#ifndef DASM_WORKER_AGENT_RUNNER_HUB_H_
#define DASM_WORKER_AGENT_RUNNER_HUB_H_

#include <functional>
#include <string>

#include "dasm/worker/v1/runner_service.pb.h"

namespace dasm {

// Thread-safe.
class RunnerHub {
 public:
  using Handler = std::function<void(const worker::v1::RunnerMessage&)>;

  virtual ~RunnerHub() = default;
  // What a runner connects to, "unix:PATH".
  virtual std::string address() const = 0;
  // A runner that shows `token` is heard by `handler`: one message at a time,
  // from a thread of the hub, until Close returns.
  virtual void Open(const std::string& token, Handler handler) = 0;
  // Kept until the runner attaches; dropped when it is gone.
  virtual void Send(const std::string& token,
                    const worker::v1::AgentMessage& message) = 0;
  // Ends the stream (and so the runner). Not from the handler.
  virtual void Close(const std::string& token) = 0;
};

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_RUNNER_HUB_H_
