// dasm-worker: the agent of one machine.
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/ids.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/dataset/source.h"
#include "common/metrics/http_server.h"
#include "common/metrics/metrics.h"
#include "common/rpc/endpoint.h"
#include "worker/agent/agent.h"
#include "worker/agent/blob_cache.h"
#include "worker/agent/device_inventory.h"
#include "worker/agent/gang_address.h"
#include "worker/agent/grpc_coordinator_link.h"
#include "worker/agent/runner_environment.h"
#include "worker/agent/runner_process.h"
#include "worker/agent/runner_server.h"
#include "worker/agent/segment_gauges.h"
#include "worker/agent/telemetry.h"

namespace dasm {
namespace {

constexpr int kExitSecondSignal = 143;
// A gang comes together in this many collective deadlines: ten minutes.
constexpr int kJoinDeadlines = 10;

struct Flags {
  std::string coordinator;
  std::string state;
  int slots = 0;
  bool share_devices = false;
  std::string device = "auto";
  int threads = 0;
  std::vector<std::string> data;
  std::string http;
  uint64_t cache_size = uint64_t{10} << 30;
  std::string isa = "best";
  std::string runner;
  std::string log_level = "info";
  bool die_with_parent = false;
  std::string gang_address = "127.0.0.1";
  bool insecure = false;
  double collective_deadline = 60;
};

// The classes of dasmctl's exit codes that a daemon can end with.
int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
      return 2;
    case absl::StatusCode::kFailedPrecondition:
      return 5;
    case absl::StatusCode::kUnavailable:
      return 6;
    default:
      return 1;
  }
}

// Kept over restarts: the host's name, so that people recognise it, and a
// random part, so that two state folders on one host are two workers.
absl::StatusOr<std::string> WorkerId(FileSystem* fs, const std::string& state) {
  const std::string path = absl::StrCat(state, "/worker_id");
  if (fs->Exists(path)) {
    DASM_ASSIGN_OR_RETURN(std::string id, fs->Read(path));
    return std::string(absl::StripSuffix(id, "\n"));
  }
  char host[64] = "worker";
  gethostname(host, sizeof(host) - 1);
  std::string id;
  for (const char* at = host; *at != '\0' && *at != '.'; ++at) {
    const auto letter = static_cast<unsigned char>(*at);
    id.push_back(std::isalnum(letter) ? static_cast<char>(std::tolower(letter))
                                      : '-');
  }
  absl::StrAppend(&id, "-", RandomHex(3));
  DASM_RETURN_IF_ERROR(WriteFileAtomically(fs, path, absl::StrCat(id, "\n")));
  return id;
}

std::string DefaultRunner() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return (self.parent_path() / "dasm-runner").string();
}

InstructionSet WantedInstructionSet(const std::string& isa) {
  if (isa == "avx2") return InstructionSet::kAvx2;
  const InstructionSet best = BestInstructionSet();
  return isa == "avx512" ? std::min(best, InstructionSet::kAvx512) : best;
}

std::vector<std::string> InheritedEnvironment() {
  std::vector<std::string> lines;
  for (char** line = environ; *line != nullptr; ++line) {
    lines.emplace_back(*line);
  }
  return lines;
}

// Hands SIGTERM and SIGINT to the agent: the first drains, the second ends the
// process, and with it the runners, at once.
class SignalThread {
 public:
  explicit SignalThread(Agent* agent)
      : agent_(agent), thread_([this] { Run(); }) {}
  ~SignalThread() {
    closed_ = true;
    pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
  }
  static sigset_t Signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    return signals;
  }

 private:
  void Run() {
    const sigset_t signals = Signals();
    for (int count = 1;; ++count) {
      int signal = 0;
      sigwait(&signals, &signal);
      if (closed_) return;
      if (count > 1) _exit(kExitSecondSignal);
      DASM_LOG(INFO, "draining; once more ends at once");
      agent_->Drain();
    }
  }

  Agent* const agent_;
  std::atomic<bool> closed_ = false;
  std::thread thread_;
};

