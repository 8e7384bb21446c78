#include "worker/engine/task/find_range.h"

#include <ATen/ATen.h>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "gtest/gtest.h"
#include "worker/engine/dataset/tensor_view.h"
#include "worker/engine/task/expert_blobs.h"
#include "worker/engine/task/tiny_gang.h"

namespace dasm {
namespace {

using Wish = TaskObserver::Wish;

constexpr int kSearchedEpochs = 6;

FindRangeParameters TinySearch() {
  FindRangeParameters parameters;
  parameters.images_per_class = 1;
  parameters.network.depth = 2;
  parameters.network.width = 4;
  parameters.matching.student_steps = 2;
  parameters.matching.matched_epochs = 1;
  parameters.matching.image_learning_rate = 0.5;
  parameters.matching.step_size = 0.05;
  parameters.matching.labels = Labels::kSoftFixed;
  parameters.iterations = 2;
  parameters.window = 2;
  parameters.seed = 3;
  parameters.execution.train_group = 2;
  return parameters;
}

const std::map<std::string, std::string>& SearchInputs() {
  static const auto* inputs = [] {
    auto* made = new std::map<std::string, std::string>{
        {"dataset", TinyDatasetBlob({})}};
    for (const auto& [name, seed] :
         {std::pair("expert.1", 1), std::pair("expert.2", 2),
          std::pair("probe", 3)}) {
      (*made)[name] = ExpertBlob(made->at("dataset"), TinySearch().network,
                                 kSearchedEpochs, seed);
    }
    return made;
  }();
  return *inputs;
}

int64_t Number(const SafetensorsFile& file, const std::string& name) {
  return CopyTensor(file.tensors().at(name)).item<int64_t>();
}

TEST(FindRange, WritesARangeInsideTheExpertsWithItsCurves) {
  TinyGang gang;
  const GangRun run = gang.Run(TinySearch(), SearchInputs());
  ASSERT_TRUE(run.status.ok()) << run.status;
  const auto file = *SafetensorsFile::Parse(run.outputs.at("range"));
  const int64_t min = Number(*file, "start_epoch_min");
  const int64_t initial = Number(*file, "start_epoch_initial");
  const int64_t max = Number(*file, "start_epoch_max");
  EXPECT_GE(min, 0);
  EXPECT_GT(initial, min);
  EXPECT_LE(initial, max);
  EXPECT_LE(max, kSearchedEpochs);
  const int64_t probes = run.summary["probes"];
  EXPECT_GE(probes, 2);
  EXPECT_EQ(run.summary["start_epoch_max"], max);
  // A probe's losses are those of each start epoch.
  EXPECT_EQ(file->tensors().at("probe_loss").shape,
            (std::vector<int64_t>{probes, kSearchedEpochs}));
  const at::Tensor bounds = CopyTensor(file->tensors().at("probe_bounds"));
  EXPECT_TRUE(bounds[0].equal(at::tensor({0, 0}, at::kLong)));
  EXPECT_TRUE(bounds[1].equal(at::tensor({0, 2}, at::kLong)));
  EXPECT_EQ(
      static_cast<int64_t>(run.observer.series.at("matching_loss").size()),
      (probes - 1) * 2);
}

TEST(FindRange, RanksAndInterruptionsChangeNoBit) {
  TinyGang gang;
  const GangRun whole = gang.Run(TinySearch(), SearchInputs());
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  const int64_t polls = 2 * (whole.summary["probes"].get<int64_t>() - 1);
  EXPECT_EQ(whole.observer.polls, polls);
  for (int64_t poll = 0; poll < polls; ++poll) {
    gang.ranks = 2;
    gang.checkpoint.clear();
    gang.wishes = {{poll, Wish::kStop}};
    const GangRun stopped = gang.Run(TinySearch(), SearchInputs());
    EXPECT_EQ(FailureClassOf(stopped.status), FailureClass::kPreempted);
    ASSERT_EQ(stopped.observer.checkpoints.size(), 1);
    gang.ranks = 1;
    gang.wishes = {};
    gang.checkpoint = stopped.observer.checkpoints.begin()->second;
    const GangRun resumed = gang.Run(TinySearch(), SearchInputs());
    ASSERT_TRUE(resumed.status.ok()) << resumed.status;
    EXPECT_EQ(resumed.outputs, whole.outputs) << poll;
    // No iteration is made twice.
    EXPECT_EQ(resumed.observer.polls, polls - poll);
  }
}

}  // namespace
}  // namespace dasm
