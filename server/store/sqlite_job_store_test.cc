#include "server/store/sqlite_job_store.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/contract/job_store_contract.h"
#include "server/store/migrations.h"
#include "server/store/shim_vfs.h"
#include "server/store/temporary_folder_for_tests.h"

namespace dasm {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::unique_ptr<SqliteJobStore> OpenJobs(
    const SqliteJobStore::Options& options) {
  absl::StatusOr<std::unique_ptr<SqliteJobStore>> store =
      SqliteJobStore::Create(options);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

class FileBackend final : public JobStoreBackend {
 public:
  std::unique_ptr<JobStore> Create() override { return Reopen(); }
  bool durable() const override { return true; }
  std::unique_ptr<JobStore> Reopen() override {
    return OpenJobs({.path = folder_.File("jobs.db")});
  }

 private:
  const TemporaryFolder folder_;
};

class MemoryBackend final : public JobStoreBackend {
 public:
  std::unique_ptr<JobStore> Create() override {
    return OpenJobs({.path = ":memory:"});
  }
  bool durable() const override { return false; }
  std::unique_ptr<JobStore> Reopen() override { return nullptr; }
};

INSTANTIATE_TEST_SUITE_P(
    Sqlite, JobStoreContract,
    testing::Values(
        JobStoreBackendFactory{"file",
                               [] { return std::make_unique<FileBackend>(); }},
        JobStoreBackendFactory{
            "memory", [] { return std::make_unique<MemoryBackend>(); }}),
    [](const testing::TestParamInfo<JobStoreBackendFactory>& info) {
      return info.param.name;
    });

Transaction Submit(const std::string& id, size_t spec_bytes = 100) {
  JobRecord job;
  job.id = id;
  job.project = "default";
  job.request_id = id;
  job.create_time = absl::FromUnixSeconds(1'700'000'000);
  job.update_time = job.create_time;
  job.spec.assign(spec_bytes, 's');
  Transaction transaction;
  transaction.events.push_back(
      {.job = id, .time = job.create_time, .type = "JOB_CREATED"});
  transaction.insert_job = std::move(job);
  return transaction;
}

TEST(SqliteJobStore, ManyTransactionsShareOneFsync) {
  const TemporaryFolder folder;
  std::unique_ptr<SqliteJobStore> store = OpenJobs(
      {.path = folder.File("jobs.db"), .fsync_delay = absl::Milliseconds(4)});
  constexpr int kClients = 32;
  constexpr int kJobs = 10;
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      for (int i = 0; i < kJobs; ++i) {
        EXPECT_TRUE(store->Commit(Submit(absl::StrCat("j", c, "-", i))).ok());
      }
    });
  }
  for (std::thread& client : clients) client.join();
  const JobStore::Statistics statistics = store->statistics();
  EXPECT_EQ(statistics.transactions, kClients * kJobs);
  // A client waits for its own answer, so at best all 32 are in one batch; a
  // quarter of that is far from one fsync each and safe on a loaded machine.
  EXPECT_LE(statistics.batches, statistics.transactions / 8);
}

TEST(SqliteJobStore, AnAcknowledgementIsOneFsyncOfTheLog) {
  const TemporaryFolder folder;
  ShimVfs disk({});
  std::unique_ptr<SqliteJobStore> store =
      OpenJobs({.path = folder.File("jobs.db"), .vfs = disk.name()});
  ASSERT_TRUE(store->Commit(Submit("warm-up")).ok());
  const int64_t before = disk.syncs();
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(store->Commit(Submit(absl::StrCat("j", i))).ok());
  }
  EXPECT_EQ(disk.syncs() - before, 10);
}

TEST(SqliteJobStore, AFullDiskRefusesTheWholeTransactionAndHeals) {
  const TemporaryFolder folder;
  ShimVfs disk({});
  const std::string path = folder.File("jobs.db");
  int failures = 0;
  // The disk fills up at another byte each time: in a frame, between two, at
  // the commit.
  for (int64_t free : {0, 1, 24, 4096, 5000, 9000, 20000, 40000}) {
    std::filesystem::remove(path);
    std::unique_ptr<SqliteJobStore> store =
        OpenJobs({.path = path, .vfs = disk.name()});
    ASSERT_TRUE(store->Commit(Submit("first")).ok());
    disk.SetFreeBytes(free);
    std::set<std::string> accepted = {"first"};
    for (int i = 0; i < 5; ++i) {
      const std::string id = absl::StrCat("j", i);
      const absl::Status status = store->Commit(Submit(id, 3000)).status();
      if (status.ok()) {
        accepted.insert(id);
        continue;
      }
      ++failures;
      EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
      EXPECT_THAT(std::string(status.message()),
                  AllOf(HasSubstr(path), HasSubstr("free some space")));
      // Reads go on.
      EXPECT_TRUE(store->GetJob("default", "first").ok());
      EXPECT_TRUE(absl::IsNotFound(store->GetJob("default", id).status()));
    }
    disk.SetFreeBytes(-1);
    EXPECT_TRUE(store->Commit(Submit("after")).ok());
    accepted.insert("after");
    store.reset();

    store = OpenJobs({.path = path, .vfs = disk.name()});
    const absl::StatusOr<JobPage> page =
        store->ListJobs({.project = "default"}, 100, "");
    ASSERT_TRUE(page.ok()) << page.status();
    std::set<std::string> stored;
    for (const JobRecord& job : page->jobs) {
      stored.insert(job.id);
      EXPECT_EQ(store->ListEvents(job.id, 0, 10)->size(), 1u) << job.id;
    }
    EXPECT_EQ(stored, accepted);
    EXPECT_EQ(store->CountJobs()->at(JobState::kQueued),
              static_cast<int64_t>(accepted.size()));
  }
  EXPECT_GE(failures, 20);
}

