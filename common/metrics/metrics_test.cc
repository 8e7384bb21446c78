#include "common/metrics/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The value of a series without labels.
double Value(const std::string& text, const std::string& name) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<std::string> parts = absl::StrSplit(line, ' ');
    double value;
    if (parts.size() == 2 && parts[0] == name &&
        absl::SimpleAtod(parts[1], &value)) {
      return value;
    }
  }
  ADD_FAILURE() << "no " << name << " in:\n" << text;
  return 0;
}

TEST(Metrics, TellTheVersion) {
  EXPECT_THAT(Metrics().Text(),
              HasSubstr(absl::StrCat("dasm_build_info{version=\"", DASM_VERSION,
                                     "\"} 1")));
}

TEST(Metrics, TellOfTheProcess) {
  Metrics metrics;
  const std::string text = metrics.Text();
  EXPECT_GT(Value(text, "process_resident_memory_bytes"), 1 << 20);
  EXPECT_LT(Value(text, "process_resident_memory_bytes"), 1e12);
  // The kernel's boot time and ticks are rounded to a second and 10 ms.
  const double started = Value(text, "process_start_time_seconds");
  const double now = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
  EXPECT_LT(started, now + 2);
  EXPECT_GT(started, now - 3600);
}

TEST(Metrics, CountOpenFiles) {
  Metrics metrics;
  const double before = Value(metrics.Text(), "process_open_fds");
  const int fd = open("/dev/null", O_RDONLY);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(Value(metrics.Text(), "process_open_fds"), before + 1);
  close(fd);
  EXPECT_EQ(Value(metrics.Text(), "process_open_fds"), before);
}

TEST(Metrics, CpuTimeGrowsWithWork) {
  Metrics metrics;
  const double before = Value(metrics.Text(), "process_cpu_seconds_total");
  volatile double sink = 0;
  for (int i = 0; i < 20'000'000; ++i) sink = sink + i;
  EXPECT_GT(Value(metrics.Text(), "process_cpu_seconds_total"), before);
}

TEST(Metrics, FamilyOfANameIsOneHoweverOftenAsked) {
  Metrics metrics;
  metrics.Counters(kRetries).Add({{"cause", "NODE_LOST"}}).Increment();
  metrics.Counters(kRetries).Add({{"cause", "NODE_LOST"}}).Increment();
  metrics.Gauges(kJobs).Add({{"state", "RUNNING"}}).Set(3);
  metrics.Histograms(kStoreCommitSeconds)
      .Add({}, SecondsBuckets())
      .Observe(0.004);
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("dasm_retries_total{cause=\"NODE_LOST\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE dasm_retries_total counter\n"));
  EXPECT_THAT(text, HasSubstr("dasm_jobs{state=\"RUNNING\"} 3\n"));
  EXPECT_THAT(text,
              HasSubstr("dasm_store_commit_seconds_bucket{le=\"0.005\"} 1\n"));
  EXPECT_THAT(text,
              HasSubstr("dasm_store_commit_seconds_bucket{le=\"0.0025\"} 0\n"));
}

TEST(Metrics, RemovedSeriesIsGone) {
  Metrics metrics;
  auto& family = metrics.Gauges(kDistillMatchingLoss);
  auto& loss = family.Add({{"job", "j1"}, {"segment", "1"}});
  loss.Set(0.5);
  EXPECT_THAT(metrics.Text(), HasSubstr("job=\"j1\""));
  family.Remove(&loss);
  EXPECT_THAT(metrics.Text(), Not(HasSubstr("job=\"j1\"")));
}

}  // namespace
}  // namespace dasm
