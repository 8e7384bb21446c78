// Evaluation and discriminators on sets of trajectory matching: step sizes,
// soft labels, spaces, orders and splits.
#include "worker/engine/task/evaluate.h"

#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/artifact/safetensors.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/engine/task/tiny_gang.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Wish = TaskObserver::Wish;
using Inputs = std::map<std::string, std::string>;

constexpr int64_t kPixels = 64;
constexpr int kClasses = 3;

// A set of 1x8x8 images, class after class in each segment.
struct TinySet {
  std::vector<int> per_class = {2};  // of each segment
  bool preprocessed = true;
  std::vector<float> step_size;
  std::optional<float> certainty;  // of soft labels: the logit of the label

  std::string Blob() const {
    std::vector<float> images, logits;
    std::vector<int64_t> labels;
    std::vector<int32_t> segment;
    for (size_t k = 0; k < per_class.size(); ++k) {
      for (int i = 0; i < per_class[k] * kClasses; ++i) {
        const int label = i / per_class[k];
        labels.push_back(label);
        segment.push_back(static_cast<int32_t>(k));
        for (int64_t p = 0; p < kPixels; ++p) {
          // Of 256 levels, so that normalising is exact.
          const int level =
              (37 * (label + 1) * static_cast<int>(p) + 11 * i + 5 * k) % 256;
          const float pixel = static_cast<float>(level) / 256;
          images.push_back(preprocessed ? (pixel - 0.5f) / 0.25f : pixel);
        }
        for (int c = 0; c < kClasses; ++c) {
          logits.push_back(c == label ? certainty.value_or(0) : 0);
        }
      }
    }
    const int64_t count = labels.size();
    std::map<std::string, TensorView> tensors = {
        {"images", {DType::kF32, {count, 1, 8, 8}, images.data()}},
        {"labels", {DType::kI64, {count}, labels.data()}},
        {"segment", {DType::kI32, {count}, segment.data()}}};
    if (certainty.has_value()) {
      tensors["label_logits"] = {DType::kF32, {count, kClasses}, logits.data()};
    }
    if (!step_size.empty()) {
      tensors["step_size"] = {DType::kF32,
                              {static_cast<int64_t>(step_size.size())},
                              step_size.data()};
    }
    return SerializeSafetensors(
        tensors,
        {{"factor", "1"}, {"space", preprocessed ? "preprocessed" : "pixel"}});
  }
};

// The tiny data set with its test images for validation, or whitened in name.
std::string DatasetBlob(bool validation, bool whitened = false) {
  const std::string blob = TinyDatasetBlob({});
  const auto file = *SafetensorsFile::Parse(blob);
  std::map<std::string, TensorView> tensors = file->tensors();
  std::map<std::string, std::string> metadata = file->metadata();
  std::map<std::string, std::vector<float>> floats;
  if (validation) {
    tensors["validation_images"] = tensors.at("train_images");
    tensors["validation_labels"] = tensors.at("train_labels");
  }
  if (whitened) {
    metadata["preprocessing"] = "zca";
    for (const char* name : {"train_images", "test_images"}) {
      TensorView& view = tensors.at(name);
      const auto* bytes = static_cast<const uint8_t*>(view.data);
      floats[name].assign(bytes, bytes + view.elements());
      view.dtype = DType::kF32;
      view.data = floats[name].data();
    }
  }
  return SerializeSafetensors(tensors, metadata);
}

EvaluateParameters Evaluation(Order order = Order::kUnion) {
  EvaluateParameters parameters;
  parameters.network.depth = 2;
  parameters.network.width = 8;
  parameters.training.recipe = Recipe::kTrajectory;
  parameters.training.steps = 6;
  parameters.training.batch = 4;
  parameters.training.learning_rate = 0;
  parameters.training.augmentation = {Augmentation::kCrop, Augmentation::kFlip};
  parameters.training.cutmix = 0;
  parameters.order = order;
  parameters.epochs = 2;
  parameters.execution.train_group = 3;
  return parameters;
}

GangRun RunAlone(const TaskParameters& parameters, const Inputs& inputs) {
  TinyGang gang;
  return gang.Run(parameters, inputs);
}

