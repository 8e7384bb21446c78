#include "common/dataset/source.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/dataset/file_memo.h"
#include "common/dataset/png.h"
#include "common/dataset/public_dataset.h"
#include "common/dataset/test_files.h"
#include "common/spec/known_dataset.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Format = DatasetSpec::Format;

DataRoots Roots(const TestFolder& folder) {
  return *DataRoots::Create({folder.path()});
}

template <typename T>
void ExpectError(const absl::StatusOr<T>& result, absl::StatusCode code,
                 const std::string& field, const std::string& what) {
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), code) << result.status();
  EXPECT_EQ(FieldOf(result.status()), field) << result.status();
  EXPECT_THAT(std::string(result.status().message()), HasSubstr(what));
  if (code == absl::StatusCode::kFailedPrecondition) {
    EXPECT_EQ(FailureClassOf(result.status()), FailureClass::kData);
  }
}
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

DatasetSpec Named(const std::string& name) {
  DatasetSpec spec;
  spec.name = name;
  return spec;
}

DatasetSpec IdxSpec() {
  DatasetSpec spec;
  spec.name = "custom";
  spec.format = Format::kIdx;
  spec.files = {{"train_images", "d/train-images-idx3-ubyte"},
                {"train_labels", "d/train-labels-idx1-ubyte"},
                {"test_images", "d/t10k-images-idx3-ubyte"},
                {"test_labels", "d/t10k-labels-idx1-ubyte"}};
  return spec;
}

DatasetSpec FolderSpec() {
  DatasetSpec spec;
  spec.name = "custom";
  spec.format = Format::kImageFolder;
  spec.files = {{"train", "train"}, {"test", "val"}};
  spec.image_size = 16;
  spec.channels = 3;
  return spec;
}

std::string TinyPng() { return *EncodePng(1, 1, 1, {7}); }

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

TEST(ProbeDataset, KnownDatasetIsFoundByName) {
  for (bool gzip : {false, true}) {
    for (const char* where :
         {"fashion-mnist", "FashionMNIST/raw", "FashionMNIST"}) {
      TestFolder folder;
      WriteIdxDataset(folder, where, 40, 28, 10, gzip);
      const auto source = ProbeDataset(Named("fashion-mnist"), Roots(folder));
      ASSERT_TRUE(source.ok()) << source.status();
      EXPECT_EQ(source->classes, 10);
      EXPECT_EQ(source->channels, 1);
      EXPECT_EQ(source->height, 28);
      EXPECT_EQ(source->width, 28);
      EXPECT_EQ(source->train_images, 40);
      EXPECT_EQ(source->test_images, 20);
      EXPECT_EQ(source->smallest_class, 4);
      ASSERT_EQ(source->files.size(), 4u);
      EXPECT_EQ(source->files[0].role, "train_images");
      const std::string images = IdxImages(40, 28);
      EXPECT_EQ(source->files[0].digest, Sha256(gzip ? Gzip(images) : images));
      EXPECT_TRUE(Roots(folder).Resolve("f", source->files[0].path).ok());
    }
  }
}

// MNIST and Fashion-MNIST have files of the same names.
TEST(ProbeDataset, FolderOfAnotherDatasetIsNotTakenForThisOne) {
  TestFolder folder;
  WriteIdxDataset(folder, "fashion-mnist", 40, 28, 10, true);
  const DataRoots roots = *DataRoots::Create({folder.At("fashion-mnist")});
  EXPECT_TRUE(ProbeDataset(Named("fashion-mnist"), roots).ok());
  ExpectError(ProbeDataset(Named("mnist"), roots), kPrecondition,
              "dataset.name", "mnist was not found");
}

// Nothing tells which of the two it is.
TEST(ProbeDataset, FilesThatTwoDatasetsShareNeedAFolderThatNamesOne) {
  TestFolder folder;
  WriteIdxDataset(folder, ".", 40, 28, 10, false);
  for (const char* name : {"mnist", "fashion-mnist"}) {
    ExpectError(ProbeDataset(Named(name), Roots(folder)), kPrecondition,
                "dataset.name", "was not found");
  }
}

