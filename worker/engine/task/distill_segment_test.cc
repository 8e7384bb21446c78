#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <set>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/engine/task/tiny_gang.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;
using Wish = TaskObserver::Wish;

DistillSegmentParameters Parameters() {
  DistillSegmentParameters parameters;
  parameters.images_per_class = 2;
  parameters.network.depth = 2;
  parameters.network.width = 8;
  parameters.matching.inits = 2;
  parameters.matching.steps_per_init = 3;
  parameters.matching.real_batch = 8;
  // Fewer than the 8 decoded images of a class.
  parameters.matching.synthetic_batch = 6;
  parameters.matching.image_learning_rate = 0.05;
  parameters.matching.scale_learning_rate = false;
  parameters.matching.augmentation = {Augmentation::kColor, Augmentation::kCrop,
                                      Augmentation::kCutout};
  parameters.matching.net_steps = 2;
  parameters.matching.net_batch = 12;
  parameters.matching.net_augmentation = {Augmentation::kColor,
                                          Augmentation::kCrop};
  parameters.seed = 4;
  parameters.execution.train_group = 4;
  return parameters;
}

const std::map<std::string, std::string>& TinyInputs() {
  static const auto* inputs =
      new std::map<std::string, std::string>{{"dataset", TinyDatasetBlob({})}};
  return *inputs;
}

// Of an f32 tensor in safetensors bytes.
std::vector<float> Floats(const std::string& bytes, const std::string& name) {
  const auto file = SafetensorsFile::Parse(bytes);
  EXPECT_TRUE(file.ok()) << file.status();
  const TensorView& view = (*file)->tensors().at(name);
  const float* first = static_cast<const float*>(view.data);
  return {first, first + view.elements()};
}

std::vector<int64_t> Sources(const std::string& bytes) {
  const auto file = SafetensorsFile::Parse(bytes);
  EXPECT_TRUE(file.ok()) << file.status();
  const TensorView& view = (*file)->tensors().at("source");
  const int64_t* first = static_cast<const int64_t*>(view.data);
  return {first, first + view.elements()};
}

// A pool that holds, of each class, the images of which `of_class` is true.
std::string PoolBlob(const std::function<bool(int64_t)>& of_class) {
  const TinyData data;
  const int64_t n = data.classes * data.train_per_class;
  std::vector<uint8_t> members(n), learned(n);
  std::vector<float> weight(n);
  for (int64_t i = 0; i < n; ++i) {
    members[i] = of_class(i / data.classes);
    weight[i] = members[i];
  }
  return SerializeSafetensors({{"members", {DType::kU8, {n}, members.data()}},
                               {"learned", {DType::kU8, {n}, learned.data()}},
                               {"weight", {DType::kF32, {n}, weight.data()}}},
                              {{"rule", "misclassified"}});
}

TEST(DistillSegment, WritesASetOfTheAskedShape) {
  TinyGang gang;
  const GangRun run = gang.Run(Parameters(), TinyInputs());
  ASSERT_TRUE(run.status.ok()) << run.status;
  for (const char* output : {"segment", "start"}) {
    const auto file = *SafetensorsFile::Parse(run.outputs.at(output));
    EXPECT_EQ(file->tensors().at("images").shape,
              (std::vector<int64_t>{6, 1, 8, 8}));
    EXPECT_EQ(file->tensors().at("source").shape, (std::vector<int64_t>{6, 4}));
    EXPECT_EQ(file->metadata().at("factor"), "2");
    for (float pixel : Floats(run.outputs.at(output), "images")) {
      EXPECT_GE(pixel, 0.0f);
      EXPECT_LE(pixel, 1.0f);
    }
    const TensorView& labels = file->tensors().at("labels");
    const int64_t expected[] = {0, 0, 1, 1, 2, 2};
    EXPECT_EQ(std::memcmp(labels.data, expected, sizeof(expected)), 0);
  }
  EXPECT_NE(Floats(run.outputs.at("segment"), "images"),
            Floats(run.outputs.at("start"), "images"));
  EXPECT_EQ(run.summary["steps"], 6);
  EXPECT_GT(run.summary["max_pixel_step"].get<double>(), 0);
  EXPECT_EQ(run.observer.series.at("matching_loss").size(), 6);
  EXPECT_EQ(run.observer.series.at("gradient_norm").size(), 6);
  EXPECT_EQ(run.observer.progress.back(), (std::pair<int64_t, int64_t>(6, 6)));
  EXPECT_EQ(run.summary["final_loss"],
            run.observer.series.at("matching_loss").back().second);
  // Sources are of the right class: labels go round.
  const std::vector<int64_t> sources = Sources(run.outputs.at("start"));
  for (size_t i = 0; i < sources.size(); ++i) {
    EXPECT_EQ(sources[i] % 3, static_cast<int64_t>(i / 8));
  }
}

