#include "client/command/job_view.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::Job JobWithGang(int wanted) {
  v1::Job job;
  job.mutable_expanded_spec()->mutable_resources()->set_ranks(wanted);
  v1::Task* task = job.add_tasks();
  task->set_name("projects/default/jobs/j1/tasks/segment-1");
  task->set_state(v1::Task::STATE_RUNNING);
  task->set_worker("a,b");
  for (int rank = 0; rank < 2; ++rank) {
    v1::GangRank* member = task->add_gang();
    member->set_rank(rank);
    member->set_worker(rank == 0 ? "a" : "b");
  }
  task->mutable_gang(0)->set_endpoint("10.0.0.1:7000");
  return job;
}

TEST(DescribeJob, ShowsWhereTheRanksOfAGangAre) {
  const std::string text = DescribeJob(JobWithGang(2), absl::UnixEpoch());
  EXPECT_THAT(text, HasSubstr("segment-1 runs on 2 ranks\n"));
  EXPECT_THAT(text, HasSubstr("0      a        10.0.0.1:7000\n"));
  EXPECT_THAT(text, HasSubstr("1      b        not there yet\n"));
}

TEST(DescribeJob, SaysThatAGangRunsOnFewerRanks) {
  EXPECT_THAT(DescribeJob(JobWithGang(4), absl::UnixEpoch()),
              HasSubstr("segment-1 runs on 2 of 4 ranks\n"));
  v1::Job alone = JobWithGang(1);
  alone.mutable_tasks(0)->clear_gang();
  EXPECT_THAT(DescribeJob(alone, absl::UnixEpoch()), Not(HasSubstr("RANK")));
}

TEST(DescribeJob, SaysThatATaskWasPlannedAnew) {
  v1::Job job = JobWithGang(2);
  job.mutable_tasks(0)->set_replanned_micro_batch(16);
  EXPECT_THAT(DescribeJob(job, absl::UnixEpoch()),
              HasSubstr("now micro-batches of 16"));
}

TEST(DescribeJob, ShowsTheHighestMemoryOfARankBesideThePrediction) {
  v1::Job job = JobWithGang(2);
  v1::Task* task = job.mutable_tasks(0);
  EXPECT_THAT(DescribeJob(job, absl::UnixEpoch()), Not(HasSubstr("memory")));
  task->set_predicted_memory_bytes(int64_t{400} << 20);
  for (const int64_t mebibytes : {390, 512}) {
    v1::RankMemory* rank = task->add_memory();
    rank->set_rank(task->memory_size() - 1);
    rank->set_host_bytes(mebibytes << 20);
  }
  EXPECT_THAT(DescribeJob(job, absl::UnixEpoch()),
              HasSubstr("highest memory of a rank\n"
                        "TASK        PREDICTED   HOST\n"
                        "segment-1   400.0 MiB   512.0 MiB\n"));
  task->mutable_memory(0)->set_device_bytes(int64_t{2} << 30);
  task->mutable_memory(0)->set_device_reserved_bytes(int64_t{3} << 30);
  EXPECT_THAT(DescribeJob(job, absl::UnixEpoch(), 80),
              HasSubstr("512.0 MiB   2.0 GiB   3.0 GiB\n"));
}

TEST(DescribeJob, AHundredExpertsAreOneLineOfEightyColumns) {
  v1::Job job;
  for (int i = 1; i <= 100; ++i) {
    v1::Task* task = job.add_tasks();
    task->set_name(absl::StrCat("projects/default/jobs/j1/tasks/experts-", i));
    task->set_kind("train_experts");
    task->set_state(i <= 37   ? v1::Task::STATE_SUCCEEDED
                    : i <= 39 ? v1::Task::STATE_RUNNING
                              : v1::Task::STATE_PENDING);
    if (i > 39) task->set_pending_reason("every slot of its class is busy");
  }
  std::string text = DescribeJob(job, absl::UnixEpoch(), 80);
  EXPECT_THAT(text, HasSubstr("experts-1 .. experts-100   train_experts   "
                              "37/100 done   2 running, 61 pending"));
  EXPECT_THAT(text, Not(HasSubstr("experts-38")));
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    EXPECT_LE(DisplayWidth(line), 80) << line;
  }
  // One that failed is named.
  job.mutable_tasks(37)->set_state(v1::Task::STATE_FAILED);
  job.mutable_tasks(37)->mutable_failure()->set_failure_class("NUMERIC");
  job.mutable_tasks(37)->mutable_failure()->set_message("loss is nan");
  text = DescribeJob(job, absl::UnixEpoch());
  EXPECT_THAT(text, HasSubstr("1 running, 61 pending, 1 failed"));
  EXPECT_THAT(text, HasSubstr("experts-38"));
  EXPECT_THAT(text, HasSubstr("NUMERIC: loss is nan"));
}

}  // namespace
}  // namespace dasm
