// RunnerHub over gRPC on a unix socket in a private temporary folder: socket
// paths are limited to 107 bytes, so it never lies below --state.
#ifndef DASM_WORKER_AGENT_RUNNER_SERVER_H_
#define DASM_WORKER_AGENT_RUNNER_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/agent/runner_hub.h"

namespace dasm {

class RunnerServer final : public RunnerHub {
 public:
  // `record` is a file that remembers the folder, so that a later start removes
  // the one that a killed agent left. FAILED_PRECONDITION when no folder can be
  // made or bound.
  static absl::StatusOr<std::unique_ptr<RunnerServer>> Start(
      const std::string& record);
  // Ends every stream and removes the folder.
  ~RunnerServer() override;

  std::string address() const override;
  void Open(const std::string& token, Handler handler) override;
  void Send(const std::string& token,
            const worker::v1::AgentMessage& message) override;
  void Close(const std::string& token) override;

 private:
  struct State;
  explicit RunnerServer(std::unique_ptr<State> state);
  const std::unique_ptr<State> state_;
};

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_RUNNER_SERVER_H_
