#include "worker/runner/prepare/prepare_task.h"

#include <cmath>
#include <string>
#include <vector>

#include "common/artifact/digest.h"
#include "common/artifact/safetensors.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/dataset/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace dasm {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
void ExpectBadData(const absl::StatusOr<T>& result, const std::string& file,
                   const std::string& what) {
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(FailureClassOf(result.status()), FailureClass::kData)
      << result.status();
  EXPECT_THAT(std::string(result.status().message()),
              AllOf(HasSubstr(file), HasSubstr(what)));
}

template <typename T>
std::vector<T> Values(const SafetensorsFile& file, const std::string& name,
                      DType dtype, int dimensions) {
  const auto view = file.Get(name, dtype, dimensions);
  EXPECT_TRUE(view.ok()) << view.status();
  const T* data = static_cast<const T*>(view->data);
  return std::vector<T>(data, data + view->elements());
}

// A prepared data set of three classes of 1 x 2 x 2 images, mean 0.25 and
// deviation 0.5.
class PrepareTask : public testing::Test {
 protected:
  PrepareTask() {
    parameters_.name = "custom";
    parameters_.format = "idx";
    parameters_.mean = {0.25};
    parameters_.std = {0.5};
    files_ = {File("train_images", IdxImages(6, 2)),
              File("train_labels", IdxLabels(6, 3)),
              File("test_images", IdxImages(3, 2)),
              File("test_labels", IdxLabels(3, 3))};
    dataset_ = folder_.At("dataset");
    summary_ = RunPrepareDataset(parameters_, files_, dataset_);
  }

  ResolvedFile File(const std::string& role, const std::string& bytes) {
    return {role, folder_.Write(role, bytes), Sha256(bytes)};
  }
  absl::StatusOr<std::string> Import(const std::vector<float>& images,
                                     const std::vector<int64_t>& labels,
                                     PixelSpace space) {
    ImportSetParameters parameters;
    parameters.space = space;
    const auto count = static_cast<int64_t>(labels.size());
    return RunImportSet(parameters,
                        {File("images", NpyF4({count, 1, 2, 2}, images)),
                         File("labels", NpyI8(labels))},
                        "", dataset_, folder_.At("set"));
  }

  TestFolder folder_;
  PrepareDatasetParameters parameters_;
  std::vector<ResolvedFile> files_;
  std::string dataset_;
  absl::StatusOr<std::string> summary_;
};

