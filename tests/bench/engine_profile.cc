// Where the processor time of one rank goes: the operators of a hot loop by
// their own time, on noise of Fashion-MNIST's or CIFAR-10's shape and IDC's
// published sizes (width 128).
//
//   engine_profile [match|train|test|augment] [--channels 1|3] [--group N]
//                  [--repeats R] [--rows N]
//
//   match  a class of the matching pass: 64 real images, 10 stored (factor 2)
//   train  one slice of a network step, N images (execution.train_group)
//   test   one group of a test, N images (execution.forward_group)
//   augment  the augmentation of both slices as one operator and as a chain of
//            torch's, the first also as a share of the slice; its rows are
//            these
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
#include "worker/engine/augmentation/operator_chain_for_tests.h"
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

// Milliseconds of the fastest call but the first.
double Least(const std::function<void()>& call, int repeats) {
  call();
  double least = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const double start = ThreadMilliseconds();
    call();
    least = std::min(least, ThreadMilliseconds() - start);
  }
  return least;
}

void Report(const std::function<void()>& call, int repeats, size_t rows) {
  std::printf("%.2f ms\n", Least(call, repeats));
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

// A network of published width on noise, and its hot loops.
class Slices {
 public:
  Slices(int channels, int group)
      : shape_{channels, channels == 1 ? 28 : 32, channels == 1 ? 28 : 32} {
    NetworkSpec spec;
    spec.width = 128;
    network_ = *MakeNetwork(spec, shape_, 10);
    if (group > 0) execution_.train_group = execution_.forward_group = group;
    trainer_ = std::make_unique<Trainer>(network_.get(), execution_, 0, "bench",
                                         &alone_);
    state_ = trainer_->Start();
    GradientMatcher::Options options;
    options.distance = Distance::kL1;
    options.formation = MultiFormation(2);
    options.normalization.mean.assign(channels, 0.5);
    options.normalization.std.assign(channels, 0.3);
    matcher_ = std::make_unique<GradientMatcher>(network_.get(), options);
    draw_ = Shared();
    parameters_ = network_->Initialize(stream_);
    batch_.real = Noise(64);
    batch_.stored = at::rand({10, channels, shape_.height, shape_.width});
    batch_.augmentation = &draw_;
    step_.augmentation = {AugmentationFlavour::kIdc,
                          {Augmentation::kColor, Augmentation::kCrop}};
  }
  Slices(const Slices&) = delete;
  Slices& operator=(const Slices&) = delete;

  at::Tensor Noise(int64_t count) const {
    return at::randn({count, shape_.channels, shape_.height, shape_.width});
  }
  // One draw for all images of a class.
  AugmentationDraw Shared() const {
    return DrawSharedAugmentation(
        {AugmentationFlavour::kIdc,
         {Augmentation::kColor, Augmentation::kCrop, Augmentation::kCutout}},
        stream_, 0, 0, 0, shape_);
  }
  // A draw each, for a slice of a step.
  AugmentationDraw Each(const AugmentationOptions& options) const {
    return DrawAugmentation(options, stream_, 0, 0, execution_.train_group,
                            shape_);
  }
  const AugmentationOptions& training_augmentation() const {
    return step_.augmentation;
  }
  int64_t train_group() const { return execution_.train_group; }

  void Match() { matcher_->Match(parameters_, batch_); }
  void Train() {
    const auto indices = First(execution_.train_group);
    trainer_->TrainStep(Source(indices.size()), indices, step_, {}, &state_)
        .IgnoreError();
  }
  void Test() {
    Logits(*network_, state_.parameters, state_.buffers,
           Source(execution_.forward_group), execution_, &alone_)
        .IgnoreError();
  }

 private:
  static std::vector<int64_t> First(int64_t count) {
    std::vector<int64_t> indices(count);
    std::iota(indices.begin(), indices.end(), 0);
    return indices;
  }
  const TensorSource& Source(int64_t count) {
    if (source_ == nullptr || source_->size() != count) {
      source_ = std::make_unique<TensorSource>(Noise(count),
                                               std::vector<int64_t>(count, 3));
    }
    return *source_;
  }

  const ImageShape shape_;
  const RandomStream stream_{1, "bench"};
  ExecutionSpec execution_;
  SingleProcessCollective alone_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<Trainer> trainer_;
  TrainingState state_;
  StepOptions step_;
  std::unique_ptr<GradientMatcher> matcher_;
  AugmentationDraw draw_;
  at::Tensor parameters_;
  ClassBatch batch_;
  std::unique_ptr<TensorSource> source_;
};

using Augment = at::Tensor (*)(const at::Tensor&, const AugmentationDraw&);

// Of 64 real images, and of 40 synthetic ones with the gradient of their
// pixels.
void AugmentClass(Augment augment, const AugmentationDraw& draw,
                  const at::Tensor& real, const at::Tensor& synthetic,
                  const at::Tensor& gradient) {
  augment(real, draw);
  const at::Tensor leaf = synthetic.detach().requires_grad_();
  torch::autograd::grad({augment(leaf, draw)}, {leaf}, {gradient});
}

void CompareAugmentation(Slices* slices, int repeats) {
  const Augment one = &ApplyAugmentation, chain = &OperatorChain::Apply;
  const auto row = [&](const char* name, double slice, const auto& call) {
    const double before = Least([&] { call(chain); }, repeats);
    const double after = Least([&] { call(one); }, repeats);
    std::printf("%8.3f ms as a chain, %7.3f ms as one, %s", before, after,
                name);
    if (slice > 0) {
      std::printf(", %.2f %% of %.1f ms", 100 * after / slice, slice);
    }
    std::printf("\n");
  };
  std::printf("\n");
  const AugmentationDraw shared = slices->Shared();
  const at::Tensor real = slices->Noise(64), synthetic = slices->Noise(40);
  const at::Tensor gradient =
      slices->Noise(40).contiguous(at::MemoryFormat::ChannelsLast);
  row("match", Least([&] { slices->Match(); }, repeats), [&](Augment augment) {
    AugmentClass(augment, shared, real, synthetic, gradient);
  });
  const at::Tensor images = slices->Noise(slices->train_group());
  const double train = Least([&] { slices->Train(); }, repeats);
  const AugmentationDraw each = slices->Each(slices->training_augmentation());
  row("train", train, [&](Augment augment) { augment(images, each); });
  for (const auto& [operation, name] :
       {std::pair(Augmentation::kScale, "train with scale"),
        std::pair(Augmentation::kRotate, "train with rotate")}) {
    const AugmentationDraw draw =
        slices->Each({AugmentationFlavour::kDsa, {operation}});
    row(name, train, [&](Augment augment) { augment(images, draw); });
  }
}

int Main(int argc, char** argv) {
  std::string what = "match";
  int channels = 1, group = 0, repeats = 7;
  size_t rows = 25;
  CLI::App app("Profiles a hot loop of one rank");
  app.add_option("what", what, "match, train, test or augment")
      ->check(CLI::IsMember({"match", "train", "test", "augment"}));
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
  Slices slices(channels, group);
  if (what == "augment") {
    CompareAugmentation(&slices, repeats);
  } else {
    Report(
        [&] {
          if (what == "match") slices.Match();
          if (what == "train") slices.Train();
          if (what == "test") slices.Test();
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
