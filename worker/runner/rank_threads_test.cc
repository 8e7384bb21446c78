#include "worker/runner/rank_threads.h"

#include <atomic>
#include <new>
#include <stdexcept>
#include <string>

#include "absl/synchronization/notification.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/collective/thread_collective.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;

std::vector<std::unique_ptr<Collective>> Threads(int ranks) {
  return *ThreadGang::Create(ranks, absl::ZeroDuration());
}

TEST(RankThreads, TheOutcomeIsThatOfTheFirstRank) {
  std::atomic<int> runs = 0;
  const auto outcome =
      RunRanks(Threads(3),
               [&](Collective* rank) -> absl::StatusOr<TaskOutcome> {
                 ++runs;
                 return TaskOutcome{std::to_string(rank->rank()), {}};
               },
               {});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->summary_json, "0");
  EXPECT_EQ(runs, 3);
}

TEST(RankThreads, TheFirstErrorIsThatOfAll) {
  const auto outcome =
      RunRanks(Threads(3),
               [](Collective* rank) -> absl::StatusOr<TaskOutcome> {
                 if (rank->rank() == 1) {
                   return WithFailureClass(absl::InternalError("step 4"),
                                           FailureClass::kNumeric);
                 }
                 return rank->Barrier();
               },
               {});
  EXPECT_EQ(FailureClassOf(outcome.status()), FailureClass::kNumeric);
}

TEST(RankThreads, WhatIsThrownIsAnError) {
  const auto thrown = [](auto what) {
    return RunRanks(Threads(1),
                    [what](Collective*) -> absl::StatusOr<TaskOutcome> {
                      throw what;
                    },
                    {})
        .status();
  };
  EXPECT_EQ(FailureClassOf(thrown(std::bad_alloc())), FailureClass::kOomHost);
  EXPECT_THAT(std::string(thrown(std::runtime_error("odd")).message()),
              HasSubstr("odd"));
}

TEST(RankThreads, TheWatchdogHearsOfARankThatDoesNotComeBack) {
  absl::Notification barked;
  absl::Status cause;
  RankWatchdog watchdog;
  watchdog.grace = absl::Milliseconds(10);
  watchdog.on_hang = [&](const absl::Status& status) {
    cause = status;
    barked.Notify();
  };
  const auto outcome = RunRanks(
      Threads(2),
      [&](Collective* rank) -> absl::StatusOr<TaskOutcome> {
        if (rank->rank() == 1) return absl::InternalError("first");
        // As a kernel that never ends: it makes no call of the collective.
        barked.WaitForNotification();
        return TaskOutcome();
      },
      watchdog);
  EXPECT_TRUE(barked.HasBeenNotified());
  EXPECT_THAT(std::string(cause.message()), HasSubstr("first"));
  EXPECT_THAT(std::string(outcome.status().message()), HasSubstr("first"));
}

TEST(RankThreads, TheWatchdogIsSilentWithoutAnError) {
  RankWatchdog watchdog;
  watchdog.grace = absl::ZeroDuration();
  watchdog.on_hang = [](const absl::Status&) { FAIL() << "it barked"; };
  EXPECT_TRUE(RunRanks(
                  Threads(3),
                  [](Collective* rank) -> absl::StatusOr<TaskOutcome> {
                    const absl::Status met = rank->Barrier();
                    if (!met.ok()) return met;
                    return TaskOutcome();
                  },
                  watchdog)
                  .ok());
}

}  // namespace
}  // namespace dasm
