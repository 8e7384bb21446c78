// Gangs in the coordinator: placed together, released together, started again
// with the ranks that are there, and introduced to each other.
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/spec/task_parameters.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/manager/job_manager.h"
#include "tests/integration/coordinator/rig.h"

namespace dasm {
namespace {

using ::dasm::testing_support::kLease;
using ::dasm::testing_support::Rig;
using ::dasm::testing_support::ScriptedWorker;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

v1::JobSpec Spec(int ranks, int min_ranks = 1) {
  v1::JobSpec spec = Rig::Spec();
  spec.mutable_resources()->set_ranks(ranks);
  spec.mutable_resources()->set_min_ranks(min_ranks);
  return spec;
}

struct Rank {
  ScriptedWorker* worker;
  WorkOrder order;
};
using Gang = std::map<int, Rank>;

// The gang that runs on `workers` after a round of each, in which they end
// what they ran before.
Gang Running(const std::vector<ScriptedWorker*>& workers) {
  for (ScriptedWorker* worker : workers) worker->Synchronize();
  Gang gang;
  for (ScriptedWorker* worker : workers) {
    for (const WorkOrder& order : worker->Synchronize().assignments) {
      if (order.action.kind != DistillSegmentParameters::kKind) continue;
      EXPECT_FALSE(gang.contains(order.rank)) << "rank twice";
      gang[order.rank] = {worker, order};
    }
  }
  return gang;
}

// A call in which `worker` says that it still runs these, and nobody waits.
void Report(Rig* rig, ScriptedWorker* worker,
            std::vector<AttemptName> running) {
  worker->report.running = std::move(running);
  worker->report.applied_generation = 0;
  rig->manager->Synchronize(worker->report, [](absl::StatusOr<Orders>) {});
}

// Finishes everything but gangs until nothing else is to be done.
Gang ReachGang(const std::vector<ScriptedWorker*>& workers) {
  for (bool more = true; more;) {
    more = false;
    for (ScriptedWorker* worker : workers) {
      for (const WorkOrder& order : worker->Synchronize().assignments) {
        if (order.action.kind == DistillSegmentParameters::kKind) continue;
        const absl::Status status = worker->Finish(order);
        EXPECT_TRUE(status.ok()) << status;
        more = true;
      }
    }
  }
  return Running(workers);
}

void RunToTheEnd(const std::vector<ScriptedWorker*>& workers) {
  for (;;) {
    const Gang gang = ReachGang(workers);
    if (gang.empty()) return;
    const absl::Status status = gang.at(0).worker->Finish(gang.at(0).order);
    ASSERT_TRUE(status.ok()) << status;
  }
}

// Time passes while `alive` are heard of.
void Pass(Rig* rig, absl::Duration time,
          const std::vector<ScriptedWorker*>& alive) {
  for (; time > absl::ZeroDuration(); time -= kLease / 2) {
    rig->clock.Advance(std::min(time, kLease / 2));
    for (ScriptedWorker* worker : alive) worker->Synchronize();
  }
}

using Answer = std::optional<absl::StatusOr<GangRoster>>;
void Join(Rig* rig, const Rank& rank, Answer* answer,
          const std::string& endpoint = "", const std::string& device = "") {
  rig->manager->JoinGang(
      rank.worker->report.worker, rank.order.action.key,
      rank.order.action.fence,
      {.rank = rank.order.rank,
       .endpoint = endpoint.empty() ? absl::StrCat("h:", 70 + rank.order.rank)
                                    : endpoint,
       .device = device},
      [answer](absl::StatusOr<GangRoster> roster) {
        EXPECT_FALSE(answer->has_value()) << "answered twice";
        *answer = std::move(roster);
      });
}

TEST(Gang, IsPlacedOnSlotsOfTwoWorkersUnderOneFence) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 2);
  ScriptedWorker b(&rig, "b", 1);
  const std::string job = rig.Submit(Spec(3));
  const Gang gang = ReachGang({&a, &b});
  ASSERT_THAT(gang, SizeIs(3));
  for (const auto& [rank, member] : gang) {
    EXPECT_EQ(member.order.action.fence, gang.at(0).order.action.fence);
    EXPECT_THAT(member.order.action.workers, ElementsAre("a", "a", "b"));
  }
  const TaskView task = rig.GetTask(job, "segment-1");
  EXPECT_EQ(task.action.worker, "a,b");
  for (const WorkerView& worker : rig.manager->ListWorkers()) {
    EXPECT_EQ(worker.busy_slots, worker.report.slots) << worker.id;
  }
  RunToTheEnd({&a, &b});
  EXPECT_EQ(rig.State(job), JobState::kSucceeded);
}

