#include "worker/engine/task/task.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>

#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/temporary_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/device/load_plugin.h"
#include "worker/engine/task/tiny_gang.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Wish = TaskObserver::Wish;
using Inputs = std::map<std::string, std::string>;

const std::string& Dataset() {
  static const auto* blob = new std::string(TinyDatasetBlob({}));
  return *blob;
}

NetworkSpec TinyNetwork() {
  NetworkSpec network;
  network.depth = 2;
  network.width = 8;
  return network;
}

SelectCoresetParameters Coreset(const std::string& rule) {
  SelectCoresetParameters parameters;
  parameters.rule = rule;
  parameters.images_per_class = 2;
  parameters.factor = 2;
  return parameters;
}

EvaluateParameters Evaluation(int steps) {
  EvaluateParameters parameters;
  parameters.network = TinyNetwork();
  parameters.training.steps = steps;
  parameters.training.batch = 8;
  parameters.training.learning_rate = 0.05;
  parameters.training.augmentation = {Augmentation::kCrop};
  parameters.training.cutmix = 0;
  parameters.execution.train_group = 4;
  parameters.execution.forward_group = 10;
  return parameters;
}

std::vector<int64_t> Shape(const std::string& bytes, const std::string& name) {
  return (*SafetensorsFile::Parse(bytes))->tensors().at(name).shape;
}

template <typename T>
std::vector<T> Values(const std::string& bytes, const std::string& name) {
  const auto file = *SafetensorsFile::Parse(bytes);
  const TensorView& view = file->tensors().at(name);
  const T* first = static_cast<const T*>(view.data);
  return {first, first + view.elements()};
}

// Each kind's outputs feed the next, as in a job of two segments.
class TwoSegments : public ::testing::Test {
 protected:
  GangRun Must(const TaskParameters& parameters, const Inputs& inputs) {
    GangRun run = gang_.Run(parameters, inputs);
    EXPECT_TRUE(run.status.ok()) << KindOf(parameters) << run.status;
    return run;
  }

  DistillSegmentParameters Segment(int k) {
    DistillSegmentParameters parameters;
    parameters.segment = k;
    parameters.images_per_class = 1;
    parameters.network = TinyNetwork();
    parameters.matching.inits = 1;
    parameters.matching.steps_per_init = 2;
    parameters.matching.real_batch = 8;
    parameters.matching.net_steps = 1;
    parameters.matching.net_batch = 8;
    parameters.mix = 0.5;
    return parameters;
  }

  TinyGang gang_;
};

