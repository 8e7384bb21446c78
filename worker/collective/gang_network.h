// The gRPC side of one process of a gang: its server, the streams that it dials
// and accepts, and the one thread that serves them all.
//
// Keep-alive: a ping every 10 s, 25 s for the answer. A link that is cut for
// ten seconds comes back by TCP's retransmissions; a host that died without a
// word is noticed within 35 s, inside the 60 s that a call has.
// Threads: thread-safe but for construction and destruction.
#ifndef DASM_WORKER_COLLECTIVE_GANG_NETWORK_H_
#define DASM_WORKER_COLLECTIVE_GANG_NETWORK_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dasm/worker/v1/collective.grpc.pb.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/server.h"
#include "worker/collective/peer_link.h"

namespace dasm {

class GangNetwork {
 public:
  // `endpoint`: "host:port" or "unix:PATH". UNAVAILABLE when it cannot be
  // listened on.
  static absl::StatusOr<std::unique_ptr<GangNetwork>> Listen(
      const std::string& endpoint);
  // Cuts all links; links are gone after it.
  ~GangNetwork();

  // With the port resolved.
  const std::string& endpoint() const { return endpoint_; }
  LinkEvents& events() { return events_; }

  // Never fails: waits for the listener until it answers or the network ends.
  PeerLink* Dial(const std::string& endpoint);
  // Streams that others opened since the last call.
  std::vector<PeerLink*> TakeAccepted();
  // Refuses streams from now on.
  void CloseDoor();

 private:
  class Accepted;
  using Service = worker::v1::CollectiveService::WithRawMethod_Exchange<
      worker::v1::CollectiveService::Service>;

  GangNetwork() = default;
  void RequestNext();
  void OnAccept(bool ok);
  void Serve();

  std::string endpoint_;
  LinkEvents events_;
  Service service_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
  std::thread thread_;
  IoTag accept_, stop_;
  std::unique_ptr<Accepted> arriving_;
  // Guarded by events_.mutex.
  std::vector<std::unique_ptr<PeerLink>> links_;
  std::vector<PeerLink*> accepted_;
  bool door_closed_ = false;
};

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_GANG_NETWORK_H_
