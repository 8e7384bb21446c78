// Experts as a resource of the service: listed, described, verified, pruned,
// over the real job manager and stores.
#include "server/service/expert_service.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/rpc/grpc_status.h"
#include "common/spec/task_parameters.h"
#include "common/spec/yaml.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/coordinator/rig.h"

namespace dasm {
namespace {

using ::dasm::testing_support::Rig;
using ::dasm::testing_support::ScriptedWorker;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Trajectory matching over the tiny data set.
v1::JobSpec Matching(int experts, int group = 1, uint64_t expert_seed = 0) {
  const auto spec = ParseJobFile(absl::StrCat(
      R"(name: matching
dataset:
  idx:
    train_images: train-images
    train_labels: train-labels
    test_images: test-images
    test_labels: test-labels
images_per_class: 2
network: {name: convnet, depth: 2, width: 8, norm: instance}
matching:
  trajectory:
    iterations: 4
    student_steps: 2
    matched_epochs: 1
    start_epoch_min: 0
    start_epoch_max: 2
    image_learning_rate: 10
synthesis: {factor: 1}
sequence: {one_segment: {}}
evaluation: {recipe: trajectory, repeats: 1, epochs: 2, baselines: [none]}
experts: {epochs: 3, batch: 32, count: )",
      experts, ", group: ", group, ", seed: ", expert_seed, "}\n"));
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? *spec : v1::JobSpec();
}

class ExpertServiceTest : public ::testing::Test {
 protected:
  ExpertServiceTest() : worker_(&rig_, "w") { Open(); }

  // Over the manager as it is now.
  void Open() {
    service_ = std::make_unique<ExpertService>(
        rig_.manager.get(), rig_.store.get(), rig_.blobs.get(), nullptr);
  }
  absl::StatusOr<v1::ListExpertsResponse> List(const std::string& filter = "",
                                               int page_size = 0,
                                               const std::string& token = "") {
    v1::ListExpertsRequest request;
    request.set_filter(filter);
    request.set_page_size(page_size);
    request.set_page_token(token);
    v1::ListExpertsResponse response;
    const absl::Status status =
        FromGrpcStatus(service_->ListExperts(nullptr, &request, &response));
    if (!status.ok()) return status;
    return response;
  }
  std::vector<std::string> Names(const std::string& filter = "") {
    const auto list = List(filter);
    EXPECT_TRUE(list.ok()) << list.status();
    std::vector<std::string> names;
    for (const v1::Expert& expert : list->experts()) {
      names.push_back(expert.name());
    }
    return names;
  }
  absl::StatusOr<v1::Expert> Get(const std::string& name) {
    v1::GetExpertRequest request;
    request.set_name(name);
    v1::Expert expert;
    const absl::Status status =
        FromGrpcStatus(service_->GetExpert(nullptr, &request, &expert));
    if (!status.ok()) return status;
    return expert;
  }
  absl::StatusOr<v1::VerifyExpertResponse> Verify(const std::string& name) {
    v1::VerifyExpertRequest request;
    request.set_name(name);
    v1::VerifyExpertResponse response;
    const absl::Status status =
        FromGrpcStatus(service_->VerifyExpert(nullptr, &request, &response));
    if (!status.ok()) return status;
    return response;
  }
  absl::StatusOr<v1::PruneExpertsResponse> Prune(
      const std::vector<std::string>& names, const std::string& filter = "",
      bool dry_run = false) {
    v1::PruneExpertsRequest request;
    for (const std::string& name : names) request.add_names(name);
    request.set_filter(filter);
    request.set_validate_only(dry_run);
    v1::PruneExpertsResponse response;
    const absl::Status status =
        FromGrpcStatus(service_->PruneExperts(nullptr, &request, &response));
    if (!status.ok()) return status;
    return response;
  }

  // A finished job that had `experts` trained.
  std::string Finished(const v1::JobSpec& spec) {
    const std::string job = rig_.Submit(spec);
    worker_.RunAll();
    EXPECT_EQ(rig_.State(job), JobState::kSucceeded);
    return job;
  }
  // A job whose experts are done and whose segment is not.
  std::string WithExpertsDone(const v1::JobSpec& spec) {
    const std::string job = rig_.Submit(spec);
    for (bool more = true; more;) {
      more = false;
      for (const WorkOrder& order : worker_.Synchronize().assignments) {
        if (order.action.kind == MatchTrajectoriesParameters::kKind) continue;
        EXPECT_TRUE(worker_.Finish(order).ok());
        more = true;
      }
    }
    return job;
  }
  // How many groups of experts the worker trains for `spec`.
  int TrainedFor(const v1::JobSpec& spec) {
    rig_.Submit(spec);
    int trained = 0;
    for (bool more = true; more;) {
      more = false;
      for (const WorkOrder& order : worker_.Synchronize().assignments) {
        if (order.action.kind == TrainExpertsParameters::kKind) ++trained;
        EXPECT_TRUE(worker_.Finish(order).ok());
        more = true;
      }
    }
    return trained;
  }
  bool HasBlob(const std::string& digest) {
    return rig_.blobs->FindMissing({digest}).empty();
  }