TEST_F(TwoSegments, GoFromDataToAVerifiableSet) {
  const Inputs data = {{"dataset", Dataset()}};
  const GangRun first = Must(Segment(0), data);

  Inputs to_select = data;
  for (int d = 0; d < 2; ++d) {
    TrainDiscriminatorParameters discriminator;
    discriminator.index = d;
    discriminator.network = TinyNetwork();
    discriminator.training = Evaluation(6).training;
    discriminator.factor = 2;
    Inputs inputs = data;
    inputs["segment.1"] = first.outputs.at("segment");
    const GangRun trained = Must(discriminator, inputs);
    EXPECT_EQ(trained.summary["steps"], 6);
    EXPECT_FALSE(trained.observer.series.at("training_loss").empty());

    ScoreSamplesParameters score;
    score.network = TinyNetwork();
    const GangRun scored = Must(
        score,
        {{"dataset", Dataset()}, {"weights", trained.outputs.at("weights")}});
    const double accuracy = scored.summary["training_accuracy"];
    EXPECT_GE(accuracy, 0);
    EXPECT_LE(accuracy, 100);
    EXPECT_THAT(Shape(scored.outputs.at("scores"), "probabilities"),
                ElementsAre(72, 3));
    to_select["scores." + std::to_string(d + 1)] = scored.outputs.at("scores");
  }
  EXPECT_NE(to_select["scores.1"], to_select["scores.2"]);
  to_select["reference_scores"] = to_select["scores.1"];

  SelectPoolParameters select;
  select.minimum = 16;
  const GangRun pool = Must(select, to_select);
  EXPECT_EQ(pool.summary["rule"], "misclassified");
  EXPECT_EQ(pool.summary["learned_fraction_by_decile"].size(), 10);
  EXPECT_FALSE(pool.summary.contains("jaccard_previous"));
  EXPECT_FALSE(pool.summary.contains("learned_fraction_tile_sources"));
  const auto members = Values<uint8_t>(pool.outputs.at("pool"), "members");
  int64_t sum = 0;
  for (int c = 0; c < 3; ++c) {
    const int64_t size = pool.summary["pool_size_by_class"][c];
    EXPECT_GE(size, 16);
    sum += size;
  }
  EXPECT_EQ(std::count(members.begin(), members.end(), 1), sum);
  to_select["previous_pool"] = pool.outputs.at("pool");
  EXPECT_EQ(Must(select, to_select).summary["jaccard_previous"], 1.0);

  // The first segment has 3 images of 4 tiles, each of an image of its own.
  to_select["segment.1"] = first.outputs.at("segment");
  const GangRun split = Must(select, to_select);
  EXPECT_NEAR(
      (12 * split.summary["learned_fraction_tile_sources"].get<double>() +
       60 * split.summary["learned_fraction_other_images"].get<double>()) /
          72,
      split.summary["learned_fraction"].get<double>(), 1e-12);
  // They tell of the pool and do not change it.
  EXPECT_EQ(split.outputs, pool.outputs);

  Inputs to_distill = data;
  to_distill["segment.1"] = first.outputs.at("segment");
  to_distill["pool"] = pool.outputs.at("pool");
  const GangRun second = Must(Segment(1), to_distill);

  AssembleParameters assemble;
  assemble.factor = 2;
  const GangRun set =
      Must(assemble, {{"dataset", Dataset()},
                      {"segment.1", first.outputs.at("segment")},
                      {"segment.2", second.outputs.at("segment")},
                      {"start.1", first.outputs.at("start")},
                      {"start.2", second.outputs.at("start")}});
  const std::string& synthetic = set.outputs.at("synthetic");
  EXPECT_THAT(Shape(synthetic, "images"), ElementsAre(6, 1, 8, 8));
  EXPECT_THAT(Values<int64_t>(synthetic, "labels"),
              ElementsAre(0, 1, 2, 0, 1, 2));
  EXPECT_THAT(Values<int32_t>(synthetic, "segment"),
              ElementsAre(0, 0, 0, 1, 1, 1));
  EXPECT_EQ((*SafetensorsFile::Parse(synthetic))->metadata().at("classes"),
            R"(["c0","c1","c2"])");
  EXPECT_EQ(set.summary["images"], 6);
  EXPECT_EQ(set.summary["stored_bytes"], 6 * 64 * 4);
  EXPECT_THAT(set.outputs.at("grid"), StartsWith("\x89PNG"));

  const GangRun evaluated =
      Must(Evaluation(8), {{"dataset", Dataset()}, {"set.1", synthetic}});
  EXPECT_EQ(evaluated.summary["decoded_images"], 24);
  // The assembled set and its segments are the same set.
  const GangRun parts =
      Must(Evaluation(8), {{"dataset", Dataset()},
                           {"set.1", first.outputs.at("segment")},
                           {"set.2", second.outputs.at("segment")}});
  EXPECT_EQ(parts.summary, evaluated.summary);
  EXPECT_EQ(parts.outputs, evaluated.outputs);
}

