#include "client/command/result_files.h"

#include "absl/strings/str_cat.h"
#include "common/artifact/digest.h"
#include "common/base/file_system.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

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

// A segment by trajectory matching, as the manifest lists its task.
std::string ManifestWithCurves() {
  return absl::StrCat(
      R"({"files": {}, "tasks": [
          {"id": "segment-1", "kind": "match_trajectories",
           "parameters": {"segment": 0},
           "outputs": {"curves": {"digest": ")",
      Sha256("curves"), R"("}, "snapshot.200": {"digest": ")", Sha256("chosen"),
      R"("}}},
          {"id": "range", "kind": "find_range",
           "outputs": {"range": {"digest": ")",
      Sha256("range"), R"("}}},
          {"id": "../x", "kind": "find_range",
           "outputs": {"range": {"digest": ")",
      Sha256("range"), R"("}}}]})");
}

TEST_F(Downloaded, CurvesRangesAndTheChosenSnapshotAreExpectedToo) {
  Write("manifest.json", ManifestWithCurves());
  EXPECT_THAT(
      VerifyDirectory(directory_).message(),
      AllOf(HasSubstr("curves-1.safetensors"), HasSubstr("range-1.safetensors"),
            Not(HasSubstr("snapshot"))));
  Write("curves-1.safetensors", "curves");
  Write("range-1.safetensors", "range");
  EXPECT_TRUE(VerifyDirectory(directory_).ok());
  Write("report.json",
        absl::StrCat(R"({"snapshot": {"iteration": 200, "digest": ")",
                     Sha256("chosen"), R"("}})"));
  EXPECT_THAT(VerifyDirectory(directory_).message(),
              HasSubstr("snapshot-200.safetensors"));
  Write("snapshot-200.safetensors", "chosen");
  EXPECT_TRUE(VerifyDirectory(directory_).ok());
}

}  // namespace
}  // namespace dasm
