#include "server/store/job_store_contract.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/error.h"
#include "gmock/gmock.h"

namespace dasm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const absl::Time kStart =
    absl::FromUnixSeconds(1'700'000'000) + absl::Nanoseconds(123'456'789);

JobRecord Job(const std::string& id, absl::Duration age = absl::ZeroDuration(),
              JobState state = JobState::kQueued) {
  JobRecord job;
  job.id = id;
  job.project = "default";
  job.request_id = "request-" + id;
  job.state = state;
  job.create_time = kStart - age;
  job.update_time = job.create_time;
  return job;
}

TaskRecord Task(const std::string& job, const std::string& id,
                TaskState state = TaskState::kWaiting) {
  TaskRecord task;
  task.job = job;
  task.id = id;
  task.kind = "evaluate";
  task.state = state;
  return task;
}

ActionRecord Action(const std::string& key, uint64_t fence = 0,
                    ActionState state = ActionState::kPending) {
  ActionRecord action;
  action.key = key;
  action.kind = "evaluate";
  action.fence = fence;
  action.state = state;
  action.create_time = kStart;
  return action;
}

EventRecord Event(const std::string& job, const std::string& message) {
  return {.job = job, .time = kStart, .type = "NOTE", .message = message};
}

Transaction Insert(JobRecord job) {
  Transaction transaction;
  transaction.insert_job = std::move(job);
  return transaction;
}

std::vector<std::string> Ids(const std::vector<JobRecord>& jobs) {
  std::vector<std::string> ids;
  for (const JobRecord& job : jobs) ids.push_back(job.id);
  return ids;
}

std::vector<std::string> Messages(const std::vector<EventRecord>& events) {
  std::vector<std::string> messages;
  for (const EventRecord& event : events) messages.push_back(event.message);
  return messages;
}

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

TEST_P(JobStoreContract, AJobComesBackWithEveryField) {
  JobRecord job = Job("j1");
  job.uid = "uid";
  job.spec_digest = "digest";
  job.spec = std::string("spec\0with zero", 14);
  job.expanded_spec = "expanded";
  job.method = "dasm";
  job.priority = -7;
  job.checkpoint_interval = 0.1;
  job.checkpoint_steps = 50;
  job.salt = "salt";
  job.state = JobState::kFailed;
  job.numerics_class = "cpu";
  job.start_time = kStart + absl::Nanoseconds(1);
  job.end_time = absl::InfiniteFuture();
  job.update_time = kStart + absl::Seconds(2);
  // Not UTF-8: paths and messages of libraries need not be.
  job.failure = {"NUMERIC", "loss \xff at step 3", "segment-1"};
  job.report_json = "{\"a\":1}";
  job.manifest_json = "{}";
  job.tasks_total = 5;
  job.tasks_done = 4;
  ASSERT_TRUE(store_->Commit(Insert(job)).ok());

  const absl::StatusOr<JobRecord> got = store_->GetJob("default", "j1");
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->id, job.id);
  EXPECT_EQ(got->project, job.project);
  EXPECT_EQ(got->uid, job.uid);
  EXPECT_EQ(got->request_id, job.request_id);
  EXPECT_EQ(got->spec_digest, job.spec_digest);
  EXPECT_EQ(got->spec, job.spec);
  EXPECT_EQ(got->expanded_spec, job.expanded_spec);
  EXPECT_EQ(got->method, job.method);
  EXPECT_EQ(got->priority, job.priority);
  EXPECT_EQ(got->checkpoint_interval, job.checkpoint_interval);
  EXPECT_EQ(got->checkpoint_steps, 50);
  EXPECT_EQ(got->salt, job.salt);
  EXPECT_EQ(got->state, job.state);
  EXPECT_EQ(got->numerics_class, job.numerics_class);
  EXPECT_EQ(got->create_time, job.create_time);
  EXPECT_EQ(got->start_time, job.start_time);
  EXPECT_EQ(got->end_time, job.end_time);
  EXPECT_EQ(got->update_time, job.update_time);
  EXPECT_EQ(got->failure.failure_class, job.failure.failure_class);
  EXPECT_EQ(got->failure.message, job.failure.message);
  EXPECT_EQ(got->failure.task, job.failure.task);
  EXPECT_EQ(got->report_json, job.report_json);
  EXPECT_EQ(got->manifest_json, job.manifest_json);
  EXPECT_EQ(got->tasks_total, job.tasks_total);
  EXPECT_EQ(got->tasks_done, job.tasks_done);
}

