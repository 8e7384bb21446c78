// What the inner loops cost on a device, CIFAR-shaped, with the published
// network (ConvNet-D3, width 128). IDC (IPC 10, factor 2): a matching pass over
// ten classes, a network step on 64 images. Training on 50,000 images for an
// epoch. Trajectory matching: an expert step on 256 images by SGD and by GSAM,
// a DATM iteration of 80 student steps on 100 and on 1000 images. Each with the
// share of what matrix products of the same precision reach on this device in
// the same run.
//
//   gpu_bench [--precision fp32|tf32|bf16] [--passes N]
//
// Prints one JSON object.
#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "tests/gpu/gpu_fixture.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/device/precision.h"
#include "worker/engine/teacher/expert_file.h"

namespace dasm {
namespace {

// Of ConvNet-D3 W128 at 32x32, an image, forward: three convolutions and the
// classifier, two a multiplication and addition.
constexpr double kForward = 2.0 * (32 * 32 * 27 * 128 + 16 * 16 * 1152 * 128 +
                                   8 * 8 * 1152 * 128 + 2048 * 10);

double Now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

// Notes when steps ended, on the device too.
class Stopwatch final : public TaskObserver {
 public:
  void Progress(int64_t step, int64_t, double, std::string_view) override {
    (void)Gpu()->Synchronize(0);
    marks_.emplace_back(step, Now());
  }
  void Point(std::string_view, int64_t, double) override {}
  void Line(std::string_view, std::string_view) override {}
  Wish Poll() override { return Wish::kNone; }
  absl::Status WriteCheckpoint(
      int64_t, const std::map<std::string, TensorView>&) override {
    return absl::OkStatus();
  }
  // Of a step, without the first two marks: they warm up and record. Tasks tell
  // their progress every few steps.
  double Step() const {
    std::vector<double> seconds;
    for (size_t i = 2; i < marks_.size(); ++i) {
      const auto steps =
          static_cast<double>(marks_[i].first - marks_[i - 1].first);
      seconds.push_back((marks_[i].second - marks_[i - 1].second) / steps);
    }
    return Median(seconds);
  }

