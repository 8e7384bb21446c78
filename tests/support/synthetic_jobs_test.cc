#include "tests/support/synthetic_jobs.h"

#include <memory>

#include "gtest/gtest.h"
#include "server/store/faulty_job_store.h"
#include "server/store/sqlite_job_store.h"

namespace dasm {
namespace {

TEST(FillJobStore, LeavesTheDocumentedMixOfStates) {
  const std::unique_ptr<SqliteJobStore> store =
      *SqliteJobStore::Create({.path = ":memory:"});
  ASSERT_TRUE(FillJobStore(store.get(), 1000).ok());
  const std::map<JobState, int64_t> counts = *store->CountJobs();
  EXPECT_EQ(counts.at(JobState::kQueued), 10);
  EXPECT_EQ(counts.at(JobState::kRunning), 10);
  EXPECT_EQ(counts.at(JobState::kFailed), 50);
  EXPECT_EQ(counts.at(JobState::kSucceeded), 930);
  const JobPage page = *store->ListJobs({.project = "default"}, 3, "");
  ASSERT_EQ(page.jobs.size(), 3u);
  EXPECT_EQ(page.jobs[0].id, SyntheticJob(999).id);
  EXPECT_EQ(store->GetTasks(page.jobs[0].id)->size(), 1u);
  EXPECT_EQ(store->ListEvents(page.jobs[0].id, 0, 10)->size(), 1u);
}

TEST(FillJobStore, ReturnsTheFirstError) {
  const std::unique_ptr<SqliteJobStore> store =
      *SqliteJobStore::Create({.path = ":memory:"});
  FaultyJobStore faulty(store.get());
  faulty.Inject(FaultyJobStore::Method::kCommit,
                {.status = absl::ResourceExhaustedError("full")});
  EXPECT_TRUE(absl::IsResourceExhausted(FillJobStore(&faulty, 10)));
}

}  // namespace
}  // namespace dasm
