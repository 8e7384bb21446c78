#include "common/dataset/data_roots.h"

#include <filesystem>
#include <string>

#include "common/dataset/expect_error.h"
#include "common/dataset/lookup_for_tests.h"
#include "common/dataset/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST(DataRoots, MissingFolderIsNamed) {
  const auto roots = DataRoots::Create({"/nonexistent/data"});
  EXPECT_EQ(roots.status().code(), kPrecondition);
  EXPECT_THAT(std::string(roots.status().message()),
              HasSubstr("/nonexistent/data is not a folder"));
}

TEST(DataRoots, TheFirstFolderThatHasThePathWins) {
  TestFolder a, b;
  b.Write("x/only", "b");
  a.Write("both", "a");
  b.Write("both", "b");
  const DataRoots roots = *DataRoots::Create({a.path(), b.path()});
  EXPECT_EQ(*roots.Resolve("f", "x/only"), b.At("x/only"));
  EXPECT_EQ(*roots.Resolve("f", "both"), a.At("both"));
}

TEST(DataRoots, PathsThatLeaveAreRefused) {
  TestFolder folder, outside;
  outside.Write("secret", "s");
  folder.Write("in", "x");
  fs::create_symlink(outside.At("secret"), folder.At("link"));
  fs::create_directory_symlink(outside.path(), folder.At("folder"));
  fs::create_symlink(folder.At("in"), folder.At("inner"));
  const DataRoots roots = Roots(folder);
  ExpectError(roots.Resolve("f", "/etc/passwd"), kInvalid, "f", "absolute");
  ExpectError(roots.Resolve("f", ""), kInvalid, "f", "empty");
  ExpectError(roots.Resolve("f", "a/../../b"), kInvalid, "f", "leaves");
  ExpectError(roots.Resolve("f", std::string("a\0b", 3)), kInvalid, "f", "NUL");
  ExpectError(roots.Resolve("f", "link"), kInvalid, "f", "link that leads out");
  ExpectError(roots.Resolve("f", "folder/secret"), kInvalid, "f",
              "link that leads out");
  EXPECT_EQ(*roots.Resolve("f", "inner"), folder.At("in"));
}

TEST(DataRoots, NeighbourWithTheSamePrefixIsOutside) {
  TestFolder folder;
  folder.Write("data-private/secret", "s");
  fs::create_directories(folder.At("data"));
  fs::create_symlink(folder.At("data-private/secret"), folder.At("data/link"));
  const DataRoots roots = *DataRoots::Create({folder.At("data")});
  ExpectError(roots.Resolve("f", "link"), kInvalid, "f", "leads out");
}

TEST(DataRoots, MissingFileNamesTheFoldersSearched) {
  TestFolder folder;
  const auto path = Roots(folder).Resolve("dataset.idx.train_images", "nope");
  ExpectError(path, kPrecondition, "dataset.idx.train_images", folder.path());
  ExpectError(DataRoots::Create({})->Resolve("f", "nope"), kPrecondition, "f",
              "no --data folder was given");
}

TEST(DataRoots, OneFolderIsSearchedAlone) {
  TestFolder a, b;
  b.Write("x", "b");
  EXPECT_FALSE(DataRoots::ResolveIn(a.path(), "f", "x")->has_value());
  EXPECT_EQ(**DataRoots::ResolveIn(b.path(), "f", "x"), b.At("x"));
  ExpectError(DataRoots::ResolveIn(b.path(), "f", "../x"), kInvalid, "f",
              "leaves");
}

}  // namespace
}  // namespace dasm
