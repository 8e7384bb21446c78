#include "server/manager/oom_policy.h"

#include "common/spec/task_parameters.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

constexpr int64_t kMiB = 1 << 20;

DistillSegmentParameters Parameters() {
  DistillSegmentParameters parameters;
  parameters.images_per_class = 50;
  parameters.synthesis.factor = 2;
  parameters.matching.real_batch = 64;
  parameters.matching.synthetic_batch = 128;
  return parameters;
}

ActionRecord Action(const DistillSegmentParameters& parameters = Parameters()) {
  ActionRecord action;
  action.kind = DistillSegmentParameters::kKind;
  action.parameters_json = ToCanonicalJson(parameters);
  action.memory = {500 * kMiB, 6 * kMiB};
  return action;
}

TEST(OomPolicy, WhatTheRunnerNamesGoesFirst) {
  EXPECT_EQ(MicroBatchNamed("out of memory; micro_batch=24 fits"), 24);
  EXPECT_EQ(MicroBatchNamed("out of memory"), 0);
  EXPECT_EQ(MicroBatchNamed("micro_batch=x"), 0);
  EXPECT_EQ(MicroBatchThatFits(Action(), "micro_batch=24", 0), 24);
  // As much as was used is no answer.
  EXPECT_EQ(MicroBatchThatFits(Action(), "micro_batch=128", 0), 64);
}

TEST(OomPolicy, ElseThePredictionIsAskedAndHalfIsTheMost) {
  EXPECT_EQ(MicroBatchThatFits(Action(), "", (500 + 33 * 6) * kMiB), 32);
  EXPECT_EQ(MicroBatchThatFits(Action(), "", (500 + 31 * 6) * kMiB), 16);
  EXPECT_EQ(MicroBatchThatFits(Action(), "", 100'000 * kMiB), 64);
  EXPECT_EQ(MicroBatchThatFits(Action(), "", 1), 1);
  EXPECT_EQ(MicroBatchThatFits(Action(), "", 0), 64);
}

TEST(OomPolicy, OneImageAndCoupledImagesCannotBeCut) {
  DistillSegmentParameters one = Parameters();
  one.execution.micro_batch = 1;
  EXPECT_EQ(MicroBatchThatFits(Action(one), "", 0), 0);
  DistillSegmentParameters coupled = Parameters();
  coupled.network.norm = Norm::kBatch;
  EXPECT_EQ(MicroBatchThatFits(Action(coupled), "micro_batch=4", 0), 0);
  ActionRecord evaluation = Action();
  evaluation.kind = "evaluate";
  EXPECT_EQ(MicroBatchThatFits(evaluation, "micro_batch=4", 0), 0);
}

TEST(OomPolicy, RepeatedReplanningEndsAtOneImage) {
  ActionRecord action = Action();
  int rounds = 0;
  for (int fits; (fits = MicroBatchThatFits(action, "", 0)) > 0; ++rounds) {
    action.parameters_json =
        WithMicroBatch(action.kind, action.parameters_json, fits);
    ASSERT_LT(rounds, 10);
  }
  EXPECT_EQ(rounds, 7);  // 64, 32, ..., 1
}

ActionRecord Of(const TaskParameters& parameters) {
  ActionRecord action;
  action.kind = std::string(KindOf(parameters));
  action.parameters_json = ToCanonicalJson(parameters);
  return action;
}

TEST(OomPolicy, AStudentsBatchIsCutSmaller) {
  MatchTrajectoriesParameters match;
  match.matching.batch = 1000;
  match.execution.train_group = 100;
  // Without a micro-batch it was computed in groups of train_group.
  EXPECT_EQ(MicroBatchThatFits(Of(match), "", 0), 32);
  EXPECT_EQ(MicroBatchThatFits(Of(match), "micro_batch=24", 0), 24);
  match.execution.micro_batch = 4;
  ActionRecord action = Of(match);
  EXPECT_EQ(MicroBatchThatFits(action, "", 0), 2);
  const auto cut = ParseTaskParameters(
      action.kind, WithMicroBatch(action.kind, action.parameters_json, 2));
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_EQ(std::get<MatchTrajectoriesParameters>(*cut).execution.micro_batch,
            2);
  EXPECT_EQ(MicroBatchField(action.kind), "execution.micro_batch");
  match.matching.estimator = Estimator::kFullGraph;
  EXPECT_EQ(MicroBatchThatFits(Of(match), "micro_batch=1", 0), 0);
  match.matching.estimator = Estimator::kTesla;
  match.network.norm = Norm::kBatch;
  EXPECT_EQ(MicroBatchThatFits(Of(match), "micro_batch=1", 0), 0);
}

TEST(OomPolicy, ExpertsAreTrainedInSmallerGroups) {
  TrainExpertsParameters experts;
  experts.training.batch = 256;
  experts.execution.train_group = 256;
  ActionRecord action = Of(experts);
  EXPECT_EQ(MicroBatchThatFits(action, "", 0), 128);
  const auto cut = ParseTaskParameters(
      action.kind, WithMicroBatch(action.kind, action.parameters_json, 128));
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_EQ(std::get<TrainExpertsParameters>(*cut).execution.train_group, 128);
  EXPECT_EQ(MicroBatchField(action.kind), "execution.train_group");
}

}  // namespace
}  // namespace dasm
