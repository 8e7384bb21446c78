#include "server/planner/scaling_model.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/planner/cifar_for_tests.h"
#include "server/planner/planner.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

DistillSegmentParameters Parameters() {
  DistillSegmentParameters p;
  p.images_per_class = 10;
  p.synthesis.factor = 2;
  p.matching.real_batch = 64;
  p.matching.net_steps = 8;
  p.matching.net_batch = 64;
  p.execution.train_group = 16;
  return p;
}

StepWork Work(const DistillSegmentParameters& p = Parameters(),
              bool deferred = false) {
  return WorkOfStep(p, Cifar(), deferred);
}

ScalingRow Model(const StepWork& work, int ranks) {
  return ModelScaling(work, {ranks}, 1e12, {NvLink(), Ethernet()}).at(0);
}

TEST(ScalingModel, BytesOfASumAreThoseOfScatterAndGather) {
  // Four rows of 1000 floats on two ranks: two rows, half of each to the other,
  // then half of the sum.
  EXPECT_EQ(SumBytesSent(4, 1024, 2, false), 2 * 2048 + 2048);
  EXPECT_EQ(SumBytesSent(4, 1024, 4, false), 3072 + 3072);
  EXPECT_EQ(SumBytesSent(4, 1024, 2, true), 2048 + 2048);
  EXPECT_EQ(SumBytesSent(4, 1024, 1, false), 0);
  // Parts are whole cache lines: of 17 floats rank 0 adds up 16, of one none.
  EXPECT_EQ(SumBytesSent(4, 17, 2, false), 4 * (2 * 1 + 16));
  EXPECT_EQ(SumBytesSent(4, 1, 2, false), 4 * 2);
  // Ten rows on four ranks: rank 0 has three and sends each to three.
  EXPECT_EQ(GatherBytesSent(10, 100, 4), 3 * 400 * 3);
  EXPECT_EQ(GatherBytesSent(10, 100, 1), 0);
}

TEST(ScalingModel, AStepIsItsClassesAndItsNetworkSteps) {
  const StepWork work = Work();
  EXPECT_EQ(work.match_shards, 10);
  EXPECT_EQ(work.train_steps, 8);
  EXPECT_EQ(work.train_shards, 4);
  EXPECT_EQ(work.parameters, 320010);
  const int64_t image = 3 * 32 * 32;
  const int64_t networks = 8 * SumBytesSent(4, 320010 + 2, 2, false);
  EXPECT_EQ(StepBytesSent(work, 1), 0);
  // All ten stored images of a class take part, and its distance; the 1 is what
  // rank 0 wishes.
  EXPECT_EQ(StepBytesSent(work, 2),
            1 + GatherBytesSent(10, 10 * image + 1, 2) + networks);
  EXPECT_EQ(StepBytesSent(Work(Parameters(), true), 2),
            1 + GatherBytesSent(10, 2, 2) + networks);
  DistillSegmentParameters p = Parameters();
  p.matching.inits_per_step = 3;
  EXPECT_EQ(Work(p).match_shards, 30);
  EXPECT_EQ(Work(p).train_steps, 24);
  // Decoded images are 40 a class: slices are of the larger side.
  p.execution.micro_batch = 16;
  EXPECT_EQ(Work(p).match_shards, 120);
  p.network.norm = Norm::kBatch;
  EXPECT_EQ(Work(p).train_shards, 1);
}

TEST(ScalingModel, OnlyTheStoredImagesThatTakePartAreExchanged) {
  DistillSegmentParameters p = Parameters();
  p.matching.net_steps = 0;
  p.synthesis.factor = 1;
  p.matching.synthetic_batch = 4;
  EXPECT_EQ(StepBytesSent(Work(p), 2),
            1 + GatherBytesSent(10, 4 * 3 * 32 * 32 + 1, 2));
}

TEST(ScalingModel, AClassThatIsCutSumsItsMatchedGradientsAndItsPixels) {
  DistillSegmentParameters p = Parameters();
  p.matching.net_steps = 0;
  p.matching.real_batch = 64;
  p.execution.micro_batch = 16;  // four parts of the real side, 40 / 16 = 3
  const int64_t kernels = 9 * 128 * (3 + 128 + 128);
  const int64_t pixels = 10 * SumBytesSent(3, 10 * 3 * 32 * 32, 2, false);
  EXPECT_EQ(StepBytesSent(Work(p), 2),
            1 + 10 * SumBytesSent(4, 2 * kernels, 2, false) + pixels);
  // It is exchanged as it is in both modes.
  EXPECT_EQ(StepBytesSent(Work(p, true), 2), StepBytesSent(Work(p), 2));
  p.matching.layers = Layers::kWeights;
  const int64_t weights = kernels + 128 * 16 * 10;
  EXPECT_EQ(StepBytesSent(Work(p), 2),
            1 + 10 * SumBytesSent(4, 2 * weights, 2, false) + pixels);
}