TEST(Evaluate, LearnsTheTinyDataAndCountsItsPredictions) {
  TinyGang gang;
  SelectCoresetParameters all = Coreset("random");
  all.images_per_class = 24;
  const GangRun set = gang.Run(all, {{"dataset", Dataset()}});
  ASSERT_TRUE(set.status.ok()) << set.status;
  const GangRun run =
      gang.Run(Evaluation(120),
               {{"dataset", Dataset()}, {"set.1", set.outputs.at("set")}});
  ASSERT_TRUE(run.status.ok()) << run.status;
  // Chance is 33.
  EXPECT_GT(run.summary["accuracy"].get<double>(), 80);
  const auto predictions =
      Values<int32_t>(run.outputs.at("predictions"), "predictions");
  ASSERT_EQ(predictions.size(), 24);
  int correct = 0;
  for (int i = 0; i < 24; ++i) correct += predictions[i] == i % 3;
  EXPECT_NEAR(run.summary["accuracy"].get<double>(), 100.0 * correct / 24,
              1e-9);
}

TEST(Evaluate, RanksAndInterruptionsChangeNoBit) {
  TinyGang gang;
  const GangRun set = gang.Run(Coreset("tiles"), {{"dataset", Dataset()}});
  const Inputs inputs = {{"dataset", Dataset()},
                         {"set.1", set.outputs.at("set")}};
  const GangRun one = gang.Run(Evaluation(10), inputs);
  ASSERT_TRUE(one.status.ok()) << one.status;
  gang.ranks = 3;
  const GangRun three = gang.Run(Evaluation(10), inputs);
  EXPECT_EQ(three.outputs, one.outputs);
  EXPECT_EQ(three.summary, one.summary);

  gang.wishes = {{6, Wish::kStop}};
  const GangRun stopped = gang.Run(Evaluation(10), inputs);
  EXPECT_EQ(FailureClassOf(stopped.status), FailureClass::kPreempted)
      << stopped.status;
  ASSERT_EQ(stopped.observer.checkpoints.size(), 1);
  gang.wishes = {};
  gang.ranks = 2;
  gang.checkpoint = stopped.observer.checkpoints.begin()->second;
  const GangRun resumed = gang.Run(Evaluation(10), inputs);
  EXPECT_EQ(resumed.outputs, one.outputs);
  EXPECT_EQ(resumed.summary, one.summary);
}

TEST(Evaluate, RepeatsDiffer) {
  TinyGang gang;
  const GangRun set = gang.Run(Coreset("tiles"), {{"dataset", Dataset()}});
  const Inputs inputs = {{"dataset", Dataset()},
                         {"set.1", set.outputs.at("set")}};
  EvaluateParameters other = Evaluation(10);
  other.repeat = 1;
  EXPECT_NE(gang.Run(other, inputs).observer.series,
            gang.Run(Evaluation(10), inputs).observer.series);
}

TEST(SelectCoreset, RandomTakesWholeImagesAndTilesTakeFourTimesAsMany) {
  TinyGang gang;
  const GangRun random = gang.Run(Coreset("random"), {{"dataset", Dataset()}});
  const GangRun tiles = gang.Run(Coreset("tiles"), {{"dataset", Dataset()}});
  ASSERT_TRUE(random.status.ok()) << random.status;
  EXPECT_THAT(Shape(random.outputs.at("set"), "source"), ElementsAre(6, 1));
  EXPECT_THAT(Shape(tiles.outputs.at("set"), "source"), ElementsAre(6, 4));
  EXPECT_EQ(random.summary, tiles.summary);  // the same storage
  // A random image is its source, byte for byte.
  const auto source = Values<int64_t>(random.outputs.at("set"), "source");
  const auto images = Values<float>(random.outputs.at("set"), "images");
  const auto bytes = Values<uint8_t>(Dataset(), "train_images");
  for (int64_t p = 0; p < 64; ++p) {
    EXPECT_FLOAT_EQ(images[p], bytes[source[0] * 64 + p] / 255.0f);
  }
}

TEST(RunTask, NamesAMissingInput) {
  TinyGang gang;
  const GangRun run = gang.Run(Evaluation(5), {{"dataset", Dataset()}});
  EXPECT_EQ(run.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(run.status.message()), HasSubstr("set.1"));
}

