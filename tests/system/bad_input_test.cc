// Bad input gets an error that names the thing and the remedy, the right exit
// code, and leaves the service running and its data whole.
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/endpoint.h"
#include "common/rpc/grpc_status.h"
#include "dasm/worker/v1/worker_service.grpc.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/service.h"
#include "tests/support/tiny_dataset.h"
#include "tests/system/trajectory_job.h"

namespace dasm {
namespace {

using namespace testing_support;  // NOLINT
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr int kUsage = 2;
constexpr int kRefused = 5;
constexpr int kJobFailed = 10;

// A coordinator over a small data set; workers only where a task must run.
class BadInput : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_ / "data");
    WriteTinyDataset({}, folder_ / "data");
    service_ = std::make_unique<Service>(folder_.path(), folder_ / "data");
    ASSERT_THAT(service_->StartCoordinator(), StartsWith("ready "));
  }
  void TearDown() override {
    // Still serving, and a good job is still accepted.
    const Finished good =
        service_->Ctl({"submit", "-f", "-", "--dry-run"}, good_job_);
    EXPECT_EQ(good.exit_code, 0) << good.err;
    EXPECT_TRUE(service_->coordinator()->running());
  }
  Finished Submit(const std::string& job,
                  std::vector<std::string> settings = {}) {
    std::vector<std::string> arguments = {"submit", "-f", "-", "--dry-run"};
    for (const std::string& setting : settings) {
      arguments.insert(arguments.end(), {"--set", setting});
    }
    return service_->Ctl(arguments, job);
  }
  // The first line of stderr is "error: <field>: <message>".
  static void ExpectError(const Finished& finished, int exit_code,
                          const std::string& field,
                          const std::string& message) {
    EXPECT_EQ(finished.exit_code, exit_code) << finished.err;
    EXPECT_THAT(finished.err, AllOf(StartsWith(absl::StrCat("error: ", field)),
                                    HasSubstr(message)));
  }
  // Runs `job` to its failure and returns what describe says.
  std::string FailedJob(const std::string& job) {
    EXPECT_THAT(service_->StartWorker(), StartsWith("ready "));
    const Finished waited =
        service_->Ctl({"submit", "-f", "-", "--wait", "-o", "name"}, job);
    EXPECT_EQ(waited.exit_code, kJobFailed) << waited.err;
    return service_
        ->Ctl({"describe", std::string(absl::StripAsciiWhitespace(waited.out))})
        .out;
  }
  void Truncate(const std::string& file, int64_t bytes) {
    std::filesystem::resize_file(folder_ / ("data/" + file), bytes);
  }

  TemporaryFolder folder_;
  std::unique_ptr<Service> service_;
  std::string good_job_ = TinyJob();
};

TEST_F(BadInput, AnUnknownFieldIsNamedWithItsLineAndNeighbour) {
  ExpectError(Submit("name: x\nimages_per_clas: 2\n"), kUsage,
              "images_per_clas", "line 2");
  EXPECT_THAT(Submit("images_per_clas: 2\n").err,
              HasSubstr("images_per_class"));
}

TEST_F(BadInput, AMisspeltPresetGetsTheNearestOne) {
  ExpectError(Submit("preset: dasm-idc/fashion-mnst/ipc10\n"), kUsage, "preset",
              "dasm-idc/fashion-mnist/ipc10");
}

TEST_F(BadInput, AWrongTypeAndAWrongRangeAreNamed) {
  ExpectError(Submit(TinyJob(), {"images_per_class=two"}), kUsage,
              "images_per_class", "two");
  ExpectError(Submit(TinyJob(), {"matching.gradient.net_cutmix=1.5"}), kUsage,
              "matching.gradient.net_cutmix", "1");
}

TEST_F(BadInput, MoreImagesThanTheClassHasAreRefused) {
  ExpectError(Submit(TinyJob(), {"images_per_class=100",
                                 "sequence.dasm.segments=[50,50]"}),
              kUsage, "images_per_class", "80");
}

TEST_F(BadInput, SegmentsMustSumToTheImagesPerClass) {
  ExpectError(Submit(TinyJob(), {"sequence.dasm.segments=[1,2]"}), kUsage,
              "sequence.dasm.segments", "images_per_class");
}

