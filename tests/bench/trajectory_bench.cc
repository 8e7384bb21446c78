// What trajectory matching costs on the CPU at its published sizes: CIFAR-10,
// ConvNet-D3 of width 128, fp32.
//
//   trajectory_bench expert   [--optimizer sgd|gsam] [--steps S]
//   trajectory_bench match    [--estimator E] [--ipc I] [--steps N] [--batch b]
//                             [--micro-batch m] [--iterations R]
//   trajectory_bench memory   [--batch b] [--check]
//   trajectory_bench zca      [--images N] [--in-memory]
//   all: [--threads T] [--width W] [--train-group G] [--data DIR]
//
//   expert  S steps of 256 images a pass, two passes; the second one is timed
//   match   DATM with learned soft labels from an expert that moves a little an
//           epoch, as the public code is timed; iterations but the first
//   memory  peaks of `match` with 10 and with 80 student steps, a process each;
//           --check: exit 1 where they differ by more than 5 % and the
//           parameters that 70 more steps store
//   zca     whitening fitted on five sixths of the images, applied to all: the
//           task, with its durable files; --in-memory: into a tensor
//
// Prints one JSON object. A process measures one thing, so that its memory is
// that thing's: "loop_mib" is the peak above what was resident before the task.
// Without the files of CIFAR-10 in DIR the pixels are noise; "data" says so.
#include <ATen/ATen.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/random_stream.h"
#include "common/base/temporary_directory.h"
#include "common/dataset/reader.h"
#include "common/dataset/source.h"
#include "nlohmann/json.hpp"
#include "tests/bench/bench_process.h"
#include "worker/collective/thread_collective.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/dataset/zca.h"
#include "worker/engine/network/network.h"
#include "worker/engine/task/task.h"
#include "worker/engine/teacher/expert_file.h"

namespace dasm {
namespace {

using bench::Median;
using bench::Now;
using bench::Require;

constexpr int kClasses = 10;
constexpr int kExpertBatch = 256;
constexpr int kExpertEpochs = 8;

// A line of /proc/self/status, in MiB.
double StatusMib(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (absl::StartsWith(line, key + ":")) {
      return std::atof(line.c_str() + key.size() + 1) / 1024;
    }
  }
  return 0;
}

void ForgetPeakMemory() { std::ofstream("/proc/self/clear_refs") << "5"; }

struct Settings {
  std::string optimizer = "gsam";
  std::string estimator = "step_adjoint";
  int steps = 10;
  int ipc = 10;
  int batch = 100;
  int micro_batch = 0;
  int iterations = 5;
  int images = 60000;
  bool in_memory = false;
  int threads = 2;
  int width = 128;
  int train_group = 16;
  std::string data = "/usr/share/datasets";
};

NetworkSpec BenchNetwork(const Settings& settings) {
  NetworkSpec network;
  network.width = settings.width;
  return network;
}

// Notes when which step ended.
class Stopwatch final : public TaskObserver {
 public:
  void Progress(int64_t step, int64_t, double, std::string_view) override {
    marks_.emplace_back(step, Now());
  }
  void Point(std::string_view, int64_t, double) override {}
  void Line(std::string_view, std::string_view) override {}
  Wish Poll() override { return Wish::kNone; }
  absl::Status WriteCheckpoint(
      int64_t, const std::map<std::string, TensorView>&) override {
    return absl::OkStatus();
  }
  // Seconds of a step, each mark after the first.
  std::vector<double> StepSeconds() const {
    std::vector<double> seconds;
    for (size_t i = 1; i < marks_.size(); ++i) {
      const int64_t steps = marks_[i].first - marks_[i - 1].first;
      if (steps > 0) {
        seconds.push_back((marks_[i].second - marks_[i - 1].second) /
                          static_cast<double>(steps));
      }
    }
    return seconds;
  }