absl::Status Serve(const Flags& flags) {
  DASM_ASSIGN_OR_RETURN(const std::string gang_listen,
                        GangListenAddress(flags.gang_address, flags.insecure));
  FileSystem* const fs = LocalFileSystem();
  const std::string state =
      std::filesystem::absolute(flags.state).lexically_normal().string();
  const std::string tasks = absl::StrCat(state, "/tasks");
  if (absl::Status made = fs->CreateDirectories(tasks); !made.ok()) {
    return WithReason(std::move(made), "STATE_UNUSABLE", "state");
  }
  DASM_RETURN_IF_ERROR(RefuseNetworkFileSystem(state));
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<DirectoryLock> lock,
                        DirectoryLock::Acquire(state, "dasm-worker"));
  DASM_ASSIGN_OR_RETURN(const std::string worker, WorkerId(fs, state));
  DASM_ASSIGN_OR_RETURN(const DataRoots data, DataRoots::Create(flags.data));
  // Before slots are offered.
  DASM_RETURN_IF_ERROR(ReapLeftovers(tasks, absl::Seconds(10)));

  ForkingLauncher launcher;
  InventoryOptions wanted;
  wanted.slots = flags.slots;
  wanted.threads = flags.threads;
  wanted.use_devices = flags.device == "auto";
  wanted.share_devices = flags.share_devices;
  wanted.runner = flags.runner.empty() ? DefaultRunner() : flags.runner;
  wanted.environment = RunnerEnvironment(InheritedEnvironment(),
                                         WantedInstructionSet(flags.isa));
  DASM_ASSIGN_OR_RETURN(const DeviceInventory inventory,
                        TakeInventory(wanted, &launcher));

  GrpcCoordinatorLink coordinator(Connect(flags.coordinator), fs);
  BlobCache::Options cache_options;
  cache_options.directory = absl::StrCat(state, "/cache");
  cache_options.max_bytes = static_cast<int64_t>(flags.cache_size);
  DASM_ASSIGN_OR_RETURN(
      const std::unique_ptr<BlobCache> cache,
      BlobCache::Open(cache_options, fs,
                      [&](const std::string& digest, const std::string& path) {
                        return coordinator.Download(digest, path, 0444);
                      }));
  DASM_ASSIGN_OR_RETURN(
      const std::unique_ptr<RunnerServer> hub,
      RunnerServer::Start(absl::StrCat(state, "/socket_folder")));
  Metrics metrics;
  SegmentGauges gauges(&metrics);
  Telemetry::Options telemetry_options;
  telemetry_options.worker = worker;
  Telemetry telemetry(telemetry_options, &coordinator, SystemClock());

  Attempt::Seams seams;
  seams.clock = SystemClock();
  seams.fs = fs;
  seams.coordinator = &coordinator;
  seams.launcher = &launcher;
  seams.hub = hub.get();
  seams.cache = cache.get();
  seams.telemetry = &telemetry;
  seams.gauges = &gauges;
  seams.data = &data;
  seams.oom_kills = CountOomKills;
  Agent::Options options;
  options.attempt.worker = worker;
  options.attempt.tasks_directory = tasks;
  options.attempt.runner = wanted.runner;
  options.attempt.environment = wanted.environment;
  options.attempt.threads = inventory.threads;
  options.attempt.gang_listen = gang_listen;
  options.attempt.collective_deadline =
      absl::Seconds(flags.collective_deadline);
  options.attempt.join_deadline =
      kJoinDeadlines * options.attempt.collective_deadline;
  options.incarnation = NewUuid();
  options.version = DASM_VERSION;
  options.inventory = inventory;

  std::string http_address = "off";
  Agent agent(std::move(options), seams, [&] {
    std::printf("ready grpc=%s http=%s\n", flags.coordinator.c_str(),
                http_address.c_str());
    std::fflush(stdout);
  });
  std::unique_ptr<HttpServer> http;
  if (!flags.http.empty() && flags.http != "off") {
    HttpServer::Options http_options;
    http_options.address = flags.http;
    http_options.readiness = [&agent]() -> std::string {
      return agent.connected() ? "" : "the coordinator cannot be reached";
    };
    DASM_ASSIGN_OR_RETURN(http,
                          HttpServer::Start(std::move(http_options), &metrics));
    http_address = http->address();
  }
  SignalThread signals(&agent);
  return agent.Run();
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Runs DASM's tasks on this machine.\n\n"
      "Example: dasm-worker --coordinator 127.0.0.1:7070 --state "
      "/var/lib/dasm/worker --data /usr/share/datasets");
  Flags flags;
  app.add_option("--coordinator", flags.coordinator,
                 "Address of the coordinator: HOST:PORT or unix:PATH")
      ->required();
  app.add_option("--state", flags.state,
                 "Folder for the cache and running tasks; made if missing")
      ->required();
  app.add_option("--slots", flags.slots,
                 "Tasks at a time; 0: one a device, or one on the CPU")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--device", flags.device,
                 "What computes: auto (the devices that there are, else the "
                 "CPU) or cpu")
      ->check(CLI::IsMember({"auto", "cpu"}))
      ->capture_default_str();
  app.add_flag("--share-devices", flags.share_devices,
               "Allow more slots than devices");
  app.add_option("--threads", flags.threads,
                 "Threads a task; 0: the machine's cores shared by the slots")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--data", flags.data,
                 "Folder with data sets; may be given again");
  app.add_option("--http", flags.http,
                 "Address for /livez, /readyz and /metrics; port 0: any free "
                 "one; off without it");
  app.add_option("--cache-size", flags.cache_size,
                 "Bytes of blobs kept, e.g. 20GiB")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->default_str("10GiB");
  app.add_option("--isa", flags.isa,
                 "Instruction set of the runners: best; avx2, so that machines "
                 "with and without AVX-512 give the same bits; or avx512, best "
                 "without VNNI, which has the same bits")
      ->check(CLI::IsMember({"best", "avx512", "avx2"}))
      ->capture_default_str();
  app.add_option("--runner", flags.runner,
                 "The dasm-runner to start; default: the one beside this file");
  app.add_option("--gang-address", flags.gang_address,
                 "Host name or address at which the runners of this machine "
                 "listen for the other ranks of their gang; anything but "
                 "loopback needs --insecure")
      ->capture_default_str();
  app.add_option("--collective-deadline", flags.collective_deadline,
                 "Least seconds after which ranks that wait for a peer give "
                 "up; more where steps take long")
      ->check(CLI::Range(1.0, 86400.0))
      ->capture_default_str();
  app.add_flag("--insecure", flags.insecure,
               "Allow addresses that other machines can reach, although "
               "connections are not encrypted");
  app.add_option("--log-level", flags.log_level,
                 "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
  app.add_flag("--die-with-parent", flags.die_with_parent,
               "End when the process that started this one ends");
  app.set_version_flag("--version", std::string("dasm-worker ") + DASM_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (flags.die_with_parent) {
    const pid_t parent = getppid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // It may have ended in between.
    if (getppid() != parent) return 1;
  }
  LogSeverity severity = LogSeverity::INFO;
  ParseLogSeverity(flags.log_level, &severity);
  InitLogging("dasm-worker", severity);
  // Before any thread, so that only the signal thread gets them.
  const sigset_t signals = SignalThread::Signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  const absl::Status status = Serve(flags);
  if (!status.ok()) std::fprintf(stderr, "%s\n", ErrorLine(status).c_str());
  return ExitCodeOf(status);
}

}  // namespace
}  // namespace dasm

int main(int argc, char** argv) { return dasm::Main(argc, argv); }
