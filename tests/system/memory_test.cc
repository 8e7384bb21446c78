// What runners took of memory, through the real binaries: it is shown beside
// what was predicted, and the prediction is near it.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/cluster.h"
#include "tests/support/service.h"
#include "tests/support/tiny_dataset.h"

namespace dasm {
namespace {

using namespace testing_support;  // NOLINT
using testing::HasSubstr;

// A runner may take this many times what was predicted, and takes at least this
// part of it. Such small tasks are nearly nothing but the runner itself; what
// large ones keep is measured by tests/bench and held in task_cost_test.cc.
constexpr double kMost = 1.3;
constexpr double kLeast = 0.6;

TEST(Memory, OfEveryRankIsKnownAndNearThePrediction) {
  const TemporaryFolder folder;
  WriteTinyDataset({}, folder.path());
  WriteText(folder / "job.yaml", TinyJob());
  Cluster cluster({.folder = folder.path(), .data = folder.path()});
  ASSERT_NE(cluster.StartCoordinator(), "");
  ASSERT_NE(cluster.StartWorker("a", 2), "");
  // Wide enough that a rank keeps some tens of megabytes.
  const std::string job = cluster.Submit(
      folder / "job.yaml", {"resources.ranks=2", "network.width=64"});
  ASSERT_NE(cluster.AwaitDigest(job, folder / "out"), "") << cluster.Logs();

  const Finished shown = cluster.Ctl({"describe", job, "-o", "json"});
  ASSERT_EQ(shown.exit_code, 0) << shown.err;
  const auto described = nlohmann::json::parse(shown.out);
  int64_t highest = 0;
  const auto bytes = [](const nlohmann::json& object, const char* name) {
    return std::stoll(object.at(name).get<std::string>());
  };
  for (const auto& task : described["tasks"]) {
    const std::string name = task["name"];
    const bool gang = task["kind"] == "distill_segment";
    ASSERT_TRUE(task.contains("memory")) << name;
    EXPECT_EQ(task["memory"].size(), gang ? 2 : 1) << name;
    const auto predicted =
        static_cast<double>(bytes(task, "predicted_memory_bytes"));
    for (const auto& rank : task["memory"]) {
      const int64_t taken = bytes(rank, "host_bytes");
      highest = std::max(highest, taken);
      EXPECT_LT(static_cast<double>(taken), kMost * predicted) << name;
      EXPECT_GT(static_cast<double>(taken), kLeast * predicted) << name;
    }
  }
  const auto report =
      nlohmann::json::parse(ReadText(folder / "out/report.json"));
  EXPECT_EQ(report["memory"]["peak_host_bytes"], highest);
  EXPECT_THAT(cluster.Ctl({"describe", job}).out,
              HasSubstr("highest memory of a rank"));
}

}  // namespace
}  // namespace dasm
