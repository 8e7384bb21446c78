#include "common/spec/nearest.h"

#include <gtest/gtest.h>

namespace dasm {
namespace {

TEST(Nearest, DistanceCountsEditsAndSwaps) {
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(EditDistance("inits", "inits"), 0);
  EXPECT_EQ(EditDistance("intis", "inits"), 1);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
}

TEST(Nearest, SuggestsOnlyWhatIsNear) {
  const std::vector<std::string> names = {"matching", "evaluation"};
  EXPECT_EQ(DidYouMean("matchin", names), "; did you mean \"matching\"?");
  EXPECT_EQ(DidYouMean("zebra", names), "");
  EXPECT_EQ(DidYouMean("matching", {}), "");
}

TEST(Nearest, AHugeNameCostsNoMoreThanALongOne) {
  EXPECT_EQ(DidYouMean(std::string(1 << 20, 'm'), {"matching"}), "");
  EXPECT_EQ(Nearest(std::string(1 << 20, 'm'), {"matching"}), "matching");
}

}  // namespace
}  // namespace dasm