TEST(Gang, WaitsForAllOfItsSlotsBeforeItStarts) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 2);
  // No worker is known yet.
  const std::string job = rig.Submit(Spec(3, /*min_ranks=*/3));
  EXPECT_THAT(ReachGang({&a}), IsEmpty());
  EXPECT_EQ(rig.GetTask(job, "segment-1").pending_reason,
            "needs 3 slots, 2 free of 2");
  Pass(&rig, absl::Minutes(5), {&a});
  EXPECT_THAT(Running({&a}), IsEmpty());
  ScriptedWorker b(&rig, "b", 1);
  b.Synchronize();
  EXPECT_THAT(Running({&a, &b}), SizeIs(3));
}

TEST(Gang, StartsSmallerWhereItsPoolIs) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 2);
  v1::JobSpec spec = Spec(3, /*min_ranks=*/2);
  spec.mutable_resources()->set_trainer_rank(true);
  rig.Submit(spec);
  EXPECT_THAT(ReachGang({&a}), IsEmpty());
  Pass(&rig, absl::Minutes(1), {&a});
  const Gang gang = Running({&a});
  ASSERT_THAT(gang, SizeIs(2));
  EXPECT_TRUE(gang.at(1).order.action.gang.trainer_rank);
}

TEST(Gang, IsReleasedAsAWholeWhenOneOfItsWorkersLeaves) {
  for (const bool by_operator : {false, true}) {
    Rig rig;
    ScriptedWorker a(&rig, "a", 1);
    ScriptedWorker b(&rig, "b", 1);
    rig.Submit(Spec(2));
    ASSERT_THAT(ReachGang({&a, &b}), SizeIs(2));
    EXPECT_THAT(a.Synchronize().release, IsEmpty());
    if (by_operator) {
      ASSERT_TRUE(rig.manager->DrainWorker("b", true).ok());
    } else {
      b.report.draining = true;
      b.Synchronize();
    }
    // Rank 0 has to write the checkpoint, wherever it runs.
    const auto release = a.Synchronize().release;
    ASSERT_THAT(release, SizeIs(1)) << by_operator;
    EXPECT_EQ(release[0].rank, 0);
  }
}

