#include "common/base/random_stream.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "Random123/philox.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;

constexpr int kDraws = 100'000;

std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter,
                               std::array<uint32_t, 2> key) {
  const auto block =
      r123::Philox4x32()(r123::Philox4x32::ctr_type{{counter[0], counter[1],
                                                     counter[2], counter[3]}},
                         r123::Philox4x32::key_type{{key[0], key[1]}});
  return {block[0], block[1], block[2], block[3]};
}

// The three lines of "philox4x32 10" in the file kat_vectors of Random123.
TEST(Philox, GivesThePublishedVectors) {
  EXPECT_THAT(Philox({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  EXPECT_THAT(Philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                     {0xa4093822, 0x299f31d0}),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(RandomSequence, WalksTheFirstCounterWordOfItsPosition) {
  RandomSequence sequence(0x299f31d0a4093822ull, 7, 8, 9);
  for (uint32_t block = 0; block < 3; ++block) {
    for (uint32_t word : Philox({block, 7, 8, 9}, {0xa4093822, 0x299f31d0})) {
      EXPECT_EQ(sequence.Next(), word);
    }
  }
}

TEST(RandomSequence, CopyContinuesIndependently) {
  RandomSequence sequence(1, 2, 3, 4);
  sequence.Next();
  RandomSequence copy = sequence;
  const uint32_t next = sequence.Next();
  EXPECT_EQ(copy.Next(), next);
}

// Bits of every result depend on these: a change needs a new numerics version.
TEST(RandomStream, FrozenValues) {
  RandomSequence sequence = RandomStream(42, "match.real").At(1, 2, 3);
  EXPECT_THAT((std::array<uint32_t, 4>{sequence.Next(), sequence.Next(),
                                       sequence.Next(), sequence.Next()}),
              ElementsAre(0xb6755089, 0xcc8fb5ab, 0xf7f37c21, 0x46e1a49c));
  EXPECT_EQ(sequence.Uniform(), 0x1.11de32p-1);
  EXPECT_EQ(sequence.Below(1000), 551);
  EXPECT_THAT(sequence.Permutation(8), ElementsAre(5, 0, 6, 3, 4, 7, 2, 1));
  // The C library's log and cos: not promised to the last bit.
  EXPECT_NEAR(sequence.Normal(), -0.53195767874166999, 1e-14);
}

TEST(RandomStream, EverySeedNameAndPositionIsItsOwn) {
  std::set<uint32_t> firsts;
  int streams = 0;
  for (uint64_t seed : {0, 1, 2}) {
    for (const char* name : {"", "a", "b", "ab", "ba"}) {
      const RandomStream stream(seed, name);
      for (uint32_t i = 0; i < 3; ++i) {
        for (RandomSequence sequence :
             {stream.At(i + 1), stream.At(0, i + 1), stream.At(0, 0, i + 1)}) {
          firsts.insert(sequence.Next());
          ++streams;
        }
      }
    }
  }
  // 135 draws of 2^32 collide with a chance of 2e-6.
  EXPECT_EQ(firsts.size(), streams);
}

TEST(RandomSequence, UniformIsUniform) {
  RandomSequence sequence = RandomStream(1, "test").At();
  double sum = 0;
  std::array<int, 16> bins = {};
  for (int i = 0; i < kDraws; ++i) {
    const double value = sequence.Uniform();
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 1);
    // Exact in float.
    ASSERT_EQ(static_cast<double>(static_cast<float>(value)), value);
    sum += value;
    ++bins[static_cast<int>(value * 16)];
  }
  // Five standard errors of the mean of kDraws values of variance 1/12.
  EXPECT_NEAR(sum / kDraws, 0.5, 5 / std::sqrt(12.0 * kDraws));
  // Chi square with 15 degrees of freedom: mean 15, standard deviation
  // sqrt(30); five of them.
  double chi2 = 0;
  for (int count : bins) {
    const double expected = kDraws / 16.0;
    chi2 += (count - expected) * (count - expected) / expected;
  }
  EXPECT_LT(chi2, 15 + 5 * std::sqrt(30.0));
}

TEST(RandomSequence, UniformRangeIsHalfOpen) {
  RandomSequence sequence = RandomStream(1, "test").At();
  for (int i = 0; i < 1000; ++i) {
    const double value = sequence.Uniform(-2, 3);
    EXPECT_GE(value, -2);
    EXPECT_LT(value, 3);
  }
}

TEST(RandomSequence, NormalHasMeanZeroAndVarianceOne) {
  RandomSequence sequence = RandomStream(1, "normal").At();
  double sum = 0;
  double squares = 0;
  double fourths = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double value = sequence.Normal();
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += value * value;
    fourths += value * value * value * value;
  }
  // Five standard errors; the variances of x, x^2 and x^4 are 1, 2 and 96.
  EXPECT_NEAR(sum / kDraws, 0, 5 / std::sqrt(1.0 * kDraws));
  EXPECT_NEAR(squares / kDraws, 1, 5 * std::sqrt(2.0 / kDraws));
  EXPECT_NEAR(fourths / kDraws, 3, 5 * std::sqrt(96.0 / kDraws));
}

TEST(RandomSequence, BelowIsUnbiased) {
  RandomSequence sequence = RandomStream(1, "below").At();
  // Without rejection every third value would come twice as often, and this
  // share would be 1/2.
  const uint32_t n = 3u << 30;
  int hits = 0;
  for (int i = 0; i < kDraws; ++i) {
    const uint32_t value = sequence.Below(n);
    ASSERT_LT(value, n);
    if (value % 3 == 0) ++hits;
  }
  // Five standard errors of a share of 1/3.
  EXPECT_NEAR(1.0 * hits / kDraws, 1.0 / 3, 5 * std::sqrt(2.0 / 9 / kDraws));
}

TEST(RandomSequence, BelowOneIsZero) {
  RandomSequence sequence = RandomStream(1, "below").At();
  EXPECT_EQ(sequence.Below(1), 0);
}

TEST(RandomSequence, PermutationHoldsEveryIndexOnce) {
  std::vector<int64_t> order = RandomStream(3, "order").At().Permutation(1000);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
  std::sort(order.begin(), order.end());
  std::vector<int64_t> all(1000);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(order, all);
  EXPECT_TRUE(RandomStream(3, "order").At().Permutation(0).empty());
  EXPECT_THAT(RandomStream(3, "order").At().Permutation(1), ElementsAre(0));
}

TEST(RandomSequence, PermutationFollowsItsKey) {
  const RandomStream stream(3, "order");
  EXPECT_EQ(stream.At(1).Permutation(100), stream.At(1).Permutation(100));
  EXPECT_NE(stream.At(1).Permutation(100), stream.At(2).Permutation(100));
  EXPECT_NE(stream.At(1).Permutation(100),
            RandomStream(4, "order").At(1).Permutation(100));
}

TEST(RandomSequence, PermutationsAreEquallyLikely) {
  const RandomStream stream(5, "order");
  std::map<std::vector<int64_t>, int> counts;
  const int trials = 6000;
  for (int i = 0; i < trials; ++i) ++counts[stream.At(i).Permutation(3)];
  ASSERT_EQ(counts.size(), 6);
  double chi2 = 0;
  for (const auto& [order, count] : counts) {
    chi2 += (count - 1000.0) * (count - 1000.0) / 1000.0;
  }
  // Five degrees of freedom; five standard deviations of sqrt(10).
  EXPECT_LT(chi2, 5 + 5 * std::sqrt(10.0));
}

}  // namespace
}  // namespace dasm
