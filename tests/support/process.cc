#include "tests/support/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/logging.h"

namespace dasm::testing_support {
namespace {

constexpr int kTimedOut = -1000;

std::string ReadAll(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

int Decode(int status) {
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// Between fork and exec only async-signal-safe calls; everything is prepared
// before.
int Spawn(const std::vector<std::string>& argv,
          const std::map<std::string, std::string>& environment, int in,
          int out, int err) {
  std::vector<std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!environment.contains(text.substr(0, text.find('=')))) {
      variables.push_back(text);
    }
  }
  for (const auto& [key, value] : environment) {
    variables.push_back(absl::StrCat(key, "=", value));
  }
  std::vector<char*> envp, args;
  for (std::string& variable : variables) envp.push_back(variable.data());
  envp.push_back(nullptr);
  for (const std::string& argument : argv) {
    args.push_back(const_cast<char*>(argument.c_str()));
  }
  args.push_back(nullptr);
  const pid_t pid = fork();
  DASM_CHECK(pid >= 0);
  if (pid == 0) {
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execve(args[0], args.data(), envp.data());
    _exit(127);
  }
  return pid;
}

}  // namespace

void PollPause() { absl::SleepFor(absl::Milliseconds(10)); }
absl::Time PollNow() { return absl::Now(); }

Finished RunToEnd(const std::vector<std::string>& argv,
                  const std::map<std::string, std::string>& environment,
                  absl::Duration timeout, const std::string& input) {
  TemporaryFolder folder;
  std::ofstream(folder / "in", std::ios::binary) << input;
  const int in = open((folder / "in").c_str(), O_RDONLY | O_CLOEXEC);
  const int out =
      open((folder / "out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const int err =
      open((folder / "err").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const int pid = Spawn(argv, environment, in, out, err);
  close(in);
  close(out);
  close(err);
  Finished finished;
  finished.exit_code = kTimedOut;
  int status;
  if (Eventually([&] { return waitpid(pid, &status, WNOHANG) == pid; },
                 timeout)) {
    finished.exit_code = Decode(status);
  } else {
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
  }
  finished.out = ReadAll(folder / "out");
  finished.err = ReadAll(folder / "err");
  return finished;
}

Process::Process(std::vector<std::string> argv, std::string log)
    : log_(std::move(log)) {
  int fds[2];
  DASM_CHECK(pipe2(fds, O_CLOEXEC) == 0);
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int err =
      open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  DASM_CHECK(null >= 0 && err >= 0);
  pid_ = Spawn(argv, {}, null, fds[1], err);
  close(null);
  close(err);
  close(fds[1]);
  out_ = fds[0];
}

Process::~Process() {
  if (running()) {
    kill(pid_, SIGKILL);
    int status;
    waitpid(pid_, &status, 0);
  }
  close(out_);
}

std::string Process::ReadLine(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  for (;;) {
    const size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      const std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return "";
    pollfd wait = {out_, POLLIN, 0};
    if (poll(&wait, 1, absl::ToInt64Milliseconds(left) + 1) <= 0) continue;
    char bytes[512];
    const ssize_t count = read(out_, bytes, sizeof(bytes));
    if (count == 0) return "";
    if (count > 0) buffer_.append(bytes, count);
  }
}

void Process::Signal(int signal) {
  if (running()) kill(pid_, signal);
}

int Process::Wait(absl::Duration timeout) {
  return Eventually([&] { return !running(); }, timeout) ? exit_code_
                                                         : kTimedOut;
}

bool Process::running() {
  if (pid_ == 0) return false;
  int status;
  if (waitpid(pid_, &status, WNOHANG) == pid_) {
    exit_code_ = Decode(status);
    pid_ = 0;
  }
  return pid_ != 0;
}

std::string Process::Log() const { return ReadAll(log_); }

std::vector<int> ChildrenOf(int pid, const std::string& name) {
  std::vector<int> children;
  std::error_code ignored;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc", ignored)) {
    const std::string file = entry.path().filename();
    if (file.find_first_not_of("0123456789") != std::string::npos) continue;
    // "pid (name) state ppid ..."; a name is cut at 15 characters.
    const std::string stat = ReadAll(entry.path() / "stat");
    const size_t open = stat.find('('), close = stat.rfind(')');
    if (open == std::string::npos || close == std::string::npos) continue;
    char state;
    int parent = 0;
    std::istringstream(stat.substr(close + 1)) >> state >> parent;
    if (parent == pid && state != 'Z' &&
        stat.substr(open + 1, close - open - 1) == name.substr(0, 15)) {
      children.push_back(std::atoi(file.c_str()));
    }
  }
  return children;
}

TemporaryFolder::TemporaryFolder() {
  const char* base = std::getenv("TMPDIR");
  path_ = absl::StrCat(base != nullptr ? base : "/tmp", "/dasm-test-XXXXXX");
  DASM_CHECK(mkdtemp(path_.data()) != nullptr);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace dasm::testing_support