TEST_P(JobStoreContract, ATaskAndAnActionComeBackWithEveryField) {
  ActionRecord action = Action("key", 3, ActionState::kRunning);
  action.parameters_json = "{\"p\":1}";
  action.inputs["data"] = {"digest-in", 12};
  action.source_files.push_back({"images", "a/b", "digest-file"});
  action.numerics_class = "cpu";
  action.ranks = 4;
  action.checkpoint_interval = 1e-3;
  action.checkpoint_steps = 50;
  action.use_time = kStart + absl::Seconds(2);
  action.prune_time = kStart + absl::Seconds(3);
  action.attempts = 3;
  action.retries = {{"NODE_LOST", 2}};
  action.not_before = kStart + absl::Seconds(9);
  action.avoid_worker = "w1";
  action.worker = "w2";
  action.checkpoints.push_back({{"digest-c", 99}, 40, 2.5, kStart});
  action.outputs["set"] = {{"digest-out", int64_t{1} << 40}, {"c1", "c2"}};
  action.summary_json = "{\"s\":2}";
  action.seconds = 12.25;
  action.failure = {"OOM_HOST", "too big", ""};
  action.start_time = kStart + absl::Seconds(1);

  TaskRecord task = Task("j1", "segment-1", TaskState::kRunning);
  task.parameters_json = "{\"q\":1}";
  task.inputs["a"] = {.task = "prepare", .output = "data"};
  task.inputs["b"] = {.blob = {"digest-b", 7}};
  task.source_files.push_back({"labels", "c/d", "digest-l"});
  task.ranks = 4;
  task.action_key = "key";
  task.cached = true;
  task.failure = {"DATA", "short", "segment-1"};
  task.start_time = kStart;

  Transaction transaction = Insert(Job("j1"));
  transaction.actions.push_back(action);
  transaction.tasks.push_back(task);
  ASSERT_TRUE(store_->Commit(transaction).ok());

  const absl::StatusOr<ActionRecord> got = store_->GetAction("key");
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->key, "key");
  EXPECT_EQ(got->kind, action.kind);
  EXPECT_EQ(got->parameters_json, action.parameters_json);
  EXPECT_EQ(got->inputs.at("data").digest, "digest-in");
  EXPECT_EQ(got->inputs.at("data").size_bytes, 12);
  ASSERT_THAT(got->source_files, SizeIs(1));
  EXPECT_EQ(got->source_files[0].role, "images");
  EXPECT_EQ(got->source_files[0].path, "a/b");
  EXPECT_EQ(got->source_files[0].digest, "digest-file");
  EXPECT_EQ(got->numerics_class, "cpu");
  EXPECT_EQ(got->ranks, 4);
  EXPECT_EQ(got->checkpoint_interval, 1e-3);
  EXPECT_EQ(got->checkpoint_steps, 50);
  EXPECT_EQ(got->use_time, action.use_time);
  EXPECT_EQ(got->prune_time, action.prune_time);
  EXPECT_EQ(got->state, ActionState::kRunning);
  EXPECT_EQ(got->fence, 3u);
  EXPECT_EQ(got->attempts, 3);
  EXPECT_EQ(got->retries, action.retries);
  EXPECT_EQ(got->not_before, action.not_before);
  EXPECT_EQ(got->avoid_worker, "w1");
  EXPECT_EQ(got->worker, "w2");
  ASSERT_THAT(got->checkpoints, SizeIs(1));
  EXPECT_EQ(got->checkpoints[0].blob.digest, "digest-c");
  EXPECT_EQ(got->checkpoints[0].blob.size_bytes, 99);
  EXPECT_EQ(got->checkpoints[0].step, 40);
  EXPECT_EQ(got->checkpoints[0].seconds, 2.5);
  EXPECT_EQ(got->checkpoints[0].time, kStart);
  EXPECT_EQ(got->outputs.at("set").blob.size_bytes, int64_t{1} << 40);
  EXPECT_THAT(got->outputs.at("set").chunk_digests, ElementsAre("c1", "c2"));
  EXPECT_EQ(got->summary_json, action.summary_json);
  EXPECT_EQ(got->seconds, 12.25);
  EXPECT_EQ(got->failure.failure_class, "OOM_HOST");
  EXPECT_EQ(got->create_time, kStart);
  EXPECT_EQ(got->start_time, action.start_time);
  EXPECT_EQ(got->end_time, absl::InfinitePast());

  const absl::StatusOr<std::vector<TaskRecord>> tasks = store_->GetTasks("j1");
  ASSERT_TRUE(tasks.ok()) << tasks.status();
  ASSERT_THAT(*tasks, SizeIs(1));
  const TaskRecord& stored = (*tasks)[0];
  EXPECT_EQ(stored.job, "j1");
  EXPECT_EQ(stored.id, "segment-1");
  EXPECT_EQ(stored.kind, task.kind);
  EXPECT_EQ(stored.parameters_json, task.parameters_json);
  EXPECT_EQ(stored.inputs.at("a").task, "prepare");
  EXPECT_EQ(stored.inputs.at("a").output, "data");
  EXPECT_EQ(stored.inputs.at("b").blob.digest, "digest-b");
  EXPECT_EQ(stored.source_files.at(0).digest, "digest-l");
  EXPECT_EQ(stored.ranks, 4);
  EXPECT_EQ(stored.state, TaskState::kRunning);
  EXPECT_EQ(stored.action_key, "key");
  EXPECT_TRUE(stored.cached);
  EXPECT_EQ(stored.failure.message, "short");
  EXPECT_EQ(stored.start_time, kStart);
  EXPECT_EQ(stored.end_time, absl::InfinitePast());
}

