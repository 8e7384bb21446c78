#include "client/command/output.h"

#include <sstream>

#include "absl/time/clock.h"
#include "dasm/v1/job.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

TEST(Output, FormatsAreNamed) {
  EXPECT_EQ(*ParseOutputFormat("name"), OutputFormat::kName);
  EXPECT_THAT(ParseOutputFormat("xml").status().message(),
              testing::HasSubstr("xml"));
}

TEST(Output, TableColumnsAreAsWideAsTheirWidestCell) {
  Table table({"A", "LONG"});
  table.Add({"± x", "1"});
  EXPECT_EQ(table.ToString(), "A     LONG\n± x   1\n");
}

TEST(Output, ATableFitsItsTerminal) {
  Table table({"JOB", "NAME", "STATE"});
  table.set_flexible("NAME");
  table.Add({"jobs/j1", "a-long-name-of-a-job", "RUNNING"});
  EXPECT_EQ(table.ToString(60),
            "JOB       NAME                   STATE\n"
            "jobs/j1   a-long-name-of-a-job   RUNNING\n");
  EXPECT_EQ(table.ToString(32),
            "JOB       NAME           STATE\n"
            "jobs/j1   a-long…a-job   RUNNING\n");
  // Beyond what the name can give, lines lose their end.
  EXPECT_EQ(table.ToString(24),
            "JOB       NAME       ST…\n"
            "jobs/j1   a-lo…job   RU…\n");
  EXPECT_EQ(table.ToString(), table.ToString(1000));
}

TEST(Output, ElisionCountsCharactersAndNotBytes) {
  EXPECT_EQ(DisplayWidth("±…x"), 3);
  EXPECT_EQ(ElideMiddle("±±±±±", 5), "±±±±±");
  EXPECT_EQ(ElideMiddle("±±±±±", 4), "±±…±");
  EXPECT_EQ(ElideEnd("±±±±±", 4), "±±±…");
  EXPECT_EQ(ElideMiddle("abc", 1), "…");
}

TEST(Output, JsonKeepsTheProtosFieldNames) {
  v1::Job job;
  job.set_name("projects/default/jobs/j1");
  job.set_tasks_total(3);
  const std::string json = JsonText(job);
  EXPECT_THAT(json, testing::HasSubstr("\"tasks_total\": 3"));
  EXPECT_THAT(JsonToYaml(json), testing::HasSubstr("tasks_total: 3"));
}

TEST(Output, AMessageIsWrittenInTheFormatThatWasAskedFor) {
  v1::Job job;
  job.set_name("projects/default/jobs/j1");
  job.set_tasks_total(3);
  const auto written = [&job](OutputFormat format) {
    std::ostringstream out;
    WriteMessage(
        job, format, &out, [&] { out << "table\n"; },
        [&] { out << "names\n"; });
    return out.str();
  };
  EXPECT_EQ(written(OutputFormat::kTable), "table\n");
  EXPECT_EQ(written(OutputFormat::kName), "names\n");
  EXPECT_EQ(written(OutputFormat::kJson), JsonText(job) + "\n");
  EXPECT_EQ(written(OutputFormat::kYaml), JsonToYaml(JsonText(job)) + "\n");
}

TEST(Output, QuantitiesReadWell) {
  EXPECT_EQ(HumanDuration(absl::Seconds(0.84)), "0.8s");
  EXPECT_EQ(HumanDuration(absl::Seconds(123)), "2m 3s");
  EXPECT_EQ(HumanDuration(absl::Hours(30)), "1d 6h");
  EXPECT_EQ(HumanDuration(absl::InfiniteDuration()), "-");
  EXPECT_EQ(HumanBytes(512), "512 B");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumanCount(457e9), "457.0 G");
  EXPECT_EQ(HumanTime(0), "-");
  EXPECT_EQ(HumanTime(3600, absl::FixedTimeZone(7200)), "1970-01-01 03:00:00");
  EXPECT_EQ(HumanAge(0, absl::Now()), "-");
  EXPECT_EQ(HumanAge(1000, absl::FromUnixSeconds(1185)), "3m 5s ago");
  EXPECT_EQ(HumanAge(1000, absl::FromUnixSeconds(900)), "0s ago");
}

TEST(Output, SparklineRisesWithItsValues) {
  EXPECT_EQ(Sparkline({0, 1, 2, 3, 4, 5, 6, 7}, 8), "▁▂▃▄▅▆▇█");
  EXPECT_EQ(Sparkline({5, 5}, 8), "▁▁");
  EXPECT_EQ(Sparkline({}, 8), "");
  // Sixteen values on two columns: each is the mean of its half.
  std::vector<double> step(16, 0.0);
  std::fill(step.begin() + 8, step.end(), 1.0);
  EXPECT_EQ(Sparkline(step, 2), "▁█");
}

}  // namespace
}  // namespace dasm