TEST(ProbeDataset, MissingDatasetTellsWhereItComesFrom) {
  TestFolder folder;
  ExpectError(ProbeDataset(Named("fashion-mnist"), Roots(folder)),
              kPrecondition, "dataset.name", "dataset-fashion-mnist");
  for (const PublicDataset& known : PublicDatasets()) {
    ExpectError(ProbeDataset(Named(known.name), Roots(folder)), kPrecondition,
                "dataset.name", known.remedy);
  }
}

TEST(ProbeDataset, OneMissingFileIsNamed) {
  TestFolder folder;
  WriteIdxDataset(folder, "mnist", 40, 28, 10, false);
  fs::remove(folder.At("mnist/t10k-labels-idx1-ubyte"));
  ExpectError(ProbeDataset(Named("mnist"), Roots(folder)), kPrecondition,
              "dataset.name", "t10k-labels-idx1-ubyte");
}

TEST(ProbeDataset, UnknownNameListsTheKnownOnes) {
  TestFolder folder;
  ExpectError(ProbeDataset(Named("imagenet"), Roots(folder)), kInvalid,
              "dataset.name", "fashion-mnist");
}

TEST(ProbeDataset, NamedFilesDefineShapeAndClasses) {
  TestFolder folder;
  WriteIdxDataset(folder, "d", 31, 12, 3, false);
  const auto source = ProbeDataset(IdxSpec(), Roots(folder));
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ(source->classes, 3);
  EXPECT_EQ(source->height, 12);
  EXPECT_EQ(source->smallest_class, 10);
}

TEST(ProbeDataset, MissingRoleIsAField) {
  TestFolder folder;
  WriteIdxDataset(folder, "d", 30, 12, 3, false);
  DatasetSpec spec = IdxSpec();
  spec.files.erase("test_labels");
  ExpectError(ProbeDataset(spec, Roots(folder)), kInvalid,
              "dataset.idx.test_labels", "not given");
}

TEST(ProbeDataset, TruncatedIdxIsNamed) {
  TestFolder folder;
  WriteIdxDataset(folder, "d", 30, 12, 3, false);
  const std::string images = IdxImages(30, 12);
  for (size_t size : {size_t{0}, size_t{3}, size_t{9}, images.size() - 1}) {
    folder.Write("d/train-images-idx3-ubyte", images.substr(0, size));
    ExpectError(ProbeDataset(IdxSpec(), Roots(folder)), kPrecondition,
                "dataset.idx.train_images",
                folder.At("d/train-images-idx3-ubyte"));
  }
  folder.Write("d/train-images-idx3-ubyte", images.substr(0, 500));
  ExpectError(ProbeDataset(IdxSpec(), Roots(folder)), kPrecondition,
              "dataset.idx.train_images", "truncated: 484 of 4320 bytes");
  folder.Write("d/train-images-idx3-ubyte", images + "x");
  ExpectError(ProbeDataset(IdxSpec(), Roots(folder)), kPrecondition,
              "dataset.idx.train_images", "longer");
}

TEST(ProbeDataset, TruncatedGzipIsNamed) {
  TestFolder folder;
  WriteIdxDataset(folder, "mnist", 400, 28, 10, true);
  const std::string whole = Gzip(IdxImages(400, 28));
  folder.Write("mnist/train-images-idx3-ubyte.gz",
               whole.substr(0, whole.size() / 2));
  ExpectError(ProbeDataset(Named("mnist"), Roots(folder)), kPrecondition,
              "dataset.name", "train-images-idx3-ubyte.gz: truncated");
}

TEST(ProbeDataset, GzipOfSeveralMembersIsWhole) {
  TestFolder folder;
  WriteIdxDataset(folder, "mnist", 40, 28, 10, true);
  const std::string images = IdxImages(40, 28);
  folder.Write("mnist/train-images-idx3-ubyte.gz",
               Gzip(images.substr(0, 100)) + Gzip(images.substr(100)));
  EXPECT_TRUE(ProbeDataset(Named("mnist"), Roots(folder)).ok());
}

TEST(ProbeDataset, LabelFileOfAnotherLengthIsNamed) {
  TestFolder folder;
  WriteIdxDataset(folder, "d", 30, 12, 3, false);
  folder.Write("d/train-labels-idx1-ubyte", IdxLabels(29, 3));
  ExpectError(ProbeDataset(IdxSpec(), Roots(folder)), kPrecondition,
              "dataset.idx.train_labels", "29 labels for the 30 images");
}

