#include "worker/engine/task/train_experts.h"

#include <ATen/ATen.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/temporary_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/dataset/tensor_view.h"
#include "worker/engine/task/expert_group.h"
#include "worker/engine/task/tiny_gang.h"

namespace dasm {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Wish = TaskObserver::Wish;
using Inputs = std::map<std::string, std::string>;

// 72 images of 3 classes; batches of 20: 4 an epoch, the last of 12.
class TrainExpertsTest : public ::testing::Test {
 protected:
  TrainExpertsTest() {
    parameters_.count = 2;
    parameters_.network.depth = 2;
    parameters_.network.width = 4;
    parameters_.training.epochs = 3;
    parameters_.training.batch = 20;
    parameters_.training.learning_rate = 0.05;
    using enum Augmentation;
    parameters_.training.augmentation = {kColor, kCrop,  kCutout,
                                         kFlip,  kScale, kRotate};
    parameters_.execution.train_group = 6;
    inputs_["dataset"] = TinyDatasetBlob({});
  }

  GangRun Must() {
    GangRun run = gang_.Run(parameters_, inputs_);
    EXPECT_TRUE(run.status.ok()) << run.status;
    return run;
  }

  // Row by row, [epochs + 1, P].
  static at::Tensor Trajectory(const GangRun& run, const std::string& expert,
                               const std::string& tensor = "trajectory") {
    const auto file = *SafetensorsFile::Parse(run.outputs.at(expert));
    return CopyTensor(file->tensors().at(tensor));
  }

  // Image numbers in the order of their classes, easy to hard.
  static std::string Ranking(const std::vector<int64_t>& order) {
    return SerializeSafetensors(
        {{"order",
          {DType::kI64, {static_cast<int64_t>(order.size())}, order.data()}}},
        {{"rule", "el2n"}});
  }
  static std::vector<int64_t> ClassOrder() {
    std::vector<int64_t> order;
    for (int64_t c = 0; c < 3; ++c) {
      for (int64_t i = c; i < 72; i += 3) order.push_back(i);
    }
    return order;
  }

  // One image a class of the earlier segment.
  static std::string Segment(bool with_step_size) {
    const at::Tensor images =
        at::arange(192, at::kFloat).sin().view({3, 1, 8, 8});
    const std::vector<int64_t> labels = {0, 1, 2};
    const std::vector<int32_t> segment = {0, 0, 0};
    const std::vector<float> step_size = {0.02f};
    std::map<std::string, TensorView> tensors = {
        {"images", ViewOf(images)},
        {"labels", {DType::kI64, {3}, labels.data()}},
        {"segment", {DType::kI32, {3}, segment.data()}}};
    if (with_step_size) {
      tensors["step_size"] = {DType::kF32, {1}, step_size.data()};
    }
    return SerializeSafetensors(tensors,
                                {{"factor", "1"}, {"space", "preprocessed"}});
  }