TEST(ScalingModel, OneRankIsTheMeasureOfTheOthers) {
  const ScalingRow one = Model(Work(), 1);
  EXPECT_EQ(one.sent_bytes, 0);
  ASSERT_THAT(one.links, SizeIs(2));
  for (const ScalingRow::OnLink& on : one.links) {
    EXPECT_DOUBLE_EQ(on.speedup, 1);
    EXPECT_EQ(on.trainer_speedup, 0);
    EXPECT_EQ(on.limit, "none");
  }
  EXPECT_NEAR(one.match_seconds + one.train_seconds + one.redundant_seconds,
              Work().flops() / 1e12, 1e-9);
}

TEST(ScalingModel, ClassesThatDoNotDivideAreTheLimit) {
  // 10 classes on 8 ranks: two of them have two, so matching is 5 times as
  // fast.
  const ScalingRow eight = Model(Work(), 8);
  EXPECT_NEAR(Model(Work(), 1).match_seconds / eight.match_seconds, 5, 1e-9);
  EXPECT_EQ(eight.links[0].limit, "match shards");
  EXPECT_LT(eight.links[0].speedup, 5.1);
  EXPECT_LT(eight.links[1].speedup, eight.links[0].speedup);
  // Beyond the shards nothing is gained.
  EXPECT_LE(Model(Work(), 64).links[0].speedup,
            Model(Work(), 10).links[0].speedup);
}

TEST(ScalingModel, ASlowLinkOrALongCallIsNamed) {
  const auto limit = [](const Link& link) {
    return ModelScaling(Work(), {2}, 1e15, {link}).at(0).links.at(0).limit;
  };
  EXPECT_EQ(limit({"slow", 1e6, 0}), "bytes");
  EXPECT_EQ(limit({"far", 1e15, 1}), "latency");
}

TEST(ScalingModel, ATrainerPaysWhenTrainingIsAsLongAsMatching) {
  // Without network steps there is nothing to take over: a rank is lost.
  DistillSegmentParameters p = Parameters();
  p.matching.net_steps = 0;
  const ScalingRow none = Model(Work(p), 11);
  EXPECT_LE(none.links[0].trainer_speedup, none.links[0].speedup * 1.01);
  // One shard a network step: training does not shard at all, a trainer hides
  // it.
  p.matching.net_steps = 8;
  p.execution.train_group = 64;
  const ScalingRow one_group = Model(Work(p), 6);
  EXPECT_GT(one_group.links[0].trainer_speedup, one_group.links[0].speedup);
}

// IDC on CIFAR-10 at IPC 10: the trainer's own work is a quarter of a step, so
// it bounds the speed-up by four. Sharded training goes further over NVLink; a
// trainer, which sends a network a step in place of a sum a network step, pays
// over Ethernet.
TEST(ScalingModel, ATrainerPaysOverASlowLink) {
  const auto at = [](int ranks) {
    return ModelScaling(Work(), {ranks}, kModelFlopsPerSecond,
                        {NvLink(), Ethernet()})
        .at(0)
        .links;
  };
  for (const int ranks : {2, 4, 8, 64}) {
    EXPECT_LT(at(ranks)[0].trainer_speedup, at(ranks)[0].speedup) << ranks;
    EXPECT_LT(at(ranks)[0].trainer_speedup, 4.2) << ranks;
  }
  EXPECT_GT(at(4)[1].trainer_speedup, 1.05 * at(4)[1].speedup);
  EXPECT_GT(at(8)[1].trainer_speedup, 1.05 * at(8)[1].speedup);
}