TEST(ProbeDataset, ImagesWhereLabelsBelongAreNamed) {
  TestFolder folder;
  WriteIdxDataset(folder, "d", 30, 12, 3, false);
  folder.Write("d/train-labels-idx1-ubyte", IdxImages(30, 12));
  ExpectError(ProbeDataset(IdxSpec(), Roots(folder)), kPrecondition,
              "dataset.idx.train_labels", "3 dimensions");
}

TEST(ProbeDataset, LabelsBeyondTheClassesAreNamed) {
  TestFolder folder;
  WriteIdxDataset(folder, "d", 30, 12, 3, false);
  DatasetSpec spec = IdxSpec();
  spec.classes = 2;
  ExpectError(ProbeDataset(spec, Roots(folder)), kPrecondition,
              "dataset.idx.train_labels", "label 2, but there are 2 classes");
  spec.classes = 0;
  folder.Write("d/t10k-labels-idx1-ubyte", IdxLabels(15, 5));
  ExpectError(ProbeDataset(spec, Roots(folder)), kPrecondition,
              "dataset.idx.test_labels", "label 4, but there are 3 classes");
}

TEST(ProbeDataset, ClassWithoutImagesIsNamed) {
  TestFolder folder;
  WriteIdxDataset(folder, "d", 30, 12, 3, false);
  DatasetSpec spec = IdxSpec();
  spec.classes = 4;
  ExpectError(ProbeDataset(spec, Roots(folder)), kPrecondition,
              "dataset.idx.train_labels", "class 3 of 4 has no training image");
}

TEST(ProbeDataset, TestImagesOfAnotherSizeAreNamed) {
  TestFolder folder;
  WriteIdxDataset(folder, "d", 30, 12, 3, false);
  folder.Write("d/t10k-images-idx3-ubyte", IdxImages(15, 13));
  ExpectError(ProbeDataset(IdxSpec(), Roots(folder)), kPrecondition,
              "dataset.idx.test_labels", "test images of 1 x 13 x 13");
}

TEST(ProbeDataset, StatisticsOfAnotherChannelCountAreRefused) {
  TestFolder folder;
  WriteIdxDataset(folder, "d", 30, 12, 3, false);
  DatasetSpec spec = IdxSpec();
  spec.mean = {0.1, 0.2, 0.3};
  const auto source = ProbeDataset(spec, Roots(folder));
  EXPECT_EQ(FieldOf(source.status()), "dataset.mean");
  EXPECT_EQ(source.status().code(), kPrecondition);
}

TEST(ProbeDataset, CifarBinaryIsCountedOverItsFiles) {
  TestFolder folder;
  for (int i = 1; i <= 5; ++i) {
    folder.Write(absl::StrCat("cifar-10-batches-bin/data_batch_", i, ".bin"),
                 CifarRecords(20, 10, 1));
  }
  folder.Write("cifar-10-batches-bin/test_batch.bin", CifarRecords(10, 10, 1));
  const auto source = ProbeDataset(Named("cifar-10"), Roots(folder));
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ(source->train_images, 100);
  EXPECT_EQ(source->test_images, 10);
  EXPECT_EQ(source->smallest_class, 10);
  EXPECT_EQ(source->channels, 3);
  EXPECT_EQ(source->files.size(), 6u);
  folder.Write("cifar-10-batches-bin/data_batch_3.bin",
               CifarRecords(20, 10, 1).substr(1));
  ExpectError(ProbeDataset(Named("cifar-10"), Roots(folder)), kPrecondition,
              "dataset.name", "data_batch_3.bin: truncated");
}

TEST(ProbeDataset, Cifar100HasTwoLabelBytes) {
  TestFolder folder;
  folder.Write("cifar-100-binary/train.bin", CifarRecords(200, 100, 2));
  folder.Write("cifar-100-binary/test.bin", CifarRecords(100, 100, 2));
  const auto source = ProbeDataset(Named("cifar-100"), Roots(folder));
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ(source->classes, 100);
  EXPECT_EQ(source->smallest_class, 2);
}