  Rig rig_;
  ScriptedWorker worker_;
  std::unique_ptr<ExpertService> service_;
};

TEST_F(ExpertServiceTest, WhatAJobTrainedIsListedWithWhatItWasTrainedBy) {
  EXPECT_THAT(Names(), IsEmpty());
  const std::string job = Finished(Matching(/*experts=*/5, /*group=*/2));
  const auto list = List();
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->experts_size(), 5);
  std::vector<int> indices;
  for (const v1::Expert& expert : list->experts()) {
    indices.push_back(expert.index());
    EXPECT_TRUE(HasBlob(expert.digest()));
    EXPECT_GT(expert.size_bytes(), 0);
    EXPECT_EQ(expert.preprocessing(), v1::DatasetSpec::PREPROCESSING_NORMALIZE);
    EXPECT_EQ(expert.network(), "convnet-d2-w8-instance");
    EXPECT_EQ(expert.training().epochs(), 3);
    EXPECT_EQ(expert.training().batch(), 32);
    EXPECT_FALSE(expert.start().trained());
    EXPECT_EQ(expert.numerics_class(), "test-class");
    EXPECT_EQ(expert.training_accuracy(), 75);
    EXPECT_THAT(expert.jobs(), IsEmpty());
    EXPECT_THAT(expert.parameters_json(), IsEmpty());
  }
  std::sort(indices.begin(), indices.end());
  EXPECT_THAT(indices, ElementsAre(0, 1, 2, 3, 4));
}

TEST_F(ExpertServiceTest, ALiveJobIsNamedBesideWhatItUses) {
  const std::string job = WithExpertsDone(Matching(2));
  const auto list = List();
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->experts_size(), 2);
  for (const v1::Expert& expert : list->experts()) {
    EXPECT_THAT(expert.jobs(),
                ElementsAre(absl::StrCat("projects/default/jobs/", job)));
  }
  EXPECT_THAT(Names("in_use=true"), SizeIs(2));
  EXPECT_THAT(Names("in_use=false"), IsEmpty());
  worker_.RunAll();
  EXPECT_THAT(Names("in_use=false"), SizeIs(2));
}

TEST_F(ExpertServiceTest, PagesNeitherRepeatNorMissWithinAGroup) {
  Finished(Matching(7, /*group=*/3));
  for (int page_size : {1, 2, 3, 4, 100}) {
    std::vector<std::string> names;
    std::string token;
    do {
      const auto page = List("", page_size, token);
      ASSERT_TRUE(page.ok()) << page.status();
      EXPECT_LE(page->experts_size(), page_size);
      for (const v1::Expert& expert : page->experts()) {
        names.push_back(expert.name());
      }
      token = page->next_page_token();
    } while (!token.empty());
    EXPECT_EQ(names, Names()) << page_size;
    EXPECT_THAT(names, SizeIs(7));
  }
}

TEST_F(ExpertServiceTest, FiltersAreByDataSetNetworkAndTimes) {
  Finished(Matching(2));
  const std::string mark =
      absl::FormatTime(absl::RFC3339_full, rig_.clock.Now() + absl::Hours(1),
                       absl::UTCTimeZone());
  rig_.clock.Advance(absl::Hours(2));
  Finished(Matching(1, 1, /*expert_seed=*/7));
  EXPECT_THAT(Names(), SizeIs(3));
  EXPECT_THAT(Names("network=convnet-d2-w8-instance"), SizeIs(3));
  EXPECT_THAT(Names("network=mlp"), IsEmpty());
  EXPECT_THAT(Names("dataset=cifar-10"), IsEmpty());
  const std::string old = absl::StrCat("create_time<\"", mark, "\"");
  EXPECT_THAT(Names(old), SizeIs(2));
  const std::string unused = absl::StrCat("use_time<\"", mark, "\"");
  EXPECT_THAT(Names(unused), SizeIs(2));
  // Another job uses them: created long ago, used now.
  Finished([] {
    v1::JobSpec spec = Matching(2);
    spec.set_seed(3);
    return spec;
  }());
  EXPECT_THAT(Names(old + " AND network=convnet-d2-w8-instance"), SizeIs(2));
  EXPECT_THAT(Names(unused), IsEmpty());
}