TEST(RunTask, RefusesKindsAndPrecisionsThatAreNotTheEngines) {
  TinyGang gang;
  EXPECT_EQ(gang.Run(PrepareDatasetParameters(), {}).status.code(),
            absl::StatusCode::kInvalidArgument);
  EvaluateParameters half = Evaluation(5);
  half.execution.precision = "fp16";
  const GangRun run = gang.Run(half, {{"dataset", Dataset()}});
  EXPECT_EQ(run.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(run.status.message()), HasSubstr("fp16"));
}

TEST(RunTask, SetOfAnotherShapeIsBadData) {
  TinyData wide;
  wide.shape = {1, 12, 12};
  TinyGang gang;
  const GangRun set =
      gang.Run(Coreset("tiles"), {{"dataset", TinyDatasetBlob(wide)}});
  const GangRun run =
      gang.Run(Evaluation(5),
               {{"dataset", Dataset()}, {"set.1", set.outputs.at("set")}});
  EXPECT_EQ(FailureClassOf(run.status), FailureClass::kData) << run.status;
}

TEST(NumericsClass, NamesDeviceInstructionsLibraryAndPrecision) {
  EXPECT_THAT(
      NumericsClass(),
      ::testing::MatchesRegex("cpu-[a-z0-9-]+/torch-[^/]+/openblas-[0-9.]+/"
                              "fp32/n[0-9]+"));
}

// A device of the CPU's memory, which knows one peak.
class OneDevice final : public DevicePlugin {
 public:
  absl::StatusOr<std::vector<DeviceInfo>> Devices() override {
    return std::vector<DeviceInfo>(1);
  }
  absl::Status Initialize(int) override { return absl::OkStatus(); }
  absl::StatusOr<std::string> NewGangId() override { return ""; }
  absl::StatusOr<std::unique_ptr<Collective>> JoinGang(
      const DeviceGangOptions&) override {
    return absl::UnimplementedError("it is alone");
  }
  std::unique_ptr<StepGraph> MakeStepGraph(int) override { return nullptr; }
  std::unique_ptr<DeviceLanes> MakeLanes(int, int) override { return nullptr; }
  DeviceMemory Memory(int) override { return {0, peak_, 2 * peak_, 0}; }
  void ReleaseMemory(int) override { peak_ = 0; }
  absl::Status Synchronize(int) override { return absl::OkStatus(); }

 private:
  int64_t peak_ = 500;
};

class OutOfMemoryObserver final : public TaskObserver {
 public:
  void Progress(int64_t, int64_t, double, std::string_view) override {}
  void Point(std::string_view, int64_t, double) override {}
  void Line(std::string_view, std::string_view) override {}
  Wish Poll() override {
    TORCH_CHECK_WITH(OutOfMemoryError, false, "no memory left");
  }
  absl::Status WriteCheckpoint(
      int64_t, const std::map<std::string, TensorView>&) override {
    return absl::OkStatus();
  }
};

TEST_F(TwoSegments, KeepTheDevicesPeakOverTheSearchForWhatFits) {
  const auto folder = *TemporaryDirectory::Create();
  TaskFiles files;
  files.output_dir = folder->path();
  files.inputs["dataset"] = folder->path() + "/dataset";
  ASSERT_TRUE(
      WriteFileAtomically(LocalFileSystem(), files.inputs["dataset"], Dataset())
          .ok());
  OneDevice device;
  InstallPlugin(&device);
  DeviceMemory at_failure;
  RunOptions options;
  options.at_failure = &at_failure;
  SingleProcessCollective alone;
  OutOfMemoryObserver observer;
  const auto outcome =
      RunTask(Segment(0), files, "cpu", &alone, &observer, options);
  InstallPlugin(nullptr);
  EXPECT_EQ(FailureClassOf(outcome.status()), FailureClass::kOomDevice);
  EXPECT_EQ(at_failure.peak_allocated_bytes, 500);
  EXPECT_EQ(at_failure.peak_reserved_bytes, 1000);
}

}  // namespace
}  // namespace dasm
