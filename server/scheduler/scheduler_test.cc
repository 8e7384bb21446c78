#include "server/scheduler/scheduler.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

SchedulerWorker Worker(std::string id, int slots, int busy = 0,
                       std::string numerics_class = "c") {
  return {
      .id = id, .numerics_class = numerics_class, .slots = slots, .busy = busy};
}

SchedulerRequest Request(std::string key, int ranks = 1, int priority = 0,
                         int64_t order = 0) {
  return {.key = key,
          .ranks = ranks,
          .priority = priority,
          .order = order,
          .numerics_class = "c"};
}

TEST(Scheduler, PriorityGoesBeforeAgeAndAgeBeforeName) {
  const Schedule schedule = MakeSchedule(
      {.now = kNow,
       .workers = {Worker("w", 3)},
       .requests = {Request("young", 1, 0, 9), Request("old", 1, 0, 1),
                    Request("urgent", 1, 5, 99), Request("a-late", 1, 0, 10)}});
  ASSERT_THAT(schedule.placements, SizeIs(3));
  EXPECT_EQ(schedule.placements[0].key, "urgent");
  EXPECT_EQ(schedule.placements[1].key, "old");
  EXPECT_EQ(schedule.placements[2].key, "young");
  EXPECT_THAT(schedule.reasons,
              ElementsAre(Pair("a-late", "needs 1 slot, 0 free of 3")));
}

TEST(Scheduler, TheCriticalPathOfAJobGoesFirst) {
  SchedulerRequest last = Request("a-evaluation");
  SchedulerRequest first = Request("segment");
  first.chain = 5;
  const Schedule schedule = MakeSchedule(
      {.now = kNow, .workers = {Worker("w", 1)}, .requests = {last, first}});
  ASSERT_THAT(schedule.placements, SizeIs(1));
  EXPECT_EQ(schedule.placements[0].key, "segment");
}

TEST(Scheduler, AGangGetsAllOfItsSlotsOrNone) {
  const Schedule none =
      MakeSchedule({.now = kNow,
                    .workers = {Worker("a", 2, 1), Worker("b", 2, 1)},
                    .requests = {Request("gang", 3)}});
  EXPECT_THAT(none.placements, IsEmpty());
  EXPECT_EQ(none.reasons.at("gang"), "needs 3 slots, 2 free of 4");

  const Schedule all =
      MakeSchedule({.now = kNow,
                    .workers = {Worker("a", 2, 1), Worker("b", 2, 0)},
                    .requests = {Request("gang", 3)}});
  ASSERT_THAT(all.placements, SizeIs(1));
  EXPECT_THAT(all.placements[0].workers, ElementsAre("b", "b", "a"));
}

TEST(Scheduler, AGangPrefersOneWorkerThatHoldsIt) {
  const Schedule schedule =
      MakeSchedule({.now = kNow,
                    .workers = {Worker("a", 8, 7), Worker("b", 2, 0)},
                    .requests = {Request("gang", 2)}});
  ASSERT_THAT(schedule.placements, SizeIs(1));
  EXPECT_THAT(schedule.placements[0].workers, ElementsAre("b", "b"));
}

TEST(Scheduler, SmallTasksDoNotTakeTheSlotsThatAGangAheadWaitsFor) {
  const Schedule schedule = MakeSchedule(
      {.now = kNow,
       .workers = {Worker("a", 4, 2)},
       .requests = {Request("gang", 4, 0, 1), Request("small", 1, 0, 2)}});
  EXPECT_THAT(schedule.placements, IsEmpty());
  EXPECT_EQ(schedule.reasons.at("small"),
            "needs 1 slot, 2 free of 4 (kept for a larger task ahead)");
}

TEST(Scheduler, AGangThatNeverFitsOrBacksOffKeepsNobodyWaiting) {
  SchedulerRequest later = Request("later", 4, 9, 1);
  later.not_before = kNow + absl::Seconds(30);
  const Schedule schedule = MakeSchedule(
      {.now = kNow,
       .workers = {Worker("a", 4, 2)},
       .requests = {Request("huge", 5, 9, 0), later, Request("small", 1)}});
  ASSERT_THAT(schedule.placements, SizeIs(1));
  EXPECT_EQ(schedule.placements[0].key, "small");
  EXPECT_EQ(schedule.reasons.at("huge"), "needs 5 slots, 2 free of 4");
}

