#include "common/spec/task_parameters.h"

#include <gtest/gtest.h>

#include <string>

namespace dasm {
namespace {

DistillSegmentParameters Distill() {
  DistillSegmentParameters p;
  p.segment = 1;
  p.images_per_class = 5;
  p.matching.augmentation = {Augmentation::kColor, Augmentation::kCutout};
  p.matching.image_learning_rate = 1e-4;
  p.mix = 0.5;
  p.seed = 18446744073709551615u;
  return p;
}

MatchTrajectoriesParameters Match() {
  MatchTrajectoriesParameters p;
  p.segment = 1;
  p.images_per_class = 5;
  p.network = {
      .name = "resnet18", .depth = 0, .width = 0, .norm = Norm::kBatch};
  p.matching.estimator = Estimator::kTesla;
  p.matching.step_size_learning_rate = 1e-7;
  p.matching.step_size_form = StepSizeForm::kLog;
  p.matching.labels = Labels::kSoftLearned;
  p.matching.label_experts = LabelExperts::kFirst;
  p.matching.augmentation = {Augmentation::kColor, Augmentation::kFlip};
  p.init = Init::kCorrect;
  p.visible_earlier = true;
  return p;
}

// One of each kind, in the order of the variant.
std::vector<TaskParameters> OneOfEach() {
  TrainExpertsParameters experts{.first = 4, .count = 2};
  experts.training.schedule = {.enabled = true,
                               .initial_share = 0.75,
                               .growth_epochs = 20,
                               .removals = {{.after_epoch = 40, .share = 0.1}},
                               .gradual = true};
  experts.start = {.trained = true, .order = Order::kStaged, .epochs = 3};
  experts.start.training.recipe = Recipe::kTrajectory;
  return {PrepareDatasetParameters{
              .name = "mnist", .format = "idx", .validation = 0.1},
          WhitenDatasetParameters{.epsilon = 0.2},
          ImportSetParameters{.space = PixelSpace::kNormalized, .factor = 2},
          ImportScoresParameters{},
          Distill(),
          experts,
          Match(),
          FindRangeParameters{.matching = Match().matching, .window = 5},
          TrainDiscriminatorParameters{
              .index = 2, .real = true, .order = Order::kCumulative},
          ScoreSamplesParameters{.grand = true},
          RankSamplesParameters{.rule = ScoreRule::kGrand},
          SelectPoolParameters{.pool = PoolRule::kEl2n, .minimum = 200},
          SelectCoresetParameters{.rule = "tiles", .images_per_class = 3},
          EvaluateParameters{.order = Order::kStaged,
                             .split = Split::kTestAndValidation,
                             .repeat = 2},
          AssembleParameters{.factor = 3}};
}

TEST(TaskParameters, EveryKindSurvivesATripThroughJson) {
  for (const TaskParameters& parameters : OneOfEach()) {
    const std::string json = ToCanonicalJson(parameters);
    const auto read = ParseTaskParameters(KindOf(parameters), json);
    ASSERT_TRUE(read.ok()) << KindOf(parameters) << ": " << read.status();
    EXPECT_EQ(read->index(), parameters.index());
    EXPECT_EQ(ToCanonicalJson(*read), json);
  }
}

TEST(TaskParameters, OneOfEachCoversTheVariant) {
  ASSERT_EQ(OneOfEach().size(), std::variant_size_v<TaskParameters>);
  for (size_t i = 0; i < OneOfEach().size(); ++i) {
    EXPECT_EQ(OneOfEach()[i].index(), i);
  }
}

TEST(TaskParameters, JsonIsCompactSortedAndShortest) {
  EXPECT_EQ(ToCanonicalJson(SelectPoolParameters{}),
            R"({"el2n_threshold":0.5,"minimum":128,"pool":"misclassified",)"
            R"("quantile_floor":0.2,"trim":0.05,"weight_floor":0.05,)"
            R"("weight_power":1.0})");
  EXPECT_NE(ToCanonicalJson(Distill()).find("\"image_learning_rate\":0.0001,"),
            std::string::npos);
}

// What was evaluated before validation splits were tested too keeps its key.
TEST(TaskParameters, EvaluatingOnTheTestImagesSaysNothingOfOtherSplits) {
  EXPECT_NE(ToCanonicalJson(EvaluateParameters{})
                .find(R"("seed":0,"split":"test","training":)"),
            std::string::npos)
      << ToCanonicalJson(EvaluateParameters{});
}

struct RefusedJson {
  const char* kind;
  const char* json;
  const char* names;  // what the message must say
};

TEST(TaskParameters, JsonOfAnotherShapeIsRefusedByName) {
  const RefusedJson cases[] = {
      {"assemble", R"({"factor":2,"extra":1})", "extra"},
      {"assemble", R"({})", "factor"},
      {"assemble", R"({"factor":2.5})", "factor"},
      {"assemble", R"({"factor":true})", "factor"},
      {"assemble", R"({"factor":"2"})", "assemble"},
      {"assemble", R"({"factor":4294967298})", "factor"},
      {"assemble", R"([2])", "not a JSON object"},
      {"assemble", R"({"factor":2)", "not a JSON object"},
      {"assemble", "", "not a JSON object"},
      {"assembel", R"({"factor":2})", "assembel"},
      {"import_set", R"({"space":"pixels","factor":1})", "space"},
  };
  for (const RefusedJson& c : cases) {
    const auto read = ParseTaskParameters(c.kind, c.json);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument)
        << c.json;
    EXPECT_NE(std::string(read.status().message()).find(c.names),
              std::string::npos)
        << c.json << " gave " << read.status();
  }
}

TEST(TaskParameters, WhatChangesBitsOfAGangIsInTheJson) {
  const DistillSegmentParameters plain = Distill();
  DistillSegmentParameters other = plain;
  other.execution.micro_batch = 8;
  EXPECT_NE(ToCanonicalJson(other), ToCanonicalJson(plain));
  other = plain;
  other.matching.inits_per_step = 2;
  EXPECT_NE(ToCanonicalJson(other), ToCanonicalJson(plain));
  other = plain;
  other.fast_ranks = 4;
  EXPECT_NE(ToCanonicalJson(other), ToCanonicalJson(plain));
  DistillSegmentParameters trainer = other;
  trainer.fast_trainer = true;
  EXPECT_NE(ToCanonicalJson(trainer), ToCanonicalJson(other));
}

TEST(TaskParameters, ANegativeSeedIsRefused) {
  std::string json = ToCanonicalJson(Distill());
  const std::string seed = "18446744073709551615";
  ASSERT_NE(json.find(seed), std::string::npos);
  json.replace(json.find(seed), seed.size(), "-1");
  EXPECT_FALSE(ParseTaskParameters("distill_segment", json).ok());
}

TEST(TaskParameters, AnUnknownMemberDeepInsideIsRefusedWithItsPath) {
  nlohmann::json json = nlohmann::json::parse(ToCanonicalJson(Distill()));
  json["matching"]["speed"] = 1;
  const auto read = ParseTaskParameters("distill_segment", json.dump());
  EXPECT_NE(std::string(read.status().message()).find("matching.speed"),
            std::string::npos)
      << read.status();
}

TEST(NetworkSpec, NameHoldsEveryPart) {
  EXPECT_EQ(
      (NetworkSpec{.depth = 4, .width = 32, .norm = Norm::kBatch}.ToString()),
      "convnet-d4-w32-batch");
  const NetworkSpec resnet{
      .name = "resnet18-ap", .depth = 0, .width = 0, .norm = Norm::kBatch};
  EXPECT_EQ(resnet.ToString(), "resnet18-ap-batch");
  const NetworkSpec mlp{
      .name = "mlp", .depth = 0, .width = 0, .norm = Norm::kNone};
  EXPECT_EQ(mlp.ToString(), "mlp");
}

TEST(JobSpec, MethodFollowsFromSegmentsAndSet) {
  JobSpec spec;
  spec.sequence.segments = {5};
  EXPECT_EQ(spec.Method(), "idc");
  spec.sequence.segments = {5, 5};
  EXPECT_EQ(spec.Method(), "dasm");
  spec.trajectory.emplace();
  EXPECT_EQ(spec.Method(), "dasm-trajectory");
  spec.sequence.seqmatch = true;
  EXPECT_EQ(spec.Method(), "seqmatch");
  spec.sequence = {.segments = {5}};
  EXPECT_EQ(spec.Method(), "trajectory");
  spec.synthetic_set.emplace();
  EXPECT_EQ(spec.Method(), "evaluate");
}

}  // namespace
}  // namespace dasm
