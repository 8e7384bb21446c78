// Records come back as they were committed; a job and a request id exist once.
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "server/store/contract/job_store_contract.h"
#include "server/store/contract/records.h"

namespace dasm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

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

}  // namespace
}  // namespace dasm
