#include "common/dataset/source.h"

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/artifact/digest.h"
#include "common/dataset/expect_error.h"
#include "common/dataset/lookup_for_tests.h"
#include "common/dataset/png.h"
#include "common/dataset/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

namespace fs = std::filesystem;
using Format = DatasetSpec::Format;

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

}  // namespace
}  // namespace dasm