Inputs On(const TinySet& set) {
  return {{"dataset", DatasetBlob(false)}, {"set.1", set.Blob()}};
}

TEST(EvaluateTrajectory, TakesTheStepSizesThatTheSegmentsLearned) {
  const TinySet set = {.per_class = {2, 1}, .step_size = {0.02f, 0.03f}};
  const GangRun all = RunAlone(Evaluation(), On(set));
  ASSERT_TRUE(all.status.ok()) << all.status;
  EXPECT_THAT(all.summary["learning_rates"].get<std::vector<float>>(),
              ElementsAre(0.03f));
  EXPECT_EQ(all.summary["steps"], 6);
  EXPECT_EQ(all.summary["decoded_images"], 9);

  // Three passes: of 2 and 3 batches, of 2 and 1.
  const GangRun growing = RunAlone(Evaluation(Order::kCumulative), On(set));
  ASSERT_TRUE(growing.status.ok()) << growing.status;
  EXPECT_THAT(growing.summary["learning_rates"].get<std::vector<float>>(),
              ElementsAre(0.02f, 0.03f));
  EXPECT_EQ(growing.summary["steps"], 15);
  const GangRun staged = RunAlone(Evaluation(Order::kStaged), On(set));
  ASSERT_TRUE(staged.status.ok()) << staged.status;
  EXPECT_EQ(staged.summary["steps"], 9);
  EXPECT_NE(staged.observer.series, growing.observer.series);

  // A given one is that of every stage.
  EvaluateParameters given = Evaluation(Order::kStaged);
  given.training.learning_rate = 0.5;
  EXPECT_THAT(RunAlone(given, On(set))
                  .summary["learning_rates"]
                  .get<std::vector<double>>(),
              ElementsAre(0.5, 0.5));
}

TEST(EvaluateTrajectory, ASegmentAFileIsTheSameAsAllInOne) {
  const TinySet one = {.per_class = {2, 2}, .step_size = {0.02f, 0.03f}};
  const std::string whole = one.Blob();
  // The rows of each segment in a file of its own.
  const auto file = *SafetensorsFile::Parse(whole);
  Inputs parts = {{"dataset", DatasetBlob(false)}};
  for (int k = 0; k < 2; ++k) {
    std::map<std::string, TensorView> tensors;
    for (auto [name, view] : file->tensors()) {
      const int64_t half = view.elements() / 2 * SizeOf(view.dtype);
      view.data = static_cast<const char*>(view.data) + k * half;
      view.shape[0] /= 2;
      tensors[name] = view;
    }
    parts["set." + std::to_string(k + 1)] =
        SerializeSafetensors(tensors, file->metadata());
  }
  for (Order order : {Order::kUnion, Order::kCumulative, Order::kStaged}) {
    const GangRun together = RunAlone(Evaluation(order), On(one));
    const GangRun apart = RunAlone(Evaluation(order), parts);
    ASSERT_TRUE(apart.status.ok()) << apart.status;
    EXPECT_EQ(together.summary, apart.summary);
    EXPECT_EQ(together.observer.series, apart.observer.series);
    EXPECT_EQ(together.outputs, apart.outputs);
  }
}

TEST(EvaluateTrajectory, RanksAndInterruptionsInAnyStageChangeNoBit) {
  const Inputs inputs =
      On({.per_class = {2, 1}, .step_size = {0.02f, 0.03f}, .certainty = 3});
  const EvaluateParameters parameters = Evaluation(Order::kCumulative);
  const GangRun one = RunAlone(parameters, inputs);
  ASSERT_TRUE(one.status.ok()) << one.status;
  for (int64_t stop : {2, 6, 11}) {
    TinyGang gang;
    gang.wishes = {{stop, Wish::kStop}};
    const GangRun stopped = gang.Run(parameters, inputs);
    EXPECT_EQ(FailureClassOf(stopped.status), FailureClass::kPreempted)
        << stopped.status;
    ASSERT_EQ(stopped.observer.checkpoints.size(), 1);
    gang.wishes = {};
    gang.ranks = 2;
    gang.checkpoint = stopped.observer.checkpoints.begin()->second;
    const GangRun resumed = gang.Run(parameters, inputs);
    EXPECT_EQ(resumed.outputs, one.outputs);
    EXPECT_EQ(resumed.summary, one.summary);
  }
}

