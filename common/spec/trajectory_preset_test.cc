#include "common/spec/trajectory_preset.h"

#include <set>
#include <string>
#include <vector>

#include "common/spec/job_spec_proto.h"
#include "common/spec/spec_for_tests.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using enum Augmentation;

// Of the data sets that are folders.
DatasetFacts Facts(const std::string& name) {
  if (name.find("/tiny-imagenet/") != std::string::npos) {
    return {.classes = 200,
            .channels = 3,
            .height = 64,
            .width = 64,
            .train_images = 100000,
            .smallest_class = 500};
  }
  if (name.find("/imagenet-1k/") != std::string::npos) {
    return {.classes = 1000,
            .channels = 3,
            .height = 64,
            .width = 64,
            .train_images = 1281167,
            .smallest_class = 732};
  }
  return {.classes = 10,
          .channels = 3,
          .height = 128,
          .width = 128,
          .train_images = 9469,
          .smallest_class = 858};
}

TEST(TrajectoryPreset, EveryOneMatchesTrajectoriesOfItsExperts) {
  std::set<std::string> names;
  for (const TrajectoryPreset& preset : TrajectoryPresets()) {
    const std::string& name = preset.info.name;
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_FALSE(preset.info.source.empty()) << name;
    const JobSpec spec = ExpandPreset(name);
    ASSERT_TRUE(spec.trajectory.has_value()) << name;
    EXPECT_EQ(spec.evaluation.protocol, Protocol::kLast);
    EXPECT_EQ(spec.evaluation.training.recipe, Recipe::kTrajectory);
    EXPECT_EQ(spec.evaluation.training.learning_rate, 0);
    EXPECT_EQ(spec.evaluation.training.momentum, 0.9);
    EXPECT_EQ(spec.evaluation.training.weight_decay, 5e-4);
    EXPECT_EQ(spec.evaluation.training.cutmix, 0);
    EXPECT_EQ(spec.synthesis.factor, 1);
    EXPECT_EQ(spec.trajectory->image_momentum, 0.5);
    EXPECT_EQ(spec.trajectory->step_size_momentum, 0.5);
    EXPECT_EQ(spec.trajectory->label_momentum, 0.9);
    EXPECT_EQ(spec.experts.training.batch, 256);
    EXPECT_EQ(spec.experts.training.learning_rate, 0.01);
    EXPECT_EQ(spec.experts.training.momentum, 0);
    EXPECT_EQ(spec.experts.training.weight_decay, 0);
    if (spec.dataset.name == "custom") {
      const absl::Status fits = ValidateAgainstDataset(spec, Facts(name));
      EXPECT_TRUE(fits.ok()) << name << ": " << fits;
    }
  }
  // MTT, FTD, TESLA, DATM, PAD, SeqMatch, DASM, and for each of three data sets
  // the quick ones: five methods at two sizes, two in segments.
  EXPECT_EQ(names.size(), 27u + 20 + 3 + 31 + 23 + 14 + 11 + 3 * (5 * 2 + 2));
}

// The range of start epochs, N, M and the rest of a table's row.
void ExpectRow(const std::string& name, int n, int m, int t_min, int t_first,
               int t_max, int growth, int batch, double image_rate,
               double step_rate, double step) {
  const JobSpec spec = ExpandPreset(name);
  ASSERT_TRUE(spec.trajectory.has_value()) << name;
  const TrajectoryMatchingSpec& t = *spec.trajectory;
  EXPECT_EQ(t.student_steps, n) << name;
  EXPECT_EQ(t.matched_epochs, m) << name;
  EXPECT_EQ(t.start_epoch_min, t_min) << name;
  EXPECT_EQ(t.start_epoch_initial, t_first) << name;
  EXPECT_EQ(t.start_epoch_max, t_max) << name;
  EXPECT_EQ(t.growth_iterations, growth) << name;
  EXPECT_EQ(t.batch, batch) << name;
  EXPECT_EQ(t.image_learning_rate, image_rate) << name;
  EXPECT_EQ(t.step_size_learning_rate, step_rate) << name;
  EXPECT_EQ(t.step_size, step) << name;
}

