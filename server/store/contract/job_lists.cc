// Pages of jobs and their counts.
#include <atomic>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "server/store/contract/job_store_contract.h"
#include "server/store/contract/records.h"

namespace dasm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// Every page of a list.
std::vector<std::string> ListAll(JobStore& store, const JobFilter& filter,
                                 int page_size) {
  std::vector<std::string> ids;
  std::string token;
  do {
    absl::StatusOr<JobPage> page = store.ListJobs(filter, page_size, token);
    if (!page.ok()) {
      ADD_FAILURE() << page.status();
      break;
    }
    EXPECT_LE(page->jobs.size(), static_cast<size_t>(page_size));
    for (const std::string& id : Ids(page->jobs)) ids.push_back(id);
    token = page->next_page_token;
  } while (!token.empty());
  return ids;
}

TEST_P(JobStoreContract, AListIsNewestFirstInPages) {
  std::vector<std::string> expected;
  for (int i = 0; i < 25; ++i) {
    // Three of the same instant each: the id decides.
    JobRecord job = Job(absl::StrFormat("j%02d", 99 - i), absl::Seconds(i / 3));
    expected.push_back(job.id);
    ASSERT_TRUE(store_->Commit(Insert(job)).ok());
  }
  JobRecord other = Job("other");
  other.project = "other";
  ASSERT_TRUE(store_->Commit(Insert(other)).ok());
  for (int page_size : {1, 4, 5, 24, 25, 26, 1000}) {
    EXPECT_EQ(ListAll(*store_, {.project = "default"}, page_size), expected)
        << page_size;
  }
}

TEST_P(JobStoreContract, AListTakesAnySetOfStates) {
  const JobState states[] = {JobState::kQueued, JobState::kRunning,
                             JobState::kSucceeded, JobState::kFailed};
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(store_
                    ->Commit(Insert(Job(absl::StrFormat("j%02d", i),
                                        absl::Seconds(i), states[i % 4])))
                    .ok());
  }
  for (int page_size : {1, 3, 100}) {
    EXPECT_THAT(
        ListAll(*store_, {.project = "default", .states = {JobState::kRunning}},
                page_size),
        ElementsAre("j01", "j05", "j09", "j13", "j17"));
    EXPECT_THAT(ListAll(*store_,
                        {.project = "default",
                         .states = {JobState::kFailed, JobState::kQueued,
                                    JobState::kFailed}},
                        page_size),
                ElementsAre("j00", "j03", "j04", "j07", "j08", "j11", "j12",
                            "j15", "j16", "j19"));
  }
  EXPECT_THAT(
      ListAll(*store_, {.project = "default", .states = {JobState::kCancelled}},
              10),
      IsEmpty());
}

TEST_P(JobStoreContract, AListLeavesReportsOut) {
  JobRecord job = Job("j1");
  job.spec = "spec";
  job.report_json = "report";
  job.manifest_json = "manifest";
  ASSERT_TRUE(store_->Commit(Insert(job)).ok());
  const absl::StatusOr<JobPage> page =
      store_->ListJobs({.project = "default"}, 10, "");
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_THAT(page->jobs, SizeIs(1));
  EXPECT_EQ(page->jobs[0].spec, "spec");
  EXPECT_EQ(page->jobs[0].report_json, "");
  EXPECT_EQ(page->jobs[0].manifest_json, "");
  EXPECT_EQ(page->next_page_token, "");
}

// Jobs arrive and change state while a list is read: what was there at its
// start is on exactly one page.
TEST_P(JobStoreContract, AListNeitherRepeatsNorMissesWhileJobsArrive) {
  constexpr int kJobs = 60;
  std::set<std::string> before;
  for (int i = 0; i < kJobs; ++i) {
    const std::string id = absl::StrFormat("old%03d", i);
    before.insert(id);
    ASSERT_TRUE(store_->Commit(Insert(Job(id, absl::Seconds(i)))).ok());
  }
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (int i = 0; !stop; ++i) {
      Transaction transaction = Insert(
          Job(absl::StrFormat("new%06d", i), absl::Seconds(-1) * (i + 1)));
      transaction.jobs.push_back(Job(absl::StrFormat("old%03d", i % kJobs),
                                     absl::Seconds(i % kJobs),
                                     JobState::kRunning));
      ASSERT_TRUE(store_->Commit(std::move(transaction)).ok());
    }
  });
  for (int round = 0; round < 5; ++round) {
    std::multiset<std::string> old;
    for (const std::string& id : ListAll(*store_, {.project = "default"}, 7)) {
      if (id.starts_with("old")) old.insert(id);
    }
    EXPECT_EQ(std::set<std::string>(old.begin(), old.end()), before);
    EXPECT_EQ(old.size(), before.size());
  }
  stop = true;
  writer.join();
}

TEST_P(JobStoreContract, APageTokenBelongsToItsFilter) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(store_->Commit(Insert(Job(absl::StrCat("j", i)))).ok());
  }
  const absl::StatusOr<JobPage> page =
      store_->ListJobs({.project = "default"}, 2, "");
  ASSERT_TRUE(page.ok());
  ASSERT_NE(page->next_page_token, "");
  EXPECT_EQ(page->next_page_token.find_first_not_of(
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                "0123456789-_"),
            std::string::npos);
  const std::vector<std::pair<JobFilter, std::string>> wrong = {
      {{.project = "other"}, page->next_page_token},
      {{.project = "default", .states = {JobState::kQueued}},
       page->next_page_token},
      {{.project = "default"}, "x" + page->next_page_token},
      {{.project = "default"}, "2"},
      {{.project = "default"}, "%%%"},
  };
  for (const auto& [filter, token] : wrong) {
    const absl::Status refused = store_->ListJobs(filter, 2, token).status();
    EXPECT_TRUE(absl::IsInvalidArgument(refused)) << token << refused;
    EXPECT_EQ(FieldOf(refused), "page_token");
  }
}

TEST_P(JobStoreContract, CountsFollowTheStates) {
  const absl::StatusOr<std::map<JobState, int64_t>> none = store_->CountJobs();
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_THAT(*none, SizeIs(5));
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(store_->Commit(Insert(Job(absl::StrCat("j", i)))).ok());
  }
  Transaction moves;
  moves.jobs.push_back(Job("j0", absl::ZeroDuration(), JobState::kRunning));
  moves.jobs.push_back(Job("j1", absl::ZeroDuration(), JobState::kRunning));
  moves.jobs.push_back(Job("j1", absl::ZeroDuration(), JobState::kSucceeded));
  moves.jobs.push_back(Job("j2"));
  ASSERT_TRUE(store_->Commit(std::move(moves)).ok());
  const absl::StatusOr<std::map<JobState, int64_t>> counts =
      store_->CountJobs();
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_EQ(counts->at(JobState::kQueued), 4);
  EXPECT_EQ(counts->at(JobState::kRunning), 1);
  EXPECT_EQ(counts->at(JobState::kSucceeded), 1);
  EXPECT_EQ(counts->at(JobState::kFailed), 0);
}

}  // namespace
}  // namespace dasm