TEST_F(PrepareTask, DatasetIsWrittenAndSummarised) {
  ASSERT_TRUE(summary_.ok()) << summary_.status();
  const nlohmann::json summary = nlohmann::json::parse(*summary_);
  EXPECT_EQ(summary, (nlohmann::json{{"train", 6},
                                     {"test", 3},
                                     {"classes", 3},
                                     {"channels", 1},
                                     {"height", 2},
                                     {"width", 2},
                                     {"class_sizes", {2, 2, 2}}}));
  const auto file = SafetensorsFile::Open(dataset_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(Values<int64_t>(**file, "train_labels", DType::kI64, 1),
              ElementsAre(0, 1, 2, 0, 1, 2));
  EXPECT_EQ((*file)->metadata().at("mean"), "[0.25]");
}

TEST_F(PrepareTask, ChangedFileIsNamedAndNothingIsWritten) {
  folder_.Write("train_labels", IdxLabels(6, 2));
  const std::string output = folder_.At("other");
  ExpectBadData(RunPrepareDataset(parameters_, files_, output), "train_labels",
                "changed since the job was submitted");
  EXPECT_FALSE(LocalFileSystem()->Exists(output));
}

TEST_F(PrepareTask, OutputThatCannotBeWrittenIsStorage) {
  const auto summary =
      RunPrepareDataset(parameters_, files_, "/nonexistent/folder/out");
  EXPECT_EQ(FailureClassOf(summary.status()), FailureClass::kStorage);
}

TEST_F(PrepareTask, ArraysBecomeASetSortedByClass) {
  const auto summary = Import({0, .25f, .5f, .75f, 1, 1, 1, 1, 0, 0, 0, .125f},
                              {2, 0, 2}, PixelSpace::kPixel);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(nlohmann::json::parse(*summary),
            (nlohmann::json{
                {"images", 3}, {"images_per_class", 2}, {"stored_bytes", 48}}));
  const auto file = SafetensorsFile::Open(folder_.At("set"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(Values<int64_t>(**file, "labels", DType::kI64, 1),
              ElementsAre(0, 2, 2));
  EXPECT_THAT(Values<int32_t>(**file, "segment", DType::kI32, 1),
              ElementsAre(0, 0, 0));
  EXPECT_THAT(Values<float>(**file, "images", DType::kF32, 4),
              ElementsAre(1, 1, 1, 1, 0, .25f, .5f, .75f, 0, 0, 0, .125f));
  EXPECT_EQ((*file)->metadata().at("factor"), "1");
}

TEST_F(PrepareTask, NormalisedPixelsAreMappedBackAndNotClamped) {
  ASSERT_TRUE(Import({-2, 0, .1f, 3}, {1}, PixelSpace::kNormalized).ok());
  const auto file = SafetensorsFile::Open(folder_.At("set"));
  EXPECT_THAT(Values<float>(**file, "images", DType::kF32, 4),
              ElementsAre(-0.75f, 0.25f,
                          static_cast<float>(double{.1f} * 0.5 + 0.25), 1.75f));
}

TEST_F(PrepareTask, WhitenedArraysAreTakenAsTheyAre) {
  const std::vector<float> images(12, 0.5f);
  const std::vector<int64_t> labels = {0, 1, 2};
  ASSERT_TRUE(WriteSafetensors(
                  dataset_,
                  {{"train_images", {DType::kF32, {3, 1, 2, 2}, images.data()}},
                   {"train_labels", {DType::kI64, {3}, labels.data()}}},
                  {{"classes", R"(["a", "b", "c"])"},
                   {"mean", "[0.25]"},
                   {"std", "[0.5]"},
                   {"preprocessing", "zca"}})
                  .ok());
  ASSERT_TRUE(Import({-2, 0, .1f, 3}, {1}, PixelSpace::kNormalized).ok());
  const auto file = SafetensorsFile::Open(folder_.At("set"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(Values<float>(**file, "images", DType::kF32, 4),
              ElementsAre(-2, 0, .1f, 3));
  EXPECT_EQ((*file)->metadata().at("space"), "preprocessed");
}

TEST_F(PrepareTask, PixelsOutOfRangeAreRefusedWithTheRemedy) {
  ExpectBadData(Import({0, 0, 0, 0, 0, 0, 1.5f, 0}, {0, 1}, PixelSpace::kPixel),
                "images", "1.5 in image 1 is outside [0, 1]");
}

TEST_F(PrepareTask, SetThatDoesNotFitTheDatasetIsRefused) {
  ExpectBadData(Import({0, 0, 0, 0}, {3}, PixelSpace::kPixel), "images",
                "label 3 of image 0; the data set has classes 0 .. 2");
  ImportSetParameters parameters;
  ExpectBadData(
      RunImportSet(
          parameters,
          {File("images", NpyF4({1, 3, 2, 2}, std::vector<float>(12, .5f))),
           File("labels", NpyI8({0}))},
          "", dataset_, folder_.At("set")),
      "images", "images of 3 x 2 x 2; the data set's are 1 x 2 x 2");
  EXPECT_FALSE(LocalFileSystem()->Exists(folder_.At("set")));
}

TEST_F(PrepareTask, NanInAnImportedSetIsNamed) {
  ExpectBadData(Import({0, 0, 0, std::nanf("")}, {0}, PixelSpace::kNormalized),
                "images", "NaN at index [0, 0, 1, 1]");
}

TEST_F(PrepareTask, ChangedArraysAreNamed) {
  std::vector<ResolvedFile> files = {
      File("images", NpyF4({1, 1, 2, 2}, {0, 0, 0, 0})),
      File("labels", NpyI8({0}))};
  files[1].digest = Sha256("another");
  ExpectBadData(RunImportSet({}, files, "", dataset_, folder_.At("set")),
                "labels", "changed since the job was submitted");
}

TEST_F(PrepareTask, StoredSetKeepsValuesOrderAndSegments) {
  const std::vector<float> images = {0, .1f, .2f, .3f, 1.5f, .5f, .6f, .7f};
  const std::vector<int64_t> labels = {1, 0};
  const std::vector<int32_t> segment = {0, 1};
  const std::string source = folder_.At("source");
  ASSERT_TRUE(
      WriteSafetensors(source,
                       {{"images", {DType::kF32, {2, 1, 2, 2}, images.data()}},
                        {"labels", {DType::kI64, {2}, labels.data()}},
                        {"segment", {DType::kI32, {2}, segment.data()}}},
                       {{"factor", "2"}})
          .ok());
  ImportSetParameters parameters;
  parameters.factor = 2;
  const std::string output = folder_.At("set");
  const auto summary = RunImportSet(parameters, {}, source, dataset_, output);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(*LocalFileSystem()->Read(output), *LocalFileSystem()->Read(source));

  parameters.factor = 1;
  ExpectBadData(RunImportSet(parameters, {}, source, dataset_, output),
                "source", "set synthesis.factor: 2");
  parameters.factor = 2;
  parameters.space = PixelSpace::kNormalized;
  EXPECT_EQ(
      FieldOf(RunImportSet(parameters, {}, source, dataset_, output).status()),
      "synthetic_set.space");
}

TEST_F(PrepareTask, DamagedStoredSetIsNamed) {
  const std::string source = folder_.Write("source", "not safetensors");
  ExpectBadData(RunImportSet({}, {}, source, dataset_, folder_.At("set")),
                "source", "");
  const std::vector<float> images = {0, 0, 0, std::nanf("")};
  const std::vector<int64_t> labels = {1};
  const std::vector<int32_t> segment = {0};
  ASSERT_TRUE(
      WriteSafetensors(source,
                       {{"images", {DType::kF32, {1, 1, 2, 2}, images.data()}},
                        {"labels", {DType::kI64, {1}, labels.data()}},
                        {"segment", {DType::kI32, {1}, segment.data()}}})
          .ok());
  ExpectBadData(RunImportSet({}, {}, source, dataset_, folder_.At("set")),
                "source", "not finite at element 3");
}

TEST_F(PrepareTask, ValidationSplitIsWrittenAndCounted) {
  files_[0] = File("train_images", IdxImages(12, 2));
  files_[1] = File("train_labels", IdxLabels(12, 3));
  parameters_.validation = 0.5;
  const std::string output = folder_.At("split");
  const auto summary = RunPrepareDataset(parameters_, files_, output);
  ASSERT_TRUE(summary.ok()) << summary.status();
  const nlohmann::json parsed = nlohmann::json::parse(*summary);
  EXPECT_EQ(parsed["train"], 6);
  EXPECT_EQ(parsed["validation"], 6);
  EXPECT_EQ(parsed["class_sizes"], (nlohmann::json{2, 2, 2}));
  const auto file = SafetensorsFile::Open(output);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(Values<uint8_t>(**file, "validation_images", DType::kU8, 4).size(),
            24u);
  EXPECT_EQ(Values<int64_t>(**file, "validation_labels", DType::kI64, 1).size(),
            6u);
}

TEST_F(PrepareTask, StoredTrajectorySetKeepsWhatWasLearned) {
  const std::vector<float> images = {-3, 0, 9, 1, 1, 2, 3, 4};
  const std::vector<int64_t> labels = {0, 2};
  const std::vector<int32_t> segment = {0, 1};
  const std::vector<float> logits = {1, 2, 3, 4, 5, 6};
  const std::vector<float> step_size = {0.01f, 0.02f};
  const std::string source = folder_.At("source");
  const auto store = [&](const std::vector<float>& rates) {
    const auto count = static_cast<int64_t>(rates.size());
    return WriteSafetensors(
        source,
        {{"images", {DType::kF32, {2, 1, 2, 2}, images.data()}},
         {"labels", {DType::kI64, {2}, labels.data()}},
         {"segment", {DType::kI32, {2}, segment.data()}},
         {"label_logits", {DType::kF32, {2, 3}, logits.data()}},
         {"step_size", {DType::kF32, {count}, rates.data()}}},
        {{"factor", "1"}, {"space", "preprocessed"}, {"whitening", "w"}});
  };
  ASSERT_TRUE(store(step_size).ok());
  const std::string output = folder_.At("set");
  const auto summary = RunImportSet({}, {}, source, dataset_, output);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(*LocalFileSystem()->Read(output), *LocalFileSystem()->Read(source));

  ASSERT_TRUE(store({0.01f}).ok());
  ExpectBadData(RunImportSet({}, {}, source, dataset_, output), "source",
                "step_size is [1] where [2] is needed");
  ASSERT_TRUE(store({0.01f, std::nanf("")}).ok());
  ExpectBadData(RunImportSet({}, {}, source, dataset_, output), "source",
                "step_size: not finite at element 1");
}

TEST_F(PrepareTask, ScoresBecomeARanking) {
  const std::string output = folder_.At("ranking");
  ImportScoresParameters parameters;
  // Labels 0, 1, 2, 0, 1, 2.
  const auto summary = RunImportScores(
      parameters, {File("scores", NpyF4({6}, {.5f, 0, 1, .25f, 0, 2}))},
      dataset_, output);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(nlohmann::json::parse(*summary),
            (nlohmann::json{{"images", 6}, {"rule", "file"}}));
  const auto file = SafetensorsFile::Open(output);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(Values<int64_t>(**file, "order", DType::kI64, 1),
              ElementsAre(3, 0, 1, 4, 2, 5));
  EXPECT_THAT(Values<float>(**file, "score", DType::kF32, 1),
              ElementsAre(.5f, 0, 1, .25f, 0, 2));
}

// Integers [3, 2], row by row.
std::string ClassRows(const std::vector<int64_t>& numbers) {
  return Npy("<i8", {3, 2},
             {reinterpret_cast<const char*>(numbers.data()),
              numbers.size() * sizeof(int64_t)});
}

TEST_F(PrepareTask, ImageNumbersByClassBecomeARanking) {
  const std::string output = folder_.At("ranking");
  const auto summary = RunImportScores(
      {}, {File("scores", ClassRows({3, 0, 1, 4, 5, 2}))}, dataset_, output);
  ASSERT_TRUE(summary.ok()) << summary.status();
  const auto file = SafetensorsFile::Open(output);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(Values<int64_t>(**file, "order", DType::kI64, 1),
              ElementsAre(3, 0, 1, 4, 5, 2));
  EXPECT_THAT(Values<float>(**file, "score", DType::kF32, 1),
              ElementsAre(1, 0, 1, 0, 1, 0));
}

TEST_F(PrepareTask, ScoresThatDoNotFitAreRefusedWithTheShapeThatWould) {
  const std::string output = folder_.At("ranking");
  const auto import = [&](const std::string& bytes) {
    return RunImportScores({}, {File("scores", bytes)}, dataset_, output);
  };
  ExpectBadData(import(NpyF4({5}, {0, 0, 0, 0, 0})), "scores",
                "floats [5]; the data set's 6 training images");
  ExpectBadData(import(NpyI8({0, 1, 2})), "scores", "or integers [3, 2]");
  ExpectBadData(import(ClassRows({3, 0, 1, 1, 5, 2})), "scores",
                "row 1 holds 1, which is there twice");
  ExpectBadData(import(ClassRows({3, 1, 0, 4, 5, 2})), "scores",
                "row 0 holds 1, which is an image of another class");
  ExpectBadData(import(ClassRows({3, 9, 0, 4, 5, 2})), "scores",
                "row 0 holds 9, which is no training image");
  ExpectBadData(import(NpyF4({6}, {0, 0, std::nanf(""), 0, 0, 0})), "scores",
                "NaN");
  ExpectBadData(import("PK"), "scores", "not a .npy array");
  EXPECT_FALSE(LocalFileSystem()->Exists(output));
  std::vector<ResolvedFile> changed = {
      File("scores", NpyF4({6}, {0, 0, 0, 0, 0, 0}))};
  changed[0].digest = Sha256("another");
  ExpectBadData(RunImportScores({}, changed, dataset_, output), "scores",
                "changed since the job was submitted");
}

TEST_F(PrepareTask, FilesAndASetTogetherAreRefused) {
  EXPECT_EQ(RunImportSet({}, {}, "", dataset_, "x").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(RunImportSet({}, files_, "source", dataset_, "x").status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dasm