 private:
  std::vector<std::pair<int64_t, double>> marks_;
};

// CIFAR-10, or as many noisy images in its shape. Says which.
Dataset ReadCifar(const std::string& folder, std::string* origin) {
  DatasetSpec spec;
  spec.name = "cifar-10";
  const auto roots = DataRoots::Create({folder});
  if (roots.ok()) {
    const auto source = ProbeDataset(spec, *roots);
    if (source.ok()) {
      PrepareDatasetParameters parameters;
      parameters.name = spec.name;
      parameters.format = "cifar_binary";
      parameters.classes = kClasses;
      parameters.mean = {.4914, .4822, .4465};
      parameters.std = {.2023, .1994, .2010};
      std::vector<ResolvedFile> files;
      for (const SourceFile& file : source->files) {
        files.push_back({file.role, *roots->Resolve("dataset", file.path)});
      }
      auto dataset = ReadDataset(parameters, files);
      Require(dataset.status());
      *origin = "cifar-10";
      return *std::move(dataset);
    }
  }
  *origin = "synthetic";
  Dataset dataset;
  dataset.mean = {.5, .5, .5};
  dataset.std = {.25, .25, .25};
  for (int c = 0; c < kClasses; ++c) {
    dataset.classes.push_back(std::to_string(c));
  }
  const RandomStream stream(1, "bench.pixels");
  uint32_t split = 0;
  for (ImageSet* set : {&dataset.train, &dataset.test}) {
    set->count = split == 0 ? 50000 : 10000;
    set->channels = 3;
    set->height = set->width = 32;
    set->images.resize(set->count * 3072);
    RandomSequence draws = stream.At(split++);
    for (uint8_t& byte : set->images) {
      byte = static_cast<uint8_t>(draws.Below(256));
    }
    for (int64_t i = 0; i < set->count; ++i) {
      set->labels.push_back(i % kClasses);
    }
  }
  return dataset;
}

void KeepFirst(int64_t count, ImageSet* set) {
  const int64_t image = int64_t{set->channels} * set->height * set->width;
  set->count = std::min(count, set->count);
  set->images.resize(set->count * image);
  set->labels.resize(set->count);
}

// An expert that moves a little in a random direction every epoch: an
// iteration's cost does not depend on where it went.
void WriteExpert(const Settings& settings, const std::string& dataset,
                 const std::string& path) {
  const auto data = ImageData::Open(dataset);
  Require(data.status());
  const NetworkSpec spec = BenchNetwork(settings);
  const auto network = MakeNetwork(spec, (*data)->shape(), kClasses);
  Require(network.status());
  auto writer =
      ExpertWriter::Create(path, {spec, **network}, kExpertEpochs, **data);
  Require(writer.status());
  at::Tensor theta = (*network)->Initialize(RandomStream(1, "bench.expert"));
  const RandomStream stream(1, "bench.walk");
  for (int epoch = 0; epoch <= kExpertEpochs; ++epoch) {
    Require((*writer)->Write(epoch, theta.unsqueeze(0), at::empty({1, 0})));
    RandomSequence draws = stream.At(static_cast<uint32_t>(epoch));
    float* values = theta.mutable_data_ptr<float>();
    for (int64_t i = 0; i < theta.numel(); ++i) {
      values[i] += 1e-3f * static_cast<float>(draws.Normal());
    }
  }
  Require((*writer)->Commit());
}

// Runs `prepare` in a process of its own, whose memory does not count.
template <typename Prepare>
void InAnotherProcess(Prepare prepare) {
  const pid_t child = fork();
  if (child == 0) {
    prepare();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) std::exit(1);
}

class Bench {
 public:
  // `training_images` of the data set; an expert where one is matched.
  Bench(const Settings& settings, int64_t training_images, int64_t test_images,
        bool expert)
      : settings_(settings) {
    auto folder = TemporaryDirectory::Create();
    Require(folder.status());
    folder_ = *std::move(folder);
    files_.output_dir = folder_->path();
    const std::string dataset = folder_->path() + "/dataset";
    const std::string note = folder_->path() + "/origin";
    InAnotherProcess([&] {
      std::string origin;
      Dataset whole = ReadCifar(settings.data, &origin);
      KeepFirst(training_images, &whole.train);
      KeepFirst(test_images, &whole.test);
      Require(WriteDataset(whole, "cifar-10", dataset));
      if (expert) WriteExpert(settings, dataset, folder_->path() + "/expert");
      std::ofstream(note) << origin;
    });
    std::ifstream(note) >> origin_;
    files_.inputs["dataset"] = dataset;
    if (expert) files_.inputs["expert.1"] = folder_->path() + "/expert";
    InitEngine();
  }

