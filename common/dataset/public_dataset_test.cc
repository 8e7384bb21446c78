#include "common/dataset/public_dataset.h"

#include <algorithm>

#include "common/spec/known_dataset.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

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
