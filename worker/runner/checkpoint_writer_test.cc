#include "worker/runner/checkpoint_writer.h"

#include <stdlib.h>

#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/base/file_system.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;

class CheckpointWriterTest : public ::testing::Test {
 protected:
  CheckpointWriterTest() {
    std::string folder = absl::StrCat(::testing::TempDir(), "/writer-XXXXXX");
    folder_ = mkdtemp(folder.data());
  }
  ~CheckpointWriterTest() override { std::filesystem::remove_all(folder_); }

  static std::map<std::string, TensorView> View(
      const std::vector<float>& values) {
    return {
        {"images",
         {DType::kF32, {static_cast<int64_t>(values.size())}, values.data()}}};
  }

  std::string folder_;
};

TEST_F(CheckpointWriterTest, WritesWhatItWasGivenAndNotWhatItBecame) {
  absl::Notification changed;
  std::vector<float> values = {1, 2, 3};
  {
    // Busy until the callback is back.
    CheckpointWriter writer(folder_,
                            [&](const std::string&, const CheckpointInfo&) {
                              changed.WaitForNotification();
                            });
    ASSERT_TRUE(writer.Start({"key", 1, 0}, View(values)).ok());
    values = {9, 9, 9};
    EXPECT_TRUE(writer.busy());
    changed.Notify();
    ASSERT_TRUE(writer.Wait().ok());
    EXPECT_FALSE(writer.busy());
  }
  const auto file =
      SafetensorsFile::Open(absl::StrCat(folder_, "/", CheckpointFileName(1)));
  ASSERT_TRUE(file.ok()) << file.status();
  const TensorView view = (*file)->tensors().at("images");
  const auto* data = static_cast<const float*>(view.data);
  EXPECT_THAT(std::vector<float>(data, data + view.elements()),
              ElementsAre(1, 2, 3));
}

TEST_F(CheckpointWriterTest, TellsOfEachFileOnceItIsThereAndKeepsTwo) {
  std::vector<int64_t> steps;
  const std::vector<float> values = {1};
  CheckpointWriter writer(
      folder_, [&](const std::string& name, const CheckpointInfo& info) {
        EXPECT_TRUE(std::filesystem::exists(folder_ + "/" + name));
        steps.push_back(info.step);
      });
  for (int64_t step : {5, 6, 7}) {
    ASSERT_TRUE(writer.Start({"key", step, 0}, View(values)).ok());
  }
  ASSERT_TRUE(writer.Wait().ok());
  EXPECT_THAT(steps, ElementsAre(5, 6, 7));
  EXPECT_THAT(*LocalFileSystem()->List(folder_),
              ElementsAre(CheckpointFileName(6), CheckpointFileName(7)));
}

TEST_F(CheckpointWriterTest, AnErrorComesWithTheNextCallAndStays) {
  int written = 0;
  CheckpointWriter writer(
      folder_ + "/missing",
      [&](const std::string&, const CheckpointInfo&) { ++written; });
  ASSERT_TRUE(writer.Start({"key", 1, 0}, {}).ok());
  EXPECT_FALSE(writer.Start({"key", 2, 0}, {}).ok());
  EXPECT_FALSE(writer.Wait().ok());
  EXPECT_EQ(written, 0);
}

}  // namespace
}  // namespace dasm