TEST(ScalingModel, ATrainerRankSendsNetworksAndTheOthersRows) {
  // Four rows of 1024 floats by ranks 1 and 2: each has two and adds up its
  // part, of 21, 21 and 22 cache lines; rank 0 only adds up its own.
  EXPECT_EQ(SumBytesSent(4, 1024, 3, false, 1, 0), 4 * 2 * 21 * 16);
  EXPECT_EQ(SumBytesSent(4, 1024, 3, false, 1, 1),
            4 * (2 * (1024 - 21 * 16) + 2 * 21 * 16));
  EXPECT_EQ(SumBytesSent(4, 1024, 3, true, 1, 2),
            4 * ((1024 - 22 * 16) + 2 * 22 * 16));
  EXPECT_EQ(GatherBytesSent(10, 100, 4, 1, 0), 0);
  EXPECT_EQ(GatherBytesSent(10, 100, 4, 1, 1), 4 * 400 * 3);
  EXPECT_EQ(GatherBytesSent(10, 100, 4, 1, 3), 3 * 400 * 3);
  EXPECT_EQ(GatherBytesSent(1, 100, 4, 1, 3), 0);
  // Of a step rank 0 sends its wish, one network and the losses of its steps.
  EXPECT_EQ(StepBytesSent(WithTrainer(Work()), 3),
            1 + SumBytesSent(1, 320010 + 8, 3, false));
  DistillSegmentParameters p = Parameters();
  p.matching.inits_per_step = 3;
  EXPECT_EQ(StepBytesSent(WithTrainer(Work(p)), 3),
            1 + SumBytesSent(1, 3 * (320010 + 8), 3, false));
}

TEST(ScalingModel, AJobWithATrainerRankIsPredictedWithIt) {
  const std::vector<Link> links = {NvLink(), Ethernet()};
  const auto rows = ModelScaling(Work(), {1, 5}, 1e12, links, /*trainer=*/true);
  const ScalingRow one = Model(Work(), 1);
  EXPECT_EQ(rows[0].match_seconds, one.match_seconds);
  EXPECT_EQ(rows[0].links[0].trainer_speedup, 0);
  // Four match; one trains all, and has the networks' updates.
  EXPECT_EQ(rows[1].match_seconds, Model(Work(), 4).match_seconds);
  EXPECT_GT(rows[1].train_seconds, one.train_seconds);
  EXPECT_NEAR(rows[1].train_seconds + rows[1].redundant_seconds,
              one.train_seconds + one.redundant_seconds, 1e-12);
  EXPECT_EQ(rows[1].sent_bytes, StepBytesSent(WithTrainer(Work()), 5, 1));
  EXPECT_GT(rows[1].sent_bytes, StepBytesSent(WithTrainer(Work()), 5, 0));
  for (size_t i = 0; i < links.size(); ++i) {
    const ScalingRow::OnLink& on = rows[1].links[i];
    EXPECT_EQ(on.speedup, on.trainer_speedup);
    EXPECT_EQ(on.trainer_speedup, Model(Work(), 5).links[i].trainer_speedup);
    EXPECT_NE(on.speedup, Model(Work(), 5).links[i].speedup);
  }
}

TEST(ScalingModel, ATrainerThatTakesLongerThanMatchingIsTheLimit) {
  const ScalingRow many =
      ModelScaling(Work(), {64}, 1e12, {NvLink()}, /*trainer=*/true).at(0);
  EXPECT_GT(many.train_seconds, many.match_seconds);
  EXPECT_EQ(many.links[0].limit, "train shards");
}

TEST(ScalingModel, AdvisesATrainerRankWhereItPays) {
  const auto advice = [](int ranks, bool trainer,
                         const std::vector<Link>& links) {
    return TrainerAdvice(Work(), ranks, trainer, kModelFlopsPerSecond, links);
  };
  EXPECT_THAT(advice(4, false, {NvLink(), Ethernet()}),
              testing::MatchesRegex(
                  "resources.trainer_rank: true is predicted to make a step of "
                  "4 ranks 1\\.[0-9]+ times as fast over 100 Gbit/s"));
  EXPECT_EQ(advice(1, false, {Ethernet()}), "");
  EXPECT_EQ(advice(4, false, {NvLink()}), "");
  // Against it only what holds over every link.
  EXPECT_THAT(advice(8, true, {NvLink()}),
              HasSubstr("resources.trainer_rank: false"));
  EXPECT_EQ(advice(4, true, {NvLink(), Ethernet()}), "");
}

MatchTrajectoriesParameters Path() {
  MatchTrajectoriesParameters p;
  p.images_per_class = 10;
  p.matching.student_steps = 80;
  p.matching.batch = 100;
  p.execution.train_group = 25;
  return p;
}

