#include <ATen/ATen.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/artifact/safetensors.h"
#include "common/base/error.h"
#include "common/base/temporary_directory.h"
#include "gtest/gtest.h"
#include "worker/engine/dataset/device_images.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/dataset/image_source.h"
#include "worker/engine/dataset/set_data.h"
#include "worker/engine/dataset/tensor_view.h"
#include "worker/engine/network/finite_differences.h"

namespace dasm {
namespace {

class DatasetTest : public ::testing::Test {
 protected:
  DatasetTest() : directory_(*TemporaryDirectory::Create()) {}

  std::string Write(const std::map<std::string, at::Tensor>& tensors,
                    const std::map<std::string, std::string>& metadata) {
    std::map<std::string, TensorView> views;
    for (const auto& [name, tensor] : tensors) {
      views.emplace(name, ViewOf(tensor));
    }
    const std::string path = directory_->path() + "/file.safetensors";
    const absl::Status written = WriteSafetensors(path, views, metadata);
    EXPECT_TRUE(written.ok()) << written;
    return path;
  }

  const std::unique_ptr<TemporaryDirectory> directory_;
};

class ImageDataTest : public DatasetTest {
 protected:
  // Bytes 0 .. 255 over and over.
  static at::Tensor Bytes(at::IntArrayRef shape) {
    int64_t size = 1;
    for (int64_t extent : shape) size *= extent;
    return at::arange(size, at::kLong).remainder(256).to(at::kByte).view(shape);
  }

  std::map<std::string, at::Tensor> tensors_ = {
      {"train_images", Bytes({6, 2, 5, 4})},
      {"train_labels", at::tensor({0, 2, 1, 0, 2, 2}, at::kLong)},
      {"test_images", Bytes({3, 2, 5, 4})},
      {"test_labels", at::tensor({1, 0, 2}, at::kLong)}};
  std::map<std::string, std::string> metadata_ = {
      {"name", "tiny"},
      {"classes", R"(["a", "b", "c"])"},
      {"mean", "[0.25, 0.5]"},
      {"std", "[0.5, 0.125]"}};
};

TEST_F(ImageDataTest, GathersAndNormalises) {
  const auto data = ImageData::Open(Write(tensors_, metadata_));
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->name(), "tiny");
  EXPECT_EQ((*data)->classes(), 3);
  EXPECT_EQ((*data)->shape(), (ImageShape{2, 5, 4}));
  ASSERT_NE((*data)->train_bytes(), nullptr);
  const ByteImages& train = *(*data)->train_bytes();
  EXPECT_EQ((*data)->preprocessing(), Preprocessing::kNormalize);
  EXPECT_EQ((*data)->validation(), nullptr);
  EXPECT_EQ(train.size(), 6);
  EXPECT_EQ((*data)->test().size(), 3);
  EXPECT_EQ((*data)->train_by_class(),
            (std::vector<std::vector<int64_t>>{{0, 3}, {2}, {1, 4, 5}}));

  const std::vector<int64_t> chosen = {4, 0, 4};
  const at::Tensor raw =
      tensors_["train_images"].index_select(0, at::tensor(chosen, at::kLong));
  const at::Tensor pixels = train.Pixels(chosen);
  EXPECT_TRUE(pixels.equal(raw.to(at::kFloat) / 255.0f));
  const at::Tensor normalised = train.Normalised(chosen);
  EXPECT_TRUE(normalised.equal((*data)->normalization().Apply(pixels)));
  EXPECT_FLOAT_EQ(normalised[1][1][0][0].item<float>(),
                  (20 / 255.0f - 0.5f) / 0.125f);
  EXPECT_TRUE(train.Labels(chosen).equal(at::tensor({2, 0, 2}, at::kLong)));
}

TEST_F(ImageDataTest, WhitenedImagesAreTakenAsTheyAre) {
  const at::Tensor images = TestTensor({6, 2, 5, 4}).to(at::kFloat) * 3;
  tensors_["train_images"] = images;
  tensors_["test_images"] = images.narrow(0, 0, 3).contiguous();
  metadata_["preprocessing"] = "zca";
  const auto data = ImageData::Open(Write(tensors_, metadata_));
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->preprocessing(), Preprocessing::kZca);
  EXPECT_EQ((*data)->train_bytes(), nullptr);
  EXPECT_TRUE((*data)->train().Normalised({4, 0}).equal(
      images.index_select(0, at::tensor({4, 0}, at::kLong))));
  EXPECT_TRUE((*data)->normalization().Apply(images).equal(images));
  EXPECT_EQ((*data)->train_by_class()[2], (std::vector<int64_t>{1, 4, 5}));
}

TEST_F(ImageDataTest, ValidationIsASplitOfItsOwn) {
  tensors_["validation_images"] = Bytes({2, 2, 5, 4});
  tensors_["validation_labels"] = at::tensor({2, 0}, at::kLong);
  const auto data = ImageData::Open(Write(tensors_, metadata_));
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_NE((*data)->validation(), nullptr);
  EXPECT_EQ((*data)->validation()->labels(), (std::vector<int64_t>{2, 0}));
  EXPECT_EQ((*data)->train().size(), 6);
}