TEST_F(ExpertServiceTest, AWrongFilterTokenOrNameNamesTheField) {
  Finished(Matching(3));
  EXPECT_EQ(FieldOf(List("color=red").status()), "filter");
  EXPECT_EQ(FieldOf(List("use_time<yesterday").status()), "filter");
  EXPECT_EQ(FieldOf(List("", -1).status()), "page_size");
  const std::string token = List("", 1)->next_page_token();
  ASSERT_FALSE(token.empty());
  EXPECT_EQ(FieldOf(List("in_use=true", 1, token).status()), "page_token");
  EXPECT_EQ(FieldOf(List("", 1, "AAAA").status()), "page_token");
  for (const char* name : {"", "experts/", "experts/1234-1", "experts/x-1",
                           "jobs/j1", "experts/0123456789abcdef"}) {
    EXPECT_EQ(FieldOf(Get(name).status()), "name") << name;
  }
  EXPECT_TRUE(absl::IsNotFound(Get("experts/0123456789abcdef-1").status()));
}

TEST_F(ExpertServiceTest, OneIsDescribedInFullByAShortNameToo) {
  Finished(Matching(1));
  const std::string name = Names().at(0);
  const auto expert = Get(name.substr(0, sizeof("experts/") + 11) + "-1");
  ASSERT_TRUE(expert.ok()) << expert.status();
  EXPECT_EQ(expert->name(), name);
  EXPECT_THAT(expert->parameters_json(), HasSubstr("\"epochs\":3"));
  EXPECT_THAT(expert->summary_json(), HasSubstr("training_accuracy"));
  ASSERT_EQ(expert->inputs_size(), 1);
  EXPECT_EQ(expert->inputs(0).input(), "dataset");
  EXPECT_THAT(expert->inputs(0).made_by(), HasSubstr("prepare_dataset "));
  EXPECT_TRUE(
      absl::IsNotFound(Get(name.substr(0, name.size() - 1) + "2").status()));
}

TEST_F(ExpertServiceTest, VerifyFindsAFlippedByteAndHasItTrainedAgain) {
  Finished(Matching(2));
  const std::vector<std::string> names = Names();
  EXPECT_EQ(Verify(names[0])->result(), v1::VerifyExpertResponse::RESULT_OK);
  const std::string digest = Get(names[0])->digest();
  rig_.blobs->FlipBit(digest);
  const auto verdict = Verify(names[0]);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_EQ(verdict->result(), v1::VerifyExpertResponse::RESULT_QUARANTINED);
  EXPECT_EQ(verdict->expert().name(), names[0]);
  EXPECT_EQ(Verify(names[1])->result(), v1::VerifyExpertResponse::RESULT_OK);
  rig_.Settle();
  EXPECT_EQ(worker_.RunAll(), 1);
  EXPECT_EQ(Verify(names[0])->result(), v1::VerifyExpertResponse::RESULT_OK);
}

TEST_F(ExpertServiceTest, AMissingBlobIsSaidToBeMissing) {
  Finished(Matching(1));
  const std::string name = Names().at(0);
  ASSERT_TRUE(rig_.blobs->Remove(Get(name)->digest()).ok());
  EXPECT_EQ(Verify(name)->result(), v1::VerifyExpertResponse::RESULT_MISSING);
}

TEST_F(ExpertServiceTest, PruneForgetsWholeGroupsAndALaterJobTrainsThemAgain) {
  Finished(Matching(4, /*group=*/2));
  const std::vector<std::string> names = Names();
  const std::string digest = Get(names[1])->digest();
  const int64_t size =
      Get(names[0])->size_bytes() + Get(names[1])->size_bytes();
  // One name stands for its group.
  const auto dry = Prune({names[1]}, "", /*dry_run=*/true);
  ASSERT_TRUE(dry.ok()) << dry.status();
  EXPECT_EQ(dry->pruned_count(), 2);
  EXPECT_EQ(dry->pruned_bytes(), size);
  EXPECT_THAT(Names(), SizeIs(4));
  EXPECT_TRUE(HasBlob(digest));

  const auto pruned = Prune({names[1]});
  ASSERT_TRUE(pruned.ok()) << pruned.status();
  EXPECT_EQ(pruned->pruned_count(), 2);
  EXPECT_EQ(pruned->pruned_bytes(), size);
  EXPECT_EQ(pruned->pruned(0).name(), names[0]);
  EXPECT_THAT(Names(), ElementsAre(names[2], names[3]));
  EXPECT_FALSE(HasBlob(digest));
  EXPECT_TRUE(absl::IsNotFound(Get(names[1]).status()));
  EXPECT_TRUE(absl::IsNotFound(Prune({names[1]}).status()));

  v1::JobSpec again = Matching(4, /*group=*/2);
  again.set_seed(5);
  EXPECT_EQ(TrainedFor(again), 1);
  EXPECT_THAT(Names(), SizeIs(4));
  EXPECT_TRUE(HasBlob(digest));
  EXPECT_EQ(Verify(names[1])->result(), v1::VerifyExpertResponse::RESULT_OK);
}

