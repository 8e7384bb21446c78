#include "server/store/sqlite_telemetry_store.h"

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/shim_vfs.h"
#include "server/store/temporary_folder_for_tests.h"

namespace dasm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

std::unique_ptr<SqliteTelemetryStore> OpenTelemetry(
    const SqliteTelemetryStore::Options& options) {
  absl::StatusOr<std::unique_ptr<SqliteTelemetryStore>> store =
      SqliteTelemetryStore::Create(options);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

// Over a file and in memory, by the parameter.
class TelemetryStoreTest : public testing::TestWithParam<bool> {
 protected:
  TelemetryStoreTest()
      : store_(OpenTelemetry(
            {.path = GetParam() ? ":memory:" : folder_.File("telemetry.db")})) {
  }

  const TemporaryFolder folder_;
  const std::unique_ptr<SqliteTelemetryStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Sqlite, TelemetryStoreTest, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& info) {
                           return info.param ? "memory" : "file";
                         });

MetricPointRecord Point(const std::string& action, const std::string& series,
                        int64_t step, double value = 0) {
  return {action, series, step, kStart + absl::Seconds(step), value};
}

LogLineRecord Line(const std::string& action, uint64_t sequence,
                   const std::string& text, uint64_t fence = 1, int rank = 0) {
  return {.action_key = action,
          .fence = fence,
          .rank = rank,
          .sequence = sequence,
          .time = kStart,
          .severity = "INFO",
          .text = text};
}

std::vector<std::string> Names(const std::vector<MetricPointRecord>& points) {
  std::vector<std::string> names;
  for (const MetricPointRecord& point : points) {
    names.push_back(
        absl::StrCat(point.action_key, "/", point.series, "/", point.step));
  }
  return names;
}

std::vector<std::string> Texts(const std::vector<LogLineRecord>& lines) {
  std::vector<std::string> texts;
  for (const LogLineRecord& line : lines) texts.push_back(line.text);
  return texts;
}

TEST_P(TelemetryStoreTest, PointsComeByActionSeriesAndStep) {
  ASSERT_TRUE(store_
                  ->Append({Point("b", "loss", 2), Point("a", "loss", 10),
                            Point("a", "lr", 1), Point("a", "loss", -3),
                            Point("c", "loss", 1)},
                           {})
                  .ok());
  const auto all = store_->ListPoints({"b", "a"}, "", {}, 100);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_THAT(Names(*all),
              ElementsAre("a/loss/-3", "a/loss/10", "a/lr/1", "b/loss/2"));
  const auto one = store_->ListPoints({"a", "b"}, "loss", {}, 100);
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_THAT(Names(*one), ElementsAre("a/loss/-3", "a/loss/10", "b/loss/2"));
}

TEST_P(TelemetryStoreTest, APointKeepsItsBits) {
  const double inf = std::numeric_limits<double>::infinity();
  ASSERT_TRUE(store_
                  ->Append({Point("a", "x", 0, 0.1), Point("a", "x", 1, -inf),
                            Point("a", "x", 2, std::nan(""))},
                           {})
                  .ok());
  const auto points = store_->ListPoints({"a"}, "", {}, 10);
  ASSERT_TRUE(points.ok()) << points.status();
  ASSERT_THAT(*points, SizeIs(3));
  EXPECT_EQ((*points)[0].value, 0.1);
  EXPECT_EQ((*points)[0].time, kStart);
  EXPECT_EQ((*points)[1].value, -inf);
  EXPECT_TRUE(std::isnan((*points)[2].value));
}

TEST_P(TelemetryStoreTest, WhatIsThereIsIgnored) {
  ASSERT_TRUE(
      store_->Append({Point("a", "x", 1, 5)}, {Line("a", 0, "first")}).ok());
  ASSERT_TRUE(store_
                  ->Append({Point("a", "x", 1, 6), Point("a", "x", 2, 7)},
                           {Line("a", 0, "again"), Line("a", 1, "second"),
                            Line("a", 0, "other rank", 1, 1),
                            Line("a", 0, "other attempt", 2)})
                  .ok());
  const auto points = store_->ListPoints({"a"}, "x", {}, 10);
  ASSERT_TRUE(points.ok());
  ASSERT_THAT(*points, SizeIs(2));
  EXPECT_EQ((*points)[0].value, 5);
  const auto lines = store_->ListLines({"a"}, 0, 10);
  ASSERT_TRUE(lines.ok());
  EXPECT_THAT(Texts(*lines),
              ElementsAre("first", "second", "other rank", "other attempt"));
  EXPECT_EQ(lines->back().fence, 2u);
  EXPECT_EQ((*lines)[2].rank, 1);
  EXPECT_EQ((*lines)[1].sequence, 1u);
  EXPECT_EQ((*lines)[0].severity, "INFO");
  EXPECT_EQ((*lines)[0].time, kStart);
}

TEST_P(TelemetryStoreTest, PagesOfPointsMeetWithoutGapOrOverlap) {
  std::vector<MetricPointRecord> points;
  for (const char* action : {"a", "b"}) {
    for (const char* series : {"x", "y", "z"}) {
      for (int64_t step : {-1, 0, 1, 2, 3}) {
        points.push_back(Point(action, series, step));
      }
    }
  }
  ASSERT_TRUE(store_->Append(points, {}).ok());
  for (int limit : {1, 2, 4, 7, 100}) {
    std::vector<std::string> seen;
    TelemetryStore::PointCursor cursor;
    while (true) {
      const auto page = store_->ListPoints({"a", "b"}, "", cursor, limit);
      ASSERT_TRUE(page.ok()) << page.status();
      if (page->empty()) break;
      EXPECT_LE(page->size(), static_cast<size_t>(limit));
      for (const std::string& name : Names(*page)) seen.push_back(name);
      cursor = {page->back().action_key, page->back().series,
                page->back().step};
    }
    EXPECT_EQ(seen, Names(points)) << limit;
  }
}

