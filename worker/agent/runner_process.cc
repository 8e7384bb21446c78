#include "worker/agent/runner_process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

constexpr char kRecord[] = "runner.pid";
constexpr size_t kMaxLine = 8192;

absl::Status Errno(const std::string& what, int error) {
  const std::string message = absl::StrCat(what, ": ", strerror(error));
  switch (error) {
    case EMFILE:
    case ENFILE:
    case EAGAIN:
    case ENOMEM:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::FailedPreconditionError(message);
  }
}

// Field 22 of /proc/PID/stat, in clock ticks since boot: with the pid it names
// a process for good. 0: no such process.
uint64_t StartTime(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string text((std::istreambuf_iterator<char>(file)), {});
  // The name in field 2 may hold blanks and brackets.
  const size_t end = text.rfind(')');
  if (end == std::string::npos) return 0;
  std::istringstream fields(text.substr(end + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  uint64_t start = 0;
  fields >> start;
  return start;
}

class Pipe {
 public:
  static absl::StatusOr<Pipe> Create() {
    std::array<int, 2> fds;
    if (pipe2(fds.data(), O_CLOEXEC) != 0) return Errno("pipe", errno);
    return Pipe(fds[0], fds[1]);
  }
  Pipe(Pipe&& other) noexcept
      : read_(std::exchange(other.read_, -1)),
        write_(std::exchange(other.write_, -1)) {}
  Pipe& operator=(Pipe&&) = delete;
  ~Pipe() {
    CloseRead();
    CloseWrite();
  }
  int read() const { return read_; }
  int write() const { return write_; }
  void CloseRead() { Close(&read_); }
  void CloseWrite() { Close(&write_); }

 private:
  Pipe(int read, int write) : read_(read), write_(write) {}
  static void Close(int* fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
  }
  int read_;
  int write_;
};

// The bytes of `text` that are not UTF-8 as '?': lines become proto strings,
// and a message with anything else in them could not be sent.
std::string Utf8(std::string text) {
  size_t at = 0;
  while (at < text.size()) {
    const auto lead = static_cast<unsigned char>(text[at]);
    size_t length = 1;
    if (lead >= 0xf0 && lead < 0xf5) {
      length = 4;
    } else if (lead >= 0xe0) {
      length = 3;
    } else if (lead >= 0xc2) {
      length = 2;
    }
    bool valid = lead < 0x80 ||
                 (lead >= 0xc2 && lead < 0xf5 && at + length <= text.size());
    for (size_t i = 1; valid && i < length; ++i) {
      valid = (static_cast<unsigned char>(text[at + i]) & 0xc0) == 0x80;
    }
    if (valid && length > 2) {
      // Overlong forms, surrogates, and beyond U+10FFFF.
      const auto second = static_cast<unsigned char>(text[at + 1]);
      valid = !(lead == 0xe0 && second < 0xa0) &&
              !(lead == 0xed && second >= 0xa0) &&
              !(lead == 0xf0 && second < 0x90) &&
              !(lead == 0xf4 && second >= 0x90);
    }
    if (!valid) text[at] = '?';
    at += valid ? length : 1;
  }
  return text;
}

// Cuts a byte stream into lines; a very long line becomes several.
class LineSplitter {
 public:
  template <typename Emit>
  void Add(const char* data, size_t size, const Emit& emit) {
    for (size_t i = 0; i < size; ++i) {
      if (data[i] == '\n' || partial_.size() >= kMaxLine) Flush(emit);
      if (data[i] != '\n') partial_.push_back(data[i]);
    }
  }
  template <typename Emit>
  void Flush(const Emit& emit) {
    if (!partial_.empty()) emit(std::exchange(partial_, {}));
  }

 private:
  std::string partial_;
};

class ForkedProcess final : public RunnerProcess {
 public:
  ForkedProcess(pid_t pid, Pipe out, Pipe err,
                RunnerLauncher::Listener listener)
      : pid_(pid),
        out_(std::move(out)),
        err_(std::move(err)),
        listener_(std::move(listener)),
        thread_([this] { Watch(); }) {}

  ~ForkedProcess() override {
    Signal(SIGKILL);
    thread_.join();
  }

  void Signal(int signal) override {
    absl::MutexLock lock(&mutex_);
    // Until it is reaped the pid cannot belong to anyone else.
    if (!reaped_) kill(-pid_, signal);
  }

 private:
  void Watch() {
    CaptureOutput();
    siginfo_t info;
    while (waitid(P_PID, pid_, &info, WEXITED | WNOWAIT) != 0 &&
           errno == EINTR) {
    }
    int status = 0;
    rusage usage = {};
    {
      absl::MutexLock lock(&mutex_);
      // Whatever the runner started goes with it.
      kill(-pid_, SIGKILL);
      while (wait4(pid_, &status, 0, &usage) < 0 && errno == EINTR) {
      }
      reaped_ = true;
    }
    RunnerExit exit;
    exit.peak_memory_bytes = int64_t{usage.ru_maxrss} << 10;
    if (WIFSIGNALED(status)) {
      exit.signal = WTERMSIG(status);
    } else {
      exit.code = WEXITSTATUS(status);
    }
    listener_.on_exit(exit);
  }

  void CaptureOutput() {
    struct Stream {
      Pipe* pipe;
      bool is_stderr;
      LineSplitter splitter;
    };
    std::array<Stream, 2> streams = {{{&out_, false, {}}, {&err_, true, {}}}};
    std::array<char, 4096> buffer;
    while (out_.read() >= 0 || err_.read() >= 0) {
      std::array<pollfd, 2> polled = {
          {{out_.read(), POLLIN, 0}, {err_.read(), POLLIN, 0}}};
      if (poll(polled.data(), polled.size(), -1) < 0) continue;
      for (size_t i = 0; i < polled.size(); ++i) {
        if (polled[i].revents == 0) continue;
        Stream& stream = streams[i];
        const auto emit = [&](std::string line) {
          listener_.on_line(stream.is_stderr, Utf8(std::move(line)));
        };
        const ssize_t count =
            read(stream.pipe->read(), buffer.data(), buffer.size());
        if (count > 0) {
          stream.splitter.Add(buffer.data(), count, emit);
        } else if (count == 0 || errno != EINTR) {
          stream.splitter.Flush(emit);
          stream.pipe->CloseRead();
        }
      }
    }
  }

  const pid_t pid_;
  Pipe out_;
  Pipe err_;
  const RunnerLauncher::Listener listener_;
  absl::Mutex mutex_;
  bool reaped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& text : strings) {
    pointers.push_back(const_cast<char*>(text.c_str()));
  }
  pointers.push_back(nullptr);
  return pointers;
}

// After fork in a process with threads: async-signal-safe calls only.
[[noreturn]] void BecomeRunner(const char* directory, char* const* argv,
                               char* const* environment, int out, int err,
                               int failure) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) {
    sigaction(signal, &action, nullptr);
  }
  // The agent blocks signals for its sigwait thread, and exec keeps the mask.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
      dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0 &&
      syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0 &&
      (directory[0] == '\0' || chdir(directory) == 0)) {
    execve(argv[0], argv, environment);
  }
  const int error = errno;
  [[maybe_unused]] const ssize_t ignored =
      write(failure, &error, sizeof(error));
  _exit(127);
}