TEST(Gang, OneWorkersLostLeaseReleasesEveryRankAndItGoesOnSmaller) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 2);
  ScriptedWorker b(&rig, "b", 2);
  const std::string job = rig.Submit(Spec(4, 2));
  const Gang gang = ReachGang({&a, &b});
  ASSERT_THAT(gang, SizeIs(4));
  ASSERT_TRUE(gang.at(0).worker->Checkpoint(gang.at(0).order, 7).ok());
  ASSERT_TRUE(gang.at(0).worker->Checkpoint(gang.at(0).order, 9).ok());
  ScriptedWorker* const alive = gang.at(0).worker;
  ScriptedWorker* const lost = alive == &a ? &b : &a;

  Pass(&rig, kLease, {alive});
  EXPECT_THAT(Running({alive}), IsEmpty());
  const TaskView waits = rig.GetTask(job, "segment-1");
  EXPECT_THAT(waits.pending_reason, HasSubstr("waits for 4 slots until"));
  EXPECT_THAT(waits.pending_reason, HasSubstr("then goes on with at least 2"));
  EXPECT_EQ(waits.action.retries.at("NODE_LOST"), 1);
  EXPECT_EQ(ReasonOf(lost->Fail(gang.at(3).order, FailureClass::kInternal)),
            "STALE_FENCE");

  Pass(&rig, absl::Seconds(31), {alive});
  const Gang smaller = Running({alive});
  ASSERT_THAT(smaller, SizeIs(2));
  const ActionRecord& action = smaller.at(0).order.action;
  EXPECT_EQ(action.fence, gang.at(0).order.action.fence + 1);
  EXPECT_THAT(action.workers, SizeIs(2));
  EXPECT_EQ(action.key, gang.at(0).order.action.key);
  EXPECT_EQ(action.checkpoints.front().step, 9);
  EXPECT_THAT(action.checkpoints, SizeIs(2));
  EXPECT_THAT(rig.GetTask(job, "segment-1").action.workers, SizeIs(2));

  // The shrunk attempt survives a restart of the coordinator as it is.
  rig.Restart();
  const Gang restored = Running({alive});
  ASSERT_THAT(restored, SizeIs(2));
  EXPECT_EQ(restored.at(1).order.action.fence, action.fence);
  rig.clock.Advance(absl::Seconds(2));
  ASSERT_TRUE(alive->Finish(restored.at(0).order).ok());
  // Two slots, two seconds since the restart.
  EXPECT_NEAR(rig.Metric("dasm_slot_seconds_total{kind=\"distill_segment\"}"),
              4, 0.1);
}

TEST(Gang, ItDoesNotShrinkByTheSlotsThatItIsJustLeaving) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 3);
  v1::JobSpec spec = Spec(3);
  spec.mutable_resources()->set_regroup_wait(0);
  rig.Submit(spec);
  const Gang gang = ReachGang({&a});
  ASSERT_THAT(gang, SizeIs(3));
  ASSERT_TRUE(a.Fail(gang.at(0).order, FailureClass::kCollective).ok());
  // Rank 0 has ended, the two others have not yet.
  Report(&rig, &a,
         {{gang.at(1).order.action.key, gang.at(1).order.action.fence, 1},
          {gang.at(2).order.action.key, gang.at(2).order.action.fence, 2}});
  rig.Settle();
  EXPECT_EQ(rig.manager->ListWorkers()[0].busy_slots, 2);
  Report(&rig, &a, {});
  EXPECT_THAT(Running({&a}), SizeIs(3));
}

TEST(Gang, ItsOldSizeInTimeIsTakenAtOnce) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 2);
  ScriptedWorker b(&rig, "b", 2);
  rig.Submit(Spec(4));
  const Gang gang = ReachGang({&a, &b});
  ASSERT_THAT(gang, SizeIs(4));
  Pass(&rig, kLease, {&a});
  EXPECT_THAT(Running({&a}), IsEmpty());
  b.Restart();
  const Gang again = Running({&a, &b});
  ASSERT_THAT(again, SizeIs(4));
  EXPECT_EQ(again.at(0).order.action.fence, gang.at(0).order.action.fence + 1);
}

TEST(Gang, WithReductionFastItNeverShrinks) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 1);
  ScriptedWorker b(&rig, "b", 1);
  v1::JobSpec spec = Spec(2, 2);
  spec.mutable_execution()->set_reduction(v1::ExecutionSpec::REDUCTION_FAST);
  const std::string job = rig.Submit(spec);
  ASSERT_THAT(ReachGang({&a, &b}), SizeIs(2));
  Pass(&rig, kLease + absl::Minutes(2), {&a});
  EXPECT_THAT(ReachGang({&a}), IsEmpty());
  EXPECT_EQ(rig.GetTask(job, "segment-1").pending_reason,
            "needs 2 slots, 1 free of 1");
}