TEST_F(BadInput, AFactorThatDoesNotFitTheImageIsRefused) {
  ExpectError(Submit(TinyJob(), {"synthesis.factor=40"}), kUsage,
              "synthesis.factor", "");
}

TEST_F(BadInput, AMissingDataFileIsNamedWithTheFoldersSearched) {
  std::filesystem::remove(folder_ / "data/train-labels");
  ExpectError(Submit(TinyJob()), kRefused, "dataset.idx.train_labels",
              "train-labels");
  WriteTinyDataset({}, folder_ / "data");
}

TEST_F(BadInput, ATruncatedDataFileIsNamed) {
  Truncate("train-images", 1000);
  ExpectError(Submit(TinyJob()), kRefused, "dataset", "train-images");
  WriteTinyDataset({}, folder_ / "data");
}

TEST_F(BadInput, ALabelFileOfAnotherLengthIsNamed) {
  TinyDataset longer;
  longer.train_per_class = 81;
  TemporaryFolder other;
  WriteTinyDataset(longer, other.path());
  std::filesystem::copy_file(other / "train-labels",
                             folder_ / "data/train-labels",
                             std::filesystem::copy_options::overwrite_existing);
  ExpectError(Submit(TinyJob()), kRefused, "dataset", "train-labels");
  WriteTinyDataset({}, folder_ / "data");
}

TEST_F(BadInput, APathOutOfTheDataFoldersIsRefused) {
  ExpectError(Submit(TinyJob(), {"dataset.idx.train_images=../../etc/passwd"}),
              kUsage, "dataset.idx.train_images", "..");
}

TEST_F(BadInput, APictureThatDoesNotDecodeFailsTheJobAsData) {
  for (const char* split : {"train", "test"}) {
    for (const char* label : {"a", "b"}) {
      const std::string folder =
          folder_ / absl::StrCat("data/pictures/", split, "/", label);
      std::filesystem::create_directories(folder);
      WriteText(folder + "/1.png", "\x89PNG\r\n\x1a\nnot really");
    }
  }
  std::string job = TinyJob();
  const size_t begin = job.find("dataset:"), end = job.find("images_per_class");
  job.replace(begin, end - begin,
              "dataset: {image_folder: {train: pictures/train, test: "
              "pictures/test, size: 16, channels: 1}}\n");
  const size_t two = job.find("images_per_class: 2");
  job.replace(two, 19, "images_per_class: 1");
  job.replace(job.find("segments: [1, 1]"), 16, "segments: [1]");
  job.replace(job.find("factor: 2"), 9, "factor: 1");
  job.replace(job.find("real_batch: 16"), 14, "real_batch: 1");
  job.replace(job.find("net_batch: 32"), 13, "net_batch: 2");
  const std::string described = FailedJob(job);
  EXPECT_THAT(described, AllOf(HasSubstr("DATA"), HasSubstr("1.png")));
}

TEST_F(BadInput, ASpecOfTenMegabytesIsRefusedAtOnce) {
  ExpectError(Submit(absl::StrCat("name: ", std::string(10 << 20, 'x'))),
              kUsage, "", "1 MiB");
}