 private:
  std::vector<std::pair<int64_t, double>> marks_;
};

// Floating-point operations a second of a large product.
double Peak(DevicePrecision precision) {
  Require(ApplyPrecision(precision));
  const auto options =
      at::TensorOptions(precision == DevicePrecision::kBf16 ? at::kBFloat16
                                                            : at::kFloat)
          .device(at::Device(at::kCUDA, 0));
  const int64_t n = 8192;
  const at::Tensor a = at::randn({n, n}, options);
  std::vector<double> seconds;
  for (int k = 0; k < 8; ++k) {
    (void)Gpu()->Synchronize(0);
    const double start = Now();
    const at::Tensor product = a.matmul(a);
    (void)Gpu()->Synchronize(0);
    seconds.push_back(Now() - start);
  }
  return 2.0 * n * n * n / Median(seconds);
}

std::vector<Augmentation> Dsa() {
  using enum Augmentation;
  return {kColor, kCrop, kCutout, kFlip, kScale, kRotate};
}

// An expert that stands for any: it moves a little every epoch.
std::string ExpertBlob(const TinyData& data, const NetworkSpec& spec) {
  constexpr int kEpochs = 4;
  const auto network = MakeNetwork(spec, data.shape, data.classes);
  Require(network.status());
  at::manual_seed(1);
  const at::Tensor start = (*network)->Initialize(RandomStream(1, "expert"));
  const at::Tensor trajectory =
      start + 1e-3 * at::randn({kEpochs + 1, start.numel()}).cumsum(0);
  auto folder = TemporaryDirectory::Create();
  Require(folder.status());
  const std::string path = (*folder)->path() + "/";
  Require(WriteFileAtomically(LocalFileSystem(), path + "dataset",
                              TinyDatasetBlob(data)));
  const auto images = ImageData::Open(path + "dataset");
  Require(images.status());
  auto writer = ExpertWriter::Create(path + "expert", {spec, **network},
                                     kEpochs, **images);
  Require(writer.status());
  Require((*writer)->Write(0, trajectory, at::empty({kEpochs + 1, 0})));
  Require((*writer)->Commit());
  return *LocalFileSystem()->Read(path + "expert");
}

int Main(int argc, char** argv) {
  std::string precision = "fp32";
  int passes = 10;
  CLI::App app("Times the engine's inner loops on a device");
  app.add_option("--precision", precision)
      ->check(CLI::IsMember({"fp32", "tf32", "bf16"}));
  app.add_option("--passes", passes)->check(CLI::Range(5, 999));
  CLI11_PARSE(app, argc, argv);
  Gpu();
  const double peak = Peak(*ParsePrecision(precision));
  TinyData data;
  data.shape = {3, 32, 32};
  data.classes = 10;
  data.train_per_class = 5000;
  data.test_per_class = 10;
  GpuTask task(data);
  nlohmann::ordered_json result;
  result["device"] = (*Gpu()->Devices())[0].name;
  result["precision"] = precision;
  result["matmul_tflops"] = peak / 1e12;
  const auto report = [&](const std::string& name, double seconds,
                          double operations) {
    result[name + "_seconds"] = seconds;
    result[name + "_share_of_matmul"] = operations / seconds / peak;
  };
  const auto run = [&](const TaskParameters& parameters) {
    Stopwatch stopwatch;
    const auto outcome = task.Run(parameters, "cuda:0", &stopwatch);
    Require(outcome.status());
    return stopwatch.Step();
  };

  DistillSegmentParameters idc;
  idc.images_per_class = 10;
  idc.network.width = 128;
  idc.execution.precision = precision;
  idc.execution.train_group = 64;
  idc.matching.distance = Distance::kL1;
  idc.matching.inits = 1;
  idc.matching.steps_per_init = passes;
  idc.matching.augmentation = {Augmentation::kColor, Augmentation::kCrop,
                               Augmentation::kCutout};
  idc.matching.net_steps = 0;
  idc.matching.net_augmentation = {Augmentation::kColor, Augmentation::kCrop};
  idc.synthesis.factor = 2;
  const double pass = run(idc);
  // Real: forward and backward; synthetic: those and their derivative.
  report("matching_pass", pass, 10 * (64 * 3 + 40 * 7) * kForward);
  idc.matching.net_steps = 32;
  report("net_step", (run(idc) - pass) / 32, 64 * 3 * kForward);

  TrainDiscriminatorParameters train;
  train.real = true;
  train.network.width = 128;
  train.execution.precision = precision;
  train.execution.train_group = 256;
  train.training.batch = 256;
  train.training.steps = 128;
  train.training.augmentation = {Augmentation::kFlip, Augmentation::kCrop};
  const double step = run(train);
  report("train_epoch_50000", step * 50000 / 256, 50000 * 3 * kForward);

  TrainExpertsParameters experts;
  experts.network.width = 128;
  experts.training.epochs = 2;
  experts.training.augmentation = Dsa();
  experts.execution.precision = precision;
  experts.execution.train_group = 256;
  report("expert_step_sgd", run(experts), 256 * 3 * kForward);
  experts.training.optimizer = ExpertOptimizer::kGsam;
  report("expert_step_gsam", run(experts), 256 * 6 * kForward);

  task.Put("expert.1", ExpertBlob(data, experts.network));
  for (int batch : {100, 1000}) {
    MatchTrajectoriesParameters datm;
    datm.images_per_class = batch / 10;
    datm.network.width = 128;
    datm.execution.precision = precision;
    datm.matching.iterations = passes;
    datm.matching.student_steps = 80;
    datm.matching.start_epoch_max = datm.matching.start_epoch_initial = 2;
    datm.matching.batch = batch;
    datm.matching.labels = Labels::kSoftLearned;
    datm.matching.label_experts = LabelExperts::kFirst;
    datm.matching.image_learning_rate = 1e-3;
    datm.matching.step_size_learning_rate = 0;
    datm.matching.augmentation = Dsa();
    // Forward and backward, and again with their derivative.
    report(absl::StrCat("datm_iteration_80x", batch), run(datm),
           80.0 * batch * 12 * kForward);
  }
  const DeviceMemory memory = Gpu()->Memory(0);
  result["peak_allocated_mib"] = memory.peak_allocated_bytes / 1048576;
  result["peak_reserved_mib"] = memory.peak_reserved_bytes / 1048576;
  std::cout << result.dump() << "\n";
  return 0;
}

}  // namespace
}  // namespace dasm

int main(int argc, char** argv) { return dasm::Main(argc, argv); }