TEST(TrajectoryPreset, MttHasItsAuthorsNumbers) {
  ExpectRow("mtt/cifar-10/ipc1", 50, 2, 0, 2, 2, 0, 0, 100, 1e-7, 0.01);
  ExpectRow("mtt/cifar-10/ipc10", 30, 2, 0, 20, 20, 0, 0, 100, 1e-5, 0.001);
  ExpectRow("mtt/cifar-100/ipc1", 20, 3, 0, 20, 20, 0, 0, 1000, 1e-5, 0.01);
  ExpectRow("mtt/cifar-100/ipc50", 80, 2, 0, 40, 40, 0, 125, 1000, 1e-5, 0.01);
  ExpectRow("mtt/tiny-imagenet/ipc50", 20, 2, 0, 40, 40, 0, 300, 1e4, 1e-4,
            0.01);
  ExpectRow("mtt/imagewoof/ipc1", 20, 2, 0, 10, 10, 0, 0, 1e5, 1e-6, 0.01);
  ExpectRow("mtt/imagewoof/ipc1/repo", 20, 2, 0, 10, 10, 0, 0, 1000, 1e-6,
            0.01);
  const JobSpec spec = ExpandPreset("mtt/cifar-10/ipc1");
  EXPECT_EQ(spec.trajectory->iterations, 5000);
  EXPECT_EQ(spec.trajectory->labels, Labels::kHard);
  EXPECT_EQ(spec.trajectory->skip_threshold, 0);
  EXPECT_EQ(spec.trajectory->estimator, Estimator::kStepAdjoint);
  EXPECT_EQ(spec.trajectory->augmentation,
            (std::vector{kColor, kCrop, kCutout, kFlip, kScale, kRotate}));
  EXPECT_EQ(spec.experts.count, 100);
  EXPECT_EQ(spec.experts.training.epochs, 50);
  EXPECT_EQ(spec.experts.training.optimizer, ExpertOptimizer::kSgd);
  EXPECT_EQ(spec.evaluation.training.batch, 256);
  EXPECT_EQ(spec.evaluation.epochs, 1000);
  EXPECT_EQ(spec.evaluation.baselines, std::vector{Baseline::kRandom});
  EXPECT_EQ(spec.dataset.preprocessing, Preprocessing::kZca);
  EXPECT_EQ(ExpandPreset("mtt/cifar-10/ipc50").dataset.preprocessing,
            Preprocessing::kNormalize);
  EXPECT_EQ(ExpandPreset("mtt/tiny-imagenet/ipc1").network.depth, 4);
  EXPECT_EQ(ExpandPreset("mtt/imagenette/ipc1").network.depth, 5);
  EXPECT_EQ(ExpandPreset("mtt/imagenette/ipc1").dataset.image_size, 128);
}

TEST(TrajectoryPreset, FtdHasFlatExpertsAndAMovingAverage) {
  ExpectRow("ftd/cifar-10/ipc50", 30, 2, 0, 40, 40, 0, 0, 1000, 1e-5, 0.01);
  ExpectRow("ftd/cifar-100/ipc1", 40, 3, 0, 20, 20, 0, 0, 1000, 1e-5, 0.01);
  ExpectRow("ftd/cifar-100/ipc50", 80, 2, 0, 40, 40, 0, 1000, 1000, 1e-5, 0.01);
  ExpectRow("ftd/tiny-imagenet/ipc10", 20, 2, 0, 40, 40, 0, 500, 1e4, 1e-4,
            0.01);
  ExpectRow("ftd/imagefruit/ipc10", 20, 2, 0, 10, 10, 0, 64, 1e4, 1e-4, 0.001);
  const JobSpec one = ExpandPreset("ftd/cifar-10/ipc1");
  EXPECT_EQ(one.trajectory->pixel_ema, 0.9999);
  EXPECT_EQ(one.experts.training.optimizer, ExpertOptimizer::kGsam);
  EXPECT_EQ(one.experts.training.gsam_rho, 0.01);
  EXPECT_EQ(one.experts.training.gsam_alpha, 0.3);
  EXPECT_EQ(one.experts.training.epochs, 50);
  const JobSpec fifty = ExpandPreset("ftd/cifar-10/ipc50");
  EXPECT_EQ(fifty.trajectory->pixel_ema, 0.999);
  EXPECT_EQ(fifty.experts.training.gsam_alpha, 1);
}

