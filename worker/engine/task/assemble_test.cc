#include "worker/engine/task/assemble.h"

#include <ATen/ATen.h>

#include <map>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "gtest/gtest.h"
#include "worker/engine/dataset/tensor_view.h"
#include "worker/engine/network/finite_differences.h"
#include "worker/engine/task/read_for_tests.h"
#include "worker/engine/task/tiny_gang.h"

namespace dasm {
namespace {

constexpr int64_t kValues = 8 * 8;

at::Tensor Images(double phase = 0) {
  return 3 * TestTensor({6, 1, 8, 8}, phase).to(at::kFloat);
}

std::string PreprocessedSet(const at::Tensor& images, int segment) {
  const at::Tensor labels = at::tensor({0, 0, 1, 1, 2, 2}, at::kLong);
  const at::Tensor segments = at::full({6}, segment, at::kInt);
  const at::Tensor logits = TestTensor({6, 3}).to(at::kFloat);
  const at::Tensor step_size = at::full({1}, 0.1 + segment, at::kFloat);
  return SerializeSafetensors({{"images", ViewOf(images)},
                               {"labels", ViewOf(labels)},
                               {"segment", ViewOf(segments)},
                               {"label_logits", ViewOf(logits)},
                               {"step_size", ViewOf(step_size)}},
                              {{"factor", "1"}, {"space", "preprocessed"}});
}

AssembleParameters FactorOne() {
  AssembleParameters parameters;
  parameters.factor = 1;
  return parameters;
}

TEST(Assemble, BringsNormalisedSetsBackToPixelsAndKeepsWhatIsTrainedOn) {
  TinyGang gang;
  const GangRun run =
      gang.Run(FactorOne(), {{"dataset", TinyDatasetBlob({})},
                             {"segment.1", PreprocessedSet(Images(), 0)},
                             {"segment.2", PreprocessedSet(Images(1), 1)},
                             {"start.1", PreprocessedSet(Images(2), 0)},
                             {"start.2", PreprocessedSet(Images(3), 1)}});
  ASSERT_TRUE(run.status.ok()) << run.status;
  const std::string& bytes = run.outputs.at("synthetic");
  const auto file = *SafetensorsFile::Parse(bytes);
  EXPECT_EQ(file->metadata().at("space"), "preprocessed");
  // Neither clamped nor changed.
  const at::Tensor images = at::cat({Images(), Images(1)});
  EXPECT_TRUE(Read(bytes, "images").equal(images));
  EXPECT_EQ(Read(bytes, "label_logits").size(0), 12);
  EXPECT_TRUE(
      Read(bytes, "step_size").equal(at::tensor({0.1f, 1.1f}, at::kFloat)));
  const auto numbers = [&](const char* name) {
    return nlohmann::json::parse(file->metadata().at(name))
        .get<std::vector<double>>();
  };
  const at::Tensor pixels = images * numbers("std")[0] + numbers("mean")[0];
  EXPECT_LT((Read(bytes, "pixels") - pixels).abs().max().item<double>(), 1e-5);
  EXPECT_TRUE(run.outputs.contains("grid"));
}

TEST(Assemble, UnwhitensWithTheTransformOfTheDataSet) {
  // The whitened data set and its transform: z = (x - 0.5) * 2.
  const auto dataset = *SafetensorsFile::Parse(TinyDatasetBlob({}));
  std::map<std::string, TensorView> tensors = dataset->tensors();
  std::map<std::string, at::Tensor> whitened;
  for (const char* split : {"train_images", "test_images"}) {
    whitened[split] =
        (BorrowTensor(tensors.at(split)).to(at::kFloat) / 255 - 0.5) * 2;
    tensors[split] = ViewOf(whitened[split]);
  }
  std::map<std::string, std::string> metadata = dataset->metadata();
  metadata["preprocessing"] = "zca";
  metadata["whitening"] = "that of the test";
  metadata["mean"] = "[0.0]";
  metadata["std"] = "[1.0]";
  const at::Tensor mean = at::full({kValues}, 0.5, at::kFloat);
  const at::Tensor whiten = at::eye(kValues) * 2;
  const at::Tensor unwhiten = at::eye(kValues) * 0.5;
  std::map<std::string, std::string> inputs = {
      {"dataset", SerializeSafetensors(tensors, metadata)},
      {"segment.1", PreprocessedSet(Images(), 0)},
      {"start.1", PreprocessedSet(Images(2), 0)}};
  TinyGang gang;
  // Its transform is needed.
  EXPECT_FALSE(gang.Run(FactorOne(), inputs).status.ok());
  inputs["zca"] = SerializeSafetensors({{"mean", ViewOf(mean)},
                                        {"whiten", ViewOf(whiten)},
                                        {"unwhiten", ViewOf(unwhiten)}});
  const GangRun run = gang.Run(FactorOne(), inputs);
  ASSERT_TRUE(run.status.ok()) << run.status;
  const auto file = *SafetensorsFile::Parse(run.outputs.at("synthetic"));
  EXPECT_EQ(file->metadata().at("whitening"), "that of the test");
  const at::Tensor expected = Images() / 2 + 0.5;
  EXPECT_LT((Read(run.outputs.at("synthetic"), "pixels") - expected)
                .abs()
                .max()
                .item<double>(),
            1e-5);
}

}  // namespace
}  // namespace dasm
