// What `explain` says that a step sends, against the bytes that a gang of
// processes counts: the model is exact, for both exchanges and reductions.
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/file_system.h"
#include "common/base/temporary_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/planner/planner.h"
#include "server/planner/scaling_model.h"
#include "worker/collective/process_gang_for_tests.h"
#include "worker/engine/task/expert_blobs.h"
#include "worker/engine/task/fake_task_observer.h"
#include "worker/engine/task/task.h"
#include "worker/engine/task/tiny_gang.h"

namespace dasm {
namespace {

constexpr int kRanks = 3;

ResolvedDataset Resolved() {
  const TinyData data;
  return {.classes = data.classes,
          .channels = data.shape.channels,
          .height = data.shape.height,
          .width = data.shape.width,
          .train_images = data.classes * data.train_per_class,
          .test_images = data.classes * data.test_per_class};
}

NetworkSpec Network() {
  NetworkSpec network;
  network.depth = 2;
  network.width = 4;
  return network;
}

// Counted at each rank, of a whole task.
std::vector<int64_t> Sent(const TaskParameters& parameters,
                          const std::map<std::string, std::string>& inputs,
                          Reduction reduction, Exchange exchange,
                          bool trainer_rank = false) {
  const auto folder = *TemporaryDirectory::Create();
  TaskFiles files;
  files.output_dir = folder->path();
  for (const auto& [name, bytes] : inputs) {
    files.inputs[name] = absl::StrCat(folder->path(), "/in.", name);
    EXPECT_TRUE(
        WriteFileAtomically(LocalFileSystem(), files.inputs[name], bytes).ok());
  }
  ProcessGang::Options options;
  options.reduction = reduction;
  JoinedGang gang(std::vector<int>(kRanks, 1), options);
  std::vector<std::thread> ranks;
  for (const auto& rank : gang.ranks) {
    ranks.emplace_back([&, collective = rank.get()] {
      FakeTaskObserver observer;
      const auto outcome =
          RunTask(parameters, files, "cpu", collective, &observer,
                  {.exchange = exchange, .trainer_rank = trainer_rank});
      EXPECT_TRUE(outcome.ok()) << outcome.status();
    });
  }
  for (std::thread& rank : ranks) rank.join();
  std::vector<int64_t> bytes;
  for (const auto& process : gang.listening.processes) {
    bytes.push_back(process->payload_bytes_sent());
  }
  return bytes;
}

DistillSegmentParameters Matching() {
  DistillSegmentParameters p;
  p.images_per_class = 5;
  p.network = Network();
  p.matching.inits = 1;
  p.matching.real_batch = 8;
  p.matching.net_steps = 2;
  p.matching.net_batch = 10;
  p.execution.train_group = 4;
  return p;
}

// The second step of an init, with the training before it.
std::vector<int64_t> Counted(DistillSegmentParameters p, Reduction reduction,
                             Exchange exchange, bool trainer_rank) {
  const std::map<std::string, std::string> inputs = {
      {"dataset", TinyDatasetBlob({})}};
  p.matching.steps_per_init = 2;
  const auto two = Sent(p, inputs, reduction, exchange, trainer_rank);
  p.matching.steps_per_init = 3;
  auto step = Sent(p, inputs, reduction, exchange, trainer_rank);
  for (int rank = 0; rank < kRanks; ++rank) step[rank] -= two[rank];
  return step;
}

void ExpectExact(DistillSegmentParameters p) {
  for (const Reduction reduction : {Reduction::kOrdered, Reduction::kFast}) {
    p.fast_ranks = reduction == Reduction::kFast ? kRanks : 0;
    for (const Exchange exchange :
         {Exchange::kEveryStep, Exchange::kDeferred}) {
      const bool deferred = exchange == Exchange::kDeferred;
      const StepWork work = WorkOfStep(p, Resolved(), deferred);
      SCOPED_TRACE(absl::StrCat(deferred ? "deferred" : "every step",
                                p.fast_ranks > 0 ? ", fast" : ", ordered"));
      for (const bool trainer : {false, true}) {
        const StepWork called = trainer ? WithTrainer(work) : work;
        const auto counted = Counted(p, reduction, exchange, trainer);
        for (int rank = 0; rank < kRanks; ++rank) {
          EXPECT_EQ(StepBytesSent(called, kRanks, rank), counted[rank])
              << rank << (trainer ? " beside a trainer" : "");
        }
      }
    }
  }
}

TEST(StepBytes, OfWholeClassesAreThoseCounted) { ExpectExact(Matching()); }

TEST(StepBytes, OfSeveralNetworksWithBuffersAreThoseCounted) {
  DistillSegmentParameters p = Matching();
  p.network.norm = Norm::kBatch;
  p.matching.inits = 2;
  p.matching.inits_per_step = 2;
  ExpectExact(p);
}

TEST(StepBytes, OfASubsetAreItsRows) {
  DistillSegmentParameters p = Matching();
  p.synthesis.factor = 1;
  p.matching.synthetic_batch = 2;
  ExpectExact(p);
}

TEST(StepBytes, OfClassesInPartsAreThoseCounted) {
  for (const Layers layers :
       {Layers::kConvolutions, Layers::kWeights, Layers::kAll}) {
    DistillSegmentParameters p = Matching();
    p.matching.layers = layers;
    p.execution.micro_batch = 3;
    ExpectExact(p);
  }
}

MatchTrajectoriesParameters Path() {
  MatchTrajectoriesParameters p;
  p.images_per_class = 2;
  p.network = Network();
  p.matching.student_steps = 3;
  p.matching.batch = 4;
  p.matching.matched_epochs = 1;
  p.matching.start_epoch_max = 2;
  p.matching.start_epoch_initial = 2;
  p.matching.step_size = 0.01;
  p.execution.train_group = 2;
  p.execution.forward_group = 5;
  return p;
}

void ExpectExact(MatchTrajectoriesParameters p) {
  std::map<std::string, std::string> inputs = {
      {"dataset", TinyDatasetBlob({})}};
  inputs["expert.1"] =
      ExpertBlob(inputs["dataset"], p.network, /*epochs=*/4, /*seed=*/1);
  for (const Reduction reduction : {Reduction::kOrdered, Reduction::kFast}) {
    p.fast_ranks = reduction == Reduction::kFast ? kRanks : 0;
    p.matching.iterations = 1;
    const auto one = Sent(p, inputs, reduction, Exchange::kEveryStep);
    p.matching.iterations = 2;
    EXPECT_EQ(StepBytesSent(WorkOfStep(p, Resolved()), kRanks),
              Sent(p, inputs, reduction, Exchange::kEveryStep)[0] - one[0])
        << (p.fast_ranks > 0 ? "fast" : "ordered");
  }
}

TEST(StepBytes, OfAPathAreThoseCounted) {
  ExpectExact(Path());
  MatchTrajectoriesParameters p = Path();
  p.matching.estimator = Estimator::kTesla;
  ExpectExact(p);
}

TEST(StepBytes, OfLabelsAreThoseCounted) {
  for (const Labels labels : {Labels::kSoftLearned, Labels::kTeacher}) {
    MatchTrajectoriesParameters p = Path();
    p.matching.labels = labels;
    p.matching.label_learning_rate = labels == Labels::kSoftLearned ? 1 : 0;
    ExpectExact(p);
  }
}

TEST(StepBytes, OfSeveralPathsAreThoseCounted) {
  MatchTrajectoriesParameters p = Path();
  p.matching.trajectories_per_step = 4;
  ExpectExact(p);
  p.matching.labels = Labels::kSoftLearned;
  p.matching.label_learning_rate = 1;
  ExpectExact(p);
}

}  // namespace
}  // namespace dasm
