#include "tests/bench/idc_bench.h"

#include <thread>

#include "common/dataset/reader.h"
#include "common/dataset/source.h"

namespace dasm::bench {
namespace {

std::vector<double> Between(const std::vector<double>& marks) {
  std::vector<double> intervals;
  for (size_t i = 1; i < marks.size(); ++i) {
    intervals.push_back(marks[i] - marks[i - 1]);
  }
  return intervals;
}

}  // namespace

void PrepareFashionMnist(const std::string& data, const std::string& file) {
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
  for (const SourceFile& one : source->files) {
    files.push_back({one.role, *roots->Resolve("dataset", one.path)});
  }
  const auto dataset = ReadDataset(parameters, files);
  Require(dataset.status());
  Require(WriteDataset(*dataset, spec.name, file));
}

DistillSegmentParameters Idc(int steps, int net_steps) {
  DistillSegmentParameters parameters;
  parameters.images_per_class = 10;
  parameters.network.width = 128;
  parameters.matching.distance = Distance::kL1;
  parameters.matching.inits = 1;
  parameters.matching.steps_per_init = steps;
  parameters.matching.image_learning_rate = 1e-4;
  parameters.matching.augmentation = {Augmentation::kColor, Augmentation::kCrop,
                                      Augmentation::kCutout};
  parameters.matching.net_steps = net_steps;
  parameters.matching.net_augmentation = {Augmentation::kColor,
                                          Augmentation::kCrop};
  parameters.synthesis.factor = 2;
  return parameters;
}

std::vector<double> Stopwatch::Intervals() const { return Between(marks_); }

TaskOutcome RunRanks(const TaskParameters& parameters, const TaskFiles& files,
                     const std::vector<std::unique_ptr<Collective>>& ranks,
                     const RunOptions& options, TaskObserver* observer) {
  std::vector<std::thread> others;
  for (size_t rank = 1; rank < ranks.size(); ++rank) {
    others.emplace_back([&, rank] {
      Stopwatch silent;
      Require(
          RunTask(parameters, files, "cpu", ranks[rank].get(), &silent, options)
              .status());
    });
  }
  auto outcome =
      RunTask(parameters, files, "cpu", ranks[0].get(), observer, options);
  for (std::thread& rank : others) rank.join();
  Require(outcome.status());
  return *std::move(outcome);
}

std::vector<double> InnerSteps(std::vector<double> intervals) {
  if (!intervals.empty()) intervals.pop_back();
  return intervals;
}

}  // namespace dasm::bench
