// A disk that is full, a real one: whoever needs it waits or is refused with an
// error that names it and the remedy, the service runs on, what it holds stays
// whole, and work goes on by itself once there is space again.
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/service.h"
#include "tests/support/small_disk.h"
#include "tests/support/tiny_dataset.h"

namespace dasm {
namespace {

using namespace testing_support;  // NOLINT
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr int kRefused = 5;
constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kDiskBytes = 16 * kMiB;

class FullDisk : public testing::Test {
 protected:
  static void SetUpTestSuite() { UnshareMounts(); }

  // `part`, "coordinator" or "worker", keeps its state on the small disk.
  void Start(const std::string& part, const std::string& min_free) {
    disk_ = std::make_unique<SmallDisk>(folder_ / part, kDiskBytes);
    std::filesystem::create_directories(folder_ / "data");
    WriteTinyDataset({}, folder_ / "data");
    service_ = std::make_unique<Service>(
        folder_.path(), folder_ / "data", /*lease=*/5,
        std::vector<std::string>{"--min-free", min_free});
    ASSERT_THAT(service_->StartCoordinator(), StartsWith("ready "));
    ASSERT_THAT(service_->StartWorker(), StartsWith("ready "));
  }
  // Jobs of different seeds share no result but the data set and the baselines.
  Finished Submit(int seed, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"submit",
                                          "-f",
                                          "-",
                                          "-o",
                                          "name",
                                          "--set",
                                          absl::StrCat("seed=", seed)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return service_->Ctl(arguments, TinyJob());
  }
  static std::string NameOf(const Finished& submitted) {
    return std::string(absl::StripAsciiWhitespace(submitted.out));
  }
  // Runs a job to its end and returns its name.
  std::string FinishedJob(int seed) {
    const Finished submitted = Submit(seed, {"--wait"});
    EXPECT_EQ(submitted.exit_code, 0) << submitted.err << Logs();
    return NameOf(submitted);
  }
  void ExpectWhole(const std::string& job) {
    const Finished verified = service_->Ctl({"verify", job});
    EXPECT_EQ(verified.exit_code, 0) << verified.err << Logs();
  }
  // What describe says of `job` once it holds `what`.
  std::string Described(const std::string& job, const std::string& what) {
    std::string described;
    EXPECT_TRUE(Eventually([&] {
      described = service_->Ctl({"describe", job}).out;
      return described.find(what) != std::string::npos;
    })) << described
        << Logs();
    return described;
  }
  void ExpectEndsWell(const std::string& job) {
    const Finished waited = service_->Ctl({"wait", job, "--timeout", "200"});
    EXPECT_EQ(waited.exit_code, 0)
        << waited.err << service_->Ctl({"describe", job}).out << Logs();
    ExpectWhole(job);
  }
  std::string Logs() {
    return absl::StrCat(service_->coordinator()->Log(),
                        service_->worker()->Log());
  }

  TemporaryFolder folder_;
  std::unique_ptr<SmallDisk> disk_;
  std::unique_ptr<Service> service_;
};

TEST_F(FullDisk, BelowTheCoordinatorsLimitResultsWaitAndNewJobsAreRefused) {
  Start("coordinator", "4MiB");
  const std::string finished = FinishedJob(1);
  // Pending while the worker is away.
  service_->KillWorker();
  const std::string waiting = NameOf(Submit(2));
  disk_->Fill(/*left=*/2 * kMiB);

  // The limit is looked at once a second.
  Finished refused;
  EXPECT_TRUE(Eventually([&] {
    refused = Submit(3);
    return refused.exit_code != 0;
  }));
  EXPECT_EQ(refused.exit_code, kRefused) << refused.err;
  EXPECT_THAT(refused.err, AllOf(StartsWith("error: "), HasSubstr("--min-free"),
                                 HasSubstr("free some space")));
  ASSERT_THAT(service_->StartWorker(), StartsWith("ready "));
  EXPECT_THAT(Described(waiting, "store is nearly full"),
              HasSubstr("free some space on the coordinator's disk"));
  ExpectWhole(finished);

  disk_->Free();
  ExpectEndsWell(waiting);
  EXPECT_TRUE(service_->coordinator()->running());
}

TEST_F(FullDisk, UnderTheCoordinatorToTheLastByteLosesNothing) {
  Start("coordinator", "0");
  const std::string finished = FinishedJob(1);
  const std::string running = NameOf(Submit(2));
  disk_->Fill();

  // Reading goes on, for a process of the disk's next life, too.
  ExpectWhole(finished);
  EXPECT_EQ(service_->Ctl({"list"}).exit_code, 0);
  EXPECT_TRUE(service_->coordinator()->running());

  disk_->Free();
  ExpectEndsWell(running);
  ExpectWhole(finished);
  EXPECT_TRUE(service_->coordinator()->running());
}

TEST_F(FullDisk, UnderAWorkerMakesItsTasksWait) {
  Start("worker", "0");
  const std::string finished = FinishedJob(1);
  disk_->Fill();
  const std::string waiting = NameOf(Submit(2));
  EXPECT_THAT(Described(waiting, "STORAGE"),
              AllOf(HasSubstr(service_->state("worker")),
                    HasSubstr("free some space")));
  ExpectWhole(finished);
  EXPECT_TRUE(service_->worker()->running());

  disk_->Free();
  ExpectEndsWell(waiting);
  EXPECT_TRUE(service_->worker()->running());
}

}  // namespace
}  // namespace dasm
