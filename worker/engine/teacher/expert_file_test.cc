#include "worker/engine/teacher/expert_file.h"

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <string>

#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/temporary_directory.h"
#include "gtest/gtest.h"
#include "worker/engine/dataset/tensor_view.h"

namespace dasm {
namespace {

class ExpertFileTest : public ::testing::Test {
 protected:
  ExpertFileTest() : folder_(*TemporaryDirectory::Create()) {
    spec_.depth = 1;
    spec_.width = 4;
    spec_.norm = Norm::kBatch;
    data_ = Data("tiny", 6);
    network_ = *MakeNetwork(spec_, data_->shape(), data_->classes());
    const int64_t p = network_->parameters().total();
    const int64_t b = network_->buffers().total();
    trajectory_ = at::arange(3 * p, at::kFloat).view({3, p});
    buffers_ = at::arange(3 * b, at::kFloat).view({3, b}) + 0.5;
  }

  std::unique_ptr<ImageData> Data(const std::string& name, int64_t count) {
    const at::Tensor images = at::zeros({count, 1, 8, 8}, at::kByte);
    const at::Tensor labels = at::arange(count, at::kLong).remainder(2);
    const std::string path = folder_->path() + "/" + name;
    EXPECT_TRUE(WriteSafetensors(path,
                                 {{"train_images", ViewOf(images)},
                                  {"train_labels", ViewOf(labels)},
                                  {"test_images", ViewOf(images)},
                                  {"test_labels", ViewOf(labels)}},
                                 {{"name", name},
                                  {"classes", R"(["a", "b"])"},
                                  {"mean", "[0.5]"},
                                  {"std", "[0.5]"}})
                    .ok());
    auto data = ImageData::Open(path);
    EXPECT_TRUE(data.ok()) << data.status();
    return *std::move(data);
  }

  void Write(const std::string& path) {
    auto writer =
        ExpertWriter::Create(path, {spec_, *network_}, /*epochs=*/2, *data_);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE(
        (*writer)
            ->Write(0, trajectory_.narrow(0, 0, 1), buffers_.narrow(0, 0, 1))
            .ok());
    const auto rows = (*writer)->Rows(1);
    ASSERT_TRUE(rows.ok()) << rows.status();
    EXPECT_TRUE(rows->at("trajectory").equal(trajectory_.narrow(0, 0, 1)));
    EXPECT_TRUE(rows->at("buffers").equal(buffers_.narrow(0, 0, 1)));
    EXPECT_FALSE((*writer)->Commit().ok());
    ASSERT_TRUE(
        (*writer)
            ->Write(1, trajectory_.narrow(0, 1, 2), buffers_.narrow(0, 1, 2))
            .ok());
    ASSERT_TRUE((*writer)->Commit().ok());
  }

  void ExpectRefused(const absl::StatusOr<std::unique_ptr<ExpertFile>>& file,
                     const std::string& what) {
    ASSERT_FALSE(file.ok());
    EXPECT_EQ(FailureClassOf(file.status()), FailureClass::kData);
    const std::string message(file.status().message());
    EXPECT_NE(message.find(what), std::string::npos) << message;
    EXPECT_NE(message.find(path_), std::string::npos) << message;
  }

  const std::unique_ptr<TemporaryDirectory> folder_;
  const std::string path_ = folder_->path() + "/expert";
  NetworkSpec spec_;
  std::unique_ptr<ImageData> data_;
  std::unique_ptr<Network> network_;
  at::Tensor trajectory_;
  at::Tensor buffers_;
};

TEST_F(ExpertFileTest, RowsComeBackAsTheyWereWritten) {
  Write(path_);
  const auto file = ExpertFile::Open(path_, {spec_, *network_}, *data_, 2);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->epochs(), 2);
  for (int epoch = 0; epoch <= 2; ++epoch) {
    EXPECT_TRUE((*file)->Parameters(epoch).equal(trajectory_[epoch]));
    EXPECT_TRUE((*file)->Buffers(epoch).equal(buffers_[epoch]));
    const auto address = reinterpret_cast<uintptr_t>(
        (*file)->Parameters(epoch).const_data_ptr());
    EXPECT_EQ(address % 64, 0u);
  }
  EXPECT_ANY_THROW((*file)->Parameters(3));
}

TEST_F(ExpertFileTest, ExpertOfAnotherNetworkIsRefused) {
  Write(path_);
  spec_.width = 8;
  network_ = *MakeNetwork(spec_, data_->shape(), 2);
  ExpectRefused(ExpertFile::Open(path_, {spec_, *network_}, *data_, 2),
                "another network (width 4 where 8 is needed)");
}

TEST_F(ExpertFileTest, ExpertOfOtherDataIsRefused) {
  Write(path_);
  const auto other = Data("other", 6);
  ExpectRefused(ExpertFile::Open(path_, {spec_, *network_}, *other, 2),
                "another data (name \"tiny\" where \"other\" is needed)");
  const auto larger = Data("tiny", 8);
  ExpectRefused(ExpertFile::Open(path_, {spec_, *network_}, *larger, 2),
                "train_images 6 where 8 is needed");
}

TEST_F(ExpertFileTest, TooFewEpochsAreRefusedWithTheRemedy) {
  Write(path_);
  ExpectRefused(ExpertFile::Open(path_, {spec_, *network_}, *data_, 3),
                "it has 2 epochs, 3 are needed; raise experts.epochs");
}

TEST_F(ExpertFileTest, FileThatIsNoExpertIsRefused) {
  ExpectRefused(ExpertFile::Open(path_, {spec_, *network_}, *data_, 1), "");
  ASSERT_TRUE(
      WriteSafetensors(path_, {{"trajectory", ViewOf(trajectory_)}}, {}).ok());
  ExpectRefused(ExpertFile::Open(path_, {spec_, *network_}, *data_, 1),
                "it is not an expert");
  const at::Tensor narrow = trajectory_.narrow(1, 0, 5).contiguous();
  ASSERT_TRUE(WriteSafetensors(path_, {{"trajectory", ViewOf(narrow)}},
                               ExpertMetadata(spec_, 2, *data_))
                  .ok());
  ExpectRefused(ExpertFile::Open(path_, {spec_, *network_}, *data_, 1),
                "its trajectory is [3, 5]");
  ASSERT_TRUE(WriteSafetensors(path_, {{"trajectory", ViewOf(trajectory_)}},
                               ExpertMetadata(spec_, 2, *data_))
                  .ok());
  ExpectRefused(ExpertFile::Open(path_, {spec_, *network_}, *data_, 1),
                "buffers");
}

TEST_F(ExpertFileTest, FolderThatCannotBeWrittenIsStorage) {
  EXPECT_EQ(FailureClassOf(ExpertWriter::Create("/nonexistent/folder/x",
                                                {spec_, *network_}, 2, *data_)
                               .status()),
            FailureClass::kStorage);
}

}  // namespace
}  // namespace dasm
