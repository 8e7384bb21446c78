// Jobs that match trajectories, as they expand: what is derived, displaced and
// kept.
#include <algorithm>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/spec/job_spec_proto.h"
#include "common/spec/spec_for_tests.h"
#include "common/spec/yaml.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using google::protobuf::util::MessageDifferencer;

TEST(TrajectorySpec, OneStageIsTheJobsOwnNumbers) {
  const ExpandedSpec e = Expand(
      TrajectoryJob("", "",
                    "seqmatch: {segments: [10], stages: [{iterations: 9, "
                    "start_epoch_max: 3, batch: 20, expert_epochs: 6}]}"));
  EXPECT_EQ(e.spec.Method(), "trajectory");
  EXPECT_EQ(e.spec.trajectory->iterations, 9);
  EXPECT_EQ(e.spec.trajectory->start_epoch_initial, 3);
  EXPECT_EQ(e.spec.trajectory->start_epoch_max, 3);
  EXPECT_EQ(e.spec.trajectory->batch, 20);
  EXPECT_EQ(e.spec.experts.training.epochs, 6);
  EXPECT_FALSE(e.spec.sequence.visible_earlier);
  EXPECT_EQ(e.spec.evaluation.orders, std::vector{Order::kUnion});
  EXPECT_TRUE(e.proto.sequence().has_one_segment());
}

TEST(TrajectorySpec, WithoutGrowthTheRangeIsWholeFromTheBeginning) {
  const TrajectoryMatchingSpec fixed =
      *Expand(TrajectoryJob("start_epoch_initial: 5")).spec.trajectory;
  EXPECT_EQ(fixed.start_epoch_initial, 20);
  const TrajectoryMatchingSpec growing =
      *Expand(TrajectoryJob("start_epoch_initial: 5, growth_iterations: 100"))
           .spec.trajectory;
  EXPECT_EQ(growing.start_epoch_initial, 5);
  // A later stage need not grow because the first does.
  const JobSpec stages =
      Expand(TrajectoryJob("start_epoch_initial: 5, growth_iterations: 100", "",
                           "seqmatch: {stages: [{}, {start_epoch_max: 3, "
                           "growth_iterations: 0}]}"))
          .spec;
  EXPECT_EQ(stages.sequence.stages[0].start_epoch_initial, 5);
  EXPECT_EQ(stages.sequence.stages[1].start_epoch_initial, 3);
}

TEST(TrajectorySpec, AFoundRangeNeedsNone) {
  EXPECT_TRUE(Expand(TrajectoryJob("find_range: true, growth_iterations: 100",
                                   "experts: {epochs: 12}\n"))
                  .spec.trajectory->find_range);
}

TEST(TrajectorySpec, TrajectoriesDisplaceAPresetsGradients) {
  const ExpandedSpec e =
      Expand("preset: dasm-idc/cifar-10/ipc10\nmatching: {trajectory: {}}\n");
  EXPECT_EQ(e.spec.Method(), "dasm-trajectory");
  EXPECT_FALSE(e.proto.matching().has_gradient());
  EXPECT_FALSE(e.origins.contains("matching.gradient.inits"));
  EXPECT_EQ(e.spec.synthesis.factor, 1);
  EXPECT_EQ(e.spec.evaluation.training.recipe, Recipe::kTrajectory);
  EXPECT_EQ(e.spec.evaluation.training.cutmix, 0);
  EXPECT_EQ(e.spec.evaluation.baselines, std::vector{Baseline::kRandom});
  EXPECT_EQ(e.origins.at("sequence.dasm.mix"), "preset");
}

TEST(TrajectorySpec, GradientsDisplaceAPresetsTrajectories) {
  const ExpandedSpec e = Expand(
      "preset: dasm-trajectory/cifar-10/ipc10\n"
      "matching: {gradient: {}}\n");
  EXPECT_EQ(e.spec.Method(), "dasm");
  EXPECT_FALSE(e.proto.has_experts());
  EXPECT_EQ(e.proto.sequence().dasm().stages_size(), 0);
  EXPECT_EQ(e.spec.synthesis.factor, 2);
  EXPECT_EQ(e.spec.synthesis.init, Init::kReal);
  EXPECT_EQ(e.spec.dataset.preprocessing, Preprocessing::kNormalize);
  EXPECT_EQ(e.spec.evaluation.training.recipe, Recipe::kIdc);
  // How it is distilled then has to be said.
  EXPECT_EQ(FieldOf(ExpandSpec(Parse("preset: seqmatch/cifar-10/ipc10\n"
                                     "matching: {gradient: {}}\n"))
                        .status()),
            "sequence");
}

TEST(TrajectorySpec, ASpecsNumbersStandBesideAPresets) {
  const ExpandedSpec e = Expand(
      "preset: datm/cifar-10/ipc10/quick\n"
      "matching: {trajectory: {iterations: 3}}\n"
      "experts: {count: 2, schedule: {initial_share: 0.5, "
      "growth_epochs: 1}}\n");
  EXPECT_EQ(e.spec.trajectory->iterations, 3);
  EXPECT_EQ(e.spec.trajectory->student_steps, 10);
  EXPECT_EQ(e.spec.experts.count, 2);
  EXPECT_EQ(e.spec.experts.training.epochs, 5);
  EXPECT_TRUE(e.spec.experts.training.schedule.enabled);
  EXPECT_EQ(e.spec.experts.score_runs, 10);
  EXPECT_EQ(e.origins.at("matching.trajectory.iterations"), "spec");
  EXPECT_EQ(e.origins.at("matching.trajectory.student_steps"), "preset");
  EXPECT_EQ(e.origins.at("experts.schedule.score"), "derived");
}

