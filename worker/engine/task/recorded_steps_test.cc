// Whole tasks through a graph of steps: what a device may record has the bits
// of what is called, for every loop and any number of ranks.
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "worker/engine/device/step_graph_for_tests.h"
#include "worker/engine/task/expert_blobs.h"
#include "worker/engine/task/tiny_gang.h"

namespace dasm {
namespace {

using Inputs = std::map<std::string, std::string>;

const std::vector<Augmentation> kEvery = {
    Augmentation::kColor, Augmentation::kCrop,  Augmentation::kCutout,
    Augmentation::kFlip,  Augmentation::kScale, Augmentation::kRotate};

struct Case {
  std::string name;
  TaskParameters parameters;
  Inputs inputs;
  int ranks = 1;
  Exchange exchange = Exchange::kEveryStep;
  bool trainer_rank = false;
};

Inputs Dataset() { return {{"dataset", TinyDatasetBlob({})}}; }

NetworkSpec TinyNetwork() {
  NetworkSpec network;
  network.depth = 2;
  network.width = 4;
  return network;
}

DistillSegmentParameters Idc() {
  DistillSegmentParameters parameters;
  parameters.images_per_class = 3;
  parameters.network = TinyNetwork();
  parameters.matching.inits = 2;
  parameters.matching.steps_per_init = 4;
  parameters.matching.real_batch = 5;
  // Of 12 decoded images: not always of all three rows.
  parameters.matching.synthetic_batch = 4;
  parameters.matching.image_learning_rate = 0.05;
  parameters.matching.scale_learning_rate = false;
  parameters.matching.augmentation = kEvery;
  parameters.matching.net_steps = 2;
  parameters.matching.net_batch = 10;
  parameters.matching.net_augmentation = kEvery;
  parameters.matching.net_cutmix = 0.5;
  parameters.execution.train_group = 4;
  parameters.seed = 4;
  return parameters;
}

std::vector<Case> DistillCases() {
  std::vector<Case> cases = {{"whole classes", Idc(), Dataset()}};
  cases.push_back(cases[0]);
  cases.back().name = "two ranks";
  cases.back().ranks = 2;
  cases.push_back(cases.back());
  cases.back().name = "two ranks that exchange seldom";
  cases.back().exchange = Exchange::kDeferred;
  cases.push_back(cases[1]);
  cases.back().name = "two ranks, of which one trains";
  cases.back().trainer_rank = true;

  DistillSegmentParameters all = Idc();
  all.matching.synthetic_batch = 12;
  all.matching.distance = Distance::kCosine;
  all.matching.layers = Layers::kAll;
  all.matching.inits_per_step = 2;
  cases.push_back({"all images at two networks", all, Dataset()});
  all.network.norm = Norm::kBatch;
  cases.push_back({"batch norm", all, Dataset()});
  all.network.norm = Norm::kInstance;
  all.execution.micro_batch = 5;
  cases.push_back({"parts", all, Dataset(), 2});
  DistillSegmentParameters some = Idc();
  some.execution.micro_batch = 3;
  cases.push_back({"parts of some images", some, Dataset()});
  return cases;
}

Inputs Experts(Norm norm) {
  NetworkSpec network = TinyNetwork();
  network.norm = norm;
  Inputs inputs = Dataset();
  for (int e : {1, 2}) {
    inputs[absl::StrCat("expert.", e)] =
        ExpertBlob(inputs["dataset"], network, /*epochs=*/3, e);
  }
  return inputs;
}

MatchTrajectoriesParameters Trajectories() {
  MatchTrajectoriesParameters parameters;
  parameters.images_per_class = 2;
  parameters.network = TinyNetwork();
  parameters.matching.iterations = 3;
  parameters.matching.student_steps = 6;
  parameters.matching.batch = 5;
  parameters.matching.matched_epochs = 1;
  parameters.matching.start_epoch_max = 2;
  parameters.matching.start_epoch_initial = 2;
  parameters.matching.image_learning_rate = 0.5;
  parameters.matching.step_size = 0.05;
  parameters.matching.step_size_learning_rate = 1e-4;
  parameters.matching.augmentation = kEvery;
  parameters.execution.train_group = 2;
  return parameters;
}

std::vector<Case> TrajectoryCases() {
  const Inputs experts = Experts(Norm::kInstance);
  std::vector<Case> cases = {{"hard labels", Trajectories(), experts}};
  MatchTrajectoriesParameters soft = Trajectories();
  soft.matching.labels = Labels::kSoftLearned;
  soft.matching.label_learning_rate = 1;
  cases.push_back({"learned labels", soft, experts, 2});
  soft.matching.trajectories_per_step = 3;
  cases.push_back({"several trajectories", soft, experts, 2});
  MatchTrajectoriesParameters teacher = Trajectories();
  teacher.matching.labels = Labels::kTeacher;
  teacher.matching.trajectories_per_step = 2;
  teacher.execution.forward_group = 4;  // of 6 images
  cases.push_back({"labels of the teacher", teacher, experts, 2});
  MatchTrajectoriesParameters tesla = Trajectories();
  tesla.matching.estimator = Estimator::kTesla;
  tesla.matching.augmentation = {};
  cases.push_back({"tesla", tesla, experts});
  MatchTrajectoriesParameters batch = Trajectories();
  batch.network.norm = Norm::kBatch;
  cases.push_back({"batch norm", batch, Experts(Norm::kBatch)});
  return cases;
}

std::vector<Case> ExpertCases() {
  TrainExpertsParameters sgd;
  sgd.count = 2;
  sgd.network = TinyNetwork();
  sgd.training.epochs = 2;
  sgd.training.batch = 20;
  sgd.training.learning_rate = 0.05;
  sgd.training.augmentation = kEvery;
  sgd.execution.train_group = 6;
  sgd.execution.forward_group = 50;  // of 72 images
  TrainExpertsParameters gsam = sgd;
  gsam.training.optimizer = ExpertOptimizer::kGsam;
  gsam.training.gsam_rho = 0.1;
  return {{"sgd", sgd, Dataset()}, {"gsam", gsam, Dataset(), 2}};
}

// Of a trained network.
std::vector<Case> ScoreCases() {
  TrainDiscriminatorParameters trained;
  trained.real = true;
  trained.network = TinyNetwork();
  trained.training.steps = 3;
  trained.training.batch = 8;
  TinyGang gang;
  Inputs inputs = Dataset();
  inputs["weights"] = gang.Run(trained, inputs).outputs.at("weights");
  ScoreSamplesParameters parameters;
  parameters.network = TinyNetwork();
  parameters.grand = true;
  parameters.execution.forward_group = 10;  // of 72 images
  return {{"alone", parameters, inputs}, {"two ranks", parameters, inputs, 2}};
}

// Of a distilled set.
std::vector<Case> EvaluationCases() {
  TinyGang gang;
  Inputs inputs = Dataset();
  inputs["set.1"] = gang.Run(Idc(), inputs).outputs.at("segment");
  EvaluateParameters parameters;
  parameters.network = TinyNetwork();
  parameters.training.steps = 9;
  parameters.training.batch = 8;
  parameters.training.cutmix = 0.5;
  parameters.training.augmentation = kEvery;
  parameters.execution.train_group = 3;
  parameters.execution.forward_group = 7;
  return {{"alone", parameters, inputs}, {"two ranks", parameters, inputs, 2}};
}

struct Task {
  const char* name;
  std::vector<Case> (*cases)();
};

void PrintTo(const Task& task, std::ostream* out) { *out << task.name; }

class RecordedSteps : public ::testing::TestWithParam<Task> {};

TEST_P(RecordedSteps, GiveTheOutputsOfCalledOnes) {
  for (const Case& c : GetParam().cases()) {
    SCOPED_TRACE(c.name);
    TinyGang gang;
    gang.ranks = c.ranks;
    gang.options.exchange = c.exchange;
    gang.options.trainer_rank = c.trainer_rank;
    const GangRun called = gang.Run(c.parameters, c.inputs);
    ASSERT_TRUE(called.status.ok()) << called.status;
    ReplayCounts counts;
    gang.options.make_graph = [&counts] {
      return std::make_unique<ReplayingStepGraph>(&counts);
    };
    const GangRun recorded = gang.Run(c.parameters, c.inputs);
    ASSERT_TRUE(recorded.status.ok()) << recorded.status;
    EXPECT_EQ(recorded.outputs, called.outputs);
    EXPECT_EQ(recorded.observer.series, called.observer.series);
    EXPECT_GT(counts.runs, counts.records);
    EXPECT_EQ(counts.host_reads, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Of, RecordedSteps,
    ::testing::Values(Task{"DistillSegment", &DistillCases},
                      Task{"MatchTrajectories", &TrajectoryCases},
                      Task{"TrainExperts", &ExpertCases},
                      Task{"ScoreSamples", &ScoreCases},
                      Task{"Evaluate", &EvaluationCases}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace dasm
