#include "server/store/record_codec.h"

#include <string>

#include "gtest/gtest.h"

namespace dasm {
namespace {

// Round trips of every field are in the contract suite of the stores.

TEST(RecordCodec, DamagedBytesAreDataLoss) {
  JobRecord job;
  job.method = "dasm";
  const std::string body = EncodeBody(job);
  JobRecord decoded;
  ASSERT_TRUE(DecodeBody(body, &decoded).ok());
  for (size_t length = 0; length < body.size(); ++length) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeBody(body.substr(0, length), &decoded)))
        << length;
  }
  EXPECT_TRUE(absl::IsDataLoss(DecodeBody("\x01", &decoded)));  // a number
  EXPECT_TRUE(absl::IsDataLoss(DecodeBody("\xa1\x63uid\x01", &decoded)));
}

TEST(RecordCodec, AMissingFieldKeepsItsDefaultAndAnUnknownOneIsSkipped) {
  ActionRecord action;
  // {"newer": 1}
  ASSERT_TRUE(DecodeBody("\xa1\x65newer\x01", &action).ok());
  EXPECT_EQ(action.ranks, 1);
  EXPECT_EQ(action.start_time, absl::InfinitePast());
}

TEST(RecordCodec, PeaksAndPredictionsOfMemoryAreKept) {
  ActionRecord action;
  action.peaks = {{5, 0, 0}, {int64_t{1} << 40, 7, 9}};
  action.peaks_fence = 3;
  action.memory.total_bytes = 11;
  ActionRecord decoded;
  ASSERT_TRUE(DecodeBody(EncodeBody(action), &decoded).ok());
  ASSERT_EQ(decoded.peaks.size(), 2);
  EXPECT_EQ(decoded.peaks[0].host_bytes, 5);
  EXPECT_EQ(decoded.peaks[1].host_bytes, int64_t{1} << 40);
  EXPECT_EQ(decoded.peaks[1].device_bytes, 7);
  EXPECT_EQ(decoded.peaks[1].device_reserved_bytes, 9);
  EXPECT_EQ(decoded.peaks_fence, 3u);
  EXPECT_EQ(decoded.memory.total_bytes, 11);
}

TEST(RecordCodec, TimesKeepNanosecondsAndTheirEnds) {
  for (absl::Time time : {absl::InfinitePast(), absl::InfiniteFuture(),
                          absl::UnixEpoch(), absl::FromUnixNanos(-1),
                          absl::FromUnixNanos(1'700'000'000'123'456'789)}) {
    EXPECT_EQ(DecodeTime(EncodeTime(time)), time);
  }
}

}  // namespace
}  // namespace dasm
