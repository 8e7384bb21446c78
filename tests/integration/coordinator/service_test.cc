// The coordinator's services over a unix socket, as clients and agents call
// them.
#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/artifact/digest.h"
#include "common/artifact/local_blob_store.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/temporary_directory.h"
#include "common/rpc/blob_transfer.h"
#include "common/rpc/endpoint.h"
#include "common/rpc/grpc_status.h"
#include "common/rpc/protocol.h"
#include "common/spec/yaml.h"
#include "dasm/v1/artifact.grpc.pb.h"
#include "dasm/v1/cluster.grpc.pb.h"
#include "dasm/v1/job_service.grpc.pb.h"
#include "dasm/worker/v1/worker_service.grpc.pb.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "server/manager/job_manager.h"
#include "server/service/grpc_server.h"
#include "server/store/sqlite_job_store.h"
#include "server/store/sqlite_telemetry_store.h"
#include "tests/integration/coordinator/scripted_work.h"
#include "tests/support/tiny_dataset.h"

namespace dasm {
namespace {

namespace w = worker::v1;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using testing_support::WorkOn;

// Ends a test that hangs.
constexpr absl::Duration kLimit = absl::Minutes(2);

void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(absl::Now() + kLimit));
}

class Service : public ::testing::Test {
 protected:
  Service() : folder_(*TemporaryDirectory::Create()) {
    testing_support::WriteTinyDataset({}, folder_->path());
    address_ = absl::StrCat("unix:", folder_->path(), "/socket");
    store_ = *SqliteJobStore::Create({.path = ":memory:"});
    telemetry_ = *SqliteTelemetryStore::Create({.path = ":memory:"});
    LocalBlobStore::Options options;
    options.directory = absl::StrCat(folder_->path(), "/blobs");
    blobs_ = *LocalBlobStore::Create(std::move(options));
    roots_ = std::make_unique<DataRoots>(*DataRoots::Create({folder_->path()}));
    Start();
  }
  ~Service() override { Stop(); }

  void Start() {
    JobManager::Parts parts;
    parts.clock = SystemClock();
    parts.store = store_.get();
    parts.telemetry = telemetry_.get();
    parts.blobs = blobs_.get();
    parts.roots = roots_.get();
    parts.metrics = &metrics_;
    // Nothing expires on a slow machine, and no hold ends before its news.
    manager_ = *JobManager::Create(
        {.lease = absl::Hours(1), .longest_hold = 2 * kLimit}, parts);
    auto server = GrpcServer::Start(
        {address_, "test"}, {manager_.get(), store_.get(), telemetry_.get(),
                             blobs_.get(), &metrics_});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    manager_->Start();
    auto channel = Connect(address_);
    jobs_ = v1::JobService::NewStub(channel);
    artifacts_ = v1::ArtifactService::NewStub(channel);
    cluster_ = v1::ClusterService::NewStub(channel);
    workers_ = w::WorkerService::NewStub(channel);
  }

  void Stop() {
    if (manager_ == nullptr) return;
    manager_->Stop();
    server_->Shutdown(absl::Seconds(5));
    server_.reset();
    manager_.reset();
  }

