// A private coordinator and worker, started as children of this process: the
// service that `dasmctl run` uses. The same binaries as in a cluster, on unix
// sockets in a folder that only this user can enter; they die with us.
#ifndef DASM_CLIENT_COMMAND_EMBEDDED_SERVICE_H_
#define DASM_CLIENT_COMMAND_EMBEDDED_SERVICE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dasm {

class EmbeddedService {
 public:
  struct Options {
    // Database, artifacts and logs; empty: a temporary one.
    std::string state;
    std::vector<std::string> data;  // --data of both
    bool with_worker = true;
    int threads = 0;  // of a runner; 0: one a core
    int slots = 1;
  };

  // Returns once both are ready. Must be called from a thread that lives as
  // long as the service does (the children watch it).
  //   FAILED_PRECONDITION  a child refused to start; the message is its own
  //   NOT_FOUND            the binaries are not beside dasmctl
  static absl::StatusOr<std::unique_ptr<EmbeddedService>> Start(
      const Options& options);
  // Stops both at once.
  ~EmbeddedService();

  // Lets the worker write its checkpoints, then stops both.
  void Stop(absl::Duration patience);
  std::string address() const;  // "unix:..."
  // Non-OK when a child has ended, with the end of its log.
  absl::Status Check();

 private:
  struct Child {
    std::string name;
    std::string log;
    int pid = 0;
    int ready_fd = -1;
  };
  EmbeddedService() = default;
  absl::Status Spawn(const std::string& binary,
                     const std::vector<std::string>& arguments, Child* child);
  absl::Status AwaitReady(Child* child);
  absl::Status Ended(const Child& child) const;
  static void End(Child* child, int signal, absl::Duration patience);

  std::string socket_folder_;
  std::string state_;
  bool temporary_state_ = false;
  Child coordinator_;
  Child worker_;
};

}  // namespace dasm

#endif  // DASM_CLIENT_COMMAND_EMBEDDED_SERVICE_H_
