#include "worker/engine/task/match_trajectories.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <ostream>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/engine/task/expert_blobs.h"
#include "worker/engine/task/read_for_tests.h"
#include "worker/engine/task/tiny_gang.h"

namespace dasm {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Wish = TaskObserver::Wish;
using Parameters = MatchTrajectoriesParameters;

constexpr int kExpertEpochs = 5;
constexpr int kIterations = 4;

Parameters Plain() {
  Parameters parameters;
  parameters.images_per_class = 2;
  parameters.network.depth = 2;
  parameters.network.width = 4;
  parameters.matching.iterations = kIterations;
  parameters.matching.student_steps = 3;
  parameters.matching.matched_epochs = 2;
  parameters.matching.start_epoch_max = 3;
  parameters.matching.start_epoch_initial = 3;
  parameters.matching.image_learning_rate = 0.5;
  parameters.matching.step_size = 0.05;
  parameters.matching.step_size_learning_rate = 1e-4;
  parameters.seed = 4;
  parameters.execution.train_group = 2;
  parameters.execution.forward_group = 5;
  return parameters;
}

// DATM with all that can be asked for.
Parameters Rich() {
  Parameters parameters = Plain();
  TrajectoryMatchingSpec& spec = parameters.matching;
  parameters.init = Init::kCorrect;
  spec.labels = Labels::kSoftLearned;
  spec.label_learning_rate = 1;
  spec.batch = 4;
  spec.student_steps = 5;
  spec.augmentation = {Augmentation::kColor,  Augmentation::kCrop,
                       Augmentation::kCutout, Augmentation::kFlip,
                       Augmentation::kScale,  Augmentation::kRotate};
  spec.start_epoch_initial = 1;
  spec.growth_iterations = 3;
  spec.skip_threshold = 5;
  spec.pixel_ema = 0.9;
  spec.mask_to = 0.25;
  spec.mask_smallest = 0.1;
  spec.snapshot_interval = 2;
  spec.probe_interval = 3;
  return parameters;
}

struct InputOptions {
  Norm norm = Norm::kInstance;
  int experts = 3;
};

std::map<std::string, std::string> MakeInputs(const InputOptions& options) {
  NetworkSpec network = Plain().network;
  network.norm = options.norm;
  std::map<std::string, std::string> inputs = {
      {"dataset", TinyDatasetBlob({})}};
  for (int e = 1; e <= options.experts; ++e) {
    inputs[absl::StrCat("expert.", e)] =
        ExpertBlob(inputs["dataset"], network, kExpertEpochs, e);
  }
  inputs["probe"] = ExpertBlob(inputs["dataset"], network, kExpertEpochs, 99);
  return inputs;
}

const std::map<std::string, std::string>& Inputs(Norm norm = Norm::kInstance) {
  static const auto* instance =
      new std::map<std::string, std::string>(MakeInputs({Norm::kInstance}));
  static const auto* batch =
      new std::map<std::string, std::string>(MakeInputs({Norm::kBatch}));
  return norm == Norm::kBatch ? *batch : *instance;
}

nlohmann::json WithoutMemory(nlohmann::json summary) {
  summary.erase("peak_memory_bytes");
  return summary;
}

TEST(MatchTrajectories, WritesAPreprocessedSetWithItsCurves) {
  TinyGang gang;
  const GangRun run = gang.Run(Plain(), Inputs());
  ASSERT_TRUE(run.status.ok()) << run.status;
  for (const char* output : {"segment", "start"}) {
    const auto file = *SafetensorsFile::Parse(run.outputs.at(output));
    EXPECT_EQ(file->tensors().at("images").shape,
              (std::vector<int64_t>{6, 1, 8, 8}));
    EXPECT_EQ(file->metadata().at("space"), "preprocessed");
    EXPECT_EQ(file->metadata().at("factor"), "1");
    EXPECT_FALSE(file->tensors().contains("label_logits"));
    EXPECT_TRUE(Read(run.outputs.at(output), "labels")
                    .equal(at::tensor({0, 0, 1, 1, 2, 2}, at::kLong)));
  }
  EXPECT_FALSE(run.outputs.contains("raw"));
  EXPECT_FALSE(Read(run.outputs.at("segment"), "images")
                   .equal(Read(run.outputs.at("start"), "images")));
  const float start = Read(run.outputs.at("start"), "step_size").item<float>();
  const float end = Read(run.outputs.at("segment"), "step_size").item<float>();
  EXPECT_EQ(start, 0.05f);
  EXPECT_NE(end, start);
  EXPECT_NEAR(run.summary["step_size"].get<double>(), end, 1e-7);
  EXPECT_EQ(run.summary["iterations"], kIterations);
  EXPECT_EQ(run.summary["skipped"], 0);
  EXPECT_GT(run.summary["peak_memory_bytes"].get<int64_t>(), 0);

  const std::string& curves = run.outputs.at("curves");
  EXPECT_TRUE(
      Read(curves, "iteration").equal(at::tensor({1, 2, 3, 4}, at::kLong)));
  const at::Tensor shares = Read(curves, "layer_loss");
  // Four tensors a block, two of the classifier.
  EXPECT_EQ(shares.sizes(), (std::vector<int64_t>{kIterations, 10}));
  EXPECT_LT((shares.sum(1) - 1).abs().max().item<double>(), 1e-5);
  const auto file = *SafetensorsFile::Parse(curves);
  EXPECT_EQ(nlohmann::json::parse(file->metadata().at("layers"))[4], "conv1.w");
  for (const char* series : {"matching_loss", "step_size", "gradient_norm"}) {
    EXPECT_EQ(run.observer.series.at(series).size(), kIterations) << series;
  }
  EXPECT_EQ(run.observer.progress.back(),
            (std::pair<int64_t, int64_t>(kIterations, kIterations)));
}

TEST(MatchTrajectories, LowersTheLoss) {
  Parameters parameters = Plain();
  parameters.matching.iterations = 40;
  parameters.matching.start_epoch_max = 1;
  parameters.matching.image_learning_rate = 3;
  std::map<std::string, std::string> inputs = MakeInputs({.experts = 1});
  TinyGang gang;
  const GangRun run = gang.Run(parameters, inputs);
  ASSERT_TRUE(run.status.ok()) << run.status;
  const at::Tensor loss = Read(run.outputs.at("curves"), "loss");
  EXPECT_LT(loss[39].item<float>(), 0.9 * loss[0].item<float>());
}

struct VariantCase {
  const char* name;
  std::function<Parameters()> parameters;
};

void PrintTo(const VariantCase& c, std::ostream* out) { *out << c.name; }

class MatchTrajectoriesVariant : public ::testing::TestWithParam<VariantCase> {
};

TEST_P(MatchTrajectoriesVariant, RanksChangeNoBit) {
  const Parameters parameters = GetParam().parameters();
  TinyGang gang;
  const GangRun one = gang.Run(parameters, Inputs(parameters.network.norm));
  ASSERT_TRUE(one.status.ok()) << one.status;
  for (gang.ranks = 2; gang.ranks <= 4; ++gang.ranks) {
    const GangRun many = gang.Run(parameters, Inputs(parameters.network.norm));
    ASSERT_TRUE(many.status.ok()) << many.status;
    EXPECT_EQ(many.outputs, one.outputs) << gang.ranks;
    EXPECT_EQ(many.observer.series, one.observer.series) << gang.ranks;
  }
}

TEST_P(MatchTrajectoriesVariant, ResumesFromEveryIterationWithTheSameBits) {
  const Parameters parameters = GetParam().parameters();
  TinyGang gang;
  const GangRun whole = gang.Run(parameters, Inputs(parameters.network.norm));
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  for (int64_t step = 0; step < kIterations; ++step) {
    gang.ranks = 2;
    gang.checkpoint.clear();
    gang.wishes = {{step, Wish::kStop}};
    const GangRun stopped =
        gang.Run(parameters, Inputs(parameters.network.norm));
    for (const absl::Status& status : stopped.all) {
      EXPECT_EQ(FailureClassOf(status), FailureClass::kPreempted) << status;
    }
    ASSERT_EQ(stopped.observer.checkpoints.count(step), 1);
    gang.ranks = 1;
    gang.wishes = {};
    gang.checkpoint = stopped.observer.checkpoints.at(step);
    const GangRun resumed =
        gang.Run(parameters, Inputs(parameters.network.norm));
    ASSERT_TRUE(resumed.status.ok()) << resumed.status;
    EXPECT_EQ(resumed.outputs, whole.outputs) << step;
    EXPECT_EQ(WithoutMemory(resumed.summary), WithoutMemory(whole.summary))
        << step;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Methods, MatchTrajectoriesVariant,
    ::testing::Values(VariantCase{"Plain", Plain}, VariantCase{"Rich", Rich},
                      VariantCase{"TeslaWithTeacher",
                                  [] {
                                    Parameters p = Plain();
                                    p.matching.estimator = Estimator::kTesla;
                                    p.matching.labels = Labels::kTeacher;
                                    p.matching.snapshot_interval = 1;
                                    return p;
                                  }},
                      VariantCase{"FullGraphInMicroBatches",
                                  [] {
                                    Parameters p = Rich();
                                    p.matching.estimator =
                                        Estimator::kFullGraph;
                                    p.execution.micro_batch = 1;
                                    return p;
                                  }},
                      VariantCase{"ThreeTrajectories",
                                  [] {
                                    Parameters p = Rich();
                                    p.matching.trajectories_per_step = 3;
                                    return p;
                                  }},
                      VariantCase{"TwoTrajectoriesWithTeacher",
                                  [] {
                                    Parameters p = Plain();
                                    p.matching.labels = Labels::kTeacher;
                                    p.matching.trajectories_per_step = 2;
                                    return p;
                                  }},
                      VariantCase{"BatchNorm",
                                  [] {
                                    Parameters p = Rich();
                                    p.network.norm = Norm::kBatch;
                                    return p;
                                  }}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(MatchTrajectories, DeliversTheMovingAverageAndSnapshots) {
  TinyGang gang;
  const GangRun run = gang.Run(Rich(), Inputs());
  ASSERT_TRUE(run.status.ok()) << run.status;
  // Of iterations 2 and 4, the last is the segment itself.
  EXPECT_TRUE(run.outputs.contains("snapshot.2"));
  EXPECT_TRUE(run.outputs.contains("raw_snapshot.2"));
  EXPECT_FALSE(run.outputs.contains("snapshot.4"));
  EXPECT_FALSE(Read(run.outputs.at("segment"), "images")
                   .equal(Read(run.outputs.at("raw"), "images")));
  EXPECT_EQ(Read(run.outputs.at("snapshot.2"), "label_logits").sizes(),
            (std::vector<int64_t>{6, 3}));
  EXPECT_EQ(Read(run.outputs.at("snapshot.2"), "step_size").numel(), 1);
  EXPECT_GT(run.summary["label_entropy"].get<double>(), 0);
  // At 0, 3 and the end, for start epochs 0 .. 3.
  const std::string& curves = run.outputs.at("curves");
  EXPECT_TRUE(
      Read(curves, "probe_iteration").equal(at::tensor({0, 3, 4}, at::kLong)));
  EXPECT_EQ(Read(curves, "probe_loss").sizes(), (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(Read(curves, "label_entropy").numel(), kIterations);

  // One step: E = d X0 + (1 - d) X1.
  Parameters once = Rich();
  once.matching.iterations = 1;
  const GangRun first = gang.Run(once, Inputs());
  const at::Tensor expected =
      0.9 * Read(first.outputs.at("start"), "images") +
      (1 - 0.9) * Read(first.outputs.at("raw"), "images");
  EXPECT_LT((Read(first.outputs.at("segment"), "images") - expected)
                .abs()
                .max()
                .item<double>(),
            1e-6);
}

TEST(MatchTrajectories, FullGraphEqualsTheStepAdjoint) {
  Parameters parameters = Rich();
  TinyGang gang;
  const GangRun adjoint = gang.Run(parameters, Inputs());
  parameters.matching.estimator = Estimator::kFullGraph;
  const GangRun graph = gang.Run(parameters, Inputs());
  ASSERT_TRUE(adjoint.status.ok() && graph.status.ok());
  for (const char* name : {"images", "label_logits", "step_size"}) {
    const at::Tensor a = Read(adjoint.outputs.at("segment"), name);
    const at::Tensor b = Read(graph.outputs.at("segment"), name);
    EXPECT_LT(((a - b).norm() / b.norm()).item<double>(), 1e-5) << name;
  }
}

TEST(MatchTrajectories, PadWithoutAMaskIsDatm) {
  Parameters datm = Rich();
  datm.matching.mask_to = 0;
  datm.matching.mask_smallest = 0;
  Parameters pad = datm;
  pad.matching.mask_from = 0.25;
  pad.matching.mask_to = 0.25;
  TinyGang gang;
  EXPECT_EQ(gang.Run(pad, Inputs()).outputs, gang.Run(datm, Inputs()).outputs);
  EXPECT_NE(gang.Run(Rich(), Inputs()).outputs.at("segment"),
            gang.Run(datm, Inputs()).outputs.at("segment"));
}

TEST(MatchTrajectories, SeqMatchOfOneSegmentIsItsBase) {
  Parameters seqmatch = Plain();
  seqmatch.visible_earlier = true;
  TinyGang gang;
  EXPECT_EQ(gang.Run(seqmatch, Inputs()).outputs,
            gang.Run(Plain(), Inputs()).outputs);
}

TEST(MatchTrajectories, StudentStepsOnEarlierSegmentsThatStayAsTheyAre) {
  TinyGang gang;
  for (const bool soft : {false, true}) {
    Parameters parameters = soft ? Rich() : Plain();
    const GangRun first = gang.Run(parameters, Inputs());
    ASSERT_TRUE(first.status.ok()) << first.status;
    std::map<std::string, std::string> inputs = Inputs();
    inputs["segment.1"] = first.outputs.at("segment");
    parameters.segment = 1;
    const GangRun alone = gang.Run(parameters, inputs);
    parameters.visible_earlier = true;
    const GangRun seeing = gang.Run(parameters, inputs);
    ASSERT_TRUE(alone.status.ok()) << alone.status;
    ASSERT_TRUE(seeing.status.ok()) << seeing.status;
    EXPECT_EQ(alone.outputs.at("start"), seeing.outputs.at("start"));
    EXPECT_NE(alone.outputs.at("segment"), seeing.outputs.at("segment"));
    EXPECT_EQ(Read(seeing.outputs.at("segment"), "images").size(0), 6);
    EXPECT_EQ(
        Read(seeing.outputs.at("segment"), "segment").eq(1).all().item<bool>(),
        true);
    // Not what the first segment started from, as long as there is other.
    const at::Tensor before = Read(first.outputs.at("start"), "source");
    const at::Tensor after = Read(seeing.outputs.at("start"), "source");
    EXPECT_FALSE(at::isin(after, before).any().item<bool>());
    for (gang.ranks = 2; gang.ranks <= 3; ++gang.ranks) {
      EXPECT_EQ(gang.Run(parameters, inputs).outputs, seeing.outputs);
    }
    gang.ranks = 1;
    // Labels of another kind cannot be stepped on.
    Parameters other = soft ? Plain() : Rich();
    other.segment = 1;
    other.visible_earlier = true;
    EXPECT_EQ(FailureClassOf(gang.Run(other, inputs).status),
              FailureClass::kData);
  }
}

TEST(MatchTrajectories, LossAboveTheThresholdUpdatesNothing) {
  Parameters parameters = Rich();
  parameters.matching.skip_threshold = 1e-9;
  TinyGang gang;
  const GangRun run = gang.Run(parameters, Inputs());
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.summary["skipped"], kIterations);
  for (const char* name : {"images", "label_logits", "step_size"}) {
    EXPECT_TRUE(Read(run.outputs.at("segment"), name)
                    .equal(Read(run.outputs.at("start"), name)))
        << name;
  }
}

TEST(MatchTrajectories, LossThatIsNotFiniteEndsTheRunAfterACheckpoint) {
  Parameters parameters = Plain();
  parameters.matching.image_learning_rate = 1e30;
  TinyGang gang;
  gang.ranks = 2;
  const GangRun run = gang.Run(parameters, Inputs());
  for (const absl::Status& status : run.all) {
    EXPECT_EQ(FailureClassOf(status), FailureClass::kNumeric) << status;
    EXPECT_THAT(status.message(),
                AllOf(HasSubstr("iteration"), HasSubstr("start epoch"),
                      HasSubstr("image_learning_rate")));
  }
}

// An expert that stands still at first, so that the loss is not finite.
std::string StillExpert() {
  return ExpertBlob(Inputs().at("dataset"), Plain().network, kExpertEpochs, 1,
                    /*still=*/true);
}

TEST(MatchTrajectories, SkipRuleGivesUpAfterTenLossesThatAreNotFinite) {
  std::map<std::string, std::string> inputs = {
      {"dataset", Inputs().at("dataset")}, {"expert.1", StillExpert()}};
  Parameters parameters = Plain();
  parameters.matching.start_epoch_max = 1;
  parameters.matching.skip_threshold = 1;
  parameters.matching.iterations = 9;
  TinyGang gang;
  const GangRun nine = gang.Run(parameters, inputs);
  ASSERT_TRUE(nine.status.ok()) << nine.status;
  EXPECT_EQ(nine.summary["skipped"], 9);
  EXPECT_EQ(nine.outputs.at("segment"), nine.outputs.at("start"));
  parameters.matching.iterations = 20;
  const GangRun run = gang.Run(parameters, inputs);
  EXPECT_EQ(FailureClassOf(run.status), FailureClass::kNumeric) << run.status;
  EXPECT_THAT(run.status.message(),
              AllOf(HasSubstr("iteration 9 "), HasSubstr("10th")));
  // Curves with losses that are not finite are in the checkpoint.
  ASSERT_EQ(run.observer.checkpoints.count(9), 1);
  // Without the rule the first one ends it.
  parameters.matching.skip_threshold = 0;
  EXPECT_THAT(gang.Run(parameters, inputs).status.message(),
              HasSubstr("iteration 0 "));
}

TEST(MatchTrajectories, StepSizeThatWouldBecomeNegativeNamesTheRemedy) {
  Parameters parameters = Plain();
  // So large that the student overshoots: it should become smaller, and a huge
  // rate takes it below 0.
  parameters.matching.step_size = 2;
  parameters.matching.step_size_learning_rate = 1e6;
  TinyGang gang;
  const GangRun run = gang.Run(parameters, Inputs());
  EXPECT_EQ(FailureClassOf(run.status), FailureClass::kNumeric) << run.status;
  EXPECT_THAT(run.status.message(), HasSubstr("step_size_form"));
  // As the iteration before left it.
  EXPECT_EQ(run.observer.checkpoints.size(), 1);
  parameters.matching.step_size_form = StepSizeForm::kClamped;
  parameters.matching.iterations = 1;
  const GangRun clamped = gang.Run(parameters, Inputs());
  ASSERT_TRUE(clamped.status.ok()) << clamped.status;
  EXPECT_FLOAT_EQ(
      Read(clamped.outputs.at("segment"), "step_size").item<float>(), 0.02f);
}

TEST(MatchTrajectories, RefusesExpertsOfAnotherNetworkOrTooFewEpochs) {
  TinyGang gang;
  Parameters parameters = Plain();
  parameters.matching.start_epoch_max = 5;
  const GangRun shorter = gang.Run(parameters, Inputs());
  EXPECT_EQ(FailureClassOf(shorter.status), FailureClass::kData);
  EXPECT_THAT(shorter.status.message(), HasSubstr("epochs"));
  parameters = Plain();
  parameters.network.width = 8;
  EXPECT_EQ(FailureClassOf(gang.Run(parameters, Inputs()).status),
            FailureClass::kData);
}

TEST(MatchTrajectories, RefusesTheCheckpointOfAnotherAction) {
  TinyGang gang;
  gang.wishes = {{1, Wish::kStop}};
  const GangRun stopped = gang.Run(Plain(), Inputs());
  gang.wishes = {};
  gang.checkpoint = stopped.observer.checkpoints.at(1);
  EXPECT_EQ(gang.Run(Rich(), Inputs()).status.code(),
            absl::StatusCode::kInvalidArgument);
}

std::string RangeBlob(int64_t min, int64_t initial, int64_t max) {
  return SerializeSafetensors(
      {{"start_epoch_min", {DType::kI64, {1}, &min}},
       {"start_epoch_initial", {DType::kI64, {1}, &initial}},
       {"start_epoch_max", {DType::kI64, {1}, &max}}});
}

TEST(MatchTrajectories, TakesStartEpochsFromTheRange) {
  TinyGang gang;
  std::map<std::string, std::string> inputs = Inputs();
  inputs["range"] = RangeBlob(2, 3, 3);
  Parameters parameters = Plain();
  parameters.matching.start_epoch_min = 2;
  EXPECT_EQ(gang.Run(Plain(), inputs).outputs,
            gang.Run(parameters, Inputs()).outputs);
  for (const std::string& bad :
       {RangeBlob(3, 3, 3), RangeBlob(0, 4, 3), RangeBlob(-1, 1, 2)}) {
    inputs["range"] = bad;
    EXPECT_EQ(FailureClassOf(gang.Run(Plain(), inputs).status),
              FailureClass::kData);
  }
}

TEST(MatchTrajectories, StartsFromNoiseOrFromThePool) {
  TinyGang gang;
  Parameters parameters = Plain();
  parameters.init = Init::kNoise;
  const GangRun noise = gang.Run(parameters, Inputs());
  ASSERT_TRUE(noise.status.ok()) << noise.status;
  const at::Tensor images = Read(noise.outputs.at("start"), "images");
  EXPECT_LT(images.mean().abs().item<double>(), 0.2);
  EXPECT_NEAR(images.std().item<double>(), 1, 0.15);
  EXPECT_TRUE(
      Read(noise.outputs.at("start"), "source").eq(-1).all().item<bool>());

  const TinyData data;
  const int64_t n = int64_t{data.classes} * data.train_per_class;
  std::vector<uint8_t> members(n), learned(n);
  std::vector<float> weight(n, 1);
  for (int64_t i = n - 9; i < n; ++i) members[i] = 1;
  std::map<std::string, std::string> inputs = Inputs();
  inputs["pool"] =
      SerializeSafetensors({{"members", {DType::kU8, {n}, members.data()}},
                            {"learned", {DType::kU8, {n}, learned.data()}},
                            {"weight", {DType::kF32, {n}, weight.data()}}},
                           {{"rule", "misclassified"}});
  const GangRun pooled = gang.Run(Plain(), inputs);
  ASSERT_TRUE(pooled.status.ok()) << pooled.status;
  EXPECT_GE(Read(pooled.outputs.at("start"), "source").min().item<int64_t>(),
            n - 9);
}

TEST(MatchTrajectories, NamesAClassThatNoExpertRecognises) {
  // At its first epoch the expert says the same of every image.
  std::map<std::string, std::string> inputs = Inputs();
  std::map<std::string, std::string> one = {
      {"dataset", inputs.at("dataset")},
      {"expert.1", ExpertBlob(inputs.at("dataset"), Plain().network,
                              kExpertEpochs, 1, /*still=*/false,
                              /*blind=*/true)}};
  Parameters parameters = Plain();
  parameters.init = Init::kCorrect;
  TinyGang gang;
  const GangRun run = gang.Run(parameters, one);
  EXPECT_EQ(FailureClassOf(run.status), FailureClass::kData);
  EXPECT_THAT(run.status.message(),
              AllOf(HasSubstr("class \""), HasSubstr("init: real")));
}

}  // namespace
}  // namespace dasm