absl::StatusOr<std::unique_ptr<RunnerProcess>> Fork(
    const RunnerCommand& command, RunnerLauncher::Listener listener) {
  DASM_ASSIGN_OR_RETURN(Pipe out, Pipe::Create());
  DASM_ASSIGN_OR_RETURN(Pipe err, Pipe::Create());
  DASM_ASSIGN_OR_RETURN(Pipe failure, Pipe::Create());
  std::vector<std::string> environment = command.environment;
  environment.push_back(absl::StrCat(kParentPidVariable, "=", getpid()));
  const std::vector<char*> argv_pointers = Pointers(command.argv);
  const std::vector<char*> environment_pointers = Pointers(environment);

  const pid_t pid = fork();
  if (pid < 0) return Errno("fork", errno);
  if (pid == 0) {
    BecomeRunner(command.directory.c_str(), argv_pointers.data(),
                 environment_pointers.data(), out.write(), err.write(),
                 failure.write());
  }
  // Also here: a signal to the group may be sent before the child ran.
  setpgid(pid, pid);
  out.CloseWrite();
  err.CloseWrite();
  failure.CloseWrite();
  int error = 0;
  ssize_t count;
  while ((count = read(failure.read(), &error, sizeof(error))) < 0 &&
         errno == EINTR) {
  }
  if (count > 0) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return Errno(absl::StrCat("cannot start ", command.argv[0]), error);
  }
  if (!command.directory.empty()) {
    // An agent killed before this line leaves no record and no runner either:
    // the death signal is set already.
    std::ofstream(absl::StrCat(command.directory, "/", kRecord))
        << pid << " " << StartTime(pid) << "\n";
  }
  return std::make_unique<ForkedProcess>(pid, std::move(out), std::move(err),
                                         std::move(listener));
}

}  // namespace

ForkingLauncher::ForkingLauncher() : thread_([this] { Run(); }) {}

ForkingLauncher::~ForkingLauncher() {
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }
  thread_.join();
}

void ForkingLauncher::Run() {
  absl::MutexLock lock(&mutex_);
  while (true) {
    mutex_.Await(absl::Condition(this, &ForkingLauncher::HasWork));
    if (requests_.empty()) return;
    const std::function<void()> request = std::move(requests_.front());
    requests_.pop_front();
    mutex_.Unlock();
    request();
    mutex_.Lock();
  }
}

absl::StatusOr<std::unique_ptr<RunnerProcess>> ForkingLauncher::Launch(
    const RunnerCommand& command, Listener listener) {
  absl::StatusOr<std::unique_ptr<RunnerProcess>> process =
      absl::UnavailableError("the launcher is closed");
  absl::Notification done;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return process;
    requests_.push_back([&] {
      process = Fork(command, std::move(listener));
      done.Notify();
    });
  }
  done.WaitForNotification();
  return process;
}

absl::Status ReapLeftovers(const std::string& tasks_directory,
                           absl::Duration timeout) {
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(tasks_directory, error)) {
    std::ifstream record(entry.path() / kRecord);
    pid_t pid = 0;
    uint64_t start = 0;
    if (!(record >> pid >> start) || pid <= 1 || start == 0) continue;
    const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (fd < 0) continue;
    // Checked after the descriptor pins the process: a pid used again cannot
    // be hit.
    pollfd ended = {fd, POLLIN, 0};
    const bool lives = StartTime(pid) == start && poll(&ended, 1, 0) == 0;
    if (lives) {
      DASM_LOG(WARNING, "ending a runner of an earlier agent").Kv("pid", pid);
      syscall(SYS_pidfd_send_signal, fd, SIGKILL, nullptr, 0);
      if (poll(&ended, 1,
               static_cast<int>(absl::ToInt64Milliseconds(timeout))) == 0) {
        close(fd);
        return absl::DeadlineExceededError(absl::StrCat(
            "runner ", pid, " of an earlier agent does not end; end it"));
      }
    }
    close(fd);
  }
  return absl::OkStatus();
}

}  // namespace dasm
