#include "server/planner/task_cost.h"

#include <algorithm>
#include <cmath>
#include <variant>

#include "server/planner/network_cost.h"

namespace dasm {
namespace {

constexpr double kRunnerBytes = 280.0 * (1 << 20);
constexpr double kTraining = 1.36;
constexpr double kSynthetic = 2.8;
constexpr double kFloat = sizeof(float);
// What is resident of these, since the fused operators keep less.
constexpr double kKept = 0.5;
// Parameters, gradients, momentum, the partial sums of a step.
constexpr double kParameterCopies = 6;

class Estimator {
 public:
  Estimator(const ResolvedDataset& dataset, int64_t input_images)
      : dataset_(dataset),
        pixels_(static_cast<double>(dataset.channels) * dataset.height *
                dataset.width),
        images_(static_cast<double>(input_images)) {}

  TaskCost operator()(const PrepareDatasetParameters&) const {
    return Make(0, 2 * DatasetBytes(), DatasetBytes(), 0);
  }
  TaskCost operator()(const ImportSetParameters&) const {
    return Make(0, DatasetBytes() + 2 * SetBytes(images_),
                DatasetBytes() + 2 * SetBytes(images_), 0);
  }
  TaskCost operator()(const WhitenDatasetParameters&) const { return {}; }
  TaskCost operator()(const ImportScoresParameters&) const { return {}; }
  TaskCost operator()(const TrainExpertsParameters&) const { return {}; }
  TaskCost operator()(const MatchTrajectoriesParameters&) const { return {}; }
  TaskCost operator()(const FindRangeParameters&) const { return {}; }
  TaskCost operator()(const RankSamplesParameters&) const { return {}; }
  TaskCost operator()(const DistillSegmentParameters& p) const {
    const NetworkCost net = Network(p.network);
    const GradientMatchingSpec& m = p.matching;
    const int64_t steps =
        int64_t{m.inits} / m.inits_per_step * m.steps_per_init;
    const double pass = dataset_.classes * MatchFlops(p, net) +
                        3.0 * net.forward_flops * m.net_steps * m.net_batch;
    // Of one image in a matching step, and of the network's training.
    const double image = kKept * kFloat * static_cast<double>(net.activations);
    const auto cut = static_cast<double>(EffectiveMicroBatch(p));
    const double kept =
        image *
        std::max({kTraining * std::min<double>(cut, m.real_batch),
                  kSynthetic * std::min<double>(cut, static_cast<double>(
                                                         SyntheticPerClass(p))),
                  kTraining * std::min(p.execution.train_group, m.net_batch)});
    const double segment =
        static_cast<double>(p.images_per_class) * dataset_.classes;
    TaskCost cost =
        Make(static_cast<double>(steps) * m.inits_per_step * pass,
             DatasetBytes() + m.inits_per_step * ParameterBytes(net) + kept +
                 4 * SetBytes(segment),
             DatasetBytes() + SetBytes(images_) + 2 * SetBytes(segment), steps);
    cost.fixed_memory_bytes = cost.memory_bytes - static_cast<int64_t>(kept);
    cost.memory_bytes_per_image =
        static_cast<int64_t>(std::ceil(image * kSynthetic));
    return cost;
  }
  TaskCost operator()(const TrainDiscriminatorParameters& p) const {
    TaskCost cost = Training(p.network, p.training, p.execution, 0);
    const NetworkCost net = Network(p.network);
    cost.artifact_bytes +=
        static_cast<int64_t>(kFloat * static_cast<double>(net.parameters));
    return cost;
  }
  TaskCost operator()(const ScoreSamplesParameters& p) const {
    const NetworkCost net = Network(p.network);
    const auto images = static_cast<double>(dataset_.train_images);
    const double scores = kFloat * images * dataset_.classes;
    return Make(
        images * net.forward_flops,
        DatasetBytes() + ParameterBytes(net) + Forward(net, p.execution) +
            scores,
        DatasetBytes() + scores + kFloat * static_cast<double>(net.parameters),
        0);
  }
  TaskCost operator()(const SelectPoolParameters&) const {
    const auto images = static_cast<double>(dataset_.train_images);
    constexpr double kPoolRow = 1 + 4 + 1 + 4 + 4;
    const double scores = kFloat * images * dataset_.classes;
    return Make(0, DatasetBytes() + 2 * scores + images * kPoolRow,
                DatasetBytes() + scores + images * kPoolRow, 0);
  }
  TaskCost operator()(const SelectCoresetParameters&) const {
    return Make(0, DatasetBytes() + 2 * SetBytes(images_),
                DatasetBytes() + SetBytes(images_), 0);
  }
  TaskCost operator()(const EvaluateParameters& p) const {
    return Training(p.network, p.training, p.execution, dataset_.test_images);
  }
  TaskCost operator()(const AssembleParameters&) const {
    return Make(0, DatasetBytes() + 4 * SetBytes(images_),
                DatasetBytes() + 4 * SetBytes(images_), 0);
  }