class DistillNorm : public ::testing::TestWithParam<Norm> {
 protected:
  static DistillSegmentParameters ParametersOf(Norm norm) {
    DistillSegmentParameters parameters = Parameters();
    parameters.network.norm = norm;
    return parameters;
  }
};

TEST_P(DistillNorm, AnyNumberOfRanksGivesTheSameBits) {
  TinyGang gang;
  const GangRun one = gang.Run(ParametersOf(GetParam()), TinyInputs());
  ASSERT_TRUE(one.status.ok()) << one.status;
  for (gang.ranks = 2; gang.ranks <= 4; ++gang.ranks) {
    const GangRun many = gang.Run(ParametersOf(GetParam()), TinyInputs());
    ASSERT_TRUE(many.status.ok()) << many.status;
    EXPECT_EQ(many.outputs, one.outputs) << gang.ranks;
    EXPECT_EQ(many.observer.series, one.observer.series) << gang.ranks;
  }
}

TEST_P(DistillNorm, ResumesFromEveryStepWithTheSameBits) {
  TinyGang gang;
  const GangRun whole = gang.Run(ParametersOf(GetParam()), TinyInputs());
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  for (int64_t step = 0; step < 6; ++step) {
    gang.ranks = 2;
    gang.checkpoint.clear();
    gang.wishes = {{step, Wish::kStop}};
    const GangRun stopped = gang.Run(ParametersOf(GetParam()), TinyInputs());
    for (const absl::Status& status : stopped.all) {
      EXPECT_EQ(FailureClassOf(status), FailureClass::kPreempted) << status;
    }
    ASSERT_EQ(stopped.observer.checkpoints.count(step), 1);
    gang.ranks = 1;
    gang.wishes = {};
    gang.checkpoint = stopped.observer.checkpoints.at(step);
    const GangRun resumed = gang.Run(ParametersOf(GetParam()), TinyInputs());
    ASSERT_TRUE(resumed.status.ok()) << resumed.status;
    EXPECT_EQ(resumed.outputs, whole.outputs) << step;
    EXPECT_EQ(resumed.summary, whole.summary) << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Norms, DistillNorm,
                         ::testing::Values(Norm::kInstance, Norm::kBatch));

// What a job may ask of a gang; the digest follows from the parameters alone.
struct GangCase {
  const char* name;
  int inits_per_step = 1;
  int micro_batch = 0;
  // Of 8 decoded images of 2 stored ones.
  int synthetic_batch = 6;
  int factor = 2;
  int images_per_class = 2;
};

class DistillGang : public ::testing::TestWithParam<GangCase> {
 protected:
  static DistillSegmentParameters ParametersOf(const GangCase& c) {
    DistillSegmentParameters parameters = Parameters();
    parameters.matching.inits = 4;
    parameters.matching.inits_per_step = c.inits_per_step;
    parameters.matching.steps_per_init = 2;
    parameters.matching.synthetic_batch = c.synthetic_batch;
    parameters.execution.micro_batch = c.micro_batch;
    parameters.synthesis.factor = c.factor;
    parameters.images_per_class = c.images_per_class;
    return parameters;
  }
  static int64_t Steps() { return 8 / GetParam().inits_per_step; }
};

TEST_P(DistillGang, RanksAndExchangeChangeNoBit) {
  const DistillSegmentParameters parameters = ParametersOf(GetParam());
  TinyGang gang;
  gang.wishes = {{2, Wish::kCheckpoint}};
  const GangRun one = gang.Run(parameters, TinyInputs());
  ASSERT_TRUE(one.status.ok()) << one.status;
  EXPECT_EQ(one.summary["steps"], Steps());
  for (const Exchange exchange : {Exchange::kEveryStep, Exchange::kDeferred}) {
    gang.options.exchange = exchange;
    for (gang.ranks = 1; gang.ranks <= 4; ++gang.ranks) {
      const GangRun many = gang.Run(parameters, TinyInputs());
      ASSERT_TRUE(many.status.ok()) << many.status;
      EXPECT_EQ(many.outputs, one.outputs) << gang.ranks;
      EXPECT_EQ(many.summary, one.summary) << gang.ranks;
      EXPECT_EQ(many.observer.series, one.observer.series) << gang.ranks;
      EXPECT_EQ(many.observer.checkpoints, one.observer.checkpoints)
          << gang.ranks;
    }
  }
}

TEST_P(DistillGang, ResumesOnAnotherNumberOfRanksWithTheOtherExchange) {
  const DistillSegmentParameters parameters = ParametersOf(GetParam());
  TinyGang gang;
  const GangRun whole = gang.Run(parameters, TinyInputs());
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  for (const int64_t step : std::set<int64_t>{1, Steps() - 1}) {
    gang.ranks = step % 2 == 0 ? 2 : 4;
    gang.options.exchange = Exchange::kDeferred;
    gang.checkpoint.clear();
    gang.wishes = {{step, Wish::kStop}};
    const GangRun stopped = gang.Run(parameters, TinyInputs());
    ASSERT_EQ(stopped.observer.checkpoints.count(step), 1) << stopped.status;
    gang.ranks = 3;
    gang.options.exchange = Exchange::kEveryStep;
    gang.wishes = {};
    gang.checkpoint = stopped.observer.checkpoints.at(step);
    const GangRun resumed = gang.Run(parameters, TinyInputs());
    ASSERT_TRUE(resumed.status.ok()) << resumed.status;
    EXPECT_EQ(resumed.outputs, whole.outputs) << step;
    EXPECT_EQ(resumed.summary, whole.summary) << step;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, DistillGang,
    ::testing::Values(GangCase{"Plain"}, GangCase{"TwoInits", 2},
                      GangCase{"FourInits", 4}, GangCase{"Parts", 1, 3},
                      GangCase{"TwoInitsInParts", 2, 5},
                      // Two of six stored rows take part in a step.
                      GangCase{"FewRows", 1, 0, 2, 1, 6},
                      GangCase{"FewRowsOfTwoInits", 2, 0, 2, 1, 6},
                      GangCase{"FewRowsInParts", 1, 1, 2, 1, 6}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(DistillSegment, DeferredExchangeSendsImagesOnlyAtTheEnd) {
  // Poll, losses and norms, then the networks' two sums; at the end pixels,
  // velocity and the largest move. A wrong bit in the third step's small
  // exchange, of one rank, cannot reach the pixels.
  DistillSegmentParameters parameters = Parameters();
  parameters.matching.net_steps = 0;
  TinyGang gang;
  const GangRun whole = gang.Run(parameters, TinyInputs());
  gang.ranks = 2;
  gang.options.exchange = Exchange::kDeferred;
  gang.fault = {CollectiveFault::Kind::kCorrupt, 2 * 2 + 1};
  const GangRun run = gang.Run(parameters, TinyInputs());
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs, whole.outputs);
}

TEST(DistillSegment, ANetworksNonFiniteLossNamesItsStepOnEveryRank) {
  TinyGang gang;
  gang.ranks = 2;
  // Call 2 is the gradient of step 0's first network step; the loss of the
  // second is then NaN.
  gang.fault = {CollectiveFault::Kind::kNan, 2};
  const GangRun run = gang.Run(Parameters(), TinyInputs());
  for (const absl::Status& status : run.all) {
    EXPECT_EQ(FailureClassOf(status), FailureClass::kNumeric) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("step 0, network 0, network step 1"));
  }
  EXPECT_TRUE(run.observer.checkpoints.empty());
}

// The velocity after a first step without momentum is the step's gradient.
std::vector<float> VelocityAfter(int64_t step,
                                 const DistillSegmentParameters& parameters) {
  TinyGang gang;
  gang.wishes = {{step, Wish::kCheckpoint}};
  const GangRun run = gang.Run(parameters, TinyInputs());
  EXPECT_TRUE(run.status.ok()) << run.status;
  return Floats(run.observer.checkpoints.at(step), "velocity");
}

TEST(DistillSegment, InitsOfAStepAreAveragedInTheirOrder) {
  // Networks 0 and 1 meet the same pixels one after the other, since a step
  // moves none of them by a representable amount, or at once.
  DistillSegmentParameters serial = Parameters();
  serial.matching.inits = 4;
  serial.matching.steps_per_init = 1;
  serial.matching.image_momentum = 0;
  serial.matching.image_learning_rate = 1e-30;
  DistillSegmentParameters both = serial;
  both.matching.inits_per_step = 2;
  const std::vector<float> first = VelocityAfter(1, serial);
  const std::vector<float> second = VelocityAfter(2, serial);
  const std::vector<float> mean = VelocityAfter(1, both);
  EXPECT_NE(first, second);
  ASSERT_EQ(mean.size(), first.size());
  for (size_t i = 0; i < mean.size(); ++i) {
    ASSERT_EQ(mean[i], (first[i] + second[i]) / 2) << i;
  }
}

TEST(DistillSegment, RowsWithoutAGradientTakeTheirMomentumStep) {
  DistillSegmentParameters parameters = Parameters();
  parameters.images_per_class = 6;
  parameters.synthesis.factor = 1;
  parameters.matching.synthetic_batch = 2;
  parameters.matching.inits = 1;
  parameters.matching.image_momentum = 0.5;
  const std::vector<float> before = VelocityAfter(1, parameters);
  const std::vector<float> after = VelocityAfter(2, parameters);
  constexpr int kImage = 64;
  int decayed = 0;
  for (size_t row = 0; row < before.size() / kImage; ++row) {
    bool moving = false, only_decayed = true;
    for (size_t i = row * kImage; i < (row + 1) * kImage; ++i) {
      moving |= before[i] != 0;
      // 0.5 to the power of three classes.
      only_decayed &= after[i] == 0.125f * before[i];
    }
    decayed += moving && only_decayed;
  }
  EXPECT_GT(decayed, 0);
}

TEST(DistillSegment, PartsMatchTheSameImagesAsWholeClasses) {
  DistillSegmentParameters whole = Parameters();
  whole.matching.inits = 1;
  whole.matching.distance = Distance::kMse;
  DistillSegmentParameters parts = whole;
  parts.execution.micro_batch = 3;
  const std::vector<float> a = VelocityAfter(1, whole);
  const std::vector<float> b = VelocityAfter(1, parts);
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += a[i] * a[i];
  }
  EXPECT_LT(std::sqrt(difference), 1e-4 * std::sqrt(size));
  // A class that fits one part is matched as it is.
  parts.execution.micro_batch = 8;
  EXPECT_EQ(VelocityAfter(1, parts), a);
}

TEST(DistillSegment, BatchNormHasNoParts) {
  DistillSegmentParameters parameters = Parameters();
  parameters.network.norm = Norm::kBatch;
  parameters.execution.micro_batch = 3;
  TinyGang gang;
  const GangRun run = gang.Run(parameters, TinyInputs());
  EXPECT_EQ(run.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(run.status.message()),
              HasSubstr("execution.micro_batch"));
}

TEST(DistillSegment, CheckpointsOnTheWayChangeNothing) {
  TinyGang gang;
  const GangRun plain = gang.Run(Parameters(), TinyInputs());
  gang.wishes = {{1, Wish::kCheckpoint}, {4, Wish::kCheckpoint}};
  const GangRun saved = gang.Run(Parameters(), TinyInputs());
  ASSERT_TRUE(saved.status.ok()) << saved.status;
  EXPECT_EQ(saved.outputs, plain.outputs);
  EXPECT_EQ(saved.observer.checkpoints.size(), 2);
}

TEST(DistillSegment, MatchingLossDecreases) {
  DistillSegmentParameters parameters = Parameters();
  // One fixed network and fixed batches: the same loss again and again.
  parameters.matching.inits = 1;
  parameters.matching.steps_per_init = 25;
  parameters.matching.net_steps = 0;
  parameters.matching.real_batch = 24;
  parameters.matching.synthetic_batch = 8;
  parameters.matching.augmentation = {};
  parameters.matching.image_learning_rate = 0.01;
  TinyGang gang;
  const GangRun run = gang.Run(parameters, TinyInputs());
  ASSERT_TRUE(run.status.ok()) << run.status;
  const auto& losses = run.observer.series.at("matching_loss");
  EXPECT_LT(losses.back().second, 0.8 * losses.front().second);
}

TEST(DistillSegment, SeedAndSegmentDecideTheResult) {
  TinyGang gang;
  DistillSegmentParameters other_seed = Parameters();
  other_seed.seed = 5;
  DistillSegmentParameters other_segment = Parameters();
  other_segment.segment = 1;
  const GangRun run = gang.Run(Parameters(), TinyInputs());
  EXPECT_NE(Sources(gang.Run(other_seed, TinyInputs()).outputs.at("start")),
            Sources(run.outputs.at("start")));
  EXPECT_NE(Sources(gang.Run(other_segment, TinyInputs()).outputs.at("start")),
            Sources(run.outputs.at("start")));
}

TEST(DistillSegment, NoiseStartHasNoSources) {
  DistillSegmentParameters parameters = Parameters();
  parameters.synthesis.init = Init::kNoise;
  parameters.synthesis.factor = 1;
  TinyGang gang;
  const GangRun run = gang.Run(parameters, TinyInputs());
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(Sources(run.outputs.at("start")), std::vector<int64_t>(6, -1));
}

TEST(DistillSegment, LaterSegmentStartsFromUnusedImagesOfItsPool) {
  TinyGang gang;
  const GangRun first = gang.Run(Parameters(), TinyInputs());
  ASSERT_TRUE(first.status.ok()) << first.status;
  DistillSegmentParameters parameters = Parameters();
  parameters.segment = 1;
  parameters.mix = 0.5;
  std::map<std::string, std::string> inputs = TinyInputs();
  inputs["segment.1"] = first.outputs.at("segment");
  inputs["pool"] = PoolBlob([](int64_t i) { return i >= 8; });
  const GangRun second = gang.Run(parameters, inputs);
  ASSERT_TRUE(second.status.ok()) << second.status;
  const std::vector<int64_t> used = Sources(first.outputs.at("segment"));
  std::vector<int64_t> sources = Sources(second.outputs.at("segment"));
  for (int64_t source : sources) {
    EXPECT_GE(source / 3, 8) << "not in the pool";
    EXPECT_EQ(std::count(used.begin(), used.end(), source), 0) << source;
  }
  EXPECT_EQ(std::set<int64_t>(sources.begin(), sources.end()).size(), 24);
}

TEST(DistillSegment, AWholeClassPoolIsAnotherStreamButAPoolOfMixZeroIsNone) {
  // mix 0 takes real batches from the whole class, as without a pool; with the
  // same start only the pool's absence could show.
  DistillSegmentParameters parameters = Parameters();
  parameters.mix = 0;
  parameters.synthesis.init = Init::kNoise;
  std::map<std::string, std::string> inputs = TinyInputs();
  TinyGang gang;
  const GangRun without = gang.Run(parameters, inputs);
  inputs["pool"] = PoolBlob([](int64_t i) { return i == 3; });
  const GangRun with = gang.Run(parameters, inputs);
  ASSERT_TRUE(with.status.ok()) << with.status;
  EXPECT_EQ(with.outputs, without.outputs);
  parameters.mix = 1;
  EXPECT_NE(gang.Run(parameters, inputs).outputs, without.outputs);
}

TEST(DistillSegment, NonFiniteLossNamesTheStepAndKeepsAGoodCheckpoint) {
  for (const Exchange exchange : {Exchange::kEveryStep, Exchange::kDeferred}) {
    TinyGang gang;
    gang.ranks = 2;
    gang.options.exchange = exchange;
    // Calls of a step: poll, gather, 2 network steps; none after the third.
    // Call 5 is step 1's gather, of losses and norms alone where deferred.
    gang.fault = {CollectiveFault::Kind::kNan, 5};
    const GangRun run = gang.Run(Parameters(), TinyInputs());
    for (const absl::Status& status : run.all) {
      EXPECT_EQ(FailureClassOf(status), FailureClass::kNumeric) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr("step 1 "));
    }
    ASSERT_EQ(run.observer.checkpoints.count(1), 1);

    // The checkpoint is good: without the fault it leads to the same end.
    TinyGang healthy;
    const GangRun whole = healthy.Run(Parameters(), TinyInputs());
    healthy.checkpoint = run.observer.checkpoints.at(1);
    EXPECT_EQ(healthy.Run(Parameters(), TinyInputs()).outputs, whole.outputs);
  }
}