TEST(ProbeDataset, CifarFileOfTheWrongKindNamesItsField) {
  TestFolder folder;
  folder.Write("a.bin", CifarRecords(20, 5, 2));
  folder.Write("b.bin", CifarRecords(3, 5, 1));
  DatasetSpec spec;
  spec.name = "custom";
  spec.format = Format::kCifarBinary;
  spec.files = {
      {"train.0", "a.bin"}, {"train.1", "b.bin"}, {"test.0", "a.bin"}};
  spec.label_bytes = 2;
  ExpectError(ProbeDataset(spec, Roots(folder)), kPrecondition,
              "dataset.cifar_binary.train[1]", "label_bytes");
}

TEST(ProbeDataset, SvhnIsProbed) {
  TestFolder folder;
  fs::create_directories(folder.At("svhn"));
  std::vector<double> labels;
  for (int i = 0; i < 30; ++i) labels.push_back(1 + i % 10);
  WriteSvhnMat(folder.At("svhn/train_32x32.mat"), labels);
  WriteSvhnMat(folder.At("svhn/test_32x32.mat"), labels);
  const auto source = ProbeDataset(Named("svhn"), Roots(folder));
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ(source->train_images, 30);
  EXPECT_EQ(source->smallest_class, 3);
  EXPECT_EQ(source->width, 32);
}

TEST(ProbeDataset, ImageFolderCountsItsClasses) {
  TestFolder folder;
  for (const char* name :
       {"train/cat/1.png", "train/cat/2.JPEG", "train/dog/1.jpg",
        "train/dog/2.png", "train/dog/notes.txt", "train/.hidden/x.png",
        "train/list.txt", "val/dog/9.png"}) {
    folder.Write(name, TinyPng());
  }
  const auto source = ProbeDataset(FolderSpec(), Roots(folder));
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ(source->classes, 2);
  EXPECT_EQ(source->train_images, 4);
  EXPECT_EQ(source->test_images, 1);
  EXPECT_EQ(source->smallest_class, 2);
  EXPECT_EQ(source->height, 16);
  EXPECT_EQ(source->files[0].digest,
            Sha256(absl::StrCat("dog/9.png\t", Sha256(TinyPng()), "\n")));
}

TEST(ProbeDataset, ImageFolderErrorsNameTheFolder) {
  TestFolder folder;
  const std::string field = "dataset.image_folder.train";
  fs::create_directories(folder.At("train"));
  folder.Write("val/dog/9.png", TinyPng());
  ExpectError(ProbeDataset(FolderSpec(), Roots(folder)), kPrecondition, field,
              "no class folders");
  fs::create_directories(folder.At("train/cat"));
  ExpectError(ProbeDataset(FolderSpec(), Roots(folder)), kPrecondition, field,
              "train/cat: a class without pictures");
  folder.Write("train/cat/1.png", TinyPng());
  ExpectError(ProbeDataset(FolderSpec(), Roots(folder)), kPrecondition,
              "dataset.image_folder.test",
              "val/dog: a class that the training");
  fs::create_symlink("/etc/passwd", folder.At("train/cat/2.png"));
  ExpectError(ProbeDataset(FolderSpec(), Roots(folder)), kPrecondition, field,
              "leads out of the picture folder");
}

TEST(SourceDigest, IsRememberedUntilTheFileChanges) {
  TestFolder folder;
  const std::string path = folder.Write("f", "one");
  EXPECT_EQ(*SourceDigest(path), Sha256("one"));
  EXPECT_EQ(*SourceDigest(path), Sha256("one"));
  folder.Write("f", "two");
  EXPECT_EQ(*SourceDigest(path), Sha256("two"));
}

TEST(RememberFacts, StopsLookingAtAFileOnceItsTimesHaveSettled) {
  TestFolder folder;
  const std::string path = folder.Write("f", "one");
  int64_t looks = 0;
  const auto look = [&](const std::string&) -> absl::StatusOr<FileFacts> {
    FileFacts facts;
    facts.shape = {++looks};
    return facts;
  };
  const absl::Time deadline = absl::Now() + absl::Minutes(2);
  int64_t before;
  do {
    before = looks;
    EXPECT_EQ(RememberFacts("a", path, look)->shape[0], looks);
  } while (looks != before && absl::Now() < deadline);
  EXPECT_EQ(looks, before);
  const int64_t remembered = looks;
  EXPECT_EQ(RememberFacts("b", path, look)->shape[0], remembered + 1);
  EXPECT_EQ(RememberFacts("a", path, look)->shape[0], remembered);
  folder.Write("f", "two");
  EXPECT_EQ(RememberFacts("a", path, look)->shape[0], remembered + 2);
}

