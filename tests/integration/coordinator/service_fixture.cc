#include "tests/integration/coordinator/service_fixture.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/artifact/digest.h"
#include "common/base/file_system.h"
#include "common/rpc/blob_transfer.h"
#include "common/rpc/endpoint.h"
#include "common/rpc/protocol.h"
#include "common/spec/yaml.h"
#include "tests/integration/coordinator/scripted_work.h"
#include "tests/support/tiny_dataset.h"

namespace dasm::testing_support {

namespace w = worker::v1;

ServiceFixture::ServiceFixture() : folder_(*TemporaryDirectory::Create()) {
  WriteTinyDataset({}, folder_->path());
  address_ = absl::StrCat("unix:", folder_->path(), "/socket");
  store_ = *SqliteJobStore::Create({.path = ":memory:"});
  telemetry_ = *SqliteTelemetryStore::Create({.path = ":memory:"});
  LocalBlobStore::Options options;
  options.directory = absl::StrCat(folder_->path(), "/blobs");
  blobs_ = *LocalBlobStore::Create(std::move(options));
  roots_ = std::make_unique<DataRoots>(*DataRoots::Create({folder_->path()}));
  Start();
}
void ServiceFixture::Start() {
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

void ServiceFixture::Stop() {
  if (manager_ == nullptr) return;
  manager_->Stop();
  server_->Shutdown(absl::Seconds(5));
  server_.reset();
  manager_.reset();
}

std::string ServiceFixture::Submit(const std::string& salt, int ranks) {
  v1::CreateJobRequest request;
  *request.mutable_spec() = *ParseJobFile(TinyJob());
  request.mutable_spec()->mutable_resources()->set_ranks(ranks);
  request.mutable_spec()->mutable_resources()->set_trainer_rank(ranks > 1);
  request.mutable_spec()->set_salt(salt);
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::Job job;
  const grpc::Status status = jobs_->CreateJob(&context, request, &job);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return job.name();
}

v1::Job ServiceFixture::Get(const std::string& name) {
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

w::SynchronizeResponse ServiceFixture::Synchronize(
    w::SynchronizeRequest* request) {
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

w::SynchronizeRequest ServiceFixture::WorkerRequest(int slots) {
  w::SynchronizeRequest request;
  request.set_protocol(kProtocol);
  request.set_worker("scripted");
  request.set_incarnation("1");
  request.set_slots(slots);
  request.set_threads(1);
  request.set_numerics_class("test-class");
  return request;
}

void ServiceFixture::Finish(const w::Assignment& assignment) {
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
    const absl::Status sent = UploadBlob(artifacts_.get(), digest, bytes.size(),
                                         LocalFileSystem(), path);
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
    EXPECT_TRUE(workers_->ReportTelemetry(&context, telemetry, &ignored).ok());
  }
  grpc::ClientContext context;
  SetDeadline(&context);
  w::CommitResultResponse ignored;
  const grpc::Status status =
      workers_->CommitResult(&context, request, &ignored);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

void ServiceFixture::Work(const std::string& job) {
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

std::vector<v1::JobEvent> ServiceFixture::Watch(const std::string& job,
                                                uint64_t after, size_t limit) {
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
  EXPECT_TRUE(status.ok() || events.size() == limit) << status.error_message();
  return events;
}

}  // namespace dasm::testing_support