TEST(ScalingModel, APathsStepsSumTheirGradientsThereAndBack) {
  MatchTrajectoriesParameters p = Path();
  const StepWork work = WorkOfStep(p, Cifar());
  EXPECT_EQ(work.match_shards, 4);
  const int64_t one = SumBytesSent(4, 320010 + 1, 2, false);
  // The path begins where nobody needs its adjoint; a batch's rows are 1.2 MB,
  // so seven steps are exchanged together.
  const int64_t sums = (80 + 79) * one + SumBytesSent(4, 1, 2, false);
  const int64_t rows = 80 * GatherBytesSent(4, 25 * 3 * 32 * 32, 2);
  EXPECT_EQ(StepBytesSent(work, 2), 1 + sums + rows);
  int64_t gathers = 0;
  for (const StepCall& call : work.calls) {
    if (call.kind == StepCall::Kind::kGather) gathers += call.times;
  }
  EXPECT_EQ(gathers, 12);
  // 205 MB of P-vectors at N = 80, times what ordering costs: every one is sent
  // as two rows and a sum, half of each.
  EXPECT_NEAR(static_cast<double>(sums), 1.5 * 205e6, 3e6);
  EXPECT_NEAR(Model(work, 1).train_seconds * 3, Model(work, 1).match_seconds,
              1e-9);
  p.matching.estimator = Estimator::kTesla;
  EXPECT_EQ(StepBytesSent(WorkOfStep(p, Cifar()), 2),
            1 + 80 * (one + SumBytesSent(4, 1, 2, false)) + rows);
}

TEST(ScalingModel, SeveralPathsAStepAreSharedWhole) {
  MatchTrajectoriesParameters p = Path();
  const double one = WorkOfStep(p, Cifar()).flops();
  p.matching.trajectories_per_step = 4;
  const StepWork work = WorkOfStep(p, Cifar());
  // Beside the pixels doubles: two figures, and shares of 14 tensors.
  EXPECT_EQ(StepBytesSent(work, 2),
            1 + GatherBytesSent(4, 100 * 3 * 32 * 32, 2) +
                GatherBytesSent(4, 2 * (2 + 14), 2));
  EXPECT_NEAR(work.flops() / one, 4, 0.01);
  EXPECT_NEAR(Model(work, 4).links[1].speedup, 4, 0.1);
}

TEST(ScalingModel, APathScalesByTheGroupsOfItsBatch) {
  const ScalingRow four = Model(WorkOfStep(Path(), Cifar()), 4);
  EXPECT_GT(four.links[0].speedup, 2);
  EXPECT_EQ(four.links[0].trainer_speedup, 0);
  EXPECT_EQ(TrainerAdvice(WorkOfStep(Path(), Cifar()), 4, false,
                          kModelFlopsPerSecond, {Ethernet()}),
            "");
  MatchTrajectoriesParameters coupled = Path();
  coupled.network.norm = Norm::kBatch;
  EXPECT_LT(Model(WorkOfStep(coupled, Cifar()), 4).links[0].speedup, 1);
  EXPECT_THAT(RankWarnings(WorkOfStep(coupled, Cifar()), 4)[0],
              HasSubstr("4 ranks share 1 shards of a student's step"));
}

TEST(ScalingModel, RanksWithoutShardsAreWarnedOf) {
  EXPECT_THAT(RankWarnings(Work(), 5), IsEmpty());
  EXPECT_THAT(RankWarnings(Work(), 1), IsEmpty());
  ASSERT_THAT(RankWarnings(Work(), 12), SizeIs(1));
  EXPECT_THAT(RankWarnings(Work(), 12)[0],
              HasSubstr("12 ranks share 10 shards"));
  EXPECT_THAT(RankWarnings(Work(), 12)[0], HasSubstr("so 2 of them never"));
  ASSERT_THAT(RankWarnings(Work(), 8), SizeIs(1));
  EXPECT_THAT(RankWarnings(Work(), 8)[0], HasSubstr("unevenly"));
  EXPECT_THAT(RankWarnings(Work(), 11, /*trainer=*/true), IsEmpty());
  EXPECT_THAT(
      RankWarnings(Work(), 12, /*trainer=*/true)[0],
      HasSubstr("of 12 ranks 11 match and share 10 shards of a matching step"));
}

}  // namespace
}  // namespace dasm
