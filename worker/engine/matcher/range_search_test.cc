#include "worker/engine/matcher/range_search.h"

#include <functional>
#include <limits>

#include "gtest/gtest.h"

namespace dasm {
namespace {

using Bounds = RangeSearch::Bounds;

// Answers every probe; `loss` of the range that was distilled and the epoch.
RangeSearch Search(int window, int start_epochs,
                   const std::function<double(Bounds, int)>& loss) {
  RangeSearch search(window, start_epochs);
  for (int probes = 0; search.Next().has_value(); ++probes) {
    EXPECT_LT(probes, 100);
    if (probes == 100) break;
    std::vector<double> losses;
    for (int t = 0; t < start_epochs; ++t) {
      losses.push_back(loss(*search.Next(), t));
    }
    search.Add(losses);
  }
  return search;
}

TEST(RangeSearch, WindowsRiseWhileLaterEpochsGetWorse) {
  // Distilling from before epoch 20 hurts what comes after its window; a range
  // that reaches beyond 45 hurts what it has from 20 to 30.
  const RangeSearch search = Search(10, 60, [](Bounds bounds, int t) {
    if (bounds.end == 0) return 0.9;
    if (bounds.begin < 20 && t >= bounds.end) return 0.95;
    if (bounds.end > 45 && t >= 20 && t < 30) return 0.85;
    return 0.8;
  });
  EXPECT_EQ(search.bounds(),
            (std::vector<Bounds>{
                {0, 0}, {0, 10}, {10, 20}, {20, 30}, {20, 40}, {20, 50}}));
  EXPECT_EQ(search.Found().min, 20);
  EXPECT_EQ(search.Found().max, 40);
  // No loss above 1: all of it from the beginning.
  EXPECT_EQ(search.Found().initial, 40);
}

TEST(RangeSearch, InitialEndIsTheFirstEpochOfTheRangeWithALossAbove1) {
  const RangeSearch search = Search(5, 20, [](Bounds bounds, int t) {
    if (bounds.end == 0) return 1.5;
    return t >= 7 || t == 2 ? 1.2 : bounds.end > 10 ? 0.9 : 0.8;
  });
  // Both are at most what the start has: the first window is kept.
  EXPECT_EQ(search.Found().min, 0);
  EXPECT_EQ(search.Found().max, 10);
  EXPECT_EQ(search.Found().initial, 2);
}

TEST(RangeSearch, HasAtLeastOneEpochInFrontOfTheInitialEnd) {
  const RangeSearch search = Search(
      4, 8, [](Bounds bounds, int) { return bounds.end == 0 ? 3.0 : 2.0; });
  EXPECT_EQ(search.Found().min, 0);
  EXPECT_EQ(search.Found().initial, 1);
  EXPECT_EQ(search.Found().max, 8);
}

TEST(RangeSearch, EndsWhereTheExpertEnds) {
  // Later epochs get worse whatever is done.
  const RangeSearch rising = Search(10, 25, [](Bounds bounds, int t) {
    return bounds.end > 0 && t >= bounds.end ? 0.9 : 0.5;
  });
  EXPECT_EQ(rising.Found().min, 20);
  EXPECT_EQ(rising.Found().max, 25);
  // Nothing ever gets worse.
  const RangeSearch flat = Search(10, 25, [](Bounds, int) { return 0.5; });
  EXPECT_EQ(flat.Found().min, 0);
  EXPECT_EQ(flat.Found().max, 25);
  // A window that is longer than the expert.
  EXPECT_EQ(Search(10, 3, [](Bounds, int) { return 0.5; }).Found().max, 3);
}

TEST(RangeSearch, LossThatIsNotFiniteIsWorseThanAny) {
  const RangeSearch search = Search(5, 20, [](Bounds bounds, int t) {
    return bounds.end > 10 && t == 3 ? std::numeric_limits<double>::quiet_NaN()
                                     : 0.5;
  });
  EXPECT_EQ(search.Found().max, 10);
  EXPECT_EQ(search.Found().initial, 3);
}

}  // namespace
}  // namespace dasm
