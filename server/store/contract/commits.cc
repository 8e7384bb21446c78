// A transaction is accepted whole or not at all: fences, refusals, neighbours
// of one batch, answers, shutdown.
#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "server/store/contract/job_store_contract.h"
#include "server/store/contract/records.h"

namespace dasm {
namespace {

using testing::IsEmpty;

TEST_P(JobStoreContract, OnlyTheNewestFenceIsAccepted) {
  Transaction create;
  create.actions.push_back(Action("key", 2, ActionState::kRunning));
  ASSERT_TRUE(store_->Commit(create).ok());

  Transaction report;
  report.actions.push_back(Action("key", 2, ActionState::kSucceeded));
  for (uint64_t stale : {0, 1, 3}) {
    report.require_fence = {"key", stale};
    const absl::Status refused = store_->Commit(report).status();
    EXPECT_TRUE(absl::IsAborted(refused)) << refused;
    EXPECT_EQ(ReasonOf(refused), "STALE_FENCE");
  }
  report.require_fence = {"other", 2};
  EXPECT_EQ(ReasonOf(store_->Commit(report).status()), "STALE_FENCE");
  EXPECT_EQ(store_->GetAction("key")->state, ActionState::kRunning);

  report.require_fence = {"key", 2};
  EXPECT_TRUE(store_->Commit(report).ok());
  EXPECT_EQ(store_->GetAction("key")->state, ActionState::kSucceeded);
}

// Eight attempts report at once under one fence, and each acceptance moves the
// fence on: exactly one may win.
TEST_P(JobStoreContract, OfManyReportsUnderOneFenceOneWins) {
  Transaction create;
  create.actions.push_back(Action("key", 5, ActionState::kRunning));
  ASSERT_TRUE(store_->Commit(create).ok());
  std::atomic<int> accepted = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      Transaction report;
      report.require_fence = {"key", 5};
      report.actions.push_back(Action("key", 6, ActionState::kRunning));
      if (store_->Commit(std::move(report)).ok()) ++accepted;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(accepted, 1);
}

TEST_P(JobStoreContract, ARefusedTransactionLeavesNothingBehind) {
  ASSERT_TRUE(store_->Commit(Insert(Job("j1"))).ok());
  Transaction mixed = Insert(Job("j2"));
  mixed.jobs.push_back(Job("j1", absl::ZeroDuration(), JobState::kRunning));
  mixed.actions.push_back(Action("key"));
  mixed.workers.push_back({"w1", true});
  mixed.events.push_back(Event("j1", "lost"));
  // The last row refers to a job that does not exist.
  mixed.events.push_back(Event("j404", "dangling"));
  EXPECT_FALSE(store_->Commit(std::move(mixed)).ok());

  EXPECT_TRUE(absl::IsNotFound(store_->GetJob("default", "j2").status()));
  EXPECT_EQ(store_->GetJob("default", "j1")->state, JobState::kQueued);
  EXPECT_TRUE(absl::IsNotFound(store_->GetAction("key").status()));
  EXPECT_THAT(store_->LoadLive()->workers, IsEmpty());
  EXPECT_THAT(*store_->ListEvents("j1", 0, 10), IsEmpty());
  EXPECT_EQ(store_->CountJobs()->at(JobState::kQueued), 1);
}

TEST_P(JobStoreContract, ARefusedTransactionDoesNotTouchItsNeighbours) {
  constexpr int kJobs = 40;
  absl::Mutex mutex;
  std::map<int, absl::Status> answers;
  std::vector<int> order;
  for (int i = 0; i < kJobs; ++i) {
    // Every fourth repeats the id before it.
    store_->Commit(Insert(Job(absl::StrCat("j", i % 4 == 3 ? i - 1 : i))),
                   [&, i](absl::StatusOr<CommitReceipt> receipt) {
                     absl::MutexLock lock(&mutex);
                     answers[i] = receipt.status();
                     order.push_back(i);
                   });
  }
  {
    absl::MutexLock lock(&mutex);
    const auto all = [&] { return answers.size() == kJobs; };
    mutex.Await(absl::Condition(&all));
  }
  for (int i = 0; i < kJobs; ++i) {
    EXPECT_EQ(answers[i].ok(), i % 4 != 3) << i << " " << answers[i];
    EXPECT_EQ(store_->GetJob("default", absl::StrCat("j", i)).ok(), i % 4 != 3);
  }
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_P(JobStoreContract, StatisticsCountAcceptedTransactions) {
  ASSERT_TRUE(store_->Commit(Insert(Job("j1"))).ok());
  ASSERT_FALSE(store_->Commit(Insert(Job("j1"))).ok());
  ASSERT_TRUE(store_->Commit(Insert(Job("j2"))).ok());
  EXPECT_EQ(store_->statistics().transactions, 2u);
  EXPECT_EQ(store_->statistics().batches, 2u);
}

// The answer may come from the thread that writes; what it calls must not wait
// for that thread.
TEST_P(JobStoreContract, AnAnswerMayReadTheStore) {
  absl::Mutex mutex;
  bool found = false;
  bool finished = false;
  store_->Commit(Insert(Job("j1")), [&](absl::StatusOr<CommitReceipt>) {
    const bool ok = store_->GetJob("default", "j1").ok();
    absl::MutexLock lock(&mutex);
    found = ok;
    finished = true;
  });
  absl::MutexLock lock(&mutex);
  mutex.Await(absl::Condition(&finished));
  EXPECT_TRUE(found);
}

TEST_P(JobStoreContract, TheDestructorFinishesWhatIsQueued) {
  std::atomic<int> answered = 0;
  for (int i = 0; i < 100; ++i) {
    store_->Commit(
        Insert(Job(absl::StrCat("j", i))),
        [&](absl::StatusOr<CommitReceipt> r) { answered += r.ok(); });
  }
  store_.reset();
  EXPECT_EQ(answered, 100);
  if (!backend_->durable()) return;
  store_ = backend_->Reopen();
  EXPECT_EQ(store_->CountJobs()->at(JobState::kQueued), 100);
}

}  // namespace
}  // namespace dasm