TEST(Gang, TheFailureOfAnyRankEndsTheAttemptOfAll) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 2);
  ScriptedWorker b(&rig, "b", 1);
  const std::string job = rig.Submit(Spec(3));
  const Gang gang = ReachGang({&a, &b});
  ASSERT_THAT(gang, SizeIs(3));
  const uint64_t fence = gang.at(0).order.action.fence;
  ASSERT_TRUE(gang.at(0).worker->Checkpoint(gang.at(0).order, 5).ok());
  ASSERT_TRUE(gang.at(2)
                  .worker
                  ->Fail(gang.at(2).order, FailureClass::kCollective,
                         "rank 1 did not come")
                  .ok());
  EXPECT_EQ(ReasonOf(a.Finish(gang.at(0).order)), "STALE_FENCE");
  const Gang next = Running({&a, &b});
  ASSERT_THAT(next, SizeIs(3));
  for (const auto& [rank, member] : next) {
    EXPECT_EQ(member.order.action.fence, fence + 1);
    EXPECT_EQ(member.order.action.checkpoints.front().step, 5);
  }
  EXPECT_EQ(rig.GetTask(job, "segment-1").action.retries.at("COLLECTIVE"), 1);
}

TEST(Gang, OnlyTheWorkerOfRankZeroCommits) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 1);
  ScriptedWorker b(&rig, "b", 1);
  rig.Submit(Spec(2));
  const Gang gang = ReachGang({&a, &b});
  ASSERT_THAT(gang, SizeIs(2));
  ScriptedWorker* const other = gang.at(1).worker;
  for (const absl::Status& status : {other->Checkpoint(gang.at(1).order, 3),
                                     other->Finish(gang.at(1).order)}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_EQ(ReasonOf(status), "NOT_RANK_ZERO");
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(gang.at(0).worker->report.worker));
  }
  EXPECT_TRUE(gang.at(0).worker->Finish(gang.at(0).order).ok());
}

TEST(Gang, AWorkerThatStillRunsOneRankKeepsThatSlot) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 2);
  rig.Submit(Spec(2));
  const Gang gang = ReachGang({&a});
  ASSERT_THAT(gang, SizeIs(2));
  const AttemptName old = {gang.at(1).order.action.key,
                           gang.at(1).order.action.fence, 1};
  ASSERT_TRUE(a.Fail(gang.at(0).order, FailureClass::kCollective).ok());
  // Rank 1 of the old attempt is not ended yet; its slot is not free.
  Report(&rig, &a, {old});
  EXPECT_EQ(rig.manager->ListWorkers()[0].busy_slots, 1);
  rig.Settle();
  EXPECT_EQ(rig.manager->ListWorkers()[0].busy_slots, 1);
  Report(&rig, &a, {});
  EXPECT_THAT(Running({&a}), SizeIs(2));
}

TEST(Gang, ADrainAsksEveryRankForItsEnd) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 2);
  ScriptedWorker b(&rig, "b", 1);
  rig.Submit(Spec(3));
  ASSERT_THAT(ReachGang({&a, &b}), SizeIs(3));
  ASSERT_TRUE(rig.manager->DrainWorker("a", true).ok());
  const Orders orders = a.Synchronize();
  EXPECT_THAT(orders.release, SizeIs(2));
  EXPECT_THAT(b.Synchronize().release, SizeIs(1));
}

