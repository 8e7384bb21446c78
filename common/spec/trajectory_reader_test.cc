#include "common/spec/trajectory_reader.h"

#include <cmath>
#include <limits>
#include <string>

#include "common/base/error.h"
#include "common/spec/job_spec_proto.h"
#include "common/spec/spec_for_tests.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

TEST(TrajectoryReader, StartEpochsThatTheExpertsDoNotReachAreRefused) {
  ExpectRefused({
      {TrajectoryJob("start_epoch_max: 50"), "experts.epochs",
       "50 epochs end before start_epoch_max 50 - 1 + matched_epochs 2 = 51: "
       "use at least 51"},
      {TrajectoryJob("start_epoch_max: 4", "experts: {epochs: 4}"),
       "experts.epochs", "= 5: use at least 5"},
      {TrajectoryJob("matched_epochs: 40"), "experts.epochs", "= 59"},
      {TrajectoryJob(
           "", "",
           "seqmatch: {stages: [{}, {start_epoch_max: 9, expert_epochs: 9}]}"),
       "sequence.seqmatch.stages[1].expert_epochs", "= 10: use at least 10"},
      {TrajectoryJob("", "", "dasm: {stages: [{expert_epochs: 20}, {}]}"),
       "sequence.dasm.stages[0].expert_epochs", "use at least 21"},
      {TrajectoryJob("find_range: true", "experts: {epochs: 1}"),
       "experts.epochs", "below matched_epochs 2"},
      {TrajectoryJob("start_epoch_min: 20"),
       "matching.trajectory.start_epoch_max", "not above start_epoch_min 20"},
      {TrajectoryJob(
           "start_epoch_min: 3, start_epoch_initial: 3, growth_iterations: 9"),
       "matching.trajectory.start_epoch_initial", "not above start_epoch_min"},
      {TrajectoryJob("start_epoch_initial: 21"),
       "matching.trajectory.start_epoch_initial", "start_epoch_max 20"},
      {TrajectoryJob("growth_iterations: 9"),
       "matching.trajectory.start_epoch_initial",
       "is required with growth_iterations"},
      {TrajectoryJob("", "", "seqmatch: {stages: [{}, {start_epoch_min: 20}]}"),
       "matching.trajectory.start_epoch_max", "not above start_epoch_min 20"},
      {TrajectoryJob("", "",
                     "seqmatch: {stages: [{}, {start_epoch_min: 2, "
                     "start_epoch_max: 2}]}"),
       "sequence.seqmatch.stages[1].start_epoch_max", "not above"},
      {TrajectoryJob("labels: soft_fixed, label_epoch: 51"),
       "matching.trajectory.label_epoch", "above the 50 epochs"},
      {TrajectoryJob("labels: soft_fixed, label_epoch: 30", "", "dasm: {}"),
       "matching.trajectory.label_epoch", "21 epochs of segment 2"},
      {TrajectoryJob("label_epoch: -2"), "matching.trajectory.label_epoch",
       "outside"},
  });
}