TEST(Scheduler, TheWorkerThatHasMostInputBytesIsPreferred) {
  const std::set<std::string> little = {"small"};
  const std::set<std::string> much = {"large"};
  SchedulerWorker a = Worker("a", 4);
  a.blobs = &little;
  SchedulerWorker b = Worker("b", 1);
  b.blobs = &much;
  SchedulerRequest request = Request("r");
  request.inputs = {{"small", 10}, {"large", 1000}};
  const Schedule schedule =
      MakeSchedule({.now = kNow, .workers = {a, b}, .requests = {request}});
  ASSERT_THAT(schedule.placements, SizeIs(1));
  EXPECT_THAT(schedule.placements[0].workers, ElementsAre("b"));
}

TEST(Scheduler, AWorkerToAvoidIsUsedOnlyWhenItIsTheOnlyOne) {
  SchedulerRequest request = Request("r");
  request.avoid_worker = "a";
  const Schedule elsewhere =
      MakeSchedule({.now = kNow,
                    .workers = {Worker("a", 4), Worker("b", 1)},
                    .requests = {request}});
  ASSERT_THAT(elsewhere.placements, SizeIs(1));
  EXPECT_THAT(elsewhere.placements[0].workers, ElementsAre("b"));
  // The other one is busy: wait for it.
  const Schedule wait =
      MakeSchedule({.now = kNow,
                    .workers = {Worker("a", 4), Worker("b", 1, 1)},
                    .requests = {request}});
  EXPECT_THAT(wait.placements, IsEmpty());
  const Schedule alone = MakeSchedule(
      {.now = kNow, .workers = {Worker("a", 4)}, .requests = {request}});
  EXPECT_THAT(alone.placements, SizeIs(1));
}