TEST(SqliteJobStore, AFailedFsyncRefusesAndTheNextOneWorks) {
  const TemporaryFolder folder;
  ShimVfs disk({});
  const std::string path = folder.File("jobs.db");
  std::unique_ptr<SqliteJobStore> store =
      OpenJobs({.path = path, .vfs = disk.name()});
  ASSERT_TRUE(store->Commit(Submit("first")).ok());
  disk.FailSyncs(1);
  const absl::Status refused = store->Commit(Submit("second")).status();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr(path));
  EXPECT_TRUE(absl::IsNotFound(store->GetJob("default", "second").status()));
  EXPECT_TRUE(store->Commit(Submit("second")).ok());
  store.reset();
  store = OpenJobs({.path = path, .vfs = disk.name()});
  EXPECT_TRUE(store->GetJob("default", "second").ok());
}

// Clients commit, and at some instants the power goes: everything acknowledged
// before is in the database that the disk is left with, and all of it is whole.
TEST(SqliteJobStore, AnAcknowledgedTransactionSurvivesAPowerLoss) {
  const TemporaryFolder folder;
  ShimVfs disk({.track_unsynced = true});
  const std::string path = folder.File("jobs.db");
  std::unique_ptr<SqliteJobStore> store =
      OpenJobs({.path = path, .vfs = disk.name()});
  absl::Mutex mutex;
  std::set<std::string> acknowledged;
  constexpr int kClients = 4;
  // Enough for several checkpoints of the log into the file (1000 pages each).
  constexpr int kJobs = 100;
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      for (int i = 0; i < kJobs; ++i) {
        const std::string id = absl::StrCat("j", c, "-", i);
        EXPECT_TRUE(store->Commit(Submit(id, 20000)).ok());
        absl::MutexLock lock(&mutex);
        acknowledged.insert(id);
      }
    });
  }
  for (uint64_t round = 0; round < 20; ++round) {
    std::set<std::string> before;
    {
      const size_t goal = round * (kClients * kJobs / 20);
      const auto reached = [&] { return acknowledged.size() >= goal; };
      absl::MutexLock lock(&mutex);
      mutex.Await(absl::Condition(&reached));
      before = acknowledged;
    }
    // Even rounds lose all that was not synced, odd ones a random half.
    const std::string copy = folder.File(absl::StrCat("copy-", round));
    ASSERT_TRUE(
        disk.CopyAfterPowerLoss(path, copy, round % 2 == 0 ? 0 : round).ok());
    std::unique_ptr<SqliteJobStore> survivor = OpenJobs({.path = copy});
    ASSERT_NE(survivor, nullptr);
    for (const std::string& id : before) {
      const absl::StatusOr<JobRecord> job = survivor->GetJob("default", id);
      ASSERT_TRUE(job.ok()) << "round " << round << ": " << job.status();
      EXPECT_EQ(job->spec, std::string(20000, 's'));
      EXPECT_EQ(survivor->ListEvents(id, 0, 10)->size(), 1u);
    }
    EXPECT_TRUE(survivor->Commit(Submit("after")).ok());
  }
  for (std::thread& client : clients) client.join();
}

// The oracle of the test above must be able to fail: without an fsync at each
// commit (synchronous=NORMAL) a power loss takes what was committed.
TEST(SqliteJobStore, APowerLossWithoutFsyncTakesEverything) {
  const TemporaryFolder folder;
  ShimVfs disk({.track_unsynced = true});
  const std::string path = folder.File("normal.db");
  {
    absl::StatusOr<std::unique_ptr<SqliteConnection>> connection =
        SqliteConnection::Open(
            {.path = path, .vfs = disk.name(), .full_sync = false});
    ASSERT_TRUE(connection.ok()) << connection.status();
    (*connection)->Execute("CREATE TABLE t(x)");
    (*connection)->Execute("INSERT INTO t VALUES (1)");
    ASSERT_TRUE(disk.CopyAfterPowerLoss(path, folder.File("copy.db"), 0).ok());
  }
  absl::StatusOr<std::unique_ptr<SqliteConnection>> survivor =
      SqliteConnection::Open({.path = folder.File("copy.db")});
  ASSERT_TRUE(survivor.ok()) << survivor.status();
  SqliteQuery tables(**survivor, "SELECT count(*) FROM sqlite_schema");
  ASSERT_TRUE(tables.Step());
  EXPECT_EQ(tables.Integer(0), 0);
}

