// A coordinator and workers as separate processes, as an operator starts them.
#ifndef DASM_TESTS_SUPPORT_SERVICE_H_
#define DASM_TESTS_SUPPORT_SERVICE_H_

#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace dasm::testing_support {

// Paths of the binaries under test.
std::string Binary(const std::string& name);

class Service {
 public:
  // State, logs and the coordinator's socket lie below `folder`, data sets in
  // `data`. The lease is `lease` seconds; `coordinator_flags` come last.
  Service(std::string folder, std::string data, double lease = 5,
          std::vector<std::string> coordinator_flags = {});

  // Starts it (again: on the same state) and returns its ready line, which is
  // empty when it refused.
  std::string StartCoordinator();
  std::string StartWorker(const std::string& name = "worker", int slots = 1,
                          int threads = 1,
                          const std::vector<std::string>& flags = {});

  Process* coordinator() { return coordinator_.get(); }
  Process* worker() { return worker_.get(); }
  void KillCoordinator();  // -9
  void KillWorker();       // -9
  // The runners that the worker has now.
  std::vector<int> Runners();

  // dasmctl with --coordinator set.
  Finished Ctl(std::vector<std::string> arguments,
               const std::string& input = "",
               absl::Duration timeout = absl::Minutes(4));
  std::string address() const;
  std::string state(const std::string& name) const;

 private:
  const std::string folder_;
  const std::string data_;
  const double lease_;
  const std::vector<std::string> coordinator_flags_;
  std::unique_ptr<Process> coordinator_;
  std::unique_ptr<Process> worker_;
};

// "digest" of DIR/report.json; fails the test when there is none.
std::string DigestOf(const std::string& directory);
void WriteText(const std::string& path, const std::string& text);
std::string ReadText(const std::string& path);

}  // namespace dasm::testing_support

#endif  // DASM_TESTS_SUPPORT_SERVICE_H_
