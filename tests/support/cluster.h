// A coordinator and several workers as separate processes, on this machine or
// in network namespaces that stand for machines.
#ifndef DASM_TESTS_SUPPORT_CLUSTER_H_
#define DASM_TESTS_SUPPORT_CLUSTER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace dasm::testing_support {

// Where a process runs.
struct Place {
  std::string netns;  // empty: that of the test
  std::string host = "127.0.0.1";
  // Most that it and each of its children may allocate (RLIMIT_DATA); 0: all.
  int64_t memory_bytes = 0;
};

class Cluster {
 public:
  struct Options {
    // State, logs and, outside of a namespace, the coordinator's socket.
    std::string folder;  // exists
    std::string data;
    Place coordinator;
    double lease = 5;
    double collective_deadline = 5;
  };

  explicit Cluster(Options options);

  // Both return the ready line, which is empty when it refused.
  std::string StartCoordinator();
  // Once more: on the same state.
  std::string StartWorker(const std::string& name, int slots,
                          const Place& place = {});
  Process* worker(const std::string& name) { return workers_.at(name).get(); }
  void KillWorker(const std::string& name);  // -9, and with it its runners

  // Of all workers, or of one.
  std::vector<int> Runners();
  std::vector<int> Runners(const std::string& name);
  // Whether a checkpoint file lies in a task folder of any worker now.
  bool HasCheckpoint() const;
  // Attempts that were started as rank `rank` of `ranks`, over all workers.
  int CountStarts(int rank, int ranks) const;
  // Times that the workers' logs say `text`.
  int CountInLogs(const std::string& text) const;
  // All logs, for the message of a failed expectation.
  std::string Logs() const;

  // dasmctl with --coordinator set.
  Finished Ctl(std::vector<std::string> arguments,
               absl::Duration timeout = absl::Minutes(4));
  // Submits the file and returns "jobs/ID".
  std::string Submit(const std::string& file,
                     const std::vector<std::string>& settings);
  // Waits for the job, downloads it into `output`, returns its digest.
  std::string AwaitDigest(const std::string& job, const std::string& output);
  // Expects that the workers end by themselves and that neither they nor their
  // runners left a process, a task folder or a socket.
  void ExpectNothingLeft();

 private:
  std::string Path(const std::string& name) const;

  const Options options_;
  std::string address_;
  std::unique_ptr<Process> coordinator_;
  std::map<std::string, std::unique_ptr<Process>> workers_;
};

}  // namespace dasm::testing_support

#endif  // DASM_TESTS_SUPPORT_CLUSTER_H_