TEST(EvaluateTrajectory, PreprocessedImagesAreUsedAsTheyAre) {
  const TinySet preprocessed = {.step_size = {0.02f}};
  TinySet pixels = preprocessed;
  pixels.preprocessed = false;
  const GangRun a = RunAlone(Evaluation(), On(preprocessed));
  const GangRun b = RunAlone(Evaluation(), On(pixels));
  ASSERT_TRUE(a.status.ok() && b.status.ok()) << a.status << b.status;
  EXPECT_EQ(a.observer.series, b.observer.series);
  EXPECT_EQ(a.outputs, b.outputs);
}

TEST(EvaluateTrajectory, TrainsTowardsSoftLabels) {
  const auto first_loss = [](std::optional<float> certainty) {
    const GangRun run = RunAlone(
        Evaluation(), On({.step_size = {1e-6f}, .certainty = certainty}));
    EXPECT_TRUE(run.status.ok()) << run.status;
    return run.observer.series.at("training_loss").front().second;
  };
  // Without a label's certainty the loss is at least the entropy, ln 3; with
  // all of it, that of hard labels.
  EXPECT_GE(first_loss(0), std::log(3.0) - 1e-6);
  EXPECT_NEAR(first_loss(60), first_loss(std::nullopt), 1e-5);
  EXPECT_GT(std::abs(first_loss(0) - first_loss(std::nullopt)), 1e-4);
}

TEST(EvaluateTrajectory, RefusesWhatTheSetDoesNotAllow) {
  struct Case {
    TinySet set;
    EvaluateParameters parameters;
    std::string remedy;
    bool whitened = false;
  };
  EvaluateParameters idc = Evaluation();
  idc.training.recipe = Recipe::kIdc;
  idc.training.learning_rate = 0.01;
  EvaluateParameters dc = idc;
  dc.training.recipe = Recipe::kDc;
  EvaluateParameters held_out = Evaluation();
  held_out.split = Split::kTestAndValidation;
  for (const Case& c : {
           Case{{.step_size = {0.02f}, .certainty = 3},
                idc,
                "evaluation.recipe trajectory"},
           Case{{.step_size = {0.02f}, .certainty = 3},
                dc,
                "evaluation.recipe trajectory"},
           Case{{}, Evaluation(), "evaluation.learning_rate"},
           Case{{.per_class = {1, 1}, .step_size = {0.02f}},
                Evaluation(),
                "evaluation.learning_rate"},
           Case{{.step_size = {-0.02f}}, Evaluation(), "step_size_form"},
           Case{{.step_size = {NAN}}, Evaluation(), "step_size_form"},
           Case{{.preprocessed = false, .step_size = {0.02f}},
                Evaluation(),
                "dataset.preprocessing",
                /*whitened=*/true},
           Case{{.step_size = {0.02f}}, held_out, "dataset.validation"},
       }) {
    const GangRun run = RunAlone(
        c.parameters,
        {{"dataset", DatasetBlob(false, c.whitened)}, {"set.1", c.set.Blob()}});
    EXPECT_EQ(FailureClassOf(run.status), FailureClass::kData)
        << c.remedy << run.status;
    EXPECT_THAT(std::string(run.status.message()), HasSubstr(c.remedy));
  }
}

TEST(EvaluateTrajectory, RefusesASetOfAnotherWhitening) {
  const auto named = [](const std::string& bytes, const std::string& name) {
    const auto file = *SafetensorsFile::Parse(bytes);
    auto metadata = file->metadata();
    metadata["whitening"] = name;
    return SerializeSafetensors(file->tensors(), metadata);
  };
  const std::string set = TinySet{.step_size = {0.02f}}.Blob();
  const std::string whitened = DatasetBlob(false, /*whitened=*/true);
  const auto status = [](const std::string& dataset, const std::string& set) {
    return RunAlone(Evaluation(), {{"dataset", dataset}, {"set.1", set}})
        .status;
  };
  const auto expect_refused = [&](const absl::Status& refused,
                                  std::vector<std::string> words) {
    EXPECT_EQ(FailureClassOf(refused), FailureClass::kData) << refused;
    for (const std::string& word : words) {
      EXPECT_THAT(std::string(refused.message()), HasSubstr(word));
    }
  };
  EXPECT_TRUE(status(named(whitened, "mild"), named(set, "mild")).ok());
  // Of before there were names.
  EXPECT_TRUE(status(whitened, named(set, "mild")).ok());
  EXPECT_TRUE(status(named(whitened, "mild"), set).ok());
  expect_refused(status(named(whitened, "mild"), named(set, "hard")),
                 {"mild", "hard", "validation share"});
  expect_refused(status(DatasetBlob(false), named(set, "hard")),
                 {"hard", "dataset.preprocessing zca"});
}

