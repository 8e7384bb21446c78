#include "client/command/embedded_service.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

constexpr absl::Duration kReadyWithin = absl::Minutes(2);

absl::StatusOr<std::string> MakeTemporaryFolder() {
  const char* base = std::getenv("TMPDIR");
  std::string path = absl::StrCat(
      base != nullptr && *base != '\0' ? base : "/tmp", "/dasm-XXXXXX");
  // A socket's path may have 107 bytes.
  if (path.size() > 80) path = "/tmp/dasm-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": ", std::strerror(errno)));
  }
  return path;
}

std::string LastLines(const std::string& log, size_t count) {
  auto text = LocalFileSystem()->Read(log);
  if (!text.ok()) return "";
  std::vector<std::string> lines =
      absl::StrSplit(*text, '\n', absl::SkipEmpty());
  std::string result;
  for (size_t i = lines.size() > count ? lines.size() - count : 0;
       i < lines.size(); ++i) {
    absl::StrAppend(&result, result.empty() ? "" : "\n", lines[i]);
  }
  return result;
}

}  // namespace

absl::StatusOr<std::unique_ptr<EmbeddedService>> EmbeddedService::Start(
    const Options& options) {
  std::error_code error;
  const std::filesystem::path self =
      std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path folder = self.parent_path();
  auto service = std::unique_ptr<EmbeddedService>(new EmbeddedService);
  DASM_ASSIGN_OR_RETURN(service->socket_folder_, MakeTemporaryFolder());
  if (options.state.empty()) {
    DASM_ASSIGN_OR_RETURN(service->state_, MakeTemporaryFolder());
    service->temporary_state_ = true;
  } else {
    service->state_ = options.state;
    if (absl::Status made = LocalFileSystem()->CreateDirectories(options.state);
        !made.ok()) {
      return WithReason(
          absl::FailedPreconditionError(absl::StrCat(
              made.message(), "; name a folder you may write with --state")),
          "STATE_UNWRITABLE", "state");
    }
  }
  std::vector<std::string> data;
  for (const std::string& root : options.data) {
    data.insert(data.end(), {"--data", root});
  }

  std::vector<std::string> arguments = {
      "--state", absl::StrCat(service->state_, "/coordinator"), "--listen",
      service->address(), "--die-with-parent"};
  arguments.insert(arguments.end(), data.begin(), data.end());
  service->coordinator_.name = "dasm-coordinator";
  service->coordinator_.log = absl::StrCat(service->state_, "/coordinator.log");
  DASM_RETURN_IF_ERROR(service->Spawn(folder / "dasm-coordinator", arguments,
                                      &service->coordinator_));
  DASM_RETURN_IF_ERROR(service->AwaitReady(&service->coordinator_));
  if (!options.with_worker) return service;

  const int threads =
      options.threads > 0
          ? options.threads
          : std::max(1u, std::thread::hardware_concurrency() / options.slots);
  arguments = {"--coordinator",    service->address(),
               "--state",          absl::StrCat(service->state_, "/worker"),
               "--threads",        absl::StrCat(threads),
               "--slots",          absl::StrCat(options.slots),
               "--die-with-parent"};
  arguments.insert(arguments.end(), data.begin(), data.end());
  service->worker_.name = "dasm-worker";
  service->worker_.log = absl::StrCat(service->state_, "/worker.log");
  DASM_RETURN_IF_ERROR(
      service->Spawn(folder / "dasm-worker", arguments, &service->worker_));
  DASM_RETURN_IF_ERROR(service->AwaitReady(&service->worker_));
  return service;
}

EmbeddedService::~EmbeddedService() {
  End(&worker_, SIGTERM, absl::Seconds(5));
  End(&coordinator_, SIGTERM, absl::Seconds(10));
  std::error_code ignored;
  std::filesystem::remove_all(socket_folder_, ignored);
  if (temporary_state_) std::filesystem::remove_all(state_, ignored);
}

