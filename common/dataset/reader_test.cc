#include "common/dataset/reader.h"

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "common/artifact/safetensors.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/dataset/idx.h"
#include "common/dataset/png.h"
#include "common/dataset/svhn_mat.h"
#include "common/dataset/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::AllOf;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
void ExpectBadData(const absl::StatusOr<T>& result, const std::string& file,
                   const std::string& what) {
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition)
      << result.status();
  EXPECT_EQ(FailureClassOf(result.status()), FailureClass::kData);
  EXPECT_THAT(std::string(result.status().message()),
              AllOf(HasSubstr(file), HasSubstr(what)));
}

PrepareDatasetParameters Parameters(const std::string& format,
                                    const std::string& name = "custom") {
  PrepareDatasetParameters parameters;
  parameters.name = name;
  parameters.format = format;
  return parameters;
}

// idx files of the given bytes.
struct IdxFiles {
  TestFolder folder;
  std::string train_images = IdxImages(6, 4);
  std::string train_labels = IdxLabels(6, 3);
  std::string test_images = IdxImages(3, 4);
  std::string test_labels = IdxLabels(3, 3);

  std::vector<ResolvedFile> Write() const {
    return {{"train_images", folder.Write("train-images", train_images), ""},
            {"train_labels", folder.Write("train-labels", train_labels), ""},
            {"test_images", folder.Write("test-images", test_images), ""},
            {"test_labels", folder.Write("test-labels", test_labels), ""}};
  }
};

TEST(ReadDataset, IdxIsReadPlainAndGzipped) {
  IdxFiles files;
  for (bool gzip : {false, true}) {
    if (gzip) files.train_images = Gzip(files.train_images);
    const auto dataset = ReadDataset(Parameters("idx"), files.Write());
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    EXPECT_EQ(dataset->train.count, 6);
    EXPECT_EQ(dataset->train.channels, 1);
    EXPECT_EQ(dataset->train.height, 4);
    EXPECT_EQ(dataset->train.images[5], 5 * 37 % 251);
    EXPECT_EQ(dataset->train.images.size(), 96u);
    EXPECT_THAT(dataset->train.labels, ElementsAre(0, 1, 2, 0, 1, 2));
    EXPECT_EQ(dataset->test.count, 3);
    EXPECT_THAT(dataset->classes, ElementsAre("0", "1", "2"));
  }
}

TEST(ReadDataset, ValidationTakesAShareOfEachClass) {
  IdxFiles files;
  files.train_images = IdxImages(31, 4);
  files.train_labels = IdxLabels(31, 3);  // 11, 10 and 10 of a class
  const auto whole = ReadDataset(Parameters("idx"), files.Write());
  PrepareDatasetParameters parameters = Parameters("idx");
  parameters.validation = 0.2;
  const auto split = ReadDataset(parameters, files.Write());
  ASSERT_TRUE(whole.ok() && split.ok()) << split.status();
  EXPECT_EQ(whole->validation.count, 0);
  EXPECT_EQ(split->train.count, 25);
  EXPECT_EQ(split->validation.count, 6);
  std::vector<int> held(3);
  for (int64_t label : split->validation.labels) ++held[label];
  EXPECT_THAT(held, ElementsAre(2, 2, 2));

  // Together they are the training images, each in the order of the files.
  int64_t t = 0;
  int64_t v = 0;
  for (int64_t i = 0; i < whole->train.count; ++i) {
    const auto equal = [&](const ImageSet& set, int64_t k) {
      return k < set.count && set.labels[k] == whole->train.labels[i] &&
             std::equal(set.images.begin() + 16 * k,
                        set.images.begin() + 16 * (k + 1),
                        whole->train.images.begin() + 16 * i);
    };
    const bool kept = equal(split->train, t);
    ASSERT_TRUE(kept || equal(split->validation, v)) << i;
    ++(kept ? t : v);
  }
  EXPECT_NE(split->mean, whole->mean);
  EXPECT_EQ(split->validation.labels,
            ReadDataset(parameters, files.Write())->validation.labels);
}

TEST(ReadDataset, ValidationOfTooFewImagesIsRefused) {
  PrepareDatasetParameters parameters = Parameters("idx");
  parameters.validation = 0.2;  // of two images a class
  ExpectBadData(ReadDataset(parameters, IdxFiles().Write()), "train-labels",
                "dataset.validation");
}

