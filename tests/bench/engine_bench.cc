// What the hot loops of the engine cost, on Fashion-MNIST at IDC's published
// shape (width 128, 10 images a class, factor 2): one matching pass over the
// ten classes, one network step on 64 real images, one evaluation epoch of 100
// images, testing 10,000 images, and the runner's peak memory.
//
//   engine_bench [--threads T] [--passes N] [--data DIR]
//
// Prints one JSON object. Medians over single steps; the machine's noise is the
// reader's business (tests/bench/compare_public_idc pairs runs).
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "common/dataset/reader.h"
#include "common/dataset/source.h"
#include "nlohmann/json.hpp"
#include "tests/support/process.h"
#include "worker/collective/thread_collective.h"
#include "worker/engine/task/task.h"
#include "worker/runner/memory_policy.h"

namespace dasm {
namespace {

double Now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

// Notes when each step ended.
class Stopwatch final : public TaskObserver {
 public:
  void Progress(int64_t, int64_t, double, std::string_view) override {
    marks_.push_back(Now());
  }
  void Point(std::string_view, int64_t, double) override {}
  void Line(std::string_view, std::string_view) override {}
  Wish Poll() override { return Wish::kNone; }
  absl::Status WriteCheckpoint(
      int64_t, const std::map<std::string, TensorView>&) override {
    return absl::OkStatus();
  }
  // Seconds of each step but the first, which warms up.
  std::vector<double> Intervals() const {
    std::vector<double> intervals;
    for (size_t i = 1; i < marks_.size(); ++i) {
      intervals.push_back(marks_[i] - marks_[i - 1]);
    }
    return intervals;
  }
  double last() const { return marks_.empty() ? 0 : marks_.back(); }

 private:
  std::vector<double> marks_;
};

class Bench {
 public:
  Bench(int threads, const std::string& data) : threads_(threads) {
    DatasetSpec spec;
    spec.name = "fashion-mnist";
    const auto roots = DataRoots::Create({data});
    Require(roots.status());
    auto source = ProbeDataset(spec, *roots);
    Require(source.status());
    PrepareDatasetParameters parameters;
    parameters.name = spec.name;
    parameters.format = "idx";
    parameters.mean = {0.2861};
    parameters.std = {0.3530};
    std::vector<ResolvedFile> files;
    for (const SourceFile& file : source->files) {
      files.push_back({file.role, *roots->Resolve("dataset", file.path)});
    }
    const auto dataset = ReadDataset(parameters, files);
    Require(dataset.status());
    Require(WriteDataset(*dataset, spec.name, folder_ / "dataset"));
    files_.inputs["dataset"] = folder_ / "dataset";
    files_.output_dir = folder_.path();
  }

  // Runs the task on every rank; returns the seconds from the last step to the
  // end of the task.
  double Run(const TaskParameters& parameters, Stopwatch* stopwatch) {
    auto gang = ThreadGang::Create(threads_, absl::ZeroDuration());
    Require(gang.status());
    std::vector<std::thread> ranks;
    for (int rank = 1; rank < threads_; ++rank) {
      ranks.emplace_back([&, rank] {
        Stopwatch silent;
        Require(RunTask(parameters, files_, "cpu", (*gang)[rank].get(), &silent)
                    .status());
      });
    }
    auto outcome =
        RunTask(parameters, files_, "cpu", (*gang)[0].get(), stopwatch);
    for (std::thread& rank : ranks) rank.join();
    Require(outcome.status());
    for (const auto& [name, file] : outcome->outputs) {
      files_.inputs[name] = folder_ / file;
    }
    return Now() - stopwatch->last();
  }

  TaskFiles& files() { return files_; }

  static void Require(const absl::Status& status) {
    if (status.ok()) return;
    std::cerr << "error: " << status << "\n";
    std::exit(1);
  }

 private:
  const int threads_;
  testing_support::TemporaryFolder folder_;
  TaskFiles files_;
};

DistillSegmentParameters Idc(int passes, int net_steps) {
  DistillSegmentParameters parameters;
  parameters.images_per_class = 10;
  parameters.network.width = 128;
  parameters.matching.distance = Distance::kL1;
  parameters.matching.inits = 1;
  parameters.matching.steps_per_init = passes;
  parameters.matching.image_learning_rate = 1e-4;
  parameters.matching.augmentation = {Augmentation::kColor, Augmentation::kCrop,
                                      Augmentation::kCutout};
  parameters.matching.net_steps = net_steps;
  parameters.matching.net_augmentation = {Augmentation::kColor,
                                          Augmentation::kCrop};
  parameters.synthesis.factor = 2;
  return parameters;
}

int64_t PeakBytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

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
  nlohmann::ordered_json result;
  result["threads"] = threads;
  result["numerics_class"] = NumericsClass();

  Stopwatch pass;
  bench.Run(Idc(passes + 1, 0), &pass);
  const double pass_seconds = Median(pass.Intervals());
  result["pass_seconds"] = pass_seconds;
  result["distill_peak_mib_above_data"] = (PeakBytes() - data_bytes) / 1048576;

  Stopwatch with_net;
  bench.Run(Idc(passes + 1, 8), &with_net);
  result["net_step_seconds"] =
      (Median(with_net.Intervals()) - pass_seconds) / 8;

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
  result["peak_mib_above_data"] = (PeakBytes() - data_bytes) / 1048576;
  std::cout << result.dump() << "\n";
  return 0;
}

}  // namespace
}  // namespace dasm

int main(int argc, char** argv) {
  // As the agent starts a runner: these are read when a process begins.
  if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    setenv("OMP_NUM_THREADS", "1", 1);
    setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 1);
    execv("/proc/self/exe", argv);
  }
  dasm::SetMemoryPolicy();
  return dasm::Main(argc, argv);
}
