// Child processes of tests: the real binaries, started, watched and killed.
#ifndef DASM_TESTS_SUPPORT_PROCESS_H_
#define DASM_TESTS_SUPPORT_PROCESS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace dasm::testing_support {

struct Finished {
  int exit_code =
      -1;  // -signal when killed by one; -1000 when it was timed out
  std::string out;
  std::string err;
};

// Runs to the end, or kills it after `timeout`.
Finished RunToEnd(const std::vector<std::string>& argv,
                  const std::map<std::string, std::string>& environment = {},
                  absl::Duration timeout = absl::Minutes(4),
                  const std::string& input = "");

// A process in the background; killed with its object.
class Process {
 public:
  // stdout is read by ReadLine, stderr goes to `log`.
  Process(std::vector<std::string> argv, std::string log);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // The next line of stdout, or empty when the process ended or the time is up.
  std::string ReadLine(absl::Duration timeout = absl::Seconds(60));
  void Signal(int signal);
  // Exit code as in Finished, waiting at most `timeout` (then -1000).
  int Wait(absl::Duration timeout = absl::Seconds(60));
  bool running();
  int pid() const { return pid_; }
  // What it has written to stderr so far.
  std::string Log() const;

 private:
  const std::string log_;
  int pid_ = 0;
  int out_ = -1;
  std::string buffer_;
  int exit_code_ = -1;
};

// Process ids whose parent is `pid`, by name of the executable.
std::vector<int> ChildrenOf(int pid, const std::string& name);

// Polls until `done` or the time is up; true when done. For conditions of other
// processes, where nothing can be waited on.
template <typename Condition>
bool Eventually(Condition done, absl::Duration timeout = absl::Seconds(60));

// A fresh folder below the system's temporary one, removed with its object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const {
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

void PollPause();
absl::Time PollNow();

template <typename Condition>
bool Eventually(Condition done, absl::Duration timeout) {
  const absl::Time deadline = PollNow() + timeout;
  while (!done()) {
    if (PollNow() >= deadline) return false;
    PollPause();
  }
  return true;
}

}  // namespace dasm::testing_support

#endif  // DASM_TESTS_SUPPORT_PROCESS_H_
