// A gang whose rank 0 trains and whose other ranks match: the bits of one rank,
// and who computes what.
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/engine/task/tiny_gang.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;
using Wish = TaskObserver::Wish;

struct Case {
  const char* name;
  Norm norm = Norm::kInstance;
  int inits_per_step = 1;
  int micro_batch = 0;
};

// Three matching steps an init, of which the last trains nothing.
DistillSegmentParameters ParametersOf(const Case& c) {
  DistillSegmentParameters parameters;
  parameters.images_per_class = 2;
  parameters.network.depth = 2;
  parameters.network.width = 4;
  parameters.network.norm = c.norm;
  parameters.matching.inits = 2 * c.inits_per_step;
  parameters.matching.inits_per_step = c.inits_per_step;
  parameters.matching.steps_per_init = 3;
  parameters.matching.real_batch = 8;
  parameters.matching.synthetic_batch = 6;
  parameters.matching.image_learning_rate = 0.05;
  parameters.matching.scale_learning_rate = false;
  parameters.matching.augmentation = {Augmentation::kColor,
                                      Augmentation::kCrop};
  // Not a multiple of the three classes, between which micro-batches train.
  parameters.matching.net_steps = 4;
  parameters.matching.net_batch = 12;
  parameters.matching.net_augmentation = {Augmentation::kCrop};
  parameters.seed = 4;
  parameters.execution.train_group = 4;
  parameters.execution.micro_batch = c.micro_batch;
  return parameters;
}

const std::map<std::string, std::string>& TinyInputs() {
  static const auto* inputs =
      new std::map<std::string, std::string>{{"dataset", TinyDatasetBlob({})}};
  return *inputs;
}

class TrainerRank : public ::testing::TestWithParam<Case> {};

TEST_P(TrainerRank, HasTheBitsOfOneRankWhateverTheGangAndTheExchange) {
  const DistillSegmentParameters parameters = ParametersOf(GetParam());
  TinyGang gang;
  // Where networks begin, in the middle of an init, and after its last step.
  gang.wishes = {
      {0, Wish::kCheckpoint}, {2, Wish::kCheckpoint}, {3, Wish::kCheckpoint}};
  const GangRun one = gang.Run(parameters, TinyInputs());
  ASSERT_TRUE(one.status.ok()) << one.status;
  ASSERT_EQ(one.observer.checkpoints.size(), 3);
  gang.options.trainer_rank = true;
  for (const Exchange exchange : {Exchange::kEveryStep, Exchange::kDeferred}) {
    gang.options.exchange = exchange;
    // One rank has nobody to leave the matching to, and does everything.
    for (gang.ranks = 1; gang.ranks <= 4; ++gang.ranks) {
      SCOPED_TRACE(absl::StrCat(
          gang.ranks, exchange == Exchange::kDeferred ? " deferred" : ""));
      const GangRun many = gang.Run(parameters, TinyInputs());
      ASSERT_TRUE(many.status.ok()) << many.status;
      EXPECT_EQ(many.outputs, one.outputs);
      EXPECT_EQ(many.summary, one.summary);
      EXPECT_EQ(many.observer.series, one.observer.series);
      EXPECT_EQ(many.observer.checkpoints, one.observer.checkpoints);
    }
  }
}

TEST_P(TrainerRank, ItsCheckpointsGoOnWithoutItAndOthersWithIt) {
  const DistillSegmentParameters parameters = ParametersOf(GetParam());
  TinyGang gang;
  const GangRun whole = gang.Run(parameters, TinyInputs());
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  struct Gang {
    int ranks;
    bool trainer_rank;
    Exchange exchange = Exchange::kEveryStep;
  };
  const std::vector<std::pair<Gang, Gang>> changes = {
      {{3, true}, {1, false}},
      {{1, false}, {3, true}},
      {{4, true, Exchange::kDeferred}, {2, true}},
      {{2, false}, {4, true, Exchange::kDeferred}}};
  for (int64_t step = 1; step < 6; ++step) {
    const auto& [before, after] = changes[step % changes.size()];
    gang.ranks = before.ranks;
    gang.options.trainer_rank = before.trainer_rank;
    gang.options.exchange = before.exchange;
    gang.checkpoint.clear();
    gang.wishes = {{step, Wish::kStop}};
    const GangRun stopped = gang.Run(parameters, TinyInputs());
    for (const absl::Status& status : stopped.all) {
      EXPECT_EQ(FailureClassOf(status), FailureClass::kPreempted) << status;
    }
    ASSERT_EQ(stopped.observer.checkpoints.count(step), 1);
    gang.ranks = after.ranks;
    gang.options.trainer_rank = after.trainer_rank;
    gang.options.exchange = after.exchange;
    gang.wishes = {};
    gang.checkpoint = stopped.observer.checkpoints.at(step);
    const GangRun resumed = gang.Run(parameters, TinyInputs());
    ASSERT_TRUE(resumed.status.ok()) << resumed.status;
    EXPECT_EQ(resumed.outputs, whole.outputs) << step;
    EXPECT_EQ(resumed.summary, whole.summary) << step;
  }
}