TEST(DistillSegment, DivergenceIsNumericAndNeverCheckpointed) {
  DistillSegmentParameters parameters = Parameters();
  parameters.matching.net_learning_rate = 1e30;
  TinyGang gang;
  for (int64_t poll = 0; poll < 6; ++poll) {
    gang.wishes[poll] = Wish::kCheckpoint;
  }
  const GangRun run = gang.Run(parameters, TinyInputs());
  EXPECT_EQ(FailureClassOf(run.status), FailureClass::kNumeric) << run.status;
  EXPECT_THAT(std::string(run.status.message()), HasSubstr("step "));
  for (const auto& [step, bytes] : run.observer.checkpoints) {
    for (const char* tensor : {"pixels", "student.parameters"}) {
      for (float value : Floats(bytes, tensor)) {
        ASSERT_TRUE(std::isfinite(value)) << tensor << " at step " << step;
      }
    }
  }
}

TEST(DistillSegment, RefusesTheCheckpointOfAnotherAction) {
  TinyGang gang;
  gang.wishes = {{2, Wish::kStop}};
  gang.checkpoint =
      gang.Run(Parameters(), TinyInputs()).observer.checkpoints.at(2);
  gang.wishes = {};
  DistillSegmentParameters other = Parameters();
  other.seed = 99;
  const GangRun run = gang.Run(other, TinyInputs());
  EXPECT_EQ(run.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(run.status.message()), HasSubstr("another action"));
}

