// Runners that really run out of host memory, by a limit on what they may
// allocate: the job says what would fit, or goes on with a smaller micro-batch
// as an action of its own.
#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/cluster.h"
#include "tests/support/service.h"
#include "tests/support/tiny_dataset.h"
#include "tests/system/gang_job.h"

namespace dasm {
namespace {

using namespace testing_support;  // NOLINT
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr int kFailed = 10;
// A class of the job below at once takes more than 1 GiB, most of it in one
// layer's activations (512 images of half a MiB, several times); a runner with
// a few images takes 200 MB. The limit is far from both.
constexpr int64_t kMemoryBytes = 400'000'000;
constexpr int kRealBatch = 512;

// Wide and of one layer: much memory and little arithmetic.
std::string LargeJob() {
  return absl::StrCat(R"(name: large
dataset:
  idx:
    train_images: train-images
    train_labels: train-labels
    test_images: test-images
    test_labels: test-labels
images_per_class: 1
network: {name: convnet, depth: 1, width: 128, norm: instance}
matching:
  gradient:
    inits: 1
    steps_per_init: 2
    real_batch: )",
                      kRealBatch, R"(
    image_learning_rate: 0.01
    net_steps: 1
    net_batch: 32
synthesis: {factor: 2}
sequence: {one_segment: {}}
evaluation: {repeats: 1, steps: 5, baselines: [none]}
execution: {forward_group: 16}
)");
}

class OutOfMemory : public testing::Test {
 protected:
  void SetUp() override {
    WriteTinyDataset({.classes = 2,
                      .side = 32,
                      .train_per_class = kRealBatch,
                      .test_per_class = 20},
                     folder_.path());
    WriteText(folder_ / "job.yaml", LargeJob());
    ASSERT_EQ(mkdir((folder_ / "cluster").c_str(), 0700), 0);
    Cluster::Options options;
    options.folder = folder_ / "cluster";
    options.data = folder_.path();
    cluster_ = std::make_unique<Cluster>(options);
    ASSERT_THAT(cluster_->StartCoordinator(), StartsWith("ready "));
    ASSERT_THAT(cluster_->StartWorker("a", 1, {.memory_bytes = kMemoryBytes}),
                StartsWith("ready "))
        << cluster_->Logs();
  }
  nlohmann::json Segment(const std::string& job) {
    const Finished described = cluster_->Ctl({"describe", job, "-o", "json"});
    const auto view = nlohmann::json::parse(described.out, nullptr, false);
    EXPECT_TRUE(view.is_object()) << described.out << described.err;
    if (!view.is_object()) return {};
    for (const nlohmann::json& task : view["tasks"]) {
      if (task["kind"] == "distill_segment") return task;
    }
    ADD_FAILURE() << "no segment in " << described.out;
    return {};
  }

  TemporaryFolder folder_;
  std::unique_ptr<Cluster> cluster_;
};

TEST_F(OutOfMemory, EndsTheJobAndNamesTheMicroBatchToSet) {
  const std::string job = cluster_->Submit(folder_ / "job.yaml", {});
  const Finished waited = cluster_->Ctl({"wait", job, "--timeout", "200"});
  EXPECT_EQ(waited.exit_code, kFailed) << waited.err << cluster_->Logs();
  EXPECT_THAT(
      cluster_->Ctl({"describe", job}).out,
      AllOf(HasSubstr("OOM_HOST"), HasSubstr("execution.micro_batch to 256"),
            HasSubstr("resources.on_oom to replan")));
  cluster_->ExpectNothingLeft();
}

TEST_F(OutOfMemory, IsPlannedAnewUnderAKeyOfItsOwnAndEndsWithASet) {
  const std::string job =
      cluster_->Submit(folder_ / "job.yaml", {"resources.on_oom=replan"});
  const std::string digest = cluster_->AwaitDigest(job, folder_ / "out");
  ASSERT_NE(digest, "");
  EXPECT_GT(cluster_->CountInLogs("class=OOM_HOST"), 0) << cluster_->Logs();

  const auto report =
      nlohmann::json::parse(ReadText(folder_ / "out/report.json"));
  ASSERT_TRUE(report.contains("replanned")) << report;
  EXPECT_EQ(report["replanned"][0]["task"], "segment-1");
  const int micro_batch = report["replanned"][0]["micro_batch"];
  EXPECT_LT(micro_batch, kRealBatch);
  EXPECT_EQ(report["reproducible"], true);

  // What ran is the action of a job that asks for this micro-batch: it finds
  // the result, and nothing runs for it.
  const std::string setting =
      absl::StrCat("execution.micro_batch=", micro_batch);
  const int started = cluster_->CountStarts(0, 1);
  const std::string same = cluster_->Submit(folder_ / "job.yaml", {setting});
  EXPECT_EQ(cluster_->AwaitDigest(same, folder_ / "same"), digest);
  EXPECT_EQ(Segment(same)["action_key"], Segment(job)["action_key"]);
  EXPECT_EQ(cluster_->CountStarts(0, 1), started) << cluster_->Logs();

  // And has the bits of one that never ran out of memory.
  EXPECT_EQ(DigestOfOneRank(folder_, {setting}), digest);
  cluster_->ExpectNothingLeft();
}

}  // namespace
}  // namespace dasm
