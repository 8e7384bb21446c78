#include "server/planner/planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "server/planner/graph_for_tests.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

ResolvedDataset Data() {
  return {.classes = 10,
          .channels = 1,
          .height = 28,
          .width = 28,
          .train_images = 60000,
          .test_images = 10000,
          .files = {{"train_images", "a", "sha256:1"}}};
}

JobSpec IdcJob(std::vector<int> segments) {
  JobSpec spec;
  spec.dataset.name = "fashion-mnist";
  for (const int s : segments) spec.images_per_class += s;
  spec.sequence.segments = std::move(segments);
  spec.sequence.discriminators = 2;
  spec.evaluation.networks = {NetworkSpec()};
  spec.evaluation.repeats = 1;
  return spec;
}

TaskGraph PlanIdc(const JobSpec& spec, const ResolvedDataset& data = Data()) {
  const auto graph = PlanJob(spec, data);
  EXPECT_TRUE(graph.ok()) << graph.status();
  return graph.ok() ? *graph : TaskGraph();
}

constexpr char kNet[] = "convnet-d3-w128-instance";

TEST(PlanJob, IdcIsAChain) {
  const TaskGraph graph = PlanIdc(IdcJob({10}));
  EXPECT_THAT(Ids(graph),
              ElementsAre("prepare", "segment-1", "assemble",
                          absl::StrCat("evaluate-synthetic-", kNet, "-1")));
  EXPECT_THAT(Inputs(graph, "prepare"), ElementsAre());
  EXPECT_EQ(Find(graph, "prepare").source_files.size(), 1u);
  EXPECT_THAT(Inputs(graph, "segment-1"),
              ElementsAre("dataset=prepare:dataset"));
  EXPECT_THAT(
      Inputs(graph, "assemble"),
      ElementsAre("dataset=prepare:dataset", "segment.1=segment-1:segment",
                  "start.1=segment-1:start"));
}

TEST(PlanJob, DasmPutsAPoolBeforeEachLaterSegment) {
  JobSpec spec = IdcJob({4, 3, 3});
  spec.evaluation.baselines = {Baseline::kRandom, Baseline::kTiles,
                               Baseline::kStart};
  spec.evaluation.repeats = 2;
  spec.resources.ranks = 4;
  const TaskGraph graph = PlanIdc(spec);
  const std::string net = kNet;
  EXPECT_THAT(
      Ids(graph),
      ElementsAre(
          "prepare", "segment-1", "discriminator-2-1", "scores-2-1",
          "discriminator-2-2", "scores-2-2", "pool-2", "segment-2",
          "discriminator-3-1", "scores-3-1", "discriminator-3-2", "scores-3-2",
          "pool-3", "segment-3", "assemble", "random-set", "tiles-set",
          "evaluate-synthetic-" + net + "-1",
          "evaluate-synthetic-" + net + "-2", "evaluate-prefix1-" + net + "-1",
          "evaluate-prefix1-" + net + "-2", "evaluate-prefix2-" + net + "-1",
          "evaluate-prefix2-" + net + "-2", "evaluate-random-" + net + "-1",
          "evaluate-random-" + net + "-2", "evaluate-tiles-" + net + "-1",
          "evaluate-tiles-" + net + "-2", "evaluate-start-" + net + "-1",
          "evaluate-start-" + net + "-2"));
  EXPECT_THAT(
      Inputs(graph, "pool-2"),
      ElementsAre("dataset=prepare:dataset", "scores.1=scores-2-1:scores",
                  "scores.2=scores-2-2:scores", "segment.1=segment-1:segment"));
  EXPECT_THAT(
      Inputs(graph, "pool-3"),
      ElementsAre("dataset=prepare:dataset", "previous_pool=pool-2:pool",
                  "scores.1=scores-3-1:scores", "scores.2=scores-3-2:scores",
                  "segment.1=segment-1:segment",
                  "segment.2=segment-2:segment"));
  EXPECT_THAT(Inputs(graph, "scores-3-2"),
              ElementsAre("dataset=prepare:dataset",
                          "weights=discriminator-3-2:weights"));
  EXPECT_THAT(
      Inputs(graph, "discriminator-3-1"),
      ElementsAre("dataset=prepare:dataset", "segment.1=segment-1:segment",
                  "segment.2=segment-2:segment"));
  EXPECT_THAT(Inputs(graph, "segment-3"),
              ElementsAre("dataset=prepare:dataset", "pool=pool-3:pool",
                          "segment.1=segment-1:segment",
                          "segment.2=segment-2:segment"));
  EXPECT_THAT(Inputs(graph, "evaluate-prefix2-" + net + "-1"),
              ElementsAre("dataset=prepare:dataset", "set.1=segment-1:segment",
                          "set.2=segment-2:segment"));
  EXPECT_THAT(Inputs(graph, "evaluate-start-" + net + "-1"),
              ElementsAre("dataset=prepare:dataset", "set.1=assemble:start"));
  EXPECT_EQ(Find(graph, "segment-2").ranks, 4);
  EXPECT_EQ(Find(graph, "assemble").ranks, 1);
}