TEST(JoinGang, RanksOfTwoWorkersMeet) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 1);
  ScriptedWorker b(&rig, "b", 1);
  const std::string job = rig.Submit(Spec(2));
  const Gang gang = ReachGang({&a, &b});
  ASSERT_THAT(gang, SizeIs(2));
  Answer zero, one;
  Join(&rig, gang.at(1), &one);
  EXPECT_FALSE(one.has_value());
  EXPECT_THAT(rig.GetTask(job, "segment-1").endpoints, ElementsAre("", "h:71"));
  Join(&rig, gang.at(0), &zero);
  ASSERT_TRUE(zero.has_value() && one.has_value());
  ASSERT_TRUE((*zero).ok() && (*one).ok());
  EXPECT_EQ((*zero)->secret, (*one)->secret);
  EXPECT_THAT((*zero)->secret, SizeIs(32));
  EXPECT_EQ((*one)->members[0].endpoint, "h:70");
  // The secret is nowhere but in the answers.
  const auto events = rig.store->ListEvents(job, 0, 10000);
  ASSERT_TRUE(events.ok()) << events.status();
  for (const EventRecord& event : *events) {
    EXPECT_THAT(event.body, Not(HasSubstr((*zero)->secret)));
  }
}

TEST(JoinGang, AnIncompleteGangIsAnsweredAfterTenSeconds) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 2);
  rig.Submit(Spec(2));
  const Gang gang = ReachGang({&a});
  Answer answer;
  Join(&rig, gang.at(0), &answer);
  Pass(&rig, absl::Seconds(9), {&a});
  EXPECT_FALSE(answer.has_value());
  Pass(&rig, absl::Seconds(2), {&a});
  ASSERT_TRUE(answer.has_value());
  EXPECT_FALSE((*answer)->complete);
}

TEST(JoinGang, AnAttemptThatEndedAnswersAsStale) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 2);
  rig.Submit(Spec(2));
  const Gang gang = ReachGang({&a});
  Answer held;
  Join(&rig, gang.at(0), &held);
  ASSERT_TRUE(a.Fail(gang.at(1).order, FailureClass::kCollective).ok());
  rig.Settle();
  ASSERT_TRUE(held.has_value());
  EXPECT_EQ(ReasonOf(held->status()), "STALE_FENCE");
  Answer late;
  Join(&rig, gang.at(1), &late);
  EXPECT_EQ(ReasonOf(late->status()), "STALE_FENCE");
}

TEST(JoinGang, ARankThatIsNotTheWorkersIsRefusedByName) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 1);
  ScriptedWorker b(&rig, "b", 1);
  rig.Submit(Spec(2));
  const Gang gang = ReachGang({&a, &b});
  Rank wrong = gang.at(0);
  wrong.order.rank = 1;
  Answer not_its_own, outside, nowhere;
  Join(&rig, wrong, &not_its_own);
  EXPECT_EQ(FieldOf(not_its_own->status()), "member.rank");
  wrong.order.rank = 2;
  Join(&rig, wrong, &outside);
  EXPECT_EQ(FieldOf(outside->status()), "member.rank");
  Join(&rig, gang.at(0), &nowhere, "not an address");
  EXPECT_EQ(FieldOf(nowhere->status()), "member.endpoint");
}

TEST(JoinGang, TwoRanksOnOneDeviceFailTheJobWithTheRemedy) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 2);
  const std::string job = rig.Submit(Spec(2));
  const Gang gang = ReachGang({&a});
  Answer zero, one;
  Join(&rig, gang.at(0), &zero, "", "m1/cuda:0");
  Join(&rig, gang.at(1), &one, "", "m1/cuda:0");
  ASSERT_TRUE(zero.has_value() && one.has_value());
  EXPECT_EQ(ReasonOf(zero->status()), "STALE_FENCE");
  EXPECT_EQ(ReasonOf(one->status()), "STALE_FENCE");
  rig.Settle();
  const JobRecord ended = rig.Get(job).job;
  EXPECT_EQ(ended.state, JobState::kFailed);
  EXPECT_EQ(ended.failure.failure_class, "SPEC");
  EXPECT_THAT(ended.failure.message, HasSubstr("ranks 0 and 1"));
  EXPECT_THAT(ended.failure.message, HasSubstr("two ranks on one device"));
  EXPECT_THAT(ended.failure.message, HasSubstr("resources.ranks"));
}

