// The trajectory family against an independent computation in double precision
// (trajectory_reference.py, frozen in trajectory_reference.safetensors).
//
// Tolerances: as idc_golden_test. In fp64 both sides differ in the order of
// sums only; a student path of seven steps amplifies that by less than the 1e6
// between 1e-16 and 1e-10. In fp32 the same path is held to 1e-5. The negative
// controls move results by more than 1e-4.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/artifact/safetensors.h"
#include "gtest/gtest.h"
#include "tests/golden/golden_file.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/augmentation/augmentation.h"
#include "worker/engine/dataset/image_source.h"
#include "worker/engine/matcher/trajectory_matcher.h"
#include "worker/engine/network/network.h"
#include "worker/engine/shard/inner_batch.h"
#include "worker/engine/task/tiny_gang.h"
#include "worker/engine/teacher/expert_trainer.h"
#include "worker/engine/teacher/gsam.h"
#include "worker/engine/update/momentum_sgd.h"
#include "worker/engine/update/step_size.h"

namespace dasm {
namespace {

constexpr double kExact = 1e-10;  // fp64
constexpr double kSingle = 1e-5;  // fp32
constexpr double kVisible = 1e-4;

at::Tensor Get(const std::string& name) {
  static const auto* file = new GoldenFile(DASM_TRAJECTORY_REFERENCE);
  return file->Get(name);
}

double Scalar(const std::string& name) { return Get(name).item<double>(); }

NetworkSpec TinyNetwork() {
  NetworkSpec spec;
  spec.depth = 2;
  spec.width = 4;
  return spec;
}

constexpr int kClasses = 4;

std::unique_ptr<Network> MakeTinyNetwork() {
  auto network = MakeNetwork(TinyNetwork(), {3, 16, 16}, kClasses);
  EXPECT_TRUE(network.ok()) << network.status();
  return *std::move(network);
}

// In the order of the reference.
constexpr Augmentation kOperations[] = {
    Augmentation::kColor, Augmentation::kCrop,  Augmentation::kCutout,
    Augmentation::kFlip,  Augmentation::kScale, Augmentation::kRotate};

AugmentationDraw Draw(const std::string& prefix, Augmentation operation) {
  AugmentationDraw draw;
  draw.operations = {operation};
  draw.align_corners = true;
  draw.flip = Get(prefix + "flip");
  draw.brightness = Get(prefix + "brightness");
  draw.saturation = Get(prefix + "saturation");
  draw.contrast = Get(prefix + "contrast");
  draw.shift_y = Get(prefix + "shift_y");
  draw.shift_x = Get(prefix + "shift_x");
  draw.cutout_y = Get(prefix + "cutout_y");
  draw.cutout_x = Get(prefix + "cutout_x");
  draw.scale_y = Get(prefix + "scale_y");
  draw.scale_x = Get(prefix + "scale_x");
  draw.angle = Get(prefix + "angle");
  return draw;
}

TEST(TrajectoryGolden, EveryAugmentationAndItsGradient) {
  const char* const names[] = {"color", "crop",  "cutout",
                               "flip",  "scale", "rotate"};
  for (int i = 0; i < 6; ++i) {
    const std::string name = absl::StrCat("dsa.", names[i]);
    const at::Tensor images = Get("dsa.images").requires_grad_();
    const at::Tensor result =
        ApplyAugmentation(images, Draw("dsa.", kOperations[i]));
    const at::Tensor gradient = torch::autograd::grad(
        {(result * Get("dsa.weights")).sum()}, {images})[0];
    EXPECT_LT(Error(result.detach(), Get(name + ".result")), kExact) << name;
    EXPECT_LT(Error(gradient, Get(name + ".gradient")), kExact) << name;
    // Negative control.
    EXPECT_GT(Error(images.detach(), Get(name + ".result")), kVisible) << name;
  }
}

// The grids of both families turn and stretch about the same centre, so that a
// square picture does not tell their conventions apart.
TEST(TrajectoryGolden, OfASquarePictureBothMeaningsOfCornersAreOne) {
  for (const auto& [operation, name] :
       {std::pair(Augmentation::kScale, "dsa.scale.result"),
        std::pair(Augmentation::kRotate, "dsa.rotate.result")}) {
    AugmentationDraw draw = Draw("dsa.", operation);
    draw.align_corners = false;
    EXPECT_LT(Error(ApplyAugmentation(Get("dsa.images"), draw), Get(name)),
              kExact);
    draw.angle = draw.angle * 1.01;
    draw.scale_x = draw.scale_x * 1.01;
    EXPECT_GT(Error(ApplyAugmentation(Get("dsa.images"), draw), Get(name)),
              kVisible);
  }
}

// The parameters after a step on the reference's batch, in fp64 from the
// formulas' two halves.
at::Tensor GsamStep(double rho, double alpha) {
  const auto network = MakeTinyNetwork();
  SingleProcessCollective alone;
  const ShardRunner runner(&alone, at::kCPU);
  InnerBatch batch;
  batch.images = Get("gsam.images");
  batch.labels = Get("gsam.labels");
  batch.group = 4;
  const auto gradient = [&](const at::Tensor& at) {
    const auto result = GradientOf(*network, at, batch, runner);
    EXPECT_TRUE(result.ok()) << result.status();
    return result->gradient;
  };
  const at::Tensor w = Get("gsam.parameters");
  const at::Tensor g = gradient(w);
  return w - Get("gsam.settings")[0] *
                 GsamDirection(g, gradient(GsamAscent(w, g, rho)), alpha);
}

TEST(TrajectoryGolden, GsamStep) {
  const at::Tensor settings = Get("gsam.settings");
  const double rho = settings[1].item<double>();
  const double alpha = settings[2].item<double>();
  EXPECT_LT(Error(GsamStep(rho, alpha), Get("gsam.after")), kExact);
  EXPECT_LT(Error(GsamStep(0, alpha), Get("sgd.after")), kExact);
  EXPECT_GT(Error(GsamStep(rho, 1.1 * alpha), Get("gsam.after")), kExact * 1e3);
  EXPECT_GT(Error(GsamStep(1.1 * rho, alpha), Get("gsam.after")), kExact * 1e3);
}

TEST(TrajectoryGolden, AnExpertsStepIsThatOfItsOptimiser) {
  const at::Tensor settings = Get("gsam.settings");
  const auto network = MakeTinyNetwork();
  const at::Tensor labels = Get("gsam.labels");
  const TensorSource source(
      Get("gsam.images").to(at::kFloat),
      std::vector<int64_t>(labels.const_data_ptr<int64_t>(),
                           labels.const_data_ptr<int64_t>() + labels.numel()));
  const std::vector<int64_t> whole = {0, 1, 2, 3, 4, 5};
  for (const auto& [optimizer, name] :
       {std::pair(ExpertOptimizer::kGsam, "gsam.after"),
        std::pair(ExpertOptimizer::kSgd, "sgd.after")}) {
    ExpertTraining training;
    training.batch = 6;
    training.learning_rate = settings[0].item<double>();
    training.optimizer = optimizer;
    training.gsam_rho = settings[1].item<double>();
    training.gsam_alpha = settings[2].item<double>();
    SingleProcessCollective alone;
    ExpertTrainer trainer(network.get(), training, ExecutionSpec(), /*seed=*/1,
                          &alone, at::kCPU);
    TrainingState state = trainer.Start();
    state.parameters = Get("gsam.parameters").to(at::kFloat);
    const auto step = trainer.Step(source, whole, BatchKey(), 0, &state);
    ASSERT_TRUE(step.ok()) << step.status();
    EXPECT_LT(Error(state.parameters.to(at::kDouble), Get(name)), kSingle);
    EXPECT_NEAR(step->loss.item<double>(), Scalar("gsam.loss"), kSingle);
  }
  EXPECT_GT(Error(Get("sgd.after"), Get("gsam.after")), kVisible);
}

// The student path of "mtt" or "datm".
StudentPath Path(const std::string& tag, at::ScalarType type) {
  StudentPath path;
  path.start = Get(tag + ".start").to(type);
  path.target = Get(tag + ".target").to(type);
  path.images = Get(tag + ".pixels").to(type);
  path.labels =
      tag == "mtt" ? Get(tag + ".labels") : Get(tag + ".logits").to(type);
  path.step_size = Scalar(tag + ".step_size");
  const at::Tensor operations = Get(tag + ".operations");
  for (int64_t i = 0; i < operations.numel(); ++i) {
    const std::string step = absl::StrCat(tag, ".step.", i, ".");
    const at::Tensor rows = Get(step + "indices");
    path.batches.emplace_back(rows.const_data_ptr<int64_t>(),
                              rows.const_data_ptr<int64_t>() + rows.numel());
    path.augmentations.push_back(
        Draw(step, kOperations[operations[i].item<int64_t>()]));
  }
  return path;
}

PathGradient Match(const StudentPath& path, Estimator estimator,
                   double mask = 0) {
  const auto network = MakeTinyNetwork();
  TrajectoryMatcher::Options options;
  options.estimator = estimator;
  options.mask.to = mask;
  options.group = 2;
  const TrajectoryMatcher matcher(network.get(), options);
  SingleProcessCollective alone;
  const auto result = matcher.Match(path, ShardRunner(&alone, at::kCPU));
  EXPECT_TRUE(result.ok()) << result.status();
  return *result;
}

double LossError(const PathGradient& result, const std::string& name) {
  return Error(result.loss.to(at::kDouble), Get(name));
}

class MttIteration : public testing::TestWithParam<Estimator> {};

TEST_P(MttIteration, LossAndGradientsAgree) {
  for (const auto& [type, tolerance] :
       {std::pair(at::kDouble, kExact), std::pair(at::kFloat, kSingle)}) {
    const PathGradient result = Match(Path("mtt", type), GetParam());
    EXPECT_LT(LossError(result, "mtt.loss"), tolerance);
    EXPECT_LT(Error(result.images.to(at::kDouble), Get("mtt.pixel_gradient")),
              tolerance);
    EXPECT_LT(Error(result.step_size, Get("mtt.step_size_gradient")),
              tolerance);
  }
}

TEST_P(MttIteration, ASlightlyOtherStepSizeOrBatchIsNoticed) {
  StudentPath other = Path("mtt", at::kDouble);
  other.step_size *= 1.01;
  PathGradient result = Match(other, GetParam());
  EXPECT_GT(LossError(result, "mtt.loss"), kVisible);
  EXPECT_GT(Error(result.images, Get("mtt.pixel_gradient")), kVisible);
  EXPECT_GT(Error(result.step_size, Get("mtt.step_size_gradient")), kVisible);
  other = Path("mtt", at::kDouble);
  std::swap(other.batches[1][0], other.batches[1][1]);
  result = Match(other, GetParam());
  EXPECT_GT(Error(result.images, Get("mtt.pixel_gradient")), kVisible);
}

INSTANTIATE_TEST_SUITE_P(Exact, MttIteration,
                         testing::Values(Estimator::kStepAdjoint,
                                         Estimator::kFullGraph),
                         [](const auto& estimator) {
                           return estimator.param == Estimator::kStepAdjoint
                                      ? "StepAdjoint"
                                      : "FullGraph";
                         });

TEST(TrajectoryGolden, TeslasEstimatorIsItsOwnAndNotTheGradient) {
  const PathGradient result =
      Match(Path("mtt", at::kDouble), Estimator::kTesla);
  EXPECT_LT(Error(result.images, Get("tesla.pixel_gradient")), kExact);
  EXPECT_LT(Error(result.step_size, Get("tesla.step_size_gradient")), kExact);
  EXPECT_GT(Error(result.images, Get("mtt.pixel_gradient")), kVisible);
}

TEST(TrajectoryGolden, DatmIterationWithSoftLabelsAndAMask) {
  for (const auto& [type, tolerance] :
       {std::pair(at::kDouble, kExact), std::pair(at::kFloat, kSingle)}) {
    const PathGradient result =
        Match(Path("datm", type), Estimator::kStepAdjoint, Scalar("datm.mask"));
    EXPECT_LT(LossError(result, "datm.loss"), tolerance);
    EXPECT_LT(Error(result.images.to(at::kDouble), Get("datm.pixels_gradient")),
              tolerance);
    EXPECT_LT(Error(result.labels.to(at::kDouble), Get("datm.logits_gradient")),
              tolerance);
    EXPECT_LT(Error(result.step_size, Get("datm.step_size_gradient")),
              tolerance);
  }
  const PathGradient unmasked =
      Match(Path("datm", at::kDouble), Estimator::kStepAdjoint);
  EXPECT_GT(LossError(unmasked, "datm.loss"), kVisible);
  EXPECT_GT(Error(unmasked.images, Get("datm.pixels_gradient")), kVisible);
}

TEST(TrajectoryGolden, DatmsThreeUpdates) {
  const at::Tensor rates = Get("datm.rates"), momenta = Get("datm.momenta");
  const auto expect = [&](const std::string& name, int64_t i) {
    at::Tensor value = Get(absl::StrCat("datm.", name));
    at::Tensor velocity = Get(absl::StrCat("datm.", name, "_velocity"));
    const MomentumSgd update{rates[i].item<double>(),
                             momenta[i].item<double>()};
    update.Step(Get(absl::StrCat("datm.", name, "_gradient")), &value,
                &velocity);
    EXPECT_LT(Error(value, Get(absl::StrCat("datm.new_", name))), kExact);
    EXPECT_LT(
        Error(velocity, Get(absl::StrCat("datm.new_", name, "_velocity"))),
        kExact);
  };
  expect("pixels", 0);
  expect("logits", 1);
  TrajectoryMatchingSpec spec;
  spec.step_size = Scalar("datm.step_size");
  spec.step_size_learning_rate = rates[2].item<double>();
  spec.step_size_momentum = momenta[2].item<double>();
  StepSize::State state{spec.step_size, Scalar("datm.step_size_velocity")};
  ASSERT_TRUE(
      StepSize(spec).Step(Scalar("datm.step_size_gradient"), &state).ok());
  EXPECT_NEAR(state.value, Scalar("datm.new_step_size"), kExact);
  EXPECT_NEAR(state.velocity, Scalar("datm.new_step_size_velocity"), kExact);
}

TEST(TrajectoryGolden, TheLossOfAnIterationThatDatmSkips) {
  StudentPath path = Path("datm", at::kDouble);
  path.target = Get("datm.skipped_target");
  EXPECT_LT(LossError(Match(path, Estimator::kStepAdjoint, Scalar("datm.mask")),
                      "datm.skipped_loss"),
            kExact);
}

TensorView View(const at::Tensor& tensor) {
  DType type = DType::kF32;
  if (tensor.scalar_type() == at::kByte) type = DType::kU8;
  if (tensor.scalar_type() == at::kLong) type = DType::kI64;
  return {type, tensor.sizes().vec(), tensor.const_data_ptr()};
}

// The bytes of a data set whose test images are `test`.
std::string DatasetBlob(const at::Tensor& train, const at::Tensor& train_labels,
                        const at::Tensor& test, const at::Tensor& test_labels,
                        const std::string& mean, const std::string& std) {
  return SerializeSafetensors({{"train_images", View(train)},
                               {"train_labels", View(train_labels)},
                               {"test_images", View(test)},
                               {"test_labels", View(test_labels)}},
                              {{"classes", R"(["a","b","c","d"])"},
                               {"mean", mean},
                               {"std", std},
                               {"name", "golden"}});
}

// What a task has written, f32 as f64.
at::Tensor Output(const GangRun& run, const std::string& output,
                  const std::string& tensor) {
  EXPECT_TRUE(run.status.ok()) << run.status;
  const auto file = SafetensorsFile::Parse(run.outputs.at(output));
  EXPECT_TRUE(file.ok()) << file.status();
  const TensorView view = (*file)->tensors().at(tensor);
  EXPECT_EQ(view.dtype, DType::kF32);
  return at::from_blob(const_cast<void*>(view.data), view.shape, at::kFloat)
      .to(at::kDouble);
}

at::Tensor LabelsOf(int64_t count) {
  return at::arange(count, at::kLong).remainder(kClasses);
}

TEST(TrajectoryGolden, ZcaWhitening) {
  const at::Tensor train = Get("zca.train"), test = Get("zca.test");
  const auto whitened = [&](double epsilon) {
    WhitenDatasetParameters parameters;
    parameters.epsilon = epsilon;
    return TinyGang().Run(
        parameters,
        {{"dataset", DatasetBlob(train, LabelsOf(40), test, LabelsOf(5),
                                 "[0.5,0.5,0.5]", "[0.2,0.2,0.2]")}});
  };
  const GangRun run = whitened(0.1);
  EXPECT_LT(Error(Output(run, "zca", "mean"), Get("zca.mean")), kSingle);
  EXPECT_LT(Error(Output(run, "zca", "whiten"), Get("zca.whiten")), kSingle);
  EXPECT_LT(Error(Output(run, "zca", "unwhiten"), Get("zca.unwhiten")),
            kSingle);
  EXPECT_LT(Error(Output(run, "dataset", "test_images"), Get("zca.white_test")),
            kSingle);
  EXPECT_GT(Error(Output(whitened(0.11), "dataset", "test_images"),
                  Get("zca.white_test")),
            kVisible);
}

TEST(TrajectoryGolden, El2nAndGrandOfTwoNetworks) {
  const at::Tensor images = Get("score.images");
  const std::string dataset =
      DatasetBlob(images, Get("score.labels"), images, Get("score.labels"),
                  "[0.5,0.45,0.4]", "[0.25,0.2,0.3]");
  std::map<std::string, std::string> inputs = {{"dataset", dataset}};
  for (int run = 0; run < 2; ++run) {
    const std::string name = absl::StrCat("score.", run);
    const at::Tensor parameters = Get(name + ".parameters").to(at::kFloat);
    const at::Tensor buffers = at::empty({0});
    const std::string weights = SerializeSafetensors(
        {{"parameters", View(parameters)}, {"buffers", View(buffers)}},
        {{"network", nlohmann::json(TinyNetwork()).dump()}});
    ScoreSamplesParameters score;
    score.network = TinyNetwork();
    score.grand = true;
    const GangRun scored =
        TinyGang().Run(score, {{"dataset", dataset}, {"weights", weights}});
    EXPECT_LT(Error(Output(scored, "scores", "probabilities"),
                    Get(name + ".probabilities")),
              kSingle);
    EXPECT_LT(Error(Output(scored, "scores", "feature_norm"),
                    Get(name + ".feature_norm")),
              kSingle);
    inputs[absl::StrCat("scores.", run + 1)] = scored.outputs.at("scores");
  }
  const auto ranked = [&](ScoreRule rule) {
    RankSamplesParameters rank;
    rank.rule = rule;
    return Output(TinyGang().Run(rank, inputs), "ranking", "score");
  };
  EXPECT_LT(Error(ranked(ScoreRule::kEl2n), Get("score.el2n")), kSingle);
  EXPECT_LT(Error(ranked(ScoreRule::kGrand), Get("score.grand")), kSingle);
  EXPECT_GT(Error(ranked(ScoreRule::kEl2n), Get("score.grand")), kVisible);
}

}  // namespace
}  // namespace dasm
