#include "worker/engine/task/whiten_dataset.h"

#include <ATen/ATen.h>

#include <map>
#include <string>

#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/temporary_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/dataset/zca.h"
#include "worker/engine/task/tiny_gang.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;

TEST(WhitenDataset, OutputsOpenAsADataSetOfWhitenedImages) {
  const std::string blob = TinyDatasetBlob({.shape = {2, 6, 6}});
  TinyGang gang;
  const GangRun run = gang.Run(WhitenDatasetParameters{}, {{"dataset", blob}});
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.summary["dimensions"], 72);
  EXPECT_GT(run.summary["largest_eigenvalue"],
            run.summary["smallest_eigenvalue"]);

  const auto folder = *TemporaryDirectory::Create();
  const auto store = [&](const std::string& name, const std::string& bytes) {
    const std::string path = folder->path() + "/" + name;
    EXPECT_TRUE(WriteFileAtomically(LocalFileSystem(), path, bytes).ok());
    return path;
  };
  const auto raw = *ImageData::Open(store("raw", blob));
  const auto whitened =
      ImageData::Open(store("whitened", run.outputs.at("dataset")));
  ASSERT_TRUE(whitened.ok()) << whitened.status();
  const auto zca = LoadZca(store("zca", run.outputs.at("zca")), 72);
  ASSERT_TRUE(zca.ok()) << zca.status();
  EXPECT_EQ((*whitened)->preprocessing(), Preprocessing::kZca);
  EXPECT_EQ((*whitened)->name(), raw->name());
  const std::string& whitening = (*whitened)->file().metadata().at("whitening");
  EXPECT_THAT(whitening, HasSubstr("epsilon 0.1, mean sha256:"));
  EXPECT_EQ((*whitened)->class_names(), raw->class_names());
  EXPECT_EQ((*whitened)->train().labels(), raw->train().labels());
  EXPECT_EQ((*whitened)->test().labels(), raw->test().labels());
  EXPECT_EQ((*whitened)->train().size(), raw->train().size());
  const at::Tensor pixels = raw->train_bytes()->Pixels({0, 17, 71});
  const at::Tensor images = (*whitened)->train().Normalised({0, 17, 71});
  EXPECT_TRUE(images.allclose(zca->Whiten(pixels), 1e-5, 1e-5));
  EXPECT_TRUE(zca->Unwhiten(images).allclose(pixels, 1e-4, 1e-4));
}

TEST(WhitenDataset, RanksChangeNoBit) {
  // Several chunks of 512, the last one short.
  const std::string blob = TinyDatasetBlob(
      {.shape = {1, 4, 4}, .train_per_class = 400, .test_per_class = 30});
  TinyGang gang;
  const GangRun alone =
      gang.Run(WhitenDatasetParameters{}, {{"dataset", blob}});
  ASSERT_TRUE(alone.status.ok()) << alone.status;
  for (gang.ranks = 2; gang.ranks <= 3; ++gang.ranks) {
    const GangRun run =
        gang.Run(WhitenDatasetParameters{}, {{"dataset", blob}});
    EXPECT_EQ(run.outputs, alone.outputs) << gang.ranks << run.status;
  }
}

TEST(WhitenDataset, WhatItWasFittedWithIsItsName) {
  const auto name = [](const WhitenDatasetParameters& parameters,
                       const TinyData& data) {
    const GangRun run =
        TinyGang().Run(parameters, {{"dataset", TinyDatasetBlob(data)}});
    EXPECT_TRUE(run.status.ok()) << run.status;
    return (*SafetensorsFile::Parse(run.outputs.at("dataset")))
        ->metadata()
        .at("whitening");
  };
  const std::string one = name({}, {});
  EXPECT_EQ(name({}, {.test_per_class = 3}), one);
  EXPECT_NE(name({}, {.train_per_class = 23}), one);
  EXPECT_NE(name({.epsilon = 0.2}, {}), one);
}

TEST(WhitenDataset, StopsBetweenItsChunks) {
  const std::map<std::string, std::string> inputs = {
      {"dataset", TinyDatasetBlob({.shape = {1, 4, 4},
                                   .train_per_class = 400,
                                   .test_per_class = 30})}};
  TinyGang gang;
  for (gang.ranks = 1; gang.ranks <= 2; ++gang.ranks) {
    gang.wishes = {{2, TaskObserver::Wish::kCheckpoint}};
    const GangRun whole = gang.Run(WhitenDatasetParameters{}, inputs);
    ASSERT_TRUE(whole.status.ok()) << whole.status;
    // None is due: there is nothing to keep.
    EXPECT_TRUE(whole.observer.checkpoints.empty());
    // Two chunks of the covariance, two matrices, three chunks of images, as
    // many at a time as there are ranks, and one of the test's.
    EXPECT_EQ(whole.observer.polls, gang.ranks == 1 ? 8 : 7);
    for (int64_t poll = 0; poll < whole.observer.polls; ++poll) {
      gang.wishes = {{poll, TaskObserver::Wish::kStop}};
      const GangRun stopped = gang.Run(WhitenDatasetParameters{}, inputs);
      EXPECT_EQ(FailureClassOf(stopped.status), FailureClass::kPreempted)
          << poll << stopped.status;
      EXPECT_TRUE(stopped.observer.checkpoints.empty());
      EXPECT_TRUE(stopped.outputs.empty());
    }
  }
}

TEST(WhitenDataset, LargeImagesAreRefusedWithTheRemedy) {
  TinyGang gang;
  const GangRun run =
      gang.Run(WhitenDatasetParameters{},
               {{"dataset", TinyDatasetBlob({.shape = {1, 65, 65},
                                             .train_per_class = 1,
                                             .test_per_class = 1})}});
  EXPECT_EQ(FieldOf(run.status), "dataset.preprocessing");
  EXPECT_EQ(FailureClassOf(run.status), FailureClass::kSpec);
  EXPECT_THAT(std::string(run.status.message()), HasSubstr("set normalize"));
}

TEST(WhitenDataset, WhitenedDataAreRefused) {
  TinyGang gang;
  const GangRun once =
      gang.Run(WhitenDatasetParameters{}, {{"dataset", TinyDatasetBlob({})}});
  ASSERT_TRUE(once.status.ok()) << once.status;
  const GangRun twice = gang.Run(WhitenDatasetParameters{},
                                 {{"dataset", once.outputs.at("dataset")}});
  EXPECT_EQ(FailureClassOf(twice.status), FailureClass::kData);
}

}  // namespace
}  // namespace dasm