TEST_F(ImageDataTest, RefusesBlobsOfAnotherShape) {
  const auto expect_refused = [&](const std::string& what) {
    const auto data = ImageData::Open(Write(tensors_, metadata_));
    ASSERT_FALSE(data.ok());
    EXPECT_EQ(FailureClassOf(data.status()), FailureClass::kData);
    const std::string message(data.status().message());
    EXPECT_NE(message.find(what), std::string::npos) << message;
    EXPECT_NE(message.find("file.safetensors"), std::string::npos) << message;
  };
  const auto tensors = tensors_;
  const auto metadata = metadata_;

  tensors_["train_labels"] = at::zeros({5}, at::kLong);
  expect_refused("6 train images and 5 labels");
  tensors_ = tensors;
  tensors_["test_labels"] = at::tensor({0, 3, 1}, at::kLong);
  expect_refused("test image 1 has label 3 of 3 classes");
  tensors_ = tensors;
  tensors_["test_images"] = Bytes({3, 2, 4, 4});
  expect_refused("differ in shape");
  tensors_ = tensors;
  tensors_.erase("test_images");
  expect_refused("test_images");
  tensors_ = tensors;
  tensors_["train_images"] = at::zeros({6, 2, 5, 4}, at::kFloat);
  expect_refused("train_images");
  tensors_ = tensors;

  metadata_["preprocessing"] = "zca";
  expect_refused("train_images");
  metadata_["preprocessing"] = "pca";
  expect_refused("unknown preprocessing \"pca\"");
  metadata_ = metadata;
  tensors_["validation_images"] = Bytes({2, 2, 5, 4});
  expect_refused("validation_labels");
  tensors_ = tensors;
  metadata_["mean"] = "[0.5]";
  expect_refused("2 channels");
  metadata_ = metadata;
  metadata_["std"] = "[0.5, 0]";
  expect_refused("std");
  metadata_ = metadata;
  metadata_["classes"] = "3";
  expect_refused("classes");
}

TEST_F(ImageDataTest, MissingFileIsData) {
  const auto data = ImageData::Open(directory_->path() + "/absent");
  EXPECT_EQ(FailureClassOf(data.status()), FailureClass::kData);
}

TEST(Normalization, IsDifferentiable) {
  const Normalization normalization = {{0.2, 0.4}, {0.5, 0.25}};
  EXPECT_LT(GradientError(
                [&](const at::Tensor& x) {
                  return normalization.Apply(x).pow(3).sum();
                },
                TestTensor({2, 2, 3, 3})),
            1e-7);
}

TEST(TensorSource, GathersInTheOrderAskedFor) {
  const at::Tensor images = TestTensor({4, 2, 3, 3}).to(at::kFloat);
  const TensorSource source(images, {3, 2, 1, 0});
  EXPECT_EQ(source.shape(), (ImageShape{2, 3, 3}));
  const at::Tensor chosen = source.Normalised({2, 2, 0});
  EXPECT_TRUE(chosen[0].equal(images[2]));
  EXPECT_TRUE(chosen[1].equal(images[2]));
  EXPECT_TRUE(chosen[2].equal(images[0]));
  EXPECT_TRUE(source.Labels({2, 2, 0}).equal(at::tensor({1, 1, 3}, at::kLong)));
}

TEST(DeviceImages, AreTheSourcesBitForBit) {
  const at::Tensor images = TestTensor({5000, 1, 2, 2}).to(at::kFloat);
  std::vector<int64_t> labels(5000);
  for (int64_t i = 0; i < 5000; ++i) labels[i] = i % 7;
  const TensorSource source(images, labels);
  const DeviceImages copied(&source, at::kCPU);
  EXPECT_EQ(copied.size(), 5000);
  EXPECT_EQ(copied.shape(), source.shape());
  const std::vector<int64_t> chosen = {4999, 0, 4096, 4095, 0};
  EXPECT_TRUE(copied.Normalised(chosen).equal(source.Normalised(chosen)));
  EXPECT_TRUE(copied.Targets(chosen).equal(source.Labels(chosen)));
}

TEST(TensorView, GoesToTensorsAndBack) {
  for (at::ScalarType type :
       {at::kByte, at::kInt, at::kLong, at::kFloat, at::kDouble}) {
    const at::Tensor tensor = at::arange(6, at::kDouble).view({2, 3}).to(type);
    const TensorView view = ViewOf(tensor);
    EXPECT_EQ(view.size_bytes(), tensor.nbytes());
    EXPECT_TRUE(BorrowTensor(view).equal(tensor));
    EXPECT_EQ(BorrowTensor(view).const_data_ptr(), tensor.const_data_ptr());
    EXPECT_TRUE(CopyTensor(view).equal(tensor));
    EXPECT_NE(CopyTensor(view).const_data_ptr(), tensor.const_data_ptr());
  }
  EXPECT_ANY_THROW(ViewOf(at::zeros({2, 3}).t()));
  EXPECT_ANY_THROW(ViewOf(at::zeros({2}, at::kHalf)));
}

