// What every verb shares: the server's address, the output format, the stubs.
#ifndef DASM_CLIENT_COMMAND_CONTEXT_H_
#define DASM_CLIENT_COMMAND_CONTEXT_H_

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/command/output.h"
#include "dasm/v1/artifact.grpc.pb.h"
#include "dasm/v1/cluster.grpc.pb.h"
#include "dasm/v1/expert.grpc.pb.h"
#include "dasm/v1/job_service.grpc.pb.h"

namespace dasm {

struct Stubs {
  explicit Stubs(std::shared_ptr<grpc::Channel> channel);
  std::unique_ptr<v1::JobService::Stub> jobs;
  std::unique_ptr<v1::ArtifactService::Stub> artifacts;
  std::unique_ptr<v1::ClusterService::Stub> cluster;
  std::unique_ptr<v1::ExpertService::Stub> experts;
};

class Context {
 public:
  std::string coordinator;  // --coordinator or DASM_COORDINATOR
  std::string output = "table";
  // Whether stdout is a terminal that may be redrawn.
  bool terminal = false;
  // What lines must fit: the terminal's, or 0, anything, without one.
  int columns() const { return terminal ? TerminalColumns() : 0; }
  std::ostream* out;
  std::ostream* talk;  // stderr

  // INVALID_ARGUMENT (field "coordinator") when no address is known.
  absl::StatusOr<Stubs*> Connect();
  absl::StatusOr<OutputFormat> format() const {
    return ParseOutputFormat(output);
  }
  // A verb's body; what it returns is the process's exit code.
  using Action = std::function<absl::StatusOr<int>()>;
  // Makes `verb` run `action` when it is the one on the command line.
  void Bind(CLI::App* verb, Action action);
  // The bound action, or null before the command line was parsed.
  const Action& action() const { return action_; }

 private:
  std::unique_ptr<Stubs> stubs_;
  Action action_;
};

// A unary call with a deadline (default 30 s). The status has field and reason
// (common/base/error.h); UNAVAILABLE names the address.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(const Context& context, Stub* stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                           const Request&,
                                                           Response*),
                              const Request& request,
                              absl::Duration deadline = absl::Seconds(30));

absl::Status FromServer(const Context& context, const grpc::Status& status);

// The file's text, or standard input for "-". INVALID_ARGUMENT (field "file").
absl::StatusOr<std::string> ReadSpecText(const std::string& file);

template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(const Context& context, Stub* stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                           const Request&,
                                                           Response*),
                              const Request& request, absl::Duration deadline) {
  grpc::ClientContext call;
  call.set_deadline(absl::ToChronoTime(absl::Now() + deadline));
  Response response;
  const absl::Status status =
      FromServer(context, (stub->*method)(&call, request, &response));
  if (!status.ok()) return status;
  return response;
}

}  // namespace dasm

#endif  // DASM_CLIENT_COMMAND_CONTEXT_H_