TEST(Scheduler, ReasonsFollowTheFixedPrecedence) {
  SchedulerRequest request = Request("r");
  request.not_before = absl::FromUnixSeconds(1'700'000'060);
  request.inputs_ready = false;
  SchedulerSnapshot snapshot = {
      .now = kNow, .store_nearly_full = true, .requests = {request}};
  const auto reason = [&] { return MakeSchedule(snapshot).reasons.at("r"); };
  EXPECT_EQ(reason(), "no worker is connected");
  snapshot.workers = {Worker("w", 1, 1, "other")};
  EXPECT_EQ(reason(), "no worker of numerics class c");
  snapshot.workers = {Worker("w", 1, 1)};
  EXPECT_EQ(reason(), "needs 1 slot, 0 free of 1");
  EXPECT_EQ(PendingLabel(reason()), "slots");
  snapshot.workers = {Worker("w", 1, 0)};
  EXPECT_EQ(reason(), "back-off until 2023-11-14T22:14:20Z");
  snapshot.requests[0].last_failure = "STORAGE: /w is full";
  EXPECT_EQ(reason(),
            "back-off until 2023-11-14T22:14:20Z after STORAGE: /w is full");
  EXPECT_EQ(PendingLabel(reason()), "back_off");
  snapshot.now += absl::Minutes(2);
  EXPECT_EQ(reason(), "waiting for inputs");
  snapshot.requests[0].inputs_ready = true;
  EXPECT_EQ(reason(),
            "store is nearly full: free some space on the coordinator's disk");
  EXPECT_EQ(PendingLabel(reason()), "store_full");
  snapshot.store_nearly_full = false;
  EXPECT_THAT(MakeSchedule(snapshot).placements, SizeIs(1));
}

SchedulerRequest Regrouping(int ranks, int min_ranks) {
  SchedulerRequest request = Request("gang", ranks, 0, 1);
  request.min_ranks = min_ranks;
  request.regroup_until = kNow + absl::Seconds(30);
  return request;
}

TEST(Scheduler, AGangThatLostARankWaitsForItsSizeThenGoesOnWithWhatIsFree) {
  SchedulerSnapshot snapshot = {.now = kNow,
                                .workers = {Worker("a", 2), Worker("b", 1)},
                                .requests = {Regrouping(4, 2)}};
  const Schedule waits = MakeSchedule(snapshot);
  EXPECT_THAT(waits.placements, IsEmpty());
  EXPECT_EQ(waits.reasons.at("gang"),
            "waits for 4 slots until 2023-11-14T22:13:50Z, then goes on with "
            "at least 2; 3 free of 3");
  EXPECT_EQ(PendingLabel(waits.reasons.at("gang")), "slots");
  // The lost slot comes back in time.
  SchedulerSnapshot whole = snapshot;
  whole.workers.push_back(Worker("c", 1));
  EXPECT_THAT(MakeSchedule(whole).placements.at(0).workers, SizeIs(4));
  snapshot.now += absl::Seconds(30);
  const Schedule shrunk = MakeSchedule(snapshot);
  ASSERT_THAT(shrunk.placements, SizeIs(1));
  EXPECT_THAT(shrunk.placements[0].workers, ElementsAre("a", "a", "b"));
}

TEST(Scheduler, AGangDoesNotGoOnBelowItsLeastSize) {
  SchedulerSnapshot snapshot = {.now = kNow + absl::Seconds(60),
                                .workers = {Worker("a", 2, 1)},
                                .requests = {Regrouping(4, 2)}};
  const Schedule schedule = MakeSchedule(snapshot);
  EXPECT_THAT(schedule.placements, IsEmpty());
  EXPECT_EQ(schedule.reasons.at("gang"), "needs 2 slots, 1 free of 2");
  // Equal sizes (reduction fast): its size is part of its result.
  snapshot.requests = {Regrouping(2, 2)};
  EXPECT_EQ(MakeSchedule(snapshot).reasons.at("gang"),
            "needs 2 slots, 1 free of 2");
}

TEST(Scheduler, AGangThatHasNotRunYetStartsWithAllOfItsRanks) {
  SchedulerRequest fresh = Regrouping(4, 1);
  fresh.regroup_until = absl::InfiniteFuture();
  const Schedule schedule = MakeSchedule({.now = kNow + absl::Hours(100),
                                          .workers = {Worker("a", 3)},
                                          .requests = {fresh}});
  EXPECT_EQ(schedule.reasons.at("gang"), "needs 4 slots, 3 free of 3");
}

TEST(Scheduler, AFreshGangWaitsForSlotsThatExistAndNotForThoseThatDoNot) {
  SchedulerRequest fresh = Regrouping(4, 2);
  fresh.regroup_until = absl::InfiniteFuture();
  fresh.small_pool_until = kNow + absl::Seconds(30);
  SchedulerSnapshot snapshot = {
      .now = kNow, .workers = {Worker("a", 3)}, .requests = {fresh}};
  EXPECT_EQ(MakeSchedule(snapshot).reasons.at("gang"),
            "waits for 4 slots until 2023-11-14T22:13:50Z, then goes on with "
            "at least 2; 3 free of 3");
  snapshot.now += absl::Seconds(30);
  EXPECT_THAT(MakeSchedule(snapshot).placements.at(0).workers, SizeIs(3));
  // A busy slot is worth waiting for.
  snapshot.workers.push_back(Worker("b", 1, 1));
  EXPECT_EQ(MakeSchedule(snapshot).reasons.at("gang"),
            "needs 4 slots, 3 free of 4");
}

TEST(Scheduler, SlotsThatARegroupingGangWaitsForAreKept) {
  // It can never be four again here, but it will go on with two.
  const Schedule schedule =
      MakeSchedule({.now = kNow,
                    .workers = {Worker("a", 2)},
                    .requests = {Regrouping(4, 2), Request("small", 1, 0, 2)}});
  EXPECT_THAT(schedule.placements, IsEmpty());
  EXPECT_EQ(schedule.reasons.at("small"),
            "needs 1 slot, 2 free of 2 (kept for a larger task ahead)");
}

TEST(Scheduler, TenThousandGangsFillAThousandSlots) {
  SchedulerSnapshot snapshot = {.now = kNow};
  for (int i = 0; i < 250; ++i) {
    snapshot.workers.push_back(Worker(absl::StrCat("w", i), 4));
  }
  for (int i = 0; i < 10'000; ++i) {
    snapshot.requests.push_back(Request(absl::StrCat("r", i), 1 + i % 4, 0, i));
  }
  const Schedule schedule = MakeSchedule(snapshot);
  int placed = 0;
  for (const Placement& placement : schedule.placements) {
    placed += static_cast<int>(placement.workers.size());
  }
  EXPECT_GE(placed, 997);
  EXPECT_EQ(schedule.placements.size() + schedule.reasons.size(), 10'000u);
}

}  // namespace
}  // namespace dasm