TEST(DistillSegment, FailedCheckpointWriteEndsEveryRank) {
  TinyGang gang;
  gang.ranks = 3;
  gang.wishes = {{1, Wish::kCheckpoint}};
  gang.checkpoint_status = WithFailureClass(
      absl::ResourceExhaustedError("disk full"), FailureClass::kStorage);
  const GangRun run = gang.Run(Parameters(), TinyInputs());
  EXPECT_EQ(FailureClassOf(run.status), FailureClass::kStorage) << run.status;
  for (const absl::Status& status : run.all) EXPECT_FALSE(status.ok());
}

TEST(DistillSegment, ARankThatComputedOtherBitsIsFound) {
  TinyGang gang;
  gang.ranks = 2;
  gang.wishes = {{1, Wish::kCheckpoint}};
  gang.fault = {CollectiveFault::Kind::kCorrupt, 1};
  const GangRun run = gang.Run(Parameters(), TinyInputs());
  EXPECT_FALSE(run.status.ok());
  EXPECT_TRUE(run.observer.checkpoints.empty());
  EXPECT_EQ(FailureClassOf(run.status), FailureClass::kInternal) << run.status;
}

TEST(DistillSegment, APoolOfAnotherDataSetIsBadData) {
  std::map<std::string, std::string> inputs = TinyInputs();
  const std::vector<uint8_t> members(5);
  inputs["pool"] =
      SerializeSafetensors({{"members", {DType::kU8, {5}, members.data()}}});
  TinyGang gang;
  const GangRun run = gang.Run(Parameters(), inputs);
  EXPECT_EQ(FailureClassOf(run.status), FailureClass::kData) << run.status;
}

}  // namespace
}  // namespace dasm
