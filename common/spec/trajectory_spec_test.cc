// Jobs that match trajectories: what is derived, displaced and refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/spec/job_spec_proto.h"
#include "common/spec/yaml.h"
#include "google/protobuf/util/message_differencer.h"

namespace dasm {
namespace {

using google::protobuf::util::MessageDifferencer;

v1::JobSpec Parse(const std::string& yaml) {
  const auto spec = ParseJobFile(yaml);
  EXPECT_TRUE(spec.ok()) << spec.status() << "\n" << yaml;
  return spec.ok() ? *spec : v1::JobSpec();
}

ExpandedSpec Expand(const std::string& yaml) {
  const auto expanded = ExpandSpec(Parse(yaml));
  EXPECT_TRUE(expanded.ok()) << expanded.status() << "\n" << yaml;
  return expanded.ok() ? *expanded : ExpandedSpec();
}

// Ten images of ten classes; 50 epochs of experts, start epochs below 20.
std::string Job(const std::string& matching, const std::string& more = "",
                const std::string& sequence = "one_segment: {}") {
  return "dataset: {name: cifar-10}\nimages_per_class: 10\n"
         "matching: {trajectory: {" +
         matching + "}}\nsequence: {" + sequence + "}\n" + more;
}

TEST(TrajectorySpec, SeqMatchHasTwoSubsetsThatTheStudentSeesTogether) {
  const ExpandedSpec e = Expand(Job("", "", "seqmatch: {}"));
  EXPECT_EQ(e.spec.Method(), "seqmatch");
  EXPECT_EQ(e.spec.sequence.segments, (std::vector{5, 5}));
  EXPECT_TRUE(e.spec.sequence.visible_earlier);
  EXPECT_EQ(e.spec.sequence.pool, PoolRule::kAll);
  EXPECT_EQ(e.spec.evaluation.orders, std::vector{Order::kCumulative});
  EXPECT_TRUE(e.spec.evaluation.prefixes);
  ASSERT_EQ(e.spec.sequence.stages.size(), 2u);
  EXPECT_EQ(e.spec.sequence.stages[0].expert_epochs, 50);
  // As many as the interval needs: 20 - 1 + 2.
  EXPECT_EQ(e.spec.sequence.stages[1].expert_epochs, 21);
  EXPECT_EQ(e.origins.at("sequence.seqmatch.segments"), "derived");
  EXPECT_EQ(e.origins.at("sequence.seqmatch.stages"), "derived");
  EXPECT_EQ(Expand("dataset: {name: cifar-10}\nimages_per_class: 50\n"
                   "matching: {trajectory: {}}\n"
                   "sequence: {seqmatch: {segments: [17, 17, 16]}}\n")
                .spec.sequence.stages.size(),
            3u);
}

TEST(TrajectorySpec, DasmIsEvaluatedInEveryOrder) {
  const JobSpec spec =
      Expand(Job("", "",
                 "dasm: {union: true, stages: [{}, {iterations: 7, "
                 "matched_epochs: 1, expert_epochs: 25}]}"))
          .spec;
  EXPECT_EQ(spec.Method(), "dasm-trajectory");
  EXPECT_TRUE(spec.sequence.visible_earlier);
  EXPECT_EQ(spec.evaluation.orders,
            (std::vector{Order::kCumulative, Order::kStaged, Order::kUnion}));
  EXPECT_EQ(spec.sequence.stages[0].iterations, 5000);
  EXPECT_EQ(spec.sequence.stages[1].iterations, 7);
  EXPECT_EQ(spec.sequence.stages[1].student_steps, 30);
  EXPECT_EQ(spec.sequence.stages[1].matched_epochs, 1);
  EXPECT_EQ(spec.sequence.stages[1].expert_epochs, 25);
}

TEST(TrajectorySpec, OneStageIsTheJobsOwnNumbers) {
  const ExpandedSpec e =
      Expand(Job("", "",
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
      *Expand(Job("start_epoch_initial: 5")).spec.trajectory;
  EXPECT_EQ(fixed.start_epoch_initial, 20);
  const TrajectoryMatchingSpec growing =
      *Expand(Job("start_epoch_initial: 5, growth_iterations: 100"))
           .spec.trajectory;
  EXPECT_EQ(growing.start_epoch_initial, 5);
  // A later stage need not grow because the first does.
  const JobSpec stages =
      Expand(Job("start_epoch_initial: 5, growth_iterations: 100", "",
                 "seqmatch: {stages: [{}, {start_epoch_max: 3, "
                 "growth_iterations: 0}]}"))
          .spec;
  EXPECT_EQ(stages.sequence.stages[0].start_epoch_initial, 5);
  EXPECT_EQ(stages.sequence.stages[1].start_epoch_initial, 3);
}

TEST(TrajectorySpec, AFoundRangeNeedsNone) {
  EXPECT_TRUE(Expand(Job("find_range: true, growth_iterations: 100",
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

TEST(TrajectorySpec, SequencesDisplaceEachOther) {
  const JobSpec one = Expand(
                          "preset: dasm-trajectory/cifar-10/ipc10\n"
                          "sequence: {one_segment: {}}\n")
                          .spec;
  EXPECT_EQ(one.Method(), "trajectory");
  EXPECT_EQ(one.trajectory->labels, Labels::kSoftLearned);
  EXPECT_EQ(Expand("preset: seqmatch/cifar-10/ipc10\nsequence: {dasm: {}}\n")
                .spec.Method(),
            "dasm-trajectory");
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
  const ExpandedSpec e =
      Expand(Job("",
                 "experts: {schedule: {initial_share: 1, growth_epochs: "
                 "9, gradual: true, score: grand}}\n"));
  EXPECT_EQ(e.spec.experts, Expand(Job("")).spec.experts);
  EXPECT_FALSE(e.proto.experts().has_schedule());
}

TEST(TrajectorySpec, LabelsThatAreNotLearnedHaveNoRate) {
  EXPECT_EQ(
      Expand(Job("labels: soft_learned")).spec.trajectory->label_learning_rate,
      2);
  EXPECT_EQ(Expand(Job("labels: soft_fixed, label_learning_rate: 3"))
                .spec.trajectory->label_learning_rate,
            0);
  EXPECT_EQ(Expand(Job("labels: soft_learned")).spec.evaluation.training.batch,
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

TEST(TrajectorySpec, NetworksAreNamedByWhatTheyHave) {
  const ExpandedSpec e = Expand(
      Job("",
          "network: {name: resnet18, norm: batch}\n"
          "evaluation: {networks: [resnet18, convnet, mlp, lenet, alexnet, "
          "vgg11, vgg11-batch, resnet18-instance, resnet18-ap, "
          "resnet18-ap-batch, convnet-batch, convnet-d4]}\n"));
  EXPECT_EQ(e.spec.network.depth, 0);
  EXPECT_EQ(e.spec.network.width, 0);
  EXPECT_FALSE(e.proto.network().has_depth());
  std::vector<std::string> names;
  for (const NetworkSpec& network : e.spec.evaluation.networks) {
    names.push_back(network.ToString());
  }
  EXPECT_EQ(names,
            (std::vector<std::string>{
                "resnet18-batch", "convnet-d3-w128-instance", "mlp", "lenet",
                "alexnet", "vgg11-instance", "vgg11-batch", "resnet18-instance",
                "resnet18-ap-instance", "resnet18-ap-batch",
                "convnet-d3-w128-batch", "convnet-d4-w128-instance"}));
  // Another network than the preset's leaves its depth behind.
  EXPECT_EQ(Expand("preset: mtt/tiny-imagenet/ipc1\n"
                   "network: {name: resnet18}\n")
                .spec.network.ToString(),
            "resnet18-instance");
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

struct Refused {
  std::string yaml;
  const char* field;
  const char* says;
};

void ExpectRefused(const std::vector<Refused>& cases) {
  for (const Refused& c : cases) {
    const auto expanded = ExpandSpec(Parse(c.yaml));
    ASSERT_EQ(expanded.status().code(), absl::StatusCode::kInvalidArgument)
        << c.yaml;
    EXPECT_EQ(FieldOf(expanded.status()), c.field) << c.yaml << "\n"
                                                   << expanded.status();
    EXPECT_NE(std::string(expanded.status().message()).find(c.says),
              std::string::npos)
        << c.yaml << "\n"
        << expanded.status();
  }
}

TEST(TrajectorySpec, StartEpochsThatTheExpertsDoNotReachAreRefused) {
  ExpectRefused({
      {Job("start_epoch_max: 50"), "experts.epochs",
       "50 epochs end before start_epoch_max 50 - 1 + matched_epochs 2 = 51: "
       "use at least 51"},
      {Job("start_epoch_max: 4", "experts: {epochs: 4}"), "experts.epochs",
       "= 5: use at least 5"},
      {Job("matched_epochs: 40"), "experts.epochs", "= 59"},
      {Job("", "",
           "seqmatch: {stages: [{}, {start_epoch_max: 9, expert_epochs: 9}]}"),
       "sequence.seqmatch.stages[1].expert_epochs", "= 10: use at least 10"},
      {Job("", "", "dasm: {stages: [{expert_epochs: 20}, {}]}"),
       "sequence.dasm.stages[0].expert_epochs", "use at least 21"},
      {Job("find_range: true", "experts: {epochs: 1}"), "experts.epochs",
       "below matched_epochs 2"},
      {Job("start_epoch_min: 20"), "matching.trajectory.start_epoch_max",
       "not above start_epoch_min 20"},
      {Job("start_epoch_min: 3, start_epoch_initial: 3, growth_iterations: 9"),
       "matching.trajectory.start_epoch_initial", "not above start_epoch_min"},
      {Job("start_epoch_initial: 21"),
       "matching.trajectory.start_epoch_initial", "start_epoch_max 20"},
      {Job("growth_iterations: 9"), "matching.trajectory.start_epoch_initial",
       "is required with growth_iterations"},
      {Job("", "", "seqmatch: {stages: [{}, {start_epoch_min: 20}]}"),
       "matching.trajectory.start_epoch_max", "not above start_epoch_min 20"},
      {Job("", "",
           "seqmatch: {stages: [{}, {start_epoch_min: 2, "
           "start_epoch_max: 2}]}"),
       "sequence.seqmatch.stages[1].start_epoch_max", "not above"},
      {Job("labels: soft_fixed, label_epoch: 51"),
       "matching.trajectory.label_epoch", "above the 50 epochs"},
      {Job("labels: soft_fixed, label_epoch: 30", "", "dasm: {}"),
       "matching.trajectory.label_epoch", "21 epochs of segment 2"},
      {Job("label_epoch: -2"), "matching.trajectory.label_epoch", "outside"},
  });
}

TEST(TrajectorySpec, ABatchAboveTheSetIsRefusedWhereClassesAreKnown) {
  ExpectRefused({
      {Job("batch: 101"), "matching.trajectory.batch",
       "101 is above the 100 images"},
      {Job("batch: 101"), "matching.trajectory.batch", "write 0"},
      {Job("batch: 60", "", "dasm: {}"), "sequence.dasm.stages[0].batch",
       "above the 50"},
      {Job("", "", "seqmatch: {stages: [{}, {batch: 101}]}"),
       "sequence.seqmatch.stages[1].batch", "above the 100"},
      {Job("batch: -1"), "matching.trajectory.batch", "outside"},
  });
  // The second student sees both subsets.
  EXPECT_EQ(Expand(Job("", "", "seqmatch: {stages: [{}, {batch: 100}]}"))
                .spec.sequence.stages[1]
                .batch,
            100);
  EXPECT_EQ(Expand(Job("batch: 100")).spec.trajectory->batch, 100);
}

TEST(TrajectorySpec, NumbersOutOfRangeAreRefused) {
  ExpectRefused({
      {Job("step_size: 0"), "matching.trajectory.step_size", "excluded"},
      {Job("step_size: -0.1"), "matching.trajectory.step_size", "excluded"},
      {Job("", "", "seqmatch: {stages: [{}, {step_size: -1}]}"),
       "sequence.seqmatch.stages[1].step_size", "excluded"},
      {Job("step_size_learning_rate: -1"),
       "matching.trajectory.step_size_learning_rate", "outside"},
      {Job("image_learning_rate: 0"), "matching.trajectory.image_learning_rate",
       "excluded"},
      {Job("image_momentum: 1"), "matching.trajectory.image_momentum",
       "excluded"},
      {Job("iterations: 0"), "matching.trajectory.iterations", "outside"},
      {Job("student_steps: 0"), "matching.trajectory.student_steps", "outside"},
      {Job("matched_epochs: 0"), "matching.trajectory.matched_epochs",
       "outside"},
      {Job("pixel_ema: 1"), "matching.trajectory.pixel_ema", "excluded"},
      {Job("skip_threshold: -1"), "matching.trajectory.skip_threshold",
       "outside"},
      {Job("mask_from: 0.5, mask_to: 0.4"), "matching.trajectory.mask_to",
       "below mask_from 0.5"},
      {Job("mask_from: 0.5"), "matching.trajectory.mask_to", "below mask_from"},
      {Job("mask_to: 1"), "matching.trajectory.mask_to", "every parameter"},
      {Job("mask_to: 1.5"), "matching.trajectory.mask_to", "outside"},
      {Job("mask_smallest: 1"), "matching.trajectory.mask_smallest",
       "excluded"},
      {Job("trajectories_per_step: 0"),
       "matching.trajectory.trajectories_per_step", "outside"},
      {Job("augmentation: [flip, none]"), "matching.trajectory.augmentation",
       "alone"},
      {Job("snapshot_interval: 2"), "matching.trajectory.snapshot_interval",
       "2500 sets"},
      {Job("", "experts: {count: 0}"), "experts.count", "outside"},
      {Job("", "experts: {epochs: 0}"), "experts.epochs", "outside"},
      {Job("", "experts: {learning_rate: 0}"), "experts.learning_rate",
       "excluded"},
      {Job("", "experts: {gsam_rho: -1}"), "experts.gsam_rho", "outside"},
      {Job("", "experts: {group: 0}"), "experts.group", "outside"},
      {"preset: mtt/cifar-10/ipc1\ndataset: {validation: 0.6}",
       "dataset.validation", "outside 0 to 0.5"},
  });
  v1::JobSpec spec = Parse(Job(""));
  spec.mutable_matching()->mutable_trajectory()->set_step_size(
      std::numeric_limits<float>::infinity());
  EXPECT_EQ(FieldOf(ExpandSpec(spec).status()),
            "matching.trajectory.step_size");
  spec = Parse(Job("", "", "dasm: {stages: [{}, {}]}"));
  spec.mutable_sequence()->mutable_dasm()->mutable_stages(1)->set_step_size(
      std::nanf(""));
  EXPECT_EQ(FieldOf(ExpandSpec(spec).status()),
            "sequence.dasm.stages[1].step_size");
}

TEST(TrajectorySpec, PartsThatContradictEachOtherAreRefused) {
  const std::string idc =
      "dataset: {name: cifar-10}\nimages_per_class: 10\n"
      "sequence: {one_segment: {}}\n";
  const std::string folder =
      "images_per_class: 1\nmatching: {trajectory: {}}\n"
      "sequence: {one_segment: {}}\n";
  ExpectRefused({
      {Job("labels: soft_learned", "evaluation: {recipe: idc}"),
       "evaluation.recipe", "use recipe trajectory, or labels hard"},
      {Job("labels: soft_fixed", "evaluation: {recipe: dc}"),
       "evaluation.recipe", "soft"},
      {Job("labels: teacher", "evaluation: {recipe: idc}"), "evaluation.recipe",
       "soft"},
      {Job("labels: soft_learned, label_learning_rate: 0"),
       "matching.trajectory.label_learning_rate", "labels: soft_fixed"},
      {Job("labels: soft_fixed", "synthesis: {init: noise}"),
       "matching.trajectory.label_experts", "use first"},
      {Job("", "synthesis: {factor: 2}"), "synthesis.factor", "use 1"},
      {Job("", "resources: {exchange: deferred}"), "resources.exchange",
       "use every_step"},
      {Job("", "execution: {micro_batch: 8}\nnetwork: {norm: batch}"),
       "execution.micro_batch", "use 0"},
      {Job("", "evaluation: {protocol: paper}"),
       "matching.trajectory.snapshot_interval", "or use protocol last"},
      {Job("", "evaluation: {protocol: validation}"),
       "matching.trajectory.snapshot_interval", "nothing to choose"},
      {Job("snapshot_interval: 500", "evaluation: {protocol: validation}"),
       "dataset.validation", "is required"},
      {idc + "evaluation: {protocol: paper}", "evaluation.protocol",
       "use last"},
      {idc + "synthesis: {init: correct}", "synthesis.init", "use real"},
      {idc + "experts: {count: 3}", "experts", "match trajectories"},
      {idc + "evaluation: {recipe: trajectory, learning_rate: 0}",
       "evaluation.learning_rate", "give a rate"},
      {Job("", "evaluation: {cutmix: 0.5}"), "evaluation.cutmix", "use 0"},
      {Job("", "evaluation: {orders: [union, union]}", "dasm: {}"),
       "evaluation.orders", "twice"},
      {Job("", "evaluation: {steps: 100}", "dasm: {}"), "evaluation.steps",
       "give evaluation.epochs"},
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

TEST(TrajectorySpec, SequencesThatDoNotFitAreRefused) {
  const std::string gradient =
      "dataset: {name: cifar-10}\nimages_per_class: 10\n";
  ExpectRefused({
      {Job("", "", "dasm: {stages: [{}]}"), "sequence.dasm.stages",
       "1 stages for 2 segments"},
      {Job("", "", "seqmatch: {segments: [5, 4]}"),
       "sequence.seqmatch.segments", "sums to 9"},
      {Job("", "", "seqmatch: {segments: [10, 0]}"),
       "sequence.seqmatch.segments", "at least 1"},
      {Job("", "", "seqmatch: {}, dasm: {}"), "sequence", "only one of"},
      {"dataset: {name: cifar-10}\nimages_per_class: 10\n"
       "matching: {trajectory: {}}\n",
       "sequence", "seqmatch: {}"},
      {gradient + "sequence: {seqmatch: {}}", "sequence.seqmatch",
       "give matching.trajectory"},
      {gradient + "sequence: {dasm: {stages: [{}, {}]}}",
       "sequence.dasm.stages", "match trajectories"},
      {gradient + "sequence: {dasm: {union: true}}", "sequence.dasm.union",
       "leave it out"},
  });
}

TEST(TrajectorySpec, SchedulesThatCannotBeFollowedAreRefused) {
  const auto with = [](const std::string& schedule) {
    return Job("", "experts: {schedule: {" + schedule + "}}");
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

TEST(TrajectorySpec, NetworksThatDoNotExistOrDoNotDistilAreRefused) {
  ExpectRefused({
      {Job("", "network: {name: resnet81}"), "network.name",
       "did you mean \"resnet18\"?"},
      {Job("", "network: {name: resnet18, depth: 18}"), "network.depth",
       "convnet's alone"},
      {Job("", "network: {name: resnet18, width: 64}"), "network.width",
       "leave it out"},
      {Job("", "network: {name: resnet18, norm: none}"), "network.norm",
       "instance or batch"},
      {Job("", "network: {name: mlp, norm: batch}"), "network.norm",
       "has no norm"},
      {Job("", "network: {name: vgg11}"), "network.name",
       "distil with convnet or resnet18"},
      {Job("", "network: {name: resnet18-ap}"), "network.name",
       "evaluation.networks"},
      {"preset: idc/cifar-10/ipc1\nnetwork: {name: resnet18}", "network.name",
       "distil with convnet"},
      {Job("", "evaluation: {networks: [resnet18-w64]}"),
       "evaluation.networks[0]", "is not a network"},
      {Job("", "evaluation: {networks: [mlp-batch]}"),
       "evaluation.networks[0].norm", "has no norm"},
      {Job("", "evaluation: {networks: [vgg11-none]}"),
       "evaluation.networks[0].norm", "needs a norm"},
      {Job("", "evaluation: {networks: [vgg11, vgg11-instance]}"),
       "evaluation.networks[1]", "listed twice"},
  });
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

TEST(TrajectorySpec, WhatTheDatasetRefusesIsNamed) {
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