TEST(TrajectoryReader, NumbersOutOfRangeAreRefused) {
  ExpectRefused({
      {TrajectoryJob("step_size: 0"), "matching.trajectory.step_size",
       "excluded"},
      {TrajectoryJob("step_size: -0.1"), "matching.trajectory.step_size",
       "excluded"},
      {TrajectoryJob("", "", "seqmatch: {stages: [{}, {step_size: -1}]}"),
       "sequence.seqmatch.stages[1].step_size", "excluded"},
      {TrajectoryJob("step_size_learning_rate: -1"),
       "matching.trajectory.step_size_learning_rate", "outside"},
      {TrajectoryJob("image_learning_rate: 0"),
       "matching.trajectory.image_learning_rate", "excluded"},
      {TrajectoryJob("image_momentum: 1"), "matching.trajectory.image_momentum",
       "excluded"},
      {TrajectoryJob("iterations: 0"), "matching.trajectory.iterations",
       "outside"},
      {TrajectoryJob("student_steps: 0"), "matching.trajectory.student_steps",
       "outside"},
      {TrajectoryJob("matched_epochs: 0"), "matching.trajectory.matched_epochs",
       "outside"},
      {TrajectoryJob("pixel_ema: 1"), "matching.trajectory.pixel_ema",
       "excluded"},
      {TrajectoryJob("skip_threshold: -1"),
       "matching.trajectory.skip_threshold", "outside"},
      {TrajectoryJob("mask_from: 0.5, mask_to: 0.4"),
       "matching.trajectory.mask_to", "below mask_from 0.5"},
      {TrajectoryJob("mask_from: 0.5"), "matching.trajectory.mask_to",
       "below mask_from"},
      {TrajectoryJob("mask_to: 1"), "matching.trajectory.mask_to",
       "every parameter"},
      {TrajectoryJob("mask_to: 1.5"), "matching.trajectory.mask_to", "outside"},
      {TrajectoryJob("mask_smallest: 1"), "matching.trajectory.mask_smallest",
       "excluded"},
      {TrajectoryJob("trajectories_per_step: 0"),
       "matching.trajectory.trajectories_per_step", "outside"},
      {TrajectoryJob("augmentation: [flip, none]"),
       "matching.trajectory.augmentation", "alone"},
      {TrajectoryJob("snapshot_interval: 2"),
       "matching.trajectory.snapshot_interval", "2500 sets"},
      {TrajectoryJob("", "experts: {count: 0}"), "experts.count", "outside"},
      {TrajectoryJob("", "experts: {epochs: 0}"), "experts.epochs", "outside"},
      {TrajectoryJob("", "experts: {learning_rate: 0}"),
       "experts.learning_rate", "excluded"},
      {TrajectoryJob("", "experts: {gsam_rho: -1}"), "experts.gsam_rho",
       "outside"},
      {TrajectoryJob("", "experts: {group: 0}"), "experts.group", "outside"},
      {"preset: mtt/cifar-10/ipc1\ndataset: {validation: 0.6}",
       "dataset.validation", "outside 0 to 0.5"},
  });
  v1::JobSpec spec = Parse(TrajectoryJob(""));
  spec.mutable_matching()->mutable_trajectory()->set_step_size(
      std::numeric_limits<float>::infinity());
  EXPECT_EQ(FieldOf(ExpandSpec(spec).status()),
            "matching.trajectory.step_size");
  spec = Parse(TrajectoryJob("", "", "dasm: {stages: [{}, {}]}"));
  spec.mutable_sequence()->mutable_dasm()->mutable_stages(1)->set_step_size(
      std::nanf(""));
  EXPECT_EQ(FieldOf(ExpandSpec(spec).status()),
            "sequence.dasm.stages[1].step_size");
}

TEST(TrajectoryReader, SchedulesThatCannotBeFollowedAreRefused) {
  const auto with = [](const std::string& schedule) {
    return TrajectoryJob("", "experts: {schedule: {" + schedule + "}}");
  };
  ExpectRefused({
      {with("initial_share: 0"), "experts.schedule.initial_share", "excluded"},
      {with("initial_share: 0.5"), "experts.schedule.growth_epochs",
       "is required"},
      {with("initial_share: 0.5, growth_epochs: 2, score_file: a.npy"),
       "experts.schedule.score_file", "score: file"},
      {with("initial_share: 0.5, growth_epochs: 2, score: file"),
       "experts.schedule.score_file", "is required"},
      {with("initial_share: 0.5, growth_epochs: 2, score_runs: 0"),
       "experts.schedule.score_runs", "outside"},
      {with("initial_share: 0.5, growth_epochs: 2, score_epoch: 0"),
       "experts.schedule.score_epoch", "outside"},
      {with("removals: [{after_epoch: 5, share: 1}]"),
       "experts.schedule.removals[0].share", "excluded"},
      {with("removals: [{after_epoch: 5, share: 0.2}, {after_epoch: 5, share: "
            "0.3}]"),
       "experts.schedule.removals[1]", "later after_epoch"},
      {with("removals: [{after_epoch: 5, share: 0.2}, {after_epoch: 6, share: "
            "0.1}]"),
       "experts.schedule.removals[1]", "larger share"},
      {with("removals: [{after_epoch: 50, share: 0.2}]"),
       "experts.schedule.removals[0].after_epoch", "nothing is removed"},
  });
}

}  // namespace
}  // namespace dasm