TEST(JoinGang, ARestartedCoordinatorMakesAnotherSecret) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 2);
  rig.Submit(Spec(2));
  const Gang gang = ReachGang({&a});
  Answer first, second;
  Join(&rig, gang.at(0), &first);
  Join(&rig, gang.at(1), &second);
  const std::string before = (*first)->secret;
  Answer held;
  rig.Restart();
  Join(&rig, gang.at(0), &held);
  EXPECT_FALSE(held.has_value());
  Answer last;
  Join(&rig, gang.at(1), &last);
  ASSERT_TRUE(last.has_value() && last->ok());
  EXPECT_NE((*last)->secret, before);
  // One that waits while the coordinator goes is told to come again.
  ASSERT_TRUE(a.Fail(gang.at(0).order, FailureClass::kCollective).ok());
  const Gang next = Running({&a});
  Answer waiting;
  Join(&rig, next.at(0), &waiting);
  rig.Restart();
  ASSERT_TRUE(waiting.has_value());
  EXPECT_TRUE(absl::IsUnavailable(waiting->status()));
}

TEST(Submit, RefusesMoreRanksThanAnyPoolHas) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 2, "class-a");
  ScriptedWorker b(&rig, "b", 3, "class-b");
  a.Synchronize();
  b.Synchronize();
  for (const bool validate_only : {true, false}) {
    const auto refused =
        rig.manager->CreateJob("default", Spec(4), "", validate_only);
    EXPECT_TRUE(absl::IsFailedPrecondition(refused.status()))
        << refused.status();
    EXPECT_EQ(FieldOf(refused.status()), "resources.ranks");
    EXPECT_THAT(std::string(refused.status().message()),
                HasSubstr("the largest pool, class-b, has 3 slots"));
  }
  const auto explained = rig.manager->Explain(Spec(4));
  ASSERT_TRUE(explained.ok()) << explained.status();
  EXPECT_THAT(explained->graph.warnings,
              testing::Contains(HasSubstr("resources.ranks: 4 ranks never")));
  EXPECT_TRUE(rig.manager->CreateJob("default", Spec(3), "", true).ok());
}

TEST(Submit, AJobGetsTheClassThatHasSlotsForIt) {
  Rig rig;
  ScriptedWorker large(&rig, "a", 3, "class-a");
  ScriptedWorker b(&rig, "b", 2, "class-b");
  ScriptedWorker c(&rig, "c", 2, "class-b");
  for (ScriptedWorker* worker : {&large, &b, &c}) worker->Synchronize();
  EXPECT_EQ(rig.Get(rig.Submit(Spec(4))).job.numerics_class, "class-b");
  EXPECT_EQ(rig.Get(rig.Submit(Spec(2))).job.numerics_class, "class-a");
}

TEST(Gang, TheNumberOfRanksIsInTheKeyOnlyWithReductionFast) {
  Rig rig;
  ScriptedWorker worker(&rig, "w", 4);
  const auto key = [&](v1::JobSpec spec) {
    const std::string job = rig.Submit(spec);
    RunToTheEnd({&worker});
    EXPECT_EQ(rig.State(job), JobState::kSucceeded);
    return rig.GetTask(job, "segment-1").task.action_key;
  };
  const std::string ordered = key(Spec(1));
  v1::JobSpec other = Spec(4, 3);
  other.mutable_resources()->set_regroup_wait(5);
  other.mutable_resources()->set_exchange(v1::ResourceSpec::EXCHANGE_DEFERRED);
  other.mutable_resources()->set_on_oom(v1::ResourceSpec::ON_OOM_REPLAN);
  other.mutable_resources()->set_trainer_rank(true);
  EXPECT_EQ(key(other), ordered);
  const auto fast = [](int ranks) {
    v1::JobSpec spec = Spec(ranks, ranks);
    spec.mutable_execution()->set_reduction(v1::ExecutionSpec::REDUCTION_FAST);
    return spec;
  };
  const std::string two = key(fast(2));
  EXPECT_NE(two, ordered);
  EXPECT_NE(key(fast(3)), two);
  v1::JobSpec trainer = fast(2);
  trainer.mutable_resources()->set_trainer_rank(true);
  EXPECT_NE(key(trainer), two);
}

