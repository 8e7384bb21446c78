#include "common/spec/trajectory_check.h"

#include <string>

#include "common/base/error.h"
#include "common/spec/job_spec_proto.h"
#include "common/spec/spec_for_tests.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

TEST(TrajectoryCheck, PartsThatContradictEachOtherAreRefused) {
  const std::string idc =
      "dataset: {name: cifar-10}\nimages_per_class: 10\n"
      "sequence: {one_segment: {}}\n";
  const std::string folder =
      "images_per_class: 1\nmatching: {trajectory: {}}\n"
      "sequence: {one_segment: {}}\n";
  const std::string set = "dataset: {name: mnist}\n";
  const std::string learned =
      "evaluation: {recipe: trajectory, learning_rate: 0}\n";
  ExpectRefused({
      {TrajectoryJob("labels: soft_learned", "evaluation: {recipe: idc}"),
       "evaluation.recipe", "use recipe trajectory, or labels hard"},
      {TrajectoryJob("labels: soft_fixed", "evaluation: {recipe: dc}"),
       "evaluation.recipe", "soft"},
      {TrajectoryJob("labels: teacher", "evaluation: {recipe: idc}"),
       "evaluation.recipe", "soft"},
      {TrajectoryJob("labels: soft_learned, label_learning_rate: 0"),
       "matching.trajectory.label_learning_rate", "labels: soft_fixed"},
      {TrajectoryJob("labels: soft_fixed", "synthesis: {init: noise}"),
       "matching.trajectory.label_experts", "use first"},
      {TrajectoryJob("", "synthesis: {factor: 2}"), "synthesis.factor",
       "use 1"},
      {TrajectoryJob("", "resources: {exchange: deferred}"),
       "resources.exchange", "use every_step"},
      {TrajectoryJob("", "resources: {ranks: 2, trainer_rank: true}"),
       "resources.trainer_rank", "matching.trajectory has none of: use false"},
      {TrajectoryJob("", "execution: {micro_batch: 8}\nnetwork: {norm: batch}"),
       "execution.micro_batch", "use 0"},
      {TrajectoryJob("", "evaluation: {protocol: paper}"),
       "matching.trajectory.snapshot_interval", "or use protocol last"},
      {TrajectoryJob("", "evaluation: {protocol: validation}"),
       "matching.trajectory.snapshot_interval", "nothing to choose"},
      {TrajectoryJob("snapshot_interval: 500",
                     "evaluation: {protocol: validation}"),
       "dataset.validation", "is required"},
      {idc + "evaluation: {protocol: paper}", "evaluation.protocol",
       "use last"},
      {idc + "synthesis: {init: correct}", "synthesis.init", "use real"},
      {idc + "experts: {count: 3}", "experts", "match trajectories"},
      {idc + "evaluation: {recipe: trajectory, learning_rate: 0}",
       "evaluation.learning_rate", "give a rate"},
      {TrajectoryJob("", "evaluation: {cutmix: 0.5}"), "evaluation.cutmix",
       "use 0"},
      {set + "synthetic_set: {npz: a}\n" + learned, "evaluation.learning_rate",
       "which arrays do not: give a rate"},
      {set + "synthetic_set: {npy: {images: a, labels: b}}\n" + learned,
       "evaluation.learning_rate", "or the set by its digest"},
      {"preset: mtt/cifar-10/ipc1\nsynthesis: {factor: 1}\n"
       "synthetic_set: {npz: a}\n",
       "evaluation.learning_rate", "give a rate"},
      {TrajectoryJob("", "evaluation: {orders: [union, union]}", "dasm: {}"),
       "evaluation.orders", "twice"},
      {TrajectoryJob("", "evaluation: {steps: 100}", "dasm: {}"),
       "evaluation.steps", "give evaluation.epochs"},
      {"dataset: {name: cifar-10, preprocessing: zca}\nimages_per_class: 1\n"
       "sequence: {dasm: {}}\n",
       "dataset.preprocessing", "use normalize"},
      {folder +
           "dataset: {preprocessing: zca, image_folder: {train: a, test: b, "
           "size: 65}}",
       "dataset.preprocessing", "at most 64"},
      {idc + "matching: {gradient: {}, trajectory: {}}", "matching",
       "only one of"},
      {"dataset: {name: mnist}\nsynthetic_set: {npz: a}\nexperts: {count: 1}",
       "experts", "remove one"},
  });
}