  // Runs the task on every rank; the figures of the whole of it.
  nlohmann::ordered_json Run(const TaskParameters& parameters,
                             Stopwatch* stopwatch) {
    return Measure([&](Collective* rank) {
      Stopwatch silent;
      Require(RunTask(parameters, files_, "cpu", rank,
                      rank->rank() == 0 ? stopwatch : &silent)
                  .status());
    });
  }

  // The same of any work of ranks.
  nlohmann::ordered_json Measure(absl::FunctionRef<void(Collective*)> work) {
    auto gang = ThreadGang::Create(settings_.threads, absl::ZeroDuration());
    Require(gang.status());
    const double before = StatusMib("VmRSS");
    ForgetPeakMemory();
    const double start = Now();
    std::vector<std::thread> others;
    for (int rank = 1; rank < settings_.threads; ++rank) {
      others.emplace_back(work, (*gang)[rank].get());
    }
    work((*gang)[0].get());
    for (std::thread& rank : others) rank.join();
    nlohmann::ordered_json result;
    result["data"] = origin_;
    result["threads"] = settings_.threads;
    result["width"] = settings_.width;
    result["task_seconds"] = Now() - start;
    result["rss_before_mib"] = before;
    result["loop_mib"] = StatusMib("VmHWM") - before;
    result["numerics_class"] = NumericsClass();
    return result;
  }

  std::string dataset() const { return files_.inputs.at("dataset"); }

