#include "server/manager/score_file.h"

#include "common/base/error.h"
#include "common/dataset/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;

constexpr char kField[] = "experts.schedule.score_file";

DatasetSource Data() {
  return {.classes = 2, .train_images = 10, .smallest_class = 5};
}

absl::StatusOr<SourceFile> Probe(const std::string& bytes,
                                 double validation = 0,
                                 const DatasetSource& data = Data()) {
  const TestFolder folder;
  folder.Write("scores.npy", bytes);
  const auto roots = DataRoots::Create({folder.path()});
  EXPECT_TRUE(roots.ok()) << roots.status();
  return ProbeScoreFile("scores.npy", data, validation, *roots);
}

std::string Scores(int64_t count) {
  return NpyF4({count}, std::vector<float>(count, 0.5f));
}

std::string Numbers(int64_t rows, int64_t columns) {
  return Npy("<i8", {rows, columns}, std::string(8 * rows * columns, '\0'));
}

TEST(ScoreFile, TakesAScoreForEachImageOrAnOrderOfEachClass) {
  for (const std::string& bytes : {Scores(10), Numbers(2, 5)}) {
    const auto file = Probe(bytes);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(file->role, "scores");
    EXPECT_EQ(file->path, "scores.npy");
    EXPECT_THAT(file->digest, HasSubstr("sha256:"));
  }
}

TEST(ScoreFile, OtherShapesAreRefusedByName) {
  for (const std::string& bytes :
       {Scores(9), Numbers(5, 2), Numbers(2, 4), NpyI8({1, 2, 3}),
        NpyF4({2, 5}, std::vector<float>(10))}) {
    const absl::Status status = Probe(bytes).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_EQ(FieldOf(status), kField);
    EXPECT_EQ(FailureClassOf(status), FailureClass::kData);
    EXPECT_THAT(status.message(), HasSubstr("floats [10]"));
  }
  EXPECT_EQ(FieldOf(Probe("no array").status()), kField);
}

TEST(ScoreFile, TheValidationSplitHasNoScores) {
  // A fifth of five images of each class is held out.
  EXPECT_TRUE(Probe(Scores(8), 0.2).ok());
  EXPECT_TRUE(Probe(Numbers(2, 4), 0.2).ok());
  EXPECT_THAT(Probe(Scores(10), 0.2).status().message(),
              HasSubstr("floats [8]"));
  // Where classes differ, only the labels tell how many are left.
  DatasetSource uneven = Data();
  uneven.smallest_class = 4;
  EXPECT_TRUE(Probe(Scores(8), 0.2, uneven).ok());
  EXPECT_FALSE(Probe(Numbers(3, 4), 0.2, uneven).ok());
}

TEST(ScoreFile, AFileThatIsNotThereNamesItsField) {
  const TestFolder folder;
  const auto roots = DataRoots::Create({folder.path()});
  for (const char* path : {"missing.npy", "/absolute.npy", "../up.npy"}) {
    EXPECT_EQ(FieldOf(ProbeScoreFile(path, Data(), 0, *roots).status()), kField)
        << path;
  }
}

}  // namespace
}  // namespace dasm
