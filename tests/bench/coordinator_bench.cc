// What the coordinator serves on a slow disk: with 100,000 jobs in its store
// and 4 ms added to every fsync, the durable submits a second from 32 clients,
// the fsynced batches that they took, the time of a list page of 100, and the
// memory of the process (clients included, since they run in it).
//
//   coordinator_bench [--jobs N] [--clients N] [--seconds S] [--check]
//
// Prints one JSON object. --check fails below 300 submits/s, above 20 ms a page
// or above 150 MB.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/artifact/local_blob_store.h"
#include "common/base/ids.h"
#include "common/base/logging.h"
#include "common/base/temporary_directory.h"
#include "common/metrics/metrics.h"
#include "common/rpc/endpoint.h"
#include "common/spec/yaml.h"
#include "dasm/v1/job_service.grpc.pb.h"
#include "grpcpp/client_context.h"
#include "nlohmann/json.hpp"
#include "server/manager/job_manager.h"
#include "server/service/grpc_server.h"
#include "server/store/sqlite_job_store.h"
#include "server/store/sqlite_telemetry_store.h"
#include "tests/support/synthetic_jobs.h"
#include "tests/support/tiny_dataset.h"

namespace dasm {
namespace {

double MegabytesOf(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!absl::StartsWith(line, field)) continue;
    return std::atof(line.c_str() + field.size() + 1) * 1024 / 1e6;
  }
  return 0;
}

double Percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values.empty()
             ? 0
             : values[static_cast<size_t>(share * (values.size() - 1))];
}

// In a child, so that the memory of filling is not the coordinator's.
void Fill(const std::string& path, int64_t jobs) {
  const pid_t child = fork();
  if (child == 0) {
    auto store = SqliteJobStore::Create({.path = path});
    const bool ok = store.ok() && FillJobStore(store->get(), jobs).ok();
    if (ok) store->reset();
    _exit(ok ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  DASM_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int Main(int argc, char** argv) {
  int64_t jobs = 100'000;
  int clients = 32;
  double seconds = 5;
  bool check = false;
  CLI::App app("Loads the coordinator");
  app.add_option("--jobs", jobs);
  app.add_option("--clients", clients);
  app.add_option("--seconds", seconds);
  app.add_flag("--check", check);
  CLI11_PARSE(app, argc, argv);
  InitLogging("coordinator_bench", LogSeverity::WARNING);

  const auto folder = *TemporaryDirectory::Create();
  testing_support::WriteTinyDataset({}, folder->path());
  const std::string path = absl::StrCat(folder->path(), "/jobs.sqlite");
  Fill(path, jobs);

  Metrics metrics;
  auto store = *SqliteJobStore::Create(
      {.path = path, .fsync_delay = absl::Milliseconds(4)});
  auto telemetry = *SqliteTelemetryStore::Create(
      {.path = absl::StrCat(folder->path(), "/telemetry.sqlite")});
  LocalBlobStore::Options blob_options;
  blob_options.directory = absl::StrCat(folder->path(), "/blobs");
  auto blobs = *LocalBlobStore::Create(std::move(blob_options));
  const DataRoots roots = *DataRoots::Create({folder->path()});
  JobManager::Parts parts;
  parts.clock = SystemClock();
  parts.store = store.get();
  parts.telemetry = telemetry.get();
  parts.blobs = blobs.get();
  parts.roots = &roots;
  parts.metrics = &metrics;
  auto manager = *JobManager::Create({}, parts);
  auto server = *GrpcServer::Start(
      {absl::StrCat("unix:", folder->path(), "/s"), "bench"},
      {manager.get(), store.get(), telemetry.get(), blobs.get(), &metrics});
  manager->Start();

  auto stub = v1::JobService::NewStub(Connect(server->address()));
  std::vector<double> pages;
  std::string token;
  for (int i = 0; i < 200; ++i) {
    v1::ListJobsRequest request;
    request.set_page_size(100);
    request.set_page_token(token);
    grpc::ClientContext context;
    v1::ListJobsResponse response;
    const absl::Time start = absl::Now();
    DASM_CHECK(stub->ListJobs(&context, request, &response).ok());
    pages.push_back(absl::ToDoubleMilliseconds(absl::Now() - start));
    token = response.next_page_token();
  }

  const v1::JobSpec spec = *ParseJobFile(testing_support::TinyJob());
  const JobStore::Statistics before = store->statistics();
  std::atomic<int64_t> submitted = 0;
  std::vector<std::vector<double>> latencies(clients);
  const absl::Time start = absl::Now();
  const absl::Time end = start + absl::Seconds(seconds);
  std::vector<std::thread> threads;
  for (int i = 0; i < clients; ++i) {
    threads.emplace_back([&, i] {
      auto own = v1::JobService::NewStub(Connect(server->address()));
      while (absl::Now() < end) {
        v1::CreateJobRequest request;
        *request.mutable_spec() = spec;
        request.set_request_id(NewUuid());
        grpc::ClientContext context;
        v1::Job job;
        const absl::Time sent = absl::Now();
        DASM_CHECK(own->CreateJob(&context, request, &job).ok());
        latencies[i].push_back(absl::ToDoubleMilliseconds(absl::Now() - sent));
        ++submitted;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double elapsed = absl::ToDoubleSeconds(absl::Now() - start);
  const JobStore::Statistics after = store->statistics();
  std::vector<double> all;
  for (const auto& some : latencies) {
    all.insert(all.end(), some.begin(), some.end());
  }

  nlohmann::ordered_json result;
  result["jobs"] = jobs;
  result["clients"] = clients;
  result["fsync_delay_ms"] = 4;
  const double rate = static_cast<double>(submitted) / elapsed;
  result["submits_per_second"] = rate;
  result["submit_ms_p50"] = Percentile(all, 0.5);
  result["submit_ms_p99"] = Percentile(all, 0.99);
  result["batches_per_submit"] =
      static_cast<double>(after.batches - before.batches) /
      static_cast<double>(submitted);
  const double page = Percentile(pages, 0.5);
  result["list_page_ms_p50"] = page;
  result["list_page_ms_p99"] = Percentile(pages, 0.99);
  const double memory = MegabytesOf("VmHWM:");
  result["peak_memory_mb"] = memory;
  std::cout << result.dump() << "\n";
  manager->Stop();
  server->Shutdown(absl::Seconds(5));
  return check && (rate < 300 || page > 20 || memory > 150) ? 1 : 0;
}

}  // namespace
}  // namespace dasm

int main(int argc, char** argv) { return dasm::Main(argc, argv); }
