// The event log: versions grow in commit order and a reader misses none.
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "server/store/contract/job_store_contract.h"
#include "server/store/contract/records.h"

namespace dasm {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

TEST_P(JobStoreContract, EventVersionsGrowInCommitOrder) {
  Transaction create = Insert(Job("j1"));
  create.events = {Event("j1", "a"), Event("j1", "b")};
  const absl::StatusOr<CommitReceipt> first = store_->Commit(create);
  ASSERT_TRUE(first.ok()) << first.status();
  Transaction none;
  none.workers.push_back({"w1", false});
  EXPECT_EQ(store_->Commit(none)->last_version, 0u);
  Transaction more = Insert(Job("j2"));
  more.events = {Event("j2", "x"), Event("j1", "c")};
  const absl::StatusOr<CommitReceipt> second = store_->Commit(more);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_GT(second->last_version, first->last_version);

  const absl::StatusOr<std::vector<EventRecord>> events =
      store_->ListEvents("j1", 0, 100);
  ASSERT_TRUE(events.ok()) << events.status();
  EXPECT_THAT(Messages(*events), ElementsAre("a", "b", "c"));
  EXPECT_LT((*events)[0].version, (*events)[1].version);
  EXPECT_EQ((*events)[1].version, first->last_version);
  EXPECT_EQ((*events)[2].version, second->last_version);
  EXPECT_EQ((*events)[0].time, kStart);
  EXPECT_EQ((*events)[0].type, "NOTE");
}

TEST_P(JobStoreContract, AWatcherResumesAfterAnyVersion) {
  Transaction create = Insert(Job("j1"));
  for (int i = 0; i < 10; ++i) {
    create.events.push_back(Event("j1", absl::StrCat(i)));
  }
  ASSERT_TRUE(store_->Commit(create).ok());
  std::vector<std::string> seen;
  uint64_t after = 0;
  while (true) {
    const absl::StatusOr<std::vector<EventRecord>> events =
        store_->ListEvents("j1", after, 3);
    ASSERT_TRUE(events.ok()) << events.status();
    if (events->empty()) break;
    for (const EventRecord& event : *events) seen.push_back(event.message);
    after = events->back().version;
  }
  EXPECT_THAT(seen,
              ElementsAre("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"));
}

// Writers of several jobs at once: a reader that goes on from the last version
// it saw never finds one that came in behind it.
TEST_P(JobStoreContract, AWatcherMissesNothingWhileOthersWrite) {
  constexpr int kWriters = 4;
  constexpr int kEvents = 50;
  ASSERT_TRUE(store_->Commit(Insert(Job("j1"))).ok());
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < kEvents; ++i) {
        Transaction transaction;
        transaction.events.push_back(Event("j1", absl::StrCat(w, "-", i)));
        EXPECT_TRUE(store_->Commit(std::move(transaction)).ok());
      }
    });
  }
  std::set<std::string> seen;
  uint64_t after = 0;
  while (seen.size() < kWriters * kEvents) {
    const absl::StatusOr<std::vector<EventRecord>> events =
        store_->ListEvents("j1", after, 7);
    ASSERT_TRUE(events.ok()) << events.status();
    for (const EventRecord& event : *events) {
      EXPECT_GT(event.version, after);
      after = event.version;
      EXPECT_TRUE(seen.insert(event.message).second) << event.message;
    }
    // All written and still missing some: they came in behind.
    if (events->empty() &&
        store_->statistics().transactions >= 1 + kWriters * kEvents) {
      if (store_->ListEvents("j1", after, 1)->empty()) break;
    }
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_THAT(seen, SizeIs(kWriters * kEvents));
}

TEST_P(JobStoreContract, VersionsGoOnAfterAReopen) {
  Transaction create = Insert(Job("j1"));
  create.events = {Event("j1", "a"), Event("j1", "b")};
  const uint64_t last = store_->Commit(create)->last_version;
  EXPECT_GT(last, 0u);
  if (!backend_->durable()) return;
  store_.reset();
  store_ = backend_->Reopen();
  Transaction more;
  more.events = {Event("j1", "c")};
  EXPECT_GT(store_->Commit(more)->last_version, last);
  EXPECT_THAT(Messages(*store_->ListEvents("j1", 0, 10)),
              ElementsAre("a", "b", "c"));
}

}  // namespace
}  // namespace dasm
