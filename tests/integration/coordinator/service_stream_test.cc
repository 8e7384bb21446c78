// Streams that are followed and calls that are held until there is news.
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/base/error.h"
#include "common/rpc/grpc_status.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "tests/integration/coordinator/service_fixture.h"

namespace dasm {
namespace {

namespace w = worker::v1;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using testing_support::SetDeadline;
using ServiceStreams = testing_support::ServiceFixture;

TEST_F(ServiceStreams, AJobRunsFromSubmitToReportAndIsWatchedLive) {
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

TEST_F(ServiceStreams, LogsAreFollowedUntilTheJobEnds) {
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

TEST_F(ServiceStreams, AHeldSynchronizeIsAnsweredWhenThereIsWork) {
  w::SynchronizeRequest request = WorkerRequest();
  EXPECT_THAT(Synchronize(&request).assignments(), IsEmpty());
  w::SynchronizeResponse response;
  // The hold outlasts the call's deadline: only news can answer it.
  std::thread held([&] { response = Synchronize(&request); });
  Submit();
  held.join();
  EXPECT_THAT(response.assignments(), SizeIs(1));
}

TEST_F(ServiceStreams, TheRanksOfAGangMeetThroughHeldCalls) {
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
  EXPECT_TRUE(ranks[0].trainer_rank());
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

TEST_F(ServiceStreams, StreamsAndHeldCallsEndWhenTheCoordinatorStops) {
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

}  // namespace
}  // namespace dasm