TEST(ReadDataset, MeasuresMeanAndPopulationDeviation) {
  IdxFiles files;
  // Half 0, half 255: mean 1/2, deviation 1/2.
  files.train_images =
      Idx({4, 1, 2}, std::string("\0\0\0\0\xff\xff\xff\xff", 8));
  files.train_labels = IdxLabels(4, 2);
  files.test_images = Idx({2, 1, 2}, "abcd");
  files.test_labels = IdxLabels(2, 2);
  const auto dataset = ReadDataset(Parameters("idx"), files.Write());
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(dataset->mean, ElementsAre(0.5));
  EXPECT_THAT(dataset->std, ElementsAre(0.5));
}

TEST(ReadDataset, NormalisationIsTheGivenOne) {
  IdxFiles files;
  PrepareDatasetParameters parameters = Parameters("idx");
  parameters.mean = {0.25};
  parameters.std = {0.125};
  EXPECT_THAT(ReadDataset(parameters, files.Write())->mean, ElementsAre(0.25));
  EXPECT_THAT(ReadDataset(parameters, files.Write())->std, ElementsAre(0.125));
  parameters.mean = {0.25, 0.25};
  ExpectBadData(ReadDataset(parameters, files.Write()), "train-labels",
                "mean has 2 values");
}

TEST(ReadDataset, ConstantImagesHaveNoDeviation) {
  IdxFiles files;
  files.train_images = Idx({6, 4, 4}, std::string(96, 'x'));
  ExpectBadData(ReadDataset(Parameters("idx"), files.Write()), "train-labels",
                "the same everywhere");
}

TEST(ReadDataset, DamagedIdxIsNamed) {
  const std::string whole = IdxImages(6, 4);
  const std::string zipped = Gzip(whole);
  std::string broken = zipped;
  broken[broken.size() - 6] ^= 1;  // the checksum of its content
  struct Damage {
    std::string bytes;
    std::string what;
  };
  for (const Damage& damage : std::vector<Damage>{
           {"", "not an idx file"},
           {"hello, world, this is text", "not an idx file"},
           {whole.substr(0, 10), "truncated in its header"},
           {whole.substr(0, whole.size() - 1), "truncated: 95 of 96"},
           {whole + "x", "longer than the 96"},
           {zipped.substr(0, zipped.size() - 12), "truncated"},
           {broken, "damaged"},
           {Idx({0, 4, 4}, ""), "empty"},
           {Idx({0x7fffffff, 0x7fffffff, 4}, "abc"), "16 GiB"},
           {Idx({0x7fffffff, 1, 4}, "abc"), "truncated"},
           {std::string("\0\0\x0d\x03", 4) + whole.substr(4), "type 0x0d"}}) {
    IdxFiles files;
    files.train_images = damage.bytes;
    ExpectBadData(ReadDataset(Parameters("idx"), files.Write()),
                  files.folder.At("train-images"), damage.what);
  }
}

TEST(ReadDataset, LabelFileOfAnotherLengthIsNamed) {
  IdxFiles files;
  files.test_labels = IdxLabels(4, 3);
  ExpectBadData(ReadDataset(Parameters("idx"), files.Write()), "test-labels",
                "4 labels for the 3 images");
}

TEST(ReadDataset, LabelsOutOfRangeAndEmptyClassesAreNamed) {
  IdxFiles files;
  PrepareDatasetParameters parameters = Parameters("idx");
  parameters.classes = 2;
  ExpectBadData(ReadDataset(parameters, files.Write()), "train-labels",
                "label 2 of image 2, but there are 2 classes");
  parameters.classes = 4;
  ExpectBadData(ReadDataset(parameters, files.Write()), "train-labels",
                "class 3 of 4 has no training image");
  parameters.classes = 0;
  files.test_labels = IdxLabels(3, 3);
  files.train_labels = IdxLabels(6, 2);
  ExpectBadData(ReadDataset(parameters, files.Write()), "test-labels",
                "label 2 of image 2, but there are 2 classes");
}

TEST(ReadDataset, WrongChannelCountIsNamed) {
  IdxFiles files;
  PrepareDatasetParameters parameters = Parameters("idx");
  parameters.channels = 3;
  ExpectBadData(ReadDataset(parameters, files.Write()), "train-labels",
                "1 channels where 3");
}

