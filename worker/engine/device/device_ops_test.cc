#include "worker/engine/device/device_ops.h"

#include <ATen/ATen.h>

#include "gtest/gtest.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/device/resident_images.h"

namespace dasm {
namespace {

at::Tensor Tables(int64_t channels) {
  return at::arange(256, at::kFloat)
      .view({1, -1})
      .mul(at::arange(1, channels + 1, at::kFloat).view({-1, 1}))
      .div(255.0f);
}

TEST(GatherBytes, LooksEveryByteUpInItsChannelsTable) {
  const at::Tensor bytes =
      at::randint(0, 256, {5, 3, 4, 6}, at::TensorOptions(at::kByte));
  const at::Tensor rows = at::tensor({4, 0, 4}, at::kLong);
  const at::Tensor images = GatherBytes(bytes, Tables(3), rows);
  ASSERT_EQ(images.sizes(), (at::IntArrayRef{3, 3, 4, 6}));
  const at::Tensor chosen = bytes.index_select(0, rows).to(at::kLong);
  for (int64_t c = 0; c < 3; ++c) {
    EXPECT_TRUE(images.select(1, c).equal(
        Tables(3)[c]
            .index_select(0, chosen.select(1, c).flatten())
            .view({3, 4, 6})));
  }
}

TEST(GatherBytes, AnIndexOutsideIsAnError) {
  const at::Tensor bytes = at::zeros({2, 1, 2, 2}, at::kByte);
  EXPECT_THROW(GatherBytes(bytes, Tables(1), at::tensor({2}, at::kLong)),
               c10::Error);
}

TEST(ResidentImages, GivesWhatItsTablesSay) {
  const at::Tensor bytes =
      at::randint(0, 256, {4, 1, 3, 3}, at::TensorOptions(at::kByte));
  const ResidentImages images(bytes, Tables(1), {0, 1, 0, 1}, at::kCPU);
  EXPECT_EQ(images.size(), 4);
  EXPECT_EQ(images.shape(), (ImageShape{1, 3, 3}));
  const std::vector<int64_t> rows = {3, 1};
  EXPECT_TRUE(images.Normalised(rows).equal(
      bytes.index_select(0, at::tensor({3, 1}, at::kLong))
          .to(at::kFloat)
          .div(255.0f)));
}

TEST(ResidentImages, OfABlobsBytesHaveTheBitsOfTheHostsBatches) {
  const at::Tensor bytes =
      at::randint(0, 256, {5, 3, 4, 4}, at::TensorOptions(at::kByte));
  const std::vector<int64_t> labels = {0, 1, 0, 1, 2};
  const ByteImages host(bytes.const_data_ptr<uint8_t>(), {3, 4, 4}, labels,
                        {{0.49, 0.48, 0.44}, {0.24, 0.24, 0.26}});
  const ResidentImages resident(host.AllBytes(), host.NormalisedTables(),
                                labels, at::kCPU);
  const std::vector<int64_t> rows = {4, 0, 4, 2};
  EXPECT_TRUE(resident.Normalised(rows).equal(host.Normalised(rows)));
  EXPECT_TRUE(resident.Targets(rows).equal(host.Targets(rows)));
  EXPECT_EQ(MakeResident(&host, at::kCPU), nullptr);
}

}  // namespace
}  // namespace dasm