TEST_F(BadInput, ANanInAnImportedSetFailsNamingItsPlace) {
  // A .npy of 3 images [3, 1, 16, 16] with one NaN.
  auto npy = [](const std::string& descr, const std::string& shape,
                const std::string& data) {
    std::string header =
        absl::StrCat("{'descr': '", descr,
                     "', 'fortran_order': False, 'shape': ", shape, ", }");
    header.append(63 - (10 + header.size()) % 64, ' ').append("\n");
    std::string text("\x93NUMPY\x01\x00", 8);
    text.push_back(static_cast<char>(header.size() & 255));
    text.push_back(static_cast<char>(header.size() >> 8));
    return text + header + data;
  };
  std::vector<float> pixels(3 * 256, 0.5f);
  pixels[300] = std::nanf("");
  const int64_t labels[3] = {0, 1, 2};
  WriteText(folder_ / "data/images.npy",
            npy("<f4", "(3, 1, 16, 16)",
                std::string(reinterpret_cast<const char*>(pixels.data()),
                            pixels.size() * 4)));
  WriteText(folder_ / "data/labels.npy",
            npy("<i8", "(3,)",
                std::string(reinterpret_cast<const char*>(labels), 24)));
  std::string job = TinyJob();
  const size_t begin = job.find("images_per_class"), end = job.find("network");
  job.replace(begin, end - begin, "");
  job.erase(job.find("matching:"),
            job.find("synthesis:") - job.find("matching:"));
  job.erase(job.find("sequence:"),
            job.find("evaluation:") - job.find("sequence:"));
  job.replace(job.find("synthesis: {factor: 2}"), 22, "synthesis: {factor: 1}");
  job.replace(job.find("baselines: [random, tiles, start]"), 33,
              "baselines: [none]");
  absl::StrAppend(&job,
                  "synthetic_set: {npy: {images: images.npy, labels: "
                  "labels.npy}}\n");
  const std::string described = FailedJob(job);
  EXPECT_THAT(described, AllOf(HasSubstr("DATA"), HasSubstr("images.npy")));
}

TEST_F(BadInput, ANonFiniteLossFailsAsNumericWithTheStep) {
  std::string job = TinyJob();
  // The weights grow by a factor of 9 a step until they overflow.
  job.replace(
      job.find("net_steps: 4"), 12,
      "net_steps: 16\n    net_learning_rate: 10.0\n    net_weight_decay: 1.0");
  const std::string described = FailedJob(job);
  EXPECT_THAT(described, AllOf(HasSubstr("NUMERIC"), HasSubstr("step")));
}

TEST_F(BadInput, ExpertsThatEndBeforeTheMatchingRangeAreRefused) {
  ExpectError(Submit(TinyTrajectoryJob(), {"experts.epochs=1"}), kUsage,
              "experts.epochs", "2");
}

TEST_F(BadInput, ABatchAboveTheSetIsRefusedWithTheWayToSayAllOfIt) {
  ExpectError(Submit(TinyTrajectoryJob(), {"matching.trajectory.batch=7"}),
              kUsage, "matching.trajectory.batch", "0");
}

TEST_F(BadInput, AStepSizeThatIsNegativeOrNotANumberIsRefused) {
  for (const char* value : {"-0.01", "0", ".nan", ".inf"}) {
    ExpectError(Submit(TinyTrajectoryJob(),
                       {absl::StrCat("matching.trajectory.step_size=", value)}),
                kUsage, "matching.trajectory.step_size", "");
  }
}

TEST_F(BadInput, SoftLabelsWithARecipeOfHardOnesAreRefused) {
  ExpectError(Submit(TinyTrajectoryJob(), {"evaluation.recipe=idc"}), kUsage,
              "evaluation.recipe", "trajectory");
}

// Before any work: arrays have no step size of their own.
TEST_F(BadInput, AnArrayWithARecipeThatLearnsItsRateIsRefused) {
  const std::string tiny = TinyJob();
  const std::string job = tiny.substr(0, tiny.find("images_per_class")) +
                          "synthetic_set: {npz: set.npz}\n"
                          "evaluation: {recipe: trajectory, repeats: 1}\n";
  ExpectError(Submit(job, {"evaluation.learning_rate=0"}), kUsage,
              "evaluation.learning_rate", "give a rate");
}

TEST_F(BadInput, WhiteningAbove64PixelsIsRefused) {
  std::string job = TinyTrajectoryJob();
  const size_t begin = job.find("dataset:"), end = job.find("images_per_class");
  job.replace(begin, end - begin,
              "dataset: {image_folder: {train: pictures, test: pictures, "
              "size: 96, channels: 3}, preprocessing: zca}\n");
  ExpectError(Submit(job), kUsage, "dataset.preprocessing", "64");
}