class SetDataTest : public DatasetTest {
 protected:
  std::map<std::string, at::Tensor> tensors_ = {
      {"images", TestTensor({4, 1, 4, 4}).abs().to(at::kFloat)},
      {"labels", at::tensor({0, 0, 1, 1}, at::kLong)},
      {"segment", at::zeros({4}, at::kInt)},
      {"source", at::arange(16, at::kLong).view({4, 4})}};
  std::map<std::string, std::string> metadata_ = {{"factor", "2"}};
};

TEST_F(SetDataTest, LoadsWhatWasStored) {
  const auto set = LoadSet(Write(tensors_, metadata_));
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_TRUE(set->images.equal(tensors_["images"]));
  EXPECT_TRUE(set->labels.equal(tensors_["labels"]));
  EXPECT_TRUE(set->segment.equal(tensors_["segment"]));
  EXPECT_TRUE(set->source.equal(tensors_["source"]));
  EXPECT_EQ(set->factor, 2);
  tensors_.erase("source");
  const auto without = LoadSet(Write(tensors_, metadata_));
  ASSERT_TRUE(without.ok()) << without.status();
  EXPECT_FALSE(without->source.defined());
}

TEST_F(SetDataTest, RefusesFilesOfAnotherShape) {
  const auto expect_refused = [&] {
    const auto set = LoadSet(Write(tensors_, metadata_));
    ASSERT_FALSE(set.ok());
    EXPECT_EQ(FailureClassOf(set.status()), FailureClass::kData);
    EXPECT_NE(set.status().message().find("file.safetensors"),
              std::string::npos);
  };
  const auto tensors = tensors_;
  tensors_["labels"] = at::zeros({3}, at::kLong);
  expect_refused();
  tensors_ = tensors;
  tensors_.erase("segment");
  expect_refused();
  tensors_ = tensors;
  metadata_["factor"] = "0";
  expect_refused();
}

TEST_F(SetDataTest, ConcatenatesInTheGivenOrder) {
  const SetData first = *LoadSet(Write(tensors_, metadata_));
  tensors_["segment"] = at::ones({4}, at::kInt);
  const SetData second = *LoadSet(Write(tensors_, metadata_));
  const auto both = ConcatenateSets({first, second});
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_EQ(both->images.size(0), 8);
  EXPECT_TRUE(
      both->segment.equal(at::tensor({0, 0, 0, 0, 1, 1, 1, 1}, at::kInt)));
  EXPECT_EQ(both->source.size(0), 8);
  EXPECT_EQ(both->factor, 2);

  SetData other = second;
  other.factor = 1;
  EXPECT_EQ(FailureClassOf(ConcatenateSets({first, other}).status()),
            FailureClass::kData);
  other = second;
  other.source = at::Tensor();
  EXPECT_FALSE(ConcatenateSets({first, other})->source.defined());
}

TEST_F(SetDataTest, LoadsAndJoinsSoftLabelsStepSizesAndSpace) {
  EXPECT_FALSE(LoadSet(Write(tensors_, metadata_))->preprocessed);
  metadata_["space"] = "preprocessed";
  tensors_["label_logits"] = TestTensor({4, 3}).to(at::kFloat);
  tensors_["step_size"] = at::full({1}, 0.5, at::kFloat);
  const auto first = LoadSet(Write(tensors_, metadata_));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(first->preprocessed);
  EXPECT_TRUE(first->label_logits.equal(tensors_["label_logits"]));
  SetData second = *first;
  second.step_size = at::full({1}, 0.25, at::kFloat);
  const auto both = ConcatenateSets({*first, second});
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_TRUE(both->preprocessed);
  EXPECT_EQ(both->label_logits.size(0), 8);
  EXPECT_TRUE(both->step_size.equal(at::tensor({0.5, 0.25}, at::kFloat)));

  SetData other = second;
  other.preprocessed = false;
  EXPECT_FALSE(ConcatenateSets({*first, other}).ok());
  other = second;
  other.label_logits = at::Tensor();
  EXPECT_FALSE(ConcatenateSets({*first, other}).ok());
  other = second;
  other.step_size = at::Tensor();
  EXPECT_FALSE(ConcatenateSets({*first, other})->step_size.defined());
}

TEST_F(SetDataTest, RefusesAnUnknownSpaceAndAStepSizeThatIsNotAbove0) {
  metadata_["space"] = "whitened";
  EXPECT_EQ(FailureClassOf(LoadSet(Write(tensors_, metadata_)).status()),
            FailureClass::kData);
  metadata_["space"] = "pixel";
  for (const double step : {0.0, -1.0, std::nan("")}) {
    tensors_["step_size"] = at::full({1}, step, at::kFloat);
    EXPECT_EQ(FailureClassOf(LoadSet(Write(tensors_, metadata_)).status()),
              FailureClass::kData);
  }
}

}  // namespace
}  // namespace dasm