TEST_P(TelemetryStoreTest, LinesOfSeveralActionsComeInOneOrder) {
  ASSERT_TRUE(
      store_
          ->Append({}, {Line("a", 0, "1"), Line("b", 0, "2"), Line("c", 0, "x"),
                        Line("a", 1, "3"), Line("b", 1, "4")})
          .ok());
  std::vector<std::string> seen;
  uint64_t after = 0;
  while (true) {
    const auto page = store_->ListLines({"b", "a"}, after, 3);
    ASSERT_TRUE(page.ok()) << page.status();
    if (page->empty()) break;
    for (const LogLineRecord& line : *page) {
      EXPECT_GT(line.id, after);
      after = line.id;
      seen.push_back(line.text);
    }
  }
  EXPECT_THAT(seen, ElementsAre("1", "2", "3", "4"));
}

TEST_P(TelemetryStoreTest, TrimKeepsTheNewestOfEach) {
  std::vector<MetricPointRecord> points;
  std::vector<LogLineRecord> lines;
  for (int i = 0; i < 10; ++i) {
    points.push_back(Point("a", "x", i));
    lines.push_back(Line("a", static_cast<uint64_t>(i), absl::StrCat(i)));
  }
  points.push_back(Point("a", "y", 0));
  points.push_back(Point("b", "x", 0));
  lines.push_back(Line("b", 0, "b"));
  ASSERT_TRUE(store_->Append(points, lines).ok());
  ASSERT_TRUE(store_->Trim(3, 4).ok());
  EXPECT_THAT(
      Names(*store_->ListPoints({"a", "b"}, "", {}, 100)),
      ElementsAre("a/x/6", "a/x/7", "a/x/8", "a/x/9", "a/y/0", "b/x/0"));
  EXPECT_THAT(Texts(*store_->ListLines({"a", "b"}, 0, 100)),
              ElementsAre("7", "8", "9", "b"));

  // Ids go on, also after all were trimmed.
  const uint64_t last = store_->ListLines({"b"}, 0, 100)->back().id;
  ASSERT_TRUE(store_->Append({}, {Line("a", 99, "new")}).ok());
  ASSERT_TRUE(store_->Trim(1, 4).ok());
  const auto rest = store_->ListLines({"a"}, 0, 100);
  ASSERT_THAT(Texts(*rest), ElementsAre("new"));
  EXPECT_GT(rest->back().id, last);
}

TEST_P(TelemetryStoreTest, ManyThreadsAppendAndRead) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const std::string action = absl::StrCat("action-", t);
      for (int i = 0; i < 50; ++i) {
        EXPECT_TRUE(store_
                        ->Append({Point(action, "x", i)},
                                 {Line(action, static_cast<uint64_t>(i), "l")})
                        .ok());
        EXPECT_THAT(*store_->ListPoints({action}, "", {}, 100),
                    SizeIs(static_cast<size_t>(i + 1)));
        if (i % 10 == 0) {
          EXPECT_TRUE(store_->Trim(1000, 1000).ok());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(SqliteTelemetryStore, AReopenedStoreIsTrimmedToo) {
  const TemporaryFolder folder;
  const std::string path = folder.File("telemetry.db");
  std::unique_ptr<SqliteTelemetryStore> store = OpenTelemetry({.path = path});
  ASSERT_TRUE(store->Append({}, {Line("a", 0, "0"), Line("a", 1, "1")}).ok());
  store.reset();
  store = OpenTelemetry({.path = path});
  ASSERT_TRUE(store->Trim(1, 1).ok());
  EXPECT_THAT(Texts(*store->ListLines({"a"}, 0, 10)), ElementsAre("1"));
}

TEST(SqliteTelemetryStore, AFullDiskRefusesTheWholeReportAndHeals) {
  const TemporaryFolder folder;
  const std::string path = folder.File("telemetry.db");
  ShimVfs disk({});
  std::unique_ptr<SqliteTelemetryStore> store =
      OpenTelemetry({.path = path, .vfs = disk.name()});
  disk.SetFreeBytes(100);
  const absl::Status refused =
      store->Append({Point("a", "x", 0)}, {Line("a", 0, "lost")});
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr(path));
  EXPECT_THAT(*store->ListPoints({"a"}, "", {}, 10), IsEmpty());
  disk.SetFreeBytes(-1);
  ASSERT_TRUE(store->Append({Point("a", "x", 0)}, {Line("a", 0, "kept")}).ok());
  EXPECT_THAT(Texts(*store->ListLines({"a"}, 0, 10)), ElementsAre("kept"));
}

TEST(SqliteTelemetryStore, AnAppendWaitsForNoFsync) {
  const TemporaryFolder folder;
  ShimVfs disk({});
  std::unique_ptr<SqliteTelemetryStore> store =
      OpenTelemetry({.path = folder.File("telemetry.db"), .vfs = disk.name()});
  const int64_t before = disk.syncs();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(store->Append({Point("a", "x", i)}, {}).ok());
  }
  EXPECT_EQ(disk.syncs(), before);
}

}  // namespace
}  // namespace dasm