 private:
  const Settings settings_;
  std::unique_ptr<TemporaryDirectory> folder_;
  TaskFiles files_;
  std::string origin_;
};

std::vector<Augmentation> Dsa() {
  using enum Augmentation;
  return {kColor, kCrop, kCutout, kFlip, kScale, kRotate};
}

void Print(const std::string& what, nlohmann::ordered_json figures,
           const nlohmann::ordered_json& result) {
  nlohmann::ordered_json line = {{"case", what}};
  line.update(figures);
  line.update(result);
  std::cout << line.dump() << std::endl;
}

void RunExpert(const Settings& settings) {
  Bench bench(settings, int64_t{kExpertBatch} * settings.steps, 10, false);
  TrainExpertsParameters parameters;
  parameters.network = BenchNetwork(settings);
  parameters.training.epochs = 2;
  parameters.training.batch = kExpertBatch;
  parameters.training.optimizer = settings.optimizer == "gsam"
                                      ? ExpertOptimizer::kGsam
                                      : ExpertOptimizer::kSgd;
  parameters.training.augmentation = Dsa();
  parameters.execution.train_group = settings.train_group;
  Stopwatch stopwatch;
  const auto result = bench.Run(parameters, &stopwatch);
  std::vector<double> seconds = stopwatch.StepSeconds();
  // The first pass warms up, where progress is told more often than that.
  if (seconds.size() > static_cast<size_t>(settings.steps)) {
    seconds.erase(seconds.begin(), seconds.begin() + settings.steps);
  }
  Print("expert",
        {{"optimizer", settings.optimizer},
         {"batch", kExpertBatch},
         {"steps", 2 * settings.steps},
         {"step_seconds", Median(seconds)}},
        result);
}

void RunMatch(const Settings& settings) {
  Bench bench(settings, 50000, 10, true);
  MatchTrajectoriesParameters parameters;
  parameters.images_per_class = settings.ipc;
  parameters.network = BenchNetwork(settings);
  parameters.execution.micro_batch = settings.micro_batch;
  parameters.execution.train_group = settings.train_group;
  TrajectoryMatchingSpec& matching = parameters.matching;
  nlohmann::json(settings.estimator).get_to(matching.estimator);
  matching.iterations = settings.iterations + 1;
  matching.student_steps = settings.steps;
  matching.start_epoch_initial = matching.start_epoch_max = 4;
  matching.batch = settings.batch;
  matching.labels = Labels::kSoftLearned;
  // The correct ones of an expert that never learned anything are few.
  matching.label_experts = LabelExperts::kFirst;
  // The walk is random: its losses mean nothing and must not spoil the pixels.
  matching.image_learning_rate = 1e-3;
  matching.label_learning_rate = 1e-6;
  matching.step_size_learning_rate = 0;
  matching.augmentation = Dsa();
  Stopwatch stopwatch;
  const auto result = bench.Run(parameters, &stopwatch);
  const auto network = MakeNetwork(parameters.network, {3, 32, 32}, kClasses);
  Require(network.status());
  const double stored =
      4.0 * settings.steps * (*network)->parameters().total() / (1 << 20);
  const std::vector<double> seconds = stopwatch.StepSeconds();
  Print("match",
        {{"estimator", settings.estimator},
         {"ipc", settings.ipc},
         {"student_steps", settings.steps},
         {"batch", settings.batch},
         {"micro_batch", settings.micro_batch},
         {"iterations", seconds.size()},
         {"iteration_seconds", Median(seconds)},
         // A rank, and every rank stores them.
         {"stored_parameters_mib", stored}},
        result);
}

// The "match" figures of a process of its own with so many student steps.
nlohmann::json MatchInItsProcess(const Settings& settings, int steps) {
  const std::string command = absl::StrCat(
      "/proc/", getpid(), "/exe match --iterations 1 --steps ", steps,
      " --batch ", settings.batch, " --threads ", settings.threads, " --width ",
      settings.width, " --train-group ", settings.train_group, " --data '",
      settings.data, "'");
  FILE* const output = popen(command.c_str(), "r");
  std::string line;
  for (int c; output != nullptr && (c = fgetc(output)) != EOF;) line += c;
  if (output == nullptr || pclose(output) != 0) std::exit(1);
  return nlohmann::json::parse(line);
}

// Whether memory is flat in the number of student steps.
bool RunMemory(const Settings& settings) {
  const nlohmann::json few = MatchInItsProcess(settings, 10);
  const nlohmann::json many = MatchInItsProcess(settings, 80);
  const auto peak = [](const nlohmann::json& run) {
    return run["loop_mib"].get<double>();
  };
  const auto stored = [&](const nlohmann::json& run) {
    return run["stored_parameters_mib"].get<double>() * settings.threads;
  };
  const double ratio = (peak(many) - (stored(many) - stored(few))) / peak(few);
  nlohmann::ordered_json line = {{"case", "memory"},
                                 {"batch", settings.batch},
                                 {"loop_mib_10_steps", peak(few)},
                                 {"loop_mib_80_steps", peak(many)},
                                 {"stored_mib_80_steps", stored(many)},
                                 {"ratio_without_stored", ratio},
                                 {"data", few["data"]},
                                 {"threads", settings.threads},
                                 {"width", settings.width}};
  std::cout << line.dump() << std::endl;
  return ratio <= 1.05;
}

// Fits on the training images and whitens all, chunks shared among the ranks.
void WhitenInMemory(const ImageData& data, const at::Tensor& whitened,
                    Collective* rank) {
  constexpr int64_t kChunk = 512;
  const auto fit = FitZca(*data.train_bytes(), {}, rank, at::kCPU);
  Require(fit.status());
  const Zca zca = fit->zca.ForWhitening();
  int64_t before = 0;
  for (const ImageSource* source : {&data.train(), &data.test()}) {
    const auto* images = dynamic_cast<const ByteImages*>(source);
    for (int64_t begin = kChunk * rank->rank(); begin < images->size();
         begin += kChunk * rank->size()) {
      std::vector<int64_t> chunk(std::min(kChunk, images->size() - begin));
      std::iota(chunk.begin(), chunk.end(), begin);
      whitened.narrow(0, before + begin, static_cast<int64_t>(chunk.size()))
          .copy_(zca.Whiten(images->Pixels(chunk)));
    }
    before += images->size();
  }
}

void RunZca(const Settings& settings) {
  const int64_t test = settings.images / 6;
  Bench bench(settings, settings.images - test, test, false);
  if (settings.in_memory) {
    const auto data = ImageData::Open(bench.dataset());
    Require(data.status());
    const ImageShape shape = (*data)->shape();
    const at::Tensor whitened =
        at::empty({settings.images, shape.channels, shape.height, shape.width});
    const auto result = bench.Measure(
        [&](Collective* rank) { WhitenInMemory(**data, whitened, rank); });
    Print("zca in memory", {{"images", settings.images}}, result);
    return;
  }
  Stopwatch stopwatch;
  auto result = bench.Run(WhitenDatasetParameters(), &stopwatch);
  Print("zca", {{"images", settings.images}}, result);
}

int Main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Times trajectory matching");
  app.require_subcommand(1);
  CLI::App* const expert = app.add_subcommand("expert", "A training step");
  expert->add_option("--optimizer", settings.optimizer)
      ->check(CLI::IsMember({"sgd", "gsam"}));
  expert->add_option("--steps", settings.steps, "Of a pass")
      ->check(CLI::Range(2, 195));
  CLI::App* const match = app.add_subcommand("match", "An outer iteration");
  match->add_option("--estimator", settings.estimator)
      ->check(CLI::IsMember({"step_adjoint", "full_graph", "tesla"}));
  match->add_option("--ipc", settings.ipc)->check(CLI::Range(1, 5000));
  match->add_option("--steps", settings.steps, "Of the student")
      ->check(CLI::Range(1, 1000));
  match->add_option("--batch", settings.batch)->check(CLI::Range(1, 50000));
  match->add_option("--micro-batch", settings.micro_batch)
      ->check(CLI::Range(0, 50000));
  match->add_option("--iterations", settings.iterations, "Timed ones")
      ->check(CLI::Range(1, 999));
  bool check = false;
  CLI::App* const memory = app.add_subcommand("memory", "10 and 80 steps");
  memory->add_option("--batch", settings.batch)->check(CLI::Range(1, 100));
  memory->add_flag("--check", check);
  CLI::App* const zca = app.add_subcommand("zca", "Whitening");
  zca->add_option("--images", settings.images)->check(CLI::Range(60, 60000));
  zca->add_flag("--in-memory", settings.in_memory);
  for (CLI::App* const one : {expert, match, memory, zca}) {
    one->add_option("--threads", settings.threads, "Ranks")
        ->check(CLI::Range(1, 64));
    one->add_option("--width", settings.width)->check(CLI::Range(1, 1024));
    one->add_option("--train-group", settings.train_group)
        ->check(CLI::Range(1, 1024));
    one->add_option("--data", settings.data, "Folder with cifar-10");
  }
  CLI11_PARSE(app, argc, argv);
  if (expert->parsed()) RunExpert(settings);
  if (match->parsed()) RunMatch(settings);
  if (zca->parsed()) RunZca(settings);
  return memory->parsed() && !RunMemory(settings) && check ? 1 : 0;
}

}  // namespace
}  // namespace dasm

int main(int argc, char** argv) {
  dasm::bench::RunLikeARunner(argv);
  return dasm::Main(argc, argv);
}