// Forgets nothing of what a rank ran, by the kind of step.
class CountingStepGraph final : public StepGraph {
 public:
  struct Counts {
    std::atomic<int> trained = 0;
    std::atomic<int> matched = 0;
  };
  explicit CountingStepGraph(Counts* counts) : counts_(*counts) {}

  Tensors Run(const std::string& key, const Tensors& inputs,
              const Step& step) override {
    ++(key.starts_with("train ") ? counts_.trained : counts_.matched);
    return step(inputs);
  }

 private:
  Counts& counts_;
};

TEST_P(TrainerRank, TrainsAllAndMatchesNothing) {
  TinyGang gang;
  gang.ranks = 3;
  gang.options.trainer_rank = true;
  // By rank: a rank's graph is made on its thread.
  std::vector<CountingStepGraph::Counts> counts(gang.ranks);
  gang.make_graph_of_rank = [&counts](int rank) {
    return std::make_unique<CountingStepGraph>(&counts[rank]);
  };
  const GangRun run = gang.Run(ParametersOf(GetParam()), TinyInputs());
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(counts[0].matched, 0);
  // Two inits of two matching steps that train.
  const int batches = 2 * 2 * 4 * GetParam().inits_per_step;
  // BatchNorm couples the 12 images of a batch, else there are 4 in a slice.
  EXPECT_EQ(counts[0].trained,
            batches * (GetParam().norm == Norm::kBatch ? 1 : 3));
  for (const int rank : {1, 2}) {
    EXPECT_EQ(counts[rank].trained, 0) << rank;
    EXPECT_GT(counts[rank].matched, 0) << rank;
  }
}

TEST_P(TrainerRank, ANonFiniteTrainingLossIsTheSameErrorOnEveryRank) {
  DistillSegmentParameters parameters = ParametersOf(GetParam());
  parameters.matching.net_learning_rate = 1e30;
  TinyGang gang;
  const GangRun one = gang.Run(parameters, TinyInputs());
  ASSERT_EQ(FailureClassOf(one.status), FailureClass::kNumeric) << one.status;
  ASSERT_THAT(std::string(one.status.message()),
              HasSubstr("step 0, network 0, network step"));
  gang.options.trainer_rank = true;
  for (gang.ranks = 2; gang.ranks <= 3; ++gang.ranks) {
    for (const absl::Status& status : gang.Run(parameters, TinyInputs()).all) {
      EXPECT_EQ(status, one.status);
    }
  }
}

TEST_P(TrainerRank, ANonFiniteMatchLeavesTheCheckpointOfOneRank) {
  const DistillSegmentParameters parameters = ParametersOf(GetParam());
  TinyGang gang;
  gang.wishes = {{1, Wish::kCheckpoint}};
  const std::string good =
      gang.Run(parameters, TinyInputs()).observer.checkpoints.at(1);
  gang.wishes = {};
  gang.ranks = 2;
  gang.options.trainer_rank = true;
  // Of the last rank, which matches. A step calls poll, the exchanges of
  // matching and the networks' row.
  const bool in_parts = GetParam().micro_batch > 0;
  const int exchanges = in_parts ? 2 * 3 * GetParam().inits_per_step : 1;
  gang.fault = {CollectiveFault::Kind::kNan, 1 + exchanges + 1 + 1};
  const GangRun run = gang.Run(parameters, TinyInputs());
  for (const absl::Status& status : run.all) {
    EXPECT_EQ(FailureClassOf(status), FailureClass::kNumeric) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("step 1 "));
  }
  // Rank 0 was a step ahead by then.
  ASSERT_EQ(run.observer.checkpoints.count(1), 1);
  EXPECT_EQ(run.observer.checkpoints.at(1), good);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, TrainerRank,
    ::testing::Values(Case{"Plain"}, Case{"BatchNorm", Norm::kBatch},
                      Case{"TwoInits", Norm::kInstance, 2},
                      Case{"Parts", Norm::kInstance, 1, 3},
                      Case{"TwoInitsInParts", Norm::kInstance, 2, 5}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace dasm
