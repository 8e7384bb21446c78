// The coordinator's services as clients and agents call them: answers, pages
// and refusals.
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/rpc/blob_transfer.h"
#include "common/rpc/grpc_status.h"
#include "common/rpc/protocol.h"
#include "common/spec/yaml.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "tests/integration/coordinator/service_fixture.h"
#include "tests/support/tiny_dataset.h"

namespace dasm {
namespace {

namespace w = worker::v1;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using testing_support::SetDeadline;
using Service = testing_support::ServiceFixture;

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
  // Nor do its networks, whose sums are most of the calls of a step.
  EXPECT_THAT(response.scaling().advice(),
              HasSubstr("resources.trainer_rank: true"));
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
