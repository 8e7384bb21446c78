#include "server/store/migrations.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr char kPath[] = ":memory:";

std::unique_ptr<SqliteConnection> OpenInMemory() {
  return *SqliteConnection::Open({.path = kPath});
}

int64_t Integer(SqliteConnection& connection, const std::string& sql) {
  SqliteQuery query(connection, sql);
  EXPECT_TRUE(query.Step()) << sql;
  return query.Integer(0);
}

TEST(Migrations, AnOldDatabaseIsBroughtForwardStepByStep) {
  std::unique_ptr<SqliteConnection> connection = OpenInMemory();
  const char* const first[] = {"CREATE TABLE t(x); INSERT INTO t VALUES (7)"};
  ASSERT_TRUE(Migrate(*connection, kPath, "test", first).ok());
  const char* const later[] = {first[0], "ALTER TABLE t ADD COLUMN y",
                               "UPDATE t SET y = x + 1"};
  ASSERT_TRUE(Migrate(*connection, kPath, "test", later).ok());
  EXPECT_EQ(Integer(*connection, "SELECT y FROM t"), 8);
  EXPECT_EQ(Integer(*connection, "SELECT version FROM schema_version"), 3);
  EXPECT_TRUE(Migrate(*connection, kPath, "test", later).ok());
  EXPECT_EQ(Integer(*connection, "SELECT count(*) FROM t"), 1);
}

TEST(Migrations, AFailedStepLeavesTheOldVersionWhole) {
  std::unique_ptr<SqliteConnection> connection = OpenInMemory();
  const char* const first[] = {"CREATE TABLE t(x)"};
  ASSERT_TRUE(Migrate(*connection, kPath, "test", first).ok());
  const char* const broken[] = {first[0], "CREATE TABLE u(x)",
                                "INSERT INTO missing VALUES (1)"};
  EXPECT_FALSE(Migrate(*connection, kPath, "test", broken).ok());
  EXPECT_FALSE(connection->InTransaction());
  EXPECT_EQ(Integer(*connection, "SELECT version FROM schema_version"), 1);
  EXPECT_EQ(Integer(*connection,
                    "SELECT count(*) FROM sqlite_schema WHERE name = 'u'"),
            0);
}

TEST(Migrations, ANewerDatabaseIsRefusedWithBothVersions) {
  std::unique_ptr<SqliteConnection> connection = OpenInMemory();
  const char* const newer[] = {"CREATE TABLE t(x)", "CREATE TABLE u(x)"};
  ASSERT_TRUE(Migrate(*connection, kPath, "test", newer).ok());
  const absl::Status refused =
      Migrate(*connection, kPath, "test", absl::MakeConstSpan(newer, 1));
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("schema version 2"), HasSubstr("up to 1"),
                    HasSubstr("start the newer build")));
}

TEST(Migrations, TheDatabaseOfAnotherComponentIsRefused) {
  std::unique_ptr<SqliteConnection> connection = OpenInMemory();
  ASSERT_TRUE(
      Migrate(*connection, kPath, "job_store", JobStoreMigrations()).ok());
  const absl::Status refused = Migrate(*connection, kPath, "telemetry_store",
                                       TelemetryStoreMigrations());
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("is a job_store, not a telemetry_store"));
}

TEST(Migrations, AVersionTableWithoutRowIsRefused) {
  std::unique_ptr<SqliteConnection> connection = OpenInMemory();
  connection->Execute("CREATE TABLE schema_version(component, version)");
  EXPECT_TRUE(absl::IsFailedPrecondition(
      Migrate(*connection, kPath, "job_store", JobStoreMigrations())));
}

// The indexes that keep a list from walking the table.
TEST(Migrations, ListsOfJobsRunOnIndexes) {
  std::unique_ptr<SqliteConnection> connection = OpenInMemory();
  ASSERT_TRUE(
      Migrate(*connection, kPath, "job_store", JobStoreMigrations()).ok());
  const auto plan = [&](const std::string& sql) {
    SqliteQuery query(*connection, "EXPLAIN QUERY PLAN " + sql);
    std::string text;
    while (query.Step()) text += query.Bytes(3) + "\n";
    return text;
  };
  EXPECT_THAT(plan("SELECT id FROM job WHERE project = 'p' AND"
                   " (create_time, id) < (5, 'a')"
                   " ORDER BY create_time DESC, id DESC LIMIT 3"),
              AllOf(HasSubstr("SEARCH job USING"), HasSubstr("job_by_time"),
                    testing::Not(HasSubstr("TEMP B-TREE"))));
  EXPECT_THAT(plan("SELECT id FROM job WHERE state = 'QUEUED' AND project = 'p'"
                   " AND (create_time, id) < (5, 'a')"
                   " ORDER BY create_time DESC, id DESC LIMIT 3"),
              AllOf(HasSubstr("SEARCH job USING"), HasSubstr("job_by_state"),
                    testing::Not(HasSubstr("TEMP B-TREE"))));
  EXPECT_THAT(plan("SELECT * FROM event WHERE job = 'j' AND version > 5"
                   " ORDER BY version LIMIT 3"),
              AllOf(HasSubstr("SEARCH event USING INDEX event_by_job"),
                    testing::Not(HasSubstr("TEMP B-TREE"))));
}

}  // namespace
}  // namespace dasm
