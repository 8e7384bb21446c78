#include "common/dataset/ranking.h"

#include "common/artifact/safetensors.h"
#include "common/dataset/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;

TEST(Ranking, GoesClassAfterClassFromEasyToHardAndTiesByNumber) {
  EXPECT_THAT(RankByScore({5, 1, 3, 1, -2, 3}, {0, 1, 0, 1, 1, 0}),
              ElementsAre(2, 5, 0, 4, 1, 3));
}

TEST(Ranking, FileHoldsScoresOrderAndRule) {
  const TestFolder folder;
  ASSERT_TRUE(WriteRanking(folder.At("r"), {1, 0}, {1, 0}, "el2n").ok());
  const auto file = SafetensorsFile::Open(folder.At("r"));
  ASSERT_TRUE(file.ok()) << file.status();
  const auto order = (*file)->Get("order", DType::kI64, 1);
  ASSERT_TRUE(order.ok()) << order.status();
  EXPECT_EQ(static_cast<const int64_t*>(order->data)[0], 1);
  const auto score = (*file)->Get("score", DType::kF32, 1);
  ASSERT_TRUE(score.ok()) << score.status();
  EXPECT_EQ(static_cast<const float*>(score->data)[0], 1);
  EXPECT_EQ((*file)->metadata().at("rule"), "el2n");
}

}  // namespace
}  // namespace dasm