TEST(TrajectorySpec, AScheduleThatHoldsNothingBackIsNone) {
  const ExpandedSpec e = Expand(
      TrajectoryJob("",
                    "experts: {schedule: {initial_share: 1, growth_epochs: "
                    "9, gradual: true, score: grand}}\n"));
  EXPECT_EQ(e.spec.experts, Expand(TrajectoryJob("")).spec.experts);
  EXPECT_FALSE(e.proto.experts().has_schedule());
}

TEST(TrajectorySpec, LabelsThatAreNotLearnedHaveNoRate) {
  EXPECT_EQ(Expand(TrajectoryJob("labels: soft_learned"))
                .spec.trajectory->label_learning_rate,
            2);
  EXPECT_EQ(Expand(TrajectoryJob("labels: soft_fixed, label_learning_rate: 3"))
                .spec.trajectory->label_learning_rate,
            0);
  EXPECT_EQ(Expand(TrajectoryJob("labels: soft_learned"))
                .spec.evaluation.training.batch,
            128);
}

TEST(TrajectorySpec, GreyDigitsAreNotMirrored) {
  const JobSpec mnist =
      Expand(
          "dataset: {name: mnist}\nimages_per_class: 1\n"
          "matching: {trajectory: {}}\nsequence: {one_segment: {}}\n")
          .spec;
  for (const auto& list :
       {mnist.trajectory->augmentation, mnist.experts.training.augmentation,
        mnist.evaluation.training.augmentation}) {
    EXPECT_EQ(list.size(), 5u);
    EXPECT_EQ(std::count(list.begin(), list.end(), Augmentation::kFlip), 0);
  }
  EXPECT_EQ(mnist.dataset.preprocessing, Preprocessing::kNormalize);
}

TEST(TrajectorySpec, AnExistingSetIsEvaluatedByTheRecipe) {
  const JobSpec spec =
      Expand(
          "preset: datm/cifar-10/ipc10\nsynthesis: {factor: 1}\n"
          "synthetic_set: {digest: \"" +
          std::string(64, 'a') + "\"}\n")
          .spec;
  EXPECT_EQ(spec.Method(), "evaluate");
  EXPECT_FALSE(spec.trajectory.has_value());
  EXPECT_EQ(spec.evaluation.training.recipe, Recipe::kTrajectory);
  EXPECT_EQ(spec.evaluation.training.learning_rate, 0);
  EXPECT_EQ(spec.evaluation.training.batch, 128);
  EXPECT_EQ(spec.dataset.preprocessing, Preprocessing::kZca);
}

TEST(TrajectorySpec, EveryValueSurvivesATripThroughTheExpandedProto) {
  const std::string yaml =
      "dataset: {name: svhn, preprocessing: zca, validation: 0.1}\n"
      "images_per_class: 7\n"
      "matching: {trajectory: {estimator: full_graph, iterations: 11, "
      "student_steps: 3, matched_epochs: 1, start_epoch_min: 1, "
      "start_epoch_initial: 2, start_epoch_max: 4, growth_iterations: 5, "
      "find_range: false, batch: 9, image_learning_rate: 7, image_momentum: "
      "0.1, step_size: "
      "0.03, step_size_learning_rate: 0.0002, step_size_momentum: 0.2, "
      "step_size_form: clamped, labels: soft_learned, label_experts: first, "
      "label_epoch: 3, label_learning_rate: 4, label_momentum: 0.3, "
      "skip_threshold: 1.5, pixel_ema: 0.4, mask_from: 0.1, mask_to: 0.3, "
      "mask_smallest: 0.2, trajectories_per_step: 2, augmentation: [crop], "
      "snapshot_interval: 5, probe_interval: 6}}\n"
      "experts: {count: 3, epochs: 8, batch: 32, learning_rate: 0.02, "
      "momentum: 0.5, weight_decay: 0.001, optimizer: gsam, gsam_rho: 0.1, "
      "gsam_alpha: 0.2, augmentation: [none], seed: 5, group: 2, schedule: "
      "{initial_share: 0.5, growth_epochs: 2, removals: [{after_epoch: 5, "
      "share: 0.2}], gradual: true, score: file, score_runs: 4, score_epoch: "
      "6, score_file: scores.npy}}\n"
      "synthesis: {init: noise}\n"
      "sequence: {seqmatch: {segments: [4, 3]}}\n"
      "evaluation: {protocol: validation, orders: [staged, union]}\n";
  const ExpandedSpec once = Expand(yaml);
  const ExpertSpec& experts = once.spec.experts;
  EXPECT_EQ(experts.score, ScoreRule::kFile);
  EXPECT_EQ(experts.score_file, "scores.npy");
  EXPECT_TRUE(experts.training.schedule.gradual);
  EXPECT_EQ(once.spec.evaluation.orders,
            (std::vector{Order::kStaged, Order::kUnion}));
  const auto twice = ExpandSpec(once.proto);
  ASSERT_TRUE(twice.ok()) << twice.status();
  EXPECT_TRUE(MessageDifferencer::Equals(once.proto, twice->proto));
  EXPECT_EQ(once.spec.trajectory, twice->spec.trajectory);
  EXPECT_EQ(once.spec.experts, twice->spec.experts);
  EXPECT_EQ(once.spec.sequence, twice->spec.sequence);
  EXPECT_EQ(once.spec.evaluation, twice->spec.evaluation);
  // What was written is what is read.
  const v1::JobSpec given = Parse(yaml);
  v1::TrajectoryMatching matching = once.proto.matching().trajectory();
  EXPECT_TRUE(
      MessageDifferencer::Equals(given.matching().trajectory(), matching))
      << ToYaml(once.proto);
  EXPECT_TRUE(MessageDifferencer::Equals(given.experts(), once.proto.experts()))
      << ToYaml(once.proto);
}

}  // namespace
}  // namespace dasm
