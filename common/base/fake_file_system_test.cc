#include "common/base/fake_file_system.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/temporary_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::IsEmpty;

class FaultyFiles : public testing::Test {
 protected:
  std::string Path(const std::string& name) const {
    return absl::StrCat(directory_->path(), "/", name);
  }

  const std::unique_ptr<TemporaryDirectory> directory_ =
      *TemporaryDirectory::Create();
  FakeFileSystem fs_;
};

TEST_F(FaultyFiles, WithoutFaultsItIsTheMachines) {
  ASSERT_TRUE(WriteFileAtomically(&fs_, Path("a"), "data").ok());
  EXPECT_EQ(*fs_.Read(Path("a")), "data");
  EXPECT_EQ(*LocalFileSystem()->Read(Path("a")), "data");
}

TEST_F(FaultyFiles, DiskIsFullAtTheGivenByte) {
  fs_.SetDiskBytes(6);
  EXPECT_EQ(*fs_.FreeBytes(directory_->path()), 6);
  ASSERT_TRUE(WriteFileAtomically(&fs_, Path("a"), "data").ok());
  EXPECT_EQ(*fs_.FreeBytes(directory_->path()), 2);
  EXPECT_EQ(WriteFileAtomically(&fs_, Path("b"), "data").code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(fs_.Exists(Path("b")));
}

TEST_F(FaultyFiles, FailedSyncLeavesNothing) {
  fs_.FailNextSyncs(1);
  EXPECT_EQ(WriteFileAtomically(&fs_, Path("a"), "data").code(),
            absl::StatusCode::kUnavailable);
  EXPECT_THAT(*fs_.List(directory_->path()), IsEmpty());
  EXPECT_TRUE(WriteFileAtomically(&fs_, Path("a"), "data").ok());
}

TEST_F(FaultyFiles, TornWriteKeepsTheBeginning) {
  fs_.TearNextWrite(3);
  EXPECT_TRUE(WriteFileAtomically(&fs_, Path("a"), "data").ok());
  EXPECT_EQ(*fs_.Read(Path("a")), "dat");
  EXPECT_TRUE(WriteFileAtomically(&fs_, Path("a"), "data").ok());
  EXPECT_EQ(*fs_.Read(Path("a")), "data");
}

TEST_F(FaultyFiles, ReadsFailOrRotByPath) {
  ASSERT_TRUE(WriteFileAtomically(&fs_, Path("a"), "data").ok());
  ASSERT_TRUE(WriteFileAtomically(&fs_, Path("b"), "data").ok());
  fs_.FailReads("/a");
  fs_.RotReads("/b", 1);
  EXPECT_EQ(fs_.Read(Path("a")).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(*fs_.Read(Path("b")), "d`ta");
  fs_.FailReads("");
  fs_.RotReads("", 0);
  EXPECT_EQ(*fs_.Read(Path("a")), "data");
  EXPECT_EQ(*fs_.Read(Path("b")), "data");
}

}  // namespace
}  // namespace dasm