TEST_P(JobStoreContract, TasksComeInTheOrderOfTheGraph) {
  Transaction transaction = Insert(Job("j1"));
  for (const char* id : {"prepare", "segment-1", "assemble", "evaluate"}) {
    transaction.tasks.push_back(Task("j1", id));
  }
  ASSERT_TRUE(store_->Commit(std::move(transaction)).ok());
  Transaction update;
  update.tasks.push_back(Task("j1", "prepare", TaskState::kPending));
  ASSERT_TRUE(store_->Commit(std::move(update)).ok());

  const absl::StatusOr<std::vector<TaskRecord>> tasks = store_->GetTasks("j1");
  ASSERT_TRUE(tasks.ok());
  std::vector<std::string> ids;
  for (const TaskRecord& task : *tasks) ids.push_back(task.id);
  EXPECT_THAT(ids, ElementsAre("prepare", "segment-1", "assemble", "evaluate"));
  EXPECT_EQ(tasks->front().state, TaskState::kPending);
}

TEST_P(JobStoreContract, WhatIsMissingIsNotFoundByName) {
  const absl::Status job = store_->GetJob("default", "j404").status();
  EXPECT_TRUE(absl::IsNotFound(job)) << job;
  EXPECT_THAT(std::string(job.message()), HasSubstr("j404"));
  EXPECT_TRUE(absl::IsNotFound(store_->GetAction("k404").status()));
  EXPECT_TRUE(
      absl::IsNotFound(store_->GetJobByRequestId("default", "r404").status()));

  ASSERT_TRUE(store_->Commit(Insert(Job("j1"))).ok());
  EXPECT_TRUE(absl::IsNotFound(store_->GetJob("other", "j1").status()));
}

TEST_P(JobStoreContract, ARequestIdMakesOneJobPerProject) {
  ASSERT_TRUE(store_->Commit(Insert(Job("j1"))).ok());
  JobRecord again = Job("j2");
  again.request_id = "request-j1";
  const absl::Status refused = store_->Commit(Insert(again)).status();
  EXPECT_TRUE(absl::IsAlreadyExists(refused)) << refused;
  EXPECT_EQ(ReasonOf(refused), "REQUEST_ID_USED");
  EXPECT_TRUE(absl::IsNotFound(store_->GetJob("default", "j2").status()));

  const absl::StatusOr<JobRecord> first =
      store_->GetJobByRequestId("default", "request-j1");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->id, "j1");

  again.project = "other";
  EXPECT_TRUE(store_->Commit(Insert(again)).ok());
}

TEST_P(JobStoreContract, JobsWithoutRequestIdDoNotCollide) {
  for (const char* id : {"j1", "j2"}) {
    JobRecord job = Job(id);
    job.request_id.clear();
    EXPECT_TRUE(store_->Commit(Insert(job)).ok());
  }
  EXPECT_TRUE(
      absl::IsNotFound(store_->GetJobByRequestId("default", "").status()));
}

TEST_P(JobStoreContract, AJobIdIsTakenOnce) {
  ASSERT_TRUE(store_->Commit(Insert(Job("j1"))).ok());
  JobRecord again = Job("j1");
  again.request_id = "another";
  again.method = "changed";
  const absl::Status refused = store_->Commit(Insert(again)).status();
  EXPECT_TRUE(absl::IsAlreadyExists(refused)) << refused;
  EXPECT_EQ(ReasonOf(refused), "JOB_ID_USED");
  EXPECT_EQ(store_->GetJob("default", "j1")->method, "");
}

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