TEST(Gang, AnEarlierJobsGangDoesNotBindALaterOne) {
  Rig rig;
  ScriptedWorker a(&rig, "a", 1);
  const std::string large = rig.Submit(Spec(4));
  EXPECT_THAT(ReachGang({&a}), IsEmpty());
  ASSERT_TRUE(rig.manager->CancelJob({"default", large}, "").ok());
  rig.Submit(Spec(1));
  EXPECT_THAT(ReachGang({&a}), SizeIs(1));
}

TEST(OutOfMemory, FailsTheJobAndNamesTheMicroBatchThatFits) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit(Spec(1));
  const Gang gang = ReachGang({&worker});
  ASSERT_TRUE(worker
                  .Fail(gang.at(0).order, FailureClass::kOomDevice,
                        "cuda:0 is out of memory; micro_batch=3")
                  .ok());
  const JobRecord ended = rig.Get(job).job;
  EXPECT_EQ(ended.state, JobState::kFailed);
  EXPECT_EQ(ended.failure.failure_class, "OOM_DEVICE");
  EXPECT_THAT(ended.failure.message,
              HasSubstr("set execution.micro_batch to 3"));
}

TEST(OutOfMemory, ReplansTheTaskUnderAKeyOfItsOwnAndSaysSoInTheReport) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  v1::JobSpec spec = Spec(1);
  spec.mutable_resources()->set_on_oom(v1::ResourceSpec::ON_OOM_REPLAN);
  const std::string job = rig.Submit(spec);
  const Gang gang = ReachGang({&worker});
  const ActionRecord failed = gang.at(0).order.action;
  ASSERT_TRUE(worker
                  .Fail(gang.at(0).order, FailureClass::kOomDevice,
                        "cuda:0 is out of memory; micro_batch=3")
                  .ok());
  const Gang again = ReachGang({&worker});
  ASSERT_THAT(again, SizeIs(1));
  const ActionRecord& action = again.at(0).order.action;
  EXPECT_NE(action.key, failed.key);
  const auto parameters =
      nlohmann::json::parse(again.at(0).order.action.parameters_json);
  EXPECT_EQ(parameters["execution"]["micro_batch"], 3);
  EXPECT_THAT(rig.EventTypes(job), testing::Contains("task_replanned"));
  rig.Restart();
  RunToTheEnd({&worker});
  const JobRecord ended = rig.Get(job).job;
  ASSERT_EQ(ended.state, JobState::kSucceeded) << ended.failure.message;
  const auto report = nlohmann::json::parse(ended.report_json);
  EXPECT_EQ(report["replanned"][0]["task"], "segment-1");
  EXPECT_EQ(report["replanned"][0]["micro_batch"], 3);
  EXPECT_EQ(report["reproducible"], true);
}

TEST(OutOfMemory, OneJobReplansWhileAnotherOfTheSameActionFails) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  v1::JobSpec spec = Spec(1);
  const std::string fails = rig.Submit(spec);
  spec.mutable_resources()->set_on_oom(v1::ResourceSpec::ON_OOM_REPLAN);
  const std::string replans = rig.Submit(spec);
  const Gang gang = ReachGang({&worker});
  ASSERT_TRUE(worker.Fail(gang.at(0).order, FailureClass::kOomHost, "").ok());
  EXPECT_EQ(rig.State(fails), JobState::kFailed);
  RunToTheEnd({&worker});
  EXPECT_EQ(rig.State(replans), JobState::kSucceeded);
}

}  // namespace
}  // namespace dasm