TEST(RememberFacts, FileThatChangesMeanwhileIsAnError) {
  TestFolder folder;
  const std::string path = folder.Write("f", "one");
  const auto facts = RememberFacts(
      "c", path, [&](const std::string&) -> absl::StatusOr<FileFacts> {
        folder.Write("f", "another");
        return FileFacts();
      });
  EXPECT_THAT(std::string(facts.status().message()), HasSubstr("changed"));
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

TEST(ProbeSyntheticSet, ArraysAreProbedByTheirHeaders) {
  TestFolder folder;
  const std::string images = NpyF4({2, 3, 4, 4}, std::vector<float>(96, 0.5f));
  folder.Write("i.npy", images);
  folder.Write("l.npy", NpyI8({0, 1}));
  folder.Write("s.npz",
               Npz({{"images", images}, {"labels", NpyI8({0, 1})}}, true));
  for (const auto& files :
       {std::map<std::string, std::string>{{"npz", "s.npz"}},
        std::map<std::string, std::string>{{"images", "i.npy"},
                                           {"labels", "l.npy"}}}) {
    SyntheticSetSpec spec;
    spec.files = files;
    const auto source = ProbeSyntheticSet(spec, Roots(folder));
    ASSERT_TRUE(source.ok()) << source.status();
    EXPECT_EQ(source->images, 2);
    EXPECT_EQ(source->channels, 3);
    EXPECT_EQ(source->height, 4);
    EXPECT_EQ(source->width, 4);
    EXPECT_EQ(source->files.size(), files.size());
    EXPECT_TRUE(IsDigest(source->files[0].digest));
  }
}

TEST(ProbeSyntheticSet, BadArraysNameTheirField) {
  TestFolder folder;
  folder.Write("i.npy", NpyF4({2, 1, 1, 1}, {0, 1}));
  folder.Write("l.npy", NpyI8({0, 1, 2}));
  folder.Write("flat.npy", NpyF4({2}, {0, 1}));
  folder.Write("lone.npz", Npz({{"images", NpyF4({1}, {0})}}, false));
  const auto probe = [&](std::map<std::string, std::string> files) {
    SyntheticSetSpec spec;
    spec.files = std::move(files);
    return ProbeSyntheticSet(spec, Roots(folder));
  };
  ExpectError(probe({{"images", "i.npy"}, {"labels", "l.npy"}}), kPrecondition,
              "synthetic_set.npy.labels", "3 labels for 2 images");
  ExpectError(probe({{"images", "flat.npy"}, {"labels", "l.npy"}}),
              kPrecondition, "synthetic_set.npy.images", "1 dimensions");
  ExpectError(probe({{"images", "i.npy"}}), kInvalid, "synthetic_set", "give");
  ExpectError(probe({{"npz", "absent.npz"}}), kPrecondition,
              "synthetic_set.npz", "absent.npz was not found");
  ExpectError(probe({{"npz", "i.npy"}}), kPrecondition, "synthetic_set.npz",
              "not a .npz");
  ExpectError(probe({{"npz", "lone.npz"}}), kPrecondition, "synthetic_set.npz",
              "images has 1 dimensions");
  SyntheticSetSpec stored;
  stored.digest = Sha256("x");
  ExpectError(ProbeSyntheticSet(stored, Roots(folder)), kInvalid,
              "synthetic_set.digest", "no files");
}

TEST(PublicDataset, TablesAreWhole) {
  ASSERT_EQ(PublicDatasets().size(), KnownDatasets().size());
  for (const PublicDataset& known : PublicDatasets()) {
    ASSERT_NE(FindKnownDataset(known.name), nullptr);
    EXPECT_EQ(known.classes.size(),
              static_cast<size_t>(FindKnownDataset(known.name)->classes));
    EXPECT_EQ(FindPublicDataset(known.name), &known);
    EXPECT_FALSE(known.remedy.empty());
  }
  EXPECT_TRUE(std::is_sorted(FindPublicDataset("cifar-100")->classes.begin(),
                             FindPublicDataset("cifar-100")->classes.end()));
  EXPECT_EQ(FindPublicDataset("custom"), nullptr);
}

}  // namespace
}  // namespace dasm