  TrainExpertsParameters parameters_;
  Inputs inputs_;
  TinyGang gang_;
};

TEST_F(TrainExpertsTest, TrajectoryHasARowBeforeAndAfterEachEpoch) {
  parameters_.training.learning_rate = 0.2;
  parameters_.training.epochs = 8;
  const GangRun run = Must();
  const at::Tensor first = Trajectory(run, "expert.1");
  const at::Tensor second = Trajectory(run, "expert.2");
  EXPECT_EQ(first.size(0), 9);
  for (int epoch = 0; epoch < 8; ++epoch) {
    EXPECT_FALSE(first[epoch].equal(first[epoch + 1])) << epoch;
  }
  EXPECT_FALSE(first[0].equal(second[0]));
  EXPECT_EQ(run.summary["epochs"], 8);
  const auto& losses = run.observer.series.at("training_loss");
  EXPECT_EQ(losses.size(), 32u);
  EXPECT_EQ(losses.back().first, 32);
  EXPECT_DOUBLE_EQ(run.summary["final_loss"], losses.back().second);
  EXPECT_LT(losses.back().second, losses.front().second);
  EXPECT_GT(run.summary["training_accuracy"], 50);
}

TEST_F(TrainExpertsTest, AnExpertDoesNotDependOnItsGroup) {
  const GangRun both = Must();
  parameters_.first = 1;
  parameters_.count = 1;
  const GangRun alone = Must();
  EXPECT_EQ(alone.outputs.at("expert.1"), both.outputs.at("expert.2"));
}

TEST_F(TrainExpertsTest, RanksChangeNoBit) {
  parameters_.training.optimizer = ExpertOptimizer::kGsam;
  const GangRun alone = Must();
  for (gang_.ranks = 2; gang_.ranks <= 3; ++gang_.ranks) {
    const GangRun run = Must();
    EXPECT_EQ(run.outputs, alone.outputs) << gang_.ranks;
    EXPECT_EQ(run.summary, alone.summary);
  }
}

TEST_F(TrainExpertsTest, ResumedRunGivesTheSameBits) {
  parameters_.network.norm = Norm::kBatch;
  parameters_.training.momentum = 0.5;
  const GangRun whole = Must();
  EXPECT_EQ(Trajectory(whole, "expert.1", "buffers").size(0), 4);
  // Inside an epoch, at the end of one, at the end of all.
  for (int64_t poll : {0, 5, 7, 11}) {
    gang_.wishes = {{poll, Wish::kStop}};
    const GangRun stopped = gang_.Run(parameters_, inputs_);
    EXPECT_EQ(FailureClassOf(stopped.status), FailureClass::kPreempted)
        << stopped.status;
    ASSERT_EQ(stopped.observer.checkpoints.size(), 1u);
    gang_.wishes = {};
    gang_.checkpoint = stopped.observer.checkpoints.begin()->second;
    const GangRun resumed = Must();
    EXPECT_EQ(resumed.outputs, whole.outputs) << poll;
    EXPECT_EQ(resumed.summary, whole.summary) << poll;
    gang_.checkpoint = "";
  }
}

TEST_F(TrainExpertsTest, CheckpointOfAnotherActionIsRefused) {
  gang_.wishes = {{2, Wish::kStop}};
  const GangRun stopped = gang_.Run(parameters_, inputs_);
  ASSERT_EQ(stopped.observer.checkpoints.size(), 1u);
  gang_.wishes = {};
  gang_.checkpoint = stopped.observer.checkpoints.begin()->second;
  parameters_.seed = 1;
  EXPECT_EQ(gang_.Run(parameters_, inputs_).status.code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(TrainExpertsTest, ScheduledEpochsHaveFewerBatches) {
  DataScheduleSpec& schedule = parameters_.training.schedule;
  schedule.enabled = true;
  schedule.initial_share = 0.5;
  schedule.growth_epochs = 1;
  schedule.removals = {{1, 0.25}};
  inputs_["ranking"] = Ranking(ClassOrder());
  const GangRun run = Must();
  // 36, 72 and 54 images.
  EXPECT_EQ(run.observer.series.at("training_loss").size(), 2u + 4 + 3);

  inputs_["ranking"] = Ranking(std::vector<int64_t>(72, 0));
  const GangRun twice = gang_.Run(parameters_, inputs_);
  EXPECT_EQ(FailureClassOf(twice.status), FailureClass::kData);
  EXPECT_THAT(std::string(twice.status.message()),
              AllOf(HasSubstr("in.ranking"), HasSubstr("place 1")));
  inputs_["ranking"] = Ranking({0, 1, 2});
  EXPECT_EQ(FailureClassOf(gang_.Run(parameters_, inputs_).status),
            FailureClass::kData);
}

TEST_F(TrainExpertsTest, PoolEpochsHaveThePoolAndAsManyOthers) {
  std::vector<uint8_t> members(72, 0);
  for (int i = 0; i < 30; ++i) members[i] = 1;
  const std::vector<float> weight(72, 1);
  inputs_["pool"] =
      SerializeSafetensors({{"members", {DType::kU8, {72}, members.data()}},
                            {"weight", {DType::kF32, {72}, weight.data()}},
                            {"learned", {DType::kU8, {72}, members.data()}}},
                           {{"rule", "misclassified"}});
  const GangRun run = Must();
  // 60 images an epoch.
  EXPECT_EQ(run.observer.series.at("training_loss").size(), 9u);
}

TEST_F(TrainExpertsTest, StartIsTrainedOnTheEarlierSegments) {
  const GangRun random = Must();
  parameters_.start.trained = true;
  parameters_.start.order = Order::kCumulative;
  parameters_.start.epochs = 4;
  parameters_.start.training.recipe = Recipe::kTrajectory;
  parameters_.start.training.learning_rate = 0;
  parameters_.start.training.batch = 2;
  parameters_.start.training.cutmix = 0;
  inputs_["segment.1"] = Segment(/*with_step_size=*/true);
  const GangRun whole = Must();
  EXPECT_FALSE(Trajectory(whole, "expert.1")[0].equal(
      Trajectory(random, "expert.1")[0]));

  // Five passes of two batches and two experts, then twelve steps: in the first
  // start, in the second, in an epoch.
  for (int64_t poll : {3, 14, 25}) {
    gang_.wishes = {{poll, Wish::kStop}};
    const GangRun stopped = gang_.Run(parameters_, inputs_);
    ASSERT_EQ(stopped.observer.checkpoints.size(), 1u) << stopped.status;
    gang_.wishes = {};
    gang_.checkpoint = stopped.observer.checkpoints.begin()->second;
    EXPECT_EQ(Must().outputs, whole.outputs) << poll;
    gang_.checkpoint = "";
  }

  inputs_["segment.1"] = Segment(/*with_step_size=*/false);
  const GangRun without = gang_.Run(parameters_, inputs_);
  EXPECT_EQ(FailureClassOf(without.status), FailureClass::kData);
}

TEST_F(TrainExpertsTest,
       LossThatIsNotFiniteNamesTheExpertAndKeepsTheCheckpoint) {
  parameters_.first = 4;
  parameters_.training.learning_rate = 1e30;
  gang_.wishes = {{0, Wish::kCheckpoint}};
  const GangRun run = gang_.Run(parameters_, inputs_);
  EXPECT_EQ(FailureClassOf(run.status), FailureClass::kNumeric);
  EXPECT_EQ(run.observer.checkpoints.size(), 1u);
  EXPECT_THAT(std::string(run.status.message()),
              AllOf(HasSubstr("expert 4"), HasSubstr("in epoch 0, at step"),
                    HasSubstr("experts.learning_rate")));
}

TEST_F(TrainExpertsTest, BatchLargerThanTheDataIsRefused) {
  parameters_.training.batch = 73;
  const GangRun run = gang_.Run(parameters_, inputs_);
  EXPECT_EQ(FieldOf(run.status), "experts.batch");
  EXPECT_EQ(FailureClassOf(run.status), FailureClass::kSpec);
}

// Of experts whose losses are read every `stride` steps.
class ExpertGroupTest : public TrainExpertsTest {
 protected:
  ExpertGroupTest() : folder_(*TemporaryDirectory::Create()) {
    files_.output_dir = folder_->path();
    const std::string path = folder_->path() + "/dataset";
    EXPECT_TRUE(
        WriteFileAtomically(LocalFileSystem(), path, inputs_["dataset"]).ok());
    data_ = *ImageData::Open(path);
    network_ =
        *MakeNetwork(parameters_.network, data_->shape(), data_->classes());
  }

  absl::StatusOr<TrainedExperts> Train(int64_t stride) {
    const EpochData epochs(parameters_.training,
                           {.ranked = data_->train_by_class()});
    SingleProcessCollective alone;
    FakeTaskObserver observer;
    const RunOptions options;
    const TaskContext context = {files_,    at::kCPU, &alone,
                                 &observer, options,  "train_experts"};
    Outputs outputs(context);
    ExpertGroup group(
        {parameters_, *network_, *data_, epochs, /*start=*/nullptr, stride},
        context);
    return group.Run(&outputs);
  }

  std::unique_ptr<TemporaryDirectory> folder_;
  TaskFiles files_;
  std::unique_ptr<ImageData> data_;
  std::unique_ptr<Network> network_;
};

TEST_F(ExpertGroupTest, ReadingLossesSeldomChangesNoBit) {
  const auto often = Train(1);
  ASSERT_TRUE(often.ok()) << often.status();
  for (int64_t stride : {3, 100}) {
    const auto seldom = Train(stride);
    ASSERT_TRUE(seldom.ok()) << seldom.status();
    for (size_t k = 0; k < often->experts.size(); ++k) {
      EXPECT_TRUE(
          seldom->experts[k].parameters.equal(often->experts[k].parameters));
    }
  }
}

TEST_F(ExpertGroupTest, ALossThatIsNotFiniteNamesItsOwnStepWhenReadLater) {
  parameters_.training.learning_rate = 1e20;
  const absl::Status often = Train(1).status();
  EXPECT_EQ(FailureClassOf(often), FailureClass::kNumeric);
  EXPECT_THAT(std::string(often.message()), HasSubstr("in epoch 0, at step "));
  for (int64_t stride : {2, 3, 100}) EXPECT_EQ(Train(stride).status(), often);
}

}  // namespace
}  // namespace dasm