TEST_F(BadInput, AClassThatNoExpertRecognisesFailsAsDataWithItsName) {
  // All images of classes 0 and 2 are one picture, so that an expert calls
  // them by one name.
  std::string bytes = ReadText(folder_ / "data/train-images");
  constexpr size_t kHeader = 16, kImage = 256;
  for (size_t i = 3; kHeader + (i + 1) * kImage <= bytes.size(); ++i) {
    const size_t from = i % 3 == 1 ? 1 : 0;
    bytes.replace(kHeader + i * kImage, kImage, bytes, kHeader + from * kImage,
                  kImage);
  }
  bytes.replace(kHeader + 2 * kImage, kImage, bytes, kHeader, kImage);
  WriteText(folder_ / "data/train-images", bytes);
  std::string job = TinyTrajectoryJob();
  job.replace(job.find("count: 2"), 8, "count: 1");
  const std::string described = FailedJob(job);
  EXPECT_THAT(described, AllOf(HasSubstr("DATA"), HasSubstr("class"),
                               HasSubstr("init: real")));
  WriteTinyDataset({}, folder_ / "data");
}

TEST_F(BadInput, ASecondCoordinatorOnTheSameStateIsRefused) {
  const Finished second = RunToEnd(
      {Binary("dasm-coordinator"), "--state", service_->state("coordinator"),
       "--listen", absl::StrCat("unix:", folder_ / "second.sock")});
  ExpectError(second, kRefused, "state", "another");
}

TEST_F(BadInput, AnUnwritableStateFolderIsNamed) {
  const Finished refused =
      RunToEnd({Binary("dasm-coordinator"), "--state", "/proc/dasm", "--listen",
                absl::StrCat("unix:", folder_ / "second.sock")});
  ExpectError(refused, kRefused, "state", "/proc/dasm");
  const Finished run = RunToEnd({Binary("dasmctl"), "run", "-", "--output",
                                 folder_ / "out", "--state", "/proc/dasm"},
                                {}, absl::Minutes(1), TinyJob());
  ExpectError(run, kRefused, "state", "/proc/dasm");
}

TEST_F(BadInput, AnOpenAddressIsRefusedWithoutInsecure) {
  const Finished refused =
      RunToEnd({Binary("dasm-coordinator"), "--state", folder_ / "other",
                "--listen", "0.0.0.0:0"});
  ExpectError(refused, kUsage, "listen", "--insecure");
}

TEST_F(BadInput, AWorkerOfAnotherProtocolIsToldWhichSideToUpgrade) {
  auto stub = worker::v1::WorkerService::NewStub(Connect(service_->address()));
  worker::v1::SynchronizeRequest request;
  request.set_protocol(99);
  request.set_worker("from-the-future");
  grpc::ClientContext call;
  worker::v1::SynchronizeResponse response;
  const absl::Status status =
      FromGrpcStatus(stub->Synchronize(&call, request, &response));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("99"), HasSubstr("upgrade")));
}

TEST_F(BadInput, AStoreBelowItsFreeSpaceLimitTakesNoNewWork) {
  Service full(folder_ / "full", folder_ / "data");
  std::filesystem::create_directories(folder_ / "full");
  Process coordinator(
      {Binary("dasm-coordinator"), "--state", folder_ / "full/state",
       "--listen", full.address(), "--data", folder_ / "data", "--min-free",
       "1000000000000000"},
      folder_ / "full/log");
  ASSERT_THAT(coordinator.ReadLine(), StartsWith("ready "));
  const Finished refused = full.Ctl({"submit", "-f", "-"}, TinyJob());
  EXPECT_EQ(refused.exit_code, kRefused) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("free"));
  // Reading goes on.
  EXPECT_EQ(full.Ctl({"list"}).exit_code, 0);
}

TEST_F(BadInput, NobodyAnswersIsExitCodeSix) {
  const Finished finished =
      RunToEnd({Binary("dasmctl"), "--coordinator",
                absl::StrCat("unix:", folder_ / "nobody.sock"), "list"});
  EXPECT_EQ(finished.exit_code, 6) << finished.err;
}

TEST_F(BadInput, AnUnknownJobIsExitCodeThree) {
  EXPECT_EQ(service_->Ctl({"get", "jobs/j0000000000"}).exit_code, 3);
}

}  // namespace
}  // namespace dasm