TEST(PlanJob, ParentsComeBeforeChildrenAndIdsAreUnique) {
  JobSpec spec = IdcJob({50, 50, 50, 50});
  spec.sequence.reference_steps = 10;
  spec.evaluation.baselines = {Baseline::kRandom, Baseline::kTiles,
                               Baseline::kStart};
  spec.evaluation.networks = {NetworkSpec(), NetworkSpec{.width = 8}};
  std::set<std::string> seen;
  for (const PlannedTask& task : PlanIdc(spec).tasks) {
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

TEST(PlanJob, MixHoldsFromTheSecondSegmentOn) {
  JobSpec spec = IdcJob({5, 5});
  spec.sequence.mix = 0.25;
  spec.matching.inits = 7;
  spec.matching.later_inits = 3;
  const TaskGraph graph = PlanIdc(spec);
  const auto& first = Parameters<DistillSegmentParameters>(graph, "segment-1");
  const auto& second = Parameters<DistillSegmentParameters>(graph, "segment-2");
  EXPECT_EQ(first.mix, 1);
  EXPECT_EQ(first.matching.inits, 7);
  EXPECT_EQ(second.mix, 0.25);
  EXPECT_EQ(second.matching.inits, 3);
  EXPECT_EQ(second.segment, 1);
}

TEST(PlanJob, APoolOfAllNeedsNoDiscriminators) {
  JobSpec spec = IdcJob({5, 5});
  spec.sequence.pool = PoolRule::kAll;
  spec.sequence.reference_steps = 100;
  const TaskGraph graph = PlanIdc(spec);
  EXPECT_THAT(
      Inputs(graph, "segment-2"),
      ElementsAre("dataset=prepare:dataset", "segment.1=segment-1:segment"));
  EXPECT_EQ(Parameters<DistillSegmentParameters>(graph, "segment-2").mix, 1);
  for (const std::string& id : Ids(graph)) {
    EXPECT_FALSE(id.starts_with("pool") || id.starts_with("discriminator") ||
                 id.starts_with("reference"))
        << id;
  }
}

TEST(PlanJob, ReferenceIsTheSameForEveryJob) {
  JobSpec spec = IdcJob({5, 5});
  spec.sequence.reference_steps = 123;
  spec.seed = 9;
  const TaskGraph graph = PlanIdc(spec);
  const auto& p = Parameters<TrainDiscriminatorParameters>(graph, "reference");
  EXPECT_TRUE(p.real);
  EXPECT_EQ(p.training.steps, 123);
  EXPECT_EQ(p.seed, 0u);
  EXPECT_THAT(Inputs(graph, "reference"),
              ElementsAre("dataset=prepare:dataset"));
  EXPECT_EQ(Find(graph, "pool-2").inputs.at("reference_scores").task,
            "reference-scores");
}

TEST(PlanJob, PoolMinimumCoversBatchesAndTiles) {
  JobSpec spec = IdcJob({50, 50});
  spec.synthesis.factor = 2;
  EXPECT_EQ(Parameters<SelectPoolParameters>(PlanIdc(spec), "pool-2").minimum,
            200);
  spec = IdcJob({5, 5});
  EXPECT_EQ(Parameters<SelectPoolParameters>(PlanIdc(spec), "pool-2").minimum,
            128);
}

TEST(PlanJob, DiscriminatorsTrainForTheShorterOfEpochsAndSteps) {
  JobSpec spec = IdcJob({5, 5});
  spec.sequence.discriminator_epochs = 300;
  spec.sequence.discriminator_steps = 20000;
  const auto steps = [](const JobSpec& s) {
    return Parameters<TrainDiscriminatorParameters>(PlanIdc(s),
                                                    "discriminator-2-1")
        .training.steps;
  };
  // 5 images of 4 tiles in 10 classes: 200 decoded, 4 batches of 64.
  EXPECT_EQ(steps(spec), 1200);
  spec.sequence.discriminator_steps = 1000;
  EXPECT_EQ(steps(spec), 1000);
}

TEST(PlanJob, AllEvaluationsTakeTheStepsOfTheFullSet) {
  JobSpec spec = IdcJob({5, 5});
  spec.evaluation.epochs = 1000;
  spec.evaluation.baselines = {Baseline::kRandom};
  // 400 decoded images are 7 batches of 64; with `steps` those.
  for (const int given : {0, 77}) {
    spec.evaluation.training.steps = given;
    int count = 0;
    for (const PlannedTask& task : PlanIdc(spec).tasks) {
      if (const auto* p = std::get_if<EvaluateParameters>(&task.parameters)) {
        EXPECT_EQ(p->training.steps, given > 0 ? given : 7000) << task.id;
        EXPECT_EQ(task.cost.steps, p->training.steps);
        ++count;
      }
    }
    EXPECT_EQ(count, 3);
  }
}

TEST(PlanJob, TheDcRecipeRunsOnePassMore) {
  JobSpec spec = IdcJob({1});
  spec.synthesis.factor = 1;
  spec.evaluation.training.recipe = Recipe::kDc;
  spec.evaluation.training.batch = 256;
  spec.evaluation.epochs = 300;
  const std::string id = absl::StrCat("evaluate-synthetic-", kNet, "-1");
  EXPECT_EQ(Parameters<EvaluateParameters>(PlanIdc(spec), id).training.steps,
            301);
}

TEST(PlanJob, UnknownEpochsFollowTheTable) {
  JobSpec spec = IdcJob({500});
  spec.evaluation.epochs = 0;
  const std::string id = absl::StrCat("evaluate-synthetic-", kNet, "-1");
  // 20,000 decoded images, 2000 a class: 300 epochs of 313 batches.
  EXPECT_EQ(Parameters<EvaluateParameters>(PlanIdc(spec), id).training.steps,
            300 * 313);
}

TEST(PlanJob, HowRanksRunIsInNoParametersUnlessTheyAddFast) {
  const std::string plain =
      ToCanonicalJson(Find(PlanIdc(IdcJob({10})), "segment-1").parameters);
  JobSpec many = IdcJob({10});
  many.resources = {.ranks = 4,
                    .priority = 3,
                    .checkpoint_interval = 7,
                    .min_ranks = 2,
                    .regroup_wait = 5,
                    .exchange = Exchange::kDeferred,
                    .on_oom = OnOom::kReplan,
                    .trainer_rank = true};
  EXPECT_EQ(ToCanonicalJson(Find(PlanIdc(many), "segment-1").parameters),
            plain);
  many.execution.reduction = ReductionOrder::kFast;
  const TaskGraph four = PlanIdc(many);
  EXPECT_EQ(Parameters<DistillSegmentParameters>(four, "segment-1").fast_ranks,
            4);
  EXPECT_TRUE(
      Parameters<DistillSegmentParameters>(four, "segment-1").fast_trainer);
  EXPECT_EQ(four.scaling[2].ranks, 4);
  EXPECT_EQ(Find(four, "segment-1").cost.reduced_bytes_per_step,
            four.scaling[2].sent_bytes);
  many.resources.trainer_rank = false;
  EXPECT_NE(ToCanonicalJson(Find(PlanIdc(many), "segment-1").parameters),
            ToCanonicalJson(Find(four, "segment-1").parameters));
  many.resources = {.ranks = 5, .trainer_rank = true};
  EXPECT_NE(ToCanonicalJson(Find(PlanIdc(many), "segment-1").parameters),
            ToCanonicalJson(Find(four, "segment-1").parameters));
}

TEST(PlanJob, AMicroBatchIsOnlyInWhatMatches) {
  JobSpec spec = IdcJob({5, 5});
  spec.execution.micro_batch = 4;
  for (const PlannedTask& task : PlanIdc(spec).tasks) {
    const auto json = nlohmann::json::parse(ToCanonicalJson(task.parameters));
    if (!json.contains("execution")) continue;
    EXPECT_EQ(json["execution"]["micro_batch"],
              task.id.starts_with("segment-") ? 4 : 0)
        << task.id;
  }
}

TEST(PlanJob, AGangHasItsBytesItsScalingAndItsWarnings) {
  JobSpec spec = IdcJob({10});
  const TaskGraph one = PlanIdc(spec);
  EXPECT_EQ(Find(one, "segment-1").cost.reduced_bytes_per_step, 0);
  EXPECT_THAT(one.warnings, ElementsAre());
  EXPECT_EQ(one.scaling.size(), 5u);
  spec.resources.ranks = 64;
  const TaskGraph many = PlanIdc(spec);
  EXPECT_EQ(Find(many, "segment-1").cost.reduced_bytes_per_step,
            many.scaling.back().sent_bytes);
  ASSERT_EQ(many.warnings.size(), 1u);
  EXPECT_TRUE(many.warnings[0].starts_with("resources.ranks: 64 ranks share"));
}

// Jobs share the baselines: whatever differs between runs is not in them.
TEST(PlanJob, BaselinesHoldNothingOfTheRun) {
  JobSpec one = IdcJob({5, 5});
  one.evaluation.baselines = {Baseline::kRandom, Baseline::kTiles};
  JobSpec other = IdcJob({10});
  other.evaluation.baselines = one.evaluation.baselines;
  other.seed = 99;
  other.name = "other";
  other.salt = "other";
  other.matching.inits = 3;
  other.matching.image_learning_rate = 7;
  other.resources.ranks = 3;
  other.execution.micro_batch = 4;
  other.execution.reduction = ReductionOrder::kFast;
  const TaskGraph a = PlanIdc(one);
  const TaskGraph b = PlanIdc(other);
  for (const std::string& id :
       {std::string("prepare"), std::string("random-set"),
        std::string("tiles-set"), absl::StrCat("evaluate-random-", kNet, "-1"),
        absl::StrCat("evaluate-tiles-", kNet, "-1")}) {
    EXPECT_EQ(ToCanonicalJson(Find(a, id).parameters),
              ToCanonicalJson(Find(b, id).parameters))
        << id;
    EXPECT_EQ(Inputs(a, id), Inputs(b, id)) << id;
  }
  const auto& random = Parameters<SelectCoresetParameters>(a, "random-set");
  EXPECT_EQ(random.rule, "random");
  EXPECT_EQ(random.images_per_class, 10);
  EXPECT_EQ(random.factor, 1);
  const auto& tiles = Parameters<SelectCoresetParameters>(a, "tiles-set");
  EXPECT_EQ(tiles.rule, "tiles");
  EXPECT_EQ(tiles.factor, 2);
}

TEST(PlanJob, TilesOfFactorOneAreRandomImages) {
  JobSpec spec = IdcJob({10});
  spec.synthesis.factor = 1;
  spec.evaluation.baselines = {Baseline::kRandom, Baseline::kTiles};
  const TaskGraph graph = PlanIdc(spec);
  EXPECT_EQ(ToCanonicalJson(Find(graph, "tiles-set").parameters),
            ToCanonicalJson(Find(graph, "random-set").parameters));
}

// With equal inputs this makes equal action keys.
TEST(PlanJob, OneSegmentOfDasmPlansTheBytesOfIdc) {
  JobSpec idc = IdcJob({10});
  JobSpec dasm = idc;
  dasm.matching.later_inits = 17;
  dasm.sequence.mix = 0.1;
  dasm.sequence.pool = PoolRule::kWeighted;
  dasm.sequence.discriminators = 9;
  dasm.sequence.reference_steps = 5;
  const TaskGraph a = PlanIdc(idc);
  const TaskGraph b = PlanIdc(dasm);
  ASSERT_EQ(Ids(a), Ids(b));
  for (size_t i = 0; i < a.tasks.size(); ++i) {
    EXPECT_EQ(ToCanonicalJson(a.tasks[i].parameters),
              ToCanonicalJson(b.tasks[i].parameters));
    EXPECT_EQ(Inputs(a, a.tasks[i].id), Inputs(b, b.tasks[i].id));
  }
}

TEST(PlanJob, TheSeedReachesTheRunAndOnlyTheRun) {
  JobSpec spec = IdcJob({5, 5});
  spec.seed = 42;
  const TaskGraph graph = PlanIdc(spec);
  EXPECT_EQ(Parameters<DistillSegmentParameters>(graph, "segment-1").seed, 42u);
  EXPECT_EQ(
      Parameters<TrainDiscriminatorParameters>(graph, "discriminator-2-2").seed,
      42u);
  EXPECT_EQ(Parameters<TrainDiscriminatorParameters>(graph, "discriminator-2-2")
                .index,
            1);
  EXPECT_EQ(Parameters<EvaluateParameters>(
                graph, absl::StrCat("evaluate-synthetic-", kNet, "-1"))
                .seed,
            0u);
}

TEST(PlanJob, PrefixesCanBeLeftOut) {
  JobSpec spec = IdcJob({5, 5});
  spec.evaluation.prefixes = false;
  for (const std::string& id : Ids(PlanIdc(spec))) {
    EXPECT_EQ(id.find("prefix"), std::string::npos) << id;
  }
}

JobSpec EvaluateOnly() {
  JobSpec spec = IdcJob({});
  spec.synthetic_set = SyntheticSetSpec{.files = {{"npz", "a.npz"}}};
  spec.synthesis.factor = 2;
  spec.evaluation.epochs = 0;
  return spec;
}

TEST(PlanJob, AnExistingSetIsImportedAndEvaluated) {
  JobSpec spec = EvaluateOnly();
  spec.evaluation.baselines = {Baseline::kTiles};
  ResolvedDataset data = Data();
  data.set_images = 20;
  data.set_files = {{"npz", "a.npz", "sha256:2"}};
  const TaskGraph graph = PlanIdc(spec, data);
  EXPECT_THAT(Ids(graph),
              ElementsAre("prepare", "set", "tiles-set",
                          absl::StrCat("evaluate-synthetic-", kNet, "-1"),
                          absl::StrCat("evaluate-tiles-", kNet, "-1")));
  EXPECT_EQ(Find(graph, "set").source_files.at(0).digest, "sha256:2");
  EXPECT_EQ(Parameters<ImportSetParameters>(graph, "set").factor, 2);
  EXPECT_EQ(
      Parameters<SelectCoresetParameters>(graph, "tiles-set").images_per_class,
      2);
  // 80 decoded images are two batches.
  EXPECT_EQ(Parameters<EvaluateParameters>(
                graph, absl::StrCat("evaluate-synthetic-", kNet, "-1"))
                .training.steps,
            2000);
}

TEST(PlanJob, ASetGivenByDigestIsABlobKnownAtSubmit) {
  JobSpec spec = EvaluateOnly();
  spec.synthetic_set = SyntheticSetSpec{.digest = "sha256:abc"};
  spec.evaluation.training.steps = 5;
  const TaskGraph graph = PlanIdc(spec);
  const TaskInputRef& source = Find(graph, "set").inputs.at("source");
  EXPECT_EQ(source.task, "");
  EXPECT_EQ(source.digest, "sha256:abc");
}

TEST(PlanJob, OrdersOfTrainingOnTheSegmentsAreEvaluatedBesideEachOther) {
  JobSpec spec = IdcJob({5, 5});
  spec.evaluation.epochs = 10;
  spec.evaluation.orders = {Order::kCumulative, Order::kUnion};
  spec.evaluation.baselines = {Baseline::kRandom};
  const TaskGraph graph = PlanIdc(spec);
  const std::string end = absl::StrCat("-", kNet, "-1");
  const auto& first =
      Parameters<EvaluateParameters>(graph, "evaluate-synthetic" + end);
  EXPECT_EQ(first.order, Order::kCumulative);
  EXPECT_EQ(first.epochs, 10);
  EXPECT_EQ(first.training.steps, 0);
  // 200 decoded images, then 400: 10 epochs of 4 and of 7 batches.
  EXPECT_EQ(Find(graph, "evaluate-synthetic" + end).cost.steps, 110);
  EXPECT_EQ(
      Parameters<EvaluateParameters>(graph, "evaluate-prefix1" + end).order,
      Order::kCumulative);
  // A union, like that of baselines, has the steps of the full set.
  for (const char* set : {"synthetic-union", "random"}) {
    const auto& p = Parameters<EvaluateParameters>(
        graph, absl::StrCat("evaluate-", set, end));
    EXPECT_EQ(p.order, Order::kUnion) << set;
    EXPECT_EQ(p.epochs, 0) << set;
    EXPECT_EQ(p.training.steps, 70) << set;
  }
  // Discriminators are trained like the result: in at most so many steps.
  spec.sequence.discriminator_epochs = 300;
  spec.sequence.discriminator_steps = 100;
  const TaskGraph longer = PlanIdc(spec);
  const auto& network =
      Parameters<TrainDiscriminatorParameters>(longer, "discriminator-2-1");
  EXPECT_EQ(network.order, Order::kCumulative);
  EXPECT_EQ(network.epochs, 25);
}

TEST(PlanJob, OneSegmentHasOneOrder) {
  JobSpec spec = IdcJob({5});
  spec.evaluation.orders = {Order::kCumulative, Order::kStaged};
  const TaskGraph graph = PlanIdc(spec);
  const std::string id = absl::StrCat("evaluate-synthetic-", kNet, "-1");
  EXPECT_THAT(Ids(graph), ElementsAre("prepare", "segment-1", "assemble", id));
  EXPECT_EQ(Parameters<EvaluateParameters>(graph, id).order, Order::kUnion);
}

TEST(PlanJob, AValidationSplitIsTakenFromTheTrainingImages) {
  JobSpec spec = IdcJob({5});
  const TaskGraph whole = PlanIdc(spec);
  spec.dataset.validation = 0.1;
  const TaskGraph graph = PlanIdc(spec);
  EXPECT_EQ(Parameters<PrepareDatasetParameters>(graph, "prepare").validation,
            0.1);
  EXPECT_EQ(Find(graph, "segment-1").cost.memory_bytes,
            Find(whole, "segment-1").cost.memory_bytes);
}

TEST(PlanJob, StagesOfASetGivenByDigestNeedNoSteps) {
  JobSpec spec = EvaluateOnly();
  spec.synthetic_set = SyntheticSetSpec{.digest = "sha256:abc"};
  spec.evaluation.epochs = 100;
  spec.evaluation.orders = {Order::kCumulative};
  const TaskGraph graph = PlanIdc(spec);
  const auto& p = Parameters<EvaluateParameters>(
      graph, absl::StrCat("evaluate-synthetic-", kNet, "-1"));
  EXPECT_EQ(p.order, Order::kCumulative);
  EXPECT_EQ(p.epochs, 100);
  EXPECT_EQ(p.training.steps, 0);
}

TEST(PlanJob, WhatCannotBePlannedNamesItsField) {
  const auto field = [](const JobSpec& spec, const ResolvedDataset& data) {
    return FieldOf(PlanJob(spec, data).status());
  };
  EXPECT_EQ(field(IdcJob({5}), ResolvedDataset()), "dataset");
  EXPECT_EQ(field(EvaluateOnly(), Data()), "evaluation.steps");
  JobSpec unequal = EvaluateOnly();
  unequal.evaluation.baselines = {Baseline::kRandom};
  ResolvedDataset data = Data();
  data.set_images = 25;
  EXPECT_EQ(field(unequal, data), "evaluation.baselines");
  JobSpec endless = IdcJob({1000});
  JobSpec ordered = IdcJob({5, 5});
  ordered.evaluation.training.steps = 7;
  ordered.evaluation.orders = {Order::kUnion, Order::kStaged};
  EXPECT_EQ(field(ordered, Data()), "evaluation.steps");
  endless.evaluation.epochs = 100000;
  data.classes = 1000;
  EXPECT_EQ(field(endless, data), "evaluation.epochs");
}

}  // namespace
}  // namespace dasm
