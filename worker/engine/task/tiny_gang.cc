#include "worker/engine/task/tiny_gang.h"

#include <cmath>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/artifact/safetensors.h"
#include "common/base/file_system.h"
#include "common/base/logging.h"
#include "common/base/random_stream.h"
#include "worker/collective/thread_collective.h"

namespace dasm {
namespace {

struct LabelledBytes {
  std::vector<uint8_t> images;
  std::vector<int64_t> labels;
};

LabelledBytes MakeSplit(const TinyData& data, int per_class,
                        const char* stream) {
  LabelledBytes split;
  const RandomStream noise(11, stream);
  for (int i = 0; i < per_class * data.classes; ++i) {
    const int label = i % data.classes;
    split.labels.push_back(label);
    RandomSequence draws = noise.At(i);
    for (int c = 0; c < data.shape.channels; ++c) {
      for (int y = 0; y < data.shape.height; ++y) {
        for (int x = 0; x < data.shape.width; ++x) {
          const double pattern =
              128 + 70 * std::sin(0.9 * (label + 1) * x + 0.7 * label * y + c);
          split.images.push_back(static_cast<uint8_t>(
              std::clamp(pattern + 25 * draws.Normal(), 0.0, 255.0)));
        }
      }
    }
  }
  return split;
}

void Store(const std::string& path, const std::string& bytes) {
  DASM_CHECK(WriteFileAtomically(LocalFileSystem(), path, bytes).ok());
}

}  // namespace

std::string TinyDatasetBlob(const TinyData& data) {
  const LabelledBytes train = MakeSplit(data, data.train_per_class, "train");
  const LabelledBytes test = MakeSplit(data, data.test_per_class, "test");
  std::map<std::string, TensorView> tensors;
  for (const auto& [name, split] :
       {std::pair("train", &train), std::pair("test", &test)}) {
    const auto count = static_cast<int64_t>(split->labels.size());
    tensors[absl::StrCat(name, "_images")] = {
        DType::kU8,
        {count, data.shape.channels, data.shape.height, data.shape.width},
        split->images.data()};
    tensors[absl::StrCat(name, "_labels")] = {
        DType::kI64, {count}, split->labels.data()};
  }
  nlohmann::json names = nlohmann::json::array();
  for (int c = 0; c < data.classes; ++c) names.push_back(absl::StrCat("c", c));
  const std::vector<double> mean(data.shape.channels, 0.5);
  const std::vector<double> std(data.shape.channels, 0.25);
  return SerializeSafetensors(tensors, {{"name", "tiny"},
                                        {"classes", names.dump()},
                                        {"mean", nlohmann::json(mean).dump()},
                                        {"std", nlohmann::json(std).dump()}});
}

TinyGang::TinyGang() {
  auto folder = TemporaryDirectory::Create();
  DASM_CHECK(folder.ok());
  folder_ = *std::move(folder);
}

GangRun TinyGang::Run(const TaskParameters& parameters,
                      const std::map<std::string, std::string>& inputs) {
  TaskFiles files;
  files.output_dir = absl::StrCat(folder_->path(), "/", ++runs_);
  DASM_CHECK(LocalFileSystem()->CreateDirectories(files.output_dir).ok());
  for (const auto& [name, bytes] : inputs) {
    files.inputs[name] = absl::StrCat(files.output_dir, "/in.", name);
    Store(files.inputs[name], bytes);
  }
  if (!checkpoint.empty()) {
    files.checkpoint = files.output_dir + "/checkpoint";
    Store(files.checkpoint, checkpoint);
  }
  auto gang = ThreadGang::Create(ranks, absl::Seconds(60));
  DASM_CHECK(gang.ok());
  FaultyCollective faulty(gang->back().get(), fault);

  GangRun run;
  run.observer.wishes = wishes;
  run.observer.checkpoint_status = checkpoint_status;
  run.all.resize(ranks);
  TaskOutcome outcome;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      Collective* collective =
          rank + 1 == ranks ? &faulty : (*gang)[rank].get();
      FakeTaskObserver silent;
      RunOptions mine = options;
      if (make_graph_of_rank) {
        mine.make_graph = [&, rank] { return make_graph_of_rank(rank); };
      }
      const auto result = RunTask(parameters, files, "cpu", collective,
                                  rank == 0 ? &run.observer : &silent, mine);
      run.all[rank] = result.status();
      if (rank == 0 && result.ok()) outcome = *result;
    });
  }
  for (std::thread& thread : threads) thread.join();
  run.status = run.all[0];
  if (!run.status.ok()) return run;
  run.summary = nlohmann::json::parse(outcome.summary_json);
  for (const auto& [name, file] : outcome.outputs) {
    run.outputs[name] = *LocalFileSystem()->Read(files.output_dir + "/" + file);
  }
  return run;
}

}  // namespace dasm