void EmbeddedService::Stop(absl::Duration patience) {
  End(&worker_, SIGTERM, patience);
  End(&coordinator_, SIGTERM, absl::Seconds(10));
}

std::string EmbeddedService::address() const {
  return absl::StrCat("unix:", socket_folder_, "/coordinator.sock");
}

absl::Status EmbeddedService::Spawn(const std::string& binary,
                                    const std::vector<std::string>& arguments,
                                    Child* child) {
  if (!LocalFileSystem()->Exists(binary)) {
    return absl::NotFoundError(
        absl::StrCat(binary,
                     " does not exist: build all targets, or install DASM's "
                     "binaries into one folder"));
  }
  const int log =
      open(child->log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) {
    return WithReason(absl::FailedPreconditionError(
                          absl::StrCat(child->log, ": ", std::strerror(errno))),
                      "STATE_UNWRITABLE", "state");
  }
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
    close(log);
    return absl::InternalError(std::strerror(errno));
  }
  std::vector<char*> argv = {const_cast<char*>(binary.c_str())};
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    // A group of its own: Ctrl-C is ours to handle. Only async-signal-safe
    // calls from here to exec.
    setpgid(0, 0);
    const int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    dup2(pipe_fds[1], STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(log);
  close(pipe_fds[1]);
  if (pid < 0) {
    close(pipe_fds[0]);
    return absl::InternalError(absl::StrCat("fork: ", std::strerror(errno)));
  }
  child->pid = pid;
  child->ready_fd = pipe_fds[0];
  return absl::OkStatus();
}

absl::Status EmbeddedService::AwaitReady(Child* child) {
  const absl::Time deadline = absl::Now() + kReadyWithin;
  std::string line;
  while (absl::Now() < deadline) {
    pollfd wait = {child->ready_fd, POLLIN, 0};
    if (poll(&wait, 1, 100) <= 0) continue;
    char buffer[256];
    const ssize_t count = read(child->ready_fd, buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return Ended(*child);
    line.append(buffer, count);
    if (absl::StrContains(line, '\n')) {
      if (absl::StartsWith(line, "ready ")) return absl::OkStatus();
      return absl::FailedPreconditionError(
          absl::StrCat(child->name, " said: ", line));
    }
  }
  return absl::DeadlineExceededError(
      absl::StrCat(child->name, " was not ready within ",
                   absl::FormatDuration(kReadyWithin), "; see ", child->log));
}

absl::Status EmbeddedService::Ended(const Child& child) const {
  std::string last = LastLines(child.log, 1);
  // "error: <field>: <message>" is the child's own word: pass it on as is.
  std::vector<std::string> parts =
      absl::StrSplit(last, absl::MaxSplits(": ", 2));
  if (parts.size() == 3 && parts[0] == "error") {
    return WithReason(absl::FailedPreconditionError(parts[2]),
                      "SERVICE_REFUSED", parts[1]);
  }
  return absl::FailedPreconditionError(
      absl::StrCat(child.name, " has ended; the end of ", child.log, ":\n",
                   LastLines(child.log, 5)));
}

absl::Status EmbeddedService::Check() {
  for (Child* child : {&coordinator_, &worker_}) {
    if (child->pid == 0) continue;
    int status;
    if (waitpid(child->pid, &status, WNOHANG) == child->pid) {
      child->pid = 0;
      return Ended(*child);
    }
  }
  return absl::OkStatus();
}

void EmbeddedService::End(Child* child, int signal, absl::Duration patience) {
  if (child->ready_fd >= 0) {
    close(child->ready_fd);
    child->ready_fd = -1;
  }
  if (child->pid == 0) return;
  kill(child->pid, signal);
  const absl::Time deadline = absl::Now() + patience;
  int status;
  while (waitpid(child->pid, &status, WNOHANG) == 0) {
    if (absl::Now() >= deadline) {
      kill(child->pid, SIGKILL);
      waitpid(child->pid, &status, 0);
      break;
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  child->pid = 0;
}

}  // namespace dasm