TEST(ReadDataset, MissingFileIsNamed) {
  IdxFiles files;
  auto paths = files.Write();
  std::filesystem::remove(paths[1].path);
  ExpectBadData(ReadDataset(Parameters("idx"), paths), "train-labels",
                "No such file");
  paths.pop_back();
  EXPECT_EQ(ReadDataset(Parameters("idx"), paths).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReadDataset(Parameters("tar"), files.Write()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ReadDataset, CifarRecordsFollowTheOrderOfTheirRoles) {
  TestFolder folder;
  std::vector<ResolvedFile> files;
  // Role train.10 comes after train.2, unlike in byte order.
  for (int i = 10; i >= 0; --i) {
    std::string record = CifarRecords(1, 1, 1);
    record[0] = static_cast<char>(i % 3);
    record[1] = static_cast<char>(i);
    const std::string role = "train." + std::to_string(i);
    files.push_back({role, folder.Write(role, record), ""});
  }
  files.push_back({"test.0", folder.Write("t", CifarRecords(3, 3, 1)), ""});
  const auto dataset = ReadDataset(Parameters("cifar_binary"), files);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  ASSERT_EQ(dataset->train.count, 11);
  for (int i = 0; i < 11; ++i) {
    EXPECT_EQ(dataset->train.labels[i], i % 3);
    EXPECT_EQ(dataset->train.images[i * 3072], i);
  }
  EXPECT_EQ(dataset->test.images[3072], 11);
}

TEST(ReadDataset, CifarTakesTheLastLabelByte) {
  TestFolder folder;
  PrepareDatasetParameters parameters = Parameters("cifar_binary");
  parameters.label_bytes = 2;
  const auto dataset = ReadDataset(
      parameters, {{"train.0", folder.Write("a", CifarRecords(6, 3, 2)), ""},
                   {"test.0", folder.Write("b", CifarRecords(3, 3, 2)), ""}});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(dataset->train.labels, ElementsAre(0, 1, 2, 0, 1, 2));
}

TEST(ReadDataset, SvhnIsTurnedToRowsAndTenIsZero) {
  TestFolder folder;
  const std::string path = folder.At("a.mat");
  WriteSvhnMat(path, {10, 1, 2, 9, 3, 4, 5, 6, 7, 8});
  const auto dataset = ReadDataset(Parameters("svhn_mat", "svhn"),
                                   {{"train", path, ""}, {"test", path, ""}});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(dataset->train.labels, ElementsAre(0, 1, 2, 9, 3, 4, 5, 6, 7, 8));
  EXPECT_EQ(dataset->classes[3], "3");
  for (int n : {0, 9}) {
    for (int c : {0, 2}) {
      for (int y : {0, 31}) {
        for (int x : {0, 1, 30}) {
          EXPECT_EQ(dataset->train.images[((n * 3 + c) * 32 + y) * 32 + x],
                    (n + 7 * c + 3 * y + 5 * x) % 256);
        }
      }
    }
  }
}

TEST(ReadDataset, DamagedSvhnIsNamed) {
  TestFolder folder;
  const std::string path = folder.At("a.mat");
  WriteSvhnMat(path, {1, 2, 3});
  const std::string whole = *LocalFileSystem()->Read(path);
  const auto read = [&](const std::string& bytes) {
    return ReadSvhnMat(folder.Write("b.mat", bytes));
  };
  ASSERT_TRUE(read(whole).ok());
  ExpectBadData(read(""), "b.mat", "not a little-endian MATLAB 5 file");
  ExpectBadData(read(whole.substr(0, whole.size() - 1)), "b.mat", "truncated");
  ExpectBadData(read(whole.substr(0, 200)), "b.mat", "truncated");
  ExpectBadData(read(whole.substr(0, 128)), "b.mat", "no array X");
  std::string flipped = whole;
  flipped[whole.size() / 2] ^= 0x10;
  ExpectBadData(read(flipped), "b.mat", "");
  WriteSvhnMat(path, {1, 11, 3});
  ExpectBadData(ReadSvhnMat(path), "a.mat", "label 11 of image 1");
  WriteSvhnMat(path, {1, 1.5, 3});
  ExpectBadData(ReadSvhnMat(path), "a.mat", "label 1.5 of image 1");
}

PrepareDatasetParameters FolderParameters(int side, int channels) {
  PrepareDatasetParameters parameters = Parameters("image_folder");
  parameters.image_size = side;
  parameters.channels = channels;
  return parameters;
}

std::string Png(int channels, int height, int width, uint8_t first) {
  std::vector<uint8_t> pixels;
  for (int i = 0; i < channels * height * width; ++i) {
    pixels.push_back(static_cast<uint8_t>(first + i));
  }
  return *EncodePng(channels, height, width, pixels);
}

TEST(ReadDataset, ImageFolderGivesPlanesOfItsClassesInByteOrder) {
  TestFolder folder;
  folder.Write("train/b/1.png", Png(3, 2, 2, 0));
  folder.Write("train/B/1.png", Png(3, 2, 2, 100));
  folder.Write("train/a/1.png", Png(1, 2, 2, 50));
  folder.Write("val/a/1.png", Png(3, 2, 2, 7));
  const auto dataset = ReadDataset(
      FolderParameters(2, 3),
      {{"train", folder.At("train"), ""}, {"test", folder.At("val"), ""}});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(dataset->classes, ElementsAre("B", "a", "b"));
  EXPECT_THAT(dataset->train.labels, ElementsAre(0, 1, 2));
  EXPECT_THAT(dataset->test.labels, ElementsAre(1));
  EXPECT_THAT(dataset->train.images,
              ElementsAre(100, 103, 106, 109, 101, 104, 107, 110, 102, 105, 108,
                          111,  // B: planes
                          50, 51, 52, 53, 50, 51, 52, 53, 50, 51, 52, 53,  // a
                          0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11));          // b
}

TEST(ReadDataset, BadPicturesAreNamed) {
  TestFolder folder;
  folder.Write("train/a/1.png", Png(3, 4, 6, 0));
  folder.Write("val/a/1.png", Png(3, 4, 4, 0));
  const std::vector<ResolvedFile> files = {{"train", folder.At("train"), ""},
                                           {"test", folder.At("val"), ""}};
  ASSERT_TRUE(ReadDataset(FolderParameters(4, 3), files).ok());
  ExpectBadData(ReadDataset(FolderParameters(4, 1), files),
                folder.At("train/a/1.png"), "set channels: 3");
  const std::string whole = Png(3, 4, 6, 0);
  folder.Write("train/a/2.png", whole.substr(0, whole.size() / 2));
  ExpectBadData(ReadDataset(FolderParameters(4, 3), files),
                folder.At("train/a/2.png"), "does not decode as PNG");
  folder.Write("train/a/2.png", "text");
  ExpectBadData(ReadDataset(FolderParameters(4, 3), files),
                folder.At("train/a/2.png"), "neither a PNG nor a JPEG");
  EXPECT_EQ(ReadDataset(FolderParameters(0, 3), files).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(WriteDataset, BlobHoldsTheTensorsAndIsByteStable) {
  IdxFiles files;
  const auto dataset = ReadDataset(Parameters("idx"), files.Write());
  ASSERT_TRUE(dataset.ok());
  const std::string path = files.folder.At("dataset.safetensors");
  ASSERT_TRUE(WriteDataset(*dataset, "custom", path).ok());
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT((*file)->Get("train_images", DType::kU8, 4)->shape,
              ElementsAre(6, 1, 4, 4));
  EXPECT_THAT((*file)->Get("test_labels", DType::kI64, 1)->shape,
              ElementsAre(3));
  EXPECT_EQ((*file)->metadata().at("classes"), "[\"0\",\"1\",\"2\"]");
  EXPECT_EQ((*file)->metadata().at("name"), "custom");
  EXPECT_TRUE((*file)->metadata().contains("mean"));
  const std::string again = files.folder.At("again");
  ASSERT_TRUE(WriteDataset(*ReadDataset(Parameters("idx"), files.Write()),
                           "custom", again)
                  .ok());
  EXPECT_EQ(*LocalFileSystem()->Read(path), *LocalFileSystem()->Read(again));
}

TEST(ReadDataset, MutatedIdxNeverCrashes) {
  TestFolder folder;
  const std::string plain = IdxImages(6, 4);
  int read = 0;
  for (const std::string& bytes : {plain, Gzip(plain)}) {
    for (uint64_t seed = 0; seed < 1500; ++seed) {
      const std::string path = folder.Write("m", Mutated(bytes, seed));
      const auto array = ReadIdx(path, 3);
      const auto shape = ReadIdxShape(path, 3);
      if (!array.ok()) continue;
      ++read;
      // The probe must never refuse what the reader takes.
      ASSERT_TRUE(shape.ok()) << shape.status() << " seed " << seed;
      EXPECT_EQ(*shape, array->shape);
      EXPECT_EQ(static_cast<int64_t>(array->values.size()),
                array->shape[0] * array->shape[1] * array->shape[2]);
    }
  }
  EXPECT_GT(read, 0);
}

TEST(ReadDataset, MutatedSvhnNeverCrashes) {
  TestFolder folder;
  WriteSvhnMat(folder.At("a.mat"), {1, 2, 3});
  const std::string whole = *LocalFileSystem()->Read(folder.At("a.mat"));
  for (uint64_t seed = 0; seed < 500; ++seed) {
    const auto set = ReadSvhnMat(folder.Write("m.mat", Mutated(whole, seed)));
    if (set.ok()) {
      EXPECT_EQ(set->labels.size(), 3u);
    }
  }
}

}  // namespace
}  // namespace dasm
