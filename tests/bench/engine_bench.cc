// What the hot loops of the engine cost, on Fashion-MNIST at IDC's published
// shape (width 128, 10 images a class, factor 2): one matching pass over the
// ten classes, one network step on 64 real images, both together as the inner
// step of a distillation (a pass and 8 network steps), one evaluation epoch of
// 100 images, testing 10,000 images, and the runner's peak memory.
//
//   engine_bench [--threads T] [--passes N] [--data DIR]
//
// Prints one JSON object. Everything is timed by itself, medians over single
// steps; the machine's noise is the reader's business
// (tests/bench/compare_public_idc pairs runs, rank_bench compares ranks).
#include <iostream>
#include <numeric>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "nlohmann/json.hpp"
#include "tests/bench/bench_process.h"
#include "tests/bench/idc_bench.h"
#include "tests/support/process.h"
#include "worker/collective/thread_collective.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/network/network.h"
#include "worker/engine/shard/gang_for_tests.h"
#include "worker/engine/trainer/trainer.h"
#include "worker/runner/peak_memory.h"

namespace dasm {
namespace {

using bench::Idc;
using bench::Median;
using bench::Require;
using bench::Stopwatch;

constexpr int kNetSteps = 8;

class Bench {
 public:
  Bench(int threads, const std::string& data) : threads_(threads) {
    files_.inputs["dataset"] = folder_ / "dataset";
    files_.output_dir = folder_.path();
    bench::PrepareFashionMnist(data, files_.inputs["dataset"]);
  }

  // Runs the task on every rank; returns the seconds from the last step to the
  // end of the task.
  double Run(const TaskParameters& parameters, Stopwatch* stopwatch) {
    const auto gang = Gang();
    const TaskOutcome outcome =
        bench::RunRanks(parameters, files_, gang, {}, stopwatch);
    for (const auto& [name, file] : outcome.outputs) {
      files_.inputs[name] = folder_ / file;
    }
    return bench::Now() - stopwatch->last();
  }

  // Seconds of each of `steps` network steps, as a distillation makes them.
  std::vector<double> NetSteps(int steps) {
    const DistillSegmentParameters idc = Idc(1, 0);
    const auto data = ImageData::Open(files_.inputs["dataset"]);
    Require(data.status());
    const auto network =
        MakeNetwork(idc.network, (*data)->shape(), (*data)->classes());
    Require(network.status());
    StepOptions options;
    options.learning_rate = idc.matching.net_learning_rate;
    options.momentum = idc.matching.net_momentum;
    options.weight_decay = idc.matching.net_weight_decay;
    options.augmentation = {AugmentationFlavour::kIdc,
                            idc.matching.net_augmentation};
    options.cutmix = idc.matching.net_cutmix;
    std::vector<double> marks;
    const auto gang = Gang();
    dasm::RunRanks(gang, [&](Collective* rank) {
      InitEngine();  // of this thread
      Trainer trainer(network->get(), idc.execution, 1, "bench", rank,
                      at::kCPU);
      TrainingState state = trainer.Start();
      std::vector<int64_t> batch(idc.matching.net_batch);
      for (int k = 0; k <= steps; ++k) {
        std::iota(batch.begin(), batch.end(), k * idc.matching.net_batch);
        Require(trainer
                    .QueueStep((*data)->train(), batch, options,
                               {0, static_cast<uint32_t>(k)}, &state)
                    .status());
        if (rank->rank() == 0) marks.push_back(bench::Now());
      }
    });
    std::vector<double> seconds;
    for (size_t i = 1; i < marks.size(); ++i) {
      seconds.push_back(marks[i] - marks[i - 1]);
    }
    return seconds;
  }

  TaskFiles& files() { return files_; }

 private:
  std::vector<std::unique_ptr<Collective>> Gang() const {
    auto gang = ThreadGang::Create(threads_, absl::ZeroDuration());
    Require(gang.status());
    return *std::move(gang);
  }

  const int threads_;
  testing_support::TemporaryFolder folder_;
  TaskFiles files_;
};

int Main(int argc, char** argv) {
  int threads = 2, passes = 6;
  std::string data = "/usr/share/datasets";
  CLI::App app("Times the engine's hot loops");
  app.add_option("--threads", threads, "Ranks")->check(CLI::Range(1, 64));
  app.add_option("--passes", passes, "Timed passes")->check(CLI::Range(2, 999));
  app.add_option("--data", data, "Folder with fashion-mnist");
  CLI11_PARSE(app, argc, argv);
  InitEngine();
  Bench bench(threads, data);
  const double data_bytes = 70000.0 * 28 * 28;
  const auto above_data = [&] {
    return (static_cast<double>(PeakHostBytes()) - data_bytes) / (1 << 20);
  };
  nlohmann::ordered_json result;
  result["threads"] = threads;
  result["numerics_class"] = NumericsClass();

  Stopwatch pass;
  bench.Run(Idc(passes + 1, 0), &pass);
  result["pass_seconds"] = Median(pass.Intervals());
  result["distill_peak_mib_above_data"] = above_data();
  result["net_step_seconds"] = Median(bench.NetSteps(kNetSteps * passes));
  Stopwatch inner;
  bench.Run(Idc(passes + 2, kNetSteps), &inner);
  result["inner_step_seconds"] = Median(bench::InnerSteps(inner.Intervals()));

  SelectCoresetParameters random;
  random.rule = "random";
  random.images_per_class = 10;
  Stopwatch unused;
  bench.Run(random, &unused);
  bench.files().inputs["set.1"] = bench.files().inputs["set"];

  // 100 images in batches of 64: two steps an epoch.
  EvaluateParameters evaluate;
  evaluate.network.width = 128;
  evaluate.training.steps = 31;
  evaluate.training.augmentation = {Augmentation::kColor, Augmentation::kFlip,
                                    Augmentation::kCrop, Augmentation::kScale,
                                    Augmentation::kRotate};
  Stopwatch evaluation;
  result["test_10000_seconds"] = bench.Run(evaluate, &evaluation);
  const std::vector<double> steps = evaluation.Intervals();
  std::vector<double> epochs;
  for (size_t i = 1; i < steps.size(); i += 2) {
    epochs.push_back(steps[i - 1] + steps[i]);
  }
  result["evaluation_epoch_seconds"] = Median(epochs);
  result["peak_mib_above_data"] = above_data();
  std::cout << result.dump() << "\n";
  return 0;
}

}  // namespace
}  // namespace dasm

int main(int argc, char** argv) {
  dasm::bench::RunLikeARunner(argv);
  return dasm::Main(argc, argv);
}