TEST_F(ExpertServiceTest, PruneRefusesWhatALiveJobUsesAndDoesNothing) {
  Finished(Matching(1, 1, /*expert_seed=*/7));
  const std::string idle = Names().at(0);
  const std::string job = WithExpertsDone(Matching(1));
  const std::string used = Names("in_use=true").at(0);
  const absl::Status refused = Prune({idle, used}).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_EQ(ReasonOf(refused), "RESULT_IN_USE");
  EXPECT_THAT(std::string(refused.message()), HasSubstr(job));
  EXPECT_THAT(Names(), SizeIs(2));

  // A filter leaves it out and says so.
  const auto pruned = Prune({}, "*");
  ASSERT_TRUE(pruned.ok()) << pruned.status();
  EXPECT_EQ(pruned->pruned_count(), 1);
  EXPECT_EQ(pruned->pruned(0).name(), idle);
  EXPECT_EQ(pruned->in_use_count(), 1);
  EXPECT_EQ(pruned->in_use(0).name(), used);
  EXPECT_THAT(Names(), ElementsAre(used));
  worker_.RunAll();
  EXPECT_EQ(rig_.State(job), JobState::kSucceeded);
  EXPECT_EQ(Prune({used})->pruned_count(), 1);
}

TEST_F(ExpertServiceTest, PruneAsksForNamesOrAFilterAndNotBoth) {
  EXPECT_EQ(FieldOf(Prune({}).status()), "filter");
  EXPECT_EQ(FieldOf(Prune({"experts/0123456789-1"}, "*").status()), "filter");
  EXPECT_EQ(FieldOf(Prune({}, "in_use=maybe").status()), "filter");
  EXPECT_EQ(FieldOf(Prune({"x"}).status()), "names");
  EXPECT_EQ(Prune({}, "*")->pruned_count(), 0);
}

TEST_F(ExpertServiceTest, AnAcknowledgedPruneSurvivesARestart) {
  Finished(Matching(2));
  const std::vector<std::string> names = Names();
  const std::string digest = Get(names[0])->digest();
  ASSERT_TRUE(Prune({names[0]}).ok());
  rig_.Restart();
  Open();
  worker_.Restart();
  EXPECT_THAT(Names(), ElementsAre(names[1]));
  EXPECT_FALSE(HasBlob(digest));
  v1::JobSpec again = Matching(2);
  again.set_seed(5);
  EXPECT_EQ(TrainedFor(again), 1);
}

TEST_F(ExpertServiceTest, ARestartFinishesAPruneThatRemovedNothingYet) {
  Finished(Matching(1));
  const std::string name = Names().at(0);
  const std::string digest = Get(name)->digest();
  const std::string bytes = *ReadBlob(rig_.blobs.get(), digest);
  ASSERT_TRUE(Prune({name}).ok());
  // As if the coordinator had been killed between its commit and the removal.
  ASSERT_EQ(*WriteBlob(rig_.blobs.get(), bytes), digest);
  rig_.Restart();
  EXPECT_FALSE(HasBlob(digest));
}

TEST_F(ExpertServiceTest, APruneThatIsNotDurableIsNotDone) {
  Finished(Matching(1));
  const std::string name = Names().at(0);
  const std::string digest = Get(name)->digest();
  rig_.store->Inject(FaultyJobStore::Method::kCommit,
                     {.status = absl::UnavailableError("disk")});
  EXPECT_TRUE(absl::IsUnavailable(Prune({name}).status()));
  EXPECT_TRUE(HasBlob(digest));
}

// The same bits under two keys: a salt disowns the key, not the bytes.
TEST_F(ExpertServiceTest, ABlobThatAnotherResultHoldsStays) {
  ActionRecord first;
  first.key = std::string(64, 'a');
  first.kind = TrainExpertsParameters::kKind;
  first.parameters_json = ToCanonicalJson(TrainExpertsParameters());
  first.state = ActionState::kSucceeded;
  first.fence = 1;
  first.end_time = rig_.clock.Now();
  const std::string digest = *WriteBlob(rig_.blobs.get(), "trajectory");
  first.outputs["expert.1"].blob = {digest, 10};
  ActionRecord second = first;
  second.key = std::string(64, 'b');
  Transaction transaction;
  transaction.actions = {first, second};
  ASSERT_TRUE(rig_.sqlite->JobStore::Commit(transaction).ok());
  const auto one = Prune({absl::StrCat("experts/", first.key, "-1")});
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(one->pruned_count(), 1);
  EXPECT_EQ(one->pruned_bytes(), 0);
  EXPECT_TRUE(HasBlob(digest));
  const auto other = Prune({}, "*");
  EXPECT_EQ(other->pruned_bytes(), 10);
  EXPECT_FALSE(HasBlob(digest));
}

}  // namespace
}  // namespace dasm