// With the validation images in the place of the test images.
std::string TestedOnValidation(const std::string& dataset) {
  const auto file = *SafetensorsFile::Parse(dataset);
  std::map<std::string, TensorView> tensors = file->tensors();
  for (const char* part : {"_images", "_labels"}) {
    tensors[std::string("test") + part] =
        tensors.at(std::string("validation") + part);
  }
  return SerializeSafetensors(tensors, file->metadata());
}

TEST(EvaluateTrajectory, OneTrainingIsTestedOnBothSplitsAsTwoWouldBe) {
  const std::string dataset = DatasetBlob(/*validation=*/true);
  const std::string set = TinySet{.step_size = {0.02f}}.Blob();
  EvaluateParameters parameters = Evaluation();
  const GangRun test =
      RunAlone(parameters, {{"dataset", dataset}, {"set.1", set}});
  ASSERT_TRUE(test.status.ok()) << test.status;
  EXPECT_FALSE(test.summary.contains("validation_accuracy"));
  EXPECT_EQ(test.outputs.size(), 1);
  const GangRun validation = RunAlone(
      parameters, {{"dataset", TestedOnValidation(dataset)}, {"set.1", set}});
  ASSERT_TRUE(validation.status.ok()) << validation.status;

  parameters.split = Split::kTestAndValidation;
  const GangRun both =
      RunAlone(parameters, {{"dataset", dataset}, {"set.1", set}});
  ASSERT_TRUE(both.status.ok()) << both.status;
  EXPECT_EQ(both.observer.series, test.observer.series);
  EXPECT_EQ(both.summary["accuracy"], test.summary["accuracy"]);
  EXPECT_EQ(both.summary["validation_accuracy"],
            validation.summary["accuracy"]);
  EXPECT_NE(test.summary["accuracy"], validation.summary["accuracy"]);
  EXPECT_EQ(both.outputs.at("predictions"), test.outputs.at("predictions"));
  EXPECT_EQ(both.outputs.at("validation_predictions"),
            validation.outputs.at("predictions"));
  EXPECT_NE(test.outputs.at("predictions"),
            validation.outputs.at("predictions"));
}

TEST(TrainDiscriminator, TrainsInStagesOrOnRealImages) {
  TrainDiscriminatorParameters parameters;
  parameters.network = Evaluation().network;
  parameters.training = Evaluation().training;
  parameters.order = Order::kCumulative;
  parameters.epochs = 2;
  const TinySet set = {.per_class = {2, 1}, .step_size = {0.02f, 0.03f}};
  const GangRun staged = RunAlone(
      parameters, {{"dataset", DatasetBlob(false)}, {"segment.1", set.Blob()}});
  ASSERT_TRUE(staged.status.ok()) << staged.status;
  EXPECT_EQ(staged.summary["steps"], 15);
  EXPECT_GT(staged.summary["final_loss"].get<double>(), 0);

  parameters.real = true;
  parameters.order = Order::kUnion;
  EXPECT_EQ(
      FieldOf(RunAlone(parameters, {{"dataset", DatasetBlob(false)}}).status),
      "training.learning_rate");
  parameters.training.learning_rate = 0.01;
  const GangRun real = RunAlone(parameters, {{"dataset", DatasetBlob(false)}});
  ASSERT_TRUE(real.status.ok()) << real.status;
  EXPECT_EQ(real.summary["steps"], 6);
}

}  // namespace
}  // namespace dasm
