#include "common/dataset/dataset_files.h"

#include <filesystem>
#include <string>

#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/dataset/expect_error.h"
#include "common/dataset/lookup_for_tests.h"
#include "common/dataset/public_dataset.h"
#include "common/dataset/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

// MNIST and Fashion-MNIST have files of the same names.
TEST(LocateDataset, FolderOfAnotherDatasetIsNotTakenForThisOne) {
  TestFolder folder;
  WriteIdxDataset(folder, "fashion-mnist", 40, 28, 10, true);
  const DataRoots roots = *DataRoots::Create({folder.At("fashion-mnist")});
  EXPECT_TRUE(LocateDataset(Named("fashion-mnist"), roots).ok());
  ExpectError(LocateDataset(Named("mnist"), roots), kPrecondition,
              "dataset.name", "mnist was not found");
}

// Nothing tells which of the two it is.
TEST(LocateDataset, FilesThatTwoDatasetsShareNeedAFolderThatNamesOne) {
  TestFolder folder;
  WriteIdxDataset(folder, ".", 40, 28, 10, false);
  for (const char* name : {"mnist", "fashion-mnist"}) {
    ExpectError(LocateDataset(Named(name), Roots(folder)), kPrecondition,
                "dataset.name", "was not found");
  }
}

TEST(LocateDataset, MissingDatasetTellsWhereItComesFrom) {
  TestFolder folder;
  ExpectError(LocateDataset(Named("fashion-mnist"), Roots(folder)),
              kPrecondition, "dataset.name", "dataset-fashion-mnist");
  for (const PublicDataset& known : PublicDatasets()) {
    ExpectError(LocateDataset(Named(known.name), Roots(folder)), kPrecondition,
                "dataset.name", known.remedy);
  }
}

TEST(LocateDataset, OneMissingFileIsNamed) {
  TestFolder folder;
  WriteIdxDataset(folder, "mnist", 40, 28, 10, false);
  fs::remove(folder.At("mnist/t10k-labels-idx1-ubyte"));
  ExpectError(LocateDataset(Named("mnist"), Roots(folder)), kPrecondition,
              "dataset.name", "t10k-labels-idx1-ubyte");
}

TEST(LocateDataset, UnknownNameListsTheKnownOnes) {
  TestFolder folder;
  ExpectError(LocateDataset(Named("imagenet"), Roots(folder)), kInvalid,
              "dataset.name", "fashion-mnist");
}

TEST(ResolveSource, PicksTheFolderWhoseFileHasTheDigest) {
  TestFolder a, b;
  a.Write("x", "one");
  b.Write("x", "two");
  const DataRoots roots = *DataRoots::Create({a.path(), b.path()});
  EXPECT_EQ(*ResolveSource({"train", "x", Sha256("two")}, roots), b.At("x"));
  EXPECT_EQ(*ResolveSource({"train", "x", Sha256("one")}, roots), a.At("x"));
  const auto changed = ResolveSource({"train", "x", Sha256("three")}, roots);
  EXPECT_THAT(std::string(changed.status().message()),
              AllOf(HasSubstr(a.At("x")), HasSubstr("other content")));
  EXPECT_EQ(FailureClassOf(changed.status()), FailureClass::kData);
  EXPECT_FALSE(ResolveSource({"train", "y", ""}, roots).ok());
  EXPECT_EQ(ResolveSource({"train", "../x", ""}, roots).status().code(),
            kInvalid);
}

TEST(LocateDataset, FilesThatTheSpecNamesKeepTheirFields) {
  TestFolder folder;
  folder.Write("a.bin", "a");
  folder.Write("b.bin", "b");
  DatasetSpec spec;
  spec.name = "custom";
  spec.format = DatasetSpec::Format::kCifarBinary;
  spec.files = {
      {"test.0", "a.bin"}, {"train.0", "b.bin"}, {"train.1", "a.bin"}};
  const auto files = LocateDataset(spec, Roots(folder));
  ASSERT_TRUE(files.ok()) << files.status();
  const auto train = WithPrefix(*files, spec.format, "train");
  ASSERT_TRUE(train.ok()) << train.status();
  ASSERT_EQ(train->size(), 2u);
  EXPECT_EQ((*train)[0]->absolute, folder.At("b.bin"));
  EXPECT_EQ((*train)[1]->relative, "a.bin");
  EXPECT_EQ((*train)[1]->field, "dataset.cifar_binary.train[1]");
  EXPECT_EQ((*WithRole(*files, spec.format, "test.0"))->absolute,
            folder.At("a.bin"));
  ExpectError(WithPrefix(*files, spec.format, "validation"), kInvalid,
              "dataset.cifar_binary.validation", "not given");
  spec.files["test.0"] = "absent.bin";
  ExpectError(LocateDataset(spec, Roots(folder)), kPrecondition,
              "dataset.cifar_binary.test[0]", "absent.bin was not found");
}

}  // namespace
}  // namespace dasm