// An array has no step size of its own; a set of this service may have one.
TEST(TrajectoryCheck, AnExistingSetBringsItsRateOrIsGivenOne) {
  const std::string set = "dataset: {name: mnist}\n";
  EXPECT_EQ(
      Expand(set + "synthetic_set: {npz: a}\n"
                   "evaluation: {recipe: trajectory, learning_rate: 0.02}\n")
          .spec.evaluation.training.learning_rate,
      0.02);
  EXPECT_EQ(Expand(set + "synthesis: {factor: 1}\nsynthetic_set: {digest: \"" +
                   std::string(64, 'a') +
                   "\"}\n"
                   "evaluation: {recipe: trajectory, learning_rate: 0}\n")
                .spec.evaluation.training.learning_rate,
            0);
}

TEST(TrajectoryCheck, ABatchAboveTheSetIsRefusedWhereClassesAreKnown) {
  ExpectRefused({
      {TrajectoryJob("batch: 101"), "matching.trajectory.batch",
       "101 is above the 100 images"},
      {TrajectoryJob("batch: 101"), "matching.trajectory.batch", "write 0"},
      {TrajectoryJob("batch: 60", "", "dasm: {}"),
       "sequence.dasm.stages[0].batch", "above the 50"},
      {TrajectoryJob("", "", "seqmatch: {stages: [{}, {batch: 101}]}"),
       "sequence.seqmatch.stages[1].batch", "above the 100"},
      {TrajectoryJob("batch: -1"), "matching.trajectory.batch", "outside"},
  });
  // The second student sees both subsets.
  EXPECT_EQ(
      Expand(TrajectoryJob("", "", "seqmatch: {stages: [{}, {batch: 100}]}"))
          .spec.sequence.stages[1]
          .batch,
      100);
  EXPECT_EQ(Expand(TrajectoryJob("batch: 100")).spec.trajectory->batch, 100);
}

DatasetFacts Facts(int side) {
  return {.classes = 10,
          .channels = 3,
          .height = side,
          .width = side,
          .train_images = 1000,
          .test_images = 100,
          .smallest_class = 90};
}

TEST(TrajectoryCheck, WhatTheDatasetRefusesIsNamed) {
  const JobSpec spec =
      Expand(
          "dataset: {image_folder: {train: a, test: b, size: 64}}\n"
          "images_per_class: 10\nmatching: {trajectory: {batch: 100}}\n"
          "sequence: {one_segment: {}}\n"
          "evaluation: {networks: [convnet, mlp, alexnet]}\n")
          .spec;
  const auto field = [](const JobSpec& s, const DatasetFacts& f) {
    const absl::Status status = ValidateAgainstDataset(s, f);
    return status.ok() ? "" : FieldOf(status);
  };
  EXPECT_EQ(field(spec, Facts(64)), "");
  JobSpec changed = spec;
  changed.sequence.stages[0].batch = 101;
  EXPECT_EQ(field(changed, Facts(64)), "matching.trajectory.batch");
  // MTT's evaluation networks know 32 and 64 pixels.
  EXPECT_EQ(field(spec, Facts(128)), "evaluation.networks[2]");
  EXPECT_EQ(field(spec, Facts(32)), "");
  changed = spec;
  changed.network = {
      .name = "resnet18", .depth = 0, .width = 0, .norm = Norm::kInstance};
  EXPECT_EQ(field(changed, Facts(48)), "network.name");
  changed = spec;
  changed.evaluation.networks = {
      spec.network,
      {.name = "resnet18-ap", .depth = 0, .width = 0, .norm = Norm::kInstance}};
  EXPECT_EQ(field(changed, Facts(64)), "evaluation.networks[1]");
  changed = spec;
  changed.experts.training.schedule = {
      .enabled = true, .initial_share = 0.01, .growth_epochs = 2};
  EXPECT_EQ(field(changed, Facts(64)), "experts.schedule.initial_share");
  changed.experts.training.schedule.initial_share = 0.02;
  EXPECT_EQ(field(changed, Facts(64)), "");
  changed = spec;
  changed.evaluation.networks.resize(1);
  changed.dataset.preprocessing = Preprocessing::kZca;
  EXPECT_EQ(field(changed, Facts(64)), "");
  EXPECT_EQ(field(changed, Facts(80)), "dataset.preprocessing");
  changed = spec;
  changed.experts.training.batch = 1001;
  EXPECT_EQ(field(changed, Facts(64)), "experts.batch");
  // A tenth is set aside.
  changed = spec;
  changed.dataset.validation = 0.1;
  changed.images_per_class = 81;
  EXPECT_EQ(field(changed, Facts(64)), "");
  changed.images_per_class = 82;
  EXPECT_EQ(field(changed, Facts(64)), "images_per_class");
  // Of gradient matching, with which nothing is done.
  changed = spec;
  changed.matching.real_batch = 4096;
  changed.matching.net_batch = 4096;
  EXPECT_EQ(field(changed, Facts(64)), "");
}

}  // namespace
}  // namespace dasm
