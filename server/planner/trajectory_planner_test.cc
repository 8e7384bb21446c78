#include "server/planner/trajectory_planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "common/spec/job_spec_proto.h"
#include "common/spec/known_dataset.h"
#include "common/spec/preset.h"
#include "server/planner/cifar_for_tests.h"
#include "server/planner/graph_for_tests.h"

namespace dasm {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;

constexpr char kEnd[] = "-convnet-d3-w128-instance-1";

// MTT with two experts.
JobSpec Spec(std::vector<int> segments = {10}) {
  JobSpec spec;
  spec.dataset.name = "cifar-10";
  for (const int s : segments) spec.images_per_class += s;
  spec.sequence.segments = std::move(segments);
  spec.trajectory.emplace();
  spec.experts.count = 2;
  spec.synthesis.factor = 1;
  spec.evaluation.training = {.recipe = Recipe::kTrajectory,
                              .batch = 256,
                              .learning_rate = 0,
                              .cutmix = 0};
  spec.evaluation.networks = {NetworkSpec()};
  spec.evaluation.repeats = 1;
  spec.evaluation.prefixes = false;
  return spec;
}

JobSpec SeqMatch() {
  JobSpec spec = Spec({17, 17, 16});
  spec.sequence.seqmatch = true;
  spec.sequence.visible_earlier = true;
  spec.evaluation.orders = {Order::kCumulative};
  for (const int epochs : {50, 21, 11}) {
    spec.sequence.stages.push_back({.iterations = 5000,
                                    .student_steps = 30,
                                    .matched_epochs = 2,
                                    .start_epoch_initial = epochs - 2,
                                    .start_epoch_max = epochs - 2,
                                    .step_size = 1.0 / epochs,
                                    .expert_epochs = epochs});
  }
  return spec;
}

JobSpec Dasm() {
  JobSpec spec = Spec({5, 5});
  spec.sequence.discriminators = 2;
  spec.evaluation.orders = {Order::kCumulative, Order::kStaged, Order::kUnion};
  return spec;
}

TaskGraph Plan(const JobSpec& spec) {
  const auto graph = PlanJob(spec, Cifar());
  EXPECT_TRUE(graph.ok()) << graph.status();
  return graph.ok() ? *graph : TaskGraph();
}

std::string ParametersJson(const TaskGraph& graph, const std::string& id) {
  return ToCanonicalJson(Find(graph, id).parameters);
}

TEST(PlanTrajectories, ExpertsStandBeforeTheSegment) {
  const TaskGraph graph = Plan(Spec());
  EXPECT_THAT(
      Ids(graph),
      ElementsAre("prepare", "experts-1", "experts-2", "segment-1", "assemble",
                  absl::StrCat("evaluate-synthetic", kEnd)));
  EXPECT_THAT(Inputs(graph, "experts-2"),
              ElementsAre("dataset=prepare:dataset"));
  EXPECT_THAT(
      Inputs(graph, "segment-1"),
      ElementsAre("dataset=prepare:dataset", "expert.1=experts-1:expert.1",
                  "expert.2=experts-2:expert.1"));
  EXPECT_THAT(
      Inputs(graph, "assemble"),
      ElementsAre("dataset=prepare:dataset", "segment.1=segment-1:segment",
                  "start.1=segment-1:start"));
}

TEST(PlanTrajectories, AGroupOfExpertsIsOneTask) {
  JobSpec spec = Spec();
  spec.experts.count = 5;
  spec.experts.group = 2;
  const TaskGraph graph = Plan(spec);
  const auto& last = Parameters<TrainExpertsParameters>(graph, "experts-3");
  EXPECT_EQ(last.first, 4);
  EXPECT_EQ(last.count, 1);
  EXPECT_THAT(Ids(graph), Not(Contains("experts-4")));
  EXPECT_THAT(Inputs(graph, "segment-1"),
              IsSupersetOf({"expert.2=experts-1:expert.2",
                            "expert.3=experts-2:expert.1",
                            "expert.5=experts-3:expert.1"}));
}

// Whatever differs between jobs is not in them.
TEST(PlanTrajectories, JobsShareTheirExperts) {
  const JobSpec one = Spec();
  JobSpec other = Spec({50});
  other.experts.count = 7;
  other.seed = 99;
  other.trajectory->student_steps = 80;
  other.trajectory->labels = Labels::kSoftLearned;
  other.trajectory->label_learning_rate = 2;
  other.synthesis.init = Init::kCorrect;
  other.execution.micro_batch = 8;
  other.execution.reduction = ReductionOrder::kFast;
  other.resources.ranks = 3;
  other.experts.training.gsam_rho = 7;                // plain SGD
  other.experts.training.schedule.growth_epochs = 3;  // not enabled
  other.evaluation.protocol = Protocol::kPaper;
  const TaskGraph a = Plan(one);
  const TaskGraph b = Plan(other);
  for (const char* id : {"experts-1", "experts-2"}) {
    EXPECT_EQ(ParametersJson(a, id), ParametersJson(b, id)) << id;
    EXPECT_EQ(Inputs(a, id), Inputs(b, id)) << id;
  }
  EXPECT_NE(ParametersJson(a, "segment-1"), ParametersJson(b, "segment-1"));
  // What shapes them is.
  other.experts.seed = 1;
  EXPECT_NE(ParametersJson(a, "experts-1"),
            ParametersJson(Plan(other), "experts-1"));
}

TEST(PlanTrajectories, EverybodyReadsTheWhitenedImages) {
  JobSpec spec = Spec();
  spec.dataset.preprocessing = Preprocessing::kZca;
  spec.evaluation.baselines = {Baseline::kRandom};
  const TaskGraph graph = Plan(spec);
  for (const PlannedTask& task : graph.tasks) {
    const auto dataset = task.inputs.find("dataset");
    if (task.id == "prepare") continue;
    ASSERT_NE(dataset, task.inputs.end()) << task.id;
    EXPECT_EQ(dataset->second.task, task.id == "whiten" ? "prepare" : "whiten")
        << task.id;
  }
  EXPECT_THAT(Inputs(graph, "assemble"), Contains("zca=whiten:zca"));
}

TEST(PlanTrajectories, EasyToHardExpertsNeedARanking) {
  JobSpec spec = Spec();
  spec.experts.training.schedule.enabled = true;
  spec.experts.score_runs = 2;
  spec.experts.score_epoch = 20;
  spec.experts.seed = 3;
  spec.seed = 9;
  const TaskGraph graph = Plan(spec);
  EXPECT_THAT(
      Inputs(graph, "experts-1"),
      ElementsAre("dataset=prepare:dataset", "ranking=ranking:ranking"));
  EXPECT_THAT(Inputs(graph, "ranking"),
              ElementsAre("dataset=prepare:dataset", "scores.1=scores-1:scores",
                          "scores.2=scores-2:scores"));
  const auto& network =
      Parameters<TrainDiscriminatorParameters>(graph, "score-net-2");
  EXPECT_TRUE(network.real);
  EXPECT_EQ(network.index, 1);
  EXPECT_EQ(network.seed, 3u);
  // 50,000 images in batches of 256.
  EXPECT_EQ(network.training.steps, 20 * 196);
  EXPECT_FALSE(Parameters<ScoreSamplesParameters>(graph, "scores-1").grand);
  spec.experts.score = ScoreRule::kGrand;
  EXPECT_TRUE(Parameters<ScoreSamplesParameters>(Plan(spec), "scores-1").grand);
}

TEST(PlanTrajectories, ARankingMayComeFromAFile) {
  JobSpec spec = Spec();
  spec.experts.training.schedule.enabled = true;
  spec.experts.score = ScoreRule::kFile;
  const TaskGraph graph = Plan(spec);
  const PlannedTask& ranking = Find(graph, "ranking");
  EXPECT_EQ(KindOf(ranking.parameters), "import_scores");
  ASSERT_EQ(ranking.source_files.size(), 1u);
  EXPECT_EQ(ranking.source_files[0].role, "scores");
  EXPECT_THAT(Ids(graph), Not(Contains("score-net-1")));
}

TEST(PlanTrajectories, ARangeIsFoundOnAHeldOutExpert) {
  JobSpec spec = Spec();
  spec.trajectory->find_range = true;
  spec.trajectory->start_epoch_max = 30;
  spec.trajectory->growth_iterations = 500;
  const TaskGraph graph = Plan(spec);
  EXPECT_EQ(Parameters<TrainExpertsParameters>(graph, "probe-expert").first, 2);
  EXPECT_THAT(Inputs(graph, "range"),
              IsSupersetOf({"expert.2=experts-2:expert.1",
                            "probe=probe-expert:expert.1"}));
  EXPECT_THAT(Inputs(graph, "segment-1"), Contains("range=range:range"));
  EXPECT_THAT(Inputs(graph, "segment-1"),
              Not(Contains("probe=probe-expert:expert.1")));
  const auto& segment =
      Parameters<MatchTrajectoriesParameters>(graph, "segment-1");
  EXPECT_TRUE(segment.matching.find_range);
  EXPECT_EQ(segment.matching.growth_iterations, 500);
  // What is found has no given value in any key.
  const std::string before = ParametersJson(graph, "segment-1");
  spec.trajectory->start_epoch_max = 20;
  EXPECT_EQ(ParametersJson(Plan(spec), "segment-1"), before);
}

TEST(PlanTrajectories, AProbeRecordsTheRun) {
  JobSpec spec = Spec();
  spec.trajectory->probe_interval = 100;
  const TaskGraph graph = Plan(spec);
  EXPECT_THAT(Inputs(graph, "segment-1"),
              Contains("probe=probe-expert:expert.1"));
  EXPECT_THAT(Ids(graph), Not(Contains("range")));
  EXPECT_GT(Find(graph, "segment-1").cost.flops,
            Find(Plan(Spec()), "segment-1").cost.flops);
}

TEST(PlanTrajectories, SeqMatchRetrainsExpertsFromTheEarlierSegments) {
  const TaskGraph graph = Plan(SeqMatch());
  EXPECT_THAT(Ids(graph),
              ElementsAre("prepare", "experts-1", "experts-2", "segment-1",
                          "experts-2-1", "experts-2-2", "segment-2",
                          "experts-3-1", "experts-3-2", "segment-3", "assemble",
                          absl::StrCat("evaluate-synthetic", kEnd)));
  EXPECT_THAT(
      Inputs(graph, "experts-3-2"),
      ElementsAre("dataset=prepare:dataset", "segment.1=segment-1:segment",
                  "segment.2=segment-2:segment"));
  EXPECT_THAT(
      Inputs(graph, "segment-3"),
      ElementsAre("dataset=prepare:dataset", "expert.1=experts-3-1:expert.1",
                  "expert.2=experts-3-2:expert.1",
                  "segment.1=segment-1:segment",
                  "segment.2=segment-2:segment"));
  EXPECT_FALSE(
      Parameters<TrainExpertsParameters>(graph, "experts-1").start.trained);
  const auto& later = Parameters<TrainExpertsParameters>(graph, "experts-3-1");
  EXPECT_TRUE(later.start.trained);
  EXPECT_EQ(later.start.order, Order::kCumulative);
  EXPECT_EQ(later.start.epochs, 1000);
  EXPECT_EQ(later.start.training.learning_rate, 0);
  EXPECT_EQ(later.training.epochs, 11);
}

TEST(PlanTrajectories, ASegmentHasItsStagesValues) {
  const TaskGraph graph = Plan(SeqMatch());
  const auto matching = [&](const char* id) {
    return Parameters<MatchTrajectoriesParameters>(graph, id).matching;
  };
  EXPECT_EQ(matching("segment-1").start_epoch_max, 48);
  EXPECT_EQ(matching("segment-2").start_epoch_max, 19);
  EXPECT_EQ(matching("segment-3").step_size, 1.0 / 11);
  EXPECT_EQ(matching("segment-3").student_steps, 30);
  // SeqMatch's batch is the new subset, out of all that is seen.
  EXPECT_EQ(matching("segment-1").batch, 170);
  EXPECT_EQ(matching("segment-3").batch, 160);
  EXPECT_FALSE(Parameters<MatchTrajectoriesParameters>(graph, "segment-1")
                   .visible_earlier);
  EXPECT_TRUE(Parameters<MatchTrajectoriesParameters>(graph, "segment-3")
                  .visible_earlier);
}

TEST(PlanTrajectories, DasmContinuesExpertsOnThePool) {
  const TaskGraph graph = Plan(Dasm());
  EXPECT_THAT(Ids(graph),
              ElementsAre("prepare", "experts-1", "experts-2", "segment-1",
                          "discriminator-2-1", "scores-2-1",
                          "discriminator-2-2", "scores-2-2", "pool-2",
                          "experts-2-1", "experts-2-2", "segment-2", "assemble",
                          absl::StrCat("evaluate-synthetic", kEnd),
                          absl::StrCat("evaluate-synthetic-staged", kEnd),
                          absl::StrCat("evaluate-synthetic-union", kEnd)));
  EXPECT_THAT(Inputs(graph, "experts-2-1"),
              ElementsAre("dataset=prepare:dataset", "pool=pool-2:pool",
                          "segment.1=segment-1:segment"));
  EXPECT_THAT(Inputs(graph, "segment-2"),
              IsSupersetOf({"pool=pool-2:pool", "segment.1=segment-1:segment",
                            "expert.1=experts-2-1:expert.1"}));
  EXPECT_EQ(Parameters<SelectPoolParameters>(graph, "pool-2").minimum, 10);
  // The student sees the new segment alone.
  const auto& second =
      Parameters<MatchTrajectoriesParameters>(graph, "segment-2");
  EXPECT_FALSE(second.visible_earlier);
  EXPECT_EQ(second.matching.batch, 50);
  JobSpec united = Dasm();
  united.sequence.visible_earlier = true;
  EXPECT_EQ(Parameters<MatchTrajectoriesParameters>(Plan(united), "segment-2")
                .matching.batch,
            100);
}

TEST(PlanTrajectories, APoolTakesThePlaceOfASchedule) {
  JobSpec spec = Dasm();
  spec.experts.training.schedule.enabled = true;
  const TaskGraph graph = Plan(spec);
  EXPECT_THAT(Inputs(graph, "experts-1"), Contains("ranking=ranking:ranking"));
  EXPECT_THAT(Inputs(graph, "experts-2-1"),
              Not(Contains("ranking=ranking:ranking")));
  EXPECT_FALSE(Parameters<TrainExpertsParameters>(graph, "experts-2-1")
                   .training.schedule.enabled);
}

TEST(PlanTrajectories, EvaluationTakesTheLearnedStepAndBaselinesThatOfExperts) {
  JobSpec spec = Spec();
  spec.evaluation.baselines = {Baseline::kRandom, Baseline::kStart};
  const TaskGraph graph = Plan(spec);
  const auto training = [&](const char* set) {
    return Parameters<EvaluateParameters>(graph,
                                          absl::StrCat("evaluate-", set, kEnd))
        .training;
  };
  EXPECT_EQ(training("synthetic").learning_rate, 0);
  EXPECT_EQ(training("random").learning_rate, 0.01);
  EXPECT_EQ(training("start").learning_rate, 0.01);
  // 1001 epochs of one batch of 100 images.
  EXPECT_EQ(training("synthetic").steps, 1001);
  EXPECT_EQ(training("random").steps, 1001);
}

TEST(PlanTrajectories, TheProtocolOfThePapersTestsEverySnapshot) {
  JobSpec spec = Spec();
  spec.trajectory->iterations = 1000;
  spec.trajectory->snapshot_interval = 400;
  spec.trajectory->pixel_ema = 0.999;
  spec.evaluation.protocol = Protocol::kPaper;
  TaskGraph graph = Plan(spec);
  std::set<std::string> evaluated;
  for (const std::string& id : Ids(graph)) {
    if (absl::StartsWith(id, "evaluate-")) evaluated.insert(id);
  }
  const auto id = [](const char* set) {
    return absl::StrCat("evaluate-", set, kEnd);
  };
  EXPECT_THAT(evaluated, ElementsAre(id("raw"), id("raw-snapshot-400"),
                                     id("raw-snapshot-800"), id("snapshot-400"),
                                     id("snapshot-800"), id("synthetic")));
  EXPECT_THAT(
      Inputs(graph, id("snapshot-800")),
      ElementsAre("dataset=prepare:dataset", "set.1=segment-1:snapshot.800"));
  EXPECT_THAT(Inputs(graph, id("raw-snapshot-400")),
              Contains("set.1=segment-1:raw_snapshot.400"));
  EXPECT_THAT(Inputs(graph, id("raw")), Contains("set.1=segment-1:raw"));
  // The last set alone.
  spec.evaluation.protocol = Protocol::kLast;
  graph = Plan(spec);
  EXPECT_THAT(Ids(graph), Not(Contains(id("snapshot-400"))));
  EXPECT_THAT(Ids(graph), Contains(id("raw")));
}

int CountEvaluations(const TaskGraph& graph) {
  int count = 0;
  for (const PlannedTask& task : graph.tasks) {
    count += std::holds_alternative<EvaluateParameters>(task.parameters);
  }
  return count;
}

TEST(PlanTrajectories, ValidationTestsBothSplitsAfterOneTraining) {
  JobSpec spec = SeqMatch();
  spec.dataset.validation = 0.1;
  spec.trajectory->snapshot_interval = 4000;
  spec.evaluation.protocol = Protocol::kValidation;
  spec.evaluation.baselines = {Baseline::kRandom};
  const TaskGraph graph = Plan(spec);
  const auto split = [&](const char* set) {
    return Parameters<EvaluateParameters>(graph,
                                          absl::StrCat("evaluate-", set, kEnd))
        .split;
  };
  EXPECT_EQ(split("synthetic"), Split::kTestAndValidation);
  EXPECT_EQ(split("snapshot-4000"), Split::kTestAndValidation);
  EXPECT_EQ(split("random"), Split::kTest);
  EXPECT_THAT(
      Inputs(graph, absl::StrCat("evaluate-snapshot-4000", kEnd)),
      ElementsAre("dataset=prepare:dataset", "set.1=segment-1:segment",
                  "set.2=segment-2:segment", "set.3=segment-3:snapshot.4000"));
  // Earlier segments keep nothing that nobody evaluates.
  EXPECT_EQ(Parameters<MatchTrajectoriesParameters>(graph, "segment-1")
                .matching.snapshot_interval,
            0);
  // No more than the protocol that looks at the test images alone.
  spec.evaluation.protocol = Protocol::kPaper;
  const TaskGraph paper = Plan(spec);
  EXPECT_EQ(CountEvaluations(graph), CountEvaluations(paper));
  EXPECT_EQ(Parameters<EvaluateParameters>(
                paper, absl::StrCat("evaluate-synthetic", kEnd))
                .split,
            Split::kTest);
}

ExpandedSpec Preset(const std::string& name) {
  v1::JobSpec given;
  given.set_preset(name);
  const auto expanded = ExpandSpec(given);
  EXPECT_TRUE(expanded.ok()) << name << expanded.status();
  return expanded.ok() ? *expanded : ExpandedSpec();
}

ResolvedDataset DataOf(const JobSpec& spec) {
  ResolvedDataset data = Cifar();
  if (const KnownDataset* known = FindKnownDataset(spec.dataset.name)) {
    data.classes = known->classes;
    data.height = data.width = known->side;
    data.train_images = known->train_images;
    data.channels = static_cast<int>(known->mean.size());
  } else {
    data.height = data.width = spec.dataset.image_size;
    data.classes = std::max(spec.dataset.classes, 10);
  }
  return data;
}

TEST(PlanTrajectories, EveryPresetFitsADeviceOf80GB) {
  int planned = 0;
  for (const PresetInfo& preset : AllPresets()) {
    const JobSpec spec = Preset(preset.name).spec;
    if (!spec.trajectory.has_value()) continue;
    ++planned;
    const auto graph = PlanJob(spec, DataOf(spec));
    ASSERT_TRUE(graph.ok()) << preset.name << graph.status();
    for (const PlannedTask& task : graph->tasks) {
      EXPECT_LT(static_cast<double>(task.cost.memory_bytes), 80e9)
          << preset.name << " " << task.id;
    }
    EXPECT_GT(Find(*graph, "segment-1").cost.flops, 0) << preset.name;
  }
  EXPECT_GT(planned, 50);
}

TEST(PlanTrajectories, DatmOfTenThousandImagesIsPredicted) {
  const JobSpec spec = Preset("datm/cifar-10/ipc1000").spec;
  const TaskGraph graph = Plan(spec);
  const PlannedTask& segment = Find(graph, "segment-1");
  const auto& p = std::get<MatchTrajectoriesParameters>(segment.parameters);
  EXPECT_EQ(p.matching.student_steps, 80);
  EXPECT_EQ(p.matching.batch, 1000);
  EXPECT_LT(static_cast<double>(segment.cost.memory_bytes), 80e9);
  // 12 F for 10,000 iterations of 80,000 image-steps.
  EXPECT_NEAR(segment.cost.flops / 1e15, 974, 5);
  // A hundred experts of 101 rows.
  EXPECT_GT(segment.cost.artifact_bytes, 100 * 101LL * 320010 * 4);
  EXPECT_EQ(Find(graph, "experts-1").cost.steps, 100 * 196);
}

TEST(PlanTrajectories, WhatHasNoSayIsInNoKey) {
  const std::string plain = ParametersJson(Plan(Spec()), "segment-1");
  JobSpec spec = Spec();
  TrajectoryMatchingSpec& m = *spec.trajectory;
  m.label_epoch = 7;  // with hard labels and real images
  m.label_experts = LabelExperts::kFirst;
  m.label_learning_rate = 5;
  m.label_momentum = 0.5;
  m.start_epoch_initial = 1;  // which does not grow
  m.snapshot_interval = m.iterations;
  m.batch = 100;  // all
  m.mask_from = m.mask_to = 0.5;
  spec.resources.ranks = 4;
  EXPECT_EQ(ParametersJson(Plan(spec), "segment-1"), plain);
  spec.execution.reduction = ReductionOrder::kFast;
  EXPECT_NE(ParametersJson(Plan(spec), "segment-1"), plain);
  // Correct samples are those of an epoch.
  spec = Spec();
  spec.synthesis.init = Init::kCorrect;
  const std::string correct = ParametersJson(Plan(spec), "segment-1");
  spec.trajectory->label_epoch = 7;
  EXPECT_NE(ParametersJson(Plan(spec), "segment-1"), correct);
}

TEST(PlanTrajectories, AGangHasItsBytesItsScalingAndItsWarnings) {
  JobSpec spec = Spec();
  TaskGraph graph = Plan(spec);
  EXPECT_EQ(Find(graph, "segment-1").cost.reduced_bytes_per_step, 0);
  EXPECT_THAT(graph.warnings, IsEmpty());
  EXPECT_EQ(graph.scaling.size(), 5u);
  spec.resources.ranks = 2;
  graph = Plan(spec);
  EXPECT_EQ(Find(graph, "segment-1").ranks, 2);
  EXPECT_EQ(Find(graph, "experts-1").ranks, 1);
  EXPECT_EQ(Find(graph, "segment-1").cost.reduced_bytes_per_step,
            graph.scaling[1].sent_bytes);
  // 100 images in groups of 16 are seven shards.
  spec.resources.ranks = 8;
  spec.trajectory->estimator = Estimator::kTesla;
  graph = Plan(spec);
  ASSERT_EQ(graph.warnings.size(), 2u);
  EXPECT_TRUE(absl::StartsWith(graph.warnings[0],
                               "resources.ranks: 8 ranks share 7 shards of a "
                               "student's step"));
  EXPECT_TRUE(absl::StrContains(graph.warnings[1], "biased"));
}

TEST(PlanTrajectories, WarnsOfSnapshotsThatMakeLargeCheckpoints) {
  JobSpec spec = Spec({50});
  spec.trajectory->iterations = 10000;
  // 9 of 6.1 MB; 199.
  spec.trajectory->snapshot_interval = 1000;
  EXPECT_THAT(Plan(spec).warnings, IsEmpty());
  spec.trajectory->snapshot_interval = 50;
  const std::vector<std::string> warnings = Plan(spec).warnings;
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_TRUE(absl::StrContains(warnings[0], "snapshot_interval"));
  EXPECT_TRUE(absl::StrContains(warnings[0], "1.2 GB"));
}

TEST(PlanTrajectories, ParentsComeBeforeChildrenAndIdsAreUnique) {
  JobSpec spec = Dasm();
  spec.dataset.preprocessing = Preprocessing::kZca;
  spec.experts.training.schedule.enabled = true;
  spec.trajectory->find_range = true;
  spec.trajectory->probe_interval = 10;
  spec.trajectory->pixel_ema = 0.9;
  spec.trajectory->snapshot_interval = 1000;
  spec.sequence.reference_steps = 5;
  spec.evaluation.protocol = Protocol::kValidation;
  spec.evaluation.prefixes = true;
  spec.evaluation.baselines = {Baseline::kRandom, Baseline::kStart};
  std::set<std::string> seen;
  for (const PlannedTask& task : Plan(spec).tasks) {
    for (const auto& [name, ref] : task.inputs) {
      EXPECT_TRUE(seen.contains(ref.task)) << task.id << " needs " << ref.task;
    }
    EXPECT_TRUE(seen.insert(task.id).second) << task.id;
    EXPECT_GT(task.cost.memory_bytes, 0) << task.id;
    const auto read = ParseTaskParameters(KindOf(task.parameters),
                                          ToCanonicalJson(task.parameters));
    EXPECT_TRUE(read.ok()) << task.id << read.status();
  }
}

}  // namespace
}  // namespace dasm