 private:
  static TaskCost Make(double flops, double bytes, double artifacts,
                       int64_t steps) {
    return {.flops = flops,
            .memory_bytes = static_cast<int64_t>(kRunnerBytes + bytes),
            .artifact_bytes = static_cast<int64_t>(artifacts),
            .steps = steps};
  }
  NetworkCost Network(const NetworkSpec& network) const {
    return dasm::CostOf(network, dataset_.channels, dataset_.height,
                        dataset_.width, dataset_.classes);
  }
  // Images as bytes, labels as int64.
  double DatasetBytes() const {
    return static_cast<double>(dataset_.train_images + dataset_.test_images) *
           (pixels_ + 8);
  }
  // Images as floats, label and segment.
  double SetBytes(double images) const {
    return images * (kFloat * pixels_ + 12);
  }
  static double ParameterBytes(const NetworkCost& net) {
    return kParameterCopies * kFloat *
           static_cast<double>(net.parameters + net.buffers);
  }
  // Without autograd a layer's input and output are alive.
  static double Forward(const NetworkCost& net, const ExecutionSpec& e) {
    return 2 * kFloat * static_cast<double>(net.largest_layer) *
           e.forward_group;
  }
  TaskCost Training(const NetworkSpec& network, const TrainingRecipe& recipe,
                    const ExecutionSpec& execution, int64_t tested) const {
    const NetworkCost net = Network(network);
    // BatchNorm couples a batch: it is computed in one group.
    const int group = network.norm == Norm::kBatch
                          ? recipe.batch
                          : std::min(execution.train_group, recipe.batch);
    // DC's sets hold an image to an image, often fewer than a batch.
    const double batch = recipe.recipe == Recipe::kDc && images_ > 0
                             ? std::min<double>(recipe.batch, images_)
                             : recipe.batch;
    const double flops = net.forward_flops * (3.0 * recipe.steps * batch +
                                              static_cast<double>(tested));
    const double kept =
        kKept * std::max(kTraining * kFloat *
                             static_cast<double>(net.activations) * group,
                         tested > 0 ? Forward(net, execution) : 0);
    TaskCost cost = Make(
        flops,
        DatasetBytes() + ParameterBytes(net) + kept + 2 * SetBytes(images_),
        DatasetBytes() + SetBytes(images_), recipe.steps);
    return cost;
  }

  const ResolvedDataset& dataset_;
  const double pixels_;
  const double images_;
};

}  // namespace

int64_t SyntheticPerClass(const DistillSegmentParameters& parameters) {
  const int64_t decoded = int64_t{parameters.images_per_class} *
                          parameters.synthesis.factor *
                          parameters.synthesis.factor;
  return std::min<int64_t>(decoded, parameters.matching.synthetic_batch);
}

int EffectiveMicroBatch(const DistillSegmentParameters& parameters) {
  const int all = static_cast<int>(std::max<int64_t>(
      parameters.matching.real_batch, SyntheticPerClass(parameters)));
  const int micro_batch = parameters.execution.micro_batch;
  return micro_batch > 0 ? std::min(micro_batch, all) : all;
}

double MatchFlops(const DistillSegmentParameters& parameters,
                  const NetworkCost& network) {
  const auto synthetic = static_cast<double>(SyntheticPerClass(parameters));
  const bool cut =
      EffectiveMicroBatch(parameters) < parameters.matching.real_batch ||
      EffectiveMicroBatch(parameters) < SyntheticPerClass(parameters);
  return network.forward_flops * (3.0 * parameters.matching.real_batch +
                                  (cut ? 10.0 : 7.0) * synthetic);
}

TaskCost CostOf(const TaskParameters& parameters,
                const ResolvedDataset& dataset, int64_t input_images) {
  return std::visit(Estimator(dataset, input_images), parameters);
}

}  // namespace dasm