// In the child: commits from four threads and writes each acknowledged id to
// the pipe until it is killed or has written `limit`.
[[noreturn]] void CommitUntilKilled(const std::string& path, int generation,
                                    int pipe, int limit) {
  absl::StatusOr<std::unique_ptr<SqliteJobStore>> store =
      SqliteJobStore::Create({.path = path});
  if (!store.ok()) _exit(1);
  std::vector<std::thread> threads;
  std::atomic<int> written = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0;; ++i) {
        const std::string id = absl::StrCat(generation, "-", t, "-", i);
        if (!(*store)->Commit(Submit(id, 2000)).ok()) _exit(2);
        const std::string line = id + "\n";
        if (write(pipe, line.data(), line.size()) !=
            static_cast<ssize_t>(line.size())) {
          _exit(3);
        }
        if (++written == limit) _exit(9);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  _exit(4);
}

TEST(SqliteJobStore, AnAcknowledgedTransactionSurvivesKill) {
  const TemporaryFolder folder;
  const std::string path = folder.File("jobs.db");
  std::set<std::string> acknowledged;
  for (int generation = 0; generation < 12; ++generation) {
    const bool exits_by_itself = generation % 3 == 2;
    const size_t goal = static_cast<size_t>(1 + 17 * generation);
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      CommitUntilKilled(path, generation, ends[1],
                        exits_by_itself ? static_cast<int>(goal) : -1);
    }
    close(ends[1]);
    std::string text;
    char buffer[4096];
    size_t lines = 0;
    bool killed = false;
    ssize_t bytes;
    while ((bytes = read(ends[0], buffer, sizeof(buffer))) > 0) {
      text.append(buffer, static_cast<size_t>(bytes));
      lines += static_cast<size_t>(std::count(buffer, buffer + bytes, '\n'));
      if (!exits_by_itself && !killed && lines >= goal) {
        ASSERT_EQ(kill(child, SIGKILL), 0);
        killed = true;
      }
    }
    close(ends[0]);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    if (exits_by_itself) {
      ASSERT_TRUE(WIFEXITED(status));
      ASSERT_EQ(WEXITSTATUS(status), 9);
    } else {
      ASSERT_TRUE(WIFSIGNALED(status)) << "exit " << WEXITSTATUS(status);
    }
    for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos;
         at = end + 1) {
      acknowledged.insert(text.substr(at, end - at));
    }
    ASSERT_GE(lines, goal);

    std::unique_ptr<SqliteJobStore> store = OpenJobs({.path = path});
    for (const std::string& id : acknowledged) {
      ASSERT_TRUE(store->GetJob("default", id).ok())
          << id << " of generation " << generation;
    }
  }
}

TEST(SqliteJobStore, RefusesASchemaFromTheFuture) {
  const TemporaryFolder folder;
  const std::string path = folder.File("jobs.db");
  OpenJobs({.path = path});
  {
    SQLite::Database database(path, SQLite::OPEN_READWRITE);
    database.exec("UPDATE schema_version SET version = 77");
  }
  const absl::Status refused = SqliteJobStore::Create({.path = path}).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(
      std::string(refused.message()),
      AllOf(HasSubstr(path), HasSubstr("77"),
            HasSubstr(absl::StrCat("up to ", JobStoreMigrations().size()))));
}

TEST(SqliteJobStore, RefusesTheDatabaseOfSomethingElse) {
  const TemporaryFolder folder;
  const std::string path = folder.File("other.db");
  {
    SQLite::Database database(path,
                              SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    database.exec("CREATE TABLE recipes(name TEXT)");
  }
  const absl::Status refused = SqliteJobStore::Create({.path = path}).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("is not ours"));
}

TEST(SqliteJobStore, RefusesAFileThatIsNoDatabase) {
  const TemporaryFolder folder;
  const std::string path = folder.File("jobs.db");
  std::ofstream(path) << std::string(10000, 'x');
  const absl::Status refused = SqliteJobStore::Create({.path = path}).status();
  EXPECT_TRUE(absl::IsDataLoss(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr(path), HasSubstr("backup")));
}

TEST(SqliteJobStore, NamesAFolderThatIsMissing) {
  const TemporaryFolder folder;
  const absl::Status refused =
      SqliteJobStore::Create({.path = folder.File("no/jobs.db")}).status();
  EXPECT_FALSE(refused.ok());
  EXPECT_THAT(std::string(refused.message()), HasSubstr(folder.File("no")));
}

}  // namespace
}  // namespace dasm
