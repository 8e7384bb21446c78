#include "server/store/faulty_job_store.h"

#include <memory>
#include <utility>

#include "gtest/gtest.h"
#include "server/store/sqlite_job_store.h"

namespace dasm {
namespace {

class FaultyJobStoreTest : public testing::Test {
 protected:
  Transaction Submit(const std::string& id) {
    JobRecord job;
    job.id = id;
    job.project = "default";
    Transaction transaction;
    transaction.insert_job = std::move(job);
    return transaction;
  }
  bool Has(const std::string& id) { return inner_->GetJob("default", id).ok(); }

  const std::unique_ptr<SqliteJobStore> inner_ =
      *SqliteJobStore::Create({.path = ":memory:"});
  FaultyJobStore store_{inner_.get()};
};

TEST_F(FaultyJobStoreTest, ARefusedCommitIsNotDone) {
  store_.Inject(FaultyJobStore::Method::kCommit,
                {.status = absl::UnavailableError("disk")});
  EXPECT_TRUE(absl::IsUnavailable(store_.Commit(Submit("j1")).status()));
  EXPECT_FALSE(Has("j1"));
  EXPECT_TRUE(store_.Commit(Submit("j1")).ok());
  EXPECT_TRUE(Has("j1"));
}

TEST_F(FaultyJobStoreTest, AnExecutedCommitIsDoneAndAnsweredWithTheError) {
  store_.Inject(FaultyJobStore::Method::kCommit,
                {.status = absl::UnavailableError("disk"), .executed = true});
  EXPECT_TRUE(absl::IsUnavailable(store_.Commit(Submit("j1")).status()));
  EXPECT_TRUE(Has("j1"));
}

TEST_F(FaultyJobStoreTest, AFaultHitsOnlyMatchingTransactions) {
  store_.Inject(FaultyJobStore::Method::kCommit,
                {.status = absl::UnavailableError("disk"),
                 .count = 2,
                 .matches = [](const Transaction& transaction) {
                   return transaction.insert_job->id == "j2";
                 }});
  EXPECT_TRUE(store_.Commit(Submit("j1")).ok());
  EXPECT_FALSE(store_.Commit(Submit("j2")).ok());
  EXPECT_FALSE(store_.Commit(Submit("j2")).ok());
  EXPECT_TRUE(store_.Commit(Submit("j2")).ok());
}

TEST_F(FaultyJobStoreTest, ReadsFailUntilHealed) {
  ASSERT_TRUE(store_.Commit(Submit("j1")).ok());
  store_.Inject(FaultyJobStore::Method::kGetJob,
                {.status = absl::UnavailableError("disk"), .count = 100});
  EXPECT_TRUE(absl::IsUnavailable(store_.GetJob("default", "j1").status()));
  EXPECT_TRUE(store_.ListJobs({.project = "default"}, 10, "").ok());
  store_.Heal();
  EXPECT_TRUE(store_.GetJob("default", "j1").ok());
}

}  // namespace
}  // namespace dasm