  std::string Submit(const std::string& salt = "", int ranks = 1) {
    v1::CreateJobRequest request;
    *request.mutable_spec() = *ParseJobFile(testing_support::TinyJob());
    request.mutable_spec()->mutable_resources()->set_ranks(ranks);
    request.mutable_spec()->set_salt(salt);
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::Job job;
    const grpc::Status status = jobs_->CreateJob(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job.name();
  }

  v1::Job Get(const std::string& name) {
    v1::GetJobRequest request;
    request.set_name(name);
    request.set_view(v1::JOB_VIEW_FULL);
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::Job job;
    const grpc::Status status = jobs_->GetJob(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }

  // One held or immediate Synchronize; keeps what it learnt in `request`.
  w::SynchronizeResponse Synchronize(w::SynchronizeRequest* request) {
    grpc::ClientContext context;
    SetDeadline(&context);
    w::SynchronizeResponse response;
    const grpc::Status status =
        workers_->Synchronize(&context, *request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    request->set_applied_generation(response.generation());
    request->clear_running();
    for (const w::Assignment& assignment : response.assignments()) {
      w::RunningAttempt* running = request->add_running();
      running->set_task(assignment.task());
      running->set_fence(assignment.fence());
      running->set_rank(assignment.rank());
    }
    return response;
  }

  static w::SynchronizeRequest WorkerRequest(int slots = 2) {
    w::SynchronizeRequest request;
    request.set_protocol(kProtocol);
    request.set_worker("scripted");
    request.set_incarnation("1");
    request.set_slots(slots);
    request.set_threads(1);
    request.set_numerics_class("test-class");
    return request;
  }

  void Finish(const w::Assignment& assignment) {
    const auto work = WorkOn(assignment.kind(), assignment.task(),
                             assignment.parameters_json());
    w::CommitResultRequest request;
    request.set_worker("scripted");
    request.set_task(assignment.task());
    request.set_fence(assignment.fence());
    request.set_summary_json(work.summary_json);
    request.set_seconds(1);
    for (const auto& [name, bytes] : work.outputs) {
      const std::string path = absl::StrCat(folder_->path(), "/upload");
      ASSERT_TRUE(WriteFileAtomically(LocalFileSystem(), path, bytes).ok());
      const std::string digest = Sha256(bytes);
      const absl::Status sent = UploadBlob(
          artifacts_.get(), digest, bytes.size(), LocalFileSystem(), path);
      ASSERT_TRUE(sent.ok()) << sent;
      w::TaskOutput* output = request.add_outputs();
      output->set_output(name);
      output->set_digest(digest);
      output->set_size_bytes(static_cast<int64_t>(bytes.size()));
    }
    w::TaskTelemetry* told = nullptr;
    w::ReportTelemetryRequest telemetry;
    telemetry.set_worker("scripted");
    told = telemetry.add_tasks();
    told->set_task(assignment.task());
    told->set_fence(assignment.fence());
    told->mutable_progress()->set_step(1);
    for (int step = 0; step < 5; ++step) {
      w::Point* point = told->add_points();
      point->set_series("matching_loss");
      point->set_step(step);
      point->set_value(1.0 / (1 + step));
      point->set_time_unix_micros(absl::ToUnixMicros(absl::Now()));
    }
    w::Line* line = told->add_lines();
    line->set_sequence(1);
    line->set_severity("info");
    line->set_text(assignment.kind());
    {
      grpc::ClientContext context;
      SetDeadline(&context);
      w::ReportTelemetryResponse ignored;
      EXPECT_TRUE(
          workers_->ReportTelemetry(&context, telemetry, &ignored).ok());
    }
    grpc::ClientContext context;
    SetDeadline(&context);
    w::CommitResultResponse ignored;
    const grpc::Status status =
        workers_->CommitResult(&context, request, &ignored);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }

  // Works until `job` has ended.
  void Work(const std::string& job) {
    w::SynchronizeRequest request = WorkerRequest();
    for (;;) {
      const w::SynchronizeResponse response = Synchronize(&request);
      for (const w::Assignment& assignment : response.assignments()) {
        Finish(assignment);
      }
      const v1::Job::State state = Get(job).state();
      if (state != v1::Job::STATE_QUEUED && state != v1::Job::STATE_RUNNING) {
        return;
      }
    }
  }

  // Stored events from `after` on; breaks the stream after `limit` of them.
  std::vector<v1::JobEvent> Watch(const std::string& job, uint64_t after,
                                  size_t limit = SIZE_MAX) {
    v1::WatchJobRequest request;
    request.set_name(job);
    request.set_resume_version(after);
    grpc::ClientContext context;
    SetDeadline(&context);
    auto stream = jobs_->WatchJob(&context, request);
    std::vector<v1::JobEvent> events;
    v1::JobEvent event;
    while (events.size() < limit && stream->Read(&event)) {
      if (event.type() != "task_progress") events.push_back(event);
    }
    if (events.size() == limit) context.TryCancel();
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(status.ok() || events.size() == limit)
        << status.error_message();
    return events;
  }

  std::unique_ptr<TemporaryDirectory> folder_;
  std::string address_;
  Metrics metrics_;
  std::unique_ptr<SqliteJobStore> store_;
  std::unique_ptr<SqliteTelemetryStore> telemetry_;
  std::unique_ptr<LocalBlobStore> blobs_;
  std::unique_ptr<DataRoots> roots_;
  std::unique_ptr<JobManager> manager_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::ArtifactService::Stub> artifacts_;
  std::unique_ptr<v1::ClusterService::Stub> cluster_;
  std::unique_ptr<w::WorkerService::Stub> workers_;
};

TEST_F(Service, AJobRunsFromSubmitToReportAndIsWatchedLive) {
  const std::string job = Submit();
  std::vector<v1::JobEvent> live;
  std::thread watcher([&] { live = Watch(job, 0); });
  Work(job);
  watcher.join();
  EXPECT_EQ(Get(job).state(), v1::Job::STATE_SUCCEEDED);
  ASSERT_FALSE(live.empty());
  EXPECT_EQ(live.front().type(), "job_created");
  EXPECT_EQ(live.back().type(), "job_succeeded");
  EXPECT_EQ(live.back().job().state(), v1::Job::STATE_SUCCEEDED);
  uint64_t before = 0;
  for (const v1::JobEvent& event : live) {
    EXPECT_GT(event.version(), before);
    before = event.version();
  }
  // Broken and resumed at any place: the same events, none lost or repeated.
  for (size_t cut : {size_t{1}, size_t{2}, live.size() / 2}) {
    std::vector<v1::JobEvent> parts = Watch(job, 0, cut);
    ASSERT_THAT(parts, SizeIs(cut));
    for (v1::JobEvent& event : Watch(job, parts.back().version())) {
      parts.push_back(std::move(event));
    }
    ASSERT_EQ(parts.size(), live.size());
    for (size_t i = 0; i < parts.size(); ++i) {
      EXPECT_EQ(parts[i].version(), live[i].version());
    }
  }
  EXPECT_THAT(Watch(job, live.back().version()), IsEmpty());
}

TEST_F(Service, TheReportNamesFilesThatCanBeDownloaded) {
  const std::string job = Submit();
  v1::GetJobReportRequest request;
  request.set_name(job);
  v1::JobReport report;
  {
    grpc::ClientContext context;
    SetDeadline(&context);
    const absl::Status early =
        FromGrpcStatus(jobs_->GetJobReport(&context, request, &report));
    EXPECT_TRUE(absl::IsFailedPrecondition(early)) << early;
    EXPECT_EQ(ReasonOf(early), "JOB_NOT_SUCCEEDED");
  }
  Work(job);
  grpc::ClientContext context;
  SetDeadline(&context);
  ASSERT_TRUE(jobs_->GetJobReport(&context, request, &report).ok());
  EXPECT_THAT(report.report_json(), HasSubstr("\"accuracy\""));
  bool synthetic = false;
  for (const v1::OutputBlob& file : report.files()) {
    const std::string path = absl::StrCat(folder_->path(), "/", file.output());
    const absl::Status read =
        DownloadBlob(artifacts_.get(), file.digest(), LocalFileSystem(), path);
    EXPECT_TRUE(read.ok()) << read;
    synthetic = synthetic || file.output() == "synthetic";
  }
  EXPECT_TRUE(synthetic);
}

TEST_F(Service, MetricsArePagedByTaskSeriesAndStep) {
  const std::string job = Submit();
  Work(job);
  const auto list = [&](int page_size) {
    std::vector<std::tuple<std::string, std::string, int64_t>> seen;
    v1::ListMetricsRequest request;
    request.set_name(job);
    request.set_page_size(page_size);
    do {
      grpc::ClientContext context;
      SetDeadline(&context);
      v1::ListMetricsResponse response;
      const grpc::Status status =
          jobs_->ListMetrics(&context, request, &response);
      EXPECT_TRUE(status.ok()) << status.error_message();
      if (!status.ok()) break;
      EXPECT_LE(response.points_size(), page_size == 0 ? 10000 : page_size);
      for (const v1::MetricPoint& point : response.points()) {
        seen.emplace_back(point.task(), point.series(), point.step());
      }
      request.set_page_token(response.next_page_token());
    } while (!request.page_token().empty());
    return seen;
  };
  const auto all = list(0);
  EXPECT_EQ(all.size(), 5u * Get(job).tasks_size());
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
  EXPECT_EQ(list(3), all);
  EXPECT_EQ(list(5), all);
  v1::ListMetricsRequest request;
  request.set_name(job);
  request.set_page_token("forged");
  grpc::ClientContext context;
  v1::ListMetricsResponse response;
  EXPECT_EQ(
      FieldOf(FromGrpcStatus(jobs_->ListMetrics(&context, request, &response))),
      "page_token");
}

TEST_F(Service, LogsAreFollowedUntilTheJobEnds) {
  const std::string job = Submit();
  std::vector<v1::LogLine> lines;
  std::thread reader([&] {
    v1::ReadLogsRequest request;
    request.set_name(job);
    request.set_follow(true);
    grpc::ClientContext context;
    SetDeadline(&context);
    auto stream = jobs_->ReadLogs(&context, request);
    v1::LogLine line;
    while (stream->Read(&line)) lines.push_back(line);
    EXPECT_TRUE(stream->Finish().ok());
  });
  Work(job);
  reader.join();
  EXPECT_EQ(static_cast<int>(lines.size()), Get(job).tasks_size());
  for (size_t i = 1; i < lines.size(); ++i) {
    EXPECT_GT(lines[i].sequence(), lines[i - 1].sequence());
  }
}

TEST_F(Service, AHeldSynchronizeIsAnsweredWhenThereIsWork) {
  w::SynchronizeRequest request = WorkerRequest();
  EXPECT_THAT(Synchronize(&request).assignments(), IsEmpty());
  w::SynchronizeResponse response;
  // The hold outlasts the call's deadline: only news can answer it.
  std::thread held([&] { response = Synchronize(&request); });
  Submit();
  held.join();
  EXPECT_THAT(response.assignments(), SizeIs(1));
}

TEST_F(Service, TheRanksOfAGangMeetThroughHeldCalls) {
  const std::string job = Submit("", /*ranks=*/2);
  w::SynchronizeRequest request = WorkerRequest();
  std::vector<w::Assignment> ranks;
  while (ranks.empty()) {
    const w::SynchronizeResponse response = Synchronize(&request);
    for (const w::Assignment& assignment : response.assignments()) {
      if (assignment.ranks() == 2) {
        ranks.push_back(assignment);
      } else {
        Finish(assignment);
      }
    }
  }
  ASSERT_THAT(ranks, SizeIs(2));
  EXPECT_EQ(ranks[0].fence(), ranks[1].fence());
  EXPECT_NE(ranks[0].rank(), ranks[1].rank());
  EXPECT_EQ(ranks[0].reduction(), "ordered");
  EXPECT_EQ(ranks[0].exchange(), "every_step");
  const auto join = [&](const w::Assignment& assignment, uint64_t fence,
                        w::JoinGangResponse* response) {
    w::JoinGangRequest join;
    join.set_worker("scripted");
    join.set_task(assignment.task());
    join.set_fence(fence);
    join.mutable_member()->set_rank(assignment.rank());
    join.mutable_member()->set_endpoint(
        absl::StrCat("host:", 7000 + assignment.rank()));
    join.mutable_member()->set_threads(3);
    grpc::ClientContext context;
    SetDeadline(&context);
    return FromGrpcStatus(workers_->JoinGang(&context, join, response));
  };
  w::JoinGangResponse answers[2];
  std::thread other([&] {
    const absl::Status status = join(ranks[1], ranks[1].fence(), &answers[1]);
    EXPECT_TRUE(status.ok()) << status;
  });
  const absl::Status status = join(ranks[0], ranks[0].fence(), &answers[0]);
  other.join();
  EXPECT_TRUE(status.ok()) << status;
  for (const w::JoinGangResponse& answer : answers) {
    EXPECT_TRUE(answer.complete());
    EXPECT_THAT(answer.secret(), SizeIs(32));
    EXPECT_EQ(answer.secret(), answers[0].secret());
    ASSERT_THAT(answer.members(), SizeIs(2));
    EXPECT_EQ(answer.members(1).endpoint(), "host:7001");
    EXPECT_EQ(answer.members(1).threads(), 3);
  }
  // `describe` shows where they are, and nothing that is secret.
  const v1::Job described = Get(job);
  int gangs = 0;
  for (const v1::Task& task : described.tasks()) {
    if (task.gang().empty()) continue;
    ++gangs;
    ASSERT_THAT(task.gang(), SizeIs(2));
    EXPECT_EQ(task.gang(0).endpoint(), "host:7000");
    EXPECT_EQ(task.gang(1).worker(), "scripted");
  }
  EXPECT_EQ(gangs, 1);
  w::JoinGangResponse none;
  EXPECT_EQ(ReasonOf(join(ranks[0], ranks[0].fence() + 1, &none)),
            "STALE_FENCE");
  Work(job);
  EXPECT_EQ(Get(job).state(), v1::Job::STATE_SUCCEEDED);
}

TEST_F(Service, ExplainModelsTheScalingAndWarnsOfIdleRanks) {
  v1::ExplainJobRequest request;
  *request.mutable_spec() = *ParseJobFile(testing_support::TinyJob());
  request.mutable_spec()->mutable_resources()->set_ranks(7);
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::ExplainJobResponse response;
  const grpc::Status status = jobs_->ExplainJob(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_THAT(response.scaling().rows(), SizeIs(5));
  EXPECT_EQ(response.scaling().rows(4).ranks(), 64);
  ASSERT_THAT(response.scaling().rows(4).links(), SizeIs(2));
  EXPECT_GT(response.scaling().rows(4).sent_bytes(), 0);
  // The tiny job's arithmetic takes no time.
  EXPECT_EQ(response.scaling().rows(4).links(0).limit(), "latency");
  ASSERT_THAT(response.warnings(), SizeIs(1));
  EXPECT_THAT(response.warnings(0), HasSubstr("7 ranks share 3 shards"));
}

TEST_F(Service, AWorkerOfAnotherProtocolIsToldWhichSideToUpgrade) {
  w::SynchronizeRequest request = WorkerRequest();
  request.set_protocol(kProtocol + 1);
  grpc::ClientContext context;
  SetDeadline(&context);
  w::SynchronizeResponse response;
  const absl::Status status =
      FromGrpcStatus(workers_->Synchronize(&context, request, &response));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(ReasonOf(status), "PROTOCOL_MISMATCH");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("upgrade the coordinator"));
}

TEST_F(Service, StreamsAndHeldCallsEndWhenTheCoordinatorStops) {
  const std::string job = Submit();
  w::SynchronizeRequest request = WorkerRequest(0);
  Synchronize(&request);
  grpc::Status watched;
  grpc::Status held;
  absl::Notification first;
  std::thread watcher([&] {
    v1::WatchJobRequest watch;
    watch.set_name(job);
    grpc::ClientContext context;
    SetDeadline(&context);
    auto stream = jobs_->WatchJob(&context, watch);
    v1::JobEvent event;
    EXPECT_TRUE(stream->Read(&event));
    first.Notify();
    while (stream->Read(&event)) {
    }
    watched = stream->Finish();
  });
  first.WaitForNotification();
  Stop();
  watcher.join();
  EXPECT_EQ(watched.error_code(), grpc::StatusCode::UNAVAILABLE);
  // And the same work goes on with the next one.
  Start();
  Work(job);
  EXPECT_EQ(Get(job).state(), v1::Job::STATE_SUCCEEDED);
}

TEST_F(Service, BlobsAreVerifiedResumedAndRefusedWhenWrong) {
  const std::string bytes(3 << 20, 'x');
  const std::string digest = Sha256(bytes);
  const std::string path = absl::StrCat(folder_->path(), "/file");
  ASSERT_TRUE(WriteFileAtomically(LocalFileSystem(), path, bytes).ok());
  const auto upload = [&](const std::string& name) {
    return UploadBlob(artifacts_.get(), name, bytes.size(), LocalFileSystem(),
                      path);
  };
  EXPECT_TRUE(upload(digest).ok());
  EXPECT_TRUE(upload(digest).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(upload(Sha256("other"))));
  EXPECT_TRUE(absl::IsInvalidArgument(upload("sha256:short")));
  v1::ReadBlobRequest request;
  request.set_digest(digest);
  request.set_offset((2 << 20) + 5);
  std::string tail;
  {
    grpc::ClientContext context;
    SetDeadline(&context);
    auto stream = artifacts_->ReadBlob(&context, request);
    v1::BlobChunk chunk;
    while (stream->Read(&chunk)) tail += chunk.data();
    EXPECT_TRUE(stream->Finish().ok());
  }
  EXPECT_EQ(tail.size(), (1u << 20) - 5);
  const auto code = [&](const std::string& name, int64_t offset) {
    request.set_digest(name);
    request.set_offset(offset);
    grpc::ClientContext context;
    SetDeadline(&context);
    auto stream = artifacts_->ReadBlob(&context, request);
    v1::BlobChunk chunk;
    while (stream->Read(&chunk)) {
    }
    return stream->Finish().error_code();
  };
  EXPECT_EQ(code(digest, 4 << 20), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(code(Sha256("absent"), 0), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(code("nonsense", 0), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code(digest, 3 << 20), grpc::StatusCode::OK);
}

TEST_F(Service, ListsFiltersAndNamesFollowTheirForms) {
  const std::string job = Submit("a");
  Submit("b");
  Submit("c");
  v1::ListJobsRequest request;
  request.set_page_size(2);
  const auto list = [&](absl::Status* status) {
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::ListJobsResponse response;
    *status = FromGrpcStatus(jobs_->ListJobs(&context, request, &response));
    return response;
  };
  absl::Status status;
  const v1::ListJobsResponse first = list(&status);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(first.jobs(), SizeIs(2));
  request.set_page_token(first.next_page_token());
  const v1::ListJobsResponse last = list(&status);
  EXPECT_THAT(last.jobs(), SizeIs(1));
  EXPECT_EQ(last.jobs(0).name(), job);
  EXPECT_EQ(last.next_page_token(), "");
  request.Clear();
  request.set_filter("state=SUCCEEDED OR state=FAILED");
  EXPECT_THAT(list(&status).jobs(), IsEmpty());
  EXPECT_TRUE(status.ok());
  request.set_filter("state=running");
  list(&status);
  EXPECT_EQ(FieldOf(status), "filter");
  request.Clear();
  request.set_parent("projects/other");
  list(&status);
  EXPECT_EQ(FieldOf(status), "parent");
  // A job under its short names.
  const std::string id = job.substr(job.rfind('/') + 1);
  EXPECT_EQ(Get(absl::StrCat("jobs/", id)).name(), job);
  EXPECT_EQ(Get(id).name(), job);
}

TEST_F(Service, ASubmitWithAWrongFieldNamesIt) {
  v1::CreateJobRequest request;
  *request.mutable_spec() = *ParseJobFile(testing_support::TinyJob());
  request.mutable_spec()->set_images_per_class(100'000);
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::Job job;
  const absl::Status status =
      FromGrpcStatus(jobs_->CreateJob(&context, request, &job));
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_NE(FieldOf(status), "");
}

}  // namespace
}  // namespace dasm
