// dasm-coordinator: the service that accepts jobs and hands out their tasks.
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/artifact/local_blob_store.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/dataset/source.h"
#include "common/metrics/http_server.h"
#include "common/metrics/metrics.h"
#include "common/rpc/endpoint.h"
#include "server/manager/job_manager.h"
#include "server/service/grpc_server.h"
#include "server/store/sqlite_job_store.h"
#include "server/store/sqlite_telemetry_store.h"

namespace dasm {
namespace {

constexpr int kExitUsage = 2;
constexpr int kExitRefused = 5;
constexpr absl::Duration kPatience = absl::Seconds(5);
constexpr absl::Duration kTrimPeriod = absl::Minutes(10);
constexpr int64_t kLinesKept = 100'000;   // of an action
constexpr int64_t kPointsKept = 200'000;  // of a series

struct Flags {
  std::string state;
  std::string listen = "127.0.0.1:7070";
  std::string http;
  std::vector<std::string> data;
  bool insecure = false;
  double lease = 30;
  uint64_t min_free = uint64_t{256} << 20;
  double fsync_delay_ms = 0;
  std::string log_level = "info";
  bool die_with_parent = false;
};

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
      return kExitUsage;
    // Whatever keeps the service from its folder or its address.
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDataLoss:
      return kExitRefused;
    default:
      return 1;
  }
}

absl::Status OfState(absl::Status status) {
  if (status.ok() || !FieldOf(status).empty()) return status;
  return WithReason(std::move(status), "STATE_UNUSABLE", "state");
}

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