TEST(TrajectoryPreset, TeslaHalvesTheReleasedImageRate) {
  ExpectRow("tesla/cifar-10/ipc1", 50, 2, 0, 5, 5, 0, 0, 500, 1e-7, 0.01);
  ExpectRow("tesla/cifar-100/ipc50", 80, 2, 0, 40, 40, 0, 125, 500, 1e-5, 0.01);
  ExpectRow("tesla/imagenet-1k/ipc1", 10, 3, 0, 10, 10, 0, 100, 5000, 1e-4,
            0.01);
  const JobSpec spec = ExpandPreset("tesla/imagenet-1k/ipc1");
  EXPECT_EQ(spec.trajectory->estimator, Estimator::kTesla);
  EXPECT_EQ(spec.trajectory->labels, Labels::kTeacher);
  EXPECT_EQ(spec.trajectory->iterations, 10000);
  EXPECT_EQ(spec.experts.count, 50);
  EXPECT_EQ(spec.network.depth, 4);
  EXPECT_EQ(ExpandPreset("tesla/cifar-10/ipc1").trajectory->labels,
            Labels::kHard);
}

TEST(TrajectoryPreset, DatmGrowsItsRangeAndLearnsLabels) {
  ExpectRow("datm/cifar-10/ipc1", 80, 2, 0, 4, 4, 0, 0, 100, 1e-7, 0.01);
  ExpectRow("datm/cifar-10/ipc50", 80, 2, 0, 20, 40, 2000, 0, 1000, 1e-5, 0.01);
  ExpectRow("datm/cifar-10/ipc1000", 80, 2, 40, 60, 60, 0, 1000, 50, 1e-5,
            0.01);
  ExpectRow("datm/cifar-10/ipc1000/repo", 100, 2, 40, 60, 60, 0, 1000, 50, 1e-5,
            0.01);
  ExpectRow("datm/cifar-100/ipc1", 40, 3, 0, 10, 20, 1000, 0, 1000, 1e-5, 0.01);
  ExpectRow("datm/tiny-imagenet/ipc50", 80, 2, 40, 70, 70, 0, 250, 100, 1e-4,
            0.01);
  ExpectRow("datm/cifar-10/ipc500/resnet18/repo", 30, 2, 20, 46, 48, 22, 1000,
            50, 1e-5, 0.01);
  ExpectRow("datm/imagenette/ipc200/repo", 60, 2, 30, 36, 40, 1, 100, 50, 1e-6,
            0.001);

  const JobSpec spec = ExpandPreset("datm/cifar-10/ipc10");
  EXPECT_EQ(spec.trajectory->labels, Labels::kSoftLearned);
  EXPECT_EQ(spec.trajectory->label_learning_rate, 2);
  EXPECT_EQ(spec.trajectory->label_experts, LabelExperts::kAllCorrect);
  EXPECT_EQ(spec.trajectory->label_epoch, -1);
  EXPECT_EQ(spec.trajectory->skip_threshold, 1);
  EXPECT_EQ(spec.trajectory->pixel_ema, 0);
  EXPECT_EQ(spec.trajectory->iterations, 10000);
  EXPECT_EQ(spec.synthesis.init, Init::kCorrect);
  EXPECT_EQ(spec.experts.training.epochs, 100);
  EXPECT_EQ(spec.experts.training.optimizer, ExpertOptimizer::kGsam);
  EXPECT_EQ(spec.experts.training.gsam_alpha, 0.3);
  EXPECT_FALSE(spec.experts.training.schedule.enabled);
  EXPECT_EQ(spec.evaluation.training.batch, 128);
  EXPECT_EQ(spec.dataset.preprocessing, Preprocessing::kZca);
  EXPECT_EQ(ExpandPreset("datm/tiny-imagenet/ipc10").dataset.preprocessing,
            Preprocessing::kZca);
  EXPECT_EQ(ExpandPreset("datm/cifar-10/ipc1").trajectory->skip_threshold, 1.1);
  EXPECT_EQ(ExpandPreset("datm/cifar-10/ipc1").trajectory->label_learning_rate,
            5);
  const JobSpec real = ExpandPreset("datm/cifar-100/ipc50/repo");
  EXPECT_EQ(real.synthesis.init, Init::kReal);
  EXPECT_EQ(real.trajectory->label_experts, LabelExperts::kFirst);
  EXPECT_EQ(ExpandPreset("datm/cifar-10/ipc1000/resnet18-batch/repo")
                .network.ToString(),
            "resnet18-batch");
  EXPECT_EQ(ExpandPreset("datm/cifar-10/ipc1000/convnet-batch/repo")
                .network.ToString(),
            "convnet-d3-w128-batch");
}

