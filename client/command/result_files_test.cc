#include "client/command/result_files.h"

#include "absl/strings/str_cat.h"
#include "common/artifact/digest.h"
#include "common/base/file_system.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using testing::HasSubstr;

class Downloaded : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = absl::StrCat(testing::TempDir(), "/result-XXXXXX");
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    directory_ = path;
    Write("synthetic.safetensors", "tensors");
    Write("grid.png", "pixels");
    Write("manifest.json",
          absl::StrCat(R"({"files": {"synthetic": {"digest": ")",
                       Sha256("tensors"), R"("}, "grid": {"digest": ")",
                       Sha256("pixels"), R"("}}})"));
  }
  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(LocalFileSystem(),
                                    absl::StrCat(directory_, "/", name), text)
                    .ok());
  }
  std::string directory_;
};

TEST_F(Downloaded, IntactFilesVerify) {
  EXPECT_TRUE(VerifyDirectory(directory_).ok());
}

TEST_F(Downloaded, AChangedByteIsNamed) {
  Write("grid.png", "pixelz");
  const absl::Status status = VerifyDirectory(directory_);
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(status.message(), HasSubstr("grid.png"));
  EXPECT_THAT(status.message(), Not(HasSubstr("synthetic")));
}

TEST_F(Downloaded, AMissingFileIsNamed) {
  ASSERT_TRUE(LocalFileSystem()->Remove(directory_ + "/grid.png").ok());
  EXPECT_THAT(VerifyDirectory(directory_).message(), HasSubstr("grid.png"));
}

TEST_F(Downloaded, AManifestThatIsNoneIsSaidSo) {
  Write("manifest.json", "[]");
  EXPECT_THAT(VerifyDirectory(directory_).message(),
              HasSubstr("not a manifest"));
}

TEST_F(Downloaded, AManifestOfOtherTypesIsADifferenceNotACrash) {
  for (const char* digest : {"5", "null", "{}", "[\"sha256:\"]"}) {
    Write("manifest.json",
          absl::StrCat(R"({"files": {"grid": {"digest": )", digest, "}}}"));
    EXPECT_THAT(VerifyDirectory(directory_).message(), HasSubstr("grid.png"));
  }
}

TEST(AccuracyTable, AReportOfOtherTypesIsNoCrash) {
  for (const char* report :
       {R"({"accuracy": 5, "method": 7, "images_per_class": 1e300})",
        R"({"accuracy": {"n": {"mean": "x", "std": []}}, "baselines": 3})",
        R"({"accuracy": {"n": 1}, "baselines": {"random": [1]},
            "prefixes": [4, {"accuracy": 2}]})",
        R"({"accuracy": {"n": {"mean": 1, "std": "x"}}, "prefixes": 9})"}) {
    EXPECT_TRUE(AccuracyTable(report).ok()) << report;
  }
  EXPECT_FALSE(AccuracyTable("[]").ok());
}

TEST(AccuracyTable, HasARowForEachBaselineAndTheResult) {
  const auto table = AccuracyTable(R"({
    "method": "dasm", "images_per_class": 2,
    "accuracy": {"convnet": {"mean": 72.94, "std": 0.5, "runs": [72.9]}},
    "baselines": {
      "random": {"accuracy": {"convnet": {"mean": 57.5, "std": 1}}},
      "tiles": {"accuracy": {"convnet": {"mean": 68.0, "std": 1}}},
      "start": {"accuracy": {"convnet": {"mean": 68.7, "std": 1}}}},
    "prefixes": [{"images_per_class": 1,
                  "accuracy": {"convnet": {"mean": 66.0, "std": 1}}}]})");
  ASSERT_TRUE(table.ok());
  EXPECT_THAT(*table, HasSubstr("convnet (test %)"));
  for (const char* row : {"random real images", "random tiles", "own start",
                          "first segments", "dasm"}) {
    EXPECT_THAT(*table, HasSubstr(row));
  }
  EXPECT_THAT(*table, HasSubstr("72.9 ± 0.5"));
}

}  // namespace
}  // namespace dasm