absl::Status Serve(const Flags& flags) {
  DASM_RETURN_IF_ERROR(
      CheckListenAddress("listen", flags.listen, flags.insecure));
  const bool with_http = !flags.http.empty() && flags.http != "off";
  if (with_http) {
    DASM_RETURN_IF_ERROR(
        CheckListenAddress("http", flags.http, flags.insecure));
  }
  DASM_ASSIGN_OR_RETURN(const DataRoots roots, DataRoots::Create(flags.data));

  FileSystem* const fs = LocalFileSystem();
  const std::string state =
      std::filesystem::absolute(flags.state).lexically_normal().string();
  DASM_RETURN_IF_ERROR(OfState(fs->CreateDirectories(state)));
  DASM_RETURN_IF_ERROR(OfState(RefuseNetworkFileSystem(state)));
  auto lock = DirectoryLock::Acquire(state, "another dasm-coordinator");
  DASM_RETURN_IF_ERROR(OfState(lock.status()));

  Metrics metrics;
  // The store is older than the manager that it tells of bad blobs.
  JobManager* manager_of_blobs = nullptr;
  LocalBlobStore::Options blob_options;
  blob_options.directory = absl::StrCat(state, "/blobs");
  blob_options.min_free_bytes = static_cast<int64_t>(flags.min_free);
  blob_options.on_quarantine = [&](const std::string& digest) {
    if (manager_of_blobs != nullptr) manager_of_blobs->ReportBadBlob(digest);
  };
  auto blobs = LocalBlobStore::Create(std::move(blob_options), fs);
  DASM_RETURN_IF_ERROR(OfState(blobs.status()));
  SqliteJobStore::Options store_options;
  store_options.path = absl::StrCat(state, "/jobs.sqlite");
  store_options.fsync_delay = absl::Milliseconds(flags.fsync_delay_ms);
  auto store = SqliteJobStore::Create(store_options);
  DASM_RETURN_IF_ERROR(OfState(store.status()));
  SqliteTelemetryStore::Options telemetry_options;
  telemetry_options.path = absl::StrCat(state, "/telemetry.sqlite");
  auto telemetry = SqliteTelemetryStore::Create(telemetry_options);
  DASM_RETURN_IF_ERROR(OfState(telemetry.status()));

  JobManager::Options options;
  options.lease = absl::Seconds(flags.lease);
  options.min_free_bytes = static_cast<int64_t>(flags.min_free);
  options.tool_version = DASM_VERSION;
  JobManager::Parts parts;
  parts.clock = SystemClock();
  parts.store = store->get();
  parts.telemetry = telemetry->get();
  parts.blobs = blobs->get();
  parts.roots = &roots;
  parts.metrics = &metrics;
  parts.free_bytes = [fs, state] { return fs->FreeBytes(state); };
  auto manager = JobManager::Create(std::move(options), std::move(parts));
  DASM_RETURN_IF_ERROR(OfState(manager.status()));
  manager_of_blobs = manager->get();

  DASM_ASSIGN_OR_RETURN(
      const std::unique_ptr<GrpcServer> server,
      GrpcServer::Start({flags.listen, DASM_VERSION},
                        {manager->get(), store->get(), telemetry->get(),
                         blobs->get(), &metrics}));
  std::unique_ptr<HttpServer> http;
  std::string http_address = "off";
  if (with_http) {
    HttpServer::Options http_options;
    http_options.address = flags.http;
    http_options.readiness = [&] { return (*manager)->Readiness(); };
    DASM_ASSIGN_OR_RETURN(http,
                          HttpServer::Start(std::move(http_options), &metrics));
    http_address = http->address();
  }
  (*manager)->Start();
  std::printf("ready grpc=%s http=%s\n", server->address().c_str(),
              http_address.c_str());
  std::fflush(stdout);

  // One thread for signals, this one for upkeep until it has got one.
  absl::Mutex mutex;
  bool stop = false;
  std::thread signals([&] {
    const sigset_t wanted = StopSignals();
    int signal = 0;
    sigwait(&wanted, &signal);
    absl::MutexLock hold(&mutex);
    stop = true;
  });
  for (;;) {
    {
      absl::MutexLock hold(&mutex);
      if (mutex.AwaitWithTimeout(absl::Condition(&stop), kTrimPeriod)) break;
    }
    const absl::Status trimmed = (*telemetry)->Trim(kLinesKept, kPointsKept);
    if (!trimmed.ok()) {
      DASM_LOG(WARNING, "telemetry was not trimmed")
          .Kv("error", std::string(trimmed.message()));
    }
  }
  signals.join();
  DASM_LOG(INFO, "stopping");
  (*manager)->Stop();
  server->Shutdown(kPatience);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Accepts DASM's jobs, keeps their state and results, and hands out their "
      "tasks to workers.\n\n"
      "Example: dasm-coordinator --state /var/lib/dasm/coordinator --data "
      "/usr/share/datasets");
  Flags flags;
  app.add_option("--state", flags.state,
                 "Folder for the database and the blobs; made if missing")
      ->required();
  app.add_option("--listen", flags.listen,
                 "Address for clients and workers: HOST:PORT (port 0: any free "
                 "one) or unix:PATH")
      ->capture_default_str();
  app.add_option("--http", flags.http,
                 "Address for /livez, /readyz and /metrics; off without it");
  app.add_option("--data", flags.data,
                 "Folder with data sets; may be given again");
  app.add_flag("--insecure", flags.insecure,
               "Allow addresses that other machines can reach, although "
               "connections are neither encrypted nor authenticated");
  app.add_option("--lease", flags.lease,
                 "Seconds without a word after which a worker's tasks go to "
                 "others")
      ->check(CLI::Range(1.0, 3600.0))
      ->capture_default_str();
  app.add_option("--min-free", flags.min_free,
                 "Free bytes below which no new work is taken, e.g. 2GiB")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->default_str("256MiB");
  app.add_option("--log-level", flags.log_level,
                 "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
  // For benches, which compare disks, and for dasmctl run.
  app.add_option("--fsync-delay-ms", flags.fsync_delay_ms)
      ->check(CLI::Range(0.0, 1000.0))
      ->group("");
  app.add_flag("--die-with-parent", flags.die_with_parent)->group("");
  app.set_version_flag("--version",
                       std::string("dasm-coordinator ") + DASM_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  if (flags.die_with_parent) {
    const pid_t parent = getppid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // It may have ended in between.
    if (getppid() != parent) return 1;
  }
  LogSeverity severity = LogSeverity::INFO;
  ParseLogSeverity(flags.log_level, &severity);
  InitLogging("dasm-coordinator", severity);
  // Before any thread, so that only the signal thread gets them.
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  absl::Status status;
  try {
    status = Serve(flags);
  } catch (const std::exception& error) {
    status = absl::InternalError(error.what());
  }
  if (!status.ok()) std::fprintf(stderr, "%s\n", ErrorLine(status).c_str());
  return ExitCodeOf(status);
}

}  // namespace
}  // namespace dasm

int main(int argc, char** argv) { return dasm::Main(argc, argv); }