TEST(TrajectoryPreset, PadMasksAndOrdersItsData) {
  ExpectRow("pad/cifar-10/ipc10", 80, 2, 0, 10, 20, 1000, 0, 100, 1e-5, 0.01);
  ExpectRow("pad/cifar-10/ipc50/repo", 80, 3, 0, 20, 40, 2000, 0, 1000, 1e-5,
            0.01);
  ExpectRow("pad/cifar-100/ipc50", 80, 2, 40, 60, 80, 2000, 1000, 1000, 1e-5,
            0.01);
  ExpectRow("pad/tiny-imagenet/ipc1", 60, 2, 0, 15, 30, 6000, 0, 1e4, 1e-4,
            0.01);
  const JobSpec spec = ExpandPreset("pad/cifar-10/ipc10");
  EXPECT_EQ(spec.trajectory->mask_from, 0);
  EXPECT_EQ(spec.trajectory->mask_to, 0.25);
  EXPECT_EQ(ExpandPreset("pad/cifar-10/ipc10/repo").trajectory->mask_to, 0.5);
  EXPECT_EQ(ExpandPreset("pad/cifar-10/ipc1000").trajectory->mask_to, 0.75);
  EXPECT_EQ(ExpandPreset("pad/cifar-10/ipc1").trajectory->mask_to, 0);
  const DataScheduleSpec& schedule = spec.experts.training.schedule;
  EXPECT_TRUE(schedule.enabled);
  EXPECT_EQ(schedule.initial_share, 0.75);
  EXPECT_EQ(schedule.growth_epochs, 20);
  EXPECT_EQ(schedule.removals,
            (std::vector<DataScheduleSpec::Removal>{{40, 0.1}, {60, 0.2}}));
  EXPECT_FALSE(schedule.gradual);
  EXPECT_EQ(spec.experts.score, ScoreRule::kEl2n);
  EXPECT_EQ(spec.experts.score_runs, 10);
  EXPECT_EQ(spec.experts.score_epoch, 20);
  const ExpertTraining tiny =
      ExpandPreset("pad/tiny-imagenet/ipc1").experts.training;
  EXPECT_EQ(tiny.schedule.growth_epochs, 40);
  EXPECT_EQ(tiny.schedule.removals,
            (std::vector<DataScheduleSpec::Removal>{{40, 0.1}}));
  EXPECT_EQ(spec.evaluation.training.batch, 128);
}

TEST(TrajectoryPreset, SeqMatchHasAStageForEverySubset) {
  const JobSpec ten = ExpandPreset("seqmatch/cifar-10/ipc10");
  EXPECT_EQ(ten.Method(), "seqmatch");
  EXPECT_EQ(ten.sequence.segments, (std::vector{5, 5}));
  ASSERT_EQ(ten.sequence.stages.size(), 2u);
  EXPECT_EQ(ten.sequence.stages[0], (StageSpec{.iterations = 5000,
                                               .student_steps = 30,
                                               .matched_epochs = 2,
                                               .start_epoch_min = 0,
                                               .start_epoch_initial = 18,
                                               .start_epoch_max = 18,
                                               .growth_iterations = 0,
                                               .batch = 50,
                                               .step_size = 0.001,
                                               .expert_epochs = 50}));
  EXPECT_EQ(ten.sequence.stages[1], (StageSpec{.iterations = 5000,
                                               .student_steps = 80,
                                               .matched_epochs = 3,
                                               .start_epoch_min = 0,
                                               .start_epoch_initial = 7,
                                               .start_epoch_max = 7,
                                               .growth_iterations = 0,
                                               .batch = 50,
                                               .step_size = 0.001,
                                               .expert_epochs = 9}));
  EXPECT_TRUE(ten.sequence.visible_earlier);
  EXPECT_EQ(ten.evaluation.orders, std::vector{Order::kCumulative});
  EXPECT_TRUE(ten.evaluation.prefixes);

  const JobSpec fifty = ExpandPreset("seqmatch/cifar-10/ipc50");
  EXPECT_EQ(fifty.sequence.segments, (std::vector{17, 17, 16}));
  EXPECT_EQ(fifty.sequence.stages[2].batch, 160);
  EXPECT_EQ(fifty.sequence.stages[0].step_size, 0.01);
  const JobSpec script = ExpandPreset("seqmatch/cifar-10/ipc50/repo");
  EXPECT_EQ(script.sequence.stages[0].step_size, 0.001);
  EXPECT_EQ(script.sequence.stages[2].step_size, 0.01);
  // Its second interval ends at 40, more than the 20 epochs of the script.
  EXPECT_EQ(
      ExpandPreset("seqmatch/cifar-100/ipc10").sequence.stages[1].expert_epochs,
      39);
  EXPECT_EQ(ExpandPreset("seqmatch/cifar-100/ipc50").sequence.stages[2].batch,
            125);
  EXPECT_EQ(ExpandPreset("seqmatch/imagefruit/ipc10")
                .sequence.stages[1]
                .start_epoch_max,
            8);
  const JobSpec ftd = ExpandPreset("seqmatch-ftd/imagenette/ipc10");
  EXPECT_EQ(ftd.sequence.stages[1].start_epoch_max, 3);
  EXPECT_EQ(ftd.experts.training.optimizer, ExpertOptimizer::kGsam);
  EXPECT_EQ(ftd.trajectory->pixel_ema, 0.999);
}

