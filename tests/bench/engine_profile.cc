// Where the processor time of one rank goes: the operators of a hot loop by
// their own time, on noise of Fashion-MNIST's or CIFAR-10's shape and IDC's
// published sizes (width 128).
//
//   engine_profile [match|train|test] [--channels 1|3] [--group N]
//                  [--repeats R] [--rows N]
//
//   match  a class of the matching pass: 64 real images, 10 stored (factor 2)
//   train  one slice of a network step, N images (execution.train_group)
//   test   one group of a test, N images (execution.forward_group)
//
// Time is that of the thread, not of the wall: other processes disturb it only
// through caches. Prints the least of R calls in milliseconds and the operators
// of the call after them, convolutions and copies by the shape of their first
// input.
#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <time.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "tests/bench/bench_process.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/matcher/gradient_matcher.h"
#include "worker/engine/task/task.h"
#include "worker/engine/trainer/tester.h"
#include "worker/engine/trainer/trainer.h"

namespace dasm {
namespace {

double ThreadMilliseconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 +
         static_cast<double>(time.tv_nsec) * 1e-6;
}

struct OperatorTime {
  double own_ms = 0;
  int calls = 0;
};

// What the callbacks below fill, while a call is profiled.
struct Profile {
  struct Frame {
    std::string name;
    double start;
    double inner = 0;
  };
  std::vector<Frame> frames;
  std::map<std::string, OperatorTime> operators;
  bool on = false;
};

Profile* TheProfile() {
  static Profile profile;
  return &profile;
}

// Only at the start: a function's inputs may be gone at its end.
std::string NameOf(const at::RecordFunction& function) {
  std::ostringstream name;
  name << function.name();
  const std::string_view kind = function.name();
  if (kind.find("conv") != kind.npos || kind.find("copy_") != kind.npos) {
    for (const c10::IValue& input : function.inputs()) {
      if (!input.isTensor() || !input.toTensor().defined()) continue;
      name << " " << input.toTensor().sizes();
      break;
    }
  }
  return name.str();
}

std::unique_ptr<at::ObserverContext> OnStart(
    const at::RecordFunction& function) {
  if (TheProfile()->on) {
    TheProfile()->frames.push_back({NameOf(function), ThreadMilliseconds()});
  }
  return nullptr;
}

void OnEnd(const at::RecordFunction&, at::ObserverContext*) {
  Profile* profile = TheProfile();
  if (!profile->on || profile->frames.empty()) return;
  const Profile::Frame frame = profile->frames.back();
  profile->frames.pop_back();
  const double total = ThreadMilliseconds() - frame.start;
  OperatorTime& entry = profile->operators[frame.name];
  entry.own_ms += total - frame.inner;
  ++entry.calls;
  if (!profile->frames.empty()) profile->frames.back().inner += total;
}

void Report(const std::function<void()>& call, int repeats, size_t rows) {
  call();
  double least = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const double start = ThreadMilliseconds();
    call();
    least = std::min(least, ThreadMilliseconds() - start);
  }
  std::printf("%.2f ms\n", least);
  if (rows == 0) return;
  at::addGlobalCallback(
      at::RecordFunctionCallback(OnStart, OnEnd).needsInputs(true));
  Profile* profile = TheProfile();
  profile->on = true;
  const double start = ThreadMilliseconds();
  call();
  const double total = ThreadMilliseconds() - start;
  profile->on = false;
  std::vector<std::pair<std::string, OperatorTime>> sorted(
      profile->operators.begin(), profile->operators.end());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return a.second.own_ms > b.second.own_ms;
  });
  double inside = 0;
  for (const auto& [name, entry] : sorted) inside += entry.own_ms;
  for (size_t i = 0; i < std::min(rows, sorted.size()); ++i) {
    const auto& [name, entry] = sorted[i];
    std::printf("%8.2f ms %5.1f %% %4d  %s\n", entry.own_ms,
                100 * entry.own_ms / total, entry.calls, name.c_str());
  }
  std::printf("%8.2f ms %5.1f %%       outside of operators\n", total - inside,
              100 * (total - inside) / total);
}

int Main(int argc, char** argv) {
  std::string what = "match";
  int channels = 1, group = 0, repeats = 7;
  size_t rows = 25;
  CLI::App app("Profiles a hot loop of one rank");
  app.add_option("what", what, "match, train or test")
      ->check(CLI::IsMember({"match", "train", "test"}));
  app.add_option("--channels", channels, "1: 28x28, 3: 32x32")
      ->check(CLI::IsMember({1, 3}));
  app.add_option("--group", group, "Images of a group")
      ->check(CLI::Range(1, 4096));
  app.add_option("--repeats", repeats, "Timed calls")
      ->check(CLI::Range(1, 999));
  app.add_option("--rows", rows, "Operators to print");
  CLI11_PARSE(app, argc, argv);
  InitEngine();
  std::printf("%s, %s, ", NumericsClass().c_str(), what.c_str());

  const int side = channels == 1 ? 28 : 32;
  const ImageShape shape = {channels, side, side};
  NetworkSpec spec;
  spec.width = 128;
  const auto network = *MakeNetwork(spec, shape, 10);
  const RandomStream stream(1, "bench");
  ExecutionSpec execution;
  if (group > 0) execution.train_group = execution.forward_group = group;
  SingleProcessCollective alone;
  const auto images = [&](int64_t count) {
    return at::randn({count, channels, side, side}, at::kFloat);
  };

  if (what == "match") {
    GradientMatcher::Options options;
    options.distance = Distance::kL1;
    options.formation = MultiFormation(2);
    options.normalization.mean.assign(channels, 0.5);
    options.normalization.std.assign(channels, 0.3);
    const GradientMatcher matcher(network.get(), options);
    const AugmentationOptions augmentation = {
        AugmentationFlavour::kIdc,
        {Augmentation::kColor, Augmentation::kCrop, Augmentation::kCutout}};
    const AugmentationDraw draw =
        DrawSharedAugmentation(augmentation, stream, 0, 0, 0, shape);
    const at::Tensor parameters = network->Initialize(stream);
    ClassBatch batch;
    batch.real = images(64);
    batch.stored = at::rand({10, channels, side, side}, at::kFloat);
    batch.augmentation = &draw;
    Report([&] { matcher.Match(parameters, batch); }, repeats, rows);
    return 0;
  }
  std::vector<int64_t> indices(what == "train" ? execution.train_group
                                               : execution.forward_group);
  std::iota(indices.begin(), indices.end(), 0);
  const TensorSource source(images(indices.size()),
                            std::vector<int64_t>(indices.size(), 3));
  Trainer trainer(network.get(), execution, 0, "bench", &alone);
  TrainingState state = trainer.Start();
  StepOptions step;
  step.augmentation = {AugmentationFlavour::kIdc,
                       {Augmentation::kColor, Augmentation::kCrop}};
  if (what == "train") {
    Report(
        [&] {
          trainer.TrainStep(source, indices, step, {}, &state).IgnoreError();
        },
        repeats, rows);
  } else {
    Report(
        [&] {
          Logits(*network, state.parameters, state.buffers, source, execution,
                 &alone)
              .IgnoreError();
        },
        repeats, rows);
  }
  return 0;
}

}  // namespace
}  // namespace dasm

int main(int argc, char** argv) {
  dasm::bench::RunLikeARunner(argv);
  return dasm::Main(argc, argv);
}
