// The published data sets, where they are on this machine (CMakeLists.txt):
// DASM_FASHION_MNIST names a folder, DASM_DATA_ARCHIVES one with the archives
// mnist-idx.tar.xz and cifar-10-batches-bin.tar.xz.
#include <cstdlib>
#include <filesystem>
#include <string>

#include "common/dataset/reader.h"
#include "common/dataset/source.h"
#include "common/dataset/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

// Probes and reads `name` below `folder`; the normalisation is measured.
Dataset Read(const std::string& name, const std::string& folder,
             DatasetSource* source) {
  const DataRoots roots = *DataRoots::Create({folder});
  DatasetSpec spec;
  spec.name = name;
  auto probed = ProbeDataset(spec, roots);
  EXPECT_TRUE(probed.ok()) << probed.status();
  *source = *probed;
  std::vector<ResolvedFile> files;
  for (const SourceFile& file : source->files) {
    files.push_back({file.role, *ResolveSource(file, roots), file.digest});
  }
  PrepareDatasetParameters parameters;
  parameters.name = "custom";
  parameters.format = name == "cifar-10" ? "cifar_binary" : "idx";
  auto dataset = ReadDataset(parameters, files);
  EXPECT_TRUE(dataset.ok()) << dataset.status();
  return *std::move(dataset);
}

std::vector<int64_t> First(const ImageSet& set, int count) {
  return {set.labels.begin(), set.labels.begin() + count};
}

#ifdef DASM_FASHION_MNIST
TEST(FashionMnist, HasItsPublishedStatistics) {
  DatasetSource source;
  const Dataset dataset = Read("fashion-mnist", DASM_FASHION_MNIST, &source);
  EXPECT_EQ(source.train_images, 60000);
  EXPECT_EQ(source.test_images, 10000);
  EXPECT_EQ(source.smallest_class, 6000);
  EXPECT_EQ(source.classes, 10);
  EXPECT_EQ(source.height, 28);
  EXPECT_EQ(dataset.train.count, 60000);
  EXPECT_THAT(First(dataset.train, 10),
              ElementsAre(9, 0, 0, 3, 0, 2, 7, 2, 5, 5));
  EXPECT_THAT(dataset.mean, ElementsAre(DoubleNear(0.286041, 5e-7)));
  EXPECT_THAT(dataset.std, ElementsAre(DoubleNear(0.353024, 5e-7)));
}
#endif

#ifdef DASM_DATA_ARCHIVES
void Unpack(const std::string& archive, const std::string& folder) {
  const std::string command = "tar -C '" + folder + "' -xJf '" +
                              DASM_DATA_ARCHIVES + "/" + archive + "'";
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

TEST(Mnist, HasItsPublishedStatistics) {
  TestFolder folder;
  std::filesystem::create_directories(folder.At("mnist"));
  ASSERT_NO_FATAL_FAILURE(Unpack("mnist-idx.tar.xz", folder.At("mnist")));
  DatasetSource source;
  const Dataset dataset = Read("mnist", folder.path(), &source);
  EXPECT_EQ(source.train_images, 60000);
  EXPECT_EQ(source.smallest_class, 5421);
  EXPECT_THAT(dataset.mean, ElementsAre(DoubleNear(0.130660, 5e-7)));
  EXPECT_THAT(dataset.std, ElementsAre(DoubleNear(0.308108, 5e-7)));
}

TEST(Cifar10, HasItsPublishedStatistics) {
  TestFolder folder;
  ASSERT_NO_FATAL_FAILURE(
      Unpack("cifar-10-batches-bin.tar.xz", folder.path()));
  DatasetSource source;
  const Dataset dataset = Read("cifar-10", folder.path(), &source);
  EXPECT_EQ(source.train_images, 50000);
  EXPECT_EQ(source.test_images, 10000);
  EXPECT_EQ(source.smallest_class, 5000);
  EXPECT_THAT(First(dataset.train, 10),
              ElementsAre(6, 9, 9, 4, 1, 1, 2, 7, 8, 3));
  EXPECT_THAT(First(dataset.test, 10),
              ElementsAre(3, 8, 8, 0, 6, 6, 1, 6, 3, 1));
  EXPECT_THAT(dataset.mean, ElementsAre(DoubleNear(0.491400, 5e-7),
                                        DoubleNear(0.482158, 5e-7),
                                        DoubleNear(0.446531, 5e-7)));
  EXPECT_THAT(dataset.std, ElementsAre(DoubleNear(0.247032, 5e-7),
                                       DoubleNear(0.243485, 5e-7),
                                       DoubleNear(0.261588, 5e-7)));
}
#endif

}  // namespace
}  // namespace dasm