TEST(TrajectoryPreset, DasmTakesDatmsRowForItsFirstSegment) {
  const JobSpec spec = ExpandPreset("dasm-trajectory/cifar-10/ipc50");
  EXPECT_EQ(spec.Method(), "dasm-trajectory");
  EXPECT_EQ(spec.sequence.segments, (std::vector{25, 25}));
  EXPECT_EQ(spec.sequence.stages[0].start_epoch_initial, 20);
  EXPECT_EQ(spec.sequence.stages[0].start_epoch_max, 40);
  EXPECT_EQ(spec.sequence.stages[0].expert_epochs, 100);
  EXPECT_EQ(spec.sequence.stages[1].start_epoch_min, 0);
  EXPECT_EQ(spec.sequence.stages[1].start_epoch_max, 18);
  EXPECT_EQ(spec.sequence.stages[1].growth_iterations, 0);
  EXPECT_EQ(spec.sequence.stages[1].expert_epochs, 19);
  EXPECT_EQ(spec.trajectory->label_learning_rate, 2);
  EXPECT_FALSE(spec.sequence.visible_earlier);
  EXPECT_EQ(spec.sequence.pool, PoolRule::kMisclassified);
  EXPECT_EQ(spec.evaluation.orders,
            (std::vector{Order::kCumulative, Order::kStaged, Order::kUnion}));
  EXPECT_EQ(
      ExpandPreset("dasm-trajectory/cifar-10/ipc1000").sequence.stages.size(),
      20u);
}

TEST(TrajectoryPreset, QuickOnesAreSmallWhateverTheMethod) {
  for (const TrajectoryPreset& preset : TrajectoryPresets()) {
    if (!preset.info.name.ends_with("/quick")) continue;
    const JobSpec spec = ExpandPreset(preset.info.name);
    EXPECT_LE(spec.experts.count, 10) << preset.info.name;
    EXPECT_EQ(spec.experts.training.epochs, 5) << preset.info.name;
    EXPECT_EQ(spec.evaluation.epochs, 300) << preset.info.name;
    EXPECT_EQ(spec.network.width, 128) << preset.info.name;
    EXPECT_LE(spec.experts.score_runs,
              spec.experts.training.schedule.enabled ? 2 : 10);
    for (const StageSpec& stage : spec.sequence.stages) {
      EXPECT_LE(stage.iterations, 300) << preset.info.name;
      EXPECT_LE(stage.student_steps, 20) << preset.info.name;
      EXPECT_LE(stage.expert_epochs, 5) << preset.info.name;
    }
    if (spec.dataset.name == "mnist") {
      EXPECT_EQ(spec.trajectory->augmentation,
                (std::vector{kColor, kCrop, kCutout, kScale, kRotate}));
    }
    EXPECT_EQ(spec.trajectory->image_learning_rate,
              spec.dataset.name == "cifar-10" ? 1000 : 100)
        << preset.info.name;
    EXPECT_TRUE(spec.dataset.name == "cifar-10" ||
                spec.dataset.preprocessing == Preprocessing::kNormalize)
        << preset.info.name;
  }
}

TEST(TrajectoryPreset, ThePapersRowIsTheDefault) {
  EXPECT_EQ(
      ExpandPreset("datm/cifar-10/ipc1000/paper").trajectory->student_steps,
      80);
  EXPECT_FALSE(FindPreset("datm/cifar-10/ipc1000/repo/paper").ok());
  EXPECT_FALSE(FindPreset("mtt/cifar-10/ipc1/quick/paper").ok());
}

}  // namespace
}  // namespace dasm
