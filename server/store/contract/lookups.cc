// What is looked for across jobs: what has not ended, who names a blob, results
// of a kind, who uses an action.
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "server/store/contract/job_store_contract.h"
#include "server/store/contract/records.h"

namespace dasm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST_P(JobStoreContract, LiveIsWhatHasNotEnded) {
  Transaction live = Insert(Job("live"));
  live.actions = {Action("bound"), Action("idle"),
                  Action("claimed-by-none", 4, ActionState::kRunning),
                  Action("of-the-ended", 1, ActionState::kSucceeded)};
  TaskRecord bound = Task("live", "segment-1", TaskState::kPending);
  bound.action_key = "bound";
  live.tasks = {bound, Task("live", "assemble")};
  live.workers = {{"w1", true}, {"w2", false}};
  ASSERT_TRUE(store_->Commit(std::move(live)).ok());
  Transaction ended =
      Insert(Job("ended", absl::ZeroDuration(), JobState::kCancelled));
  TaskRecord old = Task("ended", "segment-1", TaskState::kCancelled);
  old.action_key = "of-the-ended";
  ended.tasks = {old};
  ASSERT_TRUE(store_->Commit(std::move(ended)).ok());

  const absl::StatusOr<JobStore::Live> got = store_->LoadLive();
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_THAT(Ids(got->jobs), ElementsAre("live"));
  ASSERT_THAT(got->tasks, SizeIs(2));
  EXPECT_EQ(got->tasks[0].id, "segment-1");
  EXPECT_EQ(got->tasks[1].id, "assemble");
  ASSERT_THAT(got->actions, SizeIs(2));
  EXPECT_EQ(got->actions[0].key, "bound");
  EXPECT_EQ(got->actions[1].key, "claimed-by-none");
  ASSERT_THAT(got->workers, SizeIs(2));
  EXPECT_TRUE(got->workers[0].draining);
  EXPECT_FALSE(got->workers[1].draining);
}

TEST_P(JobStoreContract, ABlobLeadsToTheActionsThatNameIt) {
  ActionRecord producer = Action("producer");
  producer.outputs["set"] = {{"blob-1", 1}, {}};
  producer.checkpoints.push_back({{"blob-2", 1}, 10, 0, kStart});
  ActionRecord consumer = Action("consumer");
  consumer.inputs["set"] = {"blob-1", 1};
  Transaction transaction;
  transaction.actions = {producer, consumer};
  ASSERT_TRUE(store_->Commit(transaction).ok());
  const auto keys = [&](const std::string& digest) {
    const absl::StatusOr<std::vector<ActionRecord>> actions =
        store_->FindActionsByOutput(digest);
    EXPECT_TRUE(actions.ok()) << actions.status();
    std::vector<std::string> found;
    for (const ActionRecord& action : *actions) found.push_back(action.key);
    return found;
  };
  EXPECT_THAT(keys("blob-1"), ElementsAre("consumer", "producer"));
  EXPECT_THAT(keys("blob-2"), ElementsAre("producer"));
  EXPECT_THAT(keys("blob-3"), IsEmpty());

  producer.checkpoints = {{{"blob-3", 1}, 20, 0, kStart}};
  Transaction update;
  update.actions = {producer};
  ASSERT_TRUE(store_->Commit(update).ok());
  EXPECT_THAT(keys("blob-2"), IsEmpty());
  EXPECT_THAT(keys("blob-3"), ElementsAre("producer"));
}

TEST_P(JobStoreContract, ResultsOfAKindAreListedFromTheLastToEnd) {
  Transaction transaction;
  const auto add = [&](const std::string& key, const std::string& kind,
                       int ended, ActionState state = ActionState::kSucceeded) {
    ActionRecord action = Action(key, 1, state);
    action.kind = kind;
    action.end_time = kStart + absl::Seconds(ended);
    transaction.actions.push_back(action);
  };
  add("a1", "train", 3);
  add("a2", "train", 5);
  add("b1", "train", 3);
  add("b2", "other", 9);
  add("b3", "train", 9, ActionState::kFailed);
  add("b4", "train", 9);
  transaction.actions.back().prune_time = kStart;
  ASSERT_TRUE(store_->Commit(transaction).ok());
  const auto list = [&](const ResultFilter& filter,
                        const ResultPosition& after = {}, int limit = 10) {
    const auto results = store_->ListResults(filter, after, limit);
    EXPECT_TRUE(results.ok()) << results.status();
    std::vector<std::string> keys;
    for (const ActionRecord& action : *results) keys.push_back(action.key);
    return keys;
  };
  EXPECT_THAT(list({.kind = "train"}), ElementsAre("a2", "b1", "a1"));
  EXPECT_THAT(list({.kind = "train"}, {}, 2), ElementsAre("a2", "b1"));
  EXPECT_THAT(list({.kind = "train"}, {kStart + absl::Seconds(3), "b1"}),
              ElementsAre("a1"));
  EXPECT_THAT(list({.kind = "train", .pruned = true}), ElementsAre("b4"));
  EXPECT_THAT(list({.kind = "train", .key_prefix = "a"}),
              ElementsAre("a2", "a1"));

  // A later commit moves a result in the list and out of it.
  Transaction update;
  update.actions = {transaction.actions[0], transaction.actions[1]};
  update.actions[0].end_time = kStart + absl::Seconds(7);
  update.actions[1].state = ActionState::kPending;
  ASSERT_TRUE(store_->Commit(update).ok());
  EXPECT_THAT(list({.kind = "train"}), ElementsAre("a1", "b1"));
}

TEST_P(JobStoreContract, LiveUsersAreTheJobsThatHaveNotEnded) {
  Transaction transaction = Insert(Job("j1"));
  transaction.actions = {Action("key")};
  ASSERT_TRUE(store_->Commit(transaction).ok());
  for (const char* job : {"j2", "j3"}) {
    ASSERT_TRUE(store_->Commit(Insert(Job(job))).ok());
  }
  Transaction bind;
  for (const char* job : {"j1", "j2"}) {
    for (const char* id : {"a", "b"}) {
      TaskRecord task = Task(job, id, TaskState::kSucceeded);
      task.action_key = "key";
      bind.tasks.push_back(task);
    }
  }
  bind.tasks.push_back(Task("j3", "a"));
  ASSERT_TRUE(store_->Commit(bind).ok());
  const auto users = [&] {
    const auto jobs = store_->ListLiveUsers("key");
    EXPECT_TRUE(jobs.ok()) << jobs.status();
    return Ids(*jobs);
  };
  EXPECT_THAT(users(), ElementsAre("j1", "j2"));
  JobRecord ended = Job("j1");
  ended.state = JobState::kCancelled;
  Transaction end;
  end.jobs = {ended};
  ASSERT_TRUE(store_->Commit(end).ok());
  EXPECT_THAT(users(), ElementsAre("j2"));
}

}  // namespace
}  // namespace dasm
