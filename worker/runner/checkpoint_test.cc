#include "worker/runner/checkpoint.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() {
    std::string folder = absl::StrCat(::testing::TempDir(), "/ckpt-XXXXXX");
    directory_ = mkdtemp(folder.data());
  }
  ~CheckpointTest() override { std::filesystem::remove_all(directory_); }

  std::string Write(int64_t step, double seconds) {
    const std::string path = directory_ + "/" + CheckpointFileName(step);
    EXPECT_TRUE(
        WriteCheckpointFile(path, {"key", step, seconds}, {{"pixels", View()}})
            .ok());
    return path;
  }
  TensorView View() const {
    return {
        DType::kF32, {static_cast<int64_t>(values_.size())}, values_.data()};
  }

  const std::vector<float> values_ = {1, 2, 3};
  std::string directory_;
};

TEST_F(CheckpointTest, KeepsTensorsAndWhatTheyAreOf) {
  const std::string path = Write(12, 3.5);
  const auto info = ReadCheckpointInfo(path, "key");
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->step, 12);
  EXPECT_EQ(info->seconds, 3.5);
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE((*file)->Get("pixels", DType::kF32, 1).ok());
}

TEST_F(CheckpointTest, RefusesAnotherAction) {
  const auto info = ReadCheckpointInfo(Write(1, 0), "other");
  EXPECT_TRUE(absl::IsInvalidArgument(info.status()));
  EXPECT_THAT(std::string(info.status().message()), HasSubstr("other"));
}

TEST_F(CheckpointTest, RefusesAFileWithoutStepOrSeconds) {
  const std::string path = directory_ + "/a.safetensors";
  ASSERT_TRUE(WriteSafetensors(path, {{"pixels", View()}},
                               {{"action_key", "key"}, {"step", "4"}})
                  .ok());
  EXPECT_TRUE(
      absl::IsInvalidArgument(ReadCheckpointInfo(path, "key").status()));
}

TEST_F(CheckpointTest, RefusesATruncatedFile) {
  const std::string path = Write(1, 0);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  EXPECT_TRUE(
      absl::IsInvalidArgument(ReadCheckpointInfo(path, "key").status()));
}

TEST_F(CheckpointTest, KeepsTheTwoNewestAndForeignFiles) {
  // In byte order 1000 would come before 9 without the leading zeros.
  const std::string oldest = Write(9, 0);
  const std::string middle = Write(80, 0);
  const std::string newest = Write(1000, 0);
  std::ofstream(directory_ + "/resume.safetensors") << "in use";
  ASSERT_TRUE(RemoveOldCheckpoints(directory_).ok());
  EXPECT_FALSE(std::filesystem::exists(oldest));
  EXPECT_TRUE(std::filesystem::exists(middle));
  EXPECT_TRUE(std::filesystem::exists(newest));
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/resume.safetensors"));
}

}  // namespace
}  // namespace dasm
