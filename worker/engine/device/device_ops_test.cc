#include "worker/engine/device/device_ops.h"

#include <ATen/ATen.h>

#include "gtest/gtest.h"
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
  EXPECT_TRUE(
      images.device_labels().equal(at::tensor({0, 1, 0, 1}, at::kLong)));
}

}  // namespace
}  // namespace dasm
